//! Control groups: the container's place in the kernel's resource accounting, for cgroup v2, hybrid and v1.
//!
//! Nouns: a [`Layout`] is what is mounted where; a *hierarchy* is one of its trees (v1 has several, v2 one); a
//! [`Cgroup`] is the container's folder in each hierarchy; a *plan* is the list of file writes that turns the OCI
//! [`Resources`](oci::runtime::Resources) into the kernel's words.
//!
//! Invariants:
//! - Plans are pure: what is written follows from the resources and a few facts read beforehand.
//! - A group that was killed through `cgroup.kill` is never used again: from kernel 6.12 on, whoever is cloned into
//!   it later is killed at once, even if the group was empty (seen on 6.18).
//! - In the hybrid layout the container has a folder in the v2 tree too. No controller is there, but it gives an
//!   atomic kill, a freezer and a notification when the group is empty.
//!
//! It does not know containers, names of engines, or systemd: the driver is cgroupfs.

mod apply;
mod bpf;
mod controller;
mod convert;
mod devices;
mod driver;
mod folder;
mod group;
mod kill;
mod layout;
mod oom;
mod stats;
mod v1;
mod v2;

use std::io;
use std::path::PathBuf;

pub use bpf::device_program;
pub use controller::Controllers;
pub use convert::{blkio_weight_to_io_weight, shares_to_weight, swap_to_v2};
pub use devices::{DevicePolicy, Exception, default_devices};
pub use driver::Driver;
pub use group::{Cgroup, escape};
pub use layout::{Hierarchy, Layout, Version};
pub use oom::{OomWatch, OomWatchKind};
pub use stats::{BlockStats, CpuStats, MemoryStats, PidsStats, Stats};

/// What went wrong with a group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup file system is mounted.
    #[error("no cgroup file system is mounted")]
    NotMounted,
    /// A file or folder could not be used.
    #[error("{op} {}", path.display())]
    Io {
        /// The call.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel did not take a value.
    #[error("write {value:?} to {}", path.display())]
    Write {
        /// What was written.
        value: String,
        /// Where.
        path: PathBuf,
        /// Why it was refused.
        source: io::Error,
    },
    /// The path of a group would leave its hierarchy, or is the hierarchy's root.
    #[error("invalid cgroup path {:?}", .0)]
    Path(PathBuf),
    /// Somebody else's processes are in the group.
    #[error("container's cgroup is not empty: {count} process(es) found in {}", path.display())]
    NotEmpty {
        /// The group's folder.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A limit needs a controller that is not there.
    #[error("{what} needs the cgroup controller {controller}, which is not available")]
    NoController {
        /// The setting.
        what: String,
        /// The controller.
        controller: &'static str,
    },
    /// A value that has no meaning.
    #[error("{0}")]
    Invalid(String),
    /// A limit below what is in use.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    MemoryInUse {
        /// The wanted limit.
        limit: i64,
        /// Bytes in use.
        usage: u64,
        /// Most bytes ever in use.
        peak: u64,
        /// The kernel's answer, if it was asked.
        source: Option<io::Error>,
    },
    /// Something that Tare does not do.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A wait ended without success.
    #[error("{what} {} did not happen within {limit_ms} ms", path.display())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The group's folder.
        path: PathBuf,
        /// The limit.
        limit_ms: u64,
    },
    /// The device filter could not be loaded or attached.
    #[error("device filter of {}", path.display())]
    DeviceFilter {
        /// The group's folder.
        path: PathBuf,
        /// Why.
        source: sys::Error,
    },
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;
