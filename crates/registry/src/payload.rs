//! What a request carries: nothing, a document, or a part of a blob from the store.
//!
//! A payload can be sent more than once: a request that is refused for want of a token comes again. A blob is read
//! by a blocking thread behind a bounded queue.

use crate::connect::RequestBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

const CHUNK_LEN: usize = 64 << 10;
const QUEUE: usize = 8;

/// A request's content.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    None,
    Bytes(Bytes),
    File(Part),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Bytes handed to the connection, counted from the beginning of the file.
    pub(crate) sent: Arc<AtomicU64>,
}

impl Payload {
    /// A new body of it.
    pub(crate) fn body(&self) -> RequestBody {
        match self {
            Payload::None => Empty::new().map_err(|e| match e {}).boxed_unsync(),
            Payload::Bytes(bytes) => Full::new(bytes.clone()).map_err(|e| match e {}).boxed_unsync(),
            Payload::File(part) => part.body().boxed_unsync(),
        }
    }

    /// Its length; none for requests that have no content.
    pub(crate) fn content_length(&self) -> Option<u64> {
        match self {
            Payload::None => None,
            Payload::Bytes(bytes) => Some(bytes.len() as u64),
            Payload::File(part) => Some(part.len),
        }
    }

    /// How much of it is on its way.
    pub(crate) fn sent(&self) -> u64 {
        match self {
            Payload::File(part) => part.sent.load(Ordering::Relaxed),
            _ => 0,
        }
    }
}

impl Part {
    fn body(&self) -> FileBody {
        let (send, receive) = mpsc::channel(QUEUE);
        self.sent.store(self.offset, Ordering::Relaxed);
        let part = self.clone();
        tokio::task::spawn_blocking(move || part.read(&send));
        FileBody { receive, left: self.len, sent: self.sent.clone() }
    }

    fn read(&self, send: &mpsc::Sender<std::io::Result<Bytes>>) {
        let opened = std::fs::File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            Ok(file.take(self.len))
        });
        let mut file = match opened {
            Ok(file) => file,
            Err(e) => return drop(send.blocking_send(Err(e))),
        };
        loop {
            let mut chunk = vec![0; CHUNK_LEN];
            let piece = match file.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => {
                    chunk.truncate(n);
                    Ok(chunk.into())
                }
                Err(e) => Err(e),
            };
            let ended = piece.is_err();
            // Nobody listens when the request was dropped.
            if send.blocking_send(piece).is_err() || ended {
                return;
            }
        }
    }
}

struct FileBody {
    receive: mpsc::Receiver<std::io::Result<Bytes>>,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.receive.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) if self.left > 0 => {
                Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(e))) => Poll::Ready(Some(Err(e))),
            Poll::Ready(Some(Ok(chunk))) => {
                let len = chunk.len() as u64;
                self.left = self.left.saturating_sub(len);
                self.sent.fetch_add(len, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
