//! The connection to an engine: requests, answers, errors, one connection for all calls of a command.
//!
//! Invariants: a connection is reused only after the answer on it was read to its end; a request that a closing
//! connection did not take is sent once more on a new one. The API version is negotiated at the first call and
//! never with an engine in this process. The calls themselves are in [`calls`](crate::calls). This file does not
//! read the environment or the user's configuration.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::OnceCell;

use crate::Error;
use crate::go::{Go, decode, encode};
use crate::query::Query;
use crate::stream::{ByteStream, Framing, Hijacked};
use crate::system::ErrorResponse;
use crate::transport::{Link, Transport};
use crate::version::ApiVersion;

/// The largest answer that is read whole (an inspection, a list).
pub const MAX_ANSWER_LEN: usize = 64 * 1024 * 1024;
/// The largest error text that is read.
const MAX_ERROR_LEN: usize = 1024 * 1024;
/// How much of a reader one chunk of a request's body holds.
const UPLOAD_CHUNK_LEN: usize = 64 * 1024;
/// The host name that Docker's client gives where there is none.
const NO_HOST: &str = "api.moby.localhost";

pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;
type Sender = SendRequest<RequestBody>;

/// A client of one engine. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    headers: Vec<(HeaderName, HeaderValue)>,
    idle: Mutex<Vec<Sender>>,
    version: OnceCell<ApiVersion>,
}

/// What an engine says of itself in a ping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ping {
    /// The newest API it speaks; `None` if it does not say.
    pub api_version: Option<ApiVersion>,
    /// `linux`
    pub os_type: String,
    /// Whether experimental features are on.
    pub experimental: bool,
    /// `1` or `2` (BuildKit).
    pub builder_version: String,
    /// `inactive`, or the state of its swarm with `/manager` or `/worker`.
    pub swarm: String,
    /// `Docker/28.5.2 (linux)`
    pub server: String,
}

/// A request before it has a version and a connection.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub query: Query,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: RequestBody,
}

