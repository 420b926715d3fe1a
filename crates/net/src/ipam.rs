//! Address management without state: from a pool and what is used to a candidate.
//!
//! The database makes an address unique, by inserting the candidate; when that fails another was
//! faster, and the caller asks again. Order: addresses never given first, lowest first; then the
//! one whose release lies furthest back, so that nobody's cache or connection meets a stranger.

use crate::address::{of_bits, to_bits};
use crate::{Error, MacAddr, Result, Subnet};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One network's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipam {
    subnet: Subnet,
    gateway: IpAddr,
    range: Option<Subnet>,
}

/// What is known of a pool's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Given out now.
    pub used: BTreeSet<IpAddr>,
    /// Given out once and free again, the oldest release first.
    pub freed: Vec<IpAddr>,
}

impl Ipam {
    /// A pool whose gateway keeps its address.
    pub const fn new(subnet: Subnet, gateway: IpAddr) -> Self {
        Self { subnet, gateway, range: None }
    }

    /// Candidates come from `range` only (`--ip-range`); wanted addresses may lie outside of it.
    pub const fn with_range(mut self, range: Subnet) -> Self {
        self.range = Some(range);
        self
    }

    /// The pool.
    pub const fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// The gateway.
    pub const fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The next address to try when `highest` is the highest that was ever given: a caller that asks
    /// its database for that one value needs no [`Usage`] until the pool has been walked through.
    pub fn after(&self, highest: Option<IpAddr>) -> Option<IpAddr> {
        let (first, last) = self.bounds();
        let next = highest.map_or(Some(first), |h| to_bits(h).checked_add(1)).map(|n| n.max(first))?;
        // Two addresses at most are no host's: the gateway and an edge of the pool.
        (next..=last).take(3).map(|bits| self.address(bits)).find(|a| self.is_host(*a))
    }

    /// The next address to try.
    pub fn candidate(&self, usage: &Usage) -> Result<IpAddr> {
        let freed: BTreeSet<IpAddr> = usage.freed.iter().copied().collect();
        let (first, last) = self.bounds();
        // Both sets are sorted, so that the walk ends after as many steps as there are known addresses.
        let fresh = (first..=last)
            .map(|bits| self.address(bits))
            .find(|a| self.is_host(*a) && !usage.used.contains(a) && !freed.contains(a));
        fresh
            .or_else(|| {
                let fits = |a: &&IpAddr| {
                    (first..=last).contains(&to_bits(**a)) && self.is_host(**a) && !usage.used.contains(a)
                };
                usage.freed.iter().find(fits).copied()
            })
            .ok_or(Error::NoFreeAddress(self.subnet.is_ipv6()))
    }

    /// Whether `wanted` (`--ip`) can be given.
    pub fn check(&self, wanted: IpAddr, usage: &Usage) -> Result<()> {
        if !self.subnet.contains(wanted) || !self.is_host_or_gateway(wanted) {
            return Err(Error::AddressOutOfRange(wanted));
        }
        if wanted == self.gateway || usage.used.contains(&wanted) {
            return Err(Error::AddressInUse(wanted));
        }
        Ok(())
    }

    /// The hardware address that goes with an address.
    pub fn mac(&self, address: IpAddr) -> MacAddr {
        MacAddr::from_ip(address)
    }

    fn bounds(&self) -> (u128, u128) {
        let pool = self.range.filter(|r| r.overlaps(&self.subnet)).unwrap_or(self.subnet);
        (
            to_bits(pool.base()).max(to_bits(self.subnet.base())),
            to_bits(pool.last()).min(to_bits(self.subnet.last())),
        )
    }

    fn address(&self, bits: u128) -> IpAddr {
        of_bits(self.subnet.base(), bits)
    }

    fn is_host(&self, address: IpAddr) -> bool {
        address != self.gateway && self.is_host_or_gateway(address)
    }

    /// Neither the network's own address (of IPv6 the routers', RFC 4291) nor its broadcast address, which
    /// prefixes of 31 and 32 bits do not have (RFC 3021), nor IPv6.
    fn is_host_or_gateway(&self, address: IpAddr) -> bool {
        let edge = address == self.subnet.base() || (address == self.subnet.last() && !self.subnet.is_ipv6());
        self.subnet.host_bits() <= 1 || !edge
    }
}

