//! Published ports: requests as Docker resolves them, and the sockets that own them.
//!
//! A port belongs to whoever has it bound. The engine binds a socket per published address and port
//! and hands it to the shim, which keeps it until the container exits; so no other process can take
//! the port, and the kernel, not a table, says whether it is free. IPv4 sockets are bound and not
//! listened on, because packets are redirected before they reach them; IPv6 sockets that lead to a
//! container without IPv6 are listened on by the shim, which splices.
//!
//! Does not know nftables; [`crate::Network::publish`] does.

use crate::{Error, Result};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use sys::trace;

/// Where host ports come from when the request leaves the choice to us and the sysctl
/// `net.ipv4.ip_local_port_range` cannot be read.
pub const DEFAULT_RANGE: (u16, u16) = (32768, 60999);

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Not one of `tcp`, `udp`, `sctp`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid proto: {0}")]
pub struct ParseProtocolError(String);

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(ParseProtocolError(text.to_owned())),
        }
    }
}

/// One host address and port that leads to a container's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMap {
    /// The host's address; unspecified means all of them.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub container_ip: IpAddr,
    /// The container's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl PortMap {
    /// Whether the kernel redirects it: both sides are of one family.
    pub const fn is_redirected(&self) -> bool {
        self.host_ip.is_ipv4() == self.container_ip.is_ipv4()
    }

    /// Whether the shim that holds the socket listens on it and copies: what comes to an IPv6 address for a
    /// container without IPv6, and what the kernel does not redirect of IPv6, `[::1]` (there is no
    /// route_localnet) and what link-local addresses send (they are not forwarded).
    pub const fn is_spliced(&self) -> bool {
        self.host_ip.is_ipv6()
    }
}

impl fmt::Display for PortMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PortRequest::from(*self).fmt(f)
    }
}

/// What the user asked for, one `-p`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The host's address; `None` means all of both families.
    pub host_ip: Option<IpAddr>,
    /// First and last host port; (0, 0) leaves the choice to us.
    pub host_ports: (u16, u16),
    /// The container's address; IPv4 where it has one.
    pub container_ip: IpAddr,
    /// The container's address for what comes by IPv6.
    pub container_ip6: Option<Ipv6Addr>,
    /// The container's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl PortRequest {
    /// Whether it names one host port.
    pub const fn is_exact(&self) -> bool {
        self.host_ports.0 != 0 && self.host_ports.0 == self.host_ports.1
    }

    /// Docker's order: exact ports before ranges, so that no range takes an exact one away; and
    /// those that differ only in the host's address side by side, because they get the same port.
    fn order(&self) -> impl Ord {
        let host_ip = self.host_ip.map(|ip| ip.to_canonical());
        (!self.is_exact(), self.container_port, self.protocol, self.host_ports, host_ip)
    }

    fn shares_port_with(&self, other: &Self) -> bool {
        let key = |r: &Self| (r.container_ip, r.container_port, r.protocol, r.host_ports);
        key(self) == key(other)
    }
}

impl From<PortMap> for PortRequest {
    fn from(map: PortMap) -> Self {
        Self {
            host_ip: Some(map.host_ip),
            host_ports: (map.host_port, map.host_port),
            container_ip: map.container_ip,
            container_ip6: None,
            container_port: map.container_port,
            protocol: map.protocol,
        }
    }
}

/// Docker's form: `0.0.0.0:8080-8082:172.17.0.2:80/tcp`, without what is not set.
impl fmt::Display for PortRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        match self.host_ports {
            (0, _) => {}
            (first, last) if first == last => write!(f, "{first}:")?,
            (first, last) => write!(f, "{first}-{last}:")?,
        }
        match self.container_ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}/{}", self.container_port, self.protocol),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}/{}", self.container_port, self.protocol),
        }
    }
}

/// A mapping and the socket that owns its host port.
#[derive(Debug)]
pub struct BoundPort {
    /// The mapping.
    pub map: PortMap,
    /// Bound; the shim keeps it until the container exits.
    pub socket: OwnedFd,
}

/// Binds everything that `requests` ask for, in Docker's order, or nothing.
///
/// A request without a host address gets 0.0.0.0 and, where the host has IPv6, `[::]` with the same
/// port. `after` is where the search for a free port of the ephemeral range goes on (the last port
/// that was given out); `None` begins at its start.
pub fn bind(requests: &[PortRequest], after: Option<u16>) -> Result<Vec<BoundPort>> {
    let mut sorted = requests.to_vec();
    for request in &mut sorted {
        match request.host_ports {
            (0, 0) => {}
            (first, 0) => request.host_ports = (first, first),
            (first, last) if first == 0 || last < first => return Err(Error::PortRange(first, last)),
            _ => {}
        }
    }
    sorted.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut bound = Vec::with_capacity(sorted.len() * 2);
    let mut rest = &sorted[..];
    while let Some(first) = rest.first() {
        let group = rest.iter().take_while(|r| r.shares_port_with(first)).count();
        let addresses = expand(&rest[..group]);
        bound.extend(bind_group(&addresses, after)?);
        rest = &rest[group..];
    }
    Ok(bound)
}

