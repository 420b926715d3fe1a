//! The bridge driver: one handle for everything that a network does to the host.

use crate::bridge::{self, Bridge};
use crate::endpoint::{self, Endpoint, EndpointConfig};
use crate::nft::{NftSocket, Transaction, elements, ruleset};
use crate::route::RouteSocket;
use crate::{Drops, Error, ForeignRule, Ipam, Netns, PortMap, Result, Subnet, conntrack, foreign};
use rustix::io::Errno;
use std::net::IpAddr;
use sys::trace;

/// The default bridge's name.
pub const DEFAULT_BRIDGE: &str = "tare0";
/// What all our bridges' names begin with: the static rules match it.
pub const BRIDGE_PREFIX: &str = "tare";
/// Docker's default, whatever the host's own links have; `--mtu` in the configuration changes it.
const DEFAULT_MTU: u32 = 1500;

/// A subnet on a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The subnet.
    pub subnet: Subnet,
    /// The bridge's own address in it.
    pub gateway: IpAddr,
}

impl Place {
    /// With Docker's choice for the gateway.
    pub fn first_of(subnet: Subnet) -> Self {
        Self { subnet, gateway: subnet.first_host() }
    }
}

/// What a bridge shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Its name, which begins with `tare`.
    pub name: String,
    /// Its MTU and that of its containers.
    pub mtu: u32,
    /// Its subnets, one of each family at most; none keeps the one of IPv4 that it has, or takes the first
    /// free default pool.
    pub places: Vec<Place>,
    /// Subnets of other networks, whose bridges may not be there now.
    pub reserved: Vec<Subnet>,
    /// Nothing goes out of it or comes in from elsewhere than the host.
    pub internal: bool,
    /// Its containers do not reach each other but by published ports.
    pub apart: bool,
    /// The host forwards: switched on where it is off.
    pub forward: bool,
    /// Tare has switched forwarding on earlier, of IPv4 and of IPv6: forwarding between others stays dropped.
    pub switched_on: [bool; 2],
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            name: DEFAULT_BRIDGE.to_owned(),
            mtu: DEFAULT_MTU,
            places: Vec::new(),
            reserved: Vec::new(),
            internal: false,
            apart: false,
            forward: true,
            switched_on: [false; 2],
        }
    }
}

/// What [`Network::open`] found of the nftables ruleset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It was there.
    Present,
    /// It was not: whatever runs must be published again.
    Fresh,
    /// Another version was there; its elements were taken over.
    Replaced,
}

/// A network that is ready.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub network: Network,
    /// Whether the bridge was made or given its address just now.
    pub bridge_created: bool,
    /// What became of the ruleset.
    pub ruleset: Installed,
    /// Whether forwarding of IPv4 and of IPv6 was switched on just now, for [`BridgeConfig::switched_on`].
    pub forwarding_switched_on: [bool; 2],
    /// Rules that were added to others' chains just now, for the journal.
    pub foreign_rules: Vec<ForeignRule>,
    /// Firewalls that may drop our packets and are left alone.
    pub warnings: Vec<Drops>,
}

/// A bridge network of the host in whose network namespace it was opened.
///
/// All functions may be repeated. [`Network::open`] and [`uninstall`] are to be called under the
/// network's lock; what belongs to one container (attach, publish and their opposites) is one
/// transaction of the kernel each and needs none.
#[derive(Debug)]
pub struct Network {
    route: RouteSocket,
    nft: NftSocket,
    bridge: Bridge,
}

impl Network {
    /// The default bridge's name.
    pub const DEFAULT_BRIDGE: &str = DEFAULT_BRIDGE;

    /// Makes sure of everything that does not belong to one container: the bridge, the ruleset, the
    /// sysctls, our rules in foreign firewalls.
    pub fn open(config: &BridgeConfig) -> Result<Opened> {
        if !config.name.starts_with(BRIDGE_PREFIX) {
            let reason = std::io::Error::from_raw_os_error(Errno::INVAL.raw_os_error());
            return Err(Error::kernel(
                format!("bridge name {:?}: it must begin with {BRIDGE_PREFIX}", config.name),
                reason,
            ));
        }
        let route = RouteSocket::open()?;
        let nft = NftSocket::open()?;
        let bridge = bridge::ensure(&route, config)?;
        let ruleset = match ruleset::ensure(&nft)? {
            ruleset::Found::Present => Installed::Present,
            ruleset::Found::Fresh => Installed::Fresh,
            ruleset::Found::Replaced => Installed::Replaced,
        };
        let network = Self { route, nft, bridge };
        network.declare(config)?;
        let ipv6 = network.place(true).is_some();
        let [earlier, earlier6] = config.switched_on;
        let forwarding_switched_on = [
            config.forward && network.forward(false, earlier)?,
            config.forward && ipv6 && network.forward(true, earlier6)?,
        ];
        network.spare_bridged_frames(ruleset)?;
        bridge::allow_route_localnet(&network.bridge.name)?;
        let (foreign_rules, warnings) = foreign::ensure(&network.nft, ipv6)?;
        let bridge_created = network.bridge.created;
        Ok(Opened { network, bridge_created, ruleset, forwarding_switched_on, foreign_rules, warnings })
    }

