//! From a host's name to addresses, without the C library's resolver (the program is static).
//!
//! Order as `hosts: files dns`: /etc/hosts, then the servers of /etc/resolv.conf (RFC 1035 over UDP, over TCP when
//! the answer is cut), with its search list, `ndots`, `timeout` and `attempts`. Answers are hostile: the id, the
//! question and the server must match, and sizes are bounded. Texts are those of Go's resolver.

use crate::error::{Error, Result, reason};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const MAX_FILE_BYTES: u64 = 1 << 20;
const DNS_PORT: u16 = 53;
/// resolv.conf(5): MAXNS, MAXDNSRCH, and the bounds of its options.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;
const MAX_TIMEOUT_S: u64 = 30;
const MAX_ATTEMPTS: u32 = 5;
/// What a server may send at most over UDP without asking for more, and what it may over TCP.
const MAX_UDP_BYTES: usize = 4096;
const MAX_ADDRESSES: usize = 32;

/// What /etc/resolv.conf says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: u32,
}

/// The addresses of a host, IPv4 first.
pub(crate) async fn lookup(host: &str) -> Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let known = in_hosts(host, &read("/etc/hosts"));
    if !known.is_empty() {
        return Ok(known);
    }
    Resolver::parse(&read("/etc/resolv.conf")).lookup(host).await
}

