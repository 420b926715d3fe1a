//! `POST /images/create?fromImage=`: a pull and its progress.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use api::query::Query;
use api::system::{Message, Progress};
use engine::images::PullEvent;
use http::StatusCode;
use tokio::sync::Notify;

use crate::call::Call;
use crate::convert::words;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) async fn pull(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = pulled_name(&call.query)?;
    let platform = Some(call.query.get("platform")).filter(|p| !p.is_empty() && call.since(32));
    let platform = platform.map(str::to_owned);
    let told = Told::default();
    let (engine, tracing) = (router.engine().clone(), call.tracing.clone());
    let mut work = Work(tokio::spawn({
        let told = told.clone();
        async move {
            let tell = |event| told.add(event_message(&event));
            let result = tracing.run_async(engine.pull_image(&name, platform.as_deref(), tell)).await;
            told.end();
            result
        }
    }));
    // Until the first event an error is an answer of its own; after it, it is a message of the stream.
    let Some(first) = told.next().await else {
        return match (&mut work.0).await {
            Ok(Ok(())) => Ok(reply::stream("application/json").1),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Refusal::internal(format!("the pull broke off: {error}"))),
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
            Err(error) => format!("the pull broke off: {error}"),
        };
        // A client that has gone needs no error.
        let _ = out.send(reply::error_line(&error)).await;
    });
    Ok(answer)
}

/// A pull under way: as with dockerd, it ends when its client leaves.
struct Work(tokio::task::JoinHandle<engine::Result<()>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Messages on their way to a client that may be slow. A figure that moved on replaces the older one of the same
/// layer and state, so that no more wait than there are layers times states.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Inner>);

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
    fn add(&self, message: Message) {
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

    fn end(&self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.0.changed.notify_one();
    }

    /// The next message; `None` when the pull is over.
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

/// `fromImage` with `tag`, which may also be a digest.
fn pulled_name(query: &Query) -> Result<String, Refusal> {
    // "pull -a" of old clients sends a trailing colon.
    let image = query.get("fromImage");
    let image = image.strip_suffix(':').unwrap_or(image);
    let invalid = |error: oci::Error| Refusal::from(engine::Error::from(error));
    let reference = oci::Reference::parse(image).map_err(invalid)?;
    if reference.familiar_name() == "scratch" {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "'scratch' is a reserved name"));
    }
    let tag = query.get("tag");
    if tag.is_empty() {
        return Ok(image.to_owned());
    }
    let name = reference.name();
    let full =
        if oci::Digest::parse(tag).is_ok() { format!("{name}@{tag}") } else { format!("{name}:{tag}") };
    oci::Reference::parse(&full).map_err(invalid)?;
    Ok(full)
}

fn event_message(event: &PullEvent) -> Message {
    let progress = match event {
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

    #[test]
    fn pulled_names() {
        for (image, tag, expected) in [
            ("busybox", "1.36", Ok("docker.io/library/busybox:1.36")),
            ("busybox", "", Ok("busybox")),
            ("busybox:", "", Ok("busybox")),
            ("127.0.0.1:5000/a/b", "latest", Ok("127.0.0.1:5000/a/b:latest")),
            ("Foo", "", Err("invalid reference format: repository name (library/Foo) must be lowercase")),
            ("scratch", "", Err("'scratch' is a reserved name")),
        ] {
            let query = Query::new().set("fromImage", image).set("tag", tag);
            let got = pulled_name(&query).map_err(|refusal| refusal.message);
            assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{image} {tag}");
        }
    }

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
            told.add(message("a", "Downloading", &figure.to_string()));
            told.add(message("b", "Downloading", &figure.to_string()));
        }
        told.add(message("a", "Download complete", ""));
        told.add(message("", "Digest: x", ""));
        told.add(message("", "Status: y", ""));
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
