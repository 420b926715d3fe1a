//! The engine's one error: a kind, which a door maps to its own status, and Docker's text.
//!
//! Errors of the crates below become a message here: what they wrap is appended in order, since
//! Docker's API has only one string to say it in.

use std::error::Error as StdError;

/// What went wrong, as a class that every wire protocol can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The named thing does not exist.
    NotFound,
    /// The request contradicts the state of things (a name in use, a running container).
    Conflict,
    /// The request is wrong in itself.
    InvalidParameter,
    /// The state is already what was asked for.
    NotModified,
    /// The other side demands a login, or denies access.
    Unauthorized,
    /// Not allowed here.
    Forbidden,
    /// Something outside cannot be reached.
    Unavailable,
    /// Known, but not supported yet; the message names it.
    NotImplemented,
    /// Anything else: a system call, a disk, a bug.
    Internal,
}

/// An error with Docker's text where Docker has one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Its class.
    pub kind: Kind,
    /// One line for a person: what and where.
    pub message: String,
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        // Every message of the engine passes here.
        Self { kind, message: in_gos_form(message.into()) }
    }

    /// [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// [`Kind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// [`Kind::InvalidParameter`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameter, message)
    }

    /// [`Kind::NotImplemented`]: `what` is named.
    pub fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotImplemented, format!("{what} is not supported yet"))
    }

    /// [`Kind::Internal`] from an error and its sources: `what: error: source`.
    pub fn internal(what: &str, error: &(dyn StdError + 'static)) -> Self {
        Self::new(Kind::Internal, format!("{what}: {}", chain(error)))
    }
}

/// An error with all its sources, from outside in: `a: b: c`.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text.push_str(": ");
        text.push_str(&words(e));
        source = e.source();
    }
    text
}

/// An error's own text; of a stream that ends early, Go's.
fn words(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<std::io::Error>() {
        Some(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_string(),
        _ => error.to_string(),
    }
}

/// The operating system's texts in the form that Docker's users know: "No space left on device (os error 28)"
/// becomes "no space left on device". Go's are the C library's but for their first letter.
fn in_gos_form(mut message: String) -> String {
    const MARK: &str = " (os error ";
    let mut from = 0;
    while let Some(mark) = message[from..].find(MARK).map(|at| from + at) {
        let digits = message[mark + MARK.len()..].bytes().take_while(u8::is_ascii_digit).count();
        let end = mark + MARK.len() + digits;
        if digits == 0 || !message[end..].starts_with(')') {
            from = end;
            continue;
        }
        message.replace_range(mark..=end, "");
        let start = message[..mark].rfind(": ").map_or(0, |at| at + 2);
        let mut letters = message[start..mark].chars();
        if let (Some('A'..='Z'), Some('a'..='z')) = (letters.next(), letters.next()) {
            let first = message[start..=start].to_ascii_lowercase();
            message.replace_range(start..=start, &first);
        }
        from = mark;
    }
    message
}

impl From<db::Error> for Error {
    fn from(e: db::Error) -> Self {
        Self::new(Kind::Internal, chain(&e))
    }
}

impl From<sys::Error> for Error {
    fn from(e: sys::Error) -> Self {
        Self::new(Kind::Internal, chain(&e))
    }
}

impl From<cgroup::Error> for Error {
    fn from(e: cgroup::Error) -> Self {
        Self::new(Kind::Internal, chain(&e))
    }
}

impl From<net::Error> for Error {
    fn from(e: net::Error) -> Self {
        Self::new(Kind::Internal, chain(&e))
    }
}

impl From<oci::Error> for Error {
    fn from(e: oci::Error) -> Self {
        Self::new(Kind::InvalidParameter, chain(&e))
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        Self::new(Kind::Internal, chain(&e))
    }
}

/// Adds what was being done to an input/output error.
pub(crate) fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |e| Error::new(Kind::Internal, format!("{what}: {e}"))
}

/// The same for rustix's error numbers.
pub(crate) fn errno(what: impl std::fmt::Display) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |e| Error::new(Kind::Internal, format!("{what}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_are_gos() {
        for (text, expected) in [
            ("write: No space left on device (os error 28)", "write: no space left on device"),
            ("No space left on device (os error 28)", "no space left on device"),
            ("open \"/a: b\": Permission denied (os error 13)", "open \"/a: b\": permission denied"),
            (
                "a: Is a directory (os error 21); b: File exists (os error 17)",
                "a: is a directory; b: file exists",
            ),
            ("é: I/O error (os error 5)", "é: I/O error"),
            ("a name (os error x) and (os error 5", "a name (os error x) and (os error 5"),
            ("nothing of the kind", "nothing of the kind"),
            ("", ""),
        ] {
            assert_eq!(Error::new(Kind::Internal, text).message, expected);
        }
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(io("write")(full).message, "write: no space left on device");
        assert_eq!(errno("open")(rustix::io::Errno::NOENT).message, "open: no such file or directory");
        let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "failed to fill whole buffer");
        let e = store::Error::Io { what: "cannot read layer".into(), source };
        assert_eq!(chain(&e), "cannot read layer: unexpected EOF");
    }
}
