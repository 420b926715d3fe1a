//! One attached client of the main process: a socket, what it wants, and what it has yet to take.
//!
//! Invariants. A client never makes the monitor wait: what its socket does not take goes into its
//! [`Ring`]; when that is full the monitor stops reading for a while, and a client that takes nothing for
//! [`PATIENCE_NS`] is given up with a notice.
//!
//! It does not know where the bytes come from.

use crate::poller::{Event, Output, Poller, Readiness};
use crate::ring::Ring;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendFlags, sendmsg};
use std::io::IoSlice;
use sys::clock::boottime_ns;

/// How long a client whose ring is full may take nothing, nanoseconds.
pub const PATIENCE_NS: u64 = 5_000_000_000;
/// Above this, a client is given up at once: only reached while the rest of an ended container is drained.
const HARD_LIMIT: usize = 4 * crate::ring::LIMIT;
/// What a client is told when it is given up.
const NOTICE: &[u8] = b"output was cut off because it was not read for 5 seconds; see the container's log\n";
/// Length of a stdcopy header.
const HEADER_BYTES: usize = 8;
/// stdcopy's stream for a message of the engine; Docker's clients report it as an error.
const SYSTEM_ERROR: u8 = 3;

/// What is left to do for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All.
    Live,
    /// It gets what is in its ring, then its socket is closed.
    Ending,
    /// Its socket is of no use any more.
    Gone,
}

/// An attached client.
#[derive(Debug)]
pub struct Attached {
    socket: OwnedFd,
    tty: bool,
    stdout: bool,
    stderr: bool,
    stdin: bool,
    ring: Ring,
    state: State,
    /// When it last took something.
    progress_ns: u64,
    /// It has left; what it wrote before is still to be read.
    pub hung_up: bool,
    /// What the poller watches it for; `None` when it is not watched.
    interest: Option<Readiness>,
}

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Attached {
    /// A client that wants these streams.
    pub fn new(socket: OwnedFd, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> Self {
        Self {
            socket,
            tty,
            stdout,
            stderr: stderr && !tty,
            stdin,
            ring: Ring::default(),
            state: State::Live,
            progress_ns: 0,
            hung_up: false,
            interest: None,
        }
    }

    /// Gives it what the main process said, if it wants it.
    pub fn deliver(&mut self, output: Output, data: &[u8]) {
        let (wanted, stream) = match output {
            Output::Stdout => (self.stdout, 1),
            Output::Stderr => (self.stderr, 2),
        };
        if !wanted || self.state != State::Live {
            return;
        }
        if self.tty {
            self.put(&[], data);
        } else {
            self.put(&header(stream, data.len()), data);
        }
        if self.ring.len() > HARD_LIMIT {
            self.give_up();
        }
    }

    fn put(&mut self, header: &[u8], data: &[u8]) {
        let mut sent = 0;
        if self.ring.is_empty() {
            match send(&self.socket, header, data) {
                Ok(n) => sent = n,
                Err(Errno::AGAIN) => {}
                Err(_) => {
                    self.state = State::Gone;
                    return;
                }
            }
            self.progress_ns = boottime_ns();
        }
        if sent < header.len() + data.len() {
            self.ring.push(&[header, data], sent);
        }
    }

    /// Sends what its socket takes now.
    pub fn flush(&mut self) {
        while !self.ring.is_empty() && self.state != State::Gone {
            let (a, b) = self.ring.pieces();
            match send(&self.socket, a, b) {
                Ok(n) => {
                    self.ring.consume(n);
                    self.progress_ns = boottime_ns();
                }
                Err(Errno::AGAIN) => return,
                Err(_) => self.state = State::Gone,
            }
        }
        if self.state == State::Ending {
            self.state = State::Gone;
        }
    }

    /// Nothing more will come for it.
    pub fn end(&mut self) {
        if self.state == State::Live {
            self.state = State::Ending;
        }
        self.flush();
    }

    /// It left.
    pub fn leave(&mut self) {
        self.state = State::Gone;
    }

    /// Its socket may be closed.
    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// It has not taken what it should have; reading must pause.
    pub fn is_behind(&self) -> bool {
        self.state == State::Live && self.ring.is_full()
    }

    /// When it will have been given up if it takes nothing until then.
    pub fn deadline_ns(&self) -> Option<u64> {
        let waits = self.is_behind() || (self.state == State::Ending && !self.ring.is_empty());
        waits.then(|| self.progress_ns.saturating_add(PATIENCE_NS))
    }

    /// Gives it up if its time is over; true when it was.
    pub fn check_deadline(&mut self, now_ns: u64) -> bool {
        if self.deadline_ns().is_none_or(|at| now_ns < at) {
            return false;
        }
        if self.state == State::Ending {
            self.state = State::Gone
        } else {
            self.give_up()
        }
        true
    }

    fn give_up(&mut self) {
        let notice = if self.tty {
            [b"\r\n", NOTICE, b"\r"].concat()
        } else {
            [&header(SYSTEM_ERROR, NOTICE.len())[..], NOTICE].concat()
        };
        self.ring.cut(&notice);
        self.state = State::Ending;
        self.progress_ns = boottime_ns();
        self.stdin = false;
    }

    /// It may write to stdin.
    pub fn wants_stdin(&self) -> bool {
        self.stdin && self.state == State::Live
    }

    /// Its stdin is over: its own end has come, or nobody reads it any more (then it learns it by EPIPE).
    pub fn end_stdin(&mut self, tell: bool) {
        self.stdin = false;
        if tell {
            // ENOTCONN: it left.
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Read);
        }
    }

    /// Makes the poller watch it for what is possible now.
    pub fn watch(&mut self, poller: &Poller, event: Event, stdin_has_room: bool) -> crate::Result<()> {
        let mut wanted = Readiness::empty();
        wanted.set(Readiness::OUT, !self.ring.is_empty());
        wanted.set(Readiness::IN, self.wants_stdin() && stdin_has_room);
        // A closed socket is ready for ever: it is watched only when there is something to do about it.
        let wanted = (!self.hung_up || !wanted.is_empty()).then_some(wanted);
        if wanted == self.interest {
            return Ok(());
        }
        match (self.interest, wanted) {
            (_, None) => poller.remove(&self.socket),
            (None, Some(wanted)) => poller.add(&self.socket, event, wanted)?,
            (Some(_), Some(wanted)) => poller.modify(&self.socket, event, wanted)?,
        }
        self.interest = wanted;
        Ok(())
    }
}

fn header(stream: u8, length: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}

fn send(socket: &OwnedFd, a: &[u8], b: &[u8]) -> Result<usize, Errno> {
    let mut control = rustix::net::SendAncillaryBuffer::default();
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        match sendmsg(socket, &[IoSlice::new(a), IoSlice::new(b)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
