//! The kernel as safe functions: the only crate that may contain `unsafe`.
//!
//! What rustix already offers safely is used from there by everybody; here stands what it lacks,
//! one file per subject. A failed call is an [`Error`] that prints as the call with its arguments.
//!
//! This crate does not know what a container is.

pub mod bpf;
pub mod clock;
pub mod clone_exe;
pub mod datagram;
pub mod descriptors;
pub mod durable;
pub mod heap;
pub mod iptables;
pub mod lock;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod process;
pub mod pty;
pub mod root;
pub mod scm;
pub mod seccomp;
pub mod signal;
pub mod spawn;
pub mod trace;

use std::fmt;
use std::io;

/// A system call that failed, with its arguments as a person would write them.
///
/// `Display` shows the call only; the reason is the source (an [`io::Error`] with the errno).
#[derive(Debug)]
pub struct Error {
    call: String,
    source: io::Error,
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `call` (for example `mount("proc", "/proc")`) for the given reason.
    pub fn new(call: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { call: call.into(), source: source.into() }
    }

    /// The errno of `call`, read from the calling thread.
    pub fn last(call: impl Into<String>) -> Self {
        Self::new(call, io::Error::last_os_error())
    }

    /// The reason's error number, 0 when there is none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }

    /// The call as text.
    pub fn call(&self) -> &str {
        &self.call
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        let kind = e.source.kind();
        io::Error::new(kind, format!("{}: {}", e.call, e.source))
    }
}

/// Turns the return value of a raw system call into a result.
pub(crate) fn check(ret: libc::c_long, call: impl FnOnce() -> String) -> Result<libc::c_long> {
    if ret < 0 { Err(Error::last(call())) } else { Ok(ret) }
}
