//! HTTP/1.1 requests with kept connections, redirects and time limits.
//!
//! A body is handed out piece by piece; its connection is used again once it was read to its end. What a request
//! proves who we are with goes to the host that it was meant for and to no other: a redirect elsewhere loses it.
//! Nothing here knows registries.

use crate::connect::{self, Connection, RequestBody};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Result};
use crate::payload::Payload;
use crate::settings::Settings;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// From the request to the answer's head: a registry may have to fetch content first. Counts from the last byte
/// that was sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 10;
/// Connections kept per host; as many as layers travel at once, and one for documents.
const MAX_IDLE: usize = 6;
const USER_AGENT: &str = concat!("tare/", env!("CARGO_PKG_VERSION"));

/// Connections to all hosts.
#[derive(Debug, Default)]
pub(crate) struct Http {
    pub(crate) settings: Settings,
    idle: Mutex<HashMap<Key, Vec<Kept>>>,
    /// Hosts that turned out to speak no TLS.
    plain: Mutex<HashSet<String>>,
}

type Key = (String, Scheme);

/// A connection without a request.
#[derive(Debug)]
struct Kept {
    sender: SendRequest<RequestBody>,
    through: Option<Option<String>>,
}

/// What to ask for.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(HeaderName, String)],
    /// `Authorization`, for this endpoint alone.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) payload: &'a Payload,
}

