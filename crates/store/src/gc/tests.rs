//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::testing::{E, Fixture, fixture, open, tar};
use crate::{Labels, Store};
use oci::{ImageConfig, Platform, Reference};
use std::io::Cursor;

fn install(store: &Store, name: &str, layers: &[Vec<u8>]) -> Descriptor {
    let host = Platform::host();
    let config = ImageConfig { os: host.os, architecture: host.architecture, ..ImageConfig::default() };
    let layers: Vec<_> = layers.iter().cloned().map(Cursor::new).collect();
    store.install_image(&Reference::parse(name).unwrap(), config, layers, &Labels::new()).unwrap()
}

fn layers() -> Vec<Vec<u8>> {
    vec![tar(&[E::File("base", b"b")]), tar(&[E::File("top", b"t")])]
}

/// Blobs and committed snapshots.
fn counts(f: &Fixture) -> (usize, usize) {
    let dirs = list_dir(f.store.snapshots().root()).unwrap();
    (f.store.content().list().unwrap().len(), dirs.iter().filter(|d| d.parse::<i64>().is_ok()).count())
}

#[test]
fn only_what_nothing_leads_to_goes() {
    let f = fixture();
    let both = layers();
    let first = install(&f.store, "a", &both);
    assert_eq!(install(&f.store, "again", &both).digest, first.digest, "the same input makes the same id");
    f.store.images().delete(&Reference::parse("again").unwrap()).unwrap();
    install(&f.store, "b", &both[..1]);
    assert_eq!(counts(&f), (6, 2));
    assert_eq!(f.store.gc().unwrap(), Collected::default());
    f.store.images().delete(&Reference::parse("a").unwrap()).unwrap();
    let collected = f.store.gc().unwrap();
    assert_eq!((collected.blobs, collected.snapshots, collected.busy), (3, 1, false));
    assert_eq!(counts(&f), (3, 1));
    // A container keeps its layers, not its blobs.
    let view = f.store.view(&f.store.images().list().unwrap()[0].target, &crate::image_view::host()).unwrap();
    f.store.snapshots().prepare("c", view.top(), true).unwrap();
    f.store.images().delete(&Reference::parse("b").unwrap()).unwrap();
    f.store.gc().unwrap();
    assert_eq!(counts(&f), (0, 1));
    f.store.snapshots().mounts("c").unwrap();
    f.store.snapshots().remove("c").unwrap();
    f.store.gc().unwrap();
    f.store.snapshots().empty_trash().unwrap();
    assert_eq!(counts(&f), (0, 0));
    assert_eq!(list_dir(&f.store.snapshots().root().join("trash")).unwrap(), Vec::<String>::new());
}

#[test]
fn a_lease_keeps_the_collector_away() {
    let f = fixture();
    let blob = f.store.content().put("t", b"not named yet").unwrap();
    let other = open(f.dir.path());
    let lease = other.lease().unwrap();
    let second = other.lease().unwrap();
    assert!(f.store.gc().unwrap().busy);
    drop(lease);
    assert!(f.store.gc().unwrap().busy);
    assert!(f.store.content().size(&blob.digest).unwrap().is_some());
    drop(second);
    assert_eq!(f.store.gc().unwrap().blobs, 1);
}

#[test]
fn leftovers_of_killed_processes() {
    let f = fixture();
    install(&f.store, "a", &layers());
    let snapshots = f.store.snapshots().root().to_path_buf();
    for dir in ["77/fs", "unpacking/abc/fs", "active/dead/fs"] {
        std::fs::create_dir_all(snapshots.join(dir)).unwrap();
    }
    let ingest = f.store.content().root().join("ingest");
    std::fs::write(snapshots.join("unpacking/abc.lock"), "").unwrap();
    std::fs::write(ingest.join("anonymous-1-2-3"), "x").unwrap();
    let partial = format!("sha256-{}", Digest::sha256(b"p").hex());
    std::fs::write(ingest.join(&partial), "x").unwrap();
    f.store.gc().unwrap();
    assert_eq!(list_dir(&ingest).unwrap(), [partial.as_str()], "a download of today may be continued");
    assert_eq!(list_dir(&snapshots.join("unpacking")).unwrap(), Vec::<String>::new());
    assert_eq!(list_dir(&snapshots.join("active")).unwrap(), Vec::<String>::new());
    assert!(!snapshots.join("77").exists());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 3600);
    std::fs::File::options().write(true).open(ingest.join(&partial)).unwrap().set_modified(old).unwrap();
    f.store.gc().unwrap();
    assert_eq!(list_dir(&ingest).unwrap(), Vec::<String>::new());
    assert_eq!(counts(&f), (4, 2));
}

#[test]
fn the_export_is_an_oci_layout() {
    let f = fixture();
    let target = install(&f.store, "localhost:5000/a:x", &layers());
    let bytes = std::fs::read(f.store.content().root().join("index.json")).unwrap();
    let index: Index = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(index.manifests[0].digest, target.digest);
    assert_eq!(index.manifests[0].annotations[annotation::REF_NAME], "x");
    assert_eq!(index.manifests[0].annotations[annotation::IMAGE_NAME], "localhost:5000/a:x");
}

#[test]
fn sizes() {
    let f = fixture();
    let target = install(&f.store, "a", &layers());
    let size = f.store.image_size(&target).unwrap();
    let on_disk: u64 =
        f.store.content().list().unwrap().iter().map(|d| f.store.content().size(d).unwrap().unwrap()).sum();
    assert_eq!((size.blobs, size.index), (on_disk, 0));
    let chain = f.store.views(&target).unwrap().remove(0).chain;
    let on_disk: u64 =
        f.store.snapshots().layers(chain.last()).unwrap().iter().map(|dir| crate::testing::du(dir)).sum();
    assert_eq!(size.unpacked, on_disk);
    assert_eq!(f.store.snapshots().chain_usage(chain.last().unwrap()).unwrap().size, on_disk);
}
