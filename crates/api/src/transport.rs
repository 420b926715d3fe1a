//! How bytes reach an engine: a unix socket, TCP, or a pipe in this process's memory.
//!
//! Invariant: what comes out is one byte stream each way whose directions end apart (half-close). This file does
//! not know HTTP; which transport to take is the caller's choice.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How much each direction of an in-memory pipe holds before the writer waits.
pub const PIPE_CAPACITY: usize = 64 * 1024;

/// The longest path `sun_path` holds, with its terminating zero.
const SUN_PATH_LEN: usize = 108;

/// A way to an engine.
#[derive(Clone)]
pub enum Transport {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
    /// An engine in this process: the function is given the other end of a pipe and serves it on its own.
    InProcess(Arc<dyn Fn(DuplexStream) + Send + Sync>),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({self})")
    }
}

/// The address as `DOCKER_HOST` has it.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transport::Unix(path) => write!(f, "unix://{}", path.display()),
            Transport::Tcp(address) => write!(f, "tcp://{address}"),
            Transport::InProcess(_) => f.write_str("the engine in this process"),
        }
    }
}

impl Transport {
    /// Whether the engine is this process.
    pub fn is_in_process(&self) -> bool {
        matches!(self, Transport::InProcess(_))
    }

    pub(crate) async fn connect(&self) -> io::Result<Link> {
        match self {
            Transport::Unix(path) => Ok(Link::Unix(connect_unix(path).await?)),
            Transport::Tcp(address) => {
                // No name is resolved here: the libc of a static program cannot do it (DESIGN, "Facts").
                let address: std::net::SocketAddr = address.parse().map_err(|_| {
                    io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!(
                            "{address:?} is not an IP address and a port (host names are not supported yet)"
                        ),
                    )
                })?;
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Link::Tcp(stream))
            }
            Transport::InProcess(serve) => {
                let (ours, theirs) = tokio::io::duplex(PIPE_CAPACITY);
                serve(theirs);
                Ok(Link::Memory(ours))
            }
        }
    }
}

/// Connects to a socket whose path may be longer than `sun_path`.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() < SUN_PATH_LEN {
        return UnixStream::connect(path).await;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name)).await
}

/// A connected byte stream.
#[derive(Debug)]
pub(crate) enum Link {
    Unix(UnixStream),
    Tcp(TcpStream),
    Memory(DuplexStream),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Link::Unix($stream) => $call,
            Link::Tcp($stream) => $call,
            Link::Memory($stream) => $call,
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