/// An answer: its head, and a body to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where the answer came from, after redirects.
    pub(crate) url: String,
    /// Another host than the one asked answered.
    pub(crate) elsewhere: bool,
    body: Incoming,
    /// The connection, until it goes back.
    connection: Option<(Arc<Http>, Key, Kept)>,
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = timeout(BODY_TIMEOUT, self.body.frame());
            let frame = frame.await.map_err(|_| Error::Timeout("data", BODY_TIMEOUT.as_secs()))?;
            match frame {
                None => {
                    if let Some((http, key, kept)) = self.connection.take() {
                        http.put_back(key, kept);
                    }
                    return Ok(None);
                }
                Some(frame) => {
                    if let Ok(data) = frame.map_err(Error::Connection)?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, if it is not larger than `limit`.
    pub(crate) async fn bytes(&mut self, what: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(Error::TooLarge { what: what.to_owned(), limit });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Http {
    pub(crate) fn new(settings: Settings) -> Self {
        Http { settings, ..Http::default() }
    }

    /// The whole address, for messages.
    pub(crate) fn url(&self, endpoint: &Endpoint, path: &str) -> String {
        let plain = endpoint.scheme == Scheme::Http || self.is_plain(&endpoint.authority);
        format!("{}://{}{path}", if plain { "http" } else { "https" }, endpoint.authority)
    }

    /// Sends a request; redirects of GET and HEAD are followed.
    pub(crate) async fn request(self: &Arc<Self>, ask: Ask<'_>) -> Result<Answer> {
        let (mut endpoint, mut path) = (ask.endpoint.clone(), ask.path.to_owned());
        let mut elsewhere = false;
        for _ in 0..=MAX_REDIRECTS {
            let authorization = ask.authorization.filter(|_| !elsewhere);
            let sent =
                self.once(&Ask { endpoint: &endpoint, path: &path, authorization, ..ask.clone() }).await;
            // Known now whether it is TLS.
            let url = self.url(&endpoint, &path);
            let mut answer = sent.map_err(|e| Error::Request {
                method: go_method(ask.method),
                url: url.clone(),
                source: Box::new(e),
            })?;
            answer.elsewhere = elsewhere;
            answer.url.clone_from(&url);
            let follows = *ask.method == Method::GET || *ask.method == Method::HEAD;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED || !follows {
                return Ok(answer);
            }
            let bad = |reason| Error::Redirect { url: url.clone(), reason };
            let location = answer.header("location").ok_or_else(|| bad("no location"))?;
            let next =
                self.resolve(&endpoint, location).ok_or_else(|| bad("its location is not understood"))?;
            let leaves_tls = next.0.scheme == Scheme::Http && url.starts_with("https:");
            if leaves_tls && !endpoint.insecure {
                return Err(bad("it leads from HTTPS to HTTP"));
            }
            elsewhere |= next.0.authority != endpoint.authority;
            // Read, so that the connection can be used again; a long explanation is not worth it.
            let _ = answer.bytes("redirect", 64 << 10).await;
            (endpoint, path) = next;
        }
        Err(Error::Redirect { url: self.url(&endpoint, &path), reason: "stopped after 10 redirects" })
    }

    /// The place that an address in an answer of `from` means.
    pub(crate) fn resolve(&self, from: &Endpoint, location: &str) -> Option<(Endpoint, String)> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some((from.clone(), location.to_owned()));
        }
        let (endpoint, path) = Endpoint::of_url(location, &self.settings.insecure)?;
        let same = endpoint.authority == from.authority
            && (endpoint.scheme == from.scheme || from.scheme == Scheme::Registry);
        Some((if same { from.clone() } else { endpoint }, path))
    }

    async fn once(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Answer> {
        let key = (ask.endpoint.authority.clone(), ask.endpoint.scheme);
        // A kept connection may have been closed by the server meanwhile: then a new one is made.
        while let Some(kept) = self.take(&key) {
            match self.send(kept, &key, ask).await {
                Err(Error::Connection(_)) => {}
                other => return other,
            }
        }
        let known_plain = self.is_plain(&key.0);
        let Connection { sender, plain, through } =
            connect::connect(&self.settings, ask.endpoint, known_plain).await?;
        if plain && !known_plain && ask.endpoint.scheme == Scheme::Registry {
            self.plain.lock().unwrap_or_else(PoisonError::into_inner).insert(key.0.clone());
        }
        self.send(Kept { sender, through }, &key, ask).await
    }

    async fn send(self: &Arc<Self>, mut kept: Kept, key: &Key, ask: &Ask<'_>) -> Result<Answer> {
        kept.sender.ready().await.map_err(Error::Connection)?;
        let request = self.build(&kept, ask).map_err(|_| Error::Host(ask.endpoint.authority.clone()))?;
        let answer = kept.sender.send_request(request);
        tokio::pin!(answer);
        let mut sent = ask.payload.sent();
        let answer = loop {
            match timeout(ANSWER_TIMEOUT, &mut answer).await {
                Ok(answer) => break answer.map_err(Error::Connection)?,
                // A long body is still on its way.
                Err(_) if ask.payload.sent() > sent => sent = ask.payload.sent(),
                Err(_) => return Err(Error::Timeout("answer", ANSWER_TIMEOUT.as_secs())),
            }
        };
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            url: String::new(),
            elsewhere: false,
            body,
            connection: Some((self.clone(), key.clone(), kept)),
        })
    }

    fn build(&self, kept: &Kept, ask: &Ask<'_>) -> Result<Request<RequestBody>, http::Error> {
        let uri = match kept.through {
            // A proxy is told the whole address.
            Some(_) => self.url(ask.endpoint, ask.path),
            None => ask.path.to_owned(),
        };
        let mut request = Request::builder().method(ask.method).uri(uri).body(ask.payload.body())?;
        let all = request.headers_mut();
        all.insert(header::HOST, HeaderValue::from_str(&ask.endpoint.authority)?);
        all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(len) = ask.payload.content_length() {
            all.insert(header::CONTENT_LENGTH, len.into());
        }
        for (name, value) in ask.headers {
            all.append(name, HeaderValue::from_str(value)?);
        }
        if let Some(value) = ask.authorization {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            all.insert(header::AUTHORIZATION, value);
        }
        if let Some(Some(value)) = &kept.through {
            all.insert(header::PROXY_AUTHORIZATION, HeaderValue::from_str(value)?);
        }
        Ok(request)
    }

    fn is_plain(&self, authority: &str) -> bool {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner).contains(authority)
    }

    fn take(&self, key: &Key) -> Option<Kept> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(key)?;
        while let Some(one) = kept.pop() {
            if !one.sender.is_closed() {
                return Some(one);
            }
        }
        None
    }

    fn put_back(&self, key: Key, one: Kept) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(key).or_default();
        if kept.len() < MAX_IDLE && !one.sender.is_closed() {
            kept.push(one);
        }
    }
}

/// As Go's errors spell it.
fn go_method(method: &Method) -> &'static str {
    match method.as_str() {
        "HEAD" => "Head",
        "POST" => "Post",
        "PUT" => "Put",
        "PATCH" => "Patch",
        _ => "Get",
    }
}
