//! Ports: who owns them, what redirects them, what is forgotten with them.

use crate::world::*;
use net::Protocol::{self, Tcp, Udp};
use net::{Error, PortMap, PortRequest, ports};
use rustix::fd::AsFd;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const CONTAINER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2));

fn request(
    host_ip: Option<&str>,
    host_ports: (u16, u16),
    container_port: u16,
    protocol: Protocol,
) -> PortRequest {
    PortRequest {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_ports,
        container_ip: CONTAINER,
        container_ip6: None,
        container_port,
        protocol,
    }
}

/// Binds and shows the result as `host → container`, or the error with its source.
fn bind(requests: &[PortRequest], after: Option<u16>) -> Result<Vec<String>, String> {
    match ports::bind(requests, after) {
        Ok(bound) => Ok(bound.iter().map(|b| b.map.to_string()).collect()),
        Err(e) => Err(e.docker_message()),
    }
}

#[test]
fn requests_are_bound_as_docker_does() {
    inside("ports::requests_are_bound_as_docker_does", || {
        let _busy = TcpListener::bind("0.0.0.0:8080").unwrap();
        let _busy_udp = UdpSocket::bind("127.0.0.1:53").unwrap();
        let exact = |ip| request(ip, (8081, 8081), 80, Tcp);
        type Case = (Vec<PortRequest>, Result<Vec<&'static str>, &'static str>);
        let cases: Vec<Case> = vec![
            (vec![exact(Some("127.0.0.1"))], Ok(vec!["127.0.0.1:8081:172.17.0.2:80/tcp"])),
            (vec![exact(None)], Ok(vec!["0.0.0.0:8081:172.17.0.2:80/tcp", "[::]:8081:172.17.0.2:80/tcp"])),
            (
                vec![request(None, (8080, 8080), 80, Tcp)],
                Err("failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use"),
            ),
            (
                vec![request(Some("127.0.0.1"), (53, 0), 53, Udp)],
                Err("failed to bind host port for 127.0.0.1:53:172.17.0.2:53/udp: address already in use"),
            ),
            (
                vec![request(Some("203.0.113.7"), (80, 80), 80, Tcp)],
                Err(
                    "failed to bind host port for 203.0.113.7:80:172.17.0.2:80/tcp: cannot assign requested address",
                ),
            ),
            // A range goes on where a port is taken, on all addresses together.
            (
                vec![request(None, (8080, 8082), 80, Tcp)],
                Ok(vec!["0.0.0.0:8081:172.17.0.2:80/tcp", "[::]:8081:172.17.0.2:80/tcp"]),
            ),
            (
                vec![
                    request(Some("0.0.0.0"), (8079, 8080), 80, Tcp),
                    request(Some("0.0.0.0"), (8079, 8079), 81, Tcp),
                ],
                Err(
                    "failed to bind host port 8080 for 0.0.0.0:8079-8080:172.17.0.2:80/tcp: address already in use",
                ),
            ),
            (vec![request(None, (9, 8), 80, Tcp)], Err("invalid port range: 9-8")),
            // The same twice is the same.
            (
                vec![exact(Some("127.0.0.1")), exact(Some("127.0.0.1"))],
                Ok(vec!["127.0.0.1:8081:172.17.0.2:80/tcp"]),
            ),
            (
                vec![request(Some("127.0.0.1"), (0, 0), 80, Tcp), request(Some("::1"), (0, 0), 80, Tcp)],
                Ok(vec!["127.0.0.1:32768:172.17.0.2:80/tcp", "[::1]:32768:172.17.0.2:80/tcp"]),
            ),
        ];
        for (requests, want) in cases {
            let got = bind(&requests, None);
            let want = want.map(|l| l.iter().map(|s| (*s).to_owned()).collect()).map_err(str::to_owned);
            assert_eq!(got, want, "{requests:?}");
        }
        // The search for a free port goes on behind the last one, and around.
        let free = [request(Some("0.0.0.0"), (0, 0), 80, Tcp)];
        assert_eq!(bind(&free, Some(40000)).unwrap(), ["0.0.0.0:40001:172.17.0.2:80/tcp"]);
        let (low, high) = ports::ephemeral_range();
        assert_eq!(bind(&free, Some(high)).unwrap(), [format!("0.0.0.0:{low}:172.17.0.2:80/tcp")]);
    });
}

#[test]
fn nobody_else_can_take_a_bound_port() {
    inside("ports::nobody_else_can_take_a_bound_port", || {
        let bound =
            ports::bind(&[request(None, (8080, 8080), 80, Tcp), request(None, (8080, 8080), 80, Udp)], None)
                .unwrap();
        assert_eq!(bound.len(), 4);
        // std sets SO_REUSEADDR on its listeners, as most servers do.
        for address in ["0.0.0.0:8080", "127.0.0.1:8080", "[::]:8080", "[::1]:8080"] {
            assert!(TcpListener::bind(address).is_err(), "{address}/tcp");
            assert!(UdpSocket::bind(address).is_err(), "{address}/udp");
        }
        drop(bound);
        let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        // A connection in TIME_WAIT on the host's side does not keep the port.
        let client = TcpStream::connect("127.0.0.1:8080").unwrap();
        let (served, _) = listener.accept().unwrap();
        drop(served);
        drop(client);
        drop(listener);
        assert!(
            run("cat /proc/net/tcp").lines().any(|l| l.contains(":1F90") && l.contains(" 06 ")),
            "there is one"
        );
        let map = PortMap {
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port: 8080,
            container_ip: CONTAINER,
            container_port: 80,
            protocol: Tcp,
        };
        let _again = ports::bind_one(&map).unwrap();
        assert!(TcpListener::bind("127.0.0.1:8080").is_err());
    });
}