/// Binds one socket to one address and port: exclusively, whatever options others use.
pub fn bind_one(map: &PortMap) -> io::Result<OwnedFd> {
    match try_bind(map, false) {
        // Connections that a former owner left in TIME_WAIT also keep the port, unless the address
        // may be reused; then only listening makes sure that no other socket holds it.
        Err(Errno::ADDRINUSE) if map.protocol == Protocol::Tcp => {
            let socket = try_bind(map, true)?;
            rustix::net::listen(&socket, 0)?;
            Ok(socket)
        }
        other => Ok(other?),
    }
}

/// The ports from which the kernel, and Docker, choose for those who do not care.
pub fn ephemeral_range() -> (u16, u16) {
    let parse = |text: String| {
        let mut words = text.split_ascii_whitespace().map(str::parse::<u16>);
        let range = (words.next()?.ok()?, words.next()?.ok()?);
        (range.0 > 0 && range.0 <= range.1).then_some(range)
    };
    crate::netns::read_sysctl("net/ipv4/ip_local_port_range").ok().and_then(parse).unwrap_or(DEFAULT_RANGE)
}

/// Whether an IPv6 socket can be bound here: not on a kernel booted with `ipv6.disable=1`.
pub fn has_ipv6() -> bool {
    rustix::net::socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None).is_ok()
}

/// One request per address. As with dockerd, IPv4 does not lead to a container without it.
fn expand(group: &[PortRequest]) -> Vec<PortRequest> {
    let mut out = Vec::with_capacity(group.len() + 1);
    for request in group {
        let with = |ip: IpAddr| {
            let mut one = PortRequest { host_ip: Some(ip.to_canonical()), ..request.clone() };
            match request.container_ip6 {
                Some(container) if ip.is_ipv6() => one.container_ip = container.into(),
                _ => {}
            }
            (ip.is_ipv6() || one.container_ip.is_ipv4()).then_some(one)
        };
        match request.host_ip {
            Some(ip) => out.extend(with(ip)),
            None => {
                out.extend(with(Ipv4Addr::UNSPECIFIED.into()));
                if has_ipv6() {
                    out.extend(with(Ipv6Addr::UNSPECIFIED.into()));
                }
            }
        }
    }
    // `-p 80:80 -p 80:80` asks for one thing twice.
    out.dedup();
    out
}

/// Finds a port that is free on all addresses of a group and binds it.
fn bind_group(group: &[PortRequest], after: Option<u16>) -> Result<Vec<BoundPort>> {
    let Some(first) = group.first() else { return Ok(Vec::new()) };
    let ((low, high), chosen) = match first.host_ports {
        (0, _) => (ephemeral_range(), after),
        range => (range, None),
    };
    let begin = chosen.filter(|p| (low..high).contains(p)).map_or(low, |p| p + 1);
    let mut failure = Error::AllPortsAllocated;
    for port in (begin..=high).chain(low..begin) {
        match bind_all(group, port) {
            Ok(bound) => return Ok(bound),
            Err(e) if e.errno() == Errno::ADDRINUSE.raw_os_error() => failure = e,
            Err(e) => return Err(e),
        }
    }
    Err(failure)
}

fn bind_all(group: &[PortRequest], port: u16) -> Result<Vec<BoundPort>> {
    let mut bound = Vec::with_capacity(group.len());
    for request in group {
        let map = PortMap {
            host_ip: request.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            host_port: port,
            container_ip: request.container_ip,
            container_port: request.container_port,
            protocol: request.protocol,
        };
        let mut step = trace::step("port", "bind(2)");
        step.note(format_args!("{map}"));
        let socket = step.check(bind_one(&map)).map_err(|source| Error::Bind {
            request: Box::new(request.clone()),
            port,
            source,
        })?;
        bound.push(BoundPort { map, socket });
    }
    Ok(bound)
}

fn try_bind(map: &PortMap, reuse: bool) -> std::result::Result<OwnedFd, Errno> {
    let family = if map.host_ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match map.protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))?;
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if map.host_ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(map.host_ip, map.host_port))?;
    Ok(socket)
}
