//! What an engine sends bit by bit: hijacked connections, bodies of unknown length, JSON messages.
//!
//! Invariant: nothing here is kept beyond one chunk, except an unfinished message, up to [`MAX_MESSAGE_LEN`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};

use crate::Error;
use crate::client::Lease;
use crate::go;
use crate::json::{Json, SyntaxError};
use crate::system::Message;
use crate::transport::Link;

/// The longest JSON message taken from a stream.
pub const MAX_MESSAGE_LEN: usize = 4 * 1024 * 1024;

/// A header of `logs`: the beginning of what was asked for was rotated away. Only this engine's.
pub const BEGINNING_LOST: &str = "x-tare-log-beginning-lost";

/// How the bytes of a container's output are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As they are: the container has a terminal.
    Raw,
    /// In [`stdcopy`](crate::stdcopy) frames.
    Multiplexed,
    /// The engine did not say (API before 1.42): ask whether the container has a terminal.
    Unstated,
}

impl Framing {
    pub(crate) fn of(headers: &http::HeaderMap) -> Framing {
        match headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes()) {
            Some(b"application/vnd.docker.multiplexed-stream") => Framing::Multiplexed,
            Some(b"application/vnd.docker.raw-stream") => Framing::Raw,
            _ => Framing::Unstated,
        }
    }
}

/// A connection that has become a plain byte stream (attach, exec).
#[derive(Debug)]
pub struct Hijacked {
    /// What the container writes.
    pub reader: HijackedReader,
    /// What the container reads; shutting it down ends the container's input and nothing else.
    pub writer: HijackedWriter,
    /// How the output is framed. Before API 1.42, and for an exec, the engine does not say.
    pub framing: Framing,
}

/// The reading half of a [`Hijacked`].
#[derive(Debug)]
pub struct HijackedReader {
    early: Bytes,
    link: ReadHalf<Link>,
}

/// The writing half of a [`Hijacked`].
#[derive(Debug)]
pub struct HijackedWriter {
    link: WriteHalf<Link>,
}

impl Hijacked {
    pub(crate) fn new(link: Link, early: Bytes, framing: Framing) -> Hijacked {
        let (reader, writer) = tokio::io::split(link);
        Hijacked {
            reader: HijackedReader { early, link: reader },
            writer: HijackedWriter { link: writer },
            framing,
        }
    }
}

impl AsyncRead for HijackedReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.has_remaining() {
            let take = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(take));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.link).poll_read(cx, buf)
    }
}

impl AsyncWrite for HijackedWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

/// The body of an answer, chunk by chunk.
#[derive(Debug)]
pub struct ByteStream {
    body: Incoming,
    lease: Lease,
    framing: Framing,
    beginning_lost: bool,
    headers: http::HeaderMap,
}

impl ByteStream {
    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn new(response: http::Response<Incoming>, lease: Lease) -> ByteStream {
        let framing = Framing::of(response.headers());
        let beginning_lost = response.headers().contains_key(BEGINNING_LOST);
        let (parts, body) = response.into_parts();
        ByteStream { body, lease, framing, beginning_lost, headers: parts.headers }
    }

    /// Whether the engine says that what came first is not kept any more.
    pub fn beginning_lost(&self) -> bool {
        self.beginning_lost
    }

    /// How a container's output in it is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => {
                    self.lease.give_back();
                    return Ok(None);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    // Trailers, or an empty chunk: nothing to hand on.
                    _ => continue,
                },
                Some(Err(source)) => {
                    return Err(Error::Http { endpoint: self.lease.endpoint(), source });
                }
            }
        }
    }

    /// All that is left, up to `limit` bytes.
    pub async fn collect(&mut self, path: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        while let Some(chunk) = self.next().await? {
            if out.len() + chunk.len() > limit {
                return Err(Error::TooLarge { path: path.to_owned(), limit });
            }
            out.extend_from_slice(&chunk);
        }
        Ok(out)
    }
}

/// A stream of JSON values, one after another.
#[derive(Debug)]
pub struct Messages {
    stream: ByteStream,
    buffer: BytesMut,
    ended: bool,
}

impl Messages {
    pub(crate) fn new(stream: ByteStream) -> Messages {
        Messages { stream, buffer: BytesMut::new(), ended: false }
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Message>, Error> {
        match self.next_json().await? {
            Some(value) => Ok(Some(go::decode_json(value)?)),
            None => Ok(None),
        }
    }

    /// The next message as it came.
    pub async fn next_json(&mut self) -> Result<Option<Json>, Error> {
        loop {
            match Json::parse_prefix(&self.buffer) {
                Ok((value, used)) => {
                    self.buffer.advance(used);
                    return Ok(Some(value));
                }
                Err(SyntaxError::Empty) if self.ended => return Ok(None),
                Err(SyntaxError::Empty | SyntaxError::Unfinished) if !self.ended => {}
                Err(error) => return Err(error.into()),
            }
            if self.buffer.len() > MAX_MESSAGE_LEN {
                return Err(Error::TooLarge { path: "a message stream".to_owned(), limit: MAX_MESSAGE_LEN });
            }
            match self.stream.next().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => self.ended = true,
            }
        }
    }
}
