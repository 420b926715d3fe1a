//! /etc/resolv.conf of a container, as Docker 28 writes it.
//!
//! From the host's file (resolv.conf(5)) by way of the user's `--dns*` flags to the container's: the
//! host's loopback servers cannot be reached from inside and are left out, and so are IPv6 servers
//! on a network without IPv6; when none is left, Google's are used. Bytes in, bytes out.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Docker's fallback servers.
const FALLBACK_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)];
const FALLBACK_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888),
    Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844),
];
/// systemd-resolved's full file, which lists the real servers.
const RESOLVED_FILE: &str = "/run/systemd/resolve/resolv.conf";
/// Where the resolver of user-defined networks listens.
const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The address of systemd-resolved's stub.
const RESOLVED_STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// The network namespace that the container will be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// The host's own network namespace: the host's file serves as it is.
    Host,
    /// One of its own, also with `--network none`.
    Own {
        /// Whether its network has IPv6.
        ipv6: bool,
    },
    /// One of its own on a user-defined network, where a resolver of ours listens: it asks the host's servers
    /// from the host's namespace, so that all of them serve, its stub too (the host's own file is the one to
    /// start from).
    Resolver,
}

/// What the user asked for; an empty list leaves the host's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides<'a> {
    /// `--dns`.
    pub servers: &'a [IpAddr],
    /// `--dns-search`; a single `.` means none.
    pub search: &'a [String],
    /// `--dns-option`.
    pub options: &'a [String],
}

/// A server, with the zone that an address such as `fe80::1%eth0` has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    address: IpAddr,
    zone: String,
}

/// A host's file, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parsed {
    servers: Vec<Server>,
    invalid: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
    other: Vec<String>,
}

/// The path of the file to start from, given the content of /etc/resolv.conf: systemd-resolved's own
/// when that names nothing but its stub.
pub fn source_path(host_file: &[u8]) -> &'static str {
    let parsed = parse(host_file);
    if parsed.servers == [Server::from(RESOLVED_STUB)] { RESOLVED_FILE } else { "/etc/resolv.conf" }
}

/// The container's file, from the host's (`path` is where it was read; it appears in a comment).
pub fn build(host_file: &[u8], path: &str, namespace: Namespace, overrides: &Overrides<'_>) -> Vec<u8> {
    let mut conf = parse(host_file);
    let mut ndots_from = option(&conf.options, "ndots").map(|_| "host");
    let mut overridden = Vec::new();
    if !overrides.servers.is_empty() {
        conf.servers = overrides.servers.iter().copied().map(Server::from).collect();
        overridden.push("nameservers");
    }
    if !overrides.search.is_empty() {
        conf.search = overrides.search.iter().filter(|s| *s != ".").cloned().collect();
        overridden.push("search");
    }
    if !overrides.options.is_empty() {
        conf.options = overrides.options.to_vec();
        ndots_from = option(&conf.options, "ndots").map(|_| "override");
        overridden.push("options");
    }
    let mut transform = "";
    let mut fell_back = false;
    if let Namespace::Own { ipv6 } = namespace {
        transform = " (legacy)";
        if overrides.servers.is_empty() {
            conf.servers.retain(|s| !s.address.is_loopback() && (ipv6 || s.address.is_ipv4()));
            if conf.servers.is_empty() {
                conf.servers = fallback(ipv6);
                fell_back = true;
            }
        }
    }
    let external = match namespace {
        Namespace::Resolver => {
            transform = " (internal resolver)";
            if ndots_from.is_none() {
                conf.options.push("ndots:0".to_owned());
                ndots_from = Some("internal");
            }
            let servers = std::mem::replace(&mut conf.servers, vec![RESOLVER.into()]);
            Some(external(&servers, overrides.servers.is_empty()))
        }
        Namespace::Host | Namespace::Own { .. } => None,
    };
    let mut out = body(&conf);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n# Based on host file: '{path}'{transform}");
    if let Some(line) = external {
        let _ = writeln!(out, "# {line}");
    }
    if fell_back {
        out.push_str("# Used default nameservers.\n");
    }
    if !conf.invalid.is_empty() {
        let _ = writeln!(out, "# Invalid nameservers: [{}]", conf.invalid.join(" "));
    }
    let _ = writeln!(out, "# Overrides: [{}]", overridden.join(" "));
    if let Some(from) = ndots_from {
        let _ = writeln!(out, "# Option ndots from: {from}");
    }
    out.into_bytes()
}

