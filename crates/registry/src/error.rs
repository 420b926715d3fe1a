//! What can go wrong with a registry. Texts are containerd's where dockerd shows containerd's.

use oci::Digest;
use std::io;

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is, for the caller's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The registry has no such image, or none for the platform.
    NotFound,
    /// The registry wants credentials.
    Unauthorized,
    /// The registry cannot be reached or fails.
    Unavailable,
    /// Something that is not supported yet, named.
    Unsupported,
    /// The content is not what it should be.
    Invalid,
    /// This machine failed.
    Internal,
}

/// A failure. `Display` does not print its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference could not be resolved.
    #[error("failed to resolve reference {reference:?}")]
    Resolve {
        /// In full form.
        reference: String,
        /// Why.
        source: Box<Error>,
    },
    /// The registry has it not.
    #[error("{0}: not found")]
    NotFound(String),
    /// A blob that a manifest names is not there.
    #[error("content at {0} not found: not found")]
    BlobNotFound(String),
    /// An index has nothing for the platform.
    #[error(
        "no matching manifest for {0} in the manifest list entries: no match for platform in manifest: not found"
    )]
    NoPlatform(String),
    /// A manifest of the old form.
    #[error(
        "media type {0:?} is no longer supported since containerd v2.1, please rebuild the image as \"application/vnd.docker.distribution.manifest.v2+json\" or \"application/vnd.oci.image.manifest.v1+json\""
    )]
    Schema1(String),
    /// The registry does not take who we are, or wants to know.
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Unauthorized(String),
    /// The token server does not take who we are.
    #[error("failed to authorize: failed to fetch {how} token")]
    Denied {
        /// "anonymous" or "oauth".
        how: &'static str,
        /// What it says to a person.
        why: String,
        /// Its answer.
        source: Box<Error>,
    },
    /// No token could be had.
    #[error("failed to authorize: failed to fetch {how} token")]
    Authorize {
        /// "anonymous" or "oauth".
        how: &'static str,
        /// Why.
        source: Box<Error>,
    },
    /// A token server whose address or answer cannot be used.
    #[error("failed to authorize: failed to fetch {how} token: {why}")]
    Token {
        /// "anonymous" or "oauth".
        how: &'static str,
        /// Why.
        why: String,
    },
    /// No secure connection.
    #[error("{0}")]
    Tls(String),
    /// A proxy that cannot be used.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The host has no address.
    #[error("dial tcp: lookup {host}{why}")]
    Lookup {
        /// The name.
        host: String,
        /// As Go's resolver says it, with the server.
        why: String,
    },
    /// A push of something that is not here.
    #[error("tag does not exist: {0}")]
    NoTag(String),
    /// An upload that the registry did not take.
    #[error("failed to push: {0}")]
    Upload(String),
    /// The registry's name cannot be a host.
    #[error("invalid registry host {0:?}")]
    Host(String),
    /// A request got no answer.
    #[error("failed to do request: {method} {url:?}")]
    Request {
        /// As Go writes it: "Head", "Get".
        method: &'static str,
        /// The whole address.
        url: String,
        /// Why.
        source: Box<Error>,
    },
    /// A request of `login` or `search` got no answer.
    #[error("{method} {url:?}")]
    Call {
        /// As Go writes it.
        method: &'static str,
        /// The whole address.
        url: String,
        /// Why.
        source: Box<Error>,
    },
    /// A registry that does not take somebody's credentials.
    #[error("Get {url:?}: {why}")]
    Login {
        /// Where they were shown.
        url: String,
        /// What it says.
        why: String,
    },
    /// A registry that cannot be searched.
    #[error("Unexpected status code {0}")]
    Search(u16),
    /// No connection.
    #[error("dial tcp {address}: connect: {reason}")]
    Dial {
        /// The address tried last.
        address: String,
        /// Why, in Go's form of the operating system's text.
        reason: String,
    },
    /// The connection broke.
    #[error("connection failed")]
    Connection(#[source] hyper::Error),
    /// A time limit passed.
    #[error("no {0} within {1} seconds")]
    Timeout(&'static str, u64),
    /// An answer with another status than expected.
    #[error("unexpected status from {method} request to {url}: {status}")]
    Status {
        /// The method.
        method: &'static str,
        /// The whole address.
        url: String,
        /// The status line's number and text.
        status: String,
        /// The number alone.
        code: u16,
    },
    /// The registry explained its refusal.
    #[error("error from registry: {0}")]
    Registry(String),
    /// Too many redirects, or one that leads nowhere.
    #[error("bad redirect from {url}: {reason}")]
    Redirect {
        /// Who redirected.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A header that is not understood.
    #[error("{value:?} in {header} header not valid")]
    Header {
        /// Its name.
        header: &'static str,
        /// Its value.
        value: String,
    },
    /// A document or blob is larger than allowed or announced.
    #[error("rejecting {what} larger than {limit} bytes")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A body ended early, as if it were complete.
    #[error("short read: expected {expected} bytes but got {actual}: unexpected EOF")]
    ShortRead {
        /// By the manifest.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Other bytes than named.
    #[error(
        "failed commit on ref \"{kind}-{expected}\": commit failed: unexpected commit digest {actual}, expected {expected}: failed precondition"
    )]
    Digest {
        /// "layer", "config", "manifest" or "index".
        kind: &'static str,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// An unpacked layer is not the one that the configuration names.
    #[error("wrong diff id calculated on extraction \"{0}\"")]
    DiffId(Digest),
    /// A layer cannot be unpacked.
    #[error("failed to extract layer ({media_type} {digest})")]
    Extract {
        /// Its media type.
        media_type: String,
        /// Its digest.
        digest: Digest,
        /// Why.
        source: Box<store::Error>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A document is not understood.
    #[error(transparent)]
    Document(#[from] oci::Error),
    /// A worker of this pull ended unexpectedly.
    #[error("{0} stopped unexpectedly")]
    Worker(&'static str),
    /// This pull was stopped because another part of it failed.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Resolve { source, .. }
            | Error::Request { source, .. }
            | Error::Call { source, .. }
            | Error::Authorize { source, .. } => source.kind(),
            Error::NotFound(_) | Error::BlobNotFound(_) | Error::NoPlatform(_) | Error::NoTag(_) => {
                Kind::NotFound
            }
            Error::Unauthorized(_) | Error::Denied { .. } | Error::Login { .. } => Kind::Unauthorized,
            Error::Schema1(_) | Error::Document(oci::Error::Unsupported { .. }) => Kind::Unsupported,
            Error::Dial { .. }
            | Error::Connection(_)
            | Error::Timeout(..)
            | Error::Status { .. }
            | Error::Registry(_)
            | Error::Token { .. }
            | Error::Tls(_)
            | Error::Proxy(_)
            | Error::Lookup { .. }
            | Error::Upload(_)
            | Error::Search(_)
            | Error::Redirect { .. } => Kind::Unavailable,
            Error::Host(_)
            | Error::Header { .. }
            | Error::TooLarge { .. }
            | Error::ShortRead { .. }
            | Error::Digest { .. }
            | Error::DiffId(_)
            | Error::Document(_) => Kind::Invalid,
            Error::Extract { source, .. } if source.is_invalid_input() => Kind::Invalid,
            Error::Store(e) if e.is_invalid_input() => Kind::Invalid,
            Error::Extract { .. } | Error::Store(_) | Error::Worker(_) | Error::Cancelled => Kind::Internal,
        }
    }

    /// Whether the registry said that a token is good for less than what was asked.
    pub fn is_insufficient_scope(&self) -> bool {
        match self {
            Error::Resolve { source, .. } => source.is_insufficient_scope(),
            Error::Unauthorized(why) => why.contains("insufficient_scope"),
            _ => false,
        }
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Error::Extract { source, .. } => source.is_disk_full(),
            Error::Store(e) => e.is_disk_full(),
            _ => false,
        }
    }

    /// Whether trying again may help: the way to the registry failed, or the registry is overloaded.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Error::Request { source, .. } | Error::Authorize { source, .. } => source.is_transient(),
            Error::Dial { .. } | Error::Connection(_) | Error::Timeout(..) => true,
            Error::Status { code, .. } => matches!(code, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// A request's failure without the words that containerd puts before it.
    pub(crate) fn bare(self) -> Self {
        match self {
            Error::Request { method, url, source } => Error::Call { method, url, source },
            other => other,
        }
    }

    /// The store's errors for content, in containerd's words.
    pub(crate) fn of_content(kind: &'static str, e: store::Error) -> Self {
        match e {
            store::Error::DigestMismatch { expected, actual } => Error::Digest { kind, expected, actual },
            other => Error::Store(other),
        }
    }
}

/// The operating system's text as Go shows it: in lower case and without the number.
pub(crate) fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
