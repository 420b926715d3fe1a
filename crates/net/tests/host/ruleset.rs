//! The ruleset as a whole, and the bridge: made once, replaced, removed.

use crate::world::*;
use net::Protocol::Tcp;
use net::{BridgeConfig, Error, Installed, Network, uninstall};
use rustix::fd::AsFd;
use std::net::Ipv4Addr;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[test]
fn installing_again_changes_nothing() {
    inside("ruleset::installing_again_changes_nothing", || {
        let first = open();
        assert_eq!((first.bridge_created, first.ruleset), (true, Installed::Fresh));
        assert_eq!(first.network.place(false).unwrap().subnet.to_string(), "172.17.0.0/16");
        let listed = run("nft list ruleset");
        let again = open();
        assert_eq!((again.bridge_created, again.ruleset), (false, Installed::Present));
        assert_eq!(again.network.place(false).unwrap().gateway, GATEWAY);
        assert_eq!(run("nft list ruleset"), listed);
    });
}

#[test]
fn the_pool_avoids_what_the_host_has() {
    inside("ruleset::the_pool_avoids_what_the_host_has", || {
        let _neighbour = neighbour();
        run("ip link add docker0 type bridge
            ip addr add 172.17.0.1/16 dev docker0
            ip link set docker0 up
            ip route add 172.18.0.0/15 via 192.0.2.1");
        let config =
            BridgeConfig { reserved: vec!["172.20.0.0/16".parse().unwrap()], ..BridgeConfig::default() };
        let opened = Network::open(&config).unwrap();
        assert_eq!(opened.network.place(false).unwrap().subnet.to_string(), "172.21.0.0/16");
        let again = Network::open(&config).unwrap();
        assert_eq!(
            again.network.place(false).unwrap().subnet.to_string(),
            "172.21.0.0/16",
            "its own address is not in its way"
        );
    });
}

#[test]
fn bridges_by_configuration_and_names_that_are_taken() {
    inside("ruleset::bridges_by_configuration_and_names_that_are_taken", || {
        let config = BridgeConfig {
            name: "tare7".to_owned(),
            mtu: 1400,
            places: vec![net::Place {
                subnet: "10.9.8.0/24".parse().unwrap(),
                gateway: "10.9.8.254".parse().unwrap(),
            }],
            ..BridgeConfig::default()
        };
        let network = Network::open(&config).unwrap().network;
        let c = container(&network, 2);
        serve_here(ANY, 7000, "host");
        assert_eq!(ask_from(&c.netns, Ipv4Addr::new(10, 9, 8, 254), 7000).unwrap(), "host 10.9.8.2");
        assert_eq!(network.route().link("tare7").unwrap().unwrap().mtu, 1400);
        assert_eq!(c.netns.route().link("eth0").unwrap().unwrap().mtu, 1400);
        let bad = BridgeConfig { name: "br0".to_owned(), ..BridgeConfig::default() };
        assert!(Network::open(&bad).is_err());
        run("ip link add tare0 type veth peer name other");
        assert!(matches!(Network::open(&BridgeConfig::default()), Err(Error::NotABridge { .. })));
        // A second network: containers of different bridges do not meet.
        run("ip link del tare0");
        let second = open().network;
        let d = container(&second, 2);
        serve(d.netns.as_fd(), ANY, 80, "d");
        assert!(is_silent_from(&c.netns, d.v4(), 80));
        second.publish(&[map(ANY, 8080, &d, Tcp)]).unwrap();
        assert_eq!(ask_from(&c.netns, Ipv4Addr::new(10, 9, 8, 254), 8080).unwrap(), "d 172.17.0.1");
    });
}

#[test]
fn another_version_is_replaced_with_its_elements() {
    inside("ruleset::another_version_is_replaced_with_its_elements", || {
        let _neighbour = neighbour();
        let network = open().network;
        let c = container(&network, 2);
        serve(c.netns.as_fd(), ANY, 80, "web");
        network.publish(&[map(ANY, 8080, &c, Tcp), map(Ipv4Addr::LOCALHOST, 8081, &c, Tcp)]).unwrap();
        let before = run("nft list ruleset");
        // What a former version left: other rules, and one set less.
        run("nft list table inet tare | sed 's/Tare ruleset [0-9]*/Tare ruleset 0/' > /run/old
            nft delete table inet tare
            nft -f /run/old
            nft flush chain inet tare publish");
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080), None);
        assert_eq!(open().ruleset, Installed::Replaced);
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080).unwrap(), "web 172.17.0.1");
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8081).unwrap(), "web 172.17.0.1");
        assert_eq!(run("nft list ruleset"), before);
        // Somebody flushes everything: the next start says that all must be published again.
        run("nft flush ruleset");
        let opened = open();
        assert_eq!(opened.ruleset, Installed::Fresh);
        opened.network.publish(&[map(ANY, 8080, &c, Tcp)]).unwrap();
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 8080).unwrap(), "web 172.17.0.1");
        // A table of that name that is not ours is left alone.
        run("nft flush ruleset; nft add table inet tare");
        assert!(matches!(Network::open(&BridgeConfig::default()), Err(Error::ForeignTable(_))));
        assert!(uninstall(false).is_err());
        assert_eq!(run("nft list tables"), "table inet tare\n");
    });
}