/// Whether the file or the options in its place say from how many dots on a name is asked as it is.
pub fn sets_ndots(host_file: &[u8], options: &[String]) -> bool {
    let parsed = parse(host_file);
    option(if options.is_empty() { &parsed.options } else { options }, "ndots").is_some()
}

/// The header and the directives.
fn body(conf: &Parsed) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("# Generated by Docker Engine.\n# This file can be edited; Docker Engine will not make further changes once it\n# has been modified.\n\n");
    for server in &conf.servers {
        let _ = writeln!(out, "nameserver {}{}", server.address, server.zone);
    }
    for (name, words) in [("search", &conf.search), ("options", &conf.options)] {
        if !words.is_empty() {
            let _ = writeln!(out, "{name} {}", words.join(" "));
        }
    }
    for line in &conf.other {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// The comment that names whom the resolver asks, and which of them from the host's namespace.
fn external(servers: &[Server], from_host: bool) -> String {
    if servers.is_empty() {
        return "NO EXTERNAL NAMESERVERS DEFINED".to_owned();
    }
    let one = |s: &Server| match from_host {
        true => format!("host({}{})", s.address, s.zone),
        false => format!("{}{}", s.address, s.zone),
    };
    format!("ExtServers: [{}]", servers.iter().map(one).collect::<Vec<_>>().join(" "))
}

fn fallback(ipv6: bool) -> Vec<Server> {
    let v6 = FALLBACK_V6.into_iter().filter(|_| ipv6).map(IpAddr::from);
    FALLBACK_V4.into_iter().map(IpAddr::from).chain(v6).map(Server::from).collect()
}

/// The value of the last option of that name.
fn option<'a>(options: &'a [String], name: &str) -> Option<&'a str> {
    options.iter().rev().find_map(|o| {
        let (key, value) = o.split_once(':').unwrap_or((o, ""));
        (key == name).then_some(value)
    })
}

fn parse(file: &[u8]) -> Parsed {
    let mut conf = Parsed::default();
    for line in String::from_utf8_lossy(file).lines() {
        let mut words = line.split_whitespace();
        let Some(directive) = words.next() else { continue };
        if directive.starts_with(['#', ';']) {
            continue;
        }
        let values: Vec<String> = words.map(str::to_owned).collect();
        match (directive, values.first()) {
            ("nameserver" | "domain" | "search" | "options", None) => {}
            ("nameserver", Some(server)) => match parse_server(server) {
                Some(address) => conf.servers.push(address),
                None => conf.invalid.push(server.clone()),
            },
            // The last one counts; `domain` is its old name.
            ("domain" | "search", _) => conf.search = values,
            ("options", _) => conf.options.extend(values),
            _ => conf.other.push(line.to_owned()),
        }
    }
    conf
}

impl From<IpAddr> for Server {
    fn from(address: IpAddr) -> Self {
        Self { address, zone: String::new() }
    }
}

