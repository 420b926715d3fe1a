//! Blobs: written once, verified, synced, then named.
//!
//! A download is a file in `ingest/` whose name is the digest that it shall have; the OFD lock on that
//! file says that its writer lives. The next writer of the same digest continues where a dead one
//! stopped (after hashing again what is there) and waits for a living one: so two processes share one
//! download. `Follow` reads a blob while it is being written, which lets layers be unpacked during their
//! download: the page cache is the buffer between both, and neither waits for the other's memory.

mod follow;
mod writer;

pub use follow::Follow;
pub use writer::Writer;

use crate::error::{Error, Result, errno, io};
use crate::lease::open_dir;
use oci::{Algorithm, Descriptor, Digest, MAX_DOCUMENT_BYTES};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use sys::lock::Lock;

/// A download that nobody continued for this long is garbage.
const PARTIAL_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often a lock is tried again because the collector unlinked the file just before.
const LOCK_TRIES: usize = 16;

/// The blobs of a data root.
#[derive(Debug, Clone)]
pub struct ContentStore {
    root: Arc<PathBuf>,
}

/// What becomes of a wish to write a blob.
#[derive(Debug)]
pub enum Ingest {
    /// It is already here.
    Exists,
    /// Another writer is at it and has written this much; try again later.
    Busy {
        /// Bytes written so far.
        written: u64,
    },
    /// Yours to write, from [`Writer::offset`] on.
    Writer(Box<Writer>),
}