#[test]
fn a_port_leads_to_one_container_only() {
    inside("ports::a_port_leads_to_one_container_only", || {
        let network = open().network;
        let (a, b) = (container(&network, 2), container(&network, 3));
        serve(a.netns.as_fd(), ANY, 80, "a");
        serve(b.netns.as_fd(), ANY, 80, "b");
        network.publish(&[map(ANY, 8080, &a, Tcp)]).unwrap();
        network.publish(&[map(ANY, 8080, &a, Tcp)]).unwrap();
        assert!(network.is_published(&map(ANY, 8080, &b, Tcp)).unwrap());
        assert!(!network.is_published(&map(ANY, 8081, &b, Tcp)).unwrap());
        let refused = network.publish(&[map(ANY, 8081, &b, Tcp), map(ANY, 8080, &b, Tcp)]).unwrap_err();
        assert_eq!(refused.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        assert!(matches!(refused, Error::PortAllocated(_)));
        assert!(!network.is_published(&map(ANY, 8081, &b, Tcp)).unwrap(), "all or nothing");
        // Undoing what never was, or belongs to another by now, does no harm.
        network.unpublish(&[map(ANY, 8081, &b, Tcp), map(ANY, 8080, &b, Tcp)]).unwrap();
        assert_eq!(ask(HOST_LOOPBACK, 8080).unwrap(), "a 172.17.0.1");
        network.unpublish(&[map(ANY, 8080, &a, Tcp)]).unwrap();
        network.unpublish(&[map(ANY, 8080, &a, Tcp)]).unwrap();
        network.publish(&[map(ANY, 8080, &b, Tcp), map(Ipv6Addr::UNSPECIFIED, 8080, &b, Tcp)]).unwrap();
        assert_eq!(ask(HOST_LOOPBACK, 8080).unwrap(), "b 172.17.0.1");
    });
}

const HOST_LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn connections_are_forgotten_with_the_container() {
    inside("ports::connections_are_forgotten_with_the_container", || {
        let neighbour = neighbour();
        let network = open().network;
        let (a, b) = (container(&network, 2), container(&network, 3));
        serve_udp(a.netns.as_fd(), 80, "a");
        serve_udp(b.netns.as_fd(), 80, "b");
        let client = within(neighbour.netns.as_fd(), || UdpSocket::bind("0.0.0.0:5000").unwrap());
        // The client sends before anything is published: the kernel remembers that it goes nowhere.
        let _here = UdpSocket::bind("0.0.0.0:8080").unwrap();
        assert_eq!(ask_udp(&client, (HOST, 8080), SILENCE), None);
        network.publish(&[map(ANY, 8080, &a, Udp)]).unwrap();
        assert_eq!(ask_udp(&client, (HOST, 8080), ANSWER).unwrap(), "a 192.0.2.1");
        // Another container takes the port over; the client has never stopped sending.
        network.unpublish(&[map(ANY, 8080, &a, Udp)]).unwrap();
        network.publish(&[map(ANY, 8080, &b, Udp)]).unwrap();
        assert_eq!(ask_udp(&client, (HOST, 8080), ANSWER).unwrap(), "a 192.0.2.1", "known connections go on");
        assert_eq!(network.flush_connections(a.v4()).unwrap(), 1);
        assert_eq!(network.flush_connections(a.v4()).unwrap(), 0);
        assert_eq!(ask_udp(&client, (HOST, 8080), ANSWER).unwrap(), "b 192.0.2.1");
        // What a container opened itself is forgotten as well; others' is not.
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        assert!(ask_from(&a.netns, NEIGHBOUR, 7001).is_some());
        assert!(ask_from(&b.netns, NEIGHBOUR, 7001).is_some());
        assert_eq!(network.flush_connections(a.v4()).unwrap(), 1);
        assert!(network.flush_connections(b.v4()).unwrap() >= 2);
    });
}

#[test]
fn a_thousand_ports() {
    inside("ports::a_thousand_ports", || {
        let network = open().network;
        let c = container(&network, 2);
        serve(c.netns.as_fd(), ANY, 80, "c");
        let maps: Vec<PortMap> = (10_000..11_000).map(|port| map(ANY, port, &c, Tcp)).collect();
        network.publish(&maps).unwrap();
        for port in [10_000, 10_500, 10_999] {
            assert_eq!(ask(HOST_LOOPBACK, port).unwrap(), "c 172.17.0.1");
        }
        assert_eq!(ask(HOST_LOOPBACK, 11_000), None);
        network.unpublish(&maps).unwrap();
        assert_eq!(ask(HOST_LOOPBACK, 10_500), None);
    });
}
