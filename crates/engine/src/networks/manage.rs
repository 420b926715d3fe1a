//! Making, showing and removing networks.
//!
//! Everything that changes something holds `network`. A network is removed only when no container has an address
//! in it: its bridge first, then its rows; a bridge without a row is never used again, and a row without a bridge
//! makes it anew.

use super::{
    BRIDGE_NAME, ICC, MTU, Membership, NetworkRecord, bridge_config, bridge_name, bridge_subnet, not_found,
};
use crate::Engine;
use crate::error::{Error, Kind, Result};
use net::{Network, Subnet};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use sys::clock::Time;

/// A network that is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, or empty.
    pub driver: String,
    /// Nothing goes out of it.
    pub internal: bool,
    /// Only kept.
    pub attachable: bool,
    /// The pool; `None` = a free one of the defaults.
    pub pool: Option<Pool>,
    /// Options of the address management.
    pub ipam_options: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A pool as it is asked for; what is empty is chosen.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// `172.30.0.0/16`.
    pub subnet: String,
    /// A part of it.
    pub range: String,
    /// The bridge's address.
    pub gateway: String,
    /// Addresses that no container gets.
    pub auxiliary: BTreeMap<String, String>,
}

/// A network as the doors see it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkInfo {
    /// Its name.
    pub name: String,
    /// Docker's driver word.
    pub driver: &'static str,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Nanoseconds since the epoch; 0 = it was always there.
    pub created_ns: i64,
    /// Subnet and gateway, once the bridge is there.
    pub subnet: Option<(String, String)>,
    /// Of a network that somebody has made.
    pub record: Option<NetworkRecord>,
}

/// Which networks are pruned.
#[derive(Debug, Clone, Default)]
pub struct PruneNetworks {
    /// `key` or `key=value`: all of them.
    pub labels: Vec<String>,
    /// None of them.
    pub not_labels: Vec<String>,
    /// Only those made before (nanoseconds since the epoch).
    pub until_ns: Option<i64>,
}

impl NetworkInfo {
    /// Whether it has a label, `key` or `key=value`.
    pub fn has_label(&self, text: &str) -> bool {
        let labels = self.record.as_ref().map(|r| &r.labels);
        labels.is_some_and(|labels| match text.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
            None => labels.contains_key(text),
        })
    }
}

impl Engine {
    /// The networks there are.
    pub fn networks(&self) -> Result<Vec<NetworkInfo>> {
        let subnet = bridge_subnet();
        let builtin = [("bridge", "bridge"), ("host", "host"), ("none", "null")];
        let builtin = builtin.map(|(name, driver)| NetworkInfo {
            name: name.to_string(),
            driver,
            id: super::network_id(name),
            created_ns: 0,
            subnet: subnet.clone().filter(|_| name == "bridge"),
            record: None,
        });
        let made = self.state()?.networks()?.into_iter().map(|record| NetworkInfo {
            name: record.name.clone(),
            driver: "bridge",
            id: record.id.clone(),
            created_ns: record.created_ns,
            subnet: Some((record.subnet.clone(), shown_gateway(&record))),
            record: Some(record),
        });
        Ok(builtin.into_iter().chain(made).collect())
    }

    /// One network by id, name, or a part of its id from its beginning, in this order.
    pub fn network(&self, word: &str) -> Result<NetworkInfo> {
        let mut all = self.networks()?;
        for test in [|n: &NetworkInfo, w: &str| n.id == w, |n: &NetworkInfo, w: &str| n.name == w] {
            if let Some(at) = all.iter().position(|n| test(n, word)) {
                return Ok(all.swap_remove(at));
            }
        }
        all.retain(|n| !word.is_empty() && n.id.starts_with(word));
        match (all.len(), all.pop()) {
            (1, Some(found)) => Ok(found),
            (0, _) => Err(not_found(word)),
            (n, _) => Err(Error::invalid(format!(
                "network {word} is ambiguous ({n} matches found based on ID prefix)"
            ))),
        }
    }

