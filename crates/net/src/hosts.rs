//! /etc/hosts of a container, byte for byte as Docker 28 writes it.

use std::fmt::Write;
use std::net::IpAddr;

/// What varies between containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// The container's host name.
    pub hostname: &'a str,
    /// The container's domain name, empty when it has none.
    pub domainname: &'a str,
    /// The container's addresses, in the order of its networks.
    pub addresses: &'a [IpAddr],
    /// `--add-host`: (name, address).
    pub extra: &'a [(String, IpAddr)],
    /// Whether the container's loopback has ::1: yes unless IPv6 is off.
    pub ipv6: bool,
}

/// The file's content.
pub fn build(hosts: &Hosts<'_>) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    out.push_str("127.0.0.1\tlocalhost\n");
    if hosts.ipv6 {
        out.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
        out.push_str(
            "fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
        );
    }
    for (name, address) in hosts.extra {
        if hosts.ipv6 || address.is_ipv4() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{address}\t{name}");
        }
    }
    let names = names(hosts);
    for address in hosts.addresses {
        let _ = writeln!(out, "{address}\t{names}");
    }
    out.into_bytes()
}

/// The full name, and its first label beside it.
pub fn names(hosts: &Hosts<'_>) -> String {
    let mut full = hosts.hostname.to_owned();
    if !hosts.domainname.is_empty() {
        full.push('.');
        full.push_str(hosts.domainname);
    }
    match full.split_once('.') {
        Some((first, _)) => format!("{full} {first}"),
        None => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

    #[test]
    fn files() {
        let address = ["172.17.0.2".parse().unwrap()];
        let extra = [
            ("db".to_owned(), "10.0.0.9".parse().unwrap()),
            ("six".to_owned(), "2001:db8::1".parse().unwrap()),
        ];
        let cases = [
            (("web", "", true, &[][..]), format!("127.0.0.1\tlocalhost\n{V6}172.17.0.2\tweb\n")),
            (
                ("web", "example.org", true, &[]),
                format!("127.0.0.1\tlocalhost\n{V6}172.17.0.2\tweb.example.org web\n"),
            ),
            (("a.b.c", "", false, &[]), "127.0.0.1\tlocalhost\n172.17.0.2\ta.b.c a\n".to_owned()),
            (("web", "", false, &extra), "127.0.0.1\tlocalhost\n10.0.0.9\tdb\n172.17.0.2\tweb\n".to_owned()),
            (
                ("web", "", true, &extra),
                format!("127.0.0.1\tlocalhost\n{V6}10.0.0.9\tdb\n2001:db8::1\tsix\n172.17.0.2\tweb\n"),
            ),
        ];
        for ((hostname, domainname, ipv6, extra), want) in cases {
            let got = build(&Hosts { hostname, domainname, addresses: &address, extra, ipv6 });
            assert_eq!(String::from_utf8(got).unwrap(), want);
        }
    }
}
