//! The OCI runtime as a library that never waits.
//!
//! Nouns. A *bundle* is a folder with a spec and (mostly) a root. *Init* is the container's first
//! process. A *gate* is the point right before init's `execve`, where it may be held. A *channel* is
//! the socket pair between the caller and the process it made.
//!
//! Verbs. [`create`] clones init and returns at once with a [`Creating`]: poll its fd, call
//! `advance()` until it yields a [`Created`] (init stands at its gate). [`Created::start`] opens the
//! gate and returns a [`Starting`], which yields `()` when `execve` succeeded. [`exec`] does both for
//! one more process in a running container. Nothing in these calls waits for a process, a hook or a
//! file system of the container: what may wait runs in the new process or in a forked helper.
//!
//! Invariants. The caller is single-threaded: the child of `clone3` goes on running this crate's
//! code. Paths inside a container's root are resolved by `openat2(RESOLVE_IN_ROOT)` only. Every
//! descriptor beyond stdio and the ones asked for is close-on-exec before `execve`.
//!
//! This crate does not know images, snapshots, networks, Docker or who calls it; the library reads no
//! environment variable, no terminal and no configuration. [`command`] is the part that speaks: runc's
//! command line over the same calls.

pub mod caps;
mod channel;
pub mod command;
mod console;
mod create;
mod error;
mod exec;
mod hooks;
mod identity;
mod init;
mod limits;
mod lookup;
mod namespaces;
mod network;
mod program;
mod protocol;
mod rootfs;
pub mod seccomp;
mod state;
mod validate;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub use create::{Created, Creating, Starting, create};
pub use error::{Error, Kind, Result};
pub use exec::{Executed, Executing, exec};
pub use hooks::{HookPhase, HookRun, HookState, spawn_hooks};
pub use state::{Container, Root, State, Status};

/// The standard streams of a new process.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own descriptors 0, 1 and 2.
    Inherit,
    /// Three descriptors that become 0, 1 and 2. `/dev/null` is the caller's to open.
    Pipes {
        /// Becomes descriptor 0.
        stdin: OwnedFd,
        /// Becomes descriptor 1.
        stdout: OwnedFd,
        /// Becomes descriptor 2.
        stderr: OwnedFd,
    },
    /// A new pseudo terminal of the container's own devpts; its master comes back as `console`.
    Terminal {
        /// Rows and columns at birth; `None` leaves 0×0 unless the spec has a console size.
        size: Option<WindowSize>,
    },
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What holds init before its `execve`.
#[derive(Debug)]
pub enum Gate {
    /// Nothing: `execve` follows as soon as everything is set up.
    Immediate,
    /// A fifo, open for both directions: init reads until somebody has written a byte. Outlives the caller: the
    /// command line's `create` and `start`.
    Fifo(OwnedFd),
    /// [`Created::start`] releases it. Init ends if the caller dies first.
    Hold,
}

/// What [`create`] needs to know.
#[derive(Debug)]
pub struct CreateOptions<'a> {
    /// The container's id (see [`validate_id`]); hooks are told it.
    pub id: &'a str,
    /// The container's configuration. Paths of namespaces may be `/proc/self/fd/N`.
    pub spec: &'a oci::runtime::Spec,
    /// The bundle's folder, absolute; `root.path` is relative to it.
    pub bundle: &'a Path,
    /// Mounted inside the container's new mount namespace, in this order, before anything else; their
    /// targets are host paths (the first one is normally the root itself). Empty: `root.path` as it is.
    pub rootfs: Vec<sys::mount::Mount>,
    /// Detached trees in place of the sources of bind mounts, with their mounts' places in the spec.
    pub trees: Vec<(usize, OwnedFd)>,
    /// The cgroup that init is born in; `None` leaves it in the caller's.
    pub cgroup: Option<&'a cgroup::Cgroup>,
    /// Standard streams.
    pub stdio: Stdio,
    /// What holds init.
    pub gate: Gate,
    /// Use `chroot` and a moved mount instead of `pivot_root` (for a root on rootfs/initramfs).
    pub no_pivot: bool,
    /// Leave the session keyring as it is.
    pub no_new_keyring: bool,
    /// This many descriptors from 3 on stay open in the container.
    pub preserve_fds: u32,
    /// `listenFDs` for socket activation: sets `LISTEN_PID=1` beside a `LISTEN_FDS` in the spec.
    pub listen_fds: u32,
    /// Kill the process when the thread that called [`create`] ends.
    pub die_with_parent: bool,
}

impl<'a> CreateOptions<'a> {
    /// The common case: own stdio, held by [`Gate::Hold`], no cgroup, `root.path` as the root.
    pub fn new(id: &'a str, spec: &'a oci::runtime::Spec, bundle: &'a Path) -> Self {
        Self {
            id,
            spec,
            bundle,
            rootfs: Vec::new(),
            trees: Vec::new(),
            cgroup: None,
            stdio: Stdio::Inherit,
            gate: Gate::Hold,
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
            listen_fds: 0,
            die_with_parent: false,
        }
    }
}

/// What [`exec`] needs to know.
#[derive(Debug)]
pub struct ExecOptions<'a> {
    /// The process to start.
    pub process: &'a oci::runtime::Process,
    /// The container's configuration: its seccomp profile applies to the new process too.
    pub spec: &'a oci::runtime::Spec,
    /// Init of the container, in the caller's pid namespace.
    pub target_pid: i32,
    /// The same as a pidfd: all namespaces are taken from it in one call.
    pub target_pidfd: BorrowedFd<'a>,
    /// The container's cgroup; `None` leaves the process in the caller's.
    pub cgroup: Option<&'a cgroup::Cgroup>,
    /// Standard streams.
    pub stdio: Stdio,
    /// Leave the session keyring as it is.
    pub no_new_keyring: bool,
    /// This many descriptors from 3 on stay open in the container.
    pub preserve_fds: u32,
    /// Kill the process when the thread that called [`exec`] ends.
    pub die_with_parent: bool,
}

/// Accepts the ids that runc accepts: `[A-Za-z0-9_+.-]`, not empty, not `.` or `..`, at most 1024.
pub fn validate_id(id: &str) -> Result<()> {
    validate::id(id)
}
