//! Joining and leaving networks, also while the container runs.
//!
//! The container's lock is held, and `network` for the moment in which an address is chosen. An endpoint is in the
//! task's row before it is made and until it is gone; one without a membership in the record is what a crash has
//! left, and goes with the next joining or leaving, at the latest with the task.

use super::ports::{Targets, bind, deal, port_maps, published, shim_ports};
use super::{Bridge, Membership, NetworkInfo, RESOLV_CONF_HASH, choose_routes, has_resolver};
use crate::error::{Error, Kind, Result, io};
use crate::state::{Record, Task};
use crate::tasks::SHIM_PATIENCE;
use crate::{Engine, NetworkMode};
use net::{Netns, Network, PortMap};
use rustix::fd::{AsFd, OwnedFd};
use shim::protocol::Request;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// Which container joins which network.
#[derive(Debug, Clone, Default)]
pub struct Joining {
    /// The network's name or id.
    pub network: String,
    /// The container's.
    pub container: String,
    /// What it wants.
    pub wish: Membership,
}

impl Engine {
    /// Connects a container to one more network, at once when it runs.
    pub fn connect_network(&self, joining: &Joining) -> Result<()> {
        let id = self.state()?.find(&joining.container)?.id;
        let network = self.network(&joining.network)?;
        let _lock = self.paths().lock(&id)?;
        let mut record = self.state()?.find(&id)?;
        check_modes(&record, &network)?;
        let mut memberships = record.memberships();
        if memberships.contains_key(&network.name) {
            let text =
                format!("endpoint with name {} already exists in network {}", record.name, network.name);
            return Err(Error::new(Kind::Forbidden, text));
        }
        memberships.insert(network.name.clone(), joining.wish.clone());
        record.networks = Some(memberships);
        if let Some(mut task) = self.running_task(&id)? {
            let leave = task.endpoints.iter().any(|e| e.network == network.id);
            if leave {
                self.leave(&record, &mut task, &network.id)?;
            }
            let joined = self.join(&record, &mut task, &network, &joining.wish);
            if let Err(e) = joined {
                // The first error is the one to tell; what is left goes with the task.
                let _ = self.leave(&record, &mut task, &network.id);
                return Err(e);
            }
        }
        self.state()?.update(&record)
    }

    /// Takes a container out of a network.
    pub fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()> {
        let network = self.network(network)?;
        let id = match self.state()?.find(container) {
            Ok(record) => record.id,
            Err(e) if force && e.kind == Kind::NotFound => {
                return Err(Error::not_found(format!("endpoint {container} not found")));
            }
            Err(e) => return Err(e),
        };
        let _lock = self.paths().lock(&id)?;
        let mut record = self.state()?.find(&id)?;
        if record.host.network == NetworkMode::Host && network.name == "host" {
            let text = "container cannot be disconnected from host network or connected to host network";
            return Err(Error::invalid(text));
        }
        let mut memberships = record.memberships();
        let member = memberships.remove(&network.name).is_some();
        let task = self.running_task(&id)?;
        let joined = task.as_ref().is_some_and(|t| t.endpoints.iter().any(|e| e.network == network.id));
        if !member && !joined {
            let text = format!("container {id} is not connected to network {}", network.name);
            return Err(Error::new(Kind::Forbidden, text));
        }
        record.networks = Some(memberships);
        self.state()?.update(&record)?;
        match task {
            Some(mut task) if joined => self.leave(&record, &mut task, &network.id),
            _ => Ok(()),
        }
    }

    fn running_task(&self, id: &str) -> Result<Option<Task>> {
        let task = self.state()?.task(id)?;
        let alive = shim::client::is_alive(&self.paths().task(id)).unwrap_or(false);
        Ok(task.filter(|task| task.pid != 0 && alive))
    }

