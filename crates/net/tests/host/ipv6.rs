//! Networks with IPv6: who reaches whom, and what an internal network does not reach.

use crate::world::*;
use net::Protocol::{Tcp, Udp};
use net::{BridgeConfig, Network, Place, uninstall};
use rustix::fd::AsFd;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

const ANY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

fn v6(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn config(name: &str, subnets: &[&str]) -> BridgeConfig {
    let places = subnets.iter().map(|s| Place::first_of(s.parse().unwrap())).collect();
    BridgeConfig { name: name.to_owned(), places, ..BridgeConfig::default() }
}

/// The neighbour and the host have addresses of IPv6, and it knows the way to containers.
fn neighbour6() -> Machine {
    let machine = neighbour();
    run("ip addr add 2001:db8::2/64 dev eth0 nodad
        ip -n neighbour addr add 2001:db8::1/64 dev eth0 nodad
        ip -n neighbour route add fd00::/16 via 2001:db8::2");
    machine
}

#[test]
fn dual_stack() {
    inside("ipv6::dual_stack", || {
        let base = run(
            "ip link; ip -6 addr show dev lo; nft list ruleset; cat /proc/sys/net/ipv6/conf/all/forwarding",
        );
        let neighbour = neighbour6();
        let opened = Network::open(&config("tare6", &["10.6.0.0/24", "fd00:6::/64"])).unwrap();
        assert_eq!(opened.forwarding_switched_on, [true; 2]);
        let network = opened.network;
        let (a, b) = (container(&network, 2), container(&network, 3));
        assert_eq!((a.v4(), a.v6()), ("10.6.0.2".parse().unwrap(), v6("fd00:6::2")));
        serve(a.netns.as_fd(), ANY, 80, "a");
        serve(b.netns.as_fd(), ANY, 80, "b");
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        // At once: no address is tentative.
        assert_eq!(ask_from(&a.netns, b.v6(), 80).unwrap(), "b fd00:6::2");
        assert_eq!(ask(a.v6(), 80).unwrap(), "a fd00:6::1");
        assert_eq!(ask_from(&a.netns, v6("2001:db8::1"), 7001).unwrap(), "neighbour 2001:db8::2");
        assert!(is_silent_from(&neighbour.netns, a.v6(), 80), "directly");
        network.publish(&[map(ANY, 8080, &a, Tcp), map(v6("2001:db8::2"), 8081, &b, Tcp)]).unwrap();
        assert_eq!(ask_from(&neighbour.netns, v6("2001:db8::2"), 8080).unwrap(), "a 2001:db8::1");
        assert_eq!(ask_from(&neighbour.netns, v6("2001:db8::2"), 8081).unwrap(), "b 2001:db8::1");
        assert_eq!(ask(v6("2001:db8::2"), 8080).unwrap(), "a 2001:db8::2");
        // A sibling, and it itself, by what is published.
        assert_eq!(ask_from(&b.netns, v6("2001:db8::2"), 8080).unwrap(), "a fd00:6::1");
        assert_eq!(ask_from(&a.netns, v6("2001:db8::2"), 8080).unwrap(), "a fd00:6::1");
        network.unpublish(&[map(ANY, 8080, &a, Tcp), map(v6("2001:db8::2"), 8081, &b, Tcp)]).unwrap();
        assert!(is_silent_from(&neighbour.netns, v6("2001:db8::2"), 8080));
        assert_eq!(run("nft list ruleset | nft -c -f -"), "", "what nft lists is what nft reads");
        drop((a, b, network));
        uninstall(false).unwrap();
        run("ip netns del neighbour");
        let left = run(
            "ip link; ip -6 addr show dev lo; nft list ruleset; cat /proc/sys/net/ipv6/conf/all/forwarding",
        );
        assert!(!left.contains("tare") && left.ends_with("0\n") && base.ends_with("0\n"), "{left}");
    });
}

#[test]
fn ipv6_only_and_udp() {
    inside("ipv6::ipv6_only_and_udp", || {
        let neighbour = neighbour6();
        let network = Network::open(&config("tare6", &["fd00:6::/64"])).unwrap().network;
        assert_eq!(network.place(false), None);
        let a = container(&network, 2);
        assert_eq!(a.endpoint.addresses, [v6("fd00:6::2")]);
        serve_udp6(a.netns.as_fd(), 80, "a");
        network.publish(&[map(ANY, 8080, &a, Udp)]).unwrap();
        let socket = within(neighbour.netns.as_fd(), || UdpSocket::bind((ANY, 0)).unwrap());
        let heard = ask_udp(&socket, (v6("2001:db8::2"), 8080), ANSWER).unwrap();
        assert_eq!(heard, "a 2001:db8::1");
        // What is known of it goes with it.
        assert!(network.flush_connections(a.v6()).unwrap() >= 1);
        let mode = run("ip -n neighbour -6 route get fd00:6::2");
        assert!(mode.contains("2001:db8::2"));
    });
}

#[test]
fn networks_do_not_meet() {
    inside("ipv6::networks_do_not_meet", || {
        let one = Network::open(&config("tare1", &["10.6.1.0/24", "fd00:1::/64"])).unwrap().network;
        let two = Network::open(&config("tare2", &["10.6.2.0/24", "fd00:2::/64"])).unwrap().network;
        let (a, b) = (container(&one, 2), container(&two, 2));
        serve(b.netns.as_fd(), ANY, 80, "b");
        for address in [b.v4(), b.v6()] {
            assert!(is_silent_from(&a.netns, address, 80), "{address}");
        }
    });
}

#[test]
fn an_internal_network_has_no_way_out() {
    inside("ipv6::an_internal_network_has_no_way_out", || {
        let neighbour = neighbour6();
        let closed = BridgeConfig { internal: true, ..config("tare1", &["10.6.1.0/24", "fd00:1::/64"]) };
        let closed = Network::open(&closed).unwrap().network;
        let open = Network::open(&config("tare2", &["10.6.2.0/24"])).unwrap().network;
        let (a, sibling, b) = (container(&closed, 2), container(&closed, 3), container(&open, 2));
        serve(sibling.netns.as_fd(), ANY, 80, "sibling");
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        // A shim listens for a container without IPv6; another service is the host's own.
        open.publish(&[net::PortMap { container_ip: b.v4(), ..map(ANY, 8080, &a, Tcp) }]).unwrap();
        serve_here6(8080, "shim");
        serve_here6(7000, "host");
        assert_eq!(ask(Ipv6Addr::LOCALHOST, 8080).unwrap(), "shim ::1");
        assert_eq!(ask_from(&a.netns, sibling.v6(), 80).unwrap(), "sibling fd00:1::2");
        assert_eq!(ask_from(&a.netns, v6("fd00:1::1"), 7000).unwrap(), "host fd00:1::2", "as with dockerd");
        assert!(is_silent_from(&a.netns, v6("fd00:1::1"), 8080), "what a shim listens on");
        for address in
            [v6("2001:db8::2"), Ipv4Addr::new(192, 0, 2, 2).into(), Ipv4Addr::new(10, 6, 2, 1).into()]
        {
            assert!(is_silent_from(&a.netns, address, 7000), "{address}");
        }
        assert!(is_silent_from(&a.netns, v6("2001:db8::1"), 7001), "the neighbour");
        // With the rights to, by other addresses: site-local ones are routed (fec0::/10), link-local ones not.
        let route =
            "ip -n neighbour addr add fec0::1/64 dev eth0 nodad; ip addr add fec0::2/64 dev eth0 nodad";
        run(route);
        within(a.netns.as_fd(), || run("ip addr add fec0::7/128 dev eth0 nodad"));
        for target in ["fec0::1", "2001:db8::1"] {
            assert!(is_silent_from(&a.netns, v6(target), 7001), "{target}");
        }
        assert!(is_silent_from(&neighbour.netns, a.v6(), 80));
    });
}

#[test]
fn members_that_are_kept_apart() {
    inside("ipv6::members_that_are_kept_apart", || {
        let config = BridgeConfig { apart: true, ..config("tare1", &["10.6.1.0/24", "fd00:1::/64"]) };
        let network = Network::open(&config).unwrap().network;
        let (a, b) = (container_of(&network, 2, true), container_of(&network, 3, true));
        serve(b.netns.as_fd(), ANY, 80, "b");
        // By the gateway, which a container that may change its routes asks to forward.
        within(a.netns.as_fd(), || {
            run("ip route add 10.6.1.3/32 via 10.6.1.1; ip -6 route add fd00:1::3/128 via fd00:1::1")
        });
        within(b.netns.as_fd(), || {
            run("ip route add 10.6.1.2/32 via 10.6.1.1; ip -6 route add fd00:1::2/128 via fd00:1::1")
        });
        for address in [b.v4(), b.v6()] {
            assert!(is_silent_from(&a.netns, address, 80), "{address}");
        }
        // What is published is for everybody, but where br_netfilter turns it into frames between kept-apart ports.
        if std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|v| v != "0\n") {
            return println!("skipped: br_netfilter is on");
        }
        network.publish(&[map(Ipv4Addr::UNSPECIFIED, 8080, &b, Tcp)]).unwrap();
        assert_eq!(ask_from(&a.netns, v6("10.6.1.1"), 8080).unwrap(), "b ::ffff:10.6.1.1");
    });
}

#[test]
fn somebody_deletes_a_bridge() {
    inside("ipv6::somebody_deletes_a_bridge", || {
        let config = config("tare1", &["10.6.1.0/24", "fd00:1::/64"]);
        let network = Network::open(&config).unwrap().network;
        let (a, b) = (container(&network, 2), container(&network, 3));
        serve(b.netns.as_fd(), ANY, 80, "b");
        assert!(ask_from(&a.netns, b.v6(), 80).is_some());
        run("ip link del tare1");
        let again = Network::open(&config).unwrap();
        assert!(again.bridge_created);
        for c in [&a, &b] {
            again.network.plug_in(&c.endpoint.host_name, true, false).unwrap();
            again.network.plug_in(&c.endpoint.host_name, true, false).unwrap();
        }
        again.network.plug_in("veth-gone", true, false).unwrap();
        for address in [b.v4(), b.v6()] {
            assert!(ask_from(&a.netns, address, 80).is_some(), "{address} from a sibling");
            assert!(ask(address, 80).is_some(), "{address} from the host");
        }
    });
}
