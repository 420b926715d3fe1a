//! For tests: a store in a temporary directory, tars in few words, trees as text.

use crate::{MIGRATIONS, RUN_MIGRATIONS, Store};
use db::{Database, Durability};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

pub(crate) fn fixture() -> Fixture {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    Fixture { dir, store }
}

/// As another process would open it: connections and locks of its own.
pub(crate) fn open(data: &Path) -> Store {
    let durable = Database::open(&data.join("tare.db"), Durability::Durable, MIGRATIONS).unwrap();
    let run = Database::open(&data.join("run.db"), Durability::Volatile, RUN_MIGRATIONS).unwrap();
    Store::open(data, Arc::new(durable), Arc::new(run)).unwrap()
}

/// An entry: kind, path, and content, link target or device.
pub(crate) enum E<'a> {
    Dir(&'a str, u32),
    File(&'a str, &'a [u8]),
    FileAs(&'a str, u32, u64, u64, &'a [u8]),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
    Node(&'a str, u8, u32, u32),
    Xattr(&'a str, &'a str, &'a [u8]),
}

pub(crate) const MTIME: u64 = 1_000_000_000;

pub(crate) fn tar(entries: &[E<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let (path, kind, mode, uid, gid, link, data): (&str, u8, u32, u64, u64, &str, &[u8]) = match entry {
            E::Dir(path, mode) => (path, b'5', *mode, 0, 0, "", b""),
            E::File(path, data) => (path, b'0', 0o644, 0, 0, "", data),
            E::FileAs(path, mode, uid, gid, data) => (path, b'0', *mode, *uid, *gid, "", data),
            E::Link(path, target) => (path, b'2', 0o777, 0, 0, target, b""),
            E::Hard(path, target) => (path, b'1', 0o644, 0, 0, target, b""),
            E::Node(path, kind, ..) => (path, *kind, 0o600, 0, 0, "", b""),
            E::Xattr(path, key, value) => {
                let key = format!("SCHILY.xattr.{key}");
                builder.append_pax_extensions([(key.as_str(), *value)]).unwrap();
                (path, b'0', 0o644, 0, 0, "", b"x")
            }
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(MTIME);
        header.set_size(data.len() as u64);
        if let E::Node(_, _, major, minor) = entry {
            header.set_device_major(*major).unwrap();
            header.set_device_minor(*minor).unwrap();
        }
        // Written by hand: the tar crate refuses the paths that are most interesting here.
        if path.len() > 100 {
            long(&mut builder, b'L', path);
        }
        if link.len() > 100 {
            long(&mut builder, b'K', link);
        }
        let gnu = header.as_gnu_mut().unwrap();
        copy(&mut gnu.name, path);
        copy(&mut gnu.linkname, link);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn long(builder: &mut tar::Builder<Vec<u8>>, kind: u8, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(text.len() as u64 + 1);
    copy(&mut header.as_gnu_mut().unwrap().name, "././@LongLink");
    header.set_cksum();
    builder.append(&header, format!("{text}\0").as_bytes()).unwrap();
}

fn copy(field: &mut [u8; 100], text: &str) {
    let n = text.len().min(100);
    field[..n].copy_from_slice(&text.as_bytes()[..n]);
}

/// A tree as sorted lines: `path mode owner kind`.
pub(crate) fn list(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines.sort();
    lines
}

fn walk(root: &Path, dir: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let what = if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_dir() {
            "dir".to_owned()
        } else if kind.is_char_device() {
            format!("c {},{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()))
        } else if kind.is_block_device() {
            format!("b {},{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()))
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            format!("{:?}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
        };
        let name = path.strip_prefix(root).unwrap().display();
        lines.push(format!("{name} {:o} {}:{} {what}", meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if kind.is_dir() {
            walk(root, &path, lines);
        }
    }
}

/// What du(1) says of a tree, in bytes.
pub(crate) fn du(dir: &Path) -> u64 {
    let mut command = std::process::Command::new("du");
    let output = command.args(["-s", "--block-size=1"]).arg(dir).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}
