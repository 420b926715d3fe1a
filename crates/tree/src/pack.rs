//! A tree, or one file of it, becomes a tar.
//!
//! As Docker writes it: sockets are left out, a file's second name is a hard link to its first, times are whole
//! seconds, and of the extended attributes only `security.capability` goes along.

use crate::error::{Result, errno};
use crate::walk::{Found, Walk};
use crate::writer::{Head, TarWriter, Type};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

/// Names of files that have several: when they take more, further names are files of their own.
const MAX_LINK_BYTES: usize = 64 << 20;
const LINK_OVERHEAD: usize = 64;

/// Writes what is called `name` in `folder`, under the name `shown`, with all that is in it. The empty name is the
/// folder itself. Without `shown` only what is in the folder is written.
pub fn pack(folder: OwnedFd, name: &CStr, shown: Option<&[u8]>, out: impl Write) -> Result<()> {
    let prefix = shown.map(|shown| [shown, b"/"].concat()).unwrap_or_default();
    let outermost = shown.is_some();
    let shown = shown.unwrap_or_default();
    let mut packer = Packer { tar: TarWriter::new(out), links: Links::default() };
    let itself = name.is_empty();
    let flags = if itself { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    let failed = |e: Errno| errno(format!("cannot stat {}", String::from_utf8_lossy(shown)))(e);
    let stat = statat(&folder, name, flags).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        packer.add(folder.as_fd(), name, &stat, shown)?;
        return packer.tar.finish().map(drop);
    }
    let start = if itself {
        folder
    } else {
        openat(&folder, name, crate::walk::FOLDER, Mode::empty()).map_err(failed)?
    };
    if outermost {
        packer.add(start.as_fd(), c"", &stat, &prefix)?;
    }
    let mut walk = Walk::new(start)?;
    while let Some(found) = walk.next()? {
        packer.step(&mut walk, &found, &prefix)?;
    }
    packer.tar.finish().map(drop)
}

pub(crate) struct Packer<W: Write> {
    pub(crate) tar: TarWriter<W>,
    pub(crate) links: Links,
}

impl<W: Write> Packer<W> {
    fn step(&mut self, walk: &mut Walk, found: &Found, prefix: &[u8]) -> Result<()> {
        let mut path = [prefix, found.path.as_os_str().as_bytes()].concat();
        if FileType::from_raw_mode(found.stat.st_mode) != FileType::Directory {
            return self.add(found.folder.as_fd(), &found.name, &found.stat, &path);
        }
        if walk.enter(found)? {
            path.push(b'/');
            self.add(found.folder.as_fd(), &found.name, &found.stat, &path)?;
        }
        Ok(())
    }

    /// One object, without what is in it.
    pub(crate) fn add(&mut self, at: BorrowedFd<'_>, name: &CStr, stat: &Stat, path: &[u8]) -> Result<()> {
        let failed = |e: Errno| errno(format!("cannot read {}", String::from_utf8_lossy(path)))(e);
        let mut head = head_of(stat, path);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.add_file(at, name, stat, path),
            FileType::Directory => head.kind = Type::Directory,
            FileType::Symlink => {
                let target = match readlinkat(at, name, Vec::new()) {
                    Ok(target) => target,
                    // Replaced meanwhile.
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                    Err(e) => return Err(failed(e)),
                };
                head.kind = Type::Symlink;
                head.link = target.to_bytes();
                return self.tar.bare(&head);
            }
            FileType::CharacterDevice => head.kind = Type::CharDevice,
            FileType::BlockDevice => head.kind = Type::BlockDevice,
            FileType::Fifo => head.kind = Type::Fifo,
            // A socket is a process's, not a file's.
            _ => return Ok(()),
        }
        self.tar.bare(&head)
    }

    fn add_file(&mut self, at: BorrowedFd<'_>, name: &CStr, stat: &Stat, path: &[u8]) -> Result<()> {
        // NONBLOCK: what was a file may be a fifo by now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let failed = |e: Errno| errno(format!("cannot open {}", String::from_utf8_lossy(path)))(e);
        let fd = match openat(at, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let now = fstat(&fd).map_err(failed)?;
        if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let mut head = head_of(&now, path);
        if stat.st_nlink > 1
            && let Some(first) = self.links.first(&now, path)
        {
            head.kind = Type::HardLink;
            head.link = &first;
            return self.tar.bare(&head);
        }
        let capability = capability(&fd);
        head.xattrs = capability.as_slice();
        head.size = u64::try_from(now.st_size).unwrap_or(0);
        self.tar.file(&head, &mut File::from(fd))
    }
}

/// Where files with several names were seen first.
#[derive(Default)]
pub(crate) struct Links {
    seen: HashMap<(u64, u64), Vec<u8>>,
    bytes: usize,
}

impl Links {
    /// The first name of this file; `None`: it is this one.
    fn first(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.seen.get(&key) {
            return Some(first.clone());
        }
        let cost = path.len() + LINK_OVERHEAD;
        if self.bytes + cost <= MAX_LINK_BYTES {
            self.bytes += cost;
            self.seen.insert(key, path.to_vec());
        }
        None
    }
}

pub(crate) fn head_of<'a>(stat: &Stat, path: &'a [u8]) -> Head<'a> {
    let device = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => {
            (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
        }
        _ => (0, 0),
    };
    Head {
        path,
        link: b"",
        kind: Type::File,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        size: 0,
        device,
        xattrs: &[],
    }
}

fn capability(fd: &OwnedFd) -> Vec<(Vec<u8>, Vec<u8>)> {
    const KEY: &str = "security.capability";
    let mut value = vec![0; 64];
    match rustix::fs::fgetxattr(fd, KEY, &mut value[..]) {
        Ok(n) => {
            value.truncate(n);
            vec![(KEY.into(), value)]
        }
        // It has none, or its file system has no such thing.
        Err(_) => Vec::new(),
    }
}
