//! Bridge networks: addresses, endpoints, published ports.
//!
//! A user-defined network is a row of `tare.db` ([`records`]), an address a row of `run.db`, an endpoint a part of
//! its container's task, a port a bound socket that the shim holds; everything else is the kernel's and may be
//! made or taken away twice. What changes the host happens under the `network` lock. A task's endpoints are noted
//! before they are made, so that their end is driven by the row.

mod addresses;
mod create;
mod default;
mod heal;
pub(crate) mod joined;
mod links;
mod live;
mod manage;
mod names;
mod ports;
pub(crate) mod records;

pub use create::{CreateNetwork, Pool};
pub(crate) use links::Linked;
pub use live::Joining;
pub use manage::{NetworkInfo, PruneNetworks};
pub(crate) use names::has_resolver;
pub use records::{Membership, NetworkRecord, PoolRecord};

use crate::config::Dns;
use crate::error::{Error, Kind, Result};
use crate::state::{Record, Task, TaskEndpoint};
use crate::{Engine, NetworkMode};
use net::{
    BridgeConfig, EndpointConfig, Ipam, MacAddr, Netns, NetnsCreation, Network, Place, PortMap, Subnet,
};
use ports::{Targets, bind, deal, port_maps, published, shim_port};
use rustix::fd::{AsFd, OwnedFd};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The default network's name, also in the table of addresses.
const DEFAULT: &str = "bridge";
/// In a container's folder: the digest of the `resolv.conf` that was written last.
pub(crate) const RESOLV_CONF_HASH: &str = "resolv.conf.hash";
const MTU: &str = "com.docker.network.driver.mtu";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// A container's network before its shim has it.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    /// Its namespace; `None` with the host's.
    pub netns: Option<Netns>,
    /// One bound socket per published address and port.
    pub sockets: Vec<OwnedFd>,
    /// What the shim does with each.
    pub ports: Vec<shim::config::Port>,
    /// Where the container asks for names.
    pub resolver: Option<net::resolver::Listening>,
}

/// A network that is open, with what its row says; the default one has no row.
#[derive(Debug)]
struct Bridge {
    network: Network,
    record: Option<NetworkRecord>,
    /// Of the default one: the part of its subnet that containers get.
    range: Option<Subnet>,
    /// Containers are kept apart.
    isolated: bool,
}

impl Bridge {
    fn id(&self) -> String {
        self.record.as_ref().map_or_else(|| network_id(DEFAULT), |r| r.id.clone())
    }

    fn name(&self) -> &str {
        self.record.as_ref().map_or(DEFAULT, |r| &r.name)
    }

    /// The key of its rows in the table of addresses.
    fn key(&self) -> &str {
        self.record.as_ref().map_or(DEFAULT, |r| &r.id)
    }

    fn internal(&self) -> bool {
        self.record.as_ref().is_some_and(|r| r.internal)
    }

    fn isolates(&self) -> bool {
        self.isolated
    }

    fn ipam(&self, ipv6: bool) -> Option<Ipam> {
        let ipam = self.network.ipam(ipv6)?;
        let range = self.record.as_ref().and_then(|r| r.pool(ipv6)?.range.parse().ok());
        let range = range.or(self.range.filter(|_| !ipv6));
        Some(range.map_or(ipam.clone(), |range: Subnet| ipam.with_range(range)))
    }

    /// Puts an endpoint into a namespace.
    fn attach(&self, netns: &Netns, endpoint: &TaskEndpoint, publishes: bool) -> Result<String> {
        let mac = endpoint.mac.parse().map_err(|_| Error::invalid("invalid MAC address"))?;
        let config = EndpointConfig {
            addresses: endpoint.addresses().collect(),
            mac,
            name: endpoint.link.clone(),
            publishes,
            default_route: [endpoint.default_route, endpoint.default_route6],
            isolated: self.isolates(),
        };
        Ok(self.network.attach(netns, &config)?.host_name)
    }
}

