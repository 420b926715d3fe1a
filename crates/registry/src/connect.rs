//! From an endpoint to an HTTP/1.1 connection: addresses, proxy, TLS, and plain HTTP where that is allowed.
//!
//! Invariant: without `lenient` (loopback, or named by an administrator) nothing is ever sent over plain HTTP to
//! a registry, and its certificate was checked. Loopback is said of the peer that a connection has, never of a
//! name: an answer of DNS that mixes loopback with other addresses makes nobody else trusted.

use crate::dns;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Result, reason};
use crate::proxy::{Proxy, default_port};
use crate::settings::Settings;
use crate::tls;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// As Go's transport.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A proxy's answer to CONNECT.
const MAX_CONNECT_BYTES: usize = 16 << 10;

/// A request's body.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A connection that takes requests.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Not TLS.
    pub(crate) plain: bool,
    /// For a proxy that must be told the whole address; with its credentials, if any.
    pub(crate) through: Option<Option<String>>,
}

/// Connects; `plain` when the host is known to speak no TLS.
pub(crate) async fn connect(settings: &Settings, endpoint: &Endpoint, plain: bool) -> Result<Connection> {
    if endpoint.scheme == Scheme::Http || plain {
        return connect_plain(settings, endpoint).await;
    }
    match connect_tls(settings, endpoint).await {
        Err(failed) if failed.fallback => {
            // The first error says more when plain HTTP does not work either.
            connect_plain(settings, endpoint).await.map_err(|e| if failed.refused { failed.error } else { e })
        }
        Err(failed) => Err(failed.error),
        Ok(connection) => Ok(connection),
    }
}

/// Why there is no TLS connection.
struct Failed {
    error: Error,
    /// Plain HTTP may be tried.
    fallback: bool,
    /// Nobody listens at all.
    refused: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed { error, fallback: false, refused: false }
    }
}

async fn connect_tls(settings: &Settings, endpoint: &Endpoint) -> Result<Connection, Failed> {
    let port = endpoint.port.unwrap_or(default_port(true));
    let proxy = proxy(settings, endpoint, true, port)?;
    let (stream, loopback) = match &proxy {
        Some(proxy) => (tunnel(proxy, &endpoint.host, port).await?, false),
        None => {
            let addresses = dns::lookup(&endpoint.host).await?;
            // What plain HTTP would then be tried with is filtered again.
            let lenient = !reachable_plainly(endpoint, &addresses).is_empty();
            let dialled = dial(&addresses, port).await.map_err(|error| Failed {
                // As dockerd: a refused port that nobody named may be open for plain HTTP.
                fallback: lenient && endpoint.scheme == Scheme::Registry && endpoint.port.is_none(),
                refused: true,
                error,
            })?;
            let loopback = dialled.peer_addr().is_ok_and(|peer| is_loopback(peer.ip()));
            (dialled, loopback)
        }
    };
    let lenient = endpoint.insecure || (loopback && !endpoint.official);
    let config = tls::config(settings, endpoint, lenient)?;
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| Error::Host(endpoint.host.clone()))?;
    let shaken = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, stream)).await;
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let failure = handshake_error(&error, &endpoint.host);
            // What is no TLS, or ends at once, is a server of plain HTTP.
            let fallback = lenient && endpoint.scheme == Scheme::Registry && !is_tls(&error);
            return Err(Failed { error: failure, fallback, refused: false });
        }
        Err(_) => {
            // A server that waits for the rest of a line.
            let fallback = lenient && endpoint.scheme == Scheme::Registry;
            let error = Error::Timeout("TLS handshake", HANDSHAKE_TIMEOUT.as_secs());
            return Err(Failed { error, fallback, refused: false });
        }
    };
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::Connection)?;
    // Ends with its sender; its errors reach whoever reads the answer.
    tokio::spawn(connection);
    Ok(Connection { sender, plain: false, through: None })
}

async fn connect_plain(settings: &Settings, endpoint: &Endpoint) -> Result<Connection> {
    let port = endpoint.port.unwrap_or(default_port(false));
    let proxy = proxy(settings, endpoint, false, port)?;
    let (stream, through) = match proxy {
        Some(proxy) => {
            let stream = reach(&proxy).await?;
            (stream, Some(proxy.user.map(|user| format!("Basic {}", STANDARD.encode(user)))))
        }
        None => {
            let all = dns::lookup(&endpoint.host).await?;
            let addresses = match endpoint.scheme {
                // An address that says http: whoever gave it was checked for that.
                Scheme::Http => all,
                Scheme::Registry | Scheme::Https => reachable_plainly(endpoint, &all),
            };
            if addresses.is_empty() {
                // It was loopback when it was found to speak no TLS, and is elsewhere now.
                return Err(Error::Tls("http: server gave HTTP response to HTTPS client".to_owned()));
            }
            (dial(&addresses, port).await?, None)
        }
    };
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::Connection)?;
    tokio::spawn(connection);
    Ok(Connection { sender, plain: true, through })
}

