//! The loop around [`Server`]: clients by datagrams and on connections, upstreams the same way.
//!
//! Invariants. It waits in one place, its `epoll_wait`, or without the program's text while nothing happens. Each
//! attempt has a socket of its own, connected, so that the kernel chooses a port nobody can guess and takes
//! answers only from where the question went. Upstreams are asked from this process's own network namespace: one
//! of the other side counts as one that failed.
//!
//! It does not know who made its sockets, nor what the files say.

mod stream;

use crate::files::Files;
use crate::server::{Client, MAX_QUERY_BYTES, Output, Server, Side, Transport, Upstream};
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, connect, recv, recvfrom, send,
    sendto, socket_with,
};
use std::net::SocketAddr;
use stream::Stream;
use sys::clock::boottime_ns;

/// Datagrams of clients before upstreams have their turn.
const READS_PER_EVENT: usize = 32;
const MAX_ANSWER: usize = 65535;
const BATCH: usize = 32;
/// Connections of clients at once.
const MAX_CONNECTIONS: usize = 64;
/// A client's connection on which nothing is said for that long is closed (RFC 7766 section 6.2.3).
const SILENCE_NS: u64 = 10_000_000_000;
/// Memory is given back when nothing happened for that long.
const IDLE_NS: u64 = 1_000_000_000;

/// The sockets that clients come to, and the side that this process asks from.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// For datagrams.
    pub udp: BorrowedFd<'a>,
    /// It listens.
    pub tcp: BorrowedFd<'a>,
    /// Whose network namespace this process is in.
    pub side: Side,
}

/// Answers what comes in until waiting fails.
pub fn serve(place: Place<'_>, files: &mut Files) -> Result<(), Errno> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = SocketFlags::CLOEXEC;
    // Zones of addresses are names of the interfaces that are seen from here.
    let probe = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let server = Server::new(random);
    let buffer = Vec::new();
    let mut edge =
        Edge { epoll, place, probe, asked: Vec::new(), clients: Vec::new(), next: 0, server, buffer };
    edge.watch(place.udp, Event::Datagram)?;
    edge.watch(place.tcp, Event::Connecting)?;
    let mut idle_at = Some(boottime_ns() + IDLE_NS);
    let mut events =
        [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
    loop {
        let at = [edge.deadline_ns(), idle_at].into_iter().flatten().min();
        let limit = at.map(|at| at.saturating_sub(boottime_ns()));
        let limit = limit
            .map(|ns| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 });
        let count = match epoll::wait(&edge.epoll, &mut events[..], limit.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(e) => return Err(e),
        };
        for event in &events[..count] {
            edge.on_event(Event::from_token(event.data.u64()), event.flags, files);
            edge.act();
        }
        edge.on_time();
        edge.act();
        let now = boottime_ns();
        if count > 0 {
            idle_at = Some(now + IDLE_NS);
        } else if idle_at.is_some_and(|at| now >= at) && edge.is_idle() {
            idle_at = None;
            files.forget();
            edge.sleep();
        }
    }
}

/// What can happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    Datagram,
    Connecting,
    Client(u32),
    Attempt(u32),
}

impl Event {
    fn token(self) -> u64 {
        let (kind, number) = match self {
            Self::Datagram => (0, 0),
            Self::Connecting => (1, 0),
            Self::Client(number) => (2, number),
            Self::Attempt(number) => (3, number),
        };
        kind << 32 | u64::from(number)
    }

    fn from_token(token: u64) -> Self {
        let number = token as u32;
        match token >> 32 {
            0 => Self::Datagram,
            1 => Self::Connecting,
            2 => Self::Client(number),
            _ => Self::Attempt(number),
        }
    }
}

/// An upstream that is asked.
#[derive(Debug)]
enum Asked {
    Datagram(OwnedFd),
    Connection(Stream),
}

