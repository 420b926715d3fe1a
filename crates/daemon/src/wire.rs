//! Taking over a connection for raw bytes, as attach and exec do (dockerd: *hijacking*).
//!
//! With `Upgrade: tcp` the answer is 101 and the connection itself. Without, dockerd writes a 200 without any
//! framing and then raw bytes up to the end of the connection. Of HTTP that is version 1.0 (RFC 9112, 6.3, rule 8):
//! the output is such an answer's body, and the request's body is the input.

use std::future::Future;
use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use crate::call::Call;
use crate::reply::{self, Refusal, Reply, ReplyBody};

/// How much is copied at once, and how much may wait on the way.
pub(crate) const CHUNK_LEN: usize = 64 * 1024;

/// Bytes as they are.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";
/// Bytes in stdcopy frames.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// A byte stream in both directions.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The answer that gives the connection away, and the connection, which comes when the answer is on its way.
/// `multiplexed` says how the output will be framed.
pub(crate) fn take_over(
    call: &mut Call,
    multiplexed: bool,
) -> Result<(Reply, impl Future<Output = io::Result<Box<dyn Wire>>> + Send + use<>), Refusal> {
    let content_type = if multiplexed && call.since(42) { MULTIPLEXED } else { RAW };
    let (answer, source) = if call.wants_upgrade() {
        let upgrade =
            call.upgrade.take().ok_or_else(|| Refusal::internal("the connection is taken already"))?;
        (upgraded(content_type), Source::Upgrade(upgrade))
    } else {
        let (sender, mut answer) = reply::stream(RAW);
        *answer.version_mut() = Version::HTTP_10;
        let (ours, theirs) = tokio::io::duplex(CHUNK_LEN);
        let (reader, writer) = tokio::io::split(theirs);
        tokio::spawn(send_output(reader, sender));
        if let Some(body) = call.body.take() {
            tokio::spawn(take_input(body, writer));
        }
        (answer, Source::Pipe(ours))
    };
    let wire = async move {
        let wire: Box<dyn Wire> = match source {
            Source::Upgrade(upgrade) => Box::new(TokioIo::new(upgrade.await.map_err(io::Error::other)?)),
            Source::Pipe(pipe) => Box::new(pipe),
        };
        Ok(wire)
    };
    Ok((answer, wire))
}

enum Source {
    Upgrade(hyper::upgrade::OnUpgrade),
    Pipe(DuplexStream),
}

fn upgraded(content_type: &'static str) -> Reply {
    let mut answer = Response::new(ReplyBody::Full(None));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    // Docker's own words; some clients compare the whole line.
    answer.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    answer
}

async fn send_output(mut reader: impl AsyncRead + Unpin, sender: mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; CHUNK_LEN];
    while let Ok(len) = reader.read(&mut buffer).await {
        if len == 0 || sender.send(Bytes::copy_from_slice(&buffer[..len])).await.is_err() {
            return;
        }
    }
}

async fn take_input(mut body: Incoming, mut writer: impl AsyncWrite + Unpin) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data()
            && writer.write_all(&data).await.is_err()
        {
            return;
        }
    }
    // Whoever reads sees the end by the shutdown; if nobody does, there is nobody to tell.
    let _ = writer.shutdown().await;
}

/// Copies until the end of `reader`; what was copied is flushed whenever nothing more is there at once.
pub(crate) async fn pump(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
    writer: &mut (impl AsyncWrite + Unpin + ?Sized),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_LEN];
    loop {
        let len = reader.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        writer.write_all(&buffer[..len]).await?;
        writer.flush().await?;
    }
}
