//! Connections: HTTP/1.1 in front of the table of endpoints, Docker's headers on each answer.
//!
//! Invariants: a panic costs one request; a client that has closed its connection costs nothing more; headers and
//! bodies are bounded in size and, in a daemon, in time. This file does not know what an endpoint does.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use api::ApiVersion;
use api::query::{Query, unescape_path};
use engine::Engine;
use http::header::{HeaderValue, LOCATION};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::call::Call;
use crate::endpoints;
use crate::hangup::Hangup;
use crate::reply::{self, Refusal, Reply};
use crate::route::{self, Endpoint};
use crate::trace::{Stories, Tracing};

/// The largest head of a request: Docker's own clients send registry credentials in it.
const MAX_HEAD_LEN: usize = 256 * 1024;
/// How long a client of a daemon may take to send a request's head, and how long it may stay silent between two.
const HEAD_PATIENCE: Duration = Duration::from_secs(120);

/// Where the engine's blocking calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// Where the request is: the engine serves this one process.
    Inline,
    /// On threads beside: a daemon has other clients.
    Threads,
}

/// The engine's HTTP face. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    blocking: Blocking,
    server: HeaderValue,
    stories: Stories,
    oldest: ApiVersion,
}

impl Router {
    /// A router for this engine.
    pub fn new(engine: Engine, blocking: Blocking) -> Router {
        let server = format!("Docker/{} (linux)", engine.options().version);
        let server = HeaderValue::from_str(&server).unwrap_or(HeaderValue::from_static("Docker (linux)"));
        let stories = Stories::default();
        Router(Arc::new(Inner { engine, blocking, server, stories, oldest: ApiVersion::OLDEST }))
    }

    /// The same, that refuses versions older than this one.
    #[must_use]
    pub fn with_oldest(self, oldest: ApiVersion) -> Router {
        let Inner { engine, blocking, server, .. } = &*self.0;
        let (engine, server) = (engine.clone(), server.clone());
        Router(Arc::new(Inner { engine, blocking: *blocking, server, stories: Stories::default(), oldest }))
    }

    /// The oldest version that is served.
    pub(crate) fn oldest(&self) -> ApiVersion {
        self.0.oldest
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn stories(&self) -> &Stories {
        &self.0.stories
    }

    /// Serves one connection to its end.
    pub async fn serve<IO>(&self, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_watched(io, Hangup::default()).await;
    }

    /// The same for a socket that `duplicate` is a duplicate of: its client's leaving is noticed at once.
    pub async fn serve_socket<IO>(&self, io: IO, duplicate: OwnedFd)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let hangup = Hangup::watch(duplicate).unwrap_or_else(|error| {
            tracing::warn!(%error, "a connection cannot be watched");
            Hangup::default()
        });
        self.serve_watched(io, hangup).await;
    }

    async fn serve_watched<IO>(&self, io: IO, hangup: Hangup)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut http = hyper::server::conn::http1::Builder::new();
        // half_close: a client may end a container's input before the engine has answered the attach.
        http.half_close(true).title_case_headers(true).max_buf_size(MAX_HEAD_LEN);
        if self.0.blocking == Blocking::Threads {
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
        }
        let service = service_fn(|request| {
            let (router, hangup) = (self.clone(), hangup.clone());
            async move { Ok::<_, Infallible>(router.answer(request, hangup).await) }
        });
        let connection = http.serve_connection(TokioIo::new(io), service).with_upgrades();
        tokio::select! {
            result = connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            // Dropping the connection drops what still works for this client.
            () = hangup.wait() => {}
        }
    }

    /// Runs a blocking call of the engine. Its panic is an error of this call.
    pub(crate) async fn block<T, F>(&self, tracing: &Tracing, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> engine::Result<T> + Send + 'static,
    {
        match self.0.blocking {
            Blocking::Inline => Ok(tracing.run(|| work(self.engine()))?),
            Blocking::Threads => self.on_thread(tracing, work).await,
        }
    }

    /// Runs a call that waits for bytes which this thread must bring: always beside.
    pub(crate) async fn on_thread<T, F>(&self, tracing: &Tracing, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> engine::Result<T> + Send + 'static,
    {
        let (engine, tracing) = (self.engine().clone(), tracing.clone());
        let result = tokio::task::spawn_blocking(move || tracing.run(|| work(&engine))).await;
        match result {
            Ok(result) => Ok(result?),
            Err(error) if error.is_panic() => Err(panicked(error.into_panic().as_ref())),
            Err(_) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is shutting down")),
        }
    }

    async fn answer(&self, request: Request<Incoming>, hangup: Hangup) -> Reply {
        let mut handling = pin!(self.dispatch(request, hangup));
        std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(payload) => Poll::Ready(reply::refused(&panicked(payload.as_ref()))),
        })
        .await
    }

    async fn dispatch(&self, request: Request<Incoming>, hangup: Hangup) -> Reply {
        let path = match unescape_path(request.uri().path()) {
            Ok(path) => path,
            Err(error) => return reply::text(StatusCode::BAD_REQUEST, format!("400 Bad Request: {error}")),
        };
        if let Some(clean) = route::cleaned(&path) {
            return redirect(&clean, request.uri().query());
        }
        let (version, rest) = route::split_version(&path);
        let Some((endpoint, name)) = route::find(request.method(), rest) else {
            return reply::refused(&Refusal::new(StatusCode::NOT_FOUND, "page not found"));
        };
        let name = name.to_owned();
        let mut answer = match checked_version(version, self.0.oldest) {
            Err(refusal) if is_ancient(version) => reply::plain_error(&refusal),
            Err(refusal) => reply::refused(&refusal),
            Ok(version) => {
                let mut answer = match self.call(request, hangup, version, endpoint, name).await {
                    Ok(answer) => answer,
                    Err(refusal) => reply::refused(&refusal),
                };
                // dockerd adds this one only to requests whose version it accepts.
                answer.headers_mut().insert("docker-experimental", HeaderValue::from_static("false"));
                answer
            }
        };
        self.sign(&mut answer);
        if answer.status().is_server_error() && answer.status() != StatusCode::NOT_IMPLEMENTED {
            tracing::error!(%path, status = answer.status().as_u16(), "a request failed");
        }
        answer
    }

    async fn call(
        &self,
        mut request: Request<Incoming>,
        hangup: Hangup,
        version: ApiVersion,
        endpoint: Endpoint,
        name: String,
    ) -> Result<Reply, Refusal> {
        let upgrade = Some(hyper::upgrade::on(&mut request));
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let head = request.method() == http::Method::HEAD;
        let (parts, body) = request.into_parts();
        let tracing = match endpoint {
            // To listen is no part of the story.
            Endpoint::Trace => Tracing::default(),
            _ => Tracing::of(self.engine(), self.stories(), &parts.headers)?,
        };
        let headers = parts.headers;
        let impatient = self.0.blocking == Blocking::Threads;
        let call =
            Call { version, name, query, headers, body: Some(body), upgrade, hangup, tracing, impatient };
        endpoints::handle(self, endpoint, call, head).await
    }

    fn sign(&self, answer: &mut Reply) {
        // An upgraded connection has only the headers that concern it, as with dockerd.
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().remove("docker-experimental");
            return;
        }
        let headers = answer.headers_mut();
        headers.insert("api-version", version_header());
        headers.insert("ostype", HeaderValue::from_static("linux"));
        headers.insert("server", self.0.server.clone());
    }
}

