//! Published ports: sockets that are held so that nobody else can bind them, and what comes to those of IPv6 and is
//! copied to a container: the kernel redirects nothing to a container without IPv6, and never what is sent to ::1.
//!
//! Invariants. A direction holds at most [`BUFFER_BYTES`]; an end that takes nothing stops the other from
//! being read, nothing else. At most [`MAX_CONNECTIONS`] at once; more wait in the kernel's backlog.
//!
//! It does not know why a port is published.

mod datagrams;

use crate::config::{Port, Proto};
use crate::poller::{End, Event, Poller, Readiness};
use crate::table::Table;
use crate::{Error, Result};
use datagrams::Sessions;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, connect, listen,
    recv, send, shutdown, socket_with,
};
use std::net::SocketAddr;
use sys::clock::boottime_ns;

/// Spliced connections of one container.
const MAX_CONNECTIONS: usize = 512;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// Bytes on their way in one direction.
const BUFFER_BYTES: usize = 64 << 10;
/// Reads of one end before the others have their turn.
const READS_PER_EVENT: usize = 16;

/// The sockets of published ports.
#[derive(Debug, Default)]
pub struct Ports {
    held: Vec<OwnedFd>,
    connections: Table<Connection>,
    ports: Vec<Port>,
    /// Which of them are watched.
    served: Vec<bool>,
    sessions: Sessions,
    /// Listening sockets are not watched while there are too many connections.
    full: bool,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    client: Side,
    container: Side,
    connected: bool,
}

/// One end, and what has been read from the other for it.
#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    pending: Vec<u8>,
    /// It has said its last byte.
    ended: bool,
    /// The other's last byte was passed on.
    shut: bool,
    /// `None`: not watched any more.
    watched_for: Option<Readiness>,
}

impl Ports {
    /// Holds more sockets.
    pub fn hold(&mut self, sockets: Vec<OwnedFd>) {
        self.held.extend(sockets);
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Serves the sockets as `ports` says from now on. One that was served and leads nowhere now goes on listening, and
    /// drops what comes: it could not listen again while connections of before are in TIME_WAIT.
    pub fn serve(&mut self, poller: &Poller, ports: &[Port]) -> Result<()> {
        self.served.resize(self.held.len(), false);
        for (id, (socket, port)) in self.held.iter().zip(ports).enumerate() {
            if port.splice_to.is_some() && !std::mem::replace(&mut self.served[id], true) {
                begin(poller, socket, id as u32, port.proto)?;
            }
        }
        if self.ports != ports {
            self.sessions = Sessions::default();
        }
        self.ports = ports.to_vec();
        Ok(())
    }

    /// Somebody connects to a published port.
    pub fn on_port(&mut self, poller: &Poller, id: u32) {
        let index = id as usize;
        let (Some(socket), Some(Port { proto, splice_to })) =
            (self.held.get(index), self.ports.get(index).copied())
        else {
            return;
        };
        let Some(target) = splice_to else { return drop_client(socket, proto) };
        if proto == Proto::Udp {
            self.buffer.resize(BUFFER_BYTES, 0);
            let port = (index, socket);
            return self.sessions.on_port(poller, port, target, &mut self.buffer, boottime_ns());
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            self.full = true;
            self.watch_ports(poller, false);
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(client) = accept_with(socket, flags) else { return };
        if let Ok(container) = begin_connect(target) {
            let id = self.connections.next_id();
            let mut connection =
                Connection { client: Side::new(client), container: Side::new(container), connected: false };
            if connection.watch(poller, id).is_ok() {
                self.connections.insert(connection);
            }
        }
    }

    /// One end of a connection can be read or written.
    pub fn on_spliced(&mut self, poller: &Poller, id: u32, end: End, readiness: Readiness) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER_BYTES, 0);
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.go_on(end, readiness, &mut buffer) || connection.watch(poller, id).is_err() {
            // Closing takes both sockets out of the poller: there are no copies of them.
            self.connections.remove(id);
            if self.connections.len() == 0 {
                self.connections.shrink();
                buffer = Vec::new();
            }
            if self.full {
                self.full = false;
                self.watch_ports(poller, true);
            }
        }
        self.buffer = buffer;
    }

    /// The container has answered a client's datagram.
    pub fn on_datagrams(&mut self, id: u32) {
        self.buffer.resize(BUFFER_BYTES, 0);
        self.sessions.on_answer(id, &self.held, &mut self.buffer, boottime_ns());
    }

    /// When there is something to forget.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.sessions.deadline_ns()
    }

    /// Forgets clients that have been silent.
    pub fn on_deadline(&mut self, now: u64) {
        self.sessions.on_deadline(now);
        if self.sessions.deadline_ns().is_none() && self.connections.len() == 0 {
            self.buffer = Vec::new();
        }
    }

    /// Closes everything.
    pub fn close(&mut self) {
        *self = Self::default();
    }

    fn watch_ports(&self, poller: &Poller, watch: bool) {
        for (id, (socket, port)) in self.held.iter().zip(&self.ports).enumerate() {
            if self.served[id] && port.proto == Proto::Tcp {
                poller.remove(socket);
                if watch {
                    // Cannot fail for want of memory in a way that leaves us anything better to do.
                    let _ = poller.add(socket, Event::Port(id as u32), Readiness::IN);
                }
            }
        }
    }
}

