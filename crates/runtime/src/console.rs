//! The container's terminal: a pair of its own devpts, and /dev/console bound to it.
//!
//! The image decides what /dev/pts/ptmx is, so what was opened is checked before it is trusted, and the
//! peer is opened and bound by descriptor, never by a name (CVE-2025-52565).

use crate::WindowSize;
use crate::error::{Error, Kind, Result, What};
use rustix::fs::{OFlags, fstatfs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::root::Root;
use sys::trace;

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// A pseudo terminal.
pub(crate) struct Console {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// Opens a pair below `root`.
pub(crate) fn open(root: &Root, size: Option<WindowSize>) -> Result<Console> {
    let mut step = trace::step("terminal", "ioctl(2) TIOCGPTPEER");
    let console = (|| {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master =
            root.open(Path::new("/dev/pts/ptmx"), flags, 0).what(|| "open the container's /dev/pts/ptmx")?;
        let file_system = fstatfs(&master).what(|| "fstatfs(/dev/pts/ptmx)")?;
        if file_system.f_type != DEVPTS_SUPER_MAGIC {
            return Err(Error::new(Kind::Invalid, "/dev/pts/ptmx of the container is not on a devpts"));
        }
        rustix::pty::unlockpt(&master).what(|| "ioctl(TIOCSPTLCK)")?;
        let slave = sys::pty::open_peer(master.as_fd())?;
        if let Some(WindowSize { rows, columns }) = size {
            sys::pty::resize(slave.as_fd(), columns, rows)?;
        }
        Ok(Console { master, slave })
    })();
    step.check(console)
}

impl Console {
    /// Binds the terminal to /dev/console (config-linux.md, "Default Devices").
    pub(crate) fn bind(&self, root: &Root) -> Result<()> {
        let target = root.ensure_file(Path::new("/dev/console"), 0o666).what(|| "make /dev/console")?;
        let tree = sys::mount::open_tree_clone(self.slave.as_fd(), Path::new(""), false)?;
        sys::mount::attach_detached_fd(tree.as_fd(), target.as_fd())
            .what(|| "bind the terminal to /dev/console")
    }
}
