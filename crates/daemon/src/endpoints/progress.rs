//! Progress as it happens: from the engine's events to the lines of an answer.
//!
//! Invariants: a client that is slow makes no queue grow, a client that leaves ends the work, and an error before
//! the first event is an answer of its own while a later one is the stream's last message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use api::go::encode;
use api::json::Json;
use api::system::{Message, Progress};
use engine::images::{Instead, PullEvent};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::convert::{descriptor, words};
use crate::reply::{self, Refusal, Reply};

/// The answer that tells what `work` tells, to its end.
pub(super) async fn answer(told: Told, work: JoinHandle<engine::Result<()>>) -> Result<Reply, Refusal> {
    let mut work = Work(work);
    let broke = |error: &dyn std::fmt::Display| format!("the transfer broke off: {error}");
    let Some(first) = told.next().await else {
        return match (&mut work.0).await {
            Ok(Ok(())) => Ok(reply::stream("application/json").1),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Refusal::internal(broke(&error))),
        };
    };
    let (out, answer) = reply::stream("application/json");
    tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(message) = next {
            if out.send(reply::message_line(&message)).await.is_err() {
                return;
            }
            next = tokio::select! {
                next = told.next() => next,
                () = out.closed() => return,
            };
        }
        let error = match (&mut work.0).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.message,
            Err(error) => broke(&error),
        };
        // A client that has gone needs no error.
        let _ = out.send(reply::error_line(&error)).await;
    });
    Ok(answer)
}

/// A transfer under way: as with dockerd, it ends when its client leaves.
struct Work(JoinHandle<engine::Result<()>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Messages on their way to a client that may be slow. A figure that moved on replaces the older one of the same
/// layer and state, so that no more wait than there are layers times states.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    ended: bool,
}

impl Told {
    /// An event happened.
    pub(super) fn add(&self, event: &PullEvent) {
        self.push(event_message(event));
    }

    fn push(&self, message: Message) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |have: &&mut Message| {
            !have.id.is_empty() && have.id == message.id && have.status == message.status
        };
        match queue.messages.iter_mut().rev().find(same) {
            Some(older) => *older = message,
            None => queue.messages.push_back(message),
        }
        self.0.changed.notify_one();
    }

    /// No more events come.
    pub(super) fn end(&self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.changed.notify_one();
    }

    /// The next message; `None` when the transfer is over.
    async fn next(&self) -> Option<Message> {
        loop {
            {
                let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(message) = queue.messages.pop_front() {
                    return Some(message);
                }
                if queue.ended {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}

/// dockerd's `auxprogress.ManifestPushedInsteadOfIndex`.
fn instead_aux(instead: &Instead) -> Json {
    let of = |target| Json::parse(encode(&descriptor(target)).as_bytes()).unwrap_or_default();
    Json::Object(vec![
        ("manifestPushedInsteadOfIndex".to_owned(), Json::Bool(true)),
        ("originalIndex".to_owned(), of(&instead.index)),
        ("selectedManifest".to_owned(), of(&instead.manifest)),
    ])
}

fn event_message(event: &PullEvent) -> Message {
    let progress = match event {
        PullEvent::Instead(instead) => {
            return Message { aux: Some(instead_aux(instead)), ..Message::default() };
        }
        PullEvent::Status(status) => return Message { status: status.clone(), ..Message::default() },
        PullEvent::Progress(progress) => progress.message(),
    };
    let detail = progress.detail.map(|detail| Progress {
        current: i64::try_from(detail.current).unwrap_or(i64::MAX),
        total: i64::try_from(detail.total).unwrap_or(i64::MAX),
        start: 0,
        hide_counts: detail.hide_counts,
        units: detail.units.to_owned(),
    });
    Message {
        id: progress.id.unwrap_or_default(),
        status: progress.status,
        progress: detail.as_ref().map(words::progress).unwrap_or_default(),
        progress_detail: detail,
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_client_gets_the_latest_figures() {
        let message = |id: &str, status: &str, progress: &str| Message {
            id: id.into(),
            status: status.into(),
            progress: progress.into(),
            ..Message::default()
        };
        let told = Told::default();
        for figure in 0..1000 {
            told.push(message("a", "Downloading", &figure.to_string()));
            told.push(message("b", "Downloading", &figure.to_string()));
        }
        told.push(message("a", "Download complete", ""));
        told.push(message("", "Digest: x", ""));
        told.push(message("", "Status: y", ""));
        told.end();
        let mut got = Vec::new();
        while let Some(message) = told.next().await {
            got.push((message.id, message.status, message.progress));
        }
        let expected = [
            ("a", "Downloading", "999"),
            ("b", "Downloading", "999"),
            ("a", "Download complete", ""),
            ("", "Digest: x", ""),
            ("", "Status: y", ""),
        ];
        let expected: Vec<_> = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).into();
        assert_eq!(got, expected);
    }
}
