//! Which proxy a request takes: Go's rules for `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
//!
//! Loopback and `localhost` are never proxied. An entry of `NO_PROXY` is `*`, an address, a network, a name
//! (which includes the names below it) or `.name` (only those below), each with or without a port.

use crate::endpoint::in_network;
use std::net::IpAddr;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Proxies by scheme.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http`; empty for none.
    pub http: String,
    /// For `https`; empty for none.
    pub https: String,
    /// Hosts that are reached directly, separated by commas.
    pub none: String,
}

/// A proxy's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `user:password`, decoded.
    pub(crate) user: Option<String>,
}

impl Proxies {
    /// By variables; upper case goes first, as in Go.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either =
            |name: &str| variable(name).or_else(|| variable(&name.to_lowercase())).unwrap_or_default();
        Proxies { http: either("HTTP_PROXY"), https: either("HTTPS_PROXY"), none: either("NO_PROXY") }
    }

    /// The proxy for a host; `Err` names one that cannot be used.
    pub(crate) fn of(&self, tls: bool, host: &str, port: u16) -> Result<Option<Proxy>, String> {
        let text = if tls { &self.https } else { &self.http };
        if text.is_empty() || self.is_direct(host, port) {
            return Ok(None);
        }
        parse(text).map(Some).ok_or_else(|| without_password(text))
    }

    fn is_direct(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
            return true;
        }
        self.none.split(',').map(|e| e.trim().to_ascii_lowercase()).filter(|e| !e.is_empty()).any(|entry| {
            if entry == "*" {
                return true;
            }
            if let (Some(address), true) = (address, entry.contains('/')) {
                return in_network(address, &entry);
            }
            let (name, wanted) = match entry.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') => (name, port.parse::<u16>().ok()),
                _ => (entry.trim_start_matches('[').trim_end_matches(']'), None),
            };
            if wanted.is_some_and(|wanted| wanted != port) {
                return false;
            }
            if let Some(address) = address {
                return name.parse() == Ok(address);
            }
            let name = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |n| format!(".{n}"));
            match name.strip_prefix('.') {
                Some(_) => host.ends_with(&name),
                None => host == name || host.ends_with(&format!(".{name}")),
            }
        })
    }
}

fn parse(text: &str) -> Option<Proxy> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: http::Uri = full.parse().ok()?;
    // A proxy behind TLS or SOCKS is not spoken to; it is refused by name.
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let authority = uri.authority()?;
    let user = authority.as_str().rsplit_once('@').map(|(user, _)| unescape(user));
    let port = authority.port_u16().unwrap_or(HTTP_PORT);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Proxy { host: host.to_owned(), port, user })
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// For messages.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (start, Some(at)) => format!("{}…{}", &text[..start.map_or(0, |s| s + 3)], &text[at..]),
        _ => text.to_owned(),
    }
}

/// The port of a scheme.
pub(crate) fn default_port(tls: bool) -> u16 {
    if tls { HTTPS_PORT } else { HTTP_PORT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_hosts() {
        let none = "direct.example, .below.example,10.0.0.0/8,192.0.2.1,port.example:8443,[2001:db8::1],*.star.example";
        let proxies = Proxies { none: none.to_owned(), ..Proxies::default() };
        for (host, port, direct) in [
            ("localhost", 443, true),
            ("127.9.9.9", 443, true),
            ("::1", 443, true),
            ("direct.example", 443, true),
            ("a.direct.example", 443, true),
            ("notdirect.example", 443, false),
            ("below.example", 443, false),
            ("x.below.example", 443, true),
            ("10.1.2.3", 443, true),
            ("11.1.2.3", 443, false),
            ("192.0.2.1", 443, true),
            ("192.0.2.2", 443, false),
            ("port.example", 8443, true),
            ("port.example", 443, false),
            ("2001:db8::1", 443, true),
            ("x.star.example", 443, true),
            ("registry-1.docker.io", 443, false),
        ] {
            assert_eq!(proxies.is_direct(host, port), direct, "{host}:{port}");
        }
        let all = Proxies { none: "*".to_owned(), ..Proxies::default() };
        assert!(all.is_direct("anything", 1));
    }

    #[test]
    fn addresses() {
        let proxy = |host: &str, port, user: Option<&str>| {
            Some(Proxy { host: host.to_owned(), port, user: user.map(str::to_owned) })
        };
        for (text, want) in [
            ("http://p:3128", proxy("p", 3128, None)),
            ("p:3128", proxy("p", 3128, None)),
            ("http://u%40x:p%3Aq@p", proxy("p", 80, Some("u@x:p:q"))),
            ("http://[::1]:8", proxy("::1", 8, None)),
            ("https://p", None),
            ("socks5://p", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        let proxies = Proxies { https: "socks5://u:secret@p".to_owned(), ..Proxies::default() };
        assert_eq!(proxies.of(true, "x.example", 443), Err("socks5://…@p".to_owned()));
    }
}
