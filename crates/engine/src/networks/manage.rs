//! Making, showing and removing networks.
//!
//! Everything that changes something holds `network`. A network is removed only when no container has an address
//! in it: its bridge first, then its rows; a bridge without a row is never used again, and a row without a bridge
//! makes it anew.

use super::{Membership, NetworkRecord, bridge_name, bridge_place, not_found};
use crate::Engine;
use crate::error::{Error, Kind, Result};
use net::{Network, Place};
use std::collections::BTreeMap;

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
    /// The default network's subnet, once its bridge is there.
    pub place: Option<Place>,
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
        let place = bridge_place();
        let builtin = [("bridge", "bridge"), ("host", "host"), ("none", "null")];
        let builtin = builtin.map(|(name, driver)| NetworkInfo {
            name: name.to_string(),
            driver,
            id: super::network_id(name),
            created_ns: 0,
            place: place.filter(|_| name == "bridge"),
            record: None,
        });
        let made = self.state()?.networks()?.into_iter().map(|record| NetworkInfo {
            name: record.name.clone(),
            driver: "bridge",
            id: record.id.clone(),
            created_ns: record.created_ns,
            place: None,
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
