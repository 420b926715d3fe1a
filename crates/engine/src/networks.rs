//! The default bridge: addresses, endpoints, published ports.
//!
//! An address is a row of `run.db`; a port is a bound socket that the shim holds; everything else
//! is the kernel's and may be made or taken away twice. What changes the host happens under the
//! `network` lock.

use crate::config::Dns;
use crate::error::{Error, Kind, Result};
use crate::state::{PublishedPort, Record, Task, TaskEndpoint};
use crate::{Engine, NetworkMode};
use net::{BoundPort, EndpointConfig, Netns, NetnsCreation, Network, PortMap, PortRequest};
use rustix::fd::OwnedFd;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// The default network's name in the tables.
const DEFAULT: &str = "bridge";

/// A container's network before its shim has it.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    /// Its namespace; `None` with the host's.
    pub netns: Option<Netns>,
    /// One bound socket per published address and port.
    pub sockets: Vec<OwnedFd>,
    /// What the shim does with each.
    pub ports: Vec<shim::config::Port>,
}

/// A network as the doors see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// `bridge`, `host` or `none`.
    pub name: &'static str,
    /// Docker's driver word.
    pub driver: &'static str,
    /// 64 hexadecimal digits, the same on every host.
    pub id: String,
    /// Subnet and gateway, once the bridge is there.
    pub subnet: Option<(String, String)>,
}

impl Engine {
    /// The networks there are.
    pub fn networks(&self) -> Vec<NetworkInfo> {
        let subnet = bridge_subnet();
        [("bridge", "bridge"), ("host", "host"), ("none", "null")]
            .map(|(name, driver)| NetworkInfo {
                name,
                driver,
                id: network_id(name),
                subnet: subnet.clone().filter(|_| name == "bridge"),
            })
            .into()
    }

    /// Gives a container its network; what is made is noted in `task` as it is made. `netns` is on its way;
    /// `None` with the host's.
    pub(crate) fn connect(
        &self,
        record: &Record,
        task: &mut Task,
        netns: Option<NetnsCreation>,
    ) -> Result<Connected> {
        let Some(netns) = netns else { return Ok(Connected::default()) };
        if record.host.network != NetworkMode::Bridge {
            return Ok(Connected { netns: Some(netns.finish()?), ..Connected::default() });
        }
        self.connect_bridge(record, task, netns).map_err(|e| Error {
            message: format!("failed to set up container networking: {}", e.message),
            ..e
        })
    }

    fn connect_bridge(&self, record: &Record, task: &mut Task, netns: NetnsCreation) -> Result<Connected> {
        let lock = self.paths().lock("network")?;
        let network = self.open_network()?;
        let address = self.allocate(&network, &record.id)?;
        drop(lock);
        let mac = network.ipam().mac(address);
        let mut endpoint = TaskEndpoint {
            address,
            prefix: network.subnet().prefix(),
            gateway: network.gateway(),
            mac: mac.to_string(),
            host_link: String::new(),
            endpoint_id: crate::containers::new_id()?,
            ports: Vec::new(),
        };
        // Noted before it is made, so that the address is found again by the row.
        task.endpoint = Some(endpoint.clone());
        self.state()?.put_task(&record.id, task)?;
        let bound = bind(&network, record, address).map_err(|message| {
            let context = format!(
                "driver failed programming external connectivity on endpoint {} ({})",
                record.name, endpoint.endpoint_id
            );
            Error::new(Kind::Internal, format!("{context}: {message}"))
        })?;
        let netns = netns.finish()?;
        let made = network.attach(
            &netns,
            &EndpointConfig { address, mac, name: "eth0".to_string(), publishes: !bound.is_empty() },
        )?;
        endpoint.host_link = made.host_name;
        endpoint.ports = bound.iter().map(|b| published(&b.map)).collect();
        task.endpoint = Some(endpoint);
        self.state()?.put_task(&record.id, task)?;
        let maps: Vec<PortMap> = bound.iter().map(|b| b.map).collect();
        if !maps.is_empty() {
            network.publish(&maps).map_err(|e| {
                let context =
                    format!("driver failed programming external connectivity on endpoint {}", record.name);
                Error::new(Kind::Internal, format!("{context}: {}", e.docker_message()))
            })?;
        }
        let ports = maps.iter().map(shim_port).collect();
        Ok(Connected { netns: Some(netns), sockets: bound.into_iter().map(|b| b.socket).collect(), ports })
    }

