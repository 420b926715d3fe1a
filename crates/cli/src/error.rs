//! The one error of this crate: what a command says on standard error and how it exits.

use std::io;

/// Exit code of a command that failed without a more precise one.
pub const FAILED: i32 = 1;
/// Exit code of a refused option or a failed `run`.
pub const REFUSED: i32 = 125;
/// Exit code when standard output is closed: as of a process that SIGPIPE kills.
pub const CLOSED_OUTPUT: i32 = 141;

/// Why a command ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// With this text (may be empty) and this exit code.
    #[error("{message}")]
    Exit {
        /// The exit code.
        code: i32,
        /// What to print.
        message: String,
    },
    /// An error with advice, which is said below it.
    #[error("{error}")]
    Advised {
        /// The error.
        error: Box<Error>,
        /// What to do next.
        hint: String,
    },
    /// Whoever read standard output or error is gone.
    #[error("standard output is closed")]
    OutputClosed,
    /// The engine, or the way to it.
    #[error("{}", engine_text(.0))]
    Engine(#[from] api::Error),
    /// A file or stream of this process.
    #[error("{what}: {}", io_text(.source))]
    Io {
        /// What was done, with the path.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// A failure with a text.
    pub fn failed(message: impl Into<String>) -> Error {
        Error::Exit { code: FAILED, message: message.into() }
    }

    /// An exit without a text.
    pub fn code(code: i32) -> Error {
        Error::Exit { code, message: String::new() }
    }

    /// A failed file operation.
    pub fn io(what: impl Into<String>, source: io::Error) -> Error {
        Error::Io { what: what.into(), source }
    }

    /// The same with advice, if there is any.
    pub(crate) fn advised(self, hint: Option<String>) -> Error {
        match hint {
            Some(hint) => Error::Advised { error: Box::new(self), hint },
            None => self,
        }
    }

    /// The exit code.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Exit { code, .. } => *code,
            Error::Advised { error, .. } => error.exit_code(),
            Error::OutputClosed => CLOSED_OUTPUT,
            Error::Engine(_) | Error::Io { .. } => FAILED,
        }
    }

    /// Whether the engine said that it does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Engine(e) if e.is_not_found())
    }

    /// Whether no answer came from the engine at all.
    pub fn is_connection(&self) -> bool {
        matches!(self, Error::Engine(api::Error::Connect { .. } | api::Error::Http { .. }))
    }
}

/// An engine's error in the words of Docker's client.
fn engine_text(error: &api::Error) -> String {
    match error {
        // Docker's CLI takes white space off both ends.
        api::Error::Engine { message, .. } => format!("Error response from daemon: {}", message.trim()),
        api::Error::Connect { endpoint, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            format!(
                "permission denied while trying to connect to the Docker daemon socket at {endpoint}: {}",
                io_text(source)
            )
        }
        api::Error::Connect { endpoint, source } if source.kind() == io::ErrorKind::InvalidInput => {
            format!("error during connect: {endpoint}: {source}")
        }
        api::Error::Connect { endpoint, .. } => {
            format!("Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?")
        }
        api::Error::EmptyName { .. } => error.to_string(),
        other => format!("error during connect: {}", chain(other)),
    }
}

/// The text of an error and of what caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out.push_str(": ");
        out.push_str(&cause.to_string());
        source = cause.source();
    }
    out
}

/// The kernel's words for an error, as Go and C print them, without Rust's number.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
