//! Tests of the reader of tars: what it promises, as cases.

use crate::testing::{E, tar};
use proptest::prelude::*;
use tree::reader::*;

/// Each entry as `path kind size: content`, or the error.
fn walk(bytes: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(bytes);
    let mut lines = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(None) => return lines,
            Ok(Some(entry)) => {
                let mut content = vec![0; 64];
                let n = reader.read_data(&mut content).unwrap_or(0);
                content.truncate(n);
                let content = String::from_utf8_lossy(&content);
                lines.push(format!("{} {:?} {}: {content}", entry.display(), entry.kind, entry.size));
            }
            Err(e) => {
                lines.push(e.to_string());
                return lines;
            }
        }
    }
}

#[test]
fn entries_and_their_end() {
    let whole = tar(&[E::Dir("d/", 0o755), E::File("d/f", b"hello"), E::Link("l", "d")]);
    let all = ["d/ Directory 0: ", "d/f File 5: hello", "l Symlink 0: "];
    assert_eq!(walk(&whole), all);
    assert_eq!(walk(&whole[..whole.len() - 1024]), all, "without an end mark");
    assert_eq!(walk(&whole[..whole.len() - 512]), all, "with half of one");
    assert_eq!(walk(b""), Vec::<String>::new());
    assert_eq!(walk(&[0; 1024]), Vec::<String>::new());
    assert_eq!(walk(&whole[..700]), ["d/ Directory 0: ", "unexpected EOF"]);
    assert_eq!(walk(&whole[..1026])[1..], ["d/f File 5: he", "unexpected EOF"]);
    assert_eq!(walk(&whole[..1030])[1..], ["d/f File 5: hello"], "within the padding");
    assert_eq!(walk(b"not a tar")[..], ["unexpected EOF"]);
    assert_eq!(walk(&[7; 512])[..], ["archive/tar: invalid tar header"]);
}

#[test]
fn hostile_extensions() {
    let mut huge = tar::Header::new_gnu();
    huge.set_path("long").unwrap();
    for (kind, size, want) in [
        (
            b'L',
            1 << 30,
            "invalid tar entry \"long\": the tar extension header exceeds the limit of 1048576 bytes",
        ),
        (
            b'x',
            1 << 30,
            "invalid tar entry \"long\": the tar extension header exceeds the limit of 1048576 bytes",
        ),
        (b'x', 0, "invalid tar: too many extension headers"),
    ] {
        huge.set_entry_type(::tar::EntryType::new(kind));
        huge.set_size(size);
        huge.set_cksum();
        let bytes = huge.as_bytes().repeat(20);
        assert_eq!(walk(&bytes).last().unwrap(), want);
    }
    huge.set_entry_type(::tar::EntryType::Regular);
    huge.set_size(u64::MAX / 2);
    huge.set_cksum();
    assert_eq!(walk(huge.as_bytes())[0], "size of the unpacked archive exceeds the limit of 274877906944");
    huge.set_size(0);
    huge.set_uid(u64::from(u32::MAX));
    huge.set_cksum();
    assert_eq!(walk(huge.as_bytes()), ["invalid tar: bad uid"]);
}

/// Each value and name as the kernel bounds them, and their sum.
#[test]
fn attributes_are_bounded() {
    let key = |name: &str| format!("SCHILY.xattr.{name}");
    let limit = |what: &str, limit: usize| {
        vec![format!("invalid tar entry \"short\": {what} exceeds the limit of {limit} bytes")]
    };
    let (at, over) = ("v".repeat(64 << 10), "v".repeat((64 << 10) + 1));
    let name = format!("user.{}", "n".repeat(250));
    assert_eq!(walk(&pax(&[(&key(&name), &at)], b"x")), ["short File 1: x"]);
    assert_eq!(walk(&pax(&[(&key("user.a"), &over)], b"x")), limit("the value of xattr \"user.a\"", 65536));
    let shown = format!("the name of xattr \"user.{}\"", "n".repeat(35));
    assert_eq!(walk(&pax(&[(&key(&format!("{name}n")), "")], b"x")), limit(&shown, 255));
    let many: Vec<String> = (0..4000).map(|n| key(&format!("user.{n}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|k| (k.as_str(), "")).collect();
    assert_eq!(walk(&pax(&many, b"x")), limit("the sum of its xattrs", 262_144));
    let large: Vec<String> = (0..4).map(|n| key(&format!("user.{n}"))).collect();
    let large: Vec<(&str, &str)> = large.iter().map(|k| (k.as_str(), at.as_str())).collect();
    assert_eq!(walk(&pax(&large, b"x")), limit("the sum of its xattrs", 262_144));
}

#[test]
fn header_only_entries_have_no_data() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Link);
    header.set_path("l").unwrap();
    header.set_size(4096);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(tar(&[E::File("f", b"x")]));
    assert_eq!(walk(&bytes), ["l HardLink 0: ", "f File 1: x"]);
}

fn pax(records: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    builder.append_pax_extensions(records.iter().map(|(k, v)| (*k, v.as_bytes()))).unwrap();
    let mut header = ::tar::Header::new_ustar();
    header.set_path("short").unwrap();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, data).unwrap();
    builder.into_inner().unwrap()
}

