//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::Layer;
use crate::testing::{E, Fixture, fixture, list, open, tar};
use oci::DiffId;
use std::io::Cursor;

fn image(f: &Fixture, layers: &[Vec<u8>]) -> ChainId {
    let mut unpacking = f.store.unpacking().unwrap();
    let mut diffs = Vec::new();
    for layer in layers {
        diffs.push(DiffId(Digest::sha256(layer)));
        if let Layer::Absent(slot) = unpacking.next(&diffs[diffs.len() - 1]).unwrap() {
            slot.unpack(Cursor::new(layer.clone())).unwrap();
        }
    }
    unpacking.commit().unwrap();
    ChainId::chain(&diffs).pop().unwrap()
}

/// Runs in a thread with a mount namespace of its own, so that nothing reaches the machine's.
fn privately<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|s| {
        s.spawn(|| {
            sys::namespace::unshare(0x0002_0000).unwrap();
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            work()
        })
        .join()
        .unwrap()
    })
}

fn mount(mounts: &[Mount], at: &Path) {
    assert_eq!(mounts.len(), 1);
    mounts[0].attach(at).unwrap();
}

fn unmount(at: &Path) {
    rustix::mount::unmount(at, rustix::mount::UnmountFlags::empty()).unwrap();
}

#[test]
fn a_container_sees_its_layers_and_keeps_its_changes() {
    let f = fixture();
    let chain = image(
        &f,
        &[
            tar(&[
                E::Dir("./", 0o751),
                E::Dir("d", 0o755),
                E::File("d/a", b"1"),
                E::File("d/b", b"1"),
                E::File("gone", b""),
            ]),
            tar(&[E::File("d/a", b"2"), E::File(".wh.gone", b"")]),
            tar(&[E::File("d/.wh.b", b""), E::File("d/c", b"3")]),
        ],
    );
    let at = f.dir.path().join("m");
    fs::create_dir(&at).unwrap();
    for volatile in [false, true] {
        let key = format!("c{volatile}");
        privately(|| {
            mount(&f.store.snapshots().prepare(&key, Some(&chain), volatile).unwrap(), &at);
            assert_eq!(list(&at), ["d 755 0:0 dir", "d/a 644 0:0 \"2\"", "d/c 644 0:0 \"3\""]);
            let mode = rustix::fs::stat(&at).unwrap().st_mode & 0o7777;
            assert_eq!(mode, 0o751, "the root's mode is the image's");
            fs::write(at.join("new"), "n").unwrap();
            fs::remove_dir_all(at.join("d")).unwrap();
            unmount(&at);
            // Again, as a restarted container does, without a trace of the first time.
            mount(&f.store.snapshots().mounts(&key).unwrap(), &at);
            assert_eq!(list(&at), ["new 644 0:0 \"n\""]);
            unmount(&at);
        });
        assert!(f.store.snapshots().active_usage(&key).unwrap().inodes >= 3);
        f.store.snapshots().remove(&key).unwrap();
        f.store.snapshots().remove(&key).unwrap();
    }
    assert_eq!(f.store.snapshots().keys().unwrap(), Vec::<String>::new());
    f.store.snapshots().empty_trash().unwrap();
    assert_eq!(list_dir(&f.store.snapshots().root().join("trash")).unwrap(), Vec::<String>::new());
    assert_eq!(list_dir(&f.store.snapshots().root().join("active")).unwrap(), Vec::<String>::new());
}

#[test]
fn a_volatile_snapshot_writes_nothing_durable() {
    let f = fixture();
    let chain = image(&f, &[tar(&[E::File("a", b"")])]);
    let wal = f.dir.path().join("tare.db-wal");
    let before = fs::metadata(&wal).unwrap().len();
    f.store.snapshots().prepare("v", Some(&chain), true).unwrap();
    f.store.snapshots().remove("v").unwrap();
    assert_eq!(fs::metadata(&wal).unwrap().len(), before);
}

#[test]
fn many_layers() {
    let f = fixture();
    let layers: Vec<Vec<u8>> = (0..127).map(|n| tar(&[E::File(&format!("f{n}"), b"x")])).collect();
    let chain = image(&f, &layers);
    let at = f.dir.path().join("m");
    fs::create_dir(&at).unwrap();
    privately(|| {
        mount(&f.store.snapshots().prepare("many", Some(&chain), false).unwrap(), &at);
        assert_eq!(fs::read_dir(&at).unwrap().count(), 127);
        fs::write(at.join("f0"), "changed").unwrap();
        unmount(&at);
    });
    assert_eq!(list(&f.store.snapshots().upper_dir("many").unwrap()), ["f0 644 0:0 \"changed\""]);
}

