//! The one error of this crate.

use crate::go::DecodeError;
use crate::json::SyntaxError;

/// Why a call to an engine did not give an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers at the engine's address. The caller knows which advice to give.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The address.
        endpoint: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection to {endpoint} failed")]
    Http {
        /// The address.
        endpoint: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The engine's answer to the request is an error, with the engine's own text.
    #[error("{message}")]
    Engine {
        /// The HTTP status.
        status: u16,
        /// The text in the body.
        message: String,
    },
    /// The engine did not hand over the connection although it should stream.
    #[error("unable to upgrade to tcp, received {status}")]
    NotUpgraded {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is larger than this client takes.
    #[error("the answer to {path} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// What should be JSON is not.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// JSON of another shape than expected.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A name that is empty would make another path than was meant.
    #[error("invalid {kind} name or ID: value is empty")]
    EmptyName {
        /// `container`, `network` or `volume`.
        kind: &'static str,
    },
    /// The header that tells of a path in a container is not there, or not readable.
    #[error("unable to decode container path stat header")]
    PathStat,
    /// The request cannot be put into HTTP: a name or header with control characters.
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
}

impl Error {
    /// The HTTP status of an error that the engine answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Engine { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the engine answered that it does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the engine answered that things are so already (a container started twice).
    pub fn is_not_modified(&self) -> bool {
        self.status() == Some(304)
    }
}