impl Engine {
    /// Gives a container its networks; what is made is noted in `task` as it is made. `netns` is on its way;
    /// `None` with the host's.
    pub(crate) fn connect(
        &self,
        record: &Record,
        task: &mut Task,
        netns: Option<NetnsCreation>,
    ) -> Result<Connected> {
        let Some(netns) = netns else { return Ok(Connected::default()) };
        let mut wanted = record.memberships();
        wanted.remove(NetworkMode::None.as_str());
        if wanted.is_empty() {
            return Ok(Connected { netns: Some(netns.finish()?), ..Connected::default() });
        }
        self.connect_bridges(record, &wanted, task, netns).map_err(|e| match e.message.as_str() {
            text if text.starts_with("invalid config for network ") => e,
            text => Error { message: format!("failed to set up container networking: {text}"), ..e },
        })
    }

    fn connect_bridges(
        &self,
        record: &Record,
        wanted: &std::collections::BTreeMap<String, Membership>,
        task: &mut Task,
        netns: NetnsCreation,
    ) -> Result<Connected> {
        // The network of the container's mode is its eth0, the others follow by name.
        let first = record.host.network.as_str();
        let mut order: Vec<(&String, &Membership)> = wanted.iter().collect();
        order.sort_by_key(|(name, _)| *name != first);
        let lock = self.paths().lock("network")?;
        let mut bridges = Vec::new();
        for (number, (name, wish)) in order.into_iter().enumerate() {
            let bridge = self.open_bridge(name)?;
            let endpoint = self.new_endpoint(&bridge, &record.id, wish, format!("eth{number}"))?;
            task.endpoints.push(endpoint);
            bridges.push(bridge);
        }
        choose_routes(&mut task.endpoints);
        // Noted before they are made, so that the addresses are found again by the row.
        self.state()?.put_task(&record.id, task)?;
        drop(lock);
        let targets = Targets::of(&task.endpoints);
        let primary = task.endpoints.iter().position(|e| e.default_route || e.default_route6);
        let bound = match primary {
            Some(at) => {
                let default = self.default_host_ip(bridges[at].name());
                bind(&bridges[at].network, record, targets, default)
                    .map_err(|message| connectivity(record, &task.endpoints[at], &message))?
            }
            None => Vec::new(),
        };
        let netns = netns.finish()?;
        let maps: Vec<PortMap> = bound.iter().map(|b| b.map).collect();
        task.held = maps.iter().map(published).collect();
        deal(&task.held, &mut task.endpoints);
        for (endpoint, bridge) in task.endpoints.iter_mut().zip(&bridges) {
            endpoint.host_link = bridge.attach(&netns, endpoint, !endpoint.ports.is_empty())?;
        }
        self.state()?.put_task(&record.id, task)?;
        if let Some(at) = primary.filter(|_| !maps.is_empty()) {
            bridges[at]
                .network
                .publish(&maps)
                .map_err(|e| connectivity(record, &task.endpoints[at], &e.docker_message()))?;
        }
        let ports = maps.iter().map(shim_port).collect();
        let resolver = has_resolver(task).then(|| net::resolver::listen(netns.as_fd())).transpose()?;
        let sockets = bound.into_iter().map(|b| b.socket).collect();
        Ok(Connected { netns: Some(netns), sockets, ports, resolver })
    }

    /// With the network lock held: addresses for a container, as an endpoint that is to be made.
    fn new_endpoint(
        &self,
        bridge: &Bridge,
        container: &str,
        wish: &Membership,
        link: String,
    ) -> Result<TaskEndpoint> {
        check_wish(bridge, wish).map_err(|text| {
            Error::invalid(format!("invalid config for network {}: {text}", bridge.name()))
        })?;
        let address = self.allocate(bridge, container, false, wish.address.map(IpAddr::V4))?;
        let address6 = self.allocate(bridge, container, true, wish.address6.map(IpAddr::V6))?;
        let mac = match (&wish.mac, address.or(address6)) {
            (Some(mac), _) => mac.clone(),
            (None, Some(address)) => MacAddr::from_ip(address).to_string(),
            (None, None) => return Err(Error::new(Kind::Internal, "the network has no addresses")),
        };
        let (place, place6) = (bridge.network.place(false), bridge.network.place(true));
        let prefix = |place: Option<Place>| place.map_or(0, |p| p.subnet.prefix());
        Ok(TaskEndpoint {
            network: bridge.id(),
            network_name: bridge.name().to_string(),
            link,
            default_route: false,
            default_route6: false,
            internal: bridge.internal(),
            priority: wish.priority,
            address: address.and_then(v4),
            prefix: prefix(place),
            gateway: place.and_then(|p| v4(p.gateway)),
            address6: address6.and_then(v6),
            prefix6: prefix(place6),
            gateway6: place6.and_then(|p| v6(p.gateway)),
            mac,
            host_link: String::new(),
            endpoint_id: crate::containers::new_id()?,
            ports: Vec::new(),
        })
    }

