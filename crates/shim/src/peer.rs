//! One connection of the engine: frames in, frames out, never waiting.
//!
//! Invariants. What the other side does not take is kept up to [`MAX_OUTBOX_BYTES`]; a connection that lets
//! more pile up, or breaks the protocol, is closed.
//!
//! It does not know what a request does.

use crate::poller::{Event, Poller, Readiness};
use crate::protocol::{self, Decoder, Frame, Hello, Kind, ProtocolError, Response, encode_frame};
use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;

/// Answers that the other side has not taken.
const MAX_OUTBOX_BYTES: usize = 1 << 20;
/// What one read takes.
const READ_BYTES: usize = 16 << 10;

/// Whose answer it will be: a connection and its request's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The connection.
    pub peer: u32,
    /// The request's number; 0 wants no answer.
    pub request: u32,
}

/// A connection.
#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    decoder: Decoder<OwnedFd>,
    outbox: VecDeque<Outgoing>,
    outbox_bytes: usize,
    watched_for: Readiness,
    /// Requests of this connection that wait for the container's end.
    pub waiting: Vec<u32>,
    /// It promised to run `exited()`.
    pub supervises: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Peer {
    /// A new connection; says hello.
    pub fn new(poller: &Poller, socket: OwnedFd, id: u32) -> Result<Self> {
        poller.add(&socket, Event::Peer(id), Readiness::IN)?;
        let mut peer = Self {
            socket,
            decoder: Decoder::default(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            watched_for: Readiness::IN,
            waiting: Vec::new(),
            supervises: false,
        };
        peer.send(Hello::OURS.encode().to_vec(), Vec::new())?;
        Ok(peer)
    }

    /// Reads what has come. `false` when the other side closed.
    pub fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; READ_BYTES];
        let mut fds = Vec::new();
        match sys::scm::recv(self.socket.as_fd(), &mut buffer, &mut fds, RecvFlags::DONTWAIT) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.decoder.push(&buffer[..n], fds)?;
                Ok(true)
            }
            Err(e) if is(&e, rustix::io::Errno::AGAIN) => Ok(true),
            Err(e) if is(&e, rustix::io::Errno::CONNRESET) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The next frame that was read whole. Only requests are expected.
    pub fn next(&mut self) -> Result<Option<Frame<OwnedFd>>> {
        match self.decoder.next_frame()? {
            Some(frame) if frame.kind != Kind::Request => Err(ProtocolError::Header.into()),
            other => Ok(other),
        }
    }

    /// Sends an answer.
    pub fn respond(&mut self, request: u32, response: &Response, fds: Vec<OwnedFd>) -> Result<()> {
        let body = protocol::encode(response)?;
        self.send(encode_frame(Kind::Response, request, &body, fds.len())?, fds)
    }

    /// Says something unasked.
    pub fn tell(&mut self, event: &protocol::Event) -> Result<()> {
        let body = protocol::encode(event)?;
        self.send(encode_frame(Kind::Event, 0, &body, 0)?, Vec::new())
    }

    /// Sends what the other side takes now.
    pub fn flush(&mut self) -> Result<()> {
        while let Some(first) = self.outbox.front_mut() {
            let fds: Vec<BorrowedFd<'_>> = first.fds.iter().map(AsFd::as_fd).collect();
            match sys::scm::send(self.socket.as_fd(), &first.bytes[first.sent..], &fds, SendFlags::DONTWAIT) {
                Ok(n) => {
                    // Descriptors go with the first byte.
                    first.fds.clear();
                    first.sent += n;
                    self.outbox_bytes -= n;
                    if first.sent == first.bytes.len() {
                        self.outbox.pop_front();
                    }
                }
                Err(e) if is(&e, rustix::io::Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        self.outbox = VecDeque::new();
        Ok(())
    }

    /// Everything was taken.
    pub fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Makes the poller watch it for what is possible now.
    pub fn watch(&mut self, poller: &Poller, id: u32) -> Result<()> {
        let mut wanted = Readiness::IN;
        wanted.set(Readiness::OUT, !self.outbox.is_empty());
        if wanted != self.watched_for {
            poller.modify(&self.socket, Event::Peer(id), wanted)?;
            self.watched_for = wanted;
        }
        Ok(())
    }

    fn send(&mut self, bytes: Vec<u8>, fds: Vec<OwnedFd>) -> Result<()> {
        self.outbox_bytes += bytes.len();
        if self.outbox_bytes > MAX_OUTBOX_BYTES {
            return Err(Error::Closed);
        }
        self.outbox.push_back(Outgoing { bytes, sent: 0, fds });
        self.flush()
    }
}

fn is(error: &sys::Error, errno: rustix::io::Errno) -> bool {
    error.errno() == errno.raw_os_error()
}