    /// Opens the default network; after a flush of the ruleset publishes again what runs.
    /// `--add-host`, with the bridge's address in place of `host-gateway`.
    pub(crate) fn extra_hosts(&self, dns: &Dns, task: &Task) -> Result<Vec<(String, IpAddr)>> {
        let one = |entry: &String| {
            let (name, address) = entry.split_once([':', '=']).unwrap_or((entry, ""));
            let address = match address {
                "host-gateway" => IpAddr::V4(match &task.endpoint {
                    Some(endpoint) => endpoint.gateway,
                    None => {
                        let _lock = self.paths().lock("network")?;
                        self.open_network()?.gateway()
                    }
                }),
                text => text
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .parse()
                    .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {text:?}")))?,
            };
            Ok((name.to_string(), address))
        };
        dns.extra_hosts.iter().map(one).collect()
    }

    fn open_network(&self) -> Result<Network> {
        let opened = Network::open(&net::BridgeConfig::default())?;
        for warning in &opened.warnings {
            tracing::warn!(hint = warning.hint(), "a firewall may drop containers' packets");
        }
        if opened.ruleset == net::Installed::Fresh {
            let mut maps = Vec::new();
            for (_, task) in self.state()?.tasks()? {
                if let Some(endpoint) = &task.endpoint {
                    maps.extend(port_maps(endpoint));
                }
            }
            if !maps.is_empty() {
                opened.network.publish(&maps)?;
            }
        }
        Ok(opened.network)
    }

