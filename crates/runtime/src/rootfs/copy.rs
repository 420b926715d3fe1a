//! `tmpcopyup`: copies what an image has in a folder into a fresh tmpfs, by descriptors only.

use crate::error::{Error, Kind, Result, What};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, mkdirat, mknodat, openat,
    readlinkat, sendfile, statat, symlinkat,
};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A folder nested deeper than this is not copied but refused: each level holds descriptors and stack.
const DEPTH_MAX: usize = 64;

/// Copies the content of `from` (an O_PATH folder) into `to` (a detached mount's root).
pub(super) fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let to = folder(to, c".")?;
    folder_content(&folder(from, c".")?, &to, 0)
}

fn folder_content(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::new(
            Kind::Unsupported,
            format!("tmpcopyup of folders more than {DEPTH_MAX} deep"),
        ));
    }
    for entry in Dir::read_from(from).what(|| "opendir()")? {
        let entry = entry.what(|| "getdents()")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        one(from, to, name, depth).map_err(|e| e.context(format!("tmpcopyup of {name:?}")))?;
    }
    Ok(())
}

fn one(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).what(|| "statat()")?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::from(0o700)).what(|| "mkdirat()")?;
            folder_content(&folder(from.as_fd(), name)?, &folder(to.as_fd(), name)?, depth + 1)?;
        }
        FileType::RegularFile => file(from, to, name, &stat)?,
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new()).what(|| "readlinkat()")?;
            symlinkat(target, to, name).what(|| "symlinkat()")?;
            return owner(to, name, &stat);
        }
        kind => mknodat(to, name, kind, mode, stat.st_rdev).what(|| "mknodat()")?,
    }
    owner(to, name, &stat)?;
    // After chown, which clears set-id bits.
    chmodat(to, name, mode, AtFlags::empty()).what(|| "fchmodat()")
}

fn file(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(from, name, read, Mode::empty()).what(|| "openat()")?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = openat(to, name, write, Mode::from(0o600)).what(|| "openat(O_CREAT)")?;
    let mut left = stat.st_size as u64;
    while left > 0 {
        let chunk = left.min(1 << 30) as usize;
        match sendfile(&target, &source, None, chunk).what(|| "sendfile()")? {
            0 => break,
            n => left -= n as u64,
        }
    }
    Ok(())
}

fn owner(to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).what(|| "fchownat()")
}

fn folder(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).what(|| format!("openat({name:?})"))
}