    /// An event of a network; `container`: who joins or leaves it.
    pub(crate) fn tell_network(
        &self,
        (id, name, driver): (&str, &str, &str),
        action: &str,
        container: Option<&str>,
    ) {
        let pairs = [("name", Some(name)), ("type", Some(driver)), ("container", container)];
        let attributes =
            pairs.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?.to_string())));
        crate::events::publish(self, "network", action, id, &attributes.collect());
    }

    /// The same for all networks of a task.
    pub(crate) fn tell_networks(&self, record: &Record, task: &Task, action: &str) {
        let driver = match record.host.network {
            NetworkMode::Host => "host",
            NetworkMode::None => "null",
            _ => "bridge",
        };
        if driver != "bridge" {
            let name = record.host.network.as_str();
            self.tell_network((&network_id(name), name, driver), action, Some(&record.id));
        }
        for endpoint in &task.endpoints {
            self.tell_network((&endpoint.network, &endpoint.network_name, driver), action, Some(&record.id));
        }
    }

    /// `--add-host`, with the default bridge's address, or that of the settings, in place of `host-gateway`.
    pub(crate) fn extra_hosts(&self, dns: &Dns, task: &Task) -> Result<Vec<(String, IpAddr)>> {
        let one = |entry: &String| {
            let (name, address) = entry.split_once([':', '=']).unwrap_or((entry, ""));
            let gateways = self.host_gateways();
            if address == "host-gateway" && !gateways.is_empty() {
                return Ok(gateways.into_iter().map(|address| (name.to_string(), address)).collect());
            }
            let address = match address {
                "host-gateway" => match task.endpoints.iter().find(|e| e.network_name == DEFAULT) {
                    Some(TaskEndpoint { gateway: Some(gateway), .. }) => IpAddr::V4(*gateway),
                    _ => {
                        let _lock = self.paths().lock("network")?;
                        let place = self.open_bridge(DEFAULT)?.network.place(false);
                        place
                            .ok_or_else(|| Error::new(Kind::Internal, "the default bridge has no address"))?
                            .gateway
                    }
                },
                text => text
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .parse()
                    .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {text:?}")))?,
            };
            Ok(vec![(name.to_string(), address)])
        };
        let all: Result<Vec<Vec<_>>> = dns.extra_hosts.iter().map(one).collect();
        all.map(|lists| lists.into_iter().flatten().collect())
    }

    /// Opens a network by name or id, with the network lock held; brings back what somebody has taken
    /// away from what runs.
    fn open_bridge(&self, name: &str) -> Result<Bridge> {
        let is_default = name == DEFAULT || name == network_id(DEFAULT);
        let (record, config) = if is_default {
            // The default bridge takes a pool with its first use only.
            (None, self.default_bridge()?)
        } else {
            let found = self.state()?.networks()?.into_iter().find(|n| n.name == name || n.id == name);
            let found = found.ok_or_else(|| not_found(name))?;
            let forward = self.settings().switch("ip-forward") != Some(false);
            let config = BridgeConfig { forward, ..bridge_config(&found) };
            (Some(found), config)
        };
        let config = BridgeConfig { switched_on: self.has_switched_on()?, ..config };
        let opened = Network::open(&config)?;
        for warning in &opened.warnings {
            tracing::warn!(hint = warning.hint(), "a firewall may drop containers' packets");
        }
        self.note_forwarding(opened.forwarding_switched_on)?;
        // Somebody has taken away what running containers need.
        if opened.ruleset == net::Installed::Fresh {
            self.restore(None)?;
        } else if opened.bridge_created {
            let id = record.as_ref().map_or_else(|| network_id(DEFAULT), |r| r.id.clone());
            self.restore(Some(&id))?;
        }
        let range = if is_default { self.default_range() } else { None };
        let isolated = config.apart;
        Ok(Bridge { network: opened.network, record, range, isolated })
    }

    /// The subnets of the networks that have a row.
    fn reserved(&self) -> Result<Vec<Subnet>> {
        Ok(self.state()?.networks()?.iter().flat_map(NetworkRecord::subnets).collect())
    }

    /// When no container has an address, whatever is in the host's tables was left by a run root that is gone.
    pub(crate) fn clear_network_if_unused(&self) -> Result<()> {
        let _lock = self.paths().lock("network")?;
        let sql = "SELECT 1 FROM addresses WHERE container IS NOT NULL LIMIT 1";
        let used = self.state()?.run()?.read(|t| t.query_one(sql, &[], |r| Ok::<_, Error>(r.int(0)?)))?;
        if used.is_none() {
            net::uninstall(false)?;
            self.forget_forwarding()?;
        }
        Ok(())
    }

    /// Takes a task's published ports away. The addresses are freed with the row; the veth pairs go with the
    /// namespace, whose last descriptor the shim closes.
    pub(crate) fn disconnect(&self, id: &str, task: &Task) -> Result<()> {
        for endpoint in &task.endpoints {
            self.unpublish(endpoint)?;
        }
        // The address is somebody else's next: it must not stay with those who have joined and still run.
        if !task.endpoints.is_empty() && self.state()?.is_joined(id)? {
            for endpoint in task.endpoints.iter().filter(|e| !e.host_link.is_empty()) {
                let lock = self.paths().lock("network")?;
                let bridge = self.open_bridge(&endpoint.network)?;
                drop(lock);
                bridge.network.detach(&endpoint.host_link)?;
            }
        }
        Ok(())
    }

    fn unpublish(&self, endpoint: &TaskEndpoint) -> Result<()> {
        let maps = port_maps(endpoint);
        if maps.is_empty() {
            return Ok(());
        }
        // Until it is gone: who mends reads rows that still say it.
        let lock = self.paths().lock("network")?;
        let bridge = self.open_bridge(&endpoint.network)?;
        bridge.network.unpublish(&maps)?;
        drop(lock);
        for address in endpoint.addresses() {
            bridge.network.flush_connections(address)?;
        }
        Ok(())
    }
}

