//! Who reaches whom.

use crate::world::*;
use net::Protocol::Tcp;
use rustix::fd::AsFd;
use std::net::{Ipv4Addr, UdpSocket};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[test]
fn a_container_reaches_the_gateway_and_the_world() {
    inside("reach::a_container_reaches_the_gateway_and_the_world", || {
        let neighbour = neighbour();
        let network = open().network;
        let c = container(&network, 2);
        serve_here(ANY, 7000, "host");
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        assert_eq!(ask_from(&c.netns, GATEWAY, 7000).unwrap(), "host 172.17.0.2");
        assert_eq!(ask_from(&c.netns, HOST, 7000).unwrap(), "host 172.17.0.2");
        assert_eq!(ask_from(&c.netns, NEIGHBOUR, 7001).unwrap(), "neighbour 192.0.2.2", "masqueraded");
        // Its own loopback is up, and eth0 has no IPv6 address.
        serve(c.netns.as_fd(), Ipv4Addr::LOCALHOST, 9, "self");
        assert_eq!(ask_from(&c.netns, Ipv4Addr::LOCALHOST, 9).unwrap(), "self 127.0.0.1");
        let addresses: Vec<String> =
            c.netns.route().addresses().unwrap().iter().map(|a| a.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1", "172.17.0.2", "::1"]);
        let link = c.netns.route().link("eth0").unwrap().unwrap();
        assert_eq!(
            (link.mac.unwrap().to_string(), link.mtu, link.up),
            ("02:42:ac:11:00:02".to_owned(), 1500, true)
        );
    });
}

#[test]
fn published_ports_answer_where_they_are_published() {
    inside("reach::published_ports_answer_where_they_are_published", || {
        let neighbour = neighbour();
        let network = open().network;
        let c = container(&network, 2);
        serve(c.netns.as_fd(), ANY, 80, "web");
        // The strictest reverse path filter, as some distributions have it.
        run("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done");
        network
            .publish(&[
                map(ANY, 8080, &c, Tcp),
                map(Ipv4Addr::LOCALHOST, 8081, &c, Tcp),
                map(HOST, 8082, &c, Tcp),
            ])
            .unwrap();
        // From the host, by all of its addresses.
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080).unwrap(), "web 172.17.0.1");
        assert_eq!(ask(Ipv4Addr::new(127, 9, 9, 9), 8080).unwrap(), "web 172.17.0.1");
        assert_eq!(ask(HOST, 8080).unwrap(), "web 192.0.2.2");
        assert_eq!(ask(GATEWAY, 8080).unwrap(), "web 172.17.0.1");
        assert_eq!(
            ask(Ipv4Addr::new(172, 17, 0, 2), 80).unwrap(),
            "web 172.17.0.1",
            "the host reaches it directly"
        );
        // On one address only.
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8081).unwrap(), "web 172.17.0.1");
        assert_eq!(ask(HOST, 8081), None);
        assert_eq!(ask(HOST, 8082).unwrap(), "web 192.0.2.2");
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8082), None);
        // From the neighbour.
        assert_eq!(ask_from(&neighbour.netns, HOST, 8080).unwrap(), "web 192.0.2.1", "its address is seen");
        assert_eq!(ask_from(&neighbour.netns, HOST, 8081), None);
        assert_eq!(ask_from(&neighbour.netns, HOST, 8082).unwrap(), "web 192.0.2.1");
        // Unpublished again.
        network.unpublish(&[map(ANY, 8080, &c, Tcp)]).unwrap();
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080), None);
        assert_eq!(ask_from(&neighbour.netns, HOST, 8080), None);
    });
}

