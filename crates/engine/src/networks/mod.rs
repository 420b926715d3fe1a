//! Bridge networks: addresses, endpoints, published ports.
//!
//! A user-defined network is a row of `tare.db` ([`records`]), an address a row of `run.db`, an endpoint a part of
//! its container's task, a port a bound socket that the shim holds; everything else is the kernel's and may be
//! made or taken away twice. What changes the host happens under the `network` lock. A task's endpoints are noted
//! before they are made, so that their end is driven by the row.

mod default;
pub(crate) mod joined;
mod links;
mod live;
mod manage;
mod names;
mod ports;
pub(crate) mod records;

pub(crate) use links::Linked;
pub use live::Joining;
pub use manage::{CreateNetwork, NetworkInfo, Pool, PruneNetworks};
pub(crate) use names::has_resolver;
pub use records::{Membership, NetworkRecord};

use crate::config::Dns;
use crate::error::{Error, Kind, Result};
use crate::state::{Record, Task, TaskEndpoint};
use crate::{Engine, NetworkMode};
use net::{BridgeConfig, EndpointConfig, Ipam, Netns, NetnsCreation, Network, PortMap, Subnet};
use ports::{bind, port_maps, published, shim_port};
use rustix::fd::{AsFd, OwnedFd};
use std::net::{IpAddr, Ipv4Addr};

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
    /// Of the default one: the part of its subnet that containers get, and whether they are kept apart.
    range: Option<Subnet>,
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
        let icc = self.record.as_ref().and_then(|r| r.options.get(ICC));
        self.isolated || icc.is_some_and(|icc| icc.parse() == Ok(false))
    }

    fn ipam(&self) -> Ipam {
        let ipam = self.network.ipam();
        let range = self.record.as_ref().and_then(|r| r.range.parse().ok()).or(self.range);
        range.map_or(ipam.clone(), |range: Subnet| ipam.with_range(range))
    }

    /// Puts an endpoint into a namespace.
    fn attach(&self, netns: &Netns, endpoint: &TaskEndpoint, publishes: bool) -> Result<String> {
        let mac = endpoint.mac.parse().map_err(|_| Error::invalid("invalid MAC address"))?;
        let config = EndpointConfig {
            address: endpoint.address,
            mac,
            name: endpoint.link.clone(),
            publishes,
            default_route: endpoint.default_route,
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
        self.connect_bridges(record, &wanted, task, netns).map_err(|e| Error {
            message: format!("failed to set up container networking: {}", e.message),
            ..e
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
        choose_route(&mut task.endpoints);
        // Noted before they are made, so that the addresses are found again by the row.
        self.state()?.put_task(&record.id, task)?;
        drop(lock);
        let primary = task.endpoints.iter().position(|e| e.default_route);
        let bound = match primary {
            Some(at) => bind(
                &bridges[at].network,
                record,
                task.endpoints[at].address,
                self.default_host_ip(bridges[at].name()),
            )
            .map_err(|message| connectivity(record, &task.endpoints[at], &message))?,
            None => Vec::new(),
        };
        let netns = netns.finish()?;
        for (endpoint, bridge) in task.endpoints.iter_mut().zip(&bridges) {
            let publishes = endpoint.default_route && !bound.is_empty();
            endpoint.host_link = bridge.attach(&netns, endpoint, publishes)?;
            if publishes {
                endpoint.ports = bound.iter().map(|b| published(&b.map)).collect();
            }
        }
        self.state()?.put_task(&record.id, task)?;
        let maps: Vec<PortMap> = bound.iter().map(|b| b.map).collect();
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

    /// With the network lock held: an address for a container, as an endpoint that is to be made.
    fn new_endpoint(
        &self,
        bridge: &Bridge,
        container: &str,
        wish: &Membership,
        link: String,
    ) -> Result<TaskEndpoint> {
        check_wish(bridge, wish)?;
        let address = self.allocate(bridge, container, wish.address)?;
        let mac = match &wish.mac {
            Some(mac) => mac.clone(),
            None => bridge.network.ipam().mac(address).to_string(),
        };
        Ok(TaskEndpoint {
            network: bridge.id(),
            network_name: bridge.name().to_string(),
            link,
            default_route: false,
            internal: bridge.internal(),
            priority: wish.priority,
            address,
            prefix: bridge.network.subnet().prefix(),
            gateway: bridge.network.gateway(),
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
                "host-gateway" => IpAddr::V4(
                    match task.endpoints.iter().find(|endpoint| endpoint.network_name == DEFAULT) {
                        Some(endpoint) => endpoint.gateway,
                        None => {
                            let _lock = self.paths().lock("network")?;
                            self.open_bridge(DEFAULT)?.network.gateway()
                        }
                    },
                ),
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

    /// Opens a network by name or id, with the network lock held; after a flush of the ruleset publishes again
    /// what runs.
    fn open_bridge(&self, name: &str) -> Result<Bridge> {
        let is_default = name == DEFAULT || name == network_id(DEFAULT);
        let (record, config) = if is_default {
            // The default bridge takes a pool with its first use only.
            (None, self.default_bridge()?)
        } else {
            let found = self.state()?.networks()?.into_iter().find(|n| n.name == name || n.id == name);
            let found = found.ok_or_else(|| not_found(name))?;
            let forward = self.settings().switch("ip-forward") != Some(false);
            let config = BridgeConfig { forward, ..bridge_config(&found)? };
            (Some(found), config)
        };
        let opened = Network::open(&config)?;
        for warning in &opened.warnings {
            tracing::warn!(hint = warning.hint(), "a firewall may drop containers' packets");
        }
        if opened.ruleset == net::Installed::Fresh {
            self.publish_again(&opened.network)?;
        }
        let range = if is_default { self.default_range() } else { None };
        let isolated = is_default && self.settings().switch("icc") == Some(false);
        Ok(Bridge { network: opened.network, record, range, isolated })
    }

    /// The subnets of the networks that have a row.
    fn reserved(&self) -> Result<Vec<Subnet>> {
        Ok(self.state()?.networks()?.iter().filter_map(|n| n.subnet.parse().ok()).collect())
    }

    fn publish_again(&self, network: &Network) -> Result<()> {
        let mut maps = Vec::new();
        let mut others = std::collections::BTreeSet::new();
        for (_, task) in self.state()?.tasks()? {
            for endpoint in task.endpoints {
                maps.extend(port_maps(&endpoint));
                others.insert(endpoint.network_name);
            }
        }
        if !maps.is_empty() {
            network.publish(&maps)?;
        }
        for record in self.state()?.networks()?.iter().filter(|n| others.contains(&n.name)) {
            // Its subnet belongs into the ruleset too.
            Network::open(&bridge_config(record)?)?;
        }
        Ok(())
    }

    /// The address is the database's: chosen and taken in one transaction. Addresses are kept as
    /// numbers, so that the common case (one that was never given) is one look at the highest.
    fn allocate(&self, bridge: &Bridge, container: &str, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
        let (ipam, key) = (bridge.ipam(), bridge.key());
        let auxiliary = bridge.record.iter().flat_map(|r| r.auxiliary.values().copied());
        let auxiliary: Vec<Ipv4Addr> = auxiliary.collect();
        self.state()?.run()?.write(|t| {
            let address = match wanted {
                Some(wanted) => {
                    let mut known = usage(t, key)?;
                    known.used.extend(&auxiliary);
                    ipam.check(wanted, &known)?;
                    wanted
                }
                None => {
                    let highest = "SELECT max(address) FROM addresses WHERE network = ?1";
                    let highest =
                        t.query_one(highest, &[key.into()], |r| Ok::<_, Error>(r.opt_int(0)?))?.flatten();
                    match ipam.after(highest.and_then(address_of)).filter(|a| !auxiliary.contains(a)) {
                        Some(fresh) => fresh,
                        None => {
                            let mut known = usage(t, key)?;
                            known.used.extend(&auxiliary);
                            ipam.candidate(&known).map_err(|e| {
                                let message = format!("{}: {} ({})", e, bridge.name(), bridge.id());
                                Error { message, ..Error::from(e) }
                            })?
                        }
                    }
                }
            };
            let sql = "INSERT INTO addresses VALUES (?1, ?2, ?3, NULL)
                       ON CONFLICT (network, address) DO UPDATE SET container = ?3, freed = NULL";
            t.execute(sql, &[key.into(), i64::from(address.to_bits()).into(), container.into()])?;
            Ok(address)
        })
    }

    /// When no container has an address, whatever is in the host's tables was left by a run root that is gone.
    pub(crate) fn clear_network_if_unused(&self) -> Result<()> {
        let _lock = self.paths().lock("network")?;
        let sql = "SELECT 1 FROM addresses WHERE container IS NOT NULL LIMIT 1";
        let used = self.state()?.run()?.read(|t| t.query_one(sql, &[], |r| Ok::<_, Error>(r.int(0)?)))?;
        if used.is_none() {
            net::uninstall(false)?;
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
        let lock = self.paths().lock("network")?;
        let bridge = self.open_bridge(&endpoint.network)?;
        drop(lock);
        bridge.network.unpublish(&maps)?;
        bridge.network.flush_connections(endpoint.address)?;
        Ok(())
    }
}

/// The default route goes by the network of the highest priority, of several the first by name; an internal one
/// has none. Returns whether it goes elsewhere than before.
fn choose_route(endpoints: &mut [TaskEndpoint]) -> bool {
    let best = endpoints.iter().filter(|e| !e.internal);
    let best = best.min_by_key(|e| (std::cmp::Reverse(e.priority), e.network_name.clone()));
    let best = best.map(|e| e.network.clone());
    let mut changed = false;
    for endpoint in endpoints {
        let is = Some(&endpoint.network) == best.as_ref();
        changed |= is != endpoint.default_route;
        endpoint.default_route = is;
    }
    changed
}

fn check_wish(bridge: &Bridge, wish: &Membership) -> Result<()> {
    let own_subnet = bridge.record.as_ref().map(|r| r.own_subnet);
    match (wish.address, own_subnet) {
        (Some(_), None) => {
            return Err(Error::invalid(
                "invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only",
            ));
        }
        (Some(_), Some(false)) => {
            return Err(Error::invalid(format!(
                "invalid config for network {}: invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
                bridge.name()
            )));
        }
        _ => {}
    }
    if own_subnet.is_none() && !wish.aliases.is_empty() {
        return Err(Error::invalid(
            "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks",
        ));
    }
    Ok(())
}

fn connectivity(record: &Record, endpoint: &TaskEndpoint, message: &str) -> Error {
    let (name, id) = (&record.name, &endpoint.endpoint_id);
    Error::new(
        Kind::Internal,
        format!("driver failed programming external connectivity on endpoint {name} ({id}): {message}"),
    )
}

/// What the bridge of a network shall be.
fn bridge_config(record: &NetworkRecord) -> Result<BridgeConfig> {
    let mtu = record.options.get(MTU).and_then(|mtu| mtu.parse().ok()).filter(|mtu| *mtu > 0);
    let subnet = record.subnet.parse().map_err(|e: net::ParseSubnetError| Error::invalid(e.to_string()))?;
    let default = BridgeConfig::default();
    Ok(BridgeConfig {
        name: bridge_name(record),
        mtu: mtu.unwrap_or(default.mtu),
        subnet: Some(subnet),
        gateway: Some(record.gateway),
        internal: record.internal,
        ..default
    })
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

/// What the table knows, the longest free address first.
fn usage(t: &db::Transaction<'_>, network: &str) -> Result<net::Usage> {
    let mut usage = net::Usage::default();
    let sql = "SELECT address, container FROM addresses WHERE network = ?1 ORDER BY freed";
    for (address, holder) in
        t.query(sql, &[network.into()], |r| Ok::<_, Error>((r.int(0)?, r.opt_text(1)?)))?
    {
        match (address_of(address), holder) {
            (Some(address), Some(_)) => drop(usage.used.insert(address)),
            (Some(address), None) => usage.freed.push(address),
            (None, _) => {}
        }
    }
    Ok(usage)
}

fn address_of(number: i64) -> Option<Ipv4Addr> {
    u32::try_from(number).ok().map(Ipv4Addr::from_bits)
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

fn bridge_subnet() -> Option<(String, String)> {
    let route = net::route::RouteSocket::open().ok()?;
    let link = route.link("tare0").ok()??;
    let address =
        route.addresses().ok()?.into_iter().find(|a| a.index == link.index && a.address.is_ipv4())?;
    let IpAddr::V4(own) = address.address else { return None };
    let mask = u32::MAX.checked_shl(32 - u32::from(address.prefix)).unwrap_or(0);
    let base = Ipv4Addr::from_bits(own.to_bits() & mask);
    Some((format!("{base}/{}", address.prefix), own.to_string()))
}