fn proxy(settings: &Settings, endpoint: &Endpoint, tls: bool, port: u16) -> Result<Option<Proxy>> {
    settings.proxies.of(tls, &endpoint.host, port).map_err(Error::Proxy)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Those of an endpoint's addresses to which a registry's requests may go without TLS.
fn reachable_plainly(endpoint: &Endpoint, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let may = |address: &IpAddr| endpoint.insecure || (is_loopback(*address) && !endpoint.official);
    addresses.iter().copied().filter(may).collect()
}

async fn dial(addresses: &[IpAddr], port: u16) -> Result<TcpStream> {
    let mut last = None;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and wait for their answer.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(e)) => last = Some(Error::Dial { address: address.to_string(), reason: reason(&e) }),
            Err(_) => last = Some(Error::Timeout("connection", CONNECT_TIMEOUT.as_secs())),
        }
    }
    Err(last.unwrap_or(Error::Worker("the resolver")))
}

/// The proxy itself.
async fn reach(proxy: &Proxy) -> Result<TcpStream> {
    let dialled = match dns::lookup(&proxy.host).await {
        Ok(addresses) => dial(&addresses, proxy.port).await,
        Err(e) => Err(e),
    };
    dialled.map_err(|e| Error::Proxy(e.to_string()))
}

/// A way through a proxy (RFC 9110, 9.3.6).
async fn tunnel(proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream> {
    let wrong = |why: String| Error::Proxy(format!("{}:{}: {why}", proxy.host, proxy.port));
    let mut stream = reach(proxy).await?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(user) = &proxy.user {
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(user)));
    }
    request.push_str("\r\n");
    let talk = async {
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte, so that nothing of the tunnel itself is taken.
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_CONNECT_BYTES {
            head.push(stream.read_u8().await?);
        }
        Ok::<_, std::io::Error>(head)
    };
    let head = timeout(CONNECT_TIMEOUT, talk)
        .await
        .map_err(|_| Error::Timeout("answer of the proxy", CONNECT_TIMEOUT.as_secs()))?
        .map_err(|e| wrong(reason(&e)))?;
    let line: String =
        String::from_utf8_lossy(&head).lines().next().unwrap_or_default().chars().take(200).collect();
    if line.split(' ').nth(1) == Some("200") {
        return Ok(stream);
    }
    Err(wrong(line.split_once(' ').map_or(line.as_str(), |(_, rest)| rest).to_owned()))
}

/// Whether whoever answered speaks TLS at all.
fn is_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    inner.is_some_and(|e| !matches!(e, rustls::Error::InvalidMessage(_)))
}

fn handshake_error(error: &std::io::Error, host: &str) -> Error {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            Error::Tls("http: server gave HTTP response to HTTPS client".to_owned())
        }
        Some(e) => Error::Tls(tls::explain(e, host)),
        None => Error::Tls(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => reason(error),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Only the loopback addresses of a mixed answer may be spoken to without TLS.
    #[test]
    fn a_mixed_answer_trusts_only_loopback() {
        let addresses: Vec<IpAddr> =
            ["192.0.2.1", "127.0.0.1", "2001:db8::1", "::1", "::ffff:127.0.0.2", "::ffff:192.0.2.2"]
                .map(|a| a.parse().unwrap())
                .into();
        for (authority, insecure, want) in [
            ("mixed.example", "", "127.0.0.1 ::1 ::ffff:127.0.0.2"),
            ("registry-1.docker.io", "", ""),
            (
                "mixed.example",
                "mixed.example",
                "192.0.2.1 127.0.0.1 2001:db8::1 ::1 ::ffff:127.0.0.2 ::ffff:192.0.2.2",
            ),
        ] {
            let endpoint = Endpoint::new(authority, Scheme::Registry, &[insecure.to_owned()]).unwrap();
            let got: Vec<String> =
                reachable_plainly(&endpoint, &addresses).iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), want, "{authority} {insecure}");
        }
    }

    /// A host that is no loopback is not spoken to plainly, even when its name was known to speak no TLS, and a
    /// peer that is elsewhere must show a certificate.
    #[tokio::test]
    async fn a_peer_elsewhere_is_not_trusted() {
        // An address of this machine that is not loopback; without one there is nothing to try.
        let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let own = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
        let Some(own) = own.ok().map(|a| a.ip()).filter(|a| !is_loopback(*a)) else {
            eprintln!("skipped: this machine has no address beside loopback");
            return;
        };
        for (address, trusted) in [(own, false), (IpAddr::from([127, 0, 0, 1]), true)] {
            let listener = TcpListener::bind((address, 0)).await.unwrap();
            let authority = format!("{address}:{}", listener.local_addr().unwrap().port());
            // Speaks no TLS: hangs up at the first bytes.
            let server = tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.read_u8().await;
                }
            });
            let endpoint = Endpoint::new(&authority, Scheme::Registry, &[]).unwrap();
            for plain in [false, true] {
                let connected = connect(&Settings::default(), &endpoint, plain).await;
                assert_eq!(connected.is_ok_and(|c| c.plain), trusted, "{authority} {plain}");
            }
            server.abort();
        }
    }
}
