//! The three standard streams: written without `println!`, which panics on a closed pipe.
//!
//! Their descriptors are shared with other processes (the shell), so their flags are never changed:
//! waiting is done with `poll` and epoll, and then no more is read or written than fits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcgetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::Error;

/// What a pipe that is writable takes without blocking (`PIPE_BUF`, pipe(7)).
const SAFE_WRITE_LEN: usize = 4096;

/// Where a command reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Stdio {
    /// Standard input.
    pub stdin: BorrowedFd<'static>,
    /// Standard output.
    pub stdout: BorrowedFd<'static>,
    /// Standard error.
    pub stderr: BorrowedFd<'static>,
}

impl Stdio {
    /// The streams of this process.
    pub fn of_process() -> Stdio {
        Stdio {
            stdin: rustix::stdio::stdin(),
            stdout: rustix::stdio::stdout(),
            stderr: rustix::stdio::stderr(),
        }
    }
}

/// Standard output or error.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    fd: BorrowedFd<'static>,
    terminal: bool,
}

impl Out {
    /// A stream to write to.
    pub fn new(fd: BorrowedFd<'static>) -> Out {
        Out { fd, terminal: rustix::termios::isatty(fd) }
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'static> {
        self.fd
    }

    /// The terminal's size: rows and columns.
    pub fn size(&self) -> Option<(u16, u16)> {
        window_size(self.fd)
    }

    /// Writes all of it, waiting if need be.
    pub fn write(&self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match rustix::io::write(self.fd, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                // Somebody else made the shared description non-blocking.
                Err(Errno::AGAIN) => wait(self.fd, PollFlags::OUT)?,
                Err(error) => return Err(write_error(error)),
            }
        }
        Ok(())
    }

    /// Writes a line.
    pub fn line(&self, text: &str) -> Result<(), Error> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes a line where nothing can be done about a failure (standard error).
    pub fn note(&self, text: &str) {
        let _ = self.line(text);
    }
}

/// Rows and columns of a terminal.
pub fn window_size(fd: impl AsFd) -> Option<(u16, u16)> {
    let Winsize { ws_row, ws_col, .. } = tcgetwinsize(fd).ok()?;
    Some((ws_row, ws_col))
}

/// An output for streams: it lets other work go on while a reader is slow.
pub struct AsyncOut {
    out: Out,
    ready: Option<AsyncFd<BorrowedFd<'static>>>,
}

impl AsyncOut {
    /// Inside a tokio runtime only.
    pub fn new(out: Out) -> AsyncOut {
        // A regular file cannot be waited for (EPERM) and need not be.
        AsyncOut { out, ready: register(out.fd, Interest::WRITABLE) }
    }

    /// Writes all of it.
    pub async fn write(&self, mut bytes: &[u8]) -> Result<(), Error> {
        let Some(ready) = &self.ready else { return self.out.write(bytes) };
        while !bytes.is_empty() {
            if !is_ready(self.out.fd, PollFlags::OUT)? {
                let mut guard = ready.writable().await.map_err(|e| Error::io("standard output", e))?;
                if !is_ready(self.out.fd, PollFlags::OUT)? {
                    guard.clear_ready();
                    continue;
                }
            }
            let part = &bytes[..bytes.len().min(SAFE_WRITE_LEN)];
            match rustix::io::write(self.out.fd, part) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(write_error(error)),
            }
        }
        Ok(())
    }
}

/// Standard input for streams.
pub struct AsyncIn {
    fd: BorrowedFd<'static>,
    ready: Option<AsyncFd<BorrowedFd<'static>>>,
}

impl AsyncIn {
    /// Inside a tokio runtime only.
    pub fn new(fd: BorrowedFd<'static>) -> AsyncIn {
        AsyncIn { fd, ready: register(fd, Interest::READABLE) }
    }

    /// Reads what is there; 0 at the end.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(ready) = &self.ready
                && !is_ready(self.fd, PollFlags::IN)?
            {
                let mut guard = ready.readable().await?;
                if !is_ready(self.fd, PollFlags::IN)? {
                    guard.clear_ready();
                    continue;
                }
            }
            match rustix::io::read(self.fd, &mut *buffer) {
                Ok(read) => return Ok(read),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A terminal whose other side is gone.
                Err(Errno::IO) => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// As a request's body.
impl tokio::io::AsyncRead for AsyncIn {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        use std::task::Poll;
        loop {
            if !is_ready(self.fd, PollFlags::IN)? {
                let Some(ready) = &self.ready else { break };
                match ready.poll_read_ready(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(mut guard)) => {
                        if !is_ready(self.fd, PollFlags::IN)? {
                            guard.clear_ready();
                            continue;
                        }
                    }
                }
            }
            break;
        }
        let read = rustix::io::read(self.fd, buf.initialize_unfilled())?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because a descriptor may be closed; these live as long as the process"
)]
fn register(fd: BorrowedFd<'static>, interest: Interest) -> Option<AsyncFd<BorrowedFd<'static>>> {
    AsyncFd::with_interest(fd, interest).ok()
}

fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&now)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Error> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Error::io("poll", error.into())),
    }
}

fn write_error(error: Errno) -> Error {
    match error {
        Errno::PIPE => Error::OutputClosed,
        other => Error::io("write", other.into()),
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::io("standard streams", error)
    }
}
