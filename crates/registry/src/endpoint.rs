//! From a reference's domain to addresses, without a resolver library.
//!
//! IP literals, `localhost` and the names of /etc/hosts; anything else would need DNS and is refused by
//! name. Docker speaks plain HTTP to what resolves to loopback, and so do we; everything else is HTTPS.

use crate::error::{Error, Result};
use oci::{DEFAULT_DOMAIN, Reference};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Docker Hub's registry has another name than its images.
const HUB: &str = "registry-1.docker.io";
const HTTP_PORT: u16 = 80;
const MAX_HOSTS_BYTES: u64 = 1 << 20;

/// A registry that is spoken to in plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As in the reference; for the Host header and for messages.
    pub(crate) authority: String,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Endpoint {
    pub(crate) fn of(reference: &Reference, insecure: &[String]) -> Result<Self> {
        let domain = match reference.domain() {
            DEFAULT_DOMAIN => HUB,
            "" => return Err(Error::Host(reference.path().split('/').next().unwrap_or_default().to_owned())),
            domain => domain,
        };
        Endpoint::new(domain, insecure, &read_hosts())
    }

    /// The endpoint of an authority (`host`, `host:port`, `[v6]:port`).
    pub(crate) fn new(authority: &str, insecure: &[String], hosts: &str) -> Result<Self> {
        let (host, port) = split(authority).ok_or_else(|| Error::Host(authority.to_owned()))?;
        let addresses = lookup(host, hosts);
        let allowed = insecure.iter().any(|i| i == host || i == authority);
        if !allowed && !addresses.iter().any(IpAddr::is_loopback) {
            return Err(Error::Https(authority.to_owned()));
        }
        if addresses.is_empty() {
            return Err(Error::Lookup(host.to_owned()));
        }
        let port = port.unwrap_or(HTTP_PORT);
        let addresses = addresses.into_iter().map(|a| SocketAddr::new(a, port)).collect();
        Ok(Endpoint { authority: authority.to_owned(), addresses })
    }

    /// The endpoint of a redirect's target: it may lead to any address that can be reached in plain
    /// HTTP, since the content is verified.
    pub(crate) fn of_redirect(authority: &str) -> Result<Self> {
        let (host, _) = split(authority).ok_or_else(|| Error::Host(authority.to_owned()))?;
        Endpoint::new(authority, &[host.to_owned()], &read_hosts())
    }
}

fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|p| *p != 0)?),
        None => None,
    };
    (!host.is_empty()).then_some((host, port))
}

fn lookup(host: &str, hosts: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
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

fn read_hosts() -> String {
    let mut bytes = Vec::new();
    // A machine without the file has no names in it.
    if let Ok(file) = std::fs::File::open("/etc/hosts") {
        let _ = file.take(MAX_HOSTS_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost # comment\n\n\
                         127.0.5.1\tregistry.test hub\n10.0.0.7 far\nnonsense line\n";

    #[test]
    fn endpoints() {
        let cases = [
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("127.9.9.9", "127.9.9.9:80"),
            ("[::1]:5000", "[::1]:5000"),
            ("localhost:5000", "127.0.0.1:5000 [::1]:5000"),
            ("LOCALHOST", "127.0.0.1:80 [::1]:80"),
            ("registry.test:1", "127.0.5.1:1"),
            ("Hub", "127.0.5.1:80"),
            ("10.0.0.7:5000", "HTTPS registries are not supported yet: 10.0.0.7:5000"),
            ("far", "HTTPS registries are not supported yet: far"),
            ("registry-1.docker.io", "HTTPS registries are not supported yet: registry-1.docker.io"),
            (
                "plain.example:5000",
                "dial tcp: lookup plain.example: names that are not in /etc/hosts are not supported yet",
            ),
            ("10.0.0.8", "10.0.0.8:80"),
            ("localhost:0", "invalid registry host \"localhost:0\""),
            ("localhost:99999", "invalid registry host \"localhost:99999\""),
            (":5000", "invalid registry host \":5000\""),
        ];
        let insecure = ["plain.example:5000".to_owned(), "10.0.0.8".to_owned()];
        for (authority, want) in cases {
            let got = match Endpoint::new(authority, &insecure, HOSTS) {
                Ok(e) => e.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                Err(e) => e.to_string(),
            };
            assert_eq!(got, want, "{authority}");
        }
    }

    #[test]
    fn localhost_without_a_hosts_file() {
        let endpoint = Endpoint::new("localhost:7", &[], "").unwrap();
        assert_eq!(endpoint.addresses.len(), 2);
    }
}
