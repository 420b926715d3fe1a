//! Writing one blob: append, hash, verify, sync, rename.

use super::{ContentStore, Follow, remove_file, reopen};
use crate::content::follow::Progress;
use crate::error::{Error, Result, errno, io};
use oci::{Algorithm, Digest, Hasher};
use rustix::fd::{AsFd, BorrowedFd};
use std::fs::File;
use std::io::{self as stdio, Read, Write};
use std::sync::Arc;
use sys::lock::Lock;

const REHASH_BUFFER: usize = 256 << 10;

/// A blob being written. Dropped without [`Writer::commit`], a download of known digest stays to be
/// resumed; anything else is removed.
pub struct Writer {
    store: ContentStore,
    name: String,
    lock: Option<Lock>,
    expected: Option<(Digest, u64)>,
    hasher: Hasher,
    written: u64,
    progress: Arc<Progress>,
    keep: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn anonymous(store: ContentStore, name: String, lock: Lock) -> Self {
        let hasher = Hasher::new(Algorithm::Sha256);
        let progress = Arc::new(Progress::default());
        Writer { store, name, lock: Some(lock), expected: None, hasher, written: 0, progress, keep: false }
    }

    /// Takes over what an earlier writer left; its bytes are hashed again, they come from a disk.
    pub(super) fn resume(
        store: ContentStore,
        name: String,
        lock: Lock,
        digest: Digest,
        size: u64,
    ) -> Result<Self> {
        let mut hasher = Hasher::new(digest.algorithm());
        let path = store.ingest_path(&name);
        let mut file = reopen(&path)?;
        let mut written = 0;
        let mut buffer = vec![0; REHASH_BUFFER];
        loop {
            let n = file.read(&mut buffer).map_err(io(format!("cannot read {}", path.display())))?;
            if n == 0 || written + n as u64 > size {
                break;
            }
            hasher.update(&buffer[..n]);
            written += n as u64;
        }
        rustix::fs::ftruncate(lock.as_fd(), written).map_err(errno("ftruncate(ingest)"))?;
        rustix::fs::seek(lock.as_fd(), rustix::fs::SeekFrom::Start(written))
            .map_err(errno("lseek(ingest)"))?;
        let progress = Arc::new(Progress::of_size(size));
        progress.advance(written);
        let expected = Some((digest, size));
        Ok(Writer { store, name, lock: Some(lock), expected, hasher, written, progress, keep: true })
    }

    /// How much is written, by this writer and by those before it.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// A reader from the beginning that waits for bytes not yet written.
    pub fn follow(&self) -> Result<Follow> {
        Ok(Follow::new(reopen(&self.store.ingest_path(&self.name))?, self.progress.clone()))
    }

    /// Does not keep the partial file when this writer is dropped.
    pub fn discard(&mut self) {
        self.keep = false;
    }

    /// Verifies, syncs and names the blob. `expected` may be given for an anonymous writer.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let result = self.verify_and_publish(expected);
        match &result {
            Ok(_) => self.progress.finish(true),
            // Wrong bytes must not be resumed.
            Err(Error::DigestMismatch { .. } | Error::SizeMismatch { .. }) => self.keep = false,
            Err(_) => {}
        }
        result
    }

    fn verify_and_publish(&mut self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let size = self.written;
        let algorithm = self.expected.as_ref().map_or(Algorithm::Sha256, |(d, _)| d.algorithm());
        let actual = std::mem::replace(&mut self.hasher, Hasher::new(algorithm)).finish();
        if let Some((digest, announced)) = &self.expected
            && *announced != size
        {
            return Err(Error::SizeMismatch { digest: digest.clone(), expected: *announced, actual: size });
        }
        for wanted in self.expected.as_ref().map(|(d, _)| d).into_iter().chain(expected) {
            if *wanted != actual {
                return Err(Error::DigestMismatch { expected: wanted.clone(), actual });
            }
        }
        rustix::fs::fsync(self.fd()?).map_err(errno("fsync(ingest)"))?;
        self.store.publish(&self.name, &actual)?;
        self.lock = None;
        Ok((actual, size))
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        match &self.lock {
            Some(lock) => Ok(lock.as_fd()),
            None => Err(Error::Unfinished),
        }
    }
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> stdio::Result<usize> {
        if let Some((_, size)) = &self.expected
            && self.written + buf.len() as u64 > *size
        {
            return Err(stdio::Error::other("content is longer than announced"));
        }
        let fd = self.fd().map_err(stdio::Error::other)?;
        let n = rustix::io::retry_on_intr(|| rustix::io::write(fd, buf))?;
        self.hasher.update(&buf[..n]);
        self.written += n as u64;
        self.progress.advance(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> stdio::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a commit the lock is gone and with it the name.
        if self.lock.is_some() {
            self.progress.finish(false);
            if !self.keep || self.written == 0 {
                let _ = remove_file(&self.store.ingest_path(&self.name));
            }
        }
    }
}

/// A blob under its name.
impl ContentStore {
    /// A reader like [`Writer::follow`] for a blob that is already here.
    pub fn follow(&self, digest: &Digest) -> Result<Follow> {
        let file: File = self.reader(digest)?;
        let progress = Arc::new(Progress::default());
        progress
            .advance(rustix::fs::fstat(file.as_fd()).map_err(errno("fstat(blob)"))?.st_size.cast_unsigned());
        progress.finish(true);
        Ok(Follow::new(file, progress))
    }
}