/// The default routes go by the network of the highest priority, of several the first by name; an internal one has
/// none. As with dockerd, the first network of both families serves both, before any of one family.
fn choose_routes(endpoints: &mut [TaskEndpoint]) {
    let mut order: Vec<usize> = (0..endpoints.len()).filter(|at| !endpoints[*at].internal).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(endpoints[*at].priority), endpoints[*at].network_name.clone()));
    let first = |test: &dyn Fn(&TaskEndpoint) -> bool| order.iter().copied().find(|at| test(&endpoints[*at]));
    let both = first(&|e| e.address.is_some() && e.address6.is_some());
    let route = both.or_else(|| first(&|e| e.address.is_some()));
    let route6 = both.or_else(|| first(&|e| e.address6.is_some()));
    for (at, endpoint) in endpoints.iter_mut().enumerate() {
        endpoint.default_route = route == Some(at);
        endpoint.default_route6 = route6 == Some(at);
    }
}

/// Docker's texts for what cannot be had of a network.
fn check_wish(bridge: &Bridge, wish: &Membership) -> std::result::Result<(), String> {
    let mut wrong = Vec::new();
    let wanted = [wish.address.map(IpAddr::V4), wish.address6.map(IpAddr::V6)];
    let wanted: Vec<IpAddr> = wanted.into_iter().flatten().collect();
    if !wanted.is_empty() && bridge.record.is_none() {
        wrong.push("user specified IP address is supported on user defined networks only".to_string());
    }
    for address in wanted {
        let pool = bridge.record.as_ref().and_then(|r| r.pool(address.is_ipv6()));
        match pool.filter(|p| p.own_subnet) {
            None => wrong.push(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
                    .to_string(),
            ),
            Some(pool) if !pool.subnet.parse::<Subnet>().is_ok_and(|s| s.contains(address)) => {
                wrong.push(format!("no configured subnet or ip-range contain the IP address {address}"));
            }
            Some(_) => {}
        }
    }
    if bridge.record.is_none() && !wish.aliases.is_empty() {
        wrong.push(
            "network-scoped alias is supported only for containers in user defined networks".to_string(),
        );
    }
    joined("invalid endpoint settings", &wrong)
}

