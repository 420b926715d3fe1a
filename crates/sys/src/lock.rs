//! Open file description locks (fcntl(2) F_OFD_SETLK): they belong to the open file, so that a
//! thread, a fork or a passed fd keeps them, and they end with the last copy of the fd.

use crate::{Error, Result, check};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use std::path::Path;

/// A held lock; dropping it closes the file and with it the lock.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Opens (creating it, 0600) `name` in `dir` and waits for the exclusive lock.
    pub fn exclusive(dir: BorrowedFd<'_>, name: &str) -> Result<Self> {
        let fd = open(dir, name)?;
        set(&fd, libc::F_WRLCK, libc::F_OFD_SETLKW, name)?;
        Ok(Self(fd))
    }

    /// Like [`Lock::exclusive`] but `None` at once when somebody holds it.
    pub fn try_exclusive(dir: BorrowedFd<'_>, name: &str) -> Result<Option<Self>> {
        let fd = open(dir, name)?;
        match set(&fd, libc::F_WRLCK, libc::F_OFD_SETLK, name) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(e) if e.errno() == libc::EAGAIN || e.errno() == libc::EACCES => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Waits for a shared lock.
    pub fn shared(dir: BorrowedFd<'_>, name: &str) -> Result<Self> {
        let fd = open(dir, name)?;
        set(&fd, libc::F_RDLCK, libc::F_OFD_SETLKW, name)?;
        Ok(Self(fd))
    }

    /// The locked file.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        use rustix::fd::AsFd;
        self.0.as_fd()
    }

    /// Gives the fd away; the lock lives as long as it.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// True when some open file holds an exclusive lock on `name` in `dir`; false also when the file
/// does not exist.
pub fn is_held(dir: BorrowedFd<'_>, name: impl AsRef<Path>) -> Result<bool> {
    let name = name.as_ref();
    let fd = match openat(dir, name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(e) => return Err(Error::new(format!("openat({name:?})"), e)),
    };
    let mut lock = whole(libc::F_WRLCK);
    // SAFETY: F_OFD_GETLK reads and writes the one flock structure that `lock` is.
    let ret = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    check(ret.into(), || format!("fcntl({name:?}, F_OFD_GETLK)"))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn open(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(dir, name, flags, Mode::from(0o600))
        .map_err(|e| Error::new(format!("openat({name:?}, O_CREAT)"), e))
}

fn set(fd: &OwnedFd, kind: libc::c_int, command: libc::c_int, name: &str) -> Result<()> {
    let lock = whole(kind);
    loop {
        // SAFETY: F_OFD_SETLK(W) only reads the flock structure.
        let ret = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw const lock) };
        match check(ret.into(), || format!("fcntl({name:?}, F_OFD_SETLK)")) {
            Err(e) if e.errno() == libc::EINTR => {}
            other => return other.map(drop),
        }
    }
}

fn whole(kind: libc::c_int) -> libc::flock {
    // SAFETY: flock is plain integers, for which all zeros is a value: whole file, pid 0 as F_OFD_* demands.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn held_and_freed() {
        let path = std::env::temp_dir().join(format!("tare-lock-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir: OwnedFd = std::fs::File::open(&path).unwrap().into();
        assert!(!is_held(dir.as_fd(), "x").unwrap());
        let lock = Lock::exclusive(dir.as_fd(), "x").unwrap();
        assert!(is_held(dir.as_fd(), "x").unwrap());
        assert!(Lock::try_exclusive(dir.as_fd(), "x").unwrap().is_none());
        drop(lock);
        assert!(Lock::try_exclusive(dir.as_fd(), "x").unwrap().is_some());
        std::fs::remove_dir_all(path).unwrap();
    }
}
