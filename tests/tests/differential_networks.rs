//! Networks and what is refused of them, beside dockerd 28.5.2, word for word.
//!
//! Local prefixes of IPv6 (`fd…`) that are chosen, ids and hardware addresses differ from host to host and are
//! taken out by the lines themselves.

use tests::differential::{Case, compare};

const fn case(name: &'static str, lines: &'static [&'static str]) -> Case {
    Case::new(name, lines)
}

/// A local prefix that was chosen, without what differs.
macro_rules! shown {
    ($name:literal) => {
        concat!(
            "$E network inspect -f '{{.EnableIPv4}} {{.EnableIPv6}} {{json .IPAM}} {{.Internal}} {{json .Options}}' ",
            $name,
            " | sed -E 's/fd[0-9a-f]{2}:[0-9a-f:]+::/ULA::/g'"
        )
    };
}

const CREATED: &[Case] = &[
    case(
        "both families",
        &[
            "$E network create --ipv6 n1 >/dev/null; $E network create --ipv6 n2 >/dev/null",
            shown!("n1"),
            "for n in n1 n2; do $E network inspect -f '{{(index .IPAM.Config 1).Subnet}}' $n; done | sed -E 's/^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}/ULA/'; $E network rm n1 n2",
        ],
    ),
    case(
        "pools that are given",
        &[
            "$E network create --ipv6 --subnet 10.77.0.0/24 n1 >/dev/null",
            shown!("n1"),
            "$E network create --ipv6 --subnet fd01:1::/64 n2 >/dev/null; $E network inspect -f '{{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}}' n2",
            "$E network create --ipv6 --subnet 10.78.0.0/24 --gateway 10.78.0.5 --ip-range 10.78.0.128/25 --subnet fd01:2::/64 --gateway fd01:2::5 --ip-range fd01:2::100/120 --aux-address x=10.78.0.9 --aux-address y=fd01:2::9 n3 >/dev/null",
            shown!("n3"),
            "$E network rm n1 n2 n3",
        ],
    ),
    case(
        "one family",
        &[
            "$E network create --ipv6 --ipv4=false n1 >/dev/null",
            shown!("n1"),
            "$E network create --ipv4=false n2",
            "$E network create --subnet fd01:3::/64 n3 >/dev/null; $E network inspect -f '{{.EnableIPv6}} {{(index .IPAM.Config 0).Subnet}}' n3",
            "$E network create --ipv6 --internal n4 >/dev/null",
            shown!("n4"),
            "$E network rm n1 n3 n4",
        ],
    ),
    case(
        "edges of a pool",
        &[
            "$E network create --subnet 10.90.0.0/31 n1 >/dev/null; $E network create --ipv6 --subnet fd01:7::/127 n2 >/dev/null; $E network create --ipv6 --subnet fd01:8::/128 n3; $E network inspect n3; $E network rm n1 n2",
        ],
    ),
    case(
        "inside a member",
        &[
            "$E network create --ipv6 --subnet 10.79.0.0/24 --subnet fd01:5::/64 n1 >/dev/null; $E run --rm --hostname box --network n1 $R/busybox sh -c 'ip -o addr show eth0 | grep -v fe80 | cut -d\\  -f 2-8; ip route; ip -6 route | grep -v fe80; cat /etc/hosts; cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6'",
            "$E run --rm --hostname box --network n1 --ip 10.79.0.7 --ip6 fd01:5::7 $R/busybox sh -c 'grep box /etc/hosts'",
            "$E run -d --name nn --network n1 --ip 10.79.0.8 --ip6 fd01:5::8 -p 8080:80 $R/busybox sleep 999 >/dev/null; $E inspect -f '{{with .NetworkSettings.Networks.n1}}{{json .IPAMConfig}} {{.Gateway}} {{.IPAddress}}/{{.IPPrefixLen}} {{.IPv6Gateway}} {{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}}{{end}} {{json .NetworkSettings.Ports}}' nn; $E port nn; $E ps --format '{{.Ports}}'; $E network inspect -f '{{range .Containers}}{{.IPv4Address}} {{.IPv6Address}}{{end}}' n1; $E rm -f nn",
            "$E network rm n1; $E network create --ipv6 --ipv4=false --subnet fd01:6::/64 n2 >/dev/null; $E run --rm --hostname box --network n2 $R/busybox sh -c 'ip -o addr show eth0 | grep -v fe80 | cut -d\\  -f 2-8; ip -6 route | grep -v fe80; cat /etc/hosts'; $E run -d --name nn --network n2 --ip6 fd01:6::8 -p 8080:80 -p 127.0.0.1:8081:80 -p '[::1]:8082:80' $R/busybox sleep 999 >/dev/null; $E port nn; $E inspect -f '{{json .NetworkSettings.Ports}} {{with .NetworkSettings.Networks.n2}}{{.IPAddress}} {{.IPPrefixLen}} {{.Gateway}} {{.GlobalIPv6Address}}{{end}}' nn; $E rm -f nn; $E network rm n2",
        ],
    ),
];

const REFUSED: &[Case] = &[
    case(
        "pools",
        &[
            "$E network create --subnet 10.0.0.0 n",
            "$E network create --subnet 10.50.0.5/24 n",
            "$E network create --subnet 10.50.0.0/24 --ip-range 10.51.0.0/25 n",
            "$E network create --subnet 10.50.0.0/24 --ip-range 10.50.0.0/16 n",
            "$E network create --subnet 10.50.0.0/24 --ip-range 10.50.0.7/25 n",
            "$E network create --subnet 10.50.0.0/24 --gateway 10.51.0.1 n",
            "$E network create --subnet 10.50.0.0/24 --gateway 10.50.0.1 --gateway 10.50.0.2 n",
            "$E network create --subnet 10.50.0.0/24 --aux-address a=10.51.0.1 n",
            "$E network create --gateway 10.50.0.1 n",
            "$E network create --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 n",
            "$E network create --ipv6 --subnet fd00:1::/64 --subnet fd00:2::/64 n",
            "$E network create --ipv6 --subnet fd00:1::5/64 n",
            "$E run --rm $R/busybox true; $E network create --subnet 172.17.0.0/16 n; $E network create --subnet 0.0.0.0/0 n",
            "$E network create --subnet 10.53.0.0/24 --gateway 10.53.0.7 --aux-address a=10.53.0.7 n",
            "$E network ls --format '{{.Name}}'",
        ],
    ),
    case(
        "names, drivers and options",
        &[
            "$E network create bridge; $E network create host",
            "$E network create -d nope n; $E network create -d host n",
            "$E network create -o com.docker.network.driver.mtu=abc n; $E network create -o com.docker.network.driver.mtu=-5 n",
            "$E network create -o com.docker.network.bridge.enable_icc=abc n",
            "$E network create --ipam-driver nope n; $E network create --scope swarm n",
            "$E network create 'a b' >/dev/null; $E network rm 'a b'",
            "$E network create twice >/dev/null; $E network create twice; $E network rm twice",
            "$E network ls --format '{{.Name}}'",
        ],
    ),
    case(
        "addresses",
        &[
            "$E network create --subnet 10.60.0.0/29 small >/dev/null; for i in 1 2 3 4 5; do $E run -d --name s$i --network small $R/busybox sleep 999 >/dev/null; done; $E run --rm --name s6 --network small $R/busybox true 2>&1 | sed -E 's/[0-9a-f]{64}/ID/'",
            "$E run --rm --network small --ip 10.60.0.2 $R/busybox true; $E run --rm --network small --ip 10.60.0.1 $R/busybox true; $E run --rm --network small --ip 10.61.0.2 $R/busybox true",
            "$E run --rm --network small --ip6 fd00::5 $R/busybox true; $E run --rm --ip 172.17.0.9 $R/busybox true",
            "$E network create plain >/dev/null; $E run --rm --network plain --ip 172.18.0.9 $R/busybox true; $E network rm plain",
            "$E network create --ipv6 --subnet fd00:6::/64 six >/dev/null; $E run --rm --network six --ip6 fd00:6::1 $R/busybox true; $E run --rm --network six --ip6 fd00:7::1 $R/busybox true; $E network rm six",
            "$E network rm small 2>&1 | grep -v '^exit status' | sed -E 's/\\(name.*/(…)/'; $E rm -f s1 s2 s3 s4 s5; $E network rm small",
        ],
    ),
    case(
        "members",
        &[
            "for n in nope bridge; do $E network rm $n 2>&1 | grep -v '^exit status'; done; $E network connect nope x",
            "$E network create one >/dev/null; $E network connect one nope; $E run -d --name m --network one $R/busybox sleep 999 >/dev/null; $E network connect one m; $E network disconnect bridge m 2>&1 | sed -E 's/[0-9a-f]{64}/ID/'",
            "$E network connect host m; $E network connect none m",
            "$E run -d --name h --network host $R/busybox sleep 999 >/dev/null; $E network connect one h; $E run -d --name n --network none $R/busybox sleep 999 >/dev/null; $E network connect one n; $E rm -f h n",
            "$E run --rm --network nope $R/busybox true; $E run --rm --network host --network one $R/busybox true",
            "$E rm -f m; $E network rm one; $E network ls --format '{{.Name}}'",
        ],
    ),
];

#[test]
fn created() {
    compare(CREATED);
}

#[test]
fn refused() {
    compare(REFUSED);
}