    /// Its subnet of IPv6, or of IPv4.
    pub fn place(&self, ipv6: bool) -> Option<Place> {
        self.bridge.places.iter().find(|p| p.subnet.is_ipv6() == ipv6).copied()
    }

    /// What is missing on the host of a network that is in use, of its ports (`plugged`: host-side interfaces) and of
    /// what is published, in words; nothing is changed.
    pub fn missing(config: &BridgeConfig, plugged: &[&str], maps: &[PortMap]) -> Result<Vec<String>> {
        let (route, nft) = (RouteSocket::open()?, NftSocket::open()?);
        let mut missing = Vec::new();
        let bridge = route.link(&config.name)?;
        match &bridge {
            None => missing.push(format!("the bridge {}", config.name)),
            Some(link) if !link.up => missing.push(format!("the bridge {} is down", config.name)),
            Some(link) => {
                let has = route.addresses_of(link.index)?;
                for place in config.places.iter().filter(|p| !has.iter().any(|a| a.address == p.gateway)) {
                    missing.push(format!("the address {} of the bridge {}", place.gateway, config.name));
                }
                for name in plugged {
                    if route.link(name)?.is_some_and(|port| port.master != Some(link.index)) {
                        missing.push(format!("the interface {name} on the bridge {}", config.name));
                    }
                }
            }
        }
        if ruleset::version(&nft)?.is_none() {
            missing.push(format!("the nftables table inet {}", ruleset::TABLE));
            return Ok(missing);
        }
        for place in &config.places {
            let [_, (own, element)] = elements::of_network(&config.name, place.subnet);
            if elements::get(&nft, own, &element[0])?.is_none() {
                missing.push(format!("the subnet {} in the nftables table", place.subnet));
            }
        }
        for (switched, (words, name)) in
            config.switched_on.iter().zip([(ruleset::V4, "IPv4"), (ruleset::V6, "IPv6")])
        {
            if *switched && !ruleset::has_foreign_drop(&nft, words)? {
                missing.push(format!("the drop of what others forward by {name}"));
            }
        }
        if config.internal
            && elements::get(&nft, ruleset::CLOSED, &elements::of_interface(&config.name))?.is_none()
        {
            missing.push(format!("the isolation of the internal network on {}", config.name));
        }
        for map in maps {
            for (set, element) in elements::of_port(map) {
                if elements::get(&nft, set, &element)?.is_none_or(|value| value != element.value) {
                    missing.push(format!("the published port {map}"));
                }
            }
        }
        if foreign::is_missing(&nft, config.places.iter().any(|p| p.subnet.is_ipv6()))? {
            missing.push("the accepting rules in a firewall that drops".to_owned());
        }
        Ok(missing)
    }

    /// The pool of that family that containers get their addresses from.
    pub fn ipam(&self, ipv6: bool) -> Option<Ipam> {
        self.place(ipv6).map(|place| Ipam::new(place.subnet, place.gateway))
    }

    /// The bridge's name.
    pub fn bridge(&self) -> &str {
        &self.bridge.name
    }

    /// The subnets that the host uses already: its addresses and routes.
    pub fn used_subnets(route: &RouteSocket) -> Result<Vec<Subnet>> {
        bridge::taken(route)
    }

    /// The MTU.
    pub fn mtu(&self) -> u32 {
        self.bridge.mtu
    }

    /// The host's links, addresses and routes.
    pub fn route(&self) -> &RouteSocket {
        &self.route
    }

    /// Makes a host-side interface a port of the bridge again, after somebody has deleted that.
    pub fn plug_in(&self, host_name: &str, publishes: bool, isolated: bool) -> Result<()> {
        endpoint::plug_in(&self.route, &self.bridge, host_name, publishes, isolated)
    }

    /// Connects a namespace: a veth pair, its addresses, its default routes.
    pub fn attach(&self, netns: &Netns, config: &EndpointConfig) -> Result<Endpoint> {
        endpoint::attach(&self.route, &self.bridge, netns, config)
    }

    /// Removes a host-side interface whose namespace may live on. Not for the path of an exit.
    pub fn detach(&self, host_name: &str) -> Result<()> {
        endpoint::detach(&self.route, host_name)
    }

