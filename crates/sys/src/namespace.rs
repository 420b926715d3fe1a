//! Namespaces (namespaces(7)): join, leave, identify.

use crate::{Error, Result, check};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The kinds: (CLONE_NEW* flag, name under /proc/PID/ns).
pub const KINDS: [(u64, &str); 8] = [
    (libc::CLONE_NEWUSER as u64, "user"),
    (libc::CLONE_NEWPID as u64, "pid"),
    (libc::CLONE_NEWNS as u64, "mnt"),
    (libc::CLONE_NEWNET as u64, "net"),
    (libc::CLONE_NEWUTS as u64, "uts"),
    (libc::CLONE_NEWIPC as u64, "ipc"),
    (libc::CLONE_NEWCGROUP as u64, "cgroup"),
    (NEWTIME, "time"),
];

/// CLONE_NEWTIME; the low bits are the exit signal's in clone(2), so that only clone3 and unshare take it.
pub const NEWTIME: u64 = 0x80;

/// Moves the calling thread into the namespace behind `fd`, or into those of the process behind
/// a pidfd that `flags` names.
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: setns takes no pointers; of the file table and memory it changes nothing.
    let ret = unsafe { libc::setns(fd.as_raw_fd(), flags as libc::c_int) };
    check(ret.into(), || format!("setns(flags {flags:#x})")).map(drop)
}

/// Gives the calling thread new namespaces. Only CLONE_NEW* flags are taken.
pub fn unshare(flags: u64) -> Result<()> {
    let known = KINDS.iter().fold(0, |all, (flag, _)| all | flag);
    if flags & !known != 0 {
        return Err(Error::new(format!("unshare({flags:#x})"), rustix::io::Errno::INVAL));
    }
    // SAFETY: with namespace flags only, neither memory nor the file table is unshared.
    let ret = unsafe { libc::unshare(flags as libc::c_int) };
    check(ret.into(), || format!("unshare({flags:#x})")).map(drop)
}

/// The inode that names the namespace behind a file such as `/proc/7/ns/net`.
pub fn inode(path: &Path) -> Result<u64> {
    let stat = rustix::fs::stat(path).map_err(|e| Error::new(format!("stat({path:?})"), e))?;
    Ok(stat.st_ino)
}

/// Opens a namespace file.
pub fn open(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::new(format!("open({path:?})"), e))
}
