//! UDP of IPv6 to a container: one socket for each client, so that answers find their way back.
//!
//! Invariants. At most [`MAX_SESSIONS`] clients of one container at once: one more takes the place of the one that has
//! been silent longest. A client that has been silent for [`SILENCE_NS`] is forgotten. What cannot be passed on at once
//! is lost, as datagrams may be.

use crate::poller::{Event, Poller, Readiness};
use crate::table::Table;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::net::{SocketAddr, SocketAddrV6};
use sys::datagram::{self, Local};

/// Clients of one container.
const MAX_SESSIONS: usize = 256;
/// As docker-proxy.
const SILENCE_NS: u64 = 90_000_000_000;
/// Datagrams of one socket before the others have their turn.
const PER_EVENT: usize = 64;

/// The clients.
#[derive(Debug, Default)]
pub(super) struct Sessions(Table<Session>);

#[derive(Debug)]
struct Session {
    /// Which published port.
    port: usize,
    peer: SocketAddrV6,
    local: Local,
    /// Connected to the container.
    socket: OwnedFd,
    heard_ns: u64,
}

impl Sessions {
    /// Clients have sent something to a published port.
    pub(super) fn on_port(
        &mut self,
        poller: &Poller,
        (port, socket): (usize, &OwnedFd),
        target: SocketAddr,
        buffer: &mut [u8],
        now: u64,
    ) {
        for _ in 0..PER_EVENT {
            let (length, peer, local) = match datagram::receive(socket.as_fd(), buffer) {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                // Nothing more, or an earlier answer's error, which is now told and gone.
                Err(_) => return,
            };
            let known = self.0.iter_mut().find(|(_, s)| s.port == port && s.peer == peer && s.local == local);
            let session = match known {
                Some((_, session)) => session,
                None => {
                    let Some(id) = self.begin(poller, (port, peer, local), target, now) else { continue };
                    let Some(session) = self.0.get_mut(id) else { continue };
                    session
                }
            };
            session.heard_ns = now;
            let _ = send(&session.socket, &buffer[..length], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// The container has answered a client.
    pub(super) fn on_answer(&mut self, id: u32, held: &[OwnedFd], buffer: &mut [u8], now: u64) {
        let Some(session) = self.0.get_mut(id) else { return };
        let Some(server) = held.get(session.port) else { return };
        for _ in 0..PER_EVENT {
            match recv(&session.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    session.heard_ns = now;
                    let _ = datagram::send(server.as_fd(), &buffer[..length], &session.peer, &session.local);
                }
                Err(Errno::INTR) => {}
                // Nobody listens in the container yet (ECONNREFUSED), or there is nothing more.
                Err(_) => return,
            }
        }
    }

    /// When the next client has been silent for too long.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.0.iter().map(|(_, s)| s.heard_ns + SILENCE_NS).min()
    }

    /// Forgets who has been silent for too long. Closing takes a socket out of the poller.
    pub(super) fn on_deadline(&mut self, now: u64) {
        self.0.retain(|_, s| s.heard_ns + SILENCE_NS > now);
        self.0.shrink();
    }

    fn begin(
        &mut self,
        poller: &Poller,
        (port, peer, local): (usize, SocketAddrV6, Local),
        target: SocketAddr,
        now: u64,
    ) -> Option<u32> {
        if self.0.len() >= MAX_SESSIONS
            && let Some(oldest) = self.0.iter().min_by_key(|(_, s)| s.heard_ns).map(|(id, _)| id)
        {
            self.0.remove(oldest);
        }
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, None).ok()?;
        connect(&socket, &target).ok()?;
        poller.add(&socket, Event::Datagrams(self.0.next_id()), Readiness::IN).ok()?;
        Some(self.0.insert(Session { port, peer, local, socket, heard_ns: now }))
    }
}