fn in_hosts(host: &str, hosts: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        // RFC 6761, 6.3: always loopback, whatever the file says.
        found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    // IPv4 first, as a registry on loopback is most often bound.
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    // A machine without the file has nothing in it.
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(MAX_FILE_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Resolver {
    fn parse(text: &str) -> Resolver {
        let mut resolver = Resolver {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|a| a.split('%').next()?.parse::<IpAddr>().ok());
                    if let Some(address) = address.filter(|_| resolver.servers.len() < MAX_SERVERS) {
                        resolver.servers.push(SocketAddr::new(address, DNS_PORT));
                    }
                }
                Some("search" | "domain") => {
                    resolver.search = words.take(MAX_SEARCH).map(str::to_owned).collect();
                }
                Some("options") => words.for_each(|option| resolver.option(option)),
                _ => {}
            }
        }
        if resolver.servers.is_empty() {
            resolver.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
        }
        resolver
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(u64::from(value).clamp(1, MAX_TIMEOUT_S)),
            "attempts" => self.attempts = value.clamp(1, MAX_ATTEMPTS),
            _ => {}
        }
    }

    /// The names to try for a name, in order.
    fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(rooted) = host.strip_suffix('.') {
            return vec![rooted.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let dots = host.bytes().filter(|b| *b == b'.').count();
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, host.to_owned());
        names
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>> {
        let failed = |why: String| Error::Lookup { host: host.to_owned(), why };
        let mut last = failed(format!(" on {}: no such host", self.servers[0]));
        for name in self.candidates(host) {
            let Ok(name) = Name::new(&name) else {
                return Err(failed(": no such host".to_owned()));
            };
            let (v4, v6) = tokio::join!(self.ask(&name, TYPE::A), self.ask(&name, TYPE::AAAA));
            match (v4, v6) {
                (Ok(mut found), Ok(more)) => {
                    found.extend(more);
                    found.truncate(MAX_ADDRESSES);
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                // One family is enough; servers exist that cannot answer for the other.
                (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => return Ok(found),
                (Err(why), _) | (_, Err(why)) => last = failed(why),
            }
        }
        Err(last)
    }

    /// The addresses of one type; empty when the name has none or does not exist.
    async fn ask(&self, name: &Name<'_>, kind: TYPE) -> Result<Vec<IpAddr>, String> {
        let mut last = String::new();
        for _ in 0..self.attempts {
            for server in &self.servers {
                let asked = timeout(self.timeout, exchange(*server, name, kind)).await;
                match asked.unwrap_or_else(|_| Err("i/o timeout".to_owned())) {
                    Ok(found) => return Ok(found),
                    Err(why) => last = format!(" on {server}: {why}"),
                }
            }
        }
        Err(last)
    }
}

/// One question to one server.
async fn exchange(server: SocketAddr, name: &Name<'_>, kind: TYPE) -> Result<Vec<IpAddr>, String> {
    let mut id = [0; 2];
    rustls_random(&mut id);
    let id = u16::from_be_bytes(id);
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(name.clone(), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    let query = query.build_bytes_vec().map_err(|e| e.to_string())?;
    let reply = over_udp(server, &query, id).await?;
    let packet = Packet::parse(&reply).map_err(|e| format!("cannot unmarshal DNS message: {e}"))?;
    if packet.has_flags(PacketFlag::TRUNCATION) {
        let reply = over_tcp(server, &query).await?;
        let packet = Packet::parse(&reply).map_err(|e| format!("cannot unmarshal DNS message: {e}"))?;
        return addresses(&packet, id, name, kind);
    }
    addresses(&packet, id, name, kind)
}

async fn over_udp(server: SocketAddr, query: &[u8], id: u16) -> Result<Vec<u8>, String> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    // The kernel gives each question a random port; a connected socket takes answers from the server only.
    let dial = |e: std::io::Error| format!("dial udp {server}: connect: {}", reason(&e));
    let socket = UdpSocket::bind(any).await.map_err(dial)?;
    socket.connect(server).await.map_err(dial)?;
    let broken = |e: std::io::Error| format!("read udp {server}: {}", reason(&e));
    socket.send(query).await.map_err(broken)?;
    let mut reply = vec![0; MAX_UDP_BYTES];
    loop {
        let len = socket.recv(&mut reply).await.map_err(broken)?;
        // Others are late answers, or lies: the next one may be ours.
        if len >= 2 && reply[..2] == id.to_be_bytes() {
            reply.truncate(len);
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("dial tcp {server}: connect: {}", reason(&e));
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let len = u16::try_from(query.len()).map_err(|_| "question too long".to_owned())?;
    stream.write_all(&len.to_be_bytes()).await.map_err(failed)?;
    stream.write_all(query).await.map_err(failed)?;
    let len = stream.read_u16().await.map_err(failed)?;
    let mut reply = vec![0; len.into()];
    stream.read_exact(&mut reply).await.map_err(failed)?;
    Ok(reply)
}

fn addresses(packet: &Packet<'_>, id: u16, name: &Name<'_>, kind: TYPE) -> Result<Vec<IpAddr>, String> {
    let asked = |q: &Question<'_>| {
        q.qname.to_string().eq_ignore_ascii_case(&name.to_string()) && q.qtype == QTYPE::TYPE(kind)
    };
    if packet.id() != id
        || !packet.has_flags(PacketFlag::RESPONSE)
        || !packet.questions.first().is_some_and(asked)
    {
        return Err("server misbehaving".to_owned());
    }
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => {}
        _ => return Err("server misbehaving".to_owned()),
    }
    // A recursive server puts the whole chain of aliases into its answer: all addresses in it are ours.
    Ok(packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(a) if kind == TYPE::A => Some(IpAddr::V4(a.address.into())),
            RData::AAAA(a) if kind == TYPE::AAAA => Some(IpAddr::V6(a.address.into())),
            _ => None,
        })
        .take(MAX_ADDRESSES)
        .collect())
}