fn version_header() -> HeaderValue {
    HeaderValue::from_str(&ApiVersion::NEWEST.to_string()).unwrap_or(HeaderValue::from_static(""))
}

fn redirect(path: &str, query: Option<&str>) -> Reply {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = reply::empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(target) = HeaderValue::from_str(&format!("{}{query}", api::query::escape_path(path))) {
        answer.headers_mut().insert(LOCATION, target);
    }
    answer
}

/// The version a request asks for; ours when it asks for none.
fn checked_version(asked: Option<&str>, oldest: ApiVersion) -> Result<ApiVersion, Refusal> {
    let Some(text) = asked else { return Ok(ApiVersion::NEWEST) };
    let newest = ApiVersion::NEWEST;
    let numbers = version_numbers(text);
    if numbers < vec![u64::from(oldest.major), u64::from(oldest.minor)] {
        return Err(Refusal::bad_request(format!(
            "client version {text} is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
        )));
    }
    if numbers > vec![u64::from(newest.major), u64::from(newest.minor)] {
        return Err(Refusal::bad_request(format!(
            "client version {text} is too new. Maximum supported API version is {newest}"
        )));
    }
    // Between the two there are only numbers of two parts, or with zeros after them.
    let minor = numbers.get(1).and_then(|minor| u32::try_from(*minor).ok()).unwrap_or(newest.minor);
    Ok(ApiVersion::v1(minor))
}

fn is_ancient(asked: Option<&str>) -> bool {
    asked.is_some_and(|text| version_numbers(text) < vec![1, 24])
}

/// The parts of a version, compared as dockerd does: number by number, a missing one is zero.
fn version_numbers(text: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = text.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

fn panicked(payload: &(dyn Any + Send)) -> Refusal {
    let what = payload.downcast_ref::<&str>().copied();
    let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(what, "a request panicked");
    Refusal::internal(format!("the engine has a bug: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_refused_in_dockers_words() {
        assert_eq!(checked_version(None, ApiVersion::OLDEST).unwrap(), ApiVersion::NEWEST);
        assert_eq!(checked_version(Some("1.24"), ApiVersion::OLDEST).unwrap(), ApiVersion::v1(24));
        assert_eq!(checked_version(Some("1.51"), ApiVersion::OLDEST).unwrap(), ApiVersion::v1(51));
        for (text, expected) in [
            (
                "1.23",
                "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
            ),
            (
                "1",
                "client version 1 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
            ),
            (
                "1.0.5",
                "client version 1.0.5 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
            ),
            ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
            ("1.99", "client version 1.99 is too new. Maximum supported API version is 1.51"),
            ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.51"),
        ] {
            assert_eq!(checked_version(Some(text), ApiVersion::OLDEST).unwrap_err().message, expected);
        }
        assert!(is_ancient(Some("1.23")) && !is_ancient(Some("1.24")) && !is_ancient(None));
    }
}