/// Several errors as Docker shows them: one on a line of its own, several as a list.
fn joined(title: &str, wrong: &[String]) -> std::result::Result<(), String> {
    match wrong {
        [] => Ok(()),
        [one] => Err(format!("{title}:\n{one}")),
        several => Err(format!("{title}:\n* {}", several.join("\n* "))),
    }
}

const fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

const fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

fn connectivity(record: &Record, endpoint: &TaskEndpoint, message: &str) -> Error {
    let (name, id) = (&record.name, &endpoint.endpoint_id);
    Error::new(
        Kind::Internal,
        format!("driver failed programming external connectivity on endpoint {name} ({id}): {message}"),
    )
}

/// What the bridge of a network shall be.
fn bridge_config(record: &NetworkRecord) -> BridgeConfig {
    let mtu = record.options.get(MTU).and_then(|mtu| mtu.parse().ok()).filter(|mtu| *mtu > 0);
    let default = BridgeConfig::default();
    BridgeConfig {
        name: bridge_name(record),
        mtu: mtu.unwrap_or(default.mtu),
        places: record.places(),
        internal: record.internal,
        apart: is_apart(record),
        ..default
    }
}

/// `icc=false`
fn is_apart(record: &NetworkRecord) -> bool {
    record.options.get(ICC).is_some_and(|icc| icc.parse() == Ok(false))
}

/// A link's name has 15 bytes: `tare-` and ten digits of the id, unless it is given.
fn bridge_name(record: &NetworkRecord) -> String {
    let given = record.options.get(BRIDGE_NAME).filter(|name| !name.is_empty());
    given.cloned().unwrap_or_else(|| format!("tare-{}", &record.id[..10]))
}

fn not_found(word: &str) -> Error {
    Error::not_found(format!("network {word} not found"))
}

fn exists(name: &str) -> Error {
    Error::conflict(format!("network with name {name} already exists"))
}

/// Docker's ids are random per host; these are the same everywhere and no worse.
pub fn network_id(name: &str) -> String {
    oci::Digest::sha256(format!("tare network {name}").as_bytes()).hex().to_string()
}

/// A container's `resolv.conf`; `resolver`: it asks one of ours.
pub(crate) fn resolv_conf(network: &NetworkMode, dns: &Dns, resolver: bool) -> Result<Vec<u8>> {
    let servers = names::parse_servers(dns)?;
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let host = read("/etc/resolv.conf");
    let path = if resolver { "/etc/resolv.conf" } else { net::resolv::source_path(&host) };
    let host = if path == "/etc/resolv.conf" { host } else { read(path) };
    let namespace = match network {
        NetworkMode::Host => net::resolv::Namespace::Host,
        _ if resolver => net::resolv::Namespace::Resolver,
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Named(_) | NetworkMode::Container(_) => {
            net::resolv::Namespace::Own { ipv6: false }
        }
    };
    let overrides = net::resolv::Overrides { servers: &servers, search: &dns.search, options: &dns.options };
    if *network == NetworkMode::Host && *dns == Dns::default() {
        return Ok(read("/etc/resolv.conf"));
    }
    Ok(net::resolv::build(&host, path, namespace, &overrides))
}

/// The default bridge's subnet, once it is there.
fn bridge_place() -> Option<Place> {
    let route = net::route::RouteSocket::open().ok()?;
    let link = route.link(Network::DEFAULT_BRIDGE).ok()??;
    let own = |a: &net::route::Address| a.index == link.index && a.address.is_ipv4();
    let address = route.addresses().ok()?.into_iter().find(own)?;
    Some(Place { subnet: Subnet::containing(address.address, address.prefix)?, gateway: address.address })
}
