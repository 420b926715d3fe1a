//! Rotated files are compressed by a child, so that neither the container nor the log waits for it.
//!
//! The child is a filter: the rotated file is its stdin, a hidden file beside the log its stdout. The shim alone
//! gives files their names, because it may rotate again meanwhile: `N` is followed here. When the child has ended
//! well its file becomes `LOG.N.gz`, and only then `LOG.N` goes: whatever is killed in between, each line is in
//! one file at least, and a reader prefers the plain one. What a killed shim has left is taken away when the log
//! is opened.
//!
//! It does not know how the child compresses.

use super::file::numbered;
use crate::{Error, Result, spawn};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};
use sys::process::Ended;

/// What a compressed file's name ends in.
pub(super) const SUFFIX: &str = ".gz";

/// Compresses rotated files, one at a time.
#[derive(Debug)]
pub(super) struct Compressor {
    log: PathBuf,
    command: Vec<String>,
    max_file: u32,
    child: Option<Child>,
}

#[derive(Debug)]
struct Child {
    pid: i32,
    pidfd: OwnedFd,
    /// The number of its source now; `max_file` when that has been dropped.
    number: u32,
}

impl Compressor {
    /// Takes away what a shim that was killed has left.
    pub(super) fn new(log: &Path, command: Vec<String>, max_file: u32) -> Self {
        let new = Self { log: log.to_path_buf(), command, max_file, child: None };
        let _ = rustix::fs::unlink(new.temporary());
        for number in 1..max_file {
            if rustix::fs::access(numbered(log, number, SUFFIX), rustix::fs::Access::EXISTS).is_ok() {
                // It has its name, so that it is whole.
                let _ = rustix::fs::unlink(numbered(log, number, ""));
            }
        }
        new
    }

    /// All files have got the next number.
    pub(super) fn rotated(&mut self) {
        if let Some(child) = &mut self.child {
            child.number = (child.number + 1).min(self.max_file);
        }
        self.begin();
    }

    /// A child of the shim has ended; false when it is not this one's.
    pub(super) fn claim(&mut self, pid: i32, ended: Ended) -> bool {
        let Some(child) = self.child.take_if(|child| child.pid == pid) else { return false };
        if ended == Ended::Code(0) && child.number < self.max_file {
            let to = numbered(&self.log, child.number, SUFFIX);
            if rustix::fs::rename(self.temporary(), to).is_ok() {
                let _ = rustix::fs::unlink(numbered(&self.log, child.number, ""));
                // There may have been a rotation while it worked.
                self.begin();
                return true;
            }
        }
        // The file stays as it is; the next rotation tries again.
        let _ = rustix::fs::unlink(self.temporary());
        true
    }

    /// The child that works, for tests.
    #[cfg(test)]
    pub(super) fn child(&self) -> Option<(i32, rustix::fd::BorrowedFd<'_>)> {
        self.child.as_ref().map(|child| (child.pid, child.pidfd.as_fd()))
    }

    /// Starts on the oldest file that is not compressed.
    fn begin(&mut self) {
        if self.child.is_some() {
            return;
        }
        for number in (1..self.max_file).rev() {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let Ok(source) = rustix::fs::open(numbered(&self.log, number, ""), flags, Mode::empty()) else {
                continue;
            };
            match self.spawn(&source) {
                Ok(child) => self.child = Some(Child { number, ..child }),
                Err(_) => {
                    let _ = rustix::fs::unlink(self.temporary());
                }
            }
            return;
        }
    }

    fn spawn(&self, source: &OwnedFd) -> Result<Child> {
        let temporary = self.temporary();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let target = rustix::fs::open(&temporary, flags, Mode::from(super::file::MODE))
            .map_err(Error::io(format!("open({temporary:?})")))?;
        let null = spawn::null()?;
        let spawned = spawn::spawn(&self.command, &[source.as_fd(), target.as_fd(), null.as_fd()])?;
        Ok(Child { pid: spawned.pid, pidfd: spawned.pidfd, number: 0 })
    }

    /// Hidden, and unlike the log's own name: log shippers look for `*-json.log*`.
    fn temporary(&self) -> PathBuf {
        self.log.with_file_name(".compressing")
    }
}

impl Drop for Compressor {
    /// The container has ended: what is not compressed by now stays as it is.
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = sys::process::signal(child.pidfd.as_fd(), rustix::process::Signal::KILL.as_raw());
            let _ = rustix::fs::unlink(self.temporary());
        }
    }
}
