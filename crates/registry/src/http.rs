//! HTTP/1.1 requests with kept connections, redirects and time limits.
//!
//! A body is handed out piece by piece; its connection is used again once it was read to its end.
//! Nothing here knows registries.

use crate::endpoint::Endpoint;
use crate::error::{Error, Result, reason};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// From the request to the answer's head: a registry may have to fetch content first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 10;
/// Connections kept per registry; as many as layers download at once, and one for documents.
const MAX_IDLE: usize = 4;
const USER_AGENT: &str = concat!("tare/", env!("CARGO_PKG_VERSION"));

type Sender = SendRequest<Empty<Bytes>>;

/// Connections to all hosts.
#[derive(Debug, Default)]
pub(crate) struct Http {
    idle: Mutex<HashMap<String, Vec<Sender>>>,
}

/// An answer: its head, and a body to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where the answer came from, after redirects.
    pub(crate) url: String,
    body: Incoming,
    /// The connection, until it goes back.
    connection: Option<(Arc<Http>, String, Sender)>,
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = timeout(BODY_TIMEOUT, self.body.frame());
            let frame = frame.await.map_err(|_| Error::Timeout("data", BODY_TIMEOUT.as_secs()))?;
            match frame {
                None => {
                    if let Some((http, authority, sender)) = self.connection.take() {
                        http.put_back(authority, sender);
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
    /// Sends a request and follows redirects. Headers are sent to every host on the way: none of them
    /// is secret.
    pub(crate) async fn request(
        self: &Arc<Self>,
        method: &Method,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Answer> {
        let (mut endpoint, mut path) = (endpoint.clone(), path.to_owned());
        for _ in 0..=MAX_REDIRECTS {
            let url = format!("http://{}{path}", endpoint.authority);
            let answer =
                self.once(method, &endpoint, &path, headers, &url).await.map_err(|e| Error::Request {
                    method: if *method == Method::HEAD { "Head" } else { "Get" },
                    url: url.clone(),
                    source: Box::new(e),
                })?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let bad = |reason| Error::Redirect { url: url.clone(), reason };
            let location = answer.header("location").ok_or_else(|| bad("no location"))?;
            (endpoint, path) = follow(&endpoint, location).map_err(|e| match e {
                Some(e) => e,
                None => bad("its location is not understood"),
            })?;
        }
        Err(Error::Redirect {
            url: format!("http://{}{path}", endpoint.authority),
            reason: "stopped after 10 redirects",
        })
    }

    async fn once(
        self: &Arc<Self>,
        method: &Method,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(header::HeaderName, String)],
        url: &str,
    ) -> Result<Answer> {
        // A kept connection may have been closed by the server meanwhile: then a new one is made.
        while let Some(sender) = self.take(&endpoint.authority) {
            match self.send(sender, method, endpoint, path, headers, url).await {
                Err(Error::Connection(_)) => {}
                other => return other,
            }
        }
        let sender = connect(endpoint).await?;
        self.send(sender, method, endpoint, path, headers, url).await
    }

    async fn send(
        self: &Arc<Self>,
        mut sender: Sender,
        method: &Method,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(header::HeaderName, String)],
        url: &str,
    ) -> Result<Answer> {
        sender.ready().await.map_err(Error::Connection)?;
        let invalid = || Error::Host(url.to_owned());
        let mut request =
            Request::builder().method(method).uri(path).body(Empty::new()).map_err(|_| invalid())?;
        let all = request.headers_mut();
        let host = HeaderValue::from_str(&endpoint.authority).map_err(|_| invalid())?;
        all.insert(header::HOST, host);
        all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        for (name, value) in headers {
            all.append(name, HeaderValue::from_str(value).map_err(|_| invalid())?);
        }
        let answer = timeout(ANSWER_TIMEOUT, sender.send_request(request));
        let answer = answer.await.map_err(|_| Error::Timeout("answer", ANSWER_TIMEOUT.as_secs()))?;
        let (head, body) = answer.map_err(Error::Connection)?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            url: url.to_owned(),
            body,
            connection: Some((self.clone(), endpoint.authority.clone(), sender)),
        })
    }

    fn take(&self, authority: &str) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.get_mut(authority)?;
        while let Some(sender) = senders.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn put_back(&self, authority: String, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = idle.entry(authority).or_default();
        if senders.len() < MAX_IDLE && !sender.is_closed() {
            senders.push(sender);
        }
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Sender> {
    let mut last = None;
    for address in &endpoint.addresses {
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => {
                last = Some(Error::Dial { address: address.to_string(), reason: reason(&e) });
                continue;
            }
            Err(_) => {
                last = Some(Error::Timeout("connection", CONNECT_TIMEOUT.as_secs()));
                continue;
            }
        };
        // Requests are small and wait for their answer.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::Connection)?;
        // Ends with its sender; its errors reach whoever reads the answer.
        tokio::spawn(connection);
        return Ok(sender);
    }
    Err(last.unwrap_or_else(|| Error::Lookup(endpoint.authority.clone())))
}

/// The target of a redirect; `Err(None)` when the location is no address.
fn follow(from: &Endpoint, location: &str) -> Result<(Endpoint, String), Option<Error>> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Ok((from.clone(), location.to_owned()));
    }
    let uri: http::Uri = location.parse().map_err(|_| None)?;
    let authority = uri.authority().ok_or(None)?.as_str();
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(Some(Error::Https(authority.to_owned()))),
        _ => return Err(None),
    }
    let endpoint = if authority == from.authority { from.clone() } else { Endpoint::of_redirect(authority)? };
    Ok((endpoint, uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)))
}