impl<'a> Call<'a> {
    pub fn new(method: Method, path: &'a str) -> Call<'a> {
        Call { method, path, query: Query::new(), headers: Vec::new(), body: empty() }
    }

    pub fn get(path: &'a str) -> Call<'a> {
        Call::new(Method::GET, path)
    }

    pub fn post(path: &'a str) -> Call<'a> {
        Call::new(Method::POST, path)
    }

    pub fn delete(path: &'a str) -> Call<'a> {
        Call::new(Method::DELETE, path)
    }

    pub fn query(mut self, query: Query) -> Call<'a> {
        self.query = query;
        self
    }

    pub fn json<T: Go>(mut self, body: &T) -> Call<'a> {
        self.body = full(encode(body));
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        self
    }

    pub fn reader<R: AsyncRead + Send + Unpin + 'static>(mut self, reader: R) -> Call<'a> {
        self.body = ReaderBody { reader, buffer: BytesMut::new() }.boxed_unsync();
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/x-tar")));
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Result<Call<'a>, Error> {
        let value = HeaderValue::from_str(value).map_err(http::Error::from)?;
        self.headers.push((HeaderName::from_static(name), value));
        Ok(self)
    }
}

impl Client {
    /// A client that will connect at its first call.
    pub fn new(transport: Transport) -> Client {
        Client {
            shared: Arc::new(Shared {
                transport,
                headers: Vec::new(),
                idle: Mutex::new(Vec::new()),
                version: OnceCell::new(),
            }),
        }
    }

    /// Sends `name: value` with each request (`user-agent`, `x-tare-trace`). The name is in lower case. Only
    /// before the first call: this client's connections so far are forgotten.
    pub fn with_header(self, name: &'static str, value: &str) -> Result<Client, Error> {
        let value = HeaderValue::from_str(value).map_err(http::Error::from)?;
        let mut headers = self.shared.headers.clone();
        headers.push((HeaderName::from_static(name), value));
        Ok(self.rebuilt(headers))
    }

    /// Speaks this API version and does not negotiate (`DOCKER_API_VERSION`).
    pub fn with_version(self, version: ApiVersion) -> Client {
        let headers = self.shared.headers.clone();
        let client = self.rebuilt(headers);
        // A cell that was just made is empty, so this cannot fail.
        let _ = client.shared.version.set(version);
        client
    }

    fn rebuilt(&self, headers: Vec<(HeaderName, HeaderValue)>) -> Client {
        let version = OnceCell::new_with(self.shared.version.get().copied());
        let transport = self.shared.transport.clone();
        Client { shared: Arc::new(Shared { transport, headers, idle: Mutex::new(Vec::new()), version }) }
    }

    /// The way to the engine.
    pub fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    /// The API version in use; negotiates it if that has not happened yet.
    pub async fn api_version(&self) -> Result<ApiVersion, Error> {
        let negotiate = async {
            if self.shared.transport.is_in_process() {
                return Ok(ApiVersion::NEWEST);
            }
            let theirs = self.ping().await?.api_version.unwrap_or(ApiVersion::OLDEST);
            Ok(theirs.min(ApiVersion::NEWEST))
        };
        self.shared.version.get_or_try_init(|| negotiate).await.copied()
    }

    /// Asks the engine who it is. The body of an error is not looked at: an engine that is starting answers 500
    /// and yet says which API it speaks.
    pub async fn ping(&self) -> Result<Ping, Error> {
        let (response, mut lease) = self.exchange(&Call::new(Method::HEAD, "/_ping"), "/_ping").await?;
        lease.give_back();
        let text = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Ok(Ping {
            api_version: text("api-version").parse().ok(),
            os_type: text("ostype"),
            experimental: text("docker-experimental") == "true",
            builder_version: text("builder-version"),
            swarm: text("swarm"),
            server: text("server"),
        })
    }

    /// Sends a call; the answer's status is a success.
    pub(crate) async fn send(&self, mut call: Call<'_>) -> Result<ByteStream, Error> {
        let target = self.target(&call).await?;
        let body = std::mem::replace(&mut call.body, empty());
        let (response, lease) = self.exchange_with(&call, &target, body).await?;
        let status = response.status();
        let mut stream = ByteStream::new(response, lease);
        if status.is_success() {
            return Ok(stream);
        }
        Err(engine_error(status, &mut stream).await)
    }

    /// Sends a call and decodes the answer.
    pub(crate) async fn fetch<T: Go>(&self, call: Call<'_>) -> Result<T, Error> {
        decode(&self.fetch_raw(call).await?)
    }

    /// Sends a call and reads the answer whole.
    pub(crate) async fn fetch_raw(&self, call: Call<'_>) -> Result<Vec<u8>, Error> {
        let path = call.path.to_owned();
        self.send(call).await?.collect(&path, MAX_ANSWER_LEN).await
    }

    /// Sends a call whose answer has no content.
    pub(crate) async fn order(&self, call: Call<'_>) -> Result<(), Error> {
        self.fetch_raw(call).await.map(drop)
    }

    /// Sends a call that turns the connection into a byte stream.
    pub(crate) async fn hijack(&self, mut call: Call<'_>) -> Result<Hijacked, Error> {
        let target = self.target(&call).await?;
        call.headers.push((CONNECTION, HeaderValue::from_static("Upgrade")));
        call.headers.push((UPGRADE, HeaderValue::from_static("tcp")));
        let body = std::mem::replace(&mut call.body, empty());
        let (mut response, lease) = self.exchange_with(&call, &target, body).await?;
        let status = response.status();
        let framing = Framing::of(response.headers());
        if status != StatusCode::SWITCHING_PROTOCOLS {
            if status.is_success() {
                return Err(Error::NotUpgraded { status: status.as_u16() });
            }
            let mut stream = ByteStream::new(response, lease);
            return Err(engine_error(status, &mut stream).await);
        }
        let failed = |source| Error::Http { endpoint: self.shared.transport.to_string(), source };
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(failed)?;
        match upgraded.downcast::<TokioIo<Link>>() {
            Ok(parts) => Ok(Hijacked::new(parts.io.into_inner(), parts.read_buf, framing)),
            // Every connection is made in `connect` below, from a Link.
            Err(_) => Err(Error::NotUpgraded { status: status.as_u16() }),
        }
    }

    async fn target(&self, call: &Call<'_>) -> Result<String, Error> {
        if let Some(kind) = unnamed(call.path) {
            return Err(Error::EmptyName { kind });
        }
        let version = self.api_version().await?;
        Ok(format!("/v{version}{}{}", call.path, call.query.to_suffix()))
    }

    async fn exchange(&self, call: &Call<'_>, target: &str) -> Result<(Response<Incoming>, Lease), Error> {
        self.exchange_with(call, target, empty()).await
    }

    async fn exchange_with(
        &self,
        call: &Call<'_>,
        target: &str,
        body: RequestBody,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        let mut request = self.request(call, target, body)?;
        loop {
            let (mut sender, reused) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let lease = Lease { sender: Some(sender), client: self.clone() };
                    return Ok((response, lease));
                }
                Err(mut error) => match error.take_message() {
                    // The engine closed an idle connection before it took this request.
                    Some(unsent) if reused => request = unsent,
                    _ => {
                        let endpoint = self.shared.transport.to_string();
                        return Err(Error::Http { endpoint, source: error.into_error() });
                    }
                },
            }
        }
    }

