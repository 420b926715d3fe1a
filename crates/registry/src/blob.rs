//! One blob's way from the registry to the disk.
//!
//! The socket is read here; hashing and writing happen in a blocking thread, behind a bounded queue. A
//! connection that breaks is continued with a Range request; so is what an earlier pull left. When
//! another process downloads the same blob, this one waits for it (and takes over if it dies).

use crate::error::{Error, Result};
use crate::resolve::{Repository, delay};
use bytes::Bytes;
use oci::{Descriptor, Digest};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Follow, Ingest, Store, Writer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

/// Pieces between socket and disk; hyper's pieces are at most 64 KiB or so.
const QUEUE: usize = 32;
/// How often another process's download is looked at. Its lock cannot be waited for without a thread
/// that could not be stopped, and its progress is shown anyway.
const SHARED_INTERVAL: Duration = Duration::from_millis(100);

/// What the parts of one pull share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) repository: Repository,
    /// Turns true when the pull failed: every part stops.
    pub(crate) cancelled: watch::Sender<bool>,
    /// Another try could not go on from here (wrong content, a full disk): partial downloads are not kept.
    pub(crate) discard: AtomicBool,
    /// What this pull brought, so that it is known where it came from.
    pub(crate) fetched: Mutex<Vec<Digest>>,
}

/// One layer's blob to download.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) descriptor: Descriptor,
    pub(crate) written: Arc<AtomicU64>,
    /// Gets readers of the blob as soon as there is something to follow.
    pub(crate) readers: Vec<oneshot::Sender<Follow>>,
}

/// How a blob came to be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    Downloaded,
    Existed,
}

impl Download {
    /// Runs to the end, or until the pull is cancelled.
    pub(crate) async fn run(mut self, shared: Arc<Shared>) -> Result<Arrived> {
        let mut cancelled = shared.cancelled.subscribe();
        let mut waited = false;
        loop {
            if *cancelled.borrow() {
                return Err(Error::Cancelled);
            }
            match self.ingest(&shared).await? {
                Ingest::Exists => {
                    let digest = self.descriptor.digest.clone();
                    let store = shared.store.clone();
                    let count = self.readers.len();
                    let follow = move || -> store::Result<Vec<Follow>> {
                        (0..count).map(|_| store.content().follow(&digest)).collect()
                    };
                    self.give(blocking("content", follow).await??);
                    return Ok(if waited { Arrived::Downloaded } else { Arrived::Existed });
                }
                Ingest::Busy { written } => {
                    waited = true;
                    self.written.store(written, Ordering::Relaxed);
                    tokio::select! {
                        () = tokio::time::sleep(SHARED_INTERVAL) => {}
                        _ = cancelled.changed() => {}
                    }
                }
                Ingest::Writer(writer) => {
                    self.transfer(*writer, &shared, &mut cancelled).await?;
                    let mut fetched = shared.fetched.lock().unwrap_or_else(PoisonError::into_inner);
                    fetched.push(self.descriptor.digest.clone());
                    return Ok(Arrived::Downloaded);
                }
            }
        }
    }

    async fn ingest(&self, shared: &Shared) -> Result<Ingest> {
        let (store, digest, size) =
            (shared.store.clone(), self.descriptor.digest.clone(), self.descriptor.size);
        Ok(blocking("content", move || store.content().ingest(&digest, size)).await??)
    }

    fn give(&mut self, follows: Vec<Follow>) {
        for (reader, follow) in self.readers.drain(..).zip(follows) {
            // Nobody waits when the pull failed meanwhile.
            let _ = reader.send(follow);
        }
    }