impl ContentStore {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let store = ContentStore { root: Arc::new(root.to_path_buf()) };
        // One look decides the common case: the layout file is made last.
        if !root.join("oci-layout").exists() {
            for dir in [root.join("blobs/sha256"), root.join("ingest")] {
                make_dirs(&dir)?;
            }
            let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
            sys::durable::write(open_dir(root)?.as_fd(), "oci-layout", layout, 0o644)?;
        }
        Ok(store)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a blob, whether it is there or not.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The size of a blob, `None` when it is not here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io(format!("cannot look at {}", path.display()))(e)),
        }
    }

    /// What all blobs occupy: one look at each name.
    pub fn total_size(&self) -> Result<u64> {
        let mut sum = 0u64;
        for digest in self.list()? {
            sum = sum.saturating_add(self.size(&digest)?.unwrap_or(0));
        }
        Ok(sum)
    }

    /// Opens a blob for reading.
    pub fn reader(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::ContentNotFound(digest.clone())),
            Err(e) => Err(io(format!("cannot open {}", path.display()))(e)),
        }
    }

    /// Reads a document (manifest, index, configuration) and verifies it.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.reader(digest)?;
        let limit = MAX_DOCUMENT_BYTES as u64;
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(io(format!("cannot read {}", self.path(digest).display())))?;
        if bytes.len() as u64 > limit {
            return Err(Error::Limit { what: "document size", limit });
        }
        let mut hasher = oci::Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let actual = hasher.finish();
        if actual != *digest {
            return Err(Error::DigestMismatch { expected: digest.clone(), actual });
        }
        Ok(bytes)
    }

    /// Begins or continues to write the blob with this digest and size.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Ingest> {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        let lock = match self.lock_ingest(&name)? {
            Ok(lock) => lock,
            Err(written) => return Ok(Ingest::Busy { written }),
        };
        // Looked at under the lock: the last holder may have committed it.
        if self.size(digest)?.is_some() {
            let _ = fs::remove_file(self.ingest_path(&name));
            return Ok(Ingest::Exists);
        }
        let writer = Writer::resume(self.clone(), name, lock, digest.clone(), size)?;
        Ok(Ingest::Writer(Box::new(writer)))
    }

    /// Begins to write content whose digest is not known yet.
    pub fn writer(&self) -> Result<Writer> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let nanos = sys::clock::monotonic_ns();
        let name = format!("anonymous-{n}-{}-{nanos}", std::process::id());
        match self.lock_ingest(&name)? {
            Ok(lock) => Ok(Writer::anonymous(self.clone(), name, lock)),
            Err(_) => Err(Error::Io {
                what: format!("cannot lock {name}"),
                source: rustix::io::Errno::AGAIN.into(),
            }),
        }
    }

    /// Writes a small blob at once.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        if self.size(&descriptor.digest)?.is_none() {
            let mut writer = self.writer()?;
            writer.write_all(bytes).map_err(io("cannot write blob"))?;
            writer.commit(Some(&descriptor.digest))?;
        }
        Ok(descriptor)
    }

    /// Writes a small blob that must have this digest.
    pub fn put_verified(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        match self.ingest(digest, bytes.len() as u64)? {
            Ingest::Exists => Ok(()),
            Ingest::Writer(mut writer) if writer.offset() == 0 => {
                writer.discard();
                writer.write_all(bytes).map_err(io("cannot write blob"))?;
                writer.commit(None).map(drop)
            }
            // Half of it is here, or another process is at it: a second copy is simplest.
            Ingest::Writer(_) | Ingest::Busy { .. } => {
                let mut writer = self.writer()?;
                writer.write_all(bytes).map_err(io("cannot write blob"))?;
                writer.commit(Some(digest)).map(drop)
            }
        }
    }

    /// Forgets a blob; nothing happens when it is not here.
    pub fn delete(&self, digest: &Digest) -> Result<()> {
        remove_file(&self.path(digest))
    }

    /// All blobs.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut all = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let dir = self.root.join("blobs").join(algorithm.name());
            for name in list_dir(&dir)? {
                // Foreign files are not ours to touch.
                if let Ok(digest) = Digest::parse(&format!("{}:{name}", algorithm.name())) {
                    all.push(digest);
                }
            }
        }
        Ok(all)
    }

    /// Removes downloads without a living writer: all anonymous ones, others when they are old.
    /// Only the collector calls this, when nobody holds a lease.
    pub(crate) fn collect_ingests(&self) -> Result<()> {
        let dir = self.root.join("ingest");
        for name in list_dir(&dir)? {
            let path = dir.join(&name);
            let old = || {
                let modified = fs::symlink_metadata(&path).and_then(|m| m.modified()).ok();
                modified
                    .and_then(|t| SystemTime::now().duration_since(t).ok())
                    .is_some_and(|a| a > PARTIAL_KEPT)
            };
            if name.starts_with("anonymous-") || old() {
                let held = Lock::try_exclusive(open_dir(&dir)?.as_fd(), &name)?;
                if held.is_some() {
                    remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    fn ingest_path(&self, name: &str) -> PathBuf {
        self.root.join("ingest").join(name)
    }

    /// The lock on an ingest file that still has its name, or how much its holder has written.
    fn lock_ingest(&self, name: &str) -> Result<Result<Lock, u64>> {
        let dir = open_dir(&self.root.join("ingest"))?;
        for _ in 0..LOCK_TRIES {
            let Some(lock) = Lock::try_exclusive(dir.as_fd(), name)? else {
                let written = fs::symlink_metadata(self.ingest_path(name)).map_or(0, |m| m.len());
                return Ok(Err(written));
            };
            // Between open and lock the file may have been renamed to its blob or collected.
            let stat = rustix::fs::fstat(lock.as_fd()).map_err(errno("fstat(ingest)"))?;
            let named = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
            if named.is_ok_and(|n| n.st_ino == stat.st_ino && n.st_dev == stat.st_dev) {
                return Ok(Ok(lock));
            }
        }
        Ok(Err(0))
    }

    /// Names a written and synced file.
    pub(crate) fn publish(&self, name: &str, digest: &Digest) -> Result<()> {
        let target = self.path(digest);
        let dir = target.parent().unwrap_or(&self.root).to_path_buf();
        if digest.algorithm() != Algorithm::Sha256 {
            make_dirs(&dir)?;
        }
        let from = self.ingest_path(name);
        fs::rename(&from, &target).map_err(io(format!("cannot rename to {}", target.display())))?;
        rustix::fs::fsync(open_dir(&dir)?).map_err(errno(format!("fsync({})", dir.display())))
    }
}

pub(crate) fn make_dirs(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io(format!("cannot make {}", path.display())))
}

pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(io(format!("cannot remove {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}

/// The names in a trusted directory; none when it does not exist.
pub(crate) fn list_dir(path: &Path) -> Result<Vec<String>> {
    let what = || format!("cannot list {}", path.display());
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(what())(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // Names of the store's own are all plain text.
        if let Ok(name) = entry.map_err(io(what()))?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens the ingest file once more for reading, at offset 0.
fn reopen(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .map_err(errno(format!("cannot open {}", path.display())))?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests;
