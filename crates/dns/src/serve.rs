//! The loop around [`Server`]: datagrams of clients in the container's namespace, upstreams in the host's.
//!
//! Invariants. It waits in one place, its `epoll_wait`. Each attempt has a socket of its own, connected, so that
//! the kernel chooses a port nobody can guess and takes answers only from where the question went.
//!
//! So far clients are served by datagrams only, and upstreams asked from the host's namespace only: a server of the
//! container's side counts as one that failed.
//!
//! It does not know who made its sockets, nor what the files say.

use crate::files::Files;
use crate::server::{Client, MAX_QUERY_BYTES, Output, Server, Side, Transport, Upstream};
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, recvfrom, send, sendto,
    socket_with,
};
use std::net::SocketAddr;
use sys::clock::boottime_ns;

/// The listener's token; attempts have their numbers.
const LISTENER: u64 = u64::MAX;
/// Datagrams of clients before upstreams have their turn.
const READS_PER_EVENT: usize = 32;
const MAX_ANSWER: usize = 65535;
const BATCH: usize = 32;

/// Answers what comes in by datagrams on `udp` until waiting fails.
pub fn serve(udp: &OwnedFd, files: &mut Files) -> Result<(), Errno> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, udp, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut edge = Edge { epoll, udp, asked: Vec::new(), server: Server::new(random) };
    let mut events =
        [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; BATCH];
    let mut buffer = vec![0; MAX_ANSWER];
    loop {
        let limit = edge.server.deadline_ns().map(|at| at.saturating_sub(boottime_ns()));
        let limit = limit
            .map(|ns| Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 });
        let count = match epoll::wait(&edge.epoll, &mut events[..], limit.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(e) => return Err(e),
        };
        for event in &events[..count] {
            match event.data.u64() {
                LISTENER => edge.on_clients(files, &mut buffer),
                attempt => edge.on_upstream(attempt as u32, &mut buffer),
            }
            edge.act();
        }
        edge.server.on_time(boottime_ns());
        edge.act();
    }
}

#[derive(Debug)]
struct Edge<'a> {
    epoll: OwnedFd,
    udp: &'a OwnedFd,
    asked: Vec<(u32, OwnedFd)>,
    server: Server,
}

impl Edge<'_> {
    fn on_clients(&mut self, files: &mut Files, buffer: &mut [u8]) {
        for _ in 0..READS_PER_EVENT {
            let (length, from) = match recvfrom(self.udp, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((length, _, Some(from))) => (length, from),
                Err(Errno::INTR) => continue,
                _ => return,
            };
            let Ok(from) = SocketAddr::try_from(from) else { continue };
            if length <= MAX_QUERY_BYTES {
                let world = files.world(self.udp.as_fd());
                self.server.on_query(boottime_ns(), Client::Udp(from), &buffer[..length], &world);
            }
        }
    }

    fn on_upstream(&mut self, attempt: u32, buffer: &mut [u8]) {
        let Some((_, socket)) = self.asked.iter().find(|(number, _)| *number == attempt) else { return };
        match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => self.server.on_answer(boottime_ns(), attempt, &buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.server.on_failed(boottime_ns(), attempt),
        }
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
                        let _ = sendto(self.udp, &message, SendFlags::DONTWAIT, &to);
                    }
                    // No client is taken by a connection here.
                    Output::Answer { client: Client::Tcp(_), .. } => {}
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
        if upstream.side == Side::Container || how == Transport::Tcp {
            return Err(Errno::OPNOTSUPP);
        }
        if let Some((_, socket)) = self.asked.iter().find(|(number, _)| *number == attempt) {
            return send(socket, message, SendFlags::DONTWAIT).map(drop);
        }
        let family = if upstream.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
        connect(&socket, &upstream.address)?;
        send(&socket, message, SendFlags::DONTWAIT)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(attempt.into()), epoll::EventFlags::IN)?;
        self.asked.push((attempt, socket));
        Ok(())
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
    use std::net::UdpSocket;
    use std::time::Duration;

    #[test]
    fn names_and_upstreams_by_datagrams() {
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
        std::thread::spawn(move || serve(&own.into(), &mut Files::new(folders)));
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
        std::fs::write(dir.path().join("new"), "network aa n\n").unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join("cc")).unwrap();
        assert_eq!(ask("good.example").0, SERVFAIL, "an internal network's query was forwarded");
    }
}
