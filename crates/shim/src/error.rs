//! Why a shim, or a conversation with one, failed.

use crate::protocol;
use std::io;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the shim or its client. `Display` says what and where; the reason is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No shim listens there (it ended, or never was).
    #[error("no shim is running for {0}")]
    NoShim(String),
    /// Another shim holds the lock of this run folder.
    #[error("a shim is already running in {0}")]
    AlreadyRunning(String),
    /// The other side closed the connection.
    #[error("the shim closed the connection")]
    Closed,
    /// The other side did not answer in time.
    #[error("the shim did not answer within {0} seconds")]
    Timeout(u64),
    /// The other side broke the protocol or speaks another version.
    #[error("the shim protocol was broken")]
    Protocol(#[from] protocol::ProtocolError),
    /// The shim refused a request.
    #[error("{}", .0.message)]
    Refused(protocol::Failure),
    /// The shim gave an answer that does not belong to the request.
    #[error("unexpected answer of the shim to {0}")]
    UnexpectedAnswer(&'static str),
    /// A file of the run or data folder is not what it should be.
    #[error("{path} cannot be understood")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A system call of ours failed.
    #[error("{what}")]
    Io {
        /// The call.
        what: String,
        /// Its error.
        source: io::Error,
    },
    /// A system call of `sys` failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// Something about a cgroup failed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
}

impl Error {
    /// An error of a call, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |e| Self::Io { what, source: e.into() }
    }
}
