//! What can go wrong in the store.

use oci::Digest;
use std::io;
use std::path::PathBuf;

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store could not do it. `Display` says what and where; the reason is the source.
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
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] db::Error),
    /// A document cannot be understood.
    #[error(transparent)]
    Document(#[from] oci::Error),
    /// The data root's path cannot be written into mount options.
    #[error("data root {path:?} contains {found:?}, which overlayfs cannot take in a path")]
    DataRoot {
        /// The path.
        path: PathBuf,
        /// The character.
        found: char,
    },
    /// Content that is not here.
    #[error("content digest {0}: not found")]
    ContentNotFound(Digest),
    /// A snapshot that is not here.
    #[error("snapshot {0} not found")]
    SnapshotNotFound(String),
    /// A key that is in use.
    #[error("snapshot {0} already exists")]
    SnapshotExists(String),
    /// No manifest of an image is for this platform, or its content is not here.
    #[error("no image for platform {platform} in {digest}")]
    NoPlatform {
        /// The platform wanted.
        platform: String,
        /// The image.
        digest: Digest,
    },
    /// Content is not what its digest says.
    #[error("digest mismatch: expected {expected}, got {actual}")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content is shorter or longer than announced.
    #[error("size mismatch for {digest}: expected {expected} bytes, got {actual}")]
    SizeMismatch {
        /// The content.
        digest: Digest,
        /// Announced.
        expected: u64,
        /// Got.
        actual: u64,
    },
    /// The uncompressed layer is not the one that the configuration names.
    #[error("layer {index} unpacks to {actual}, but the image configuration says {expected}")]
    DiffIdMismatch {
        /// Counts from 0, lowest first.
        index: usize,
        /// By the configuration.
        expected: Digest,
        /// By its bytes.
        actual: Digest,
    },
    /// The number of layers differs between manifest and configuration.
    #[error("manifest has {layers} layers, but the image configuration has {diff_ids}")]
    LayerCount {
        /// By the manifest.
        layers: usize,
        /// By the configuration.
        diff_ids: usize,
    },
    /// The writer of content that is being followed gave up.
    #[error("download did not finish")]
    Unfinished,
    /// A compressed stream is broken, or of an unsupported kind.
    #[error("cannot decompress layer ({kind})")]
    Decompress {
        /// The compression.
        kind: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A compressed stream or a tar ends where more must follow. Docker shows Go's word for it.
    #[error("unexpected EOF")]
    Truncated,
    /// A block that is no tar header, or none with usable numbers; in the words of Go's archive/tar.
    #[error("archive/tar: invalid tar header")]
    TarHeader,
    /// A tar stream is broken.
    #[error("invalid tar: {reason}")]
    Tar {
        /// What is wrong.
        reason: String,
    },
    /// A tar entry that asks for more memory or more attributes than an entry may.
    #[error("invalid tar entry {entry:?}: {what} exceeds the limit of {limit} bytes")]
    EntryLimit {
        /// The entry's path.
        entry: String,
        /// What is too large.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// A tar entry that would lead outside of the layer.
    #[error("invalid tar entry {entry:?}: {what} leads outside of the layer")]
    Escape {
        /// The entry's path.
        entry: String,
        /// "path" or "link target".
        what: &'static str,
    },
    /// A tar entry that cannot be made.
    #[error("cannot unpack {entry:?}: {what}")]
    Entry {
        /// The entry's path.
        entry: String,
        /// The call, or what is wrong.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A limit of this store.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// An archive given to load or import is not understood.
    #[error("{0}")]
    Archive(String),
}

impl Error {
    /// Whether the disk (or a quota) is full.
    pub fn is_disk_full(&self) -> bool {
        if let Error::Database(e) = self
            && e.is_disk_full()
        {
            return true;
        }
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(e) = source {
            if let Some(io) = e.downcast_ref::<io::Error>()
                && matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            {
                return true;
            }
            source = e.source();
        }
        false
    }

    /// Whether the input (an archive, a layer, a document) is at fault rather than this machine.
    pub fn is_invalid_input(&self) -> bool {
        matches!(
            self,
            Error::Document(_)
                | Error::DigestMismatch { .. }
                | Error::SizeMismatch { .. }
                | Error::DiffIdMismatch { .. }
                | Error::LayerCount { .. }
                | Error::Decompress { .. }
                | Error::Truncated
                | Error::TarHeader
                | Error::Tar { .. }
                | Error::Escape { .. }
                | Error::Archive(_)
        )
    }
}

/// For `map_err` on file operations.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what.into(), source }
}

/// The same for rustix's error numbers.
pub(crate) fn errno(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |source| Error::Io { what: what.into(), source: source.into() }
}

/// Errors of the stream below keep their own message: it is about a download or a decompressor.
pub(crate) fn stream(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(inner) => inner,
        Err(source) => Error::Io { what: "cannot read layer".into(), source },
    }
}

impl From<tree::Error> for Error {
    fn from(e: tree::Error) -> Error {
        match e {
            tree::Error::Io { what, source } => Error::Io { what, source },
            tree::Error::Stream(e) => stream(e),
            tree::Error::Sys(e) => Error::Sys(e),
            tree::Error::Truncated => Error::Truncated,
            tree::Error::Header => Error::TarHeader,
            tree::Error::Broken { reason } => Error::Tar { reason },
            tree::Error::EntryLimit { entry, what, limit } => Error::EntryLimit { entry, what, limit },
            tree::Error::Entry { entry, what, source } => Error::Entry { entry, what, source },
            tree::Error::Limit { what, limit } => Error::Limit { what, limit },
            tree::Error::Refused(text) => Error::Archive(text),
        }
    }
}
