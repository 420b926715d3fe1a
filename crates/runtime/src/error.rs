//! The crate's error: a kind to act on, a text that says what and where, and the reason as source.
//!
//! Kinds and texts cross the channel from the new process to the caller, therefore both are plain data.

use std::fmt;
use std::io;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller may want to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A kernel call failed; the source has the errno.
    Kernel = 1,
    /// The spec or an argument makes no sense.
    Invalid,
    /// The spec asks for something that this runtime or kernel does not have.
    Unsupported,
    /// The program was not found in `$PATH`.
    NotFound,
    /// The program's path does not exist.
    NoSuchFile,
    /// The program may not be executed.
    PermissionDenied,
    /// The program is a folder.
    IsDirectory,
    /// A component of the program's path is not a folder.
    NotDirectory,
    /// A hook failed or took too long.
    Hook,
    /// The new process ended before it was ready.
    Died,
    /// A container with this id is there already.
    Exists,
    /// There is no container with this id.
    NoContainer,
    /// The container is not in the state that the operation needs.
    State,
}

impl Kind {
    /// The kind that a byte of the channel stands for.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Kind; 13] = [
            Kind::Kernel,
            Kind::Invalid,
            Kind::Unsupported,
            Kind::NotFound,
            Kind::NoSuchFile,
            Kind::PermissionDenied,
            Kind::IsDirectory,
            Kind::NotDirectory,
            Kind::Hook,
            Kind::Died,
            Kind::Exists,
            Kind::NoContainer,
            Kind::State,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// True for failures of the program's lookup, where Docker's exit code is 126 or 127.
    pub fn is_program(self) -> bool {
        use Kind::{IsDirectory, NoSuchFile, NotDirectory, NotFound, PermissionDenied};
        matches!(self, NotFound | NoSuchFile | PermissionDenied | IsDirectory | NotDirectory)
    }
}

/// A failure of this crate.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: String,
    source: Option<io::Error>,
}

impl Error {
    /// An error whose text is the whole story.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), source: None }
    }

    /// A failed kernel call: `what` was tried, `source` says why it did not work.
    pub fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { kind: Kind::Kernel, text: what.into(), source: Some(source.into()) }
    }

    /// An error that came over the channel.
    pub(crate) fn received(kind: Kind, text: String, errno: i32) -> Self {
        Self { kind, text, source: (errno != 0).then(|| io::Error::from_raw_os_error(errno)) }
    }

    /// What to act on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The errno of the reason, 0 if there is none.
    pub fn errno(&self) -> i32 {
        self.source.as_ref().and_then(io::Error::raw_os_error).unwrap_or(0)
    }

    /// Puts `what` in front of the text; kind and reason stay.
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// Text and reason on one line, as callers of a runtime read it.
    pub fn chain(&self) -> String {
        match &self.source {
            None => self.text.clone(),
            Some(source) => format!("{}: {}", self.text, reason(source)),
        }
    }
}

/// The reason in Go's words (lower case, no number): callers match on "permission denied" and the like.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.find(" (os error ") {
        Some(end) => &text[..end],
        None => &text,
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // "Is a directory", but not "RPC struct is bad".
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

impl From<sys::Error> for Error {
    fn from(e: sys::Error) -> Self {
        let errno = e.errno();
        Self::kernel(e.call(), io::Error::from_raw_os_error(errno))
    }
}

/// Adds what was tried to a failed kernel call.
pub(crate) trait What<T> {
    /// `what` is only built when the call failed.
    fn what<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T> What<T> for rustix::io::Result<T> {
    fn what<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|errno| Error::kernel(what(), errno))
    }
}

impl<T> What<T> for sys::Result<T> {
    fn what<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|e| Error::from(e).context(what().into()))
    }
}

impl<T> What<T> for io::Result<T> {
    fn what<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|e| Error::kernel(what(), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_read_like_runc() {
        let cases = [
            (
                Error::new(Kind::NotFound, "exec: \"x\": executable file not found in $PATH"),
                "exec: \"x\": executable file not found in $PATH",
            ),
            (Error::kernel("mount /proc", rustix::io::Errno::PERM), "mount /proc: operation not permitted"),
            (Error::kernel("exec", rustix::io::Errno::ISDIR).context("a"), "a: exec: is a directory"),
        ];
        for (error, text) in cases {
            assert_eq!(error.chain(), text);
        }
    }

    #[test]
    fn kinds_survive_the_channel() {
        for byte in 1..=13 {
            assert_eq!(Kind::from_byte(byte).map(|k| k as u8), Some(byte));
        }
        assert_eq!(Kind::from_byte(0), None);
        assert_eq!(Kind::from_byte(14), None);
    }
}
