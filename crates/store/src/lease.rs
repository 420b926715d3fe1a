//! Leases: while any process holds one, the collector does not run.
//!
//! A lease is a shared OFD lock on one file, so that it ends with its process however that ends. One
//! lock for everything is enough because leases are short (a pull, a load) and the collector only
//! needs to run some time: when it finds a lease it leaves its work to the next caller.

use crate::Result;
use crate::error::errno;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::Path;
use sys::lock::Lock;

const NAME: &str = "gc.lock";

/// Held while content is used that no image names yet; dropping it ends it.
#[derive(Debug)]
pub struct Lease(#[expect(dead_code, reason = "held, not read")] Lock);

impl Lease {
    pub(crate) fn take(content_root: &Path) -> Result<Self> {
        Ok(Lease(Lock::shared(open_dir(content_root)?.as_fd(), NAME)?))
    }

    /// The collector's side: `None` when somebody holds a lease.
    pub(crate) fn exclude(content_root: &Path) -> Result<Option<Lock>> {
        Ok(Lock::try_exclusive(open_dir(content_root)?.as_fd(), NAME)?)
    }
}

/// Opens a trusted directory.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(errno(format!("cannot open {}", path.display())))
}