    fn join(&self, record: &Record, task: &mut Task, network: &NetworkInfo, wish: &Membership) -> Result<()> {
        let netns = open_netns(task)?;
        let lock = self.paths().lock("network")?;
        let bridge = self.open_bridge(&network.name)?;
        let free = |link: &String| task.endpoints.iter().all(|e| e.link != *link);
        let link = (0..).map(|n| format!("eth{n}")).find(free).unwrap_or_default();
        let endpoint = self.new_endpoint(&bridge, &record.id, wish, link)?;
        task.endpoints.push(endpoint);
        let before: Vec<PortMap> = task.endpoints.iter().flat_map(port_maps).collect();
        choose_routes(&mut task.endpoints);
        self.state()?.put_task(&record.id, task)?;
        drop(lock);
        if let Some(endpoint) = task.endpoints.last_mut() {
            endpoint.host_link = bridge.attach(&netns, endpoint, publishes(record))?;
        }
        self.state()?.put_task(&record.id, task)?;
        self.reroute(record, task, &bridge, &before)?;
        self.resolve_live(record, task, &netns)?;
        self.tell_parents(record, task)?;
        self.tell_network((&network.id, &network.name, "bridge"), "connect", Some(&record.id));
        match task.endpoints.last() {
            Some(endpoint) => self.edit_hosts(record, &endpoint.addresses().collect::<Vec<_>>(), &[]),
            None => Ok(()),
        }
    }

    /// The names of a container that joins while it runs; with its first user-defined network it gets a resolver, and
    /// asks it unless somebody has edited its file.
    fn resolve_live(&self, record: &Record, task: &Task, netns: &Netns) -> Result<()> {
        if has_resolver(task) && !self.is_resolved(&record.id) {
            let sockets = net::resolver::listen(netns.as_fd())?;
            let mut shim = shim::client::Connection::connect(&self.paths().task(&record.id))
                .map_err(|e| Error::internal("find the shim", &e))?;
            self.hand_resolver(record, &sockets, &mut shim)
                .map_err(|e| Error::internal("hand over the resolver's sockets", &e))?;
            let folder = self.paths().container(&record.id);
            let (path, hash) = (folder.join("resolv.conf"), folder.join(RESOLV_CONF_HASH));
            let now = std::fs::read(&path).map_err(io("read resolv.conf"))?;
            let ours = std::fs::read_to_string(&hash).unwrap_or_default();
            if oci::Digest::sha256(&now).to_string() == ours {
                let text = super::resolv_conf(&record.host.network, &self.dns_of(record), true)?;
                std::fs::write(&hash, oci::Digest::sha256(&text).to_string())
                    .and_then(|()| std::fs::write(&path, &text))
                    .map_err(io("write resolv.conf"))?;
            }
        }
        self.tell_resolvers(record, task)
    }

    fn leave(&self, record: &Record, task: &mut Task, network: &str) -> Result<()> {
        let Some(at) = task.endpoints.iter().position(|e| e.network == network) else { return Ok(()) };
        let gone = task.endpoints[at].clone();
        let netns = open_netns(task)?;
        let before: Vec<PortMap> = task.endpoints.iter().flat_map(port_maps).collect();
        let lock = self.paths().lock("network")?;
        let bridge = self.open_bridge(&gone.network)?;
        drop(lock);
        task.endpoints.remove(at);
        choose_routes(&mut task.endpoints);
        for next in &task.endpoints {
            let gateways = [
                next.gateway.filter(|_| next.default_route && gone.default_route).map(IpAddr::V4),
                next.gateway6.filter(|_| next.default_route6 && gone.default_route6).map(IpAddr::V6),
            ];
            for gateway in gateways.into_iter().flatten() {
                Network::set_default_route(&netns, &next.link, gateway)?;
            }
        }
        let names = self.withdraw_names([&gone])?;
        self.state()?.put_task(&record.id, task)?;
        drop(names);
        self.tell_network((&gone.network, &gone.network_name, "bridge"), "disconnect", Some(&record.id));
        self.reroute(record, task, &bridge, &before)?;
        if !gone.host_link.is_empty() {
            bridge.network.detach(&gone.host_link)?;
        }
        let addresses: Vec<IpAddr> = gone.addresses().collect();
        for address in &addresses {
            bridge.network.flush_connections(*address)?;
        }
        // Where its own resolver looks now.
        self.tell_resolvers(record, task)?;
        self.state()?.free_address(bridge.key(), &record.id)?;
        self.edit_hosts(record, &[], &addresses)
    }