/// Name, size and extents of a sparse file.
type Sparse = (String, u64, Vec<(u64, u64)>);

fn extents(bytes: &[u8]) -> Result<Sparse, String> {
    let entry = TarReader::new(bytes).next_entry().map_err(|e| e.to_string())?.unwrap();
    let list = entry.extents.clone().unwrap_or_default();
    Ok((entry.display().into_owned(), entry.size, list.iter().map(|e| (e.offset, e.length)).collect()))
}

#[test]
fn sparse_files_of_pax() {
    let size = ("GNU.sparse.realsize", "1000");
    let old = [("GNU.sparse.size", "1000"), ("GNU.sparse.map", "0,2,500,3"), ("GNU.sparse.name", "real")];
    assert_eq!(extents(&pax(&old, b"abcde")), Ok(("real".into(), 1000, vec![(0, 2), (500, 3)])));
    let oldest = [size, ("GNU.sparse.offset", "1"), ("GNU.sparse.numbytes", "5")];
    assert_eq!(extents(&pax(&oldest, b"abcde")), Ok(("short".into(), 1000, vec![(1, 5)])));
    let new = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), size, ("GNU.sparse.name", "real")];
    let mut data = b"2\n0\n2\n500\n3\n".to_vec();
    data.resize(512, 0);
    data.extend(b"abcde");
    assert_eq!(extents(&pax(&new, &data)), Ok(("real".into(), 1000, vec![(0, 2), (500, 3)])));
    for (map, want) in [
        ("0,2,1,3", "invalid tar: sparse map is out of order"),
        ("0,2,999,3", "invalid tar: sparse map is out of order"),
        ("0,2", "invalid tar: sparse map and size differ"),
        ("0,2,5", "invalid tar: bad pax record \"GNU.sparse.map\""),
        ("18446744073709551615,5", "invalid tar: sparse map is out of order"),
    ] {
        assert_eq!(extents(&pax(&[size, ("GNU.sparse.map", map)], b"abcde")), Err(want.into()), "{map}");
    }
    assert!(extents(&pax(&new, b"99999999999\n")).is_err());
}

/// What the machine's tar writes with --sparse is what it read.
#[test]
fn sparse_files_of_gnu_tar() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = std::fs::File::create(dir.path().join("f")).unwrap();
    file.set_len(10 << 20).unwrap();
    for n in 0..40_u64 {
        std::os::unix::fs::FileExt::write_at(
            &file,
            &[b'a' + (n % 26) as u8; 4096],
            n * 200_000 / 4096 * 4096,
        )
        .unwrap();
    }
    drop(file);
    let want = std::fs::read(dir.path().join("f")).unwrap();
    for format in ["gnu", "pax --sparse-version=0.0", "pax --sparse-version=0.1", "pax --sparse-version=1.0"]
    {
        let archive = dir.path().join("t.tar");
        let script = format!("tar --sparse --format={format} -cf {0}/t.tar -C {0} f", dir.path().display());
        assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
        assert!(std::fs::metadata(&archive).unwrap().len() < 1 << 20, "{format}");
        let out = tempfile::TempDir::new().unwrap();
        let tar = std::fs::File::open(&archive).unwrap();
        crate::extract::Extractor::new(out.path(), &[]).unwrap().extract(tar).unwrap();
        assert!(std::fs::read(out.path().join("f")).unwrap() == want, "{format}");
        let blocks =
            std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(out.path().join("f")).unwrap());
        assert!(blocks * 512 < 1 << 20, "{format}: {blocks}");
    }
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        walk(&bytes);
    }

    /// One changed byte makes an error or another archive, never a hang or a panic.
    #[test]
    fn a_flipped_byte(at in 0usize..3000, value in any::<u8>()) {
        let mut bytes = tar(&[E::Xattr("x", "user.a", b"b"), E::File("f", b"hello"), E::Link(&"l".repeat(150), "t")]);
        let at = at % bytes.len();
        bytes[at] = value;
        walk(&bytes);
    }
}