    /// Makes a network; the answer is its id.
    pub fn create_network(&self, wanted: CreateNetwork) -> Result<String> {
        let mut wanted = wanted;
        for (name, value) in self.settings().maps("default-network-opts").flat_map(|(_, options)| options) {
            wanted.options.entry(name).or_insert(value);
        }
        check(&wanted)?;
        let _lock = self.paths().lock("network")?;
        if self.networks()?.iter().any(|n| n.name == wanted.name) {
            return Err(super::exists(&wanted.name));
        }
        let pool = wanted.pool.clone().unwrap_or_default();
        let subnet = self.choose_subnet(&pool)?;
        let within = |text: &str, what: &str| -> Result<Ipv4Addr> {
            let address: Ipv4Addr =
                text.parse().map_err(|_| Error::invalid(format!("invalid {what}: {text}")))?;
            match subnet.contains(address) {
                true => Ok(address),
                false => Err(Error::invalid(format!("no matching subnet for {what} {text}"))),
            }
        };
        let gateway = match pool.gateway.as_str() {
            "" => subnet.first_host(),
            text => within(text, "gateway")?,
        };
        let auxiliary = pool.auxiliary.iter();
        let auxiliary = auxiliary.map(|(name, text)| Ok((name.clone(), within(text, "aux-address")?)));
        let record = NetworkRecord {
            id: crate::containers::new_id()?,
            name: wanted.name,
            created_ns: Time::now().0,
            subnet: subnet.to_string(),
            own_subnet: !pool.subnet.is_empty(),
            gateway,
            own_gateway: !pool.gateway.is_empty(),
            auxiliary: auxiliary.collect::<Result<_>>()?,
            range: pool.range,
            internal: wanted.internal,
            attachable: wanted.attachable,
            options: wanted.options,
            ipam_options: wanted.ipam_options,
            labels: wanted.labels,
        };
        let config = bridge_config(&record)?;
        if net::route::RouteSocket::open()?.link(&config.name)?.is_some() {
            let text = format!("networks have same bridge name: bridge {} exists", config.name);
            return Err(Error::new(Kind::Forbidden, text));
        }
        // The row first: a bridge that nobody knows would stay for good.
        self.state()?.insert_network(&record)?;
        let made = self.open_bridge(&record.id);
        if made.is_err() {
            let _ = Network::remove(&config.name);
            self.state()?.delete_network(&record.id)?;
        } else {
            self.tell_network((&record.id, &record.name, "bridge"), "create", None);
        }
        made.map(|_| record.id)
    }

    fn choose_subnet(&self, pool: &Pool) -> Result<Subnet> {
        let reserved = self.reserved()?;
        let default = bridge_subnet().and_then(|(subnet, _)| subnet.parse::<Subnet>().ok());
        if pool.subnet.is_empty() {
            if !pool.range.is_empty() || !pool.gateway.is_empty() {
                return Err(Error::invalid("no matching subnet for the given range or gateway"));
            }
            let mut taken = self.taken()?;
            if default.is_none() {
                // The default bridge's own, which it takes with its first use.
                taken.push(self.default_pool(&taken)?);
            }
            return self.free_pool(&taken);
        }
        let bad = |text: &str| Error::invalid(format!("invalid subnet {text}: it should be an IPv4 prefix"));
        let subnet: Subnet = pool.subnet.parse().map_err(|_| bad(&pool.subnet))?;
        if !pool.subnet.starts_with(&format!("{}/", subnet.base())) {
            let text =
                format!("invalid network config:\ninvalid subnet {}: it should be {subnet}", pool.subnet);
            return Err(Error::invalid(text));
        }
        if !pool.range.is_empty() {
            let range: Subnet = pool.range.parse().map_err(|_| bad(&pool.range))?;
            if !subnet.contains(range.base()) || range.prefix() < subnet.prefix() {
                let text = format!(
                    "invalid network config:\ninvalid ip-range {}: parent subnet is {subnet}",
                    pool.range
                );
                return Err(Error::invalid(text));
            }
        }
        if reserved.iter().chain(&default).any(|other| other.overlaps(&subnet)) {
            let text = "invalid pool request: Pool overlaps with other one on this address space";
            return Err(Error::new(Kind::Forbidden, text));
        }
        Ok(subnet)
    }