#[test]
fn an_image_without_layers() {
    let f = fixture();
    let mounts = f.store.snapshots().prepare("scratch", None, false).unwrap();
    assert_eq!((mounts[0].kind.as_str(), mounts[0].options.len()), ("bind", 0));
}

#[test]
fn keys() {
    let f = fixture();
    let s = f.store.snapshots();
    s.prepare("a", None, false).unwrap();
    let cases = [
        (s.prepare("a", None, false), "snapshot a already exists"),
        (s.prepare("a/b", None, false), "snapshot a/b not found"),
        (s.prepare("..", None, false), "snapshot .. not found"),
        (s.prepare("a,b", None, false), "snapshot a,b not found"),
        (s.prepare("", None, false), "snapshot  not found"),
        (s.mounts("b"), "snapshot b not found"),
    ];
    for (result, want) in cases {
        assert_eq!(result.unwrap_err().to_string(), want);
    }
    assert!(s.upper_dir("a").unwrap().exists(), "the loser of a name does not remove the winner's");
    let missing = ChainId(Digest::sha256(b"x"));
    assert!(s.prepare("c", Some(&missing), false).is_err());
    assert_eq!(s.keys().unwrap(), ["a"]);
}

#[test]
fn what_a_boot_forgot_is_replaced() {
    let f = fixture();
    f.store.snapshots().prepare("v", None, true).unwrap();
    fs::write(f.store.snapshots().upper_dir("v").unwrap().join("old"), "").unwrap();
    for name in ["run.db", "run.db-wal", "run.db-shm"] {
        fs::remove_file(f.dir.path().join(name)).unwrap();
    }
    let store = open(f.dir.path());
    store.snapshots().prepare("v", None, true).unwrap();
    assert_eq!(list(&store.snapshots().upper_dir("v").unwrap()), Vec::<String>::new());
}

#[test]
fn committing_a_container() {
    let f = fixture();
    let base = image(&f, &[tar(&[E::File("a", b"1")])]);
    let s = f.store.snapshots();
    s.prepare("c", Some(&base), false).unwrap();
    fs::write(s.upper_dir("c").unwrap().join("b"), "2").unwrap();
    let chain = ChainId::of(Some(&base), &DiffId(Digest::sha256(b"diff")));
    s.commit("c", &chain).unwrap();
    assert_eq!(s.keys().unwrap(), Vec::<String>::new());
    let dirs = s.layers(Some(&chain)).unwrap();
    assert_eq!(list(&dirs[0]), ["b 644 0:0 \"2\""]);
    assert_eq!(dirs.len(), 2);
}

#[test]
fn data_roots_that_overlayfs_cannot_name() {
    let dir = tempfile::TempDir::new().unwrap();
    for name in ["a:b", "a,b", "a\\b"] {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        let db = || Arc::new(Database::open(&path.join("x.db"), db::Durability::Volatile, &[]).unwrap());
        let e = crate::Store::open(&path, db(), db()).unwrap_err();
        assert!(e.to_string().contains("overlayfs cannot take"), "{e}");
    }
}

/// What cannot be deleted now stays for the next time, and keeps nothing else in the trash.
#[test]
fn a_trash_that_cannot_be_emptied() {
    let f = fixture();
    let trash = f.store.snapshots().root().join("trash");
    privately(|| {
        for name in ["a", "b", "c"] {
            fs::create_dir_all(trash.join(name).join("deep")).unwrap();
        }
        let busy = trash.join("b/deep");
        rustix::mount::mount_bind(&busy, &busy).unwrap();
        let error = f.store.snapshots().empty_trash().unwrap_err().to_string();
        assert_eq!(error, format!("cannot remove {}", trash.join("b").display()));
        assert_eq!(list_dir(&trash).unwrap(), ["b"]);
        unmount(&busy);
        f.store.snapshots().empty_trash().unwrap();
        assert_eq!(list_dir(&trash).unwrap(), Vec::<String>::new());
    });
}
