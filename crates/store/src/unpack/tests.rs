//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::testing::{E, Fixture, fixture, list, open, tar};
use oci::Digest;
use std::io::Cursor;
use std::sync::Barrier;

fn diff(layer: &[u8]) -> DiffId {
    DiffId(Digest::sha256(layer))
}

fn unpack(store: &Store, layers: &[Vec<u8>]) -> Result<usize> {
    let mut unpacking = store.unpacking()?;
    let mut done = 0;
    for layer in layers {
        if let Layer::Absent(slot) = unpacking.next(&diff(layer))? {
            slot.unpack(Cursor::new(layer.clone()))?;
            done += 1;
        }
    }
    unpacking.commit()?;
    Ok(done)
}

fn chain(layers: &[Vec<u8>]) -> Vec<ChainId> {
    ChainId::chain(&layers.iter().map(|l| diff(l)).collect::<Vec<_>>())
}

fn leftovers(f: &Fixture) -> Vec<String> {
    list_dir(&f.store.snapshots().unpacking_dir()).unwrap()
}

fn three() -> Vec<Vec<u8>> {
    vec![
        tar(&[E::Dir("a", 0o711), E::File("a/1", b"one")]),
        tar(&[E::File("a/2", b"two")]),
        tar(&[E::File("a/.wh.1", b"")]),
    ]
}

#[test]
fn layers_are_shared() {
    let f = fixture();
    let mut layers = three();
    assert_eq!(unpack(&f.store, &layers).unwrap(), 3);
    assert_eq!(unpack(&f.store, &layers).unwrap(), 0);
    layers.push(tar(&[E::File("more", b"")]));
    assert_eq!(unpack(&f.store, &layers).unwrap(), 1);
    let dirs = f.store.snapshots().layers(chain(&layers).last()).unwrap();
    assert_eq!(dirs.len(), 4);
    assert_eq!(list(&dirs[3]), ["a 711 0:0 dir", "a/1 644 0:0 \"one\""]);
    assert_eq!(list(&dirs[2]), ["a 711 0:0 dir", "a/2 644 0:0 \"two\""], "implied with the mode below");
    assert_eq!(list(&dirs[1]), ["a 711 0:0 dir", "a/1 0 0:0 c 0,0"]);
    let usage = f.store.snapshots().usage(&chain(&layers)[0]).unwrap().unwrap();
    assert_eq!(usage, Usage { size: crate::testing::du(&dirs[3]), inodes: 3 });
    assert_eq!(leftovers(&f), Vec::<String>::new());
}

#[test]
fn nothing_stays_of_a_failure() {
    let f = fixture();
    let layers = three();
    let bad = tar(&[E::File("x", b""), E::File("../x", b"")]);
    let mut all = layers.clone();
    all.push(bad);
    let e = unpack(&f.store, &all).unwrap_err();
    assert_eq!(e.to_string(), "invalid tar entry \"../x\": path leads outside of the layer");
    assert_eq!(leftovers(&f), Vec::<String>::new());
    assert!(!f.store.snapshots().contains(&chain(&layers)[0]).unwrap(), "not committed, so not named");
    // A layer whose bytes are not those of the configuration.
    let mut unpacking = f.store.unpacking().unwrap();
    let Layer::Absent(slot) = unpacking.next(&diff(b"other")).unwrap() else { panic!() };
    let e = slot.unpack(Cursor::new(layers[0].clone())).unwrap_err();
    assert!(matches!(e, Error::DiffIdMismatch { index: 0, .. }), "{e}");
    drop(unpacking);
    assert_eq!(leftovers(&f), Vec::<String>::new());
    // The trailing bytes count too.
    let mut longer = layers[0].clone();
    longer.extend([0; 10]);
    assert_eq!(unpack(&f.store, &[longer]).unwrap(), 1);
}

#[test]
fn two_unpackers_do_the_work_once() {
    let f = fixture();
    let layers = three();
    let (path, layers) = (f.dir.path(), &layers);
    let start = Barrier::new(4);
    let counts: Vec<usize> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| {
                    let store = open(path);
                    start.wait();
                    unpack(&store, layers).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
    assert_eq!(leftovers(&f), Vec::<String>::new());
}

/// What a killed process leaves: a half-made tree and a lock file that nobody holds.
#[test]
fn a_half_unpacked_layer_is_thrown_away() {
    let f = fixture();
    let layers = three();
    let dir = f.store.snapshots().unpacking_dir();
    let half = dir.join(chain(&layers)[0].0.hex());
    fs::create_dir_all(half.join("fs/a")).unwrap();
    fs::write(half.join("fs/a/stale"), "").unwrap();
    fs::write(dir.join(format!("{}.lock", chain(&layers)[0].0.hex())), "").unwrap();
    assert_eq!(unpack(&f.store, &layers).unwrap(), 3);
    let dirs = f.store.snapshots().layers(chain(&layers).last()).unwrap();
    assert_eq!(list(&dirs[2]), ["a 711 0:0 dir", "a/1 644 0:0 \"one\""]);
    assert_eq!(leftovers(&f), Vec::<String>::new());
}

#[test]
fn compressed_layers() {
    let f = fixture();
    let layer = tar(&[E::File("x", &vec![b'x'; 2_000_000])]);
    let blob = zstd::encode_all(&layer[..], 1).unwrap();
    let descriptor = f.store.content().put("t", &blob).unwrap();
    let mut unpacking = f.store.unpacking().unwrap();
    let Layer::Absent(slot) = unpacking.next(&diff(&layer)).unwrap() else { panic!() };
    let usage = slot.unpack(f.store.content().follow(&descriptor.digest).unwrap()).unwrap();
    unpacking.commit().unwrap();
    assert_eq!(usage.inodes, 2);
}
