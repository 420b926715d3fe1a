//! Beside other people's firewalls.

use crate::world::*;
use net::Protocol::Tcp;
use net::{Drops, uninstall};
use rustix::fd::AsFd;
use std::net::Ipv4Addr;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// What dockerd 28 leaves in `filter` with its default network, shortened.
const DOCKERD: &str = "iptables-nft -P FORWARD DROP
    iptables-nft -N DOCKER-USER; iptables-nft -N DOCKER-FORWARD; iptables-nft -N DOCKER
    iptables-nft -A FORWARD -j DOCKER-USER
    iptables-nft -A FORWARD -j DOCKER-FORWARD
    iptables-nft -A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables-nft -A DOCKER-FORWARD -o docker0 -j DOCKER
    iptables-nft -A DOCKER-FORWARD -i docker0 -j ACCEPT
    iptables-nft -A DOCKER ! -i docker0 -o docker0 -j DROP
    iptables-nft -t nat -A POSTROUTING -s 172.31.0.0/16 ! -o docker0 -j MASQUERADE";

/// Containers work in both directions.
fn works(neighbour: &Machine, c: &Container) {
    assert_eq!(ask_from(&neighbour.netns, HOST, 8080).unwrap(), "web 192.0.2.1");
    assert_eq!(ask_from(&c.netns, NEIGHBOUR, 7001).unwrap(), "neighbour 192.0.2.2");
    assert!(is_silent_from(&neighbour.netns, c.v4(), 80), "directly");
}

#[test]
fn a_forward_policy_of_drop() {
    inside("firewall::a_forward_policy_of_drop", || {
        let neighbour = neighbour();
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        run("iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i foreign0 -j ACCEPT");
        let opened = open();
        let added: Vec<String> = opened.foreign_rules.iter().map(ToString::to_string).collect();
        assert_eq!(added, ["ip filter FORWARD"]);
        assert!(opened.warnings.is_empty());
        assert_eq!(open().foreign_rules, [], "once is enough");
        let c = container(&opened.network, 2);
        serve(c.netns.as_fd(), ANY, 80, "web");
        opened.network.publish(&[map(ANY, 8080, &c, Tcp)]).unwrap();
        works(&neighbour, &c);
        // iptables can list, save and restore them, and go on working.
        let listed = run("iptables-nft -S FORWARD");
        let want = "-P FORWARD DROP
-A FORWARD -i tare+ -m comment --comment \"Tare containers\" -j ACCEPT
-A FORWARD -o tare+ -m comment --comment \"Tare containers\" -j ACCEPT
-A FORWARD -i foreign0 -j ACCEPT
";
        assert_eq!(listed, want);
        run("iptables-nft -L -n -v; iptables-nft-save > /run/saved; iptables-nft-restore < /run/saved");
        assert_eq!(run("iptables-nft -S FORWARD"), want);
        assert_eq!(open().foreign_rules, [], "found again after save and restore");
        works(&neighbour, &c);
        // Somebody flushes the chain: the next start puts them back.
        run("iptables-nft -F FORWARD");
        assert_eq!(open().foreign_rules.len(), 1);
        works(&neighbour, &c);
        run("iptables-nft-save > /run/saved; iptables-nft-restore < /run/saved");
        let gone = uninstall(false).unwrap();
        assert_eq!(gone.foreign_rules.len(), 2);
        assert_eq!(run("iptables-nft -S FORWARD"), "-P FORWARD DROP\n");
    });
}