#[test]
fn a_bridge_keeps_its_hardware_address_and_loses_a_former_subnet() {
    inside("ruleset::a_bridge_keeps_its_hardware_address_and_loses_a_former_subnet", || {
        let network = open().network;
        let mac = network.route().link("tare0").unwrap().unwrap().mac;
        let c = container(&network, 2);
        assert_eq!(network.route().link("tare0").unwrap().unwrap().mac, mac);
        drop(c);
        // Somebody deletes the bridge; its pool belongs to somebody else when it comes again.
        run("ip link del tare0");
        assert_eq!(open().network.route().link("tare0").unwrap().unwrap().mac, mac, "made anew");
        run("ip link del tare0; ip link add other0 type bridge; ip addr add 172.17.0.1/16 dev other0");
        let again = open();
        assert_eq!((again.bridge_created, again.ruleset), (true, Installed::Present));
        assert_eq!(again.network.place(false).unwrap().subnet.to_string(), "172.18.0.0/16");
        let listed = run("nft list set inet tare nets; nft list set inet tare own");
        assert!(listed.contains("172.18.0.0/16") && !listed.contains("172.17"), "{listed}");
    });
}

#[test]
fn many_at_once() {
    inside("ruleset::many_at_once", || {
        let network = &open().network;
        let containers: Vec<Container> = std::thread::scope(|scope| {
            let start = |n: u8| {
                // Each with handles of its own, as several processes have.
                let network = open().network;
                let c = container(&network, n);
                network.publish(&[map(ANY, 8000 + u16::from(n), &c, Tcp)]).unwrap();
                c
            };
            let threads: Vec<_> = (2..34).map(|n| scope.spawn(move || start(n))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for c in &containers {
            serve(c.netns.as_fd(), ANY, 80, "c");
            let port = 8000 + u16::from(c.last);
            assert_eq!(ask(Ipv4Addr::LOCALHOST, port).unwrap(), "c 172.17.0.1");
        }
        std::thread::scope(|scope| {
            for c in &containers {
                let port = 8000 + u16::from(c.last);
                scope.spawn(move || network.unpublish(&[map(ANY, port, c, Tcp)]).unwrap());
            }
        });
        assert!(!run("nft list map inet tare ports_any").contains("elements"));
    });
}

#[test]
fn endpoints_go_with_their_namespace_and_leave_nothing() {
    inside("ruleset::endpoints_go_with_their_namespace_and_leave_nothing", || {
        let base = run("ip link; ip addr; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward");
        let network = open().network;
        let (a, b) = (container(&network, 2), container(&network, 3));
        assert!(a.endpoint.host_name.starts_with("veth") && a.endpoint.host_name.len() == 11);
        network.detach(&b.endpoint.host_name).unwrap();
        network.detach(&b.endpoint.host_name).unwrap();
        assert_eq!(b.netns.route().link("eth0").unwrap(), None);
        drop(a);
        // The kernel destroys namespaces in batches, some time later.
        for _ in 0..500 {
            if network.route().links().unwrap().iter().all(|l| !l.name.starts_with("veth")) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(network);
        let gone = uninstall(false).unwrap();
        assert!(gone.table && gone.forwarding_switched_off);
        assert_eq!(gone.bridges, ["tare0"]);
        assert_eq!(run("ip link; ip addr; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward"), base);
    });
}

#[test]
fn a_full_bridge_says_so() {
    inside("ruleset::a_full_bridge_says_so", || {
        let network = open().network;
        let lines: String =
            (0..1023).map(|n| format!("link add p{n} master tare0 type veth peer name q{n}\n")).collect();
        std::fs::write("/run/batch", lines).unwrap();
        run("ip -batch /run/batch");
        let netns = net::Netns::create().unwrap();
        let address = Ipv4Addr::new(172, 17, 0, 2);
        let config = net::EndpointConfig {
            addresses: vec![address.into()],
            mac: net::MacAddr::from_ip(address),
            name: "eth0".to_owned(),
            publishes: true,
            default_route: [true, false],
            isolated: false,
        };
        let refused = network.attach(&netns, &config).unwrap_err();
        assert_eq!(refused.to_string(), "bridge tare0 is full: the kernel takes 1023 ports on one bridge");
        run("ip link del p0");
        network.attach(&netns, &config).unwrap();
        let twice = network.attach(&netns, &config).unwrap_err();
        assert!(twice.to_string().starts_with("RTM_NEWLINK veth"), "{twice}");
    });
}
