//! `POST /containers/{id}/attach`: the main process's streams over the client's connection.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use api::stdcopy;
use engine::tasks::{Attached, Attachment, LogOptions};
use http::header::{CONTENT_TYPE, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::call::Call;
use crate::detach::DetachKeys;
use crate::endpoints::logs;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;
use crate::wire::{self, CHUNK_LEN, RAW, Wire};

pub(super) async fn attach(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    match begin(router, &mut call).await {
        Ok(answer) => Ok(answer),
        // dockerd has taken the connection over by then and writes the bare text.
        Err(refusal) => {
            let mut answer = reply::text(refusal.status, format!("{}\r\n", refusal.message));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(RAW));
            Ok(answer)
        }
    }
}

async fn begin(router: &Router, call: &mut Call) -> Result<Reply, Refusal> {
    let keys = DetachKeys::parse(call.query.get("detachKeys"))?;
    let what = Attachment {
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
    };
    let (stream, with_logs) = (call.query.flag("stream"), call.query.flag("logs"));
    let name = call.name.clone();
    let look = move |engine: &engine::Engine| {
        let options = LogOptions { stdout: what.stdout, stderr: what.stderr, ..LogOptions::default() };
        let past = if with_logs { Some(engine.logs(&name, options)?.0) } else { None };
        let tty = engine.container(&name)?.config.tty;
        let attached = if stream { Some(engine.attach(&name, what)?.0) } else { None };
        Ok((past, attached, tty))
    };
    let (past, attached, tty) = router.block(&call.tracing, look).await?;
    let (answer, wire) = wire::take_over(call, !tty)?;
    let (hangup, tracing) = (call.hangup.clone(), call.tracing.clone());
    let keys = (tty && what.stdin).then_some(keys);
    let (engine, name) = (router.engine().clone(), call.name.clone());
    tokio::spawn(async move {
        let serve = async {
            let mut wire = wire.await?;
            if let Some(mut past) = past {
                logs::copy_plain(&mut past, &mut wire, !tty).await?;
            }
            if let Some(attached) = attached
                && converse(wire, attached, keys).await?
            {
                engine.note_detach(&name, None);
            }
            io::Result::Ok(())
        };
        tokio::select! {
            result = serve => {
                if let Err(error) = result {
                    tracing::debug!(%error, "an attached client was lost");
                }
            }
            () = hangup.wait() => {}
        }
        // Until here this call counts as one that is recorded.
        drop(tracing);
    });
    Ok(answer)
}

/// True: the client has left by its keys.
async fn converse(mut wire: Box<dyn Wire>, attached: Attached, keys: Option<DetachKeys>) -> io::Result<bool> {
    let stream = match attached {
        Attached::Now(fd) => fd,
        Attached::AtStart(start) => match start.await {
            Ok(fd) => fd,
            // The start failed: the client learns why from its own call.
            Err(_) => return wire.shutdown().await.map(|()| false),
        },
    };
    let (mut output, mut input) = socket(stream)?.into_split();
    let (mut from_client, mut to_client) = tokio::io::split(wire);
    let typed = async {
        if type_into(&mut from_client, &mut input, keys).await? {
            return io::Result::Ok(());
        }
        // The client's input has ended, which ends the container's. Its output goes on.
        input.shutdown().await?;
        std::future::pending().await
    };
    let mut detached = false;
    tokio::select! {
        result = typed => {
            detached = result.is_ok();
            // Detached, or the container no longer reads: in the latter case its output decides.
            if result.is_err() {
                wire::pump(&mut output, &mut to_client).await?;
            }
        }
        result = wire::pump(&mut output, &mut to_client) => result?,
    }
    to_client.shutdown().await?;
    Ok(detached)
}

fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = StdStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Copies what a client types. True: it typed the keys that detach.
pub(super) async fn type_into(
    from_client: &mut (impl tokio::io::AsyncRead + Unpin),
    input: &mut (impl AsyncWrite + Unpin),
    keys: Option<DetachKeys>,
) -> io::Result<bool> {
    let Some(mut keys) = keys else {
        wire::pump(from_client, input).await?;
        return Ok(false);
    };
    let mut buffer = vec![0; CHUNK_LEN];
    let mut passed = Vec::new();
    loop {
        let len = from_client.read(&mut buffer).await?;
        if len == 0 {
            return Ok(false);
        }
        passed.clear();
        let detached = keys.filter(&buffer[..len], &mut passed);
        input.write_all(&passed).await?;
        if detached {
            return Ok(true);
        }
    }
}

/// Frames for `stream`, or the bare bytes.
pub(super) fn framed(out: &mut Vec<u8>, stream: stdcopy::Stream, bytes: &[u8], multiplexed: bool) {
    if multiplexed {
        // One frame holds far less than 4 GiB: callers pass a line or a chunk.
        out.extend_from_slice(&stdcopy::header(stream, bytes.len() as u32));
    }
    out.extend_from_slice(bytes);
}