    /// Takes a network's bridge away, and what the ruleset knows of it.
    pub fn remove(bridge: &str) -> Result<()> {
        let (route, nft) = (RouteSocket::open()?, NftSocket::open()?);
        if ruleset::version(&nft)?.is_some() {
            let mut transaction = Transaction::new();
            for subnet in elements::networks_of(&nft, bridge)? {
                for (set, list) in elements::of_network(bridge, subnet) {
                    elements::delete(&mut transaction, set, &list);
                }
            }
            for (set, element) in [
                (ruleset::CLOSED, elements::of_interface(bridge)),
                (ruleset::BRIDGED, elements::of_bridge(bridge)),
                elements::of_apart(bridge),
            ] {
                if elements::get(&nft, set, &element)?.is_some() {
                    elements::delete(&mut transaction, set, &[element]);
                }
            }
            transaction.commit(&nft)?;
        }
        route.delete_link(bridge)
    }

    /// Lets a namespace's default route go by one of its links.
    pub fn set_default_route(netns: &Netns, name: &str, gateway: IpAddr) -> Result<()> {
        match netns.route().link(name)? {
            Some(link) => netns.route().set_default(link.index, gateway),
            None => Err(Error::Answer("RTM_GETLINK inside a namespace")),
        }
    }

    /// Redirects ports, all of them or none. Mappings of IPv6 addresses are left to the shim.
    pub fn publish(&self, maps: &[PortMap]) -> Result<()> {
        let mut step = trace::step("nft elements", "NFT_MSG_NEWSETELEM");
        let mut transaction = Transaction::new();
        for map in maps {
            for (set, element) in elements::of_port(map) {
                step.note(format_args!("{map}"));
                elements::add(&mut transaction, set, &[element]);
            }
        }
        match transaction.commit(&self.nft) {
            Ok(()) => {}
            // Another value under the key: EBUSY, on newer kernels EEXIST.
            Err(e) if [Errno::BUSY, Errno::EXIST].iter().any(|n| e.errno() == n.raw_os_error()) => {
                step.fail(&e);
                return Err(self.taken(maps)?.map_or(e, |map| Error::PortAllocated(Box::new(map))));
            }
            Err(e) => return step.check(Err(e)),
        }
        drop(step);
        conntrack::absent_is_fine(conntrack::flush_stale_udp(&mut self.nft.socket(), maps)).map(drop)
    }

    /// Ends redirections; those that are gone, or belong to another container by now, are left alone.
    pub fn unpublish(&self, maps: &[PortMap]) -> Result<()> {
        let mut step = trace::step("nft elements", "NFT_MSG_DELSETELEM");
        let mut transaction = Transaction::new();
        for map in maps {
            for (set, element) in elements::of_port(map) {
                if elements::get(&self.nft, set, &element)?.is_some_and(|value| value == element.value) {
                    step.note(format_args!("{map}"));
                    elements::delete(&mut transaction, set, &[element]);
                }
            }
        }
        step.check(transaction.commit(&self.nft))
    }