#[test]
fn a_neighbour_reaches_nothing_that_is_not_published() {
    inside("reach::a_neighbour_reaches_nothing_that_is_not_published", || {
        let neighbour = neighbour();
        let network = open().network;
        let c = container(&network, 2);
        let address = c.v4();
        serve(c.netns.as_fd(), ANY, 80, "web");
        serve(c.netns.as_fd(), ANY, 81, "private");
        serve_here(Ipv4Addr::LOCALHOST, 7000, "host's own");
        network.publish(&[map(ANY, 8080, &c, Tcp), map(Ipv4Addr::LOCALHOST, 8081, &c, Tcp)]).unwrap();
        assert!(is_silent_from(&neighbour.netns, address, 81));
        assert!(is_silent_from(&neighbour.netns, address, 80), "also where it is published on the host");
        // The neighbour sends 127.0.0.0/8 out of its own interface.
        run("ip netns exec neighbour sh -ec 'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
            ip addr del 127.0.0.1/8 dev lo
            ip route del local 127.0.0.0/8 dev lo table local 2>/dev/null || :
            ip route add 127.0.0.0/8 via 192.0.2.2 dev eth0 src 192.0.2.1'
            echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet");
        assert!(is_silent_from(&neighbour.netns, Ipv4Addr::LOCALHOST, 7000));
        assert!(is_silent_from(&neighbour.netns, Ipv4Addr::LOCALHOST, 8081));
        // Without the guard they would arrive: it is the guard that is tested.
        run("nft flush chain inet tare guard");
        assert!(ask_from(&neighbour.netns, Ipv4Addr::LOCALHOST, 7000).is_some());
        // The same road is open where it should be.
        assert_eq!(ask_from(&neighbour.netns, HOST, 8080).unwrap(), "web 192.0.2.1");
    });
}

#[test]
fn a_container_does_not_reach_services_on_the_hosts_loopback() {
    inside("reach::a_container_does_not_reach_services_on_the_hosts_loopback", || {
        let network = open().network;
        let c = container(&network, 2);
        serve_here(Ipv4Addr::LOCALHOST, 7000, "host's own");
        assert_eq!(run("cat /proc/sys/net/ipv4/conf/tare0/route_localnet"), "1\n");
        // It is root in its namespace and sends 127.0.0.0/8 to the bridge, and claims to be 127.0.0.1.
        within(c.netns.as_fd(), || {
            run("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
                ip addr del 127.0.0.1/8 dev lo
                ip route del local 127.0.0.0/8 dev lo table local 2>/dev/null || :
                ip route add 127.0.0.0/8 via 172.17.0.1 dev eth0 src 172.17.0.2");
            assert!(is_silent(Ipv4Addr::LOCALHOST, 7000));
        });
        // Nor does it pass for a process of the host: TCP could not answer it, a datagram needs no answer.
        let service = UdpSocket::bind((GATEWAY, 7002)).unwrap();
        service.set_read_timeout(Some(SILENCE)).unwrap();
        let sender = within(c.netns.as_fd(), || {
            run("ip addr add 127.0.0.9/32 dev eth0");
            UdpSocket::bind("127.0.0.9:0").unwrap()
        });
        sender.send_to(b"x", (GATEWAY, 7002)).unwrap();
        assert!(service.recv_from(&mut [0; 8]).is_err());
        // Without the guard both would get through: it is the guard that was tested.
        run("nft flush chain inet tare guard");
        assert!(ask_from(&c.netns, Ipv4Addr::LOCALHOST, 7000).is_some());
        sender.send_to(b"x", (GATEWAY, 7002)).unwrap();
        service.set_read_timeout(Some(ANSWER)).unwrap();
        let (_, from) = service.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.ip().to_string(), "127.0.0.9");
    });
}

#[test]
fn containers_reach_each_other_and_themselves_by_published_ports() {
    inside("reach::containers_reach_each_other_and_themselves_by_published_ports", || {
        let _neighbour = neighbour();
        let network = open().network;
        // With and without br_netfilter; an endpoint is made for what is set when it comes.
        const FILTERS: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        for (n, filters) in [(0, "1"), (1, "0")] {
            if std::fs::write(FILTERS, filters).is_err() {
                println!("this kernel has no br_netfilter");
            }
            let (a, b) = (container(&network, 2 + n * 2), container(&network, 3 + n * 2));
            let port = 8080 + u16::from(n);
            serve(a.netns.as_fd(), ANY, 80, "a");
            network.publish(&[map(ANY, port, &a, Tcp)]).unwrap();
            for address in [HOST, GATEWAY] {
                assert_eq!(
                    ask_from(&b.netns, address, port).unwrap(),
                    "a 172.17.0.1",
                    "sibling by {address}"
                );
                assert_eq!(ask_from(&a.netns, address, port).unwrap(), "a 172.17.0.1", "itself by {address}");
            }
            let direct = ask_from(&b.netns, a.v4(), 80).unwrap();
            assert_eq!(direct, format!("a {}", b.v4()));
        }
    });
}

#[test]
fn foreign_forwarding_is_dropped_where_tare_switched_it_on() {
    inside("reach::foreign_forwarding_is_dropped_where_tare_switched_it_on", || {
        let neighbour = neighbour();
        run("ip netns add other
            ip link add eth1 type veth peer name eth0 netns other
            ip addr add 198.51.100.1/24 dev eth1
            ip link set eth1 up
            ip -n other addr add 198.51.100.2/24 dev eth0
            ip -n other link set eth0 up
            ip -n other route add default via 198.51.100.1
            ip -n neighbour route add 198.51.100.0/24 via 192.0.2.2");
        let other = Machine { netns: net::Netns::open("/run/netns/other".as_ref()).unwrap() };
        serve(other.netns.as_fd(), ANY, 80, "other");
        let there = Ipv4Addr::new(198, 51, 100, 2);
        assert_eq!(run("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
        assert!(is_silent_from(&neighbour.netns, there, 80));
        let opened = open();
        assert!(opened.forwarding_switched_on && !open().forwarding_switched_on);
        assert_eq!(run("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
        assert!(is_silent_from(&neighbour.netns, there, 80), "as before");
        let c = container(&opened.network, 2);
        assert_eq!(ask_from(&c.netns, there, 80).unwrap(), "other 198.51.100.1", "ours is forwarded");
        // An engine that brings its own firewall lives on.
        run("ip link set eth1 down; ip link set eth1 name docker0; ip link set docker0 up");
        assert_eq!(ask_from(&neighbour.netns, there, 80).unwrap(), "other 192.0.2.1");
        // Whoever wanted forwarding before us keeps it.
        net::uninstall(false).unwrap();
        run(
            "ip link set docker0 down; ip link set docker0 name eth1; ip link set eth1 up; echo 1 > /proc/sys/net/ipv4/ip_forward",
        );
        assert!(!open().forwarding_switched_on);
        assert_eq!(ask_from(&neighbour.netns, there, 80).unwrap(), "other 192.0.2.1");
    });
}

#[test]
fn frames_on_foreign_bridges_stay_untouched() {
    inside("reach::frames_on_foreign_bridges_stay_untouched", || {
        run("ip link add br0 type bridge; ip link set br0 up
            for n in 1 2; do
                ip netns add vm$n
                ip link add tap$n type veth peer name eth0 netns vm$n
                ip link set tap$n master br0 up
                ip -n vm$n addr add 198.51.100.$n/24 dev eth0
                ip -n vm$n link set eth0 up
            done
            test ! -e /proc/sys/net/bridge || echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables");
        let vm = |n| net::Netns::open(format!("/run/netns/vm{n}").as_ref()).unwrap();
        serve(vm(2).as_fd(), ANY, 80, "vm");
        let there = Ipv4Addr::new(198, 51, 100, 2);
        assert!(ask_from(&vm(1), there, 80).is_some());
        assert!(open().forwarding_switched_on);
        assert!(ask_from(&vm(1), there, 80).is_some(), "bridged, not forwarded");
    });
}