    /// The address is the database's: chosen and taken in one transaction. Addresses are kept as
    /// numbers, so that the common case (one that was never given) is one look at the highest.
    fn allocate(&self, network: &Network, container: &str) -> Result<Ipv4Addr> {
        let ipam = network.ipam();
        self.state()?.run()?.write(|t| {
            let highest = "SELECT max(address) FROM addresses WHERE network = ?1";
            let highest =
                t.query_one(highest, &[DEFAULT.into()], |r| Ok::<_, Error>(r.opt_int(0)?))?.flatten();
            let address = match ipam.after(highest.and_then(address_of)) {
                Some(fresh) => fresh,
                None => ipam.candidate(&usage(t)?)?,
            };
            let sql = "INSERT INTO addresses VALUES (?1, ?2, ?3, NULL)
                       ON CONFLICT (network, address) DO UPDATE SET container = ?3, freed = NULL";
            t.execute(sql, &[DEFAULT.into(), i64::from(address.to_bits()).into(), container.into()])?;
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

    /// Takes a task's published ports away. The address is freed with the row; the veth pair goes with the
    /// namespace, whose last descriptor the shim closes.
    pub(crate) fn disconnect(&self, task: &Task) -> Result<()> {
        let Some(endpoint) = &task.endpoint else { return Ok(()) };
        let maps = port_maps(endpoint);
        if !maps.is_empty() {
            let lock = self.paths().lock("network")?;
            // Only what is there: after a flush there is nothing to unpublish, and it is not made again.
            let network = Network::open(&net::BridgeConfig::default())?.network;
            drop(lock);
            network.unpublish(&maps)?;
            network.flush_connections(endpoint.address)?;
        }
        Ok(())
    }
}

/// What the table knows, the longest free address first.
fn usage(t: &db::Transaction<'_>) -> Result<net::Usage> {
    let mut usage = net::Usage::default();
    let sql = "SELECT address, container FROM addresses WHERE network = ?1 ORDER BY freed";
    for (address, holder) in
        t.query(sql, &[DEFAULT.into()], |r| Ok::<_, Error>((r.int(0)?, r.opt_text(1)?)))?
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

/// A container's `resolv.conf`.
pub(crate) fn resolv_conf(network: NetworkMode, dns: &Dns) -> Result<Vec<u8>> {
    let address = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| {
            Error::invalid(format!("bad nameserver address {text}: ParseAddr({text:?}): unable to parse IP"))
        })
    };
    let servers = dns.servers.iter().map(address).collect::<Result<Vec<_>>>()?;
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let host = read("/etc/resolv.conf");
    let path = net::resolv::source_path(&host);
    let host = if path == "/etc/resolv.conf" { host } else { read(path) };
    let namespace = match network {
        NetworkMode::Host => net::resolv::Namespace::Host,
        NetworkMode::Bridge | NetworkMode::None => net::resolv::Namespace::Own { ipv6: false },
    };
    let overrides = net::resolv::Overrides { servers: &servers, search: &dns.search, options: &dns.options };
    if network == NetworkMode::Host && *dns == Dns::default() {
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

/// Binds what is to be published; the error is Docker's text.
fn bind(
    network: &Network,
    record: &Record,
    address: Ipv4Addr,
) -> std::result::Result<Vec<BoundPort>, String> {
    let mut requests = Vec::new();
    // -P: what is exposed and has no place yet gets a free one.
    let everywhere = [crate::config::PortBinding::default()];
    let exposed = record.config.exposed_ports.iter().filter(|_| record.host.publish_all);
    let exposed = exposed.filter(|port| !record.host.port_bindings.contains_key(*port));
    let wanted = record.host.port_bindings.iter().map(|(port, bindings)| (port, &bindings[..]));
    for (port, bindings) in wanted.chain(exposed.map(|port| (port, &everywhere[..]))) {
        let (number, protocol) = container_port(port)?;
        for binding in bindings {
            requests.push(PortRequest {
                host_ip: host_ip(&binding.host_ip)?,
                host_ports: host_ports(&binding.host_port)?,
                container_ip: address,
                container_port: number,
                protocol,
            });
        }
    }
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut step = sys::trace::step("ports", "bind(2)");
    let bound = step.check(net::ports::bind(&requests, None));
    bound.map_err(|e| match &e {
        net::Error::Bind { request, .. } if request.is_exact() => {
            let ip = request.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let map = PortMap {
                host_ip: ip,
                host_port: request.host_ports.0,
                container_ip: address,
                container_port: request.container_port,
                protocol: request.protocol,
            };
            // Docker has another text when the holder is a container of its own.
            match network.is_published(&map) {
                Ok(true) => net::Error::PortAllocated(Box::new(map)).to_string(),
                _ => e.docker_message(),
            }
        }
        _ => e.docker_message(),
    })
}

/// `80/tcp`, `80`.
pub(crate) fn container_port(text: &str) -> std::result::Result<(u16, net::Protocol), String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.parse().map_err(|_| format!("invalid port specification: {text:?}"))?;
    let protocol: net::Protocol = protocol.parse().map_err(|_| format!("invalid proto: {protocol}"))?;
    if number == 0 {
        return Err(format!("invalid port specification: {text:?}"));
    }
    Ok((number, protocol))
}

fn host_ip(text: &str) -> std::result::Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.trim_matches(['[', ']']).parse().map(Some).map_err(|_| format!("invalid IP address: {text}"))
}

fn host_ports(text: &str) -> std::result::Result<(u16, u16), String> {
    let number = |t: &str| t.parse::<u16>().map_err(|_| format!("invalid hostPort: {text}"));
    if text.is_empty() {
        return Ok((0, 0));
    }
    match text.split_once('-') {
        Some((first, last)) => Ok((number(first)?, number(last)?)),
        None => number(text).map(|n| (n, n)),
    }
}

fn published(map: &PortMap) -> PublishedPort {
    PublishedPort {
        host: SocketAddr::new(map.host_ip, map.host_port),
        container_port: map.container_port,
        protocol: map.protocol.to_string(),
    }
}

fn port_maps(endpoint: &TaskEndpoint) -> Vec<PortMap> {
    let map = |port: &PublishedPort| {
        Some(PortMap {
            host_ip: port.host.ip(),
            host_port: port.host.port(),
            container_ip: endpoint.address,
            container_port: port.container_port,
            protocol: port.protocol.parse().ok()?,
        })
    };
    endpoint.ports.iter().filter_map(map).collect()
}

/// IPv4 is the kernel's; an IPv6 socket is listened on and spliced by the shim.
fn shim_port(map: &PortMap) -> shim::config::Port {
    let tcp = map.protocol == net::Protocol::Tcp;
    let splice = tcp && !map.is_redirected();
    shim::config::Port {
        proto: if tcp { shim::config::Proto::Tcp } else { shim::config::Proto::Udp },
        splice_to: splice.then(|| SocketAddrV4::new(map.container_ip, map.container_port)),
    }
}