    async fn transfer(
        &mut self,
        writer: Writer,
        shared: &Arc<Shared>,
        cancelled: &mut watch::Receiver<bool>,
    ) -> Result<()> {
        let follows = self.readers.iter().map(|_| writer.follow()).collect::<store::Result<Vec<_>>>()?;
        self.give(follows);
        let offset = writer.offset();
        self.written.store(offset, Ordering::Relaxed);
        let (send, receive) = mpsc::channel(QUEUE);
        let (context, written) = (shared.clone(), self.written.clone());
        let disk = spawn_blocking(move || write(writer, receive, &context, &written));
        let fetched = tokio::select! {
            fetched = self.fetch(shared, offset, &send) => fetched,
            _ = cancelled.changed() => Err(Error::Cancelled),
        };
        match &fetched {
            // The writer commits only what it was told is the end.
            Ok(()) => drop(send.send(Piece::End).await),
            Err(Error::Cancelled) => {}
            // Nothing to go on from.
            Err(e) if !e.is_transient() => shared.discard.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        drop(send);
        let stored = disk.await.map_err(|_| Error::Worker("disk writer"))?;
        // A failed write stops the fetch: the write's error is the reason.
        match (fetched, stored) {
            (_, Err(e)) => Err(e),
            (Err(e), Ok(_)) => Err(e),
            (Ok(()), Ok(complete)) => {
                if complete {
                    Ok(())
                } else {
                    Err(Error::Cancelled)
                }
            }
        }
    }

    /// Reads the blob from the registry, continuing after broken connections.
    async fn fetch(&self, shared: &Shared, mut offset: u64, send: &mpsc::Sender<Piece>) -> Result<()> {
        let mut tries = 0;
        while offset < self.descriptor.size {
            let before = offset;
            match self.fetch_once(shared, &mut offset, send).await {
                Ok(()) => return Ok(()),
                Err(e) if e.is_transient() => {
                    tries = if offset > before { 0 } else { tries + 1 };
                    // Without a single new byte.
                    if tries as usize >= shared.repository.settings().download_attempts {
                        return Err(e);
                    }
                    tokio::time::sleep(delay(tries)).await;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn fetch_once(&self, shared: &Shared, offset: &mut u64, send: &mpsc::Sender<Piece>) -> Result<()> {
        let (digest, size): (&Digest, u64) = (&self.descriptor.digest, self.descriptor.size);
        let mut answer = shared.repository.blob(digest, *offset).await?;
        // A server without ranges sends the whole blob again: what is here already is passed over.
        let mut skip = if *offset > 0 && answer.status.as_u16() != 206 { *offset } else { 0 };
        if let (206, Some(range)) = (answer.status.as_u16(), answer.header("content-range"))
            && !range.starts_with(&format!("bytes {offset}-"))
        {
            return Err(Error::Header { header: "Content-Range", value: range.chars().take(200).collect() });
        }
        while let Some(mut chunk) = answer.chunk().await? {
            let passed = skip.min(chunk.len() as u64);
            skip -= passed;
            // `passed` is at most the chunk's length.
            let chunk = chunk.split_off(usize::try_from(passed).unwrap_or(chunk.len()));
            if chunk.is_empty() {
                continue;
            }
            *offset += chunk.len() as u64;
            if *offset > size {
                return Err(Error::TooLarge { what: format!("blob {digest}"), limit: size });
            }
            if send.send(Piece::Data(chunk)).await.is_err() {
                return Err(Error::Cancelled);
            }
        }
        if *offset < size {
            return Err(Error::ShortRead { expected: size, actual: *offset });
        }
        Ok(())
    }
}

enum Piece {
    Data(Bytes),
    End,
}

/// The blocking side; whether the blob was committed.
fn write(
    mut writer: Writer,
    mut pieces: mpsc::Receiver<Piece>,
    shared: &Shared,
    written: &AtomicU64,
) -> Result<bool> {
    let kind = "layer";
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Data(bytes)) => {
                if let Err(source) = writer.write_all(&bytes) {
                    let e = store::Error::Io { what: "cannot write blob".into(), source };
                    if e.is_disk_full() {
                        writer.discard();
                    }
                    return Err(e.into());
                }
                written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Some(Piece::End) => {
                return writer.commit(None).map(|_| true).map_err(|e| Error::of_content(kind, e));
            }
            None => {
                if shared.discard.load(Ordering::Relaxed) {
                    writer.discard();
                }
                return Ok(false);
            }
        }
    }
}

/// Runs blocking work off the runtime's thread.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.map_err(|_| Error::Worker(what))
}
