//! epoll, with the monitor's events as its tokens.
//!
//! It does not know what an event means.

use crate::{Error, Result};
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use rustix::event::epoll::EventFlags as Readiness;

/// Which of the two outputs of the main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which end of a spliced connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The socket that was accepted.
    Client,
    /// The socket that was connected to the container.
    Container,
}

/// All that can happen to a shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Children have ended (SIGCHLD).
    Children,
    /// Somebody connects to the shim's socket.
    Connecting,
    /// A connection can be read or written.
    Peer(u32),
    /// The container's creation or start goes on.
    Task,
    /// The main process said something.
    Output(Output),
    /// The main process takes input again.
    Stdin,
    /// An attached client said something or takes more.
    Attached(u32),
    /// The start of an exec goes on.
    Exec(u32),
    /// The health check that runs has written something.
    Probe,
    /// The kernel ran out of the container's memory.
    OutOfMemory,
    /// Somebody connects to a published port.
    Port(u32),
    /// One end of a spliced connection can be read or written.
    Spliced(u32, End),
    /// A container has answered a client's datagram.
    Datagrams(u32),
    /// The earliest deadline has come.
    Deadline,
}

impl Event {
    fn token(self) -> u64 {
        let (kind, id) = match self {
            Self::Children => (1, 0),
            Self::Connecting => (2, 0),
            Self::Peer(id) => (3, id),
            Self::Task => (4, 0),
            Self::Output(Output::Stdout) => (5, 0),
            Self::Output(Output::Stderr) => (6, 0),
            Self::Stdin => (7, 0),
            Self::Attached(id) => (8, id),
            Self::Exec(id) => (9, id),
            Self::OutOfMemory => (10, 0),
            Self::Port(id) => (11, id),
            Self::Spliced(id, End::Client) => (12, id),
            Self::Spliced(id, End::Container) => (13, id),
            Self::Probe => (14, 0),
            Self::Datagrams(id) => (20, id),
            Self::Deadline => (0, 0),
        };
        kind << 32 | u64::from(id)
    }

    fn from_token(token: u64) -> Self {
        let id = token as u32;
        match token >> 32 {
            1 => Self::Children,
            2 => Self::Connecting,
            3 => Self::Peer(id),
            4 => Self::Task,
            5 => Self::Output(Output::Stdout),
            6 => Self::Output(Output::Stderr),
            7 => Self::Stdin,
            8 => Self::Attached(id),
            9 => Self::Exec(id),
            10 => Self::OutOfMemory,
            11 => Self::Port(id),
            12 => Self::Spliced(id, End::Client),
            13 => Self::Spliced(id, End::Container),
            14 => Self::Probe,
            20 => Self::Datagrams(id),
            _ => Self::Deadline,
        }
    }
}

/// Events taken in one go.
const BATCH: usize = 16;

/// The one place where a shim waits.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl AsFd for Poller {
    /// Readable when there is an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Poller {
    /// A poller that watches nothing.
    pub fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::io("epoll_create1()"))?;
        Ok(Self { epoll })
    }

    /// Watches `fd`.
    pub fn add(&self, fd: impl AsFd, event: Event, readiness: Readiness) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(event.token()), readiness)
            .map_err(Error::io("epoll_ctl(ADD)"))
    }

    /// Watches a watched `fd` for something else.
    pub fn modify(&self, fd: impl AsFd, event: Event, readiness: Readiness) -> Result<()> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(event.token()), readiness)
            .map_err(Error::io("epoll_ctl(MOD)"))
    }

    /// Watches `fd` no more. Needed where a duplicate of it lives on, or where it is watched again.
    pub fn remove(&self, fd: impl AsFd) {
        // ENOENT: it was not watched.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something happens or `limit_ns` have passed; then it is [`Event::Deadline`].
    pub fn wait(&self, limit_ns: Option<u64>, events: &mut Vec<(Event, Readiness)>) -> Result<()> {
        let mut buffer =
            [epoll::Event { flags: Readiness::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
        let timeout = limit_ns
            .map(|ns| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 });
        events.clear();
        match epoll::wait(&self.epoll, &mut buffer[..], timeout.as_ref()) {
            Ok(n) => events.extend(buffer[..n].iter().map(|e| {
                let (token, flags) = (e.data.u64(), e.flags);
                (Event::from_token(token), flags)
            })),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::io("epoll_wait()")(e)),
        }
        if events.is_empty() {
            events.push((Event::Deadline, Readiness::empty()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_back() {
        for event in [
            Event::Children,
            Event::Connecting,
            Event::Peer(0),
            Event::Peer(u32::MAX),
            Event::Task,
            Event::Output(Output::Stdout),
            Event::Output(Output::Stderr),
            Event::Stdin,
            Event::Attached(7),
            Event::Exec(8),
            Event::OutOfMemory,
            Event::Probe,
            Event::Port(9),
            Event::Spliced(1, End::Client),
            Event::Spliced(1, End::Container),
            Event::Datagrams(3),
            Event::Deadline,
        ] {
            assert_eq!(Event::from_token(event.token()), event);
        }
    }
}