/// Docker's default pools in their order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in
/// blocks of 20 bits.
pub fn default_pools() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|b| (Ipv4Addr::new(172, b, 0, 0), 16));
    let small = (0..16).map(|c| (Ipv4Addr::new(192, 168, c * 16, 0), 20));
    large.chain(small).filter_map(|(base, prefix)| Subnet::containing(base, prefix))
}

/// The first default pool that overlaps none of `taken`.
pub fn first_free_pool(taken: &[Subnet]) -> Result<Subnet> {
    default_pools().find(|pool| !taken.iter().any(|t| t.overlaps(pool))).ok_or(Error::NoFreePool)
}

/// The default pools of IPv6: the 65,536 networks of 64 bits of a local prefix (RFC 4193) that `seed`, which
/// should be the same for ever and nobody else's, makes unique.
pub fn default_pools6(seed: [u8; 5]) -> impl Iterator<Item = Subnet> {
    let [a, b, c, d, e] = seed.map(u16::from);
    let base = move |n| Ipv6Addr::new(0xfd00 | a, b << 8 | c, d << 8 | e, n, 0, 0, 0, 0);
    (0..=u16::MAX).filter_map(move |n| Subnet::containing(base(n), 64))
}

/// The first of them that overlaps none of `taken`.
pub fn first_free_pool6(seed: [u8; 5], taken: &[Subnet]) -> Result<Subnet> {
    default_pools6(seed).find(|pool| !taken.iter().any(|t| t.overlaps(pool))).ok_or(Error::NoFreePool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ipam(subnet: &str) -> Ipam {
        let subnet: Subnet = subnet.parse().unwrap();
        Ipam::new(subnet, subnet.first_host())
    }

    fn usage(used: &[&str], freed: &[&str]) -> Usage {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        Usage { used: parse(used).into_iter().collect(), freed: parse(freed) }
    }

    #[test]
    fn candidates() {
        type Case = (&'static str, &'static [&'static str], &'static [&'static str], Option<&'static str>);
        let cases: &[Case] = &[
            ("172.17.0.0/16", &[], &[], Some("172.17.0.2")),
            ("172.17.0.0/16", &["172.17.0.2"], &[], Some("172.17.0.3")),
            ("172.17.0.0/16", &["172.17.0.3"], &["172.17.0.2"], Some("172.17.0.4")),
            (
                "10.0.0.0/29",
                &["10.0.0.4"],
                &["10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.5"],
                Some("10.0.0.6"),
            ),
            ("10.0.0.0/29", &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"], &[], None),
            ("10.0.0.0/30", &["10.0.0.2"], &[], None),
            ("10.0.0.0/31", &[], &[], Some("10.0.0.1")),
            ("10.0.0.0/32", &[], &[], None),
            ("fd00::/64", &[], &[], Some("fd00::2")),
            ("fd00::/126", &["fd00::2"], &[], Some("fd00::3")),
            ("fd00::/126", &["fd00::2", "fd00::3"], &[], None),
            ("fd00::/127", &[], &[], Some("fd00::1")),
            // A stale row of another pool, and one that is in both sets, are not offered.
            ("10.0.0.0/30", &["10.0.0.2"], &["10.9.9.9", "10.0.0.2"], None),
        ];
        for (subnet, used, freed, want) in cases {
            let got = ipam(subnet).candidate(&usage(used, freed)).ok().map(|a| a.to_string());
            assert_eq!(got.as_deref(), *want, "{subnet} used {used:?} freed {freed:?}");
        }
        let ranged = ipam("10.0.0.0/24").with_range("10.0.0.128/30".parse().unwrap());
        assert_eq!(ranged.candidate(&usage(&[], &[])).unwrap(), "10.0.0.128".parse::<IpAddr>().unwrap());
        let last = ipam("10.0.0.0/24").with_range("10.0.0.252/30".parse().unwrap());
        assert!(last.candidate(&usage(&["10.0.0.252", "10.0.0.253", "10.0.0.254"], &[])).is_err());
    }

    #[test]
    fn after_the_highest() {
        for (subnet, highest, want) in [
            ("172.17.0.0/16", None, Some("172.17.0.2")),
            ("172.17.0.0/16", Some("172.17.0.2"), Some("172.17.0.3")),
            ("172.17.0.0/16", Some("172.17.255.253"), Some("172.17.255.254")),
            ("172.17.0.0/16", Some("172.17.255.254"), None),
            ("172.17.0.0/16", Some("10.0.0.1"), Some("172.17.0.2")),
            ("255.255.255.252/30", Some("255.255.255.255"), None),
        ] {
            let got = ipam(subnet).after(highest.map(|h| h.parse().unwrap())).map(|a| a.to_string());
            assert_eq!(got.as_deref(), want, "{subnet} {highest:?}");
        }
    }

    #[test]
    fn wanted_addresses() {
        let pool = ipam("10.0.0.0/24");
        let taken = usage(&["10.0.0.9"], &["10.0.0.8"]);
        for (address, want) in [
            ("10.0.0.7", Ok(())),
            ("10.0.0.8", Ok(())),
            ("10.0.0.9", Err("Address already in use")),
            ("10.0.0.1", Err("Address already in use")),
            (
                "10.0.0.0",
                Err("invalid address 10.0.0.0: It does not belong to any of this network's subnets"),
            ),
            (
                "10.0.0.255",
                Err("invalid address 10.0.0.255: It does not belong to any of this network's subnets"),
            ),
            (
                "10.0.1.1",
                Err("invalid address 10.0.1.1: It does not belong to any of this network's subnets"),
            ),
        ] {
            let got = pool.check(address.parse().unwrap(), &taken).map_err(|e| e.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{address}");
        }
    }

    #[test]
    fn pools() {
        let all: Vec<String> = default_pools().map(|p| p.to_string()).collect();
        assert_eq!(all.len(), 31);
        assert_eq!(
            (&*all[0], &*all[14], &*all[15], &*all[30]),
            ("172.17.0.0/16", "172.31.0.0/16", "192.168.0.0/20", "192.168.240.0/20")
        );
        let cases: &[(&[&str], &str)] = &[
            (&[], "172.17.0.0/16"),
            (&["172.17.0.0/16", "10.0.0.0/8"], "172.18.0.0/16"),
            (&["172.16.0.0/12"], "192.168.0.0/20"),
            (&["172.16.0.0/12", "192.168.1.0/24", "192.168.16.1/32"], "192.168.32.0/20"),
        ];
        for (taken, want) in cases {
            let taken: Vec<Subnet> = taken.iter().map(|t| t.parse().unwrap()).collect();
            assert_eq!(first_free_pool(&taken).unwrap().to_string(), *want);
        }
        assert!(
            first_free_pool(&["172.0.0.0/8".parse().unwrap(), "192.168.0.0/16".parse().unwrap()]).is_err()
        );
    }

    #[test]
    fn local_pools() {
        let seed = [0x93, 0xfe, 0x34, 0x6f, 0x1b];
        let first = first_free_pool6(seed, &[]).unwrap();
        assert_eq!(first.to_string(), "fd93:fe34:6f1b::/64");
        assert_eq!(first_free_pool6(seed, &[first]).unwrap().to_string(), "fd93:fe34:6f1b:1::/64");
        assert!(first_free_pool6(seed, &["fd00::/8".parse().unwrap()]).is_err());
    }

    proptest! {
        /// Give and take in any order: never the gateway, the edges or a used address, always the
        /// oldest release once nothing is fresh, and an error only when the pool is really full.
        #[test]
        fn give_and_take(prefix in 26u8..=30, steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..300)) {
            let subnet = Subnet::containing(Ipv4Addr::new(10, 7, 3, 77), prefix).unwrap();
            let pool = Ipam::new(subnet, subnet.first_host());
            let capacity = (1usize << (32 - prefix)) - 3;
            let mut usage = Usage::default();
            for (give, index) in steps {
                if give {
                    match pool.candidate(&usage) {
                        Ok(address) => {
                            prop_assert!(pool.check(address, &usage).is_ok());
                            if let Some(at) = usage.freed.iter().position(|a| *a == address) {
                                prop_assert_eq!(at, 0);
                                prop_assert_eq!(usage.used.len() + usage.freed.len(), capacity);
                                usage.freed.remove(at);
                            }
                            prop_assert!(usage.used.insert(address));
                        }
                        Err(_) => prop_assert_eq!(usage.used.len(), capacity),
                    }
                } else if !usage.used.is_empty() {
                    let address = *index.get(&usage.used.iter().copied().collect::<Vec<_>>());
                    usage.used.remove(&address);
                    usage.freed.push(address);
                }
            }
        }
    }
}
