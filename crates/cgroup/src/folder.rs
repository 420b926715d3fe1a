//! One folder of a cgroup file system, held open, and its files.
//!
//! Invariant: every write of a value is one step of the story (`--explain`) and one write(2).
//! It does not know what the files mean.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::{Controllers, Error, Result};

/// Most bytes that are read of a file; `memory.stat` and `cgroup.procs` of large groups are below.
const MAX_FILE_BYTES: usize = 4 << 20;
/// Deepest tree of groups below a container's that is followed.
const MAX_DEPTH: usize = 64;

/// A folder of a cgroup file system.
#[derive(Debug)]
pub(crate) struct Folder {
    /// What is accounted in it; empty for v2 and named hierarchies.
    pub(crate) controllers: Controllers,
    /// Of v2.
    pub(crate) unified: bool,
    /// For messages, and to remove it.
    pub(crate) path: PathBuf,
    dir: OwnedFd,
}

impl Folder {
    /// Opens an existing folder.
    pub(crate) fn open(path: PathBuf, controllers: Controllers, unified: bool) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(dir) => Ok(Self { controllers, unified, path, dir }),
            Err(e) => Err(Error::Io { op: "open", path, source: e.into() }),
        }
    }

    /// Reads a file as text.
    pub(crate) fn read(&self, file: &str) -> Result<String> {
        read_at(self.dir.as_fd(), file).map_err(|e| self.io("read", file, e))
    }

    /// Reads a file that holds one number; `max` is `u64::MAX`.
    pub(crate) fn read_number(&self, file: &str) -> Option<u64> {
        parse_number(&self.read(file).ok()?)
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, file: &str) -> bool {
        rustix::fs::accessat(&self.dir, file, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Writes a value.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        let mut step = sys::trace::step("cgroup file", "write(2)");
        step.note(format_args!("{}/{file} = {value}", self.path.display()));
        let written =
            self.open_file(file, OFlags::WRONLY).and_then(|fd| rustix::io::write(&fd, value.as_bytes()));
        step.check(written).map(drop).map_err(|e| Error::Write {
            value: value.to_owned(),
            path: self.path.join(file),
            source: e.into(),
        })
    }

    /// Opens a file of the folder.
    pub(crate) fn open_file(&self, file: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(&self.dir, file, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// The pids in this folder and all below.
    pub(crate) fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        pids_below(self.dir.as_fd(), MAX_DEPTH, &mut pids).map_err(|e| self.io("read", "cgroup.procs", e))?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    pub(crate) fn io(&self, op: &'static str, file: &str, source: impl Into<io::Error>) -> Error {
        Error::Io { op, path: self.path.join(file), source: source.into() }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Removes the folder at `path` and the empty groups below it. Nothing there is fine.
pub(crate) fn remove_tree(path: &Path) -> rustix::io::Result<()> {
    remove_below(path, MAX_DEPTH)
}

/// A number as cgroup files write it.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The value of `key` in a file of lines `key value`.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).and_then(parse_number)
}

fn remove_below(path: &Path, depth: usize) -> rustix::io::Result<()> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // A group with children says EBUSY as one with processes does; ENOTEMPTY is what a plain tree says.
        Err(Errno::BUSY | Errno::NOTEMPTY) if depth > 0 => {}
        Err(e) => return Err(e),
    }
    for name in child_names(rustix::fs::CWD, path)? {
        use std::os::unix::ffi::OsStrExt;
        remove_below(&path.join(std::ffi::OsStr::from_bytes(name.to_bytes())), depth - 1)?;
    }
    match rustix::fs::rmdir(path) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn pids_below(dir: BorrowedFd<'_>, depth: usize, pids: &mut Vec<i32>) -> rustix::io::Result<()> {
    match read_at(dir, "cgroup.procs") {
        Ok(text) => pids.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|&p| p > 0)),
        // A threaded child: its processes are listed in the domain above. Or the folder has just gone.
        Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    // A child group shows in the link count (2 for a leaf): leaves, the usual case, need no directory listing.
    if depth == 0 || rustix::fs::fstat(dir)?.st_nlink <= 2 {
        return Ok(());
    }
    for name in child_names(dir, ".")? {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name.as_c_str(), flags, Mode::empty()) {
            Ok(child) => pids_below(child.as_fd(), depth - 1, pids)?,
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn child_names(
    at: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
) -> rustix::io::Result<Vec<std::ffi::CString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::openat(at, path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(dir)? {
        let entry = entry?;
        let is_dot = matches!(entry.file_name().to_bytes(), b"." | b"..");
        if !is_dot && entry.file_type() == rustix::fs::FileType::Directory {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn read_at(dir: BorrowedFd<'_>, file: &str) -> rustix::io::Result<String> {
    let fd = rustix::fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0; 4096];
    let mut filled = 0;
    loop {
        let n = rustix::io::read(&fd, &mut bytes[filled..])?;
        filled += n;
        if n == 0 || filled >= MAX_FILE_BYTES {
            break;
        }
        if filled == bytes.len() {
            bytes.resize(filled * 2, 0);
        }
    }
    bytes.truncate(filled);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