    /// Removes a network that no container is in.
    pub fn remove_network(&self, word: &str) -> Result<()> {
        let network = self.network(word)?;
        let Some(record) = network.record else {
            let text = format!("{} is a pre-defined network and cannot be removed", network.name);
            return Err(Error::new(Kind::Forbidden, text));
        };
        let _lock = self.paths().lock("network")?;
        let holders = self.state()?.address_holders(&record.id)?;
        if !holders.is_empty() {
            let mut users = Vec::new();
            for id in &holders {
                let endpoint = self.state()?.task(id)?.and_then(|task| {
                    task.endpoints.iter().find(|e| e.network == record.id).map(|e| e.endpoint_id.clone())
                });
                let name = self.state()?.find(id).map(|r| r.name).unwrap_or_default();
                let endpoint = endpoint.unwrap_or_default();
                users.push(format!("name:{name:?} id:{:?}", endpoint.get(..12).unwrap_or_default()));
            }
            let text = format!(
                "error while removing network: network {} has active endpoints ({})",
                record.name,
                users.join(", ")
            );
            return Err(Error::new(Kind::Forbidden, text));
        }
        Network::remove(&bridge_name(&record))?;
        self.state()?.delete_network(&record.id)?;
        self.state()?.forget_addresses(&record.id)?;
        self.tell_network((&record.id, &record.name, "bridge"), "destroy", None);
        Ok(())
    }

    /// Removes the networks that no container uses, running or not; the answer is their names.
    pub fn prune_networks(&self, filter: &PruneNetworks) -> Result<Vec<String>> {
        let used = self.used_networks()?;
        let mut removed = Vec::new();
        for network in self.networks()? {
            let fits = network.record.is_some()
                && !used.contains_key(&network.name)
                && filter.until_ns.is_none_or(|until| network.created_ns < until)
                && filter.labels.iter().all(|l| network.has_label(l))
                && !filter.not_labels.iter().any(|l| network.has_label(l));
            if fits && self.remove_network(&network.id).is_ok() {
                removed.push(network.name);
            }
        }
        let attributes = [("reclaimed".to_string(), "0".to_string())].into();
        crate::events::publish(self, "network", "prune", "", &attributes);
        Ok(removed)
    }

    /// The networks that containers are in or would be in, by name.
    pub fn used_networks(&self) -> Result<BTreeMap<String, Membership>> {
        Ok(self.state()?.containers()?.iter().flat_map(crate::state::Record::memberships).collect())
    }
}

/// As dockerd: of a subnet that was asked for, only a gateway that was, too, is shown.
fn shown_gateway(record: &NetworkRecord) -> String {
    match record.own_subnet && !record.own_gateway {
        true => String::new(),
        false => record.gateway.to_string(),
    }
}

fn check(wanted: &CreateNetwork) -> Result<()> {
    let CreateNetwork { name, driver, options, .. } = wanted;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(good) {
        let rule = "only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed";
        return Err(Error::invalid(format!("invalid network name {name:?}: {rule}")));
    }
    match driver.as_str() {
        "" | "bridge" => {}
        "host" | "null" => {
            let text = format!("only one instance of \"{driver}\" network is allowed");
            return Err(Error::new(Kind::Forbidden, text));
        }
        "macvlan" | "ipvlan" | "overlay" => {
            let text = format!("the network driver {driver} is not supported yet");
            return Err(Error::new(Kind::NotImplemented, text));
        }
        other => {
            let text =
                format!("could not find plugin {other} in v1 plugin registry: plugin \"{other}\" not found");
            return Err(Error::not_found(text));
        }
    }
    for (key, value) in options {
        let (ok, why) = match key.as_str() {
            MTU => (value.parse::<u32>().is_ok(), "it should be a number"),
            ICC => (value.parse::<bool>().is_ok(), "it should be true or false"),
            BRIDGE_NAME => (
                value.starts_with("tare") && value.len() <= 15 && value != "tare0",
                "the name of a bridge begins with tare and has at most 15 characters",
            ),
            _ if key.starts_with("com.docker.network.") => {
                return Err(Error::new(
                    Kind::NotImplemented,
                    format!("the network option {key} is not supported yet"),
                ));
            }
            _ => (true, ""),
        };
        if !ok {
            return Err(Error::invalid(format!("invalid value {value:?} of the option {key}: {why}")));
        }
    }
    Ok(())
}
