//! The default bridge by the settings: `bip`, `fixed-cidr`, `mtu`, `icc`, `ip`, `default-address-pools`.
//!
//! The bridge keeps its address while a container has one of its subnet; without, another `bip` makes it anew.

use super::DEFAULT;
use crate::Engine;
use crate::error::{Error, Result};
use net::{BridgeConfig, Network, Place, Subnet};
use std::net::{IpAddr, Ipv4Addr};

impl Engine {
    /// With the network lock held: what the default bridge shall be.
    pub(super) fn default_bridge(&self) -> Result<BridgeConfig> {
        let settings = self.settings();
        let there = net::route::RouteSocket::open()?.link(Network::DEFAULT_BRIDGE)?.is_some();
        let mut config = BridgeConfig::default();
        if let Some(mtu) =
            settings.number("mtu").and_then(|mtu| u32::try_from(mtu).ok()).filter(|mtu| *mtu > 0)
        {
            config.mtu = mtu;
        }
        config.forward = settings.switch("ip-forward") != Some(false);
        config.apart = settings.switch("icc") == Some(false);
        match (self.bridge_address(), there) {
            (Some((own, subnet)), true) => {
                let now = super::bridge_place();
                let fits = now.is_some_and(|place| {
                    place.subnet == subnet && own.is_none_or(|own| place.gateway == own)
                });
                if !fits && now.is_some() && self.default_is_used()? {
                    tracing::warn!("the default bridge keeps its address until its containers are gone");
                    return Ok(config);
                }
                if !fits && now.is_some() {
                    Network::remove(Network::DEFAULT_BRIDGE)?;
                }
                let gateway =
                    own.map_or(now.filter(|_| fits).map(|place| place.gateway), |own| Some(own.into()));
                let gateway = gateway.unwrap_or(subnet.first_host());
                config.places = vec![Place { subnet, gateway }];
            }
            (Some((own, subnet)), false) => {
                let gateway = own.map_or(subnet.first_host(), IpAddr::V4);
                config.places = vec![Place { subnet, gateway }];
            }
            (None, true) => {}
            (None, false) if settings.pools().is_empty() => config.reserved = self.reserved()?,
            (None, false) => config.places = vec![Place::first_of(self.free_pool(&self.taken()?)?)],
        }
        Ok(config)
    }

    /// The subnet that the default bridge will take where it is not there yet.
    pub(super) fn default_pool(&self, taken: &[Subnet]) -> Result<Subnet> {
        self.bridge_address().map_or_else(|| self.free_pool(taken), |(_, subnet)| Ok(subnet))
    }

    /// `bip`, or the subnet that `fixed-cidr` is.
    fn bridge_address(&self) -> Option<(Option<Ipv4Addr>, Subnet)> {
        let settings = self.settings();
        if let Some((own, prefix)) = settings.text("bip").and_then(|text| text.split_once('/')) {
            let own: Ipv4Addr = own.parse().ok()?;
            return Some((Some(own), Subnet::containing(own, prefix.parse().ok()?)?));
        }
        self.default_range().map(|range| (None, range))
    }

    /// The part of the default bridge's subnet that containers get addresses of.
    pub(super) fn default_range(&self) -> Option<Subnet> {
        let settings = self.settings();
        let (first, prefix) = settings.text("fixed-cidr")?.split_once('/')?;
        Subnet::containing(first.parse::<Ipv4Addr>().ok()?, prefix.parse().ok()?)
    }

    /// Where a port is published that says no address: `None` is everywhere.
    pub(super) fn default_host_ip(&self, network: &str) -> Option<IpAddr> {
        let settings = self.settings();
        let ip = settings.text("ip").filter(|_| network == DEFAULT).and_then(|ip| ip.parse::<IpAddr>().ok());
        // Without a proxy nothing leads from IPv6 to a container that has IPv4 only.
        let v4_only =
            (settings.switch("userland-proxy") == Some(false)).then_some(Ipv4Addr::UNSPECIFIED.into());
        ip.filter(|ip| !ip.is_unspecified() || ip.is_ipv6()).or(v4_only)
    }

    /// The subnets that the host or a network has.
    pub(super) fn taken(&self) -> Result<Vec<Subnet>> {
        let mut taken = self.reserved()?;
        taken.extend(Network::used_subnets(&net::route::RouteSocket::open()?)?);
        Ok(taken)
    }

    fn default_is_used(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM addresses WHERE network = ?1 AND container IS NOT NULL LIMIT 1";
        let used = self.state()?.run()?;
        let used = used.read(|t| t.query_one(sql, &[DEFAULT.into()], |r| Ok::<_, Error>(r.int(0)?)))?;
        Ok(used.is_some())
    }
}
