//! Subnets and hardware addresses as values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A prefix of either family; the host bits of `base` are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    base: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The prefix of length `prefix` (at most 32 or 128) that contains `address`.
    pub fn containing(address: impl Into<IpAddr>, prefix: u8) -> Option<Self> {
        let address = address.into();
        let host = width(address).checked_sub(prefix)?;
        Some(Self { base: of_bits(address, to_bits(address) & !low(host)), prefix })
    }

    /// The network address.
    pub const fn base(&self) -> IpAddr {
        self.base
    }

    /// The prefix length.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it is of IPv6.
    pub const fn is_ipv6(&self) -> bool {
        self.base.is_ipv6()
    }

    /// The highest address, which is the broadcast address of IPv4 prefixes up to 30.
    pub fn last(&self) -> IpAddr {
        of_bits(self.base, to_bits(self.base) | low(self.host_bits()))
    }

    /// The first address after the network address: Docker's choice for the gateway.
    pub fn first_host(&self) -> IpAddr {
        let step = u128::from(self.host_bits() > 1);
        of_bits(self.base, to_bits(self.base) + step)
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        address.is_ipv6() == self.is_ipv6() && to_bits(address) & !low(self.host_bits()) == to_bits(self.base)
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// How many bits are the hosts'.
    pub(crate) const fn host_bits(&self) -> u8 {
        width(self.base) - self.prefix
    }
}

/// An address as a number.
pub(crate) const fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of that number in the family of `like`.
pub(crate) const fn of_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// That many ones at the end.
const fn low(bits: u8) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// `text` is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct ParseSubnetError(String);

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            // u8's parser would take "+8".
            let digits = prefix.bytes().all(|b| b.is_ascii_digit());
            Subnet::containing(address.parse::<IpAddr>().ok()?, digits.then(|| prefix.parse().ok())??)
        });
        parsed.ok_or_else(|| ParseSubnetError(text.to_owned()))
    }
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `02:42:` and the address: the form Docker has used for ten years. dockerd 28 draws a random
    /// one and must then announce it to the neighbours; derived, a reused address keeps its
    /// hardware address and no neighbour's ARP cache can be wrong.
    pub fn from_ip(address: impl Into<IpAddr>) -> Self {
        let [.., a, b, c, d] = to_bits(address.into()).to_be_bytes();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// A locally administered address with Docker's `02:42:` in front, for a bridge: one without an address of its
    /// own takes the lowest of its ports, and changes it whenever they come and go. From the bridge's name, so that
    /// one which is made anew has the address that containers remember.
    pub(crate) fn from_name(name: &str) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_be_bytes();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Whether a station can have it: not a multicast address, not zero.
    pub fn is_unicast(&self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `text` is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address: {0}")]
pub struct ParseMacError(String);

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseMacError(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(bad)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets() {
        type Case = (&'static str, Option<(&'static str, &'static str, &'static str)>);
        let cases: &[Case] = &[
            ("172.17.0.0/16", Some(("172.17.0.0/16", "172.17.0.1", "172.17.255.255"))),
            ("172.17.3.9/16", Some(("172.17.0.0/16", "172.17.0.1", "172.17.255.255"))),
            ("192.168.16.0/20", Some(("192.168.16.0/20", "192.168.16.1", "192.168.31.255"))),
            ("10.0.0.7/32", Some(("10.0.0.7/32", "10.0.0.7", "10.0.0.7"))),
            ("0.0.0.0/0", Some(("0.0.0.0/0", "0.0.0.1", "255.255.255.255"))),
            ("fd00:1::/64", Some(("fd00:1::/64", "fd00:1::1", "fd00:1::ffff:ffff:ffff:ffff"))),
            ("fd00:1::7/127", Some(("fd00:1::6/127", "fd00:1::6", "fd00:1::7"))),
            ("::/0", Some(("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))),
            ("fd00::/129", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0", None),
            ("10.0.0/8", None),
            ("", None),
        ];
        for (text, want) in cases {
            let got = text.parse::<Subnet>().ok();
            let got = got.map(|s| (s.to_string(), s.first_host().to_string(), s.last().to_string()));
            let want = want.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn overlaps() {
        let cases = [
            ("172.17.0.0/16", "172.17.5.0/24", true),
            ("172.17.5.0/24", "172.17.0.0/16", true),
            ("172.17.0.0/16", "172.18.0.0/16", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("::/0", "10.0.0.0/8", false),
            ("fd00::/16", "fd00:1::/64", true),
        ];
        for (a, b, want) in cases {
            let (x, y): (Subnet, Subnet) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(x.overlaps(&y), want, "{a} {b}");
        }
    }

    #[test]
    fn macs() {
        assert_eq!(MacAddr::from_ip(Ipv4Addr::new(172, 17, 0, 2)).to_string(), "02:42:ac:11:00:02");
        for (text, ok) in [
            ("02:42:ac:11:00:02", true),
            ("02-42-AC-11-00-02", true),
            ("02:42:ac:11:00", false),
            ("02:42:ac:11:00:02:03", false),
            ("2:42:ac:11:00:02", false),
            ("0g:42:ac:11:00:02", false),
            ("+2:42:ac:11:00:02", false),
        ] {
            assert_eq!(text.parse::<MacAddr>().is_ok(), ok, "{text}");
        }
        assert!(!MacAddr([1, 0, 0, 0, 0, 0]).is_unicast() && !MacAddr([0; 6]).is_unicast());
    }
}
