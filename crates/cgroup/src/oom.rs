//! Being told that the kernel killed for want of memory.
//!
//! v1 signals an eventfd that was registered in `cgroup.event_control`; v2 raises POLLPRI on `memory.events`. Both
//! only say "look": [`Cgroup::oom_kills`] is the count. On v1 the eventfd is also signalled when the group goes.
//!
//! It does not know what is done about it.

use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::OFlags;

use crate::folder::{Folder, keyed};
use crate::layout::Version;
use crate::{Cgroup, Controllers, Error, Result};

/// A descriptor that becomes ready when the kernel killed.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    kind: OomWatchKind,
}

/// What to wait for on the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomWatchKind {
    /// Readable (EPOLLIN): an eventfd.
    Eventfd,
    /// Priority (EPOLLPRI): a cgroup file.
    Priority,
}

impl OomWatch {
    /// What to wait for.
    pub fn kind(&self) -> OomWatchKind {
        self.kind
    }

    /// Makes the descriptor wait again after it was ready.
    pub fn rearm(&self) {
        let mut bytes = [0; 8];
        // The eventfd's count, or the file itself: what is read does not matter, and an empty eventfd is fine.
        let _ = match self.kind {
            OomWatchKind::Eventfd => rustix::io::read(&self.fd, &mut bytes),
            OomWatchKind::Priority => rustix::io::pread(&self.fd, &mut bytes, 0),
        };
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// Starts watching.
    pub fn oom_watch(&self) -> Result<OomWatch> {
        let folder = self.memory_folder("watching for out of memory")?;
        let mut step = sys::trace::step("oom watch", "eventfd(2)");
        step.note(format_args!("{}", folder.path.display()));
        if self.version() == Version::V2 {
            let fd = folder
                .open_file("memory.events", OFlags::RDONLY)
                .map_err(|e| folder.io("open", "memory.events", e))?;
            let watch = OomWatch { fd, kind: OomWatchKind::Priority };
            watch.rearm();
            return Ok(watch);
        }
        let control = folder
            .open_file("memory.oom_control", OFlags::RDONLY)
            .map_err(|e| folder.io("open", "memory.oom_control", e))?;
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| folder.io("eventfd for", "memory.oom_control", e))?;
        folder.write("cgroup.event_control", &format!("{} {}", fd.as_raw_fd(), control.as_raw_fd()))?;
        Ok(OomWatch { fd, kind: OomWatchKind::Eventfd })
    }

    /// How many processes the kernel killed for want of memory.
    pub fn oom_kills(&self) -> Result<u64> {
        let folder = self.memory_folder("counting out-of-memory kills")?;
        let file = if self.version() == Version::V2 { "memory.events" } else { "memory.oom_control" };
        // v1 counts since 4.13.
        Ok(keyed(&folder.read(file)?, "oom_kill").unwrap_or(0))
    }

    fn memory_folder(&self, what: &str) -> Result<&Folder> {
        let error = || Error::NoController { what: what.to_owned(), controller: Controllers::MEMORY.name() };
        self.folder(Controllers::MEMORY).ok_or_else(error)
    }
}
