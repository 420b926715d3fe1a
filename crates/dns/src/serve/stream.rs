//! Messages on a connection: each with its length in two bytes before it (RFC 1035 section 4.2.2).
//!
//! Invariants: it never waits, and keeps at most one message that comes and [`MAX_OUTBOX`] bytes that go.
//!
//! It does not know who is at the other end.

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// What the other side does not take: a few of the longest answers.
const MAX_OUTBOX: usize = 256 << 10;
const READ_BYTES: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    longest: usize,
}

impl Stream {
    /// Takes messages of at most `longest` bytes; the socket does not block.
    pub(super) fn new(socket: OwnedFd, longest: usize) -> Self {
        Self { socket, inbox: Vec::new(), outbox: Vec::new(), longest }
    }

    /// The messages that have come whole. An error when the other side has closed, or sends what is too long.
    pub(super) fn read(&mut self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut buffer = [0; READ_BYTES];
        match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(Errno::CONNRESET),
            Ok((length, _)) => self.inbox.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(e) => return Err(e),
        }
        let mut messages = Vec::new();
        while let Some((head, rest)) = self.inbox.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head));
            if length > self.longest {
                return Err(Errno::MSGSIZE);
            }
            let Some(message) = rest.get(..length) else { break };
            messages.push(message.to_vec());
            self.inbox.drain(..2 + length);
        }
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        Ok(messages)
    }

    /// Sends a message, now or as soon as it is taken.
    pub(super) fn push(&mut self, message: &[u8]) -> Result<(), Errno> {
        let length = u16::try_from(message.len()).map_err(|_| Errno::MSGSIZE)?;
        if self.outbox.len() + message.len() > MAX_OUTBOX {
            return Err(Errno::NOBUFS);
        }
        self.outbox.extend_from_slice(&length.to_be_bytes());
        self.outbox.extend_from_slice(message);
        self.flush()
    }

    /// Sends what is taken now. A connection that is still being made takes nothing yet.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        while !self.outbox.is_empty() {
            match send(&self.socket, &self.outbox, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(Errno::INTR) => {}
                // ENOTCONN: connect(2) is under way.
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.outbox = Vec::new();
        Ok(())
    }

    /// What is to be waited for.
    pub(super) fn interest(&self) -> EventFlags {
        let mut interest = EventFlags::IN;
        interest.set(EventFlags::OUT, !self.outbox.is_empty());
        interest
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
