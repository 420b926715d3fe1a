//! The words of the house: image, distribution and runtime specification types.
//!
//! Everything here is plain data with parsing and printing. Decoding is as tolerant as Go's (null
//! lists and maps are empty ones), because that is what the producers of images test against;
//! values that later name files or requests (`Digest`, `Reference`, tags) are validated on the way in.
//! This crate does not know files, sockets, databases or the kernel.

mod config;
mod descriptor;
mod digest;
mod json;
mod manifest;
pub mod media_type;
mod platform;
mod reference;
pub mod runtime;

pub use config::{Config, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::{Descriptor, annotation};
pub use digest::{Algorithm, ChainId, DiffId, Digest, Hasher};
pub use json::{MAX_DOCUMENT_BYTES, from_slice};
pub use manifest::{Document, Index, Manifest};
pub use platform::{Matcher, Platform};
pub use reference::{AnyReference, DEFAULT_DOMAIN, DEFAULT_TAG, MAX_REFERENCE_BYTES, Reference, is_tag};

/// Why a text or document of the specifications could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference does not follow the grammar.
    #[error("invalid reference format")]
    ReferenceFormat,
    /// The repository holds an upper case letter; Docker names the repository when it can.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    ReferenceUppercase(String),
    /// As `ReferenceUppercase`, where only the lower cased form of the whole reference is valid.
    #[error("repository name must be lowercase")]
    NameUppercase,
    /// A bare image id is no repository name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    NameIsIdentifier(String),
    /// The repository path is too long.
    #[error("repository name must not be more than 255 characters")]
    NameTooLong,
    /// The tag does not follow the grammar.
    #[error("invalid tag format")]
    TagFormat,
    /// The digest is not `algorithm:hex`.
    #[error("invalid checksum digest format")]
    DigestFormat,
    /// The digest's encoded part has the wrong length for its algorithm.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// The digest's algorithm is not one of sha256, sha384 and sha512.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
    /// The platform string cannot be understood.
    #[error("{input:?}: {reason}")]
    Platform {
        /// What was given.
        input: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A JSON document is larger than any real one.
    #[error("{what} of {size} bytes is larger than the limit of {MAX_DOCUMENT_BYTES} bytes")]
    DocumentTooLarge {
        /// What the document was to be.
        what: &'static str,
        /// Its size.
        size: u64,
    },
    /// A JSON document does not have the expected form.
    #[error("cannot decode {what}")]
    Json {
        /// What the document was to be.
        what: &'static str,
        /// serde_json's reason.
        source: serde_json::Error,
    },
    /// A document is of a kind that is not supported.
    #[error("unsupported {what}: {found}")]
    Unsupported {
        /// The property.
        what: &'static str,
        /// The value found.
        found: String,
    },
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