/// Only IPv6 addresses have zones (RFC 4007 section 11).
fn parse_server(text: &str) -> Option<Server> {
    match text.find('%') {
        Some(at) if at + 1 < text.len() => {
            let address: Ipv6Addr = text[..at].parse().ok()?;
            Some(Server { address: address.into(), zone: text[at..].to_owned() })
        }
        _ => text.parse::<IpAddr>().ok().map(Server::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# Generated by Docker Engine.\n# This file can be edited; Docker Engine will not make further changes once it\n# has been modified.\n\n";
    const V4: Namespace = Namespace::Own { ipv6: false };

    fn check(host: &str, namespace: Namespace, overrides: &Overrides<'_>, want: &str) {
        let got =
            String::from_utf8(build(host.as_bytes(), "/etc/resolv.conf", namespace, overrides)).unwrap();
        assert_eq!(got, format!("{HEADER}{want}"), "from {host:?}");
    }

    #[test]
    fn the_hosts_file() {
        let none = Overrides::default();
        let cases = [
            (
                "nameserver 10.0.0.1\n",
                V4,
                "nameserver 10.0.0.1\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n",
            ),
            (
                "",
                V4,
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Used default nameservers.\n# Overrides: []\n",
            ),
            (
                "nameserver 127.0.0.1\nnameserver ::1\nnameserver 2001:db8::1\n",
                V4,
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Used default nameservers.\n# Overrides: []\n",
            ),
            (
                "nameserver 127.0.0.1\nnameserver 2001:db8::1\n",
                Namespace::Own { ipv6: true },
                "nameserver 2001:db8::1\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n",
            ),
            (
                "# c\n; d\ndomain old.example\nsearch a.example b.example\nnameserver 10.0.0.1\nnameserver bad\noptions ndots:2\noptions rotate\nsortlist 1.2.3.4\nnameserver\nsearch\n",
                V4,
                "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2 rotate\nsortlist 1.2.3.4\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Invalid nameservers: [bad]\n# Overrides: []\n# Option ndots from: host\n",
            ),
            (
                "nameserver 127.0.0.53\nnameserver fe80::1%eth0\n",
                Namespace::Host,
                "nameserver 127.0.0.53\nnameserver fe80::1%eth0\n\n# Based on host file: '/etc/resolv.conf'\n# Overrides: []\n",
            ),
            (
                "nameserver 10.0.0.1%x\n",
                Namespace::Host,
                "\n# Based on host file: '/etc/resolv.conf'\n# Invalid nameservers: [10.0.0.1%x]\n# Overrides: []\n",
            ),
        ];
        for (host, namespace, want) in cases {
            check(host, namespace, &none, want);
        }
    }

    #[test]
    fn the_users_flags() {
        let servers = ["127.0.0.1".parse().unwrap()];
        let search = ["x.example".to_owned(), ".".to_owned()];
        let options = ["ndots:5".to_owned()];
        let all = Overrides { servers: &servers, search: &search, options: &options };
        check(
            "nameserver 10.0.0.1\nsearch a\noptions rotate\n",
            V4,
            &all,
            "nameserver 127.0.0.1\nsearch x.example\noptions ndots:5\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: [nameservers search options]\n# Option ndots from: override\n",
        );
    }

    /// Recorded from dockerd 28.5.2.
    #[test]
    fn with_the_resolver() {
        const FROM: &str = "\n# Based on host file: '/etc/resolv.conf' (internal resolver)\n";
        let none = Overrides::default();
        let cases = [
            (
                "nameserver 192.0.2.1\n",
                "nameserver 127.0.0.11\noptions ndots:0\n",
                "# ExtServers: [host(192.0.2.1)]\n# Overrides: []\n# Option ndots from: internal\n",
            ),
            (
                "nameserver 127.0.0.53\nsearch h.example x.example\noptions ndots:2 edns0\nsortlist 1.2.3.4\n",
                "nameserver 127.0.0.11\nsearch h.example x.example\noptions ndots:2 edns0\nsortlist 1.2.3.4\n",
                "# ExtServers: [host(127.0.0.53)]\n# Overrides: []\n# Option ndots from: host\n",
            ),
            (
                "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver bad\nnameserver 127.0.0.1\nnameserver ::1\nsearch .\n",
                "nameserver 127.0.0.11\nsearch .\noptions ndots:0\n",
                "# ExtServers: [host(10.0.0.1) host(fe80::1%eth0) host(127.0.0.1) host(::1)]\n# Invalid nameservers: [bad]\n# Overrides: []\n# Option ndots from: internal\n",
            ),
            (
                "",
                "nameserver 127.0.0.11\noptions ndots:0\n",
                "# NO EXTERNAL NAMESERVERS DEFINED\n# Overrides: []\n# Option ndots from: internal\n",
            ),
        ];
        for (host, directives, comments) in cases {
            check(host, Namespace::Resolver, &none, &format!("{directives}{FROM}{comments}"));
        }
        let servers = ["127.0.0.1", "10.1.1.1", "fd00::1"].map(|a| a.parse().unwrap());
        let all = Overrides {
            servers: &servers,
            search: &["a.example".to_owned(), "b.example".to_owned()],
            options: &["ndots:3".to_owned(), "rotate".to_owned()],
        };
        let want = "nameserver 127.0.0.11\nsearch a.example b.example\noptions ndots:3 rotate\n";
        let comments = "# ExtServers: [127.0.0.1 10.1.1.1 fd00::1]\n# Overrides: [nameservers search options]\n# Option ndots from: override\n";
        check("nameserver 192.0.2.1\n", Namespace::Resolver, &all, &format!("{want}{FROM}{comments}"));
    }

    #[test]
    fn resolved_is_seen_through() {
        for (file, want) in [
            ("nameserver 127.0.0.53\noptions edns0\n", RESOLVED_FILE),
            ("nameserver 127.0.0.53\nnameserver 10.0.0.1\n", "/etc/resolv.conf"),
            ("", "/etc/resolv.conf"),
        ] {
            assert_eq!(source_path(file.as_bytes()), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = build(&bytes, "x", V4, &Overrides::default());
            let _ = source_path(&bytes);
        }
    }
}