#[test]
fn beside_dockerd() {
    inside("firewall::beside_dockerd", || {
        let neighbour = neighbour();
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        // A container of dockerd's, with dockerd's forwarding on.
        run("echo 1 > /proc/sys/net/ipv4/ip_forward
            ip link add docker0 type bridge
            ip addr add 172.31.0.1/16 dev docker0
            ip link set docker0 up
            ip netns add dc
            ip link add dveth type veth peer name eth0 netns dc
            ip link set dveth master docker0 up
            ip -n dc addr add 172.31.0.2/16 dev eth0
            ip -n dc link set eth0 up
            ip -n dc route add default via 172.31.0.1");
        run(DOCKERD);
        let dc = net::Netns::open("/run/netns/dc".as_ref()).unwrap();
        serve(dc.as_fd(), ANY, 80, "docker's");
        let opened = open();
        assert_eq!(opened.forwarding_switched_on, [false; 2]);
        let added: Vec<String> = opened.foreign_rules.iter().map(ToString::to_string).collect();
        assert_eq!(added, ["ip filter DOCKER-USER"]);
        let c = container(&opened.network, 2);
        serve(c.netns.as_fd(), ANY, 80, "web");
        opened.network.publish(&[map(ANY, 8080, &c, Tcp)]).unwrap();
        works(&neighbour, &c);
        // Docker's container goes out as before, and is shielded as before, also from ours, whose packets
        // no longer reach the rules that would have dropped them.
        let docker = Ipv4Addr::new(172, 31, 0, 2);
        assert!(ask_from(&dc, NEIGHBOUR, 7001).is_some());
        assert!(is_silent_from(&neighbour.netns, docker, 80));
        assert!(is_silent_from(&c.netns, docker, 80));
        assert!(is_silent_from(&dc, c.v4(), 80));
        // By what it publishes they reach each other.
        run("iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 9090 ! -i docker0 -j DNAT --to-destination 172.31.0.2:80
            iptables-nft -I DOCKER ! -i docker0 -o docker0 -p tcp -d 172.31.0.2 --dport 80 -j ACCEPT");
        assert!(ask_from(&neighbour.netns, HOST, 9090).is_some());
        assert!(ask_from(&c.netns, HOST, 9090).is_some());
        assert_eq!(ask_from(&dc, HOST, 8080).unwrap(), "web 172.17.0.1", "masqueraded by dockerd");
        // What dockerd does at its own start and stop.
        run(
            "iptables-nft -t filter -C FORWARD -j DOCKER-USER; iptables-nft -t filter -n -L DOCKER-USER; iptables-nft -F DOCKER-FORWARD; iptables-nft -S",
        );
        let before = run("iptables-nft-save -t filter | grep -v '^#'");
        assert!(before.contains("tare+"));
        uninstall(false).unwrap();
        assert!(!run("iptables-nft-save; nft list ruleset; ip link").contains("tare"));
        assert_eq!(run("cat /proc/sys/net/ipv4/ip_forward"), "1\n", "it was dockerd's");
    });
}

#[test]
fn a_firewall_of_nft_and_managed_ones() {
    inside("firewall::a_firewall_of_nft_and_managed_ones", || {
        let neighbour = neighbour();
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        run("nft 'table inet mine { chain on_forward { type filter hook forward priority 0; policy drop; iifname \"x\" accept; }; }'
            nft 'table ip6 six { chain on_forward { type filter hook forward priority 0; policy drop; }; }'
            nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; policy accept; }; }'");
        let opened = open();
        let added: Vec<String> = opened.foreign_rules.iter().map(ToString::to_string).collect();
        assert_eq!(added, ["inet mine on_forward"]);
        assert_eq!(opened.warnings, [Drops::Firewalld]);
        let c = container(&opened.network, 2);
        serve(c.netns.as_fd(), ANY, 80, "web");
        opened.network.publish(&[map(ANY, 8080, &c, Tcp)]).unwrap();
        works(&neighbour, &c);
        run(
            "iptables-nft -P FORWARD DROP; iptables-nft -N ufw-before-forward; iptables-nft -A FORWARD -j ufw-before-forward",
        );
        let opened = open();
        assert_eq!(opened.foreign_rules, []);
        assert!(opened.warnings.contains(&Drops::Ufw));
        let seen = uninstall(true).unwrap();
        assert_eq!((seen.table, seen.bridges.len(), seen.foreign_rules.len()), (true, 1, 2));
        assert_eq!(uninstall(false).unwrap(), seen, "dry and for real say the same");
        assert_eq!(uninstall(false).unwrap(), net::Uninstalled::default(), "nothing is left");
    });
}

#[test]
fn the_legacy_iptables_is_reported() {
    inside("firewall::the_legacy_iptables_is_reported", || {
        let neighbour = neighbour();
        serve(neighbour.netns.as_fd(), ANY, 7001, "neighbour");
        assert_eq!(open().warnings, []);
        run("iptables-legacy -A FORWARD -i other0 -j ACCEPT");
        assert_eq!(open().warnings, [], "it lets everything pass");
        run("iptables-legacy -P FORWARD DROP");
        let opened = open();
        assert_eq!(opened.warnings, [Drops::LegacyIptables]);
        let c = container(&opened.network, 2);
        serve(c.netns.as_fd(), ANY, 80, "web");
        opened.network.publish(&[map(ANY, 8080, &c, Tcp)]).unwrap();
        assert!(is_silent_from(&neighbour.netns, HOST, 8080), "the warning is true");
        run(Drops::LegacyIptables.hint());
        assert_eq!(open().warnings, []);
        works(&neighbour, &c);
    });
}
