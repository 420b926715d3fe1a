//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::testing::{E, MTIME, list, tar};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

fn extract(target: &Path, lower: &[PathBuf], entries: &[E<'_>]) -> Result<Usage> {
    Extractor::new(target, lower)?.extract(&tar(entries)[..]).map(|(_, usage)| usage)
}

/// What the entries make, one line each, or the error.
fn shown(entries: &[E<'_>]) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    match extract(dir.path(), &[], entries) {
        Ok(_) => list(dir.path()),
        Err(e) => vec![format!("{e}")],
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; 256];
    let n = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(n);
    Some(value)
}

#[test]
fn ordinary_entries() {
    let cases: Vec<(Vec<E<'_>>, &[&str])> = vec![
        (vec![], &[]),
        (vec![E::Dir("./", 0o755), E::File("./a", b"x")], &["a 644 0:0 \"x\""]),
        (vec![E::File("/abs/file", b"x")], &["abs 755 0:0 dir", "abs/file 644 0:0 \"x\""]),
        (vec![E::File("a/./b//c", b"")], &["a 755 0:0 dir", "a/b 755 0:0 dir", "a/b/c 644 0:0 \"\""]),
        (vec![E::File("a/../b", b"x")], &["b 644 0:0 \"x\""]),
        (vec![E::FileAs("su", 0o4755, 0, 0, b"")], &["su 4755 0:0 \"\""]),
        (vec![E::FileAs("su", 0o6777, 7, 8, b"")], &["su 6777 7:8 \"\""]),
        (vec![E::Dir("d", 0o2770), E::File("d/f", b"")], &["d 2770 0:0 dir", "d/f 644 0:0 \"\""]),
        (vec![E::Dir("tmp", 0o1777)], &["tmp 1777 0:0 dir"]),
        (vec![E::FileAs("locked", 0, 0, 0, b"x")], &["locked 0 0:0 \"x\""]),
        (vec![E::Link("l", "/etc/passwd")], &["l 777 0:0 -> /etc/passwd"]),
        (vec![E::File("a", b"x"), E::Hard("b", "a")], &["a 644 0:0 \"x\"", "b 644 0:0 \"x\""]),
        (vec![E::File("a", b"x"), E::Hard("a", "./a")], &["a 644 0:0 \"x\""]),
        (vec![E::Node("null", b'3', 1, 3)], &["null 600 0:0 c 1,3"]),
        (vec![E::Node("loop", b'4', 7, 0)], &["loop 600 0:0 b 7,0"]),
        (vec![E::Node("pipe", b'6', 0, 0)], &["pipe 600 0:0 fifo"]),
    ];
    for (entries, want) in cases {
        assert_eq!(shown(&entries), want);
    }
}

#[test]
fn usage_is_what_du_says() {
    let big = vec![7; 100_000];
    let long = "x".repeat(200);
    let cases: Vec<Vec<E<'_>>> = vec![
        vec![],
        vec![E::File("a", b""), E::File("b", b"x"), E::File("c/d/e", &big)],
        vec![E::Link("short", "to"), E::Link("long", &long), E::Node("null", b'3', 1, 3)],
        vec![E::File("a", &big), E::Hard("b", "a"), E::Hard("c", "b")],
        vec![E::File("a", &big), E::Hard("b", "a"), E::File("a", b"replaced")],
        vec![
            E::File("a", &big),
            E::File("a", b"x"),
            E::Dir("d", 0o755),
            E::File("d/x", &big),
            E::Link("d", "a"),
        ],
        vec![E::File(".wh.gone", b""), E::File("d/.wh.gone", b""), E::File("d/.wh..wh..opq", b"")],
    ];
    for (n, entries) in cases.iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let usage = extract(dir.path(), &[], entries).unwrap();
        assert_eq!(usage.size, crate::testing::du(dir.path()), "case {n}");
        let walked = disk_usage(&Root::open_dir(dir.path()).unwrap()).unwrap();
        assert_eq!(usage, walked, "case {n}");
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let cases: Vec<(Vec<E<'_>>, &[&str])> = vec![
        (vec![E::File("a", b"1"), E::File("a", b"2")], &["a 644 0:0 \"2\""]),
        (vec![E::File("a", b"1"), E::Dir("a", 0o700)], &["a 700 0:0 dir"]),
        (vec![E::Dir("a", 0o700), E::File("a/b", b""), E::File("a", b"2")], &["a 644 0:0 \"2\""]),
        (
            vec![E::Dir("a", 0o700), E::File("a/b", b""), E::Dir("a", 0o711)],
            &["a 711 0:0 dir", "a/b 644 0:0 \"\""],
        ),
        (vec![E::Link("a", "b"), E::File("a", b"2")], &["a 644 0:0 \"2\""]),
        (vec![E::Dir("a", 0o700), E::File("a/b", b""), E::Link("a", "c")], &["a 777 0:0 -> c"]),
        (vec![E::Link("a", "c"), E::Dir("a", 0o700)], &["a 700 0:0 dir"]),
        (
            vec![E::File("a", b"1"), E::File("b", b"2"), E::Hard("b", "a")],
            &["a 644 0:0 \"1\"", "b 644 0:0 \"1\""],
        ),
        (vec![E::File("a", b"1"), E::Node("a", b'6', 0, 0)], &["a 600 0:0 fifo"]),
    ];
    for (entries, want) in cases {
        assert_eq!(shown(&entries), want);
    }
}