    /// Published ports lead to where the default routes go: the ruleset and the shim are told what has changed since
    /// `before`. A container that had no way out until now gets its ports now.
    fn reroute(&self, record: &Record, task: &mut Task, bridge: &Bridge, before: &[PortMap]) -> Result<()> {
        let mut sockets: Vec<OwnedFd> = Vec::new();
        if task.held.is_empty() && publishes(record) {
            let routed = task.endpoints.iter().find(|e| e.default_route || e.default_route6);
            let default = routed.and_then(|e| self.default_host_ip(&e.network_name));
            let bound = bind(&bridge.network, record, Targets::of(&task.endpoints), default)
                .map_err(|text| Error::new(Kind::Internal, text))?;
            task.held = bound.iter().map(|b| published(&b.map)).collect();
            sockets = bound.into_iter().map(|b| b.socket).collect();
        }
        deal(&task.held, &mut task.endpoints);
        let after: Vec<PortMap> = task.endpoints.iter().flat_map(port_maps).collect();
        if before == after {
            return self.state()?.put_task(&record.id, task);
        }
        let gone: Vec<PortMap> = before.iter().filter(|m| !after.contains(m)).copied().collect();
        bridge.network.unpublish(&gone)?;
        for address in gone.iter().map(|m| m.container_ip).collect::<BTreeSet<_>>() {
            bridge.network.flush_connections(address)?;
        }
        self.state()?.put_task(&record.id, task)?;
        bridge.network.publish(&after)?;
        let ports = shim_ports(&task.held, &task.endpoints);
        self.tell_shim(&record.id, ports, &sockets)
    }

    fn tell_shim(&self, id: &str, ports: Vec<shim::config::Port>, sockets: &[OwnedFd]) -> Result<()> {
        let mut connection = shim::client::Connection::connect(&self.paths().task(id))
            .map_err(crate::tasks::streams::shim_error)?;
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let told = connection.call(&Request::Publish { ports }, &fds, Some(SHIM_PATIENCE));
        told.map_err(crate::tasks::streams::shim_error).map(drop)
    }

    fn edit_hosts(&self, record: &Record, add: &[IpAddr], remove: &[IpAddr]) -> Result<()> {
        let gone: Vec<String> = remove.iter().map(|address| format!("{address}\t")).collect();
        let hostname = crate::spec::hostname(record, &crate::system::host_name());
        let domainname = &record.config.domainname;
        let names = net::hosts::Hosts { hostname: &hostname, domainname, ..net::hosts::Hosts::default() };
        self.edit_hosts_file(record, |lines| {
            lines.retain(|line| !gone.iter().any(|gone| line.starts_with(gone.as_bytes())));
            for address in add {
                lines.push(format!("{address}\t{}\n", net::hosts::names(&names)).into_bytes());
            }
        })
    }
}

/// Whether it has ports to publish.
fn publishes(record: &Record) -> bool {
    record.host.publish_all || !record.host.port_bindings.is_empty()
}

pub(super) fn open_netns(task: &Task) -> Result<Netns> {
    let netns = Netns::open(&PathBuf::from(format!("/proc/{}/ns/net", task.pid)))?;
    let stat = sys::process::Stat::read(&task.pid.to_string())?;
    if stat.start_time != task.pid_start {
        return Err(Error::conflict("the container is not running"));
    }
    Ok(netns)
}

fn check_modes(record: &Record, network: &NetworkInfo) -> Result<()> {
    let text = match (&record.host.network, network.name.as_str()) {
        (NetworkMode::Host | NetworkMode::Container(_), _) => {
            "container sharing network namespace with another container or host cannot be connected to any other network"
        }
        (_, "host") => {
            "cannot connect container to host network - container must be created in host network mode"
        }
        (NetworkMode::None, _) | (_, "none") => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(text))
}