/// A client's connection.
#[derive(Debug)]
struct Connection {
    number: u32,
    stream: Stream,
    heard_ns: u64,
}

#[derive(Debug)]
struct Edge<'a> {
    epoll: OwnedFd,
    place: Place<'a>,
    probe: OwnedFd,
    asked: Vec<(u32, Asked)>,
    clients: Vec<Connection>,
    next: u32,
    server: Server,
    /// For datagrams; empty while nothing happens.
    buffer: Vec<u8>,
}

impl Edge<'_> {
    fn on_event(&mut self, event: Event, flags: epoll::EventFlags, files: &mut Files) {
        match event {
            Event::Datagram => self.on_datagrams(files),
            Event::Connecting => self.on_connecting(),
            Event::Client(number) => self.on_client(number, flags, files),
            Event::Attempt(number) => self.on_upstream(number, flags),
        }
    }

    fn on_datagrams(&mut self, files: &mut Files) {
        self.buffer.resize(MAX_ANSWER, 0);
        for _ in 0..READS_PER_EVENT {
            let (length, from) = match recvfrom(self.place.udp, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _, Some(from))) => (length, from),
                Err(Errno::INTR) => continue,
                _ => return,
            };
            let Ok(from) = SocketAddr::try_from(from) else { continue };
            if length <= MAX_QUERY_BYTES {
                let world = files.world(self.probe.as_fd());
                self.server.on_query(boottime_ns(), Client::Udp(from), &self.buffer[..length], &world);
            }
        }
    }

    fn on_connecting(&mut self) {
        let Ok(socket) = accept_with(self.place.tcp, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else {
            return;
        };
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let stream = Stream::new(socket, MAX_QUERY_BYTES);
        if self.clients.len() < MAX_CONNECTIONS && self.watch(stream.as_fd(), Event::Client(number)).is_ok() {
            self.clients.push(Connection { number, stream, heard_ns: boottime_ns() });
        }
    }

    fn on_client(&mut self, number: u32, flags: epoll::EventFlags, files: &mut Files) {
        let Some(client) = self.clients.iter_mut().find(|c| c.number == number) else { return };
        client.heard_ns = boottime_ns();
        let mut going = client.stream.flush();
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            match client.stream.read() {
                Ok(messages) => {
                    for message in messages {
                        let world = files.world(self.probe.as_fd());
                        self.server.on_query(boottime_ns(), Client::Tcp(number), &message, &world);
                    }
                }
                Err(e) => going = Err(e),
            }
        }
        self.go_on(number, going);
    }

    /// Waits for the client's next word, or closes.
    fn go_on(&mut self, number: u32, going: Result<(), Errno>) {
        let Some(at) = self.clients.iter().position(|c| c.number == number) else { return };
        let stream = &self.clients[at].stream;
        let data = epoll::EventData::new_u64(Event::Client(number).token());
        if going.and_then(|()| epoll::modify(&self.epoll, stream, data, stream.interest())).is_err() {
            self.clients.swap_remove(at);
            self.server.on_gone(Client::Tcp(number));
        }
    }

    fn on_upstream(&mut self, attempt: u32, flags: epoll::EventFlags) {
        let Some((_, asked)) = self.asked.iter_mut().find(|(number, _)| *number == attempt) else { return };
        let now = boottime_ns();
        let heard = match asked {
            Asked::Datagram(socket) => {
                self.buffer.resize(MAX_ANSWER, 0);
                match recv(socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                    Ok((length, _)) => {
                        self.server.on_answer(now, attempt, &self.buffer[..length]);
                        Ok(())
                    }
                    Err(Errno::AGAIN | Errno::INTR) => Ok(()),
                    Err(e) => Err(e),
                }
            }
            Asked::Connection(stream) => stream.flush().and_then(|()| {
                if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                    for message in stream.read()? {
                        self.server.on_answer(now, attempt, &message);
                    }
                }
                let data = epoll::EventData::new_u64(Event::Attempt(attempt).token());
                epoll::modify(&self.epoll, &*stream, data, stream.interest())
            }),
        };
        if heard.is_err() {
            self.server.on_failed(now, attempt);
        }
    }

    fn on_time(&mut self) {
        let now = boottime_ns();
        self.server.on_time(now);
        let silent = |c: &Connection| now >= c.heard_ns + SILENCE_NS;
        while let Some(at) = self.clients.iter().position(silent) {
            let gone = self.clients.swap_remove(at);
            self.server.on_gone(Client::Tcp(gone.number));
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        let silence = self.clients.iter().map(|c| c.heard_ns + SILENCE_NS).min();
        [self.server.deadline_ns(), silence].into_iter().flatten().min()
    }

    fn is_idle(&self) -> bool {
        self.server.is_idle() && self.clients.is_empty()
    }

    /// Gives back what is not needed while nobody asks, and waits for somebody who does.
    fn sleep(&mut self) {
        self.server.shrink();
        self.buffer = Vec::new();
        self.asked = Vec::new();
        self.clients = Vec::new();
        sys::heap::trim();
        sys::heap::forget_stack();
        sys::heap::sleep_without_text(self.epoll.as_fd(), None);
    }

    /// Does what the server wishes, until it wishes nothing.
    fn act(&mut self) {
        loop {
            let outputs = self.server.outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Answer { client: Client::Udp(to), message } => {
                        // A full buffer loses it, as a network would.
                        let _ = sendto(self.place.udp, &message, SendFlags::DONTWAIT, &to);
                    }
                    Output::Answer { client: Client::Tcp(number), message } => {
                        if let Some(client) = self.clients.iter_mut().find(|c| c.number == number) {
                            client.heard_ns = boottime_ns();
                            let going = client.stream.push(&message);
                            self.go_on(number, going);
                        }
                    }
                    Output::Ask { attempt, upstream, transport, message } => {
                        if self.ask(attempt, upstream, transport, &message).is_err() {
                            self.server.on_failed(boottime_ns(), attempt);
                        }
                    }
                    Output::Forget { attempt } => self.asked.retain(|(number, _)| *number != attempt),
                }
            }
        }
    }

    fn ask(&mut self, attempt: u32, upstream: Upstream, how: Transport, message: &[u8]) -> Result<(), Errno> {
        if upstream.side != self.place.side {
            return Err(Errno::OPNOTSUPP);
        }
        if let Some((_, asked)) = self.asked.iter().find(|(number, _)| *number == attempt) {
            return match asked {
                Asked::Datagram(socket) => send(socket, message, SendFlags::DONTWAIT).map(drop),
                // What was sent on a connection arrives or fails.
                Asked::Connection(_) => Ok(()),
            };
        }
        let family = if upstream.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = match how {
            Transport::Udp => SocketType::DGRAM,
            Transport::Tcp => SocketType::STREAM,
        };
        let socket = socket_with(family, kind, flags, None)?;
        match connect(&socket, &upstream.address) {
            Err(Errno::INPROGRESS) if how == Transport::Tcp => {}
            other => other?,
        }
        let (asked, interest) = match how {
            Transport::Udp => {
                send(&socket, message, SendFlags::DONTWAIT)?;
                (Asked::Datagram(socket), epoll::EventFlags::IN)
            }
            Transport::Tcp => {
                let mut stream = Stream::new(socket, MAX_ANSWER);
                stream.push(message)?;
                let interest = stream.interest();
                (Asked::Connection(stream), interest)
            }
        };
        let data = epoll::EventData::new_u64(Event::Attempt(attempt).token());
        epoll::add(&self.epoll, asked.as_fd(), data, interest)?;
        self.asked.push((attempt, asked));
        Ok(())
    }

    fn watch(&self, fd: BorrowedFd<'_>, event: Event) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(event.token()), epoll::EventFlags::IN)
    }
}

