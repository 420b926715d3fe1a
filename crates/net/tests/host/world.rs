//! A small world: a host with an uplink, a neighbour machine behind it, containers.
//!
//! ```text
//! neighbour 192.0.2.1 ── eth0 192.0.2.2 host tare0 172.17.0.1 ── eth0 172.17.0.x containers
//! ```

use net::{BridgeConfig, Endpoint, EndpointConfig, Netns, Network, Opened, PortMap, Protocol};
use rustix::fd::{AsFd, BorrowedFd};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// What is dropped does not answer; so long is waited for nothing.
pub const SILENCE: Duration = Duration::from_millis(400);
/// What answers does so at once; a loaded machine may take its time.
pub const ANSWER: Duration = Duration::from_secs(10);
const INSIDE: &str = "TARE_NET_TEST_INSIDE";

/// Runs `test` in namespaces of its own: the first call re-executes the binary for the test `name`.
pub fn inside(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        run("mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up");
        return test();
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its namespaces: {status}");
}

/// Runs a line of shell and returns what it prints; it must succeed.
pub fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `work` in a thread inside a namespace.
pub fn within<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::namespace::setns(netns, 0x4000_0000).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub struct Machine {
    pub netns: Netns,
}

/// Gives the host an uplink `eth0` and a neighbour behind it that knows the way to containers.
pub fn neighbour() -> Machine {
    run("ip netns add neighbour
        ip link add eth0 type veth peer name eth0 netns neighbour
        ip addr add 192.0.2.2/24 dev eth0
        ip link set eth0 up
        ip -n neighbour addr add 192.0.2.1/24 dev eth0
        ip -n neighbour link set eth0 up
        ip -n neighbour link set lo up
        ip -n neighbour route add 172.16.0.0/12 via 192.0.2.2
        ip route add default via 192.0.2.1");
    Machine { netns: Netns::open("/run/netns/neighbour".as_ref()).unwrap() }
}

pub fn open() -> Opened {
    Network::open(&BridgeConfig::default()).unwrap()
}

pub struct Container {
    pub netns: Netns,
    pub endpoint: Endpoint,
    pub last: u8,
}

impl Container {
    pub fn v4(&self) -> IpAddr {
        self.endpoint.addresses[0]
    }

    pub fn v6(&self) -> IpAddr {
        *self.endpoint.addresses.last().unwrap()
    }
}

/// A container with the n-th address of each family.
pub fn container(network: &Network, last: u8) -> Container {
    container_of(network, last, false)
}

pub fn container_of(network: &Network, last: u8, isolated: bool) -> Container {
    let nth = |place: net::Place| match place.subnet.base() {
        IpAddr::V4(base) => IpAddr::V4((base.to_bits() + u32::from(last)).into()),
        IpAddr::V6(base) => IpAddr::V6((base.to_bits() + u128::from(last)).into()),
    };
    let addresses: Vec<IpAddr> = [false, true].iter().filter_map(|v6| network.place(*v6)).map(nth).collect();
    let netns = Netns::create().unwrap();
    let config = EndpointConfig {
        mac: net::MacAddr::from_ip(addresses[0]),
        addresses,
        name: "eth0".to_owned(),
        publishes: true,
        default_route: [true; 2],
        isolated,
    };
    let endpoint = network.attach(&netns, &config).unwrap();
    Container { netns, endpoint, last }
}

pub fn map(host_ip: impl Into<IpAddr>, host_port: u16, container: &Container, protocol: Protocol) -> PortMap {
    let host_ip = host_ip.into();
    let container_ip = if host_ip.is_ipv4() { container.v4() } else { container.v6() };
    PortMap { host_ip, host_port, container_ip, container_port: 80, protocol }
}

/// Serves TCP for ever: each client is told the server's name and its own address.
pub fn serve(netns: BorrowedFd<'_>, address: impl Into<IpAddr> + Send, port: u16, name: &'static str) {
    let listener = within(netns, || TcpListener::bind((address.into(), port)).unwrap());
    serve_on(listener, name);
}

/// Serves on the host, by IPv6 and IPv4.
pub fn serve_here6(port: u16, name: &'static str) {
    serve_on(TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).unwrap(), name);
}

/// Serves on the host.
pub fn serve_here(address: Ipv4Addr, port: u16, name: &'static str) {
    serve_on(TcpListener::bind((address, port)).unwrap(), name);
}

fn serve_on(listener: TcpListener, name: &'static str) {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let peer = client.peer_addr().unwrap().ip();
            let _ = write!(client, "{name} {peer}");
        }
    });
}

/// Serves UDP for ever: each datagram is answered with the server's name and the sender's address.
pub fn serve_udp(netns: BorrowedFd<'_>, port: u16, name: &'static str) {
    serve_udp_on(within(netns, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()), name);
}

/// The same by IPv6.
pub fn serve_udp6(netns: BorrowedFd<'_>, port: u16, name: &'static str) {
    serve_udp_on(within(netns, || UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).unwrap()), name);
}

fn serve_udp_on(socket: UdpSocket, name: &'static str) {
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", from.ip()).as_bytes(), from);
        }
    });
}

/// What a client here hears: a text, or nothing (`None`: refused, unreachable or silence).
pub fn ask(address: impl Into<IpAddr>, port: u16) -> Option<String> {
    ask_for(SocketAddr::new(address.into(), port), ANSWER)
}

/// The same where silence is expected, so that the test does not wait long for it.
pub fn is_silent(address: impl Into<IpAddr>, port: u16) -> bool {
    ask_for(SocketAddr::new(address.into(), port), SILENCE).is_none()
}

fn ask_for(address: SocketAddr, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) => Some(text),
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset
            ) =>
        {
            None
        }
        Err(e) => panic!("{address}: {e}"),
    }
}

/// A client inside a namespace.
pub fn ask_from(netns: &impl AsFd, address: impl Into<IpAddr> + Send, port: u16) -> Option<String> {
    within(netns.as_fd(), || ask(address, port))
}

pub fn is_silent_from(netns: &impl AsFd, address: impl Into<IpAddr> + Send, port: u16) -> bool {
    within(netns.as_fd(), || is_silent(address, port))
}

/// One datagram and its answer.
pub fn ask_udp(
    socket: &UdpSocket,
    to: (impl Into<IpAddr> + Copy, u16),
    patience: Duration,
) -> Option<String> {
    socket.set_read_timeout(Some(patience)).unwrap();
    // An ICMP error of an earlier datagram may be waiting.
    for _ in 0..3 {
        if socket.send_to(b"?", (to.0.into(), to.1)).is_ok() {
            break;
        }
    }
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
