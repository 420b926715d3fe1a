//! Where to send a request: a host, and how much of it must be proved.
//!
//! A registry is spoken to over TLS. Loopback, and what an administrator named as insecure, may have any
//! certificate or none: TLS is tried first, then plain HTTP, as dockerd does. Docker Hub never is one of these.

use crate::error::{Error, Result};
use oci::{DEFAULT_DOMAIN, Reference};
use std::net::IpAddr;

/// Docker Hub's registry has another name than its images.
pub(crate) const HUB: &str = "registry-1.docker.io";

/// How a host is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// TLS; plain HTTP too if the host turns out to be loopback or is insecure.
    Registry,
    /// TLS with a certificate that must be good, unless the host is insecure.
    Https,
    /// Plain HTTP.
    Http,
}

/// A host that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host`, `host:port` or `[v6]:port`, as in the reference; for the Host header and for messages.
    pub(crate) authority: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) scheme: Scheme,
    /// Named by an administrator.
    pub(crate) insecure: bool,
    /// Must prove who it is even on loopback.
    pub(crate) official: bool,
}

impl Endpoint {
    pub(crate) fn of(reference: &Reference, insecure: &[String]) -> Result<Self> {
        let domain = match reference.domain() {
            DEFAULT_DOMAIN => HUB,
            "" => return Err(Error::Host(reference.path().split('/').next().unwrap_or_default().to_owned())),
            domain => domain,
        };
        Endpoint::new(domain, Scheme::Registry, insecure)
    }

    /// The endpoint of an authority.
    pub(crate) fn new(authority: &str, scheme: Scheme, insecure: &[String]) -> Result<Self> {
        let (host, port) = split(authority).ok_or_else(|| Error::Host(authority.to_owned()))?;
        let address: Option<IpAddr> = host.parse().ok();
        let named = insecure.iter().any(|i| {
            i.eq_ignore_ascii_case(host)
                || i.eq_ignore_ascii_case(authority)
                || address.is_some_and(|a| in_network(a, i))
        });
        Ok(Endpoint {
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            scheme,
            insecure: named,
            official: matches!(host, HUB | "index.docker.io" | "auth.docker.io"),
        })
    }

    /// The endpoint and path of an absolute address (a redirect's, a token server's).
    pub(crate) fn of_url(url: &str, insecure: &[String]) -> Option<(Self, String)> {
        let uri: http::Uri = url.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        // A name and password in an address are for nobody.
        if authority.contains('@') {
            return None;
        }
        let endpoint = Endpoint::new(authority, scheme, insecure).ok()?;
        Some((endpoint, uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)))
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

/// Whether an address is in `address/bits`.
pub(crate) fn in_network(address: IpAddr, network: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let (a, b, width): (u128, u128, u32) = match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let insecure = ["plain.example:5000".to_owned(), "10.0.0.0/8".to_owned()];
        for (authority, want) in [
            ("127.0.0.1:5000", Some(("127.0.0.1", Some(5000), false))),
            ("[::1]:5000", Some(("::1", Some(5000), false))),
            ("ghcr.io", Some(("ghcr.io", None, false))),
            ("plain.example:5000", Some(("plain.example", Some(5000), true))),
            ("plain.example", Some(("plain.example", None, false))),
            ("10.0.0.8:5000", Some(("10.0.0.8", Some(5000), true))),
            ("11.0.0.8", Some(("11.0.0.8", None, false))),
            ("localhost:0", None),
            ("localhost:99999", None),
            (":5000", None),
        ] {
            let got = Endpoint::new(authority, Scheme::Registry, &insecure).ok();
            let got = got.as_ref().map(|e| (e.host.as_str(), e.port, e.insecure));
            assert_eq!(got, want, "{authority}");
        }
    }

    #[test]
    fn addresses() {
        for (url, want) in [
            ("https://cdn.example/a/b?c=d", Some(("cdn.example", Scheme::Https, "/a/b?c=d"))),
            ("http://127.0.0.1:5000/x", Some(("127.0.0.1:5000", Scheme::Http, "/x"))),
            ("https://cdn.example", Some(("cdn.example", Scheme::Https, "/"))),
            ("ftp://cdn.example/", None),
            ("https://user:secret@cdn.example/", None),
            ("/relative", None),
            ("", None),
        ] {
            let got = Endpoint::of_url(url, &[]);
            let got = got.as_ref().map(|(e, path)| (e.authority.as_str(), e.scheme, path.as_str()));
            assert_eq!(got, want, "{url}");
        }
    }

    #[test]
    fn networks() {
        for (address, network, want) in [
            ("127.0.0.1", "127.0.0.0/8", true),
            ("128.0.0.1", "127.0.0.0/8", false),
            ("1.2.3.4", "0.0.0.0/0", true),
            ("::1", "::1/128", true),
            ("::2", "::1/128", false),
            ("1.2.3.4", "1.2.3.4/33", false),
            ("1.2.3.4", "::/0", false),
            ("1.2.3.4", "1.2.3.4", false),
        ] {
            assert_eq!(in_network(address.parse().unwrap(), network), want, "{address} {network}");
        }
    }
}
