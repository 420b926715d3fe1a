//! `GET /images/get` and `GET /images/{name}/get`: images as one archive.

use std::io::{self, Write};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::endpoints::images::platform_of;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

/// One chunk of the archive on its way.
const CHUNK_LEN: usize = 64 * 1024;

pub(super) async fn save(router: &Router, call: Call) -> Result<Reply, Refusal> {
    if call.since(48) && call.query.all("platform").count() > 1 {
        return Err(Refusal::bad_request("multiple platform parameters not supported"));
    }
    let platform = if call.since(48) { platform_of(&call.query)? } else { None };
    let names: Vec<String> = match call.name.as_str() {
        "" => call.query.all("names").map(str::to_owned).collect(),
        name => vec![name.to_owned()],
    };
    let find = move |engine: &engine::Engine| engine.save_images(&names, platform.as_ref());
    let saved = router.block(&call.tracing, find).await?;
    let (sender, mut answer) = reply::stream("application/x-tar");
    *answer.status_mut() = StatusCode::OK;
    let router = router.clone();
    tokio::spawn(async move {
        let download = Download::new(sender.clone());
        let written = router.on_thread(&call.tracing, move |_| saved.write(download)).await;
        if let Err(refusal) = written {
            // The head is out: as with dockerd, the error stands in the stream and makes the archive unreadable.
            let _ = sender.send(reply::error_line(&refusal.message)).await;
        }
    });
    Ok(answer)
}

/// Code that blocks writes, the answer is sent: a bounded queue is all that waits between the two.
pub(super) struct Download {
    sender: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Download {
    pub(super) fn new(sender: mpsc::Sender<Bytes>) -> Download {
        Download { sender, buffer: Vec::with_capacity(CHUNK_LEN) }
    }
}

impl Write for Download {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_LEN - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_LEN {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_LEN));
        self.sender.blocking_send(full.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