    fn request(
        &self,
        call: &Call<'_>,
        target: &str,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Error> {
        let host = match &self.shared.transport {
            Transport::Tcp(address) => address.as_str(),
            _ => NO_HOST,
        };
        let mut request = Request::builder().method(&call.method).uri(target).header(HOST, host);
        if !self.shared.headers.iter().any(|(name, _)| name == USER_AGENT) {
            request = request.header(USER_AGENT, concat!("tare/", env!("CARGO_PKG_VERSION"), " (linux)"));
        }
        for (name, value) in self.shared.headers.iter().chain(&call.headers) {
            request = request.header(name, value);
        }
        Ok(request.body(body)?)
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Sender, Error> {
        let endpoint = || self.shared.transport.to_string();
        let link = self
            .shared
            .transport
            .connect()
            .await
            .map_err(|source| Error::Connect { endpoint: endpoint(), source })?;
        let handshake = http1::Builder::new().handshake(TokioIo::new(link)).await;
        let (sender, connection) =
            handshake.map_err(|source| Error::Http { endpoint: endpoint(), source })?;
        // Its errors also reach whoever waits for an answer on it.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

/// A connection that is in use for one answer.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Option<Sender>,
    client: Client,
}

impl Lease {
    /// The answer was read to its end.
    pub(crate) fn give_back(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.client.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.client.shared.transport.to_string()
    }
}

/// The error in the body of an answer: Docker's JSON, or the bare text of something else (a proxy).
async fn engine_error(status: StatusCode, stream: &mut ByteStream) -> Error {
    let body = match stream.collect("an error", MAX_ERROR_LEN).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let message = match decode::<ErrorResponse>(&body) {
        Ok(response) if !response.message.is_empty() => response.message,
        _ => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    let message =
        if message.is_empty() { format!("the engine answered {status} without a reason") } else { message };
    Error::Engine { status: status.as_u16(), message }
}

fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(text: String) -> RequestBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is read as it is sent.
struct ReaderBody<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Body for ReaderBody<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        this.buffer.resize(UPLOAD_CHUNK_LEN, 0);
        let mut read = ReadBuf::new(&mut this.buffer);
        match Pin::new(&mut this.reader).poll_read(cx, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let len = read.filled().len();
                if len == 0 {
                    return Poll::Ready(None);
                }
                let data = this.buffer.split_to(len).freeze();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }
}

/// What kind of thing is named by nothing in a path such as `/containers//start`.
fn unnamed(path: &str) -> Option<&'static str> {
    let kinds = [("/containers/", "container"), ("/networks/", "network"), ("/volumes/", "volume")];
    let nameless = |rest: &str| rest.is_empty() || rest.starts_with('/');
    kinds.iter().find(|(root, _)| path.strip_prefix(root).is_some_and(nameless)).map(|(_, kind)| *kind)
}
