//! What can go wrong with an archive or a tree.

use std::io;

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why it could not be done. `Display` says what and where; the reason is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{what}")]
    Io {
        /// The operation and its object.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The stream below failed; its error is its own.
    #[error(transparent)]
    Stream(io::Error),
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A tar ends where more must follow. Docker shows Go's word for it.
    #[error("unexpected EOF")]
    Truncated,
    /// A block that is no tar header, or none with usable numbers; in the words of Go's archive/tar.
    #[error("archive/tar: invalid tar header")]
    Header,
    /// A tar stream is broken.
    #[error("invalid tar: {reason}")]
    Broken {
        /// What is wrong.
        reason: String,
    },
    /// An entry that asks for more memory or more attributes than an entry may.
    #[error("invalid tar entry {entry:?}: {what} exceeds the limit of {limit} bytes")]
    EntryLimit {
        /// The entry's path.
        entry: String,
        /// What is too large.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// An entry that cannot be made.
    #[error("cannot unpack {entry:?}: {what}")]
    Entry {
        /// The entry's path.
        entry: String,
        /// The call, or what is wrong.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A limit of this crate.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// An entry that is refused, in Docker's words.
    #[error("{0}")]
    Refused(String),
}

/// For `map_err` on file operations.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what.into(), source }
}

/// The same for rustix's error numbers.
pub(crate) fn errno(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |source| Error::Io { what: what.into(), source: source.into() }
}