#[test]
fn nothing_leads_outside() {
    let outside = TempDir::new().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let secret = secret.to_str().unwrap();
    let up = format!("../../../../../../../..{secret}");
    let escape =
        |entry: &str, what: &str| format!("invalid tar entry {entry:?}: {what} leads outside of the layer");
    let cases: Vec<(Vec<E<'_>>, Vec<String>)> = vec![
        (vec![E::File("../x", b"")], vec![escape("../x", "path")]),
        (vec![E::File("a/../../x", b"")], vec![escape("a/../../x", "path")]),
        (vec![E::Dir("..", 0o777)], vec![escape("..", "path")]),
        (vec![E::File("d/.wh...", b"")], vec![escape("d/.wh...", "path")]),
        (vec![E::File(".wh.", b"")], vec![escape(".wh.", "path")]),
        (vec![E::Hard("x", &up)], vec![escape("x", "link target")]),
        (
            vec![E::Hard("x", secret)],
            vec![format!(
                "invalid tar: entry \"x\" is a hard link to {}, which does not exist",
                secret.trim_start_matches('/')
            )],
        ),
        (vec![E::Link("x", &up)], vec![format!("x 777 0:0 -> {up}")]),
        // A link is followed inside the layer only, and a dangling one makes nothing.
        (vec![E::Link("x", &up), E::File("x/f", b"")], vec!["cannot unpack \"x/f\": mkdirat(\"x\")".into()]),
        (
            vec![E::Dir("etc", 0o755), E::Link("x", "/etc"), E::File("x/f", b"")],
            vec!["etc 755 0:0 dir".into(), "etc/f 644 0:0 \"\"".into(), "x 777 0:0 -> /etc".into()],
        ),
        (
            vec![E::File("x", b""), E::File("x/f", b"")],
            vec!["cannot unpack \"x/f\": openat2(\"x\", IN_ROOT)".into()],
        ),
    ];
    for (entries, want) in cases {
        let got = shown(&entries);
        if want[0].starts_with("cannot unpack \"x/f\": mkdirat") {
            assert!(got[0].starts_with("cannot unpack \"x/f\""), "{got:?}");
        } else {
            assert_eq!(got, want);
        }
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "s");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn broken_entries() {
    let cases: Vec<(Vec<E<'_>>, &str)> = vec![
        (vec![E::Node("wh", b'3', 0, 0)], "invalid tar: entry \"wh\" is a character device 0:0"),
        (vec![E::File(".", b"")], "invalid tar: the root is not a directory"),
        (vec![E::Hard("x", "")], "invalid tar: entry \"x\" is a hard link to the root"),
        (
            vec![E::Hard("x", "nothing")],
            "invalid tar: entry \"x\" is a hard link to nothing, which does not exist",
        ),
        (vec![E::Link("x", "")], "cannot unpack \"x\": symlink"),
        (vec![E::Node("x", b'M', 0, 0)], "invalid tar: entry \"x\" has unsupported type 'M'"),
        (vec![E::Dir("d", 0o755), E::Hard("x", "d")], "cannot unpack \"x\": link"),
    ];
    for (entries, want) in cases {
        assert_eq!(shown(&entries), [want]);
    }
    let long = format!("{}/x", "a".repeat(300));
    assert!(shown(&[E::File(&long, b"")])[0].starts_with("cannot unpack"));
    let deep = "d/".repeat(100) + &"e".repeat(200);
    assert!(shown(&[E::File(&deep, b"y")]).last().unwrap().ends_with("644 0:0 \"y\""), "a long name");
}

#[test]
fn whiteouts_hide_only_what_is_below() {
    let wh = "c 0,0";
    let cases: Vec<(Vec<E<'_>>, Vec<String>, Option<&str>)> = vec![
        (vec![E::File(".wh.a", b"")], vec![format!("a 0 0:0 {wh}")], None),
        (vec![E::File(".wh.a", b""), E::File("a", b"1")], vec!["a 644 0:0 \"1\"".into()], None),
        (vec![E::File("a", b"1"), E::File(".wh.a", b"")], vec!["a 644 0:0 \"1\"".into()], None),
        (vec![E::File(".wh.d", b""), E::Dir("d", 0o700)], vec!["d 700 0:0 dir".into()], Some("d")),
        (vec![E::Dir("d", 0o700), E::File(".wh.d", b"")], vec!["d 700 0:0 dir".into()], Some("d")),
        (
            vec![E::File(".wh.d", b""), E::File("d/f", b"")],
            vec!["d 755 0:0 dir".into(), "d/f 644 0:0 \"\"".into()],
            Some("d"),
        ),
        (
            vec![E::File("d/f", b""), E::File("d/.wh..wh..opq", b"")],
            vec!["d 755 0:0 dir".into(), "d/f 644 0:0 \"\"".into()],
            Some("d"),
        ),
        (vec![E::File(".wh..wh.plnk", b""), E::File(".wh..wh.aufs", b"")], vec![], None),
    ];
    for (entries, want, opaque) in cases {
        let dir = TempDir::new().unwrap();
        extract(dir.path(), &[], &entries).unwrap();
        assert_eq!(list(dir.path()), want);
        let mark = opaque.and_then(|o| xattr(&dir.path().join(o), OPAQUE_XATTR));
        assert_eq!(mark, opaque.map(|_| b"y".to_vec()), "{want:?}");
    }
}

#[test]
fn an_opaque_root_hides_each_name_below() {
    let (low, top) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    extract(
        low.path(),
        &[],
        &[E::File("a", b""), E::Dir("d", 0o755), E::File("d/x", b""), E::File("k", b"")],
    )
    .unwrap();
    let entries = [E::File("k", b"new"), E::File("d/y", b""), E::File(".wh..wh..opq", b"")];
    extract(top.path(), &[low.path().into()], &entries).unwrap();
    assert_eq!(list(top.path()), ["a 0 0:0 c 0,0", "d 755 0:0 dir", "d/y 644 0:0 \"\"", "k 644 0:0 \"new\""]);
    assert_eq!(xattr(&top.path().join("d"), OPAQUE_XATTR), Some(b"y".to_vec()));
}

#[test]
fn times_and_attributes() {
    let dir = TempDir::new().unwrap();
    let mut capability = vec![1, 0, 0, 2];
    capability.extend([0; 16]);
    let entries = [
        E::Dir("d", 0o750),
        E::File("d/f", b"x"),
        E::Link("d/l", "f"),
        E::Xattr("d/cap", "security.capability", &capability),
        E::Xattr("d/user", "user.note", b"n"),
        E::Xattr("d/evil", "trusted.overlay.redirect", b"/etc"),
        E::Xattr("d/evil2", "user.overlay.opaque", b"y"),
    ];
    let usage = extract(dir.path(), &[], &entries).unwrap();
    assert_eq!(usage.inodes, 8);
    for name in ["d", "d/f", "d/l", "d/cap"] {
        let meta = std::fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert_eq!(meta.mtime(), MTIME.cast_signed(), "{name}");
    }
    let at = |name: &str, key: &str| xattr(&dir.path().join(name), key);
    assert_eq!(at("d/cap", "security.capability"), Some(capability));
    assert_eq!(at("d/user", "user.note"), Some(b"n".to_vec()));
    assert_eq!(at("d/evil", "trusted.overlay.redirect"), None);
    assert_eq!(at("d/evil2", "user.overlay.opaque"), None);
}

#[test]
fn implied_directories_are_those_below() {
    let (low, mid, top) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let entries = [
        E::Dir("a", 0o700),
        E::Dir("a/b", 0o1777),
        E::File("a/b/f", b"low"),
        E::FileAs("h", 0o4711, 5, 6, b"h"),
    ];
    extract(low.path(), &[], &entries).unwrap();
    std::os::unix::fs::chown(low.path().join("a"), Some(3), Some(4)).unwrap();
    extract(mid.path(), &[low.path().into()], &[E::File(".wh.gone", b"")]).unwrap();
    let lower = [mid.path().to_path_buf(), low.path().to_path_buf()];
    // A hard link to a lower file copies it up; both names are one file.
    let entries = [E::File("a/b/g", b""), E::File("gone/x", b""), E::Hard("h2", "h")];
    extract(top.path(), &lower, &entries).unwrap();
    assert_eq!(
        list(top.path()),
        [
            "a 700 3:4 dir",
            "a/b 1777 0:0 dir",
            "a/b/g 644 0:0 \"\"",
            "gone 755 0:0 dir",
            "gone/x 644 0:0 \"\"",
            "h 4711 5:6 \"h\"",
            "h2 4711 5:6 \"h\""
        ]
    );
    let ino = |n: &str| std::fs::metadata(top.path().join(n)).unwrap().ino();
    assert_eq!(ino("h"), ino("h2"));
    let meta = std::fs::metadata(top.path().join("a")).unwrap();
    assert_eq!(meta.mtime(), MTIME.cast_signed());
}

/// What is remembered until the end of a layer is bounded in all: directories, implied ones, whiteouts.
#[test]
fn what_is_kept_is_bounded() {
    let paths: Vec<String> = (0..64).map(|n| format!("d{n}")).collect();
    let hidden: Vec<String> = (0..64).map(|n| format!(".wh.d{n}")).collect();
    let inside: Vec<String> = (0..64).map(|n| format!("d{n}/f")).collect();
    let cases: [Vec<E<'_>>; 3] = [
        paths.iter().map(|p| E::Dir(p, 0o755)).collect(),
        inside.iter().map(|p| E::File(p, b"")).collect(),
        hidden.iter().map(|p| E::File(p, b"")).collect(),
    ];
    for entries in cases {
        let dir = TempDir::new().unwrap();
        let mut extractor = Extractor::new(dir.path(), &[]).unwrap();
        extractor.kept = Kept::with_limit(4096);
        let error = extractor.extract(&tar(&entries)[..]).map(drop).unwrap_err().to_string();
        let what = "the names and attributes of the layer's directories exceeds the limit of 4096 bytes";
        let entry = error.strip_suffix(what).unwrap_or_else(|| panic!("{error}"));
        assert!(entry.starts_with("invalid tar entry \"d") && !entry.contains('\n'), "{error}");
    }
    // The same name again and again costs once.
    let dir = TempDir::new().unwrap();
    let mut extractor = Extractor::new(dir.path(), &[]).unwrap();
    extractor.kept = Kept::with_limit(4096);
    let again: Vec<E<'_>> = (0..200).map(|_| E::Dir("d", 0o755)).collect();
    extractor.extract(&tar(&again)[..]).map(drop).unwrap();
}