impl AsFd for Asked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagram(socket) => socket.as_fd(),
            Self::Connection(stream) => stream.as_fd(),
        }
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Cannot fail once the kernel's pool is ready, which a container's start is long after.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Folders;
    use crate::wire::tests::query;
    use crate::wire::{NOERROR, Query, SERVFAIL, TYPE_A, code};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    fn read_message(peer: &mut TcpStream) -> Vec<u8> {
        let mut length = [0; 2];
        peer.read_exact(&mut length).unwrap();
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        peer.read_exact(&mut message).unwrap();
        message
    }

    fn write_message(peer: &mut TcpStream, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap();
        peer.write_all(&[&length.to_be_bytes()[..], message].concat()).unwrap();
    }

    #[test]
    fn names_and_upstreams() {
        let dir = tempfile::tempdir().unwrap();
        // Only root has port 53, in a corner of the loopback network that nobody else uses.
        let Ok(upstream) = UdpSocket::bind("127.77.53.1:53") else {
            println!("skipped: port 53 of 127.77.53.1 cannot be bound");
            return;
        };
        for (name, text) in [
            ("aa", "web 10.0.0.2\n"),
            ("cc", "network aa n\nhost-servers\n"),
            ("resolv.conf", "nameserver 127.77.53.1\n"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let open = || -> OwnedFd { std::fs::File::open(dir.path()).unwrap().into() };
        let folders = Folders { names: open(), container: "cc".into(), host: open() };
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = own.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp_address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let place = Place { udp: own.as_fd(), tcp: listener.as_fd(), side: Side::Host };
            serve(place, &mut Files::new(folders))
        });
        let tcp_upstream = TcpListener::bind("127.77.53.1:53").unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = tcp_upstream.accept().unwrap();
            let question = read_message(&mut peer);
            let many: Vec<std::net::IpAddr> = (0..200).map(|n| [9, 9, 9, n].into()).collect();
            let answer = Query::parse(&question).unwrap().with_addresses(&question, &many, 65535);
            write_message(&mut peer, &answer);
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = upstream.recv_from(&mut buffer) {
                let question = Query::parse(&buffer[..length]).unwrap();
                let answer = match question.name.as_str() {
                    "bad.example" => question.with_code(&buffer[..length], SERVFAIL),
                    _ => question.with_addresses(&buffer[..length], &[[9, 9, 9, 9].into()], 512),
                };
                upstream.send_to(&answer, from).unwrap();
            }
        });
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let ask = |name: &str| {
            client.send_to(&query(5, name, TYPE_A, None), address).unwrap();
            let mut buffer = [0; 512];
            let length = client.recv(&mut buffer).unwrap();
            (code(&buffer[..length]), buffer[length - 4..length].to_vec())
        };
        assert_eq!(ask("web"), (NOERROR, vec![10, 0, 0, 2]));
        assert_eq!(ask("good.example"), (NOERROR, vec![9, 9, 9, 9]));
        assert_eq!(ask("bad.example").0, SERVFAIL);
        // Two queries on one connection, the second of which is answered from upstream, longer than any datagram.
        let mut connection = TcpStream::connect(tcp_address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write_message(&mut connection, &query(6, "web", TYPE_A, None));
        assert!(read_message(&mut connection).ends_with(&[10, 0, 0, 2]));
        write_message(&mut connection, &query(7, "many.example", TYPE_A, None));
        let answer = read_message(&mut connection);
        assert!(answer.len() > 3000 && answer.starts_with(&[0, 7]), "{} bytes", answer.len());
        write_message(&mut connection, &[1; 5000]);
        assert_eq!(connection.read(&mut [0; 8]).unwrap_or(0), 0, "what is too long ends the connection");
        std::fs::write(dir.path().join("new"), "network aa n\n").unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join("cc")).unwrap();
        assert_eq!(ask("good.example").0, SERVFAIL, "an internal network's query was forwarded");
    }
}