/// Begins to accept, or to receive.
fn begin(poller: &Poller, socket: &OwnedFd, id: u32, proto: Proto) -> Result<()> {
    rustix::io::ioctl_fionbio(socket, true).map_err(Error::io("ioctl(FIONBIO)"))?;
    match proto {
        Proto::Tcp => listen(socket, BACKLOG).map_err(Error::io("listen(published port)"))?,
        Proto::Udp => sys::datagram::want_local(socket)?,
    }
    poller.add(socket, Event::Port(id), Readiness::IN)
}

/// The port leads nowhere.
fn drop_client(socket: &OwnedFd, proto: Proto) {
    match proto {
        Proto::Tcp => drop(accept_with(socket, SocketFlags::CLOEXEC)),
        Proto::Udp => drop(recv(socket, &mut [0; 1][..], RecvFlags::DONTWAIT)),
    }
}

fn begin_connect(target: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

impl Side {
    fn new(socket: OwnedFd) -> Self {
        // Both halves of a copied connection would otherwise wait for each other's small segments.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        Self { socket, pending: Vec::new(), ended: false, shut: false, watched_for: None }
    }

    /// Sends what is pending; `false` when it takes nothing for ever.
    fn flush(&mut self, other_ended: bool) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let alive = self.put(&pending);
        if other_ended {
            self.pass_end();
        }
        alive
    }

    /// Sends bytes or keeps them.
    fn put(&mut self, bytes: &[u8]) -> bool {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(&self.socket, &bytes[sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(n) => sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        self.pending.extend_from_slice(&bytes[sent..]);
        true
    }

    /// The other end has said its last byte: so it is told when it has taken all.
    fn pass_end(&mut self) {
        if self.pending.is_empty() && !self.shut {
            self.shut = true;
            // ENOTCONN: it is gone, which its own read will tell.
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
    }

    /// Makes the poller watch it.
    fn watch(&mut self, poller: &Poller, event: Event, wanted: Readiness) -> Result<()> {
        // A socket that is closed in both directions is ready for ever.
        let wanted = (!(self.ended && self.shut)).then_some(wanted);
        match (self.watched_for, wanted) {
            (now, wanted) if now == wanted => return Ok(()),
            (_, None) => poller.remove(&self.socket),
            (None, Some(wanted)) => poller.add(&self.socket, event, wanted)?,
            (Some(_), Some(wanted)) => poller.modify(&self.socket, event, wanted)?,
        }
        self.watched_for = wanted;
        Ok(())
    }
}

impl Connection {
    /// Does what is possible now; `false` when the connection is over.
    fn go_on(&mut self, end: End, readiness: Readiness, buffer: &mut [u8]) -> bool {
        if !self.connected {
            if end == End::Client {
                // It left before the container answered.
                return !readiness.intersects(Readiness::HUP | Readiness::ERR);
            }
            match rustix::net::sockopt::socket_error(&self.container.socket) {
                Ok(Ok(())) if readiness.contains(Readiness::OUT) => self.connected = true,
                _ => return false,
            }
        }
        if readiness.intersects(Readiness::ERR) {
            return false;
        }
        let (from, to) = match end {
            End::Client => (&mut self.client, &mut self.container),
            End::Container => (&mut self.container, &mut self.client),
        };
        if readiness.contains(Readiness::OUT) && !from.flush(to.ended) {
            return false;
        }
        if readiness.intersects(Readiness::IN | Readiness::HUP) && !copy(from, to, buffer) {
            return false;
        }
        !(self.client.shut && self.container.shut)
    }

    fn watch(&mut self, poller: &Poller, id: u32) -> Result<()> {
        let client = interest(&self.client, &self.container, self.connected);
        let container =
            if self.connected { interest(&self.container, &self.client, true) } else { Readiness::OUT };
        self.client.watch(poller, Event::Spliced(id, End::Client), client)?;
        self.container.watch(poller, Event::Spliced(id, End::Container), container)
    }
}

fn interest(side: &Side, other: &Side, connected: bool) -> Readiness {
    let mut wanted = Readiness::empty();
    wanted.set(Readiness::IN, connected && !side.ended && other.pending.is_empty());
    wanted.set(Readiness::OUT, !side.pending.is_empty());
    wanted
}

/// Reads from one end and sends to the other; `false` when one of them is broken.
fn copy(from: &mut Side, to: &mut Side, buffer: &mut [u8]) -> bool {
    for _ in 0..READS_PER_EVENT {
        if from.ended || !to.pending.is_empty() {
            return true;
        }
        match recv(&from.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                from.ended = true;
                return to.flush(true);
            }
            Ok((n, _)) => {
                if !to.put(&buffer[..n]) {
                    return false;
                }
                if n < buffer.len() {
                    return true;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        }
    }
    true
}