    /// Whether a container of ours has that host port already; Docker's text differs from the one
    /// for a foreign process ([`Error::PortAllocated`], [`Error::Bind`]).
    pub fn is_published(&self, map: &PortMap) -> Result<bool> {
        for (set, element) in elements::of_port(map) {
            if elements::get(&self.nft, set, &element)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets all connections of an address, when its container is gone. Off the path: it walks the
    /// kernel's table. Returns how many there were.
    pub fn flush_connections(&self, address: IpAddr) -> Result<usize> {
        conntrack::absent_is_fine(conntrack::flush_address(&mut self.nft.socket(), address))
    }

    /// Tells the ruleset which subnets are the bridge's containers', and what kind of network it is.
    fn declare(&self, config: &BridgeConfig) -> Result<()> {
        let name = &self.bridge.name;
        let mut transaction = Transaction::new();
        let mut missing = Vec::new();
        for Place { subnet, .. } in &self.bridge.places {
            let [_, (own, element)] = elements::of_network(name, *subnet);
            if elements::get(&self.nft, own, &element[0])?.is_none() {
                missing.push(*subnet);
            }
        }
        if !missing.is_empty() {
            // A bridge of that name had another subnet before it was deleted by somebody.
            for subnet in elements::networks_of(&self.nft, name)? {
                if !self.bridge.places.iter().any(|p| p.subnet == subnet) {
                    for (set, list) in elements::of_network(name, subnet) {
                        elements::delete(&mut transaction, set, &list);
                    }
                }
            }
        }
        for subnet in missing {
            for (set, list) in elements::of_network(name, subnet) {
                elements::add(&mut transaction, set, &list);
            }
        }
        for ((set, element), wanted) in [
            ((ruleset::CLOSED, elements::of_interface(name)), config.internal),
            // Frames that br_netfilter shows stay on the bridge, also those to look for neighbours.
            ((ruleset::BRIDGED, elements::of_bridge(name)), config.internal),
            (elements::of_apart(name), config.apart),
        ] {
            match (elements::get(&self.nft, set, &element)?.is_some(), wanted) {
                (false, true) => elements::add(&mut transaction, set, &[element]),
                (true, false) => elements::delete(&mut transaction, set, &[element]),
                _ => {}
            }
        }
        let mut step = trace::step("nft elements", "NFT_MSG_NEWSETELEM");
        step.note(format_args!("{name}"));
        step.check(transaction.commit(&self.nft))
    }

    /// Switches forwarding of a family on where it is off, after what must not be forwarded is dropped.
    fn forward(&self, ipv6: bool, earlier: bool) -> Result<bool> {
        let words = if ipv6 { ruleset::V6 } else { ruleset::V4 };
        if bridge::forwarding(ipv6)? {
            // Somebody has taken the rules away meanwhile.
            if earlier && !ruleset::has_foreign_drop(&self.nft, words)? {
                ruleset::drop_foreign(&self.nft, words)?;
            }
            return Ok(false);
        }
        ruleset::drop_foreign(&self.nft, words)?;
        bridge::set_forwarding(ipv6, true)?;
        Ok(true)
    }

    /// Where br_netfilter shows bridged frames to the IPv4 hooks, those of foreign bridges must not be
    /// taken for forwarded packets. nf_tables cannot compare two interfaces, so they are listed.
    fn spare_bridged_frames(&self, ruleset: Installed) -> Result<()> {
        if !bridge::filters_frames() || (ruleset == Installed::Present && !self.has_foreign_drop()?) {
            return Ok(());
        }
        let bridges = self.route.links_of_kind("bridge")?;
        let foreign = bridges.iter().filter(|l| !l.name.starts_with(BRIDGE_PREFIX));
        let list: Vec<_> = foreign.map(|l| elements::of_bridge(&l.name)).collect();
        let mut transaction = Transaction::new();
        elements::add(&mut transaction, ruleset::BRIDGED, &list);
        transaction.commit(&self.nft)
    }

    fn has_foreign_drop(&self) -> Result<bool> {
        Ok(ruleset::has_foreign_drop(&self.nft, ruleset::V4)?
            || ruleset::has_foreign_drop(&self.nft, ruleset::V6)?)
    }

    /// The mapping whose port leads elsewhere already.
    fn taken(&self, maps: &[PortMap]) -> Result<Option<PortMap>> {
        for map in maps {
            for (set, element) in elements::of_port(map) {
                if elements::get(&self.nft, set, &element)?.is_some_and(|value| value != element.value) {
                    return Ok(Some(*map));
                }
            }
        }
        Ok(None)
    }
}

/// What [`uninstall`] removed, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uninstalled {
    /// Whether there was a table.
    pub table: bool,
    /// The bridges.
    pub bridges: Vec<String>,
    /// The chains of others that had rules of ours, once per rule.
    pub foreign_rules: Vec<ForeignRule>,
    /// Whether ip_forward was switched off again.
    pub forwarding_switched_off: bool,
    /// Bridges of other engines because of which ip_forward, which we had switched on, was left on.
    pub forwarding_needed_by: Vec<String>,
}

/// Takes everything away that a [`Network`] has put on the host; with `dry`, only says what.
pub fn uninstall(dry: bool) -> Result<Uninstalled> {
    let route = RouteSocket::open()?;
    let nft = NftSocket::open()?;
    let mut done = Uninstalled { foreign_rules: foreign::remove(&nft, dry)?, ..Uninstalled::default() };
    let links = route.links()?;
    done.table = ruleset::version(&nft)?.is_some();
    let engines = |name: &str| ruleset::ENGINES.iter().any(|prefix| name.starts_with(prefix));
    for (ipv6, words) in [(false, ruleset::V4), (true, ruleset::V6)] {
        if !done.table || !ruleset::has_foreign_drop(&nft, words)? || !bridge::forwarding(ipv6)? {
            continue;
        }
        done.forwarding_needed_by =
            links.iter().filter(|l| engines(&l.name)).map(|l| l.name.clone()).collect();
        done.forwarding_switched_off = done.forwarding_needed_by.is_empty();
        if done.forwarding_switched_off && !dry {
            bridge::set_forwarding(ipv6, false)?;
        }
    }
    for link in links {
        if link.name.starts_with(BRIDGE_PREFIX) && link.kind.as_deref() == Some("bridge") {
            // The bridge goes before the table that guards its route_localnet.
            if !dry {
                route.delete_link(&link.name)?;
            }
            done.bridges.push(link.name);
        }
    }
    if !dry {
        ruleset::remove(&nft)?;
    }
    Ok(done)
}
