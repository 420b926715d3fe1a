//! `--explain` over the API: the header `X-Tare-Trace: ID` on any call, `GET /tare/trace/ID` for what was recorded.
//!
//! The records are lines of JSON in one file per id below the run root, written by every process that takes part.
//! This file does not know what is in them.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engine::{Engine, TraceSink};
use http::HeaderMap;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::hangup::Hangup;
use crate::reply::{self, Refusal, Reply};

/// The longest trace id.
const MAX_ID_LEN: usize = 64;
/// How much is read at once.
const CHUNK_LEN: usize = 32 * 1024;
/// A story is over when for so long no call has carried its id.
const SILENCE: Duration = Duration::from_millis(100);

/// The calls under way that are recorded, by id: whoever follows a story learns from it when it is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stories(Arc<Mutex<HashMap<String, watch::Sender<Calls>>>>);

/// How many calls carry an id.
#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    begun: u64,
    running: u64,
}

impl Stories {
    fn change(&self, id: &str, change: impl FnOnce(&mut Calls)) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let story = map.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(Calls::default()));
        story.send_modify(change);
        if story.borrow().running == 0 && story.receiver_count() == 0 {
            map.remove(id);
        }
    }

    fn follow(&self, id: &str) -> watch::Receiver<Calls> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(Calls::default())).subscribe()
    }
}

/// One call that is recorded.
#[derive(Debug)]
struct Told {
    sink: TraceSink,
    id: String,
    stories: Stories,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stories.change(&self.id, |calls| calls.running -= 1);
    }
}

/// What a call is recorded in, if anything. The call counts as under way until the last clone is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracing(Option<Arc<Told>>);

impl Tracing {
    /// By the request's header.
    pub(crate) fn of(engine: &Engine, stories: &Stories, headers: &HeaderMap) -> Result<Tracing, Refusal> {
        let Some(value) = headers.get("x-tare-trace") else { return Ok(Tracing(None)) };
        let id = value.to_str().ok().filter(|id| is_token(id));
        let id = id.ok_or_else(|| {
            Refusal::bad_request("X-Tare-Trace is not a plain word of at most 64 characters")
        })?;
        let sink = engine.trace_sink(id)?;
        stories.change(id, |calls| {
            calls.begun += 1;
            calls.running += 1;
        });
        Ok(Tracing(Some(Arc::new(Told { sink, id: id.to_owned(), stories: stories.clone() }))))
    }

    /// Runs `work` with its kernel steps recorded.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(told) => told.sink.run(work),
            None => work(),
        }
    }

    /// The same for a future: each time it is polled.
    pub(crate) async fn run_async<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| self.run(|| work.as_mut().poll(cx))).await
    }
}

/// The records under an id; with `follow` also those that come, until the calls that carry the id are over.
pub(crate) fn serve(
    engine: &Engine,
    stories: &Stories,
    id: &str,
    follow: bool,
    hangup: Hangup,
) -> Result<Reply, Refusal> {
    if !is_token(id) {
        return Err(Refusal::bad_request("a trace id is a plain word of at most 64 characters"));
    }
    let path = engine.paths().trace(id);
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::from(engine::Error::not_found(format!("No such trace: {id}"))),
        _ => Refusal::internal(format!("open the trace {id}: {error}")),
    };
    // Whoever follows may come before the first record.
    let file =
        File::options().read(true).append(true).create(follow).mode(0o600).open(&path).map_err(missing)?;
    let watched = if follow { Some(watch_file(&path).map_err(missing)?) } else { None };
    let mut calls = Followed { calls: stories.follow(id), stories: stories.clone(), id: id.to_owned() };
    let (sender, answer) = reply::stream("application/x-ndjson");
    tokio::spawn(async move {
        tokio::select! {
            // What cannot be read is not there: the stream ends.
            _ = send_records(file, watched, &mut calls.calls, &sender) => {}
            () = hangup.wait() => {}
            () = sender.closed() => {}
        }
        if follow {
            // Told to the one who asked for it: nobody reads it again.
            let _ = std::fs::remove_file(&path);
        }
    });
    Ok(answer)
}

/// Forgets a story that nobody tells when its last follower leaves.
struct Followed {
    calls: watch::Receiver<Calls>,
    stories: Stories,
    id: String,
}

impl Drop for Followed {
    fn drop(&mut self) {
        // This receiver still counts; it is replaced by one of no story.
        self.calls = watch::Sender::new(Calls::default()).subscribe();
        self.stories.change(&self.id, |_| {});
    }
}

/// Returns when calls have carried the id and none has for a while.
async fn over(calls: &mut watch::Receiver<Calls>) {
    loop {
        let now = *calls.borrow_and_update();
        if now.begun > 0 && now.running == 0 {
            // A command makes several calls, one after another.
            tokio::select! {
                () = tokio::time::sleep(SILENCE) => return,
                changed = calls.changed() => if changed.is_err() { return },
            }
        } else if calls.changed().await.is_err() {
            return;
        }
    }
}

async fn send_records(
    mut file: File,
    watch: Option<AsyncFd<OwnedFd>>,
    calls: &mut watch::Receiver<Calls>,
    sender: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_LEN];
    let mut last_look = false;
    loop {
        let len = file.read(&mut buffer)?;
        if len > 0 {
            if sender.send(Bytes::copy_from_slice(&buffer[..len])).await.is_err() {
                return Ok(());
            }
            continue;
        }
        let Some(watch) = &watch else { return Ok(()) };
        if last_look {
            return Ok(());
        }
        let mut ready = tokio::select! {
            ready = watch.readable() => ready?,
            () = over(calls) => {
                // What was written before the last call ended is in the file by now.
                last_look = true;
                continue;
            }
        };
        let mut events = [std::mem::MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(watch.get_ref(), &mut events);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
    }
}

fn watch_file(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&fd, path, inotify::WatchFlags::MODIFY)?;
    crate::descriptor::register(fd, tokio::io::Interest::READABLE)
}

/// A word that cannot leave its folder.
fn is_token(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !id.is_empty() && id.len() <= MAX_ID_LEN && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_in_their_folder() {
        assert!(is_token("a-B_9"));
        for id in ["", ".", "..", "a/b", "a.b", "ä", &"x".repeat(65)] {
            assert!(!is_token(id), "{id}");
        }
    }
}
