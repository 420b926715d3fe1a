//! A pipe or terminal that the engine hands over, as a tokio stream.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Registers a descriptor with the runtime.
///
/// tokio deprecates this constructor because a type could lie about its descriptor; an `OwnedFd`
/// keeps one open descriptor for as long as it lives, which is all that the unsafe one asks for.
#[expect(deprecated, reason = "sound for OwnedFd; the replacement is unsafe, which is not for this crate")]
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// A descriptor that is read or written, or both.
#[derive(Debug)]
pub(crate) struct Descriptor(AsyncFd<OwnedFd>);

impl Descriptor {
    /// Makes it non-blocking, which is harmless: the other end of a pipe or terminal has a description of its own.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Descriptor> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Descriptor(register(fd, Interest::READABLE | Interest::WRITABLE)?))
    }
}

impl AsyncRead for Descriptor {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            match rustix::io::read(guard.get_inner(), unfilled) {
                Ok(len) => {
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                // The last process has closed the terminal: the end (tty(4), n_tty).
                Err(Errno::IO) => return Poll::Ready(Ok(())),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Descriptor {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match rustix::io::write(guard.get_inner(), buf) {
                Ok(len) => return Poll::Ready(Ok(len)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A pipe ends when it is dropped; a terminal has no end of its own.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