/// Random bytes from the source that TLS uses.
fn rustls_random(bytes: &mut [u8]) {
    // It fails only when the kernel has no random numbers; then the port alone must do.
    let _ = rustls::crypto::ring::default_provider().secure_random.fill(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA, CNAME};

    const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost # comment\n\n\
                         127.0.5.1\tregistry.test hub\n10.0.0.7 far\nnonsense line\n";

    #[test]
    fn hosts() {
        for (host, hosts, want) in [
            ("localhost", HOSTS, "127.0.0.1 ::1"),
            ("LOCALHOST", HOSTS, "127.0.0.1 ::1"),
            ("localhost", "", "127.0.0.1 ::1"),
            ("registry.test", HOSTS, "127.0.5.1"),
            ("Hub", HOSTS, "127.0.5.1"),
            ("far", HOSTS, "10.0.0.7"),
            ("comment", HOSTS, ""),
        ] {
            let got: Vec<String> = in_hosts(host, hosts).iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), want, "{host}");
        }
    }

    #[test]
    fn resolv_conf() {
        let text = "# c\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver x\nsearch a.example b.example\n\
                    options ndots:2 timeout:1 attempts:99 rotate\n";
        let resolver = Resolver::parse(text);
        assert_eq!(resolver.servers, ["192.0.2.1:53".parse().unwrap(), "[fe80::1]:53".parse().unwrap()]);
        assert_eq!((resolver.ndots, resolver.timeout, resolver.attempts), (2, Duration::from_secs(1), 5));
        for (host, want) in [
            ("x", "x.a.example x.b.example x"),
            ("x.y.z", "x.y.z x.y.z.a.example x.y.z.b.example"),
            ("x.", "x"),
        ] {
            assert_eq!(resolver.candidates(host).join(" "), want);
        }
        assert_eq!(Resolver::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    /// A server that answers as told; what the resolver makes of it.
    async fn served(answer: fn(&Packet<'_>) -> Vec<Vec<u8>>, kind: TYPE) -> Result<Vec<IpAddr>, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            for reply in answer(&Packet::parse(&buffer[..len]).unwrap()) {
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        exchange(server, &Name::new("hub.example").unwrap(), kind).await
    }

    fn reply<'a>(query: &Packet<'a>, rcode: RCODE, records: &[RData<'static>]) -> Vec<u8> {
        let mut packet = Packet::new_reply(query.id());
        *packet.rcode_mut() = rcode;
        packet.questions.clone_from(&query.questions);
        for data in records {
            let name = Name::new("hub.example").unwrap();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data.clone()));
        }
        packet.build_bytes_vec().unwrap()
    }

    #[tokio::test]
    async fn answers_are_checked() {
        let a: fn(&Packet<'_>) -> Vec<Vec<u8>> = |q| {
            let alias = RData::CNAME(CNAME(Name::new("other.example").unwrap()));
            vec![
                b"zz-not-an-answer".to_vec(),
                reply(q, RCODE::NoError, &[alias, RData::A(A { address: 0x7f00_0105 })]),
            ]
        };
        assert_eq!(served(a, TYPE::A).await.unwrap(), ["127.0.1.5".parse::<IpAddr>().unwrap()]);
        let other_type: fn(&Packet<'_>) -> Vec<Vec<u8>> =
            |q| vec![reply(q, RCODE::NoError, &[RData::AAAA(AAAA { address: 1 })])];
        assert_eq!(served(other_type, TYPE::A).await.unwrap(), Vec::<IpAddr>::new());
        let none: fn(&Packet<'_>) -> Vec<Vec<u8>> = |q| vec![reply(q, RCODE::NameError, &[])];
        assert_eq!(served(none, TYPE::AAAA).await.unwrap(), Vec::<IpAddr>::new());
        let broken: fn(&Packet<'_>) -> Vec<Vec<u8>> = |q| vec![reply(q, RCODE::ServerFailure, &[])];
        assert_eq!(served(broken, TYPE::A).await.unwrap_err(), "server misbehaving");
        let question: fn(&Packet<'_>) -> Vec<Vec<u8>> = |q| {
            let mut packet = Packet::new_reply(q.id());
            packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
            vec![packet.build_bytes_vec().unwrap()]
        };
        assert_eq!(served(question, TYPE::A).await.unwrap_err(), "server misbehaving");
        let junk: fn(&Packet<'_>) -> Vec<Vec<u8>> =
            |q| vec![[&q.id().to_be_bytes()[..], &[0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 0x0c]].concat()];
        assert!(served(junk, TYPE::A).await.is_err());
    }
}
