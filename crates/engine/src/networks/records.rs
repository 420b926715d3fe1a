//! The rows of user-defined networks in `tare.db`, and a container's wishes for each of its networks.
//!
//! `bridge`, `host` and `none` have no row. Knows no kernel.

use crate::NetworkMode;
use crate::error::{Error, Result};
use crate::state::{Record, State, decode, encode};
use db::{Migration, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub(crate) const MIGRATION: Migration = Migration {
    component: "networks",
    version: 1,
    sql: "CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;",
};

/// A network that somebody has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// `172.18.0.0/16`.
    pub subnet: String,
    /// Whether the subnet was asked for: only then may addresses be.
    pub own_subnet: bool,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// Whether it was asked for.
    #[serde(default)]
    pub own_gateway: bool,
    /// Containers get their addresses from that part; empty = from all of it.
    #[serde(default)]
    pub range: String,
    /// Addresses that no container gets, by name.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, Ipv4Addr>,
    /// Nothing goes out of it.
    #[serde(default)]
    pub internal: bool,
    /// Only shown.
    #[serde(default)]
    pub attachable: bool,
    /// Docker's options of the bridge driver.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Options of the address management, only shown.
    #[serde(default)]
    pub ipam_options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What a container wants of one of its networks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// Further names in that network.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub address: Option<Ipv4Addr>,
    /// A fixed hardware address.
    pub mac: Option<String>,
    /// The highest one's gateway is the container's.
    pub priority: i64,
    /// `name:alias`: words of the container's own for others in that network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
}

impl Record {
    /// The networks of the container, by name, and what it wants of each.
    pub fn memberships(&self) -> BTreeMap<String, Membership> {
        match (&self.networks, &self.host.network) {
            (_, NetworkMode::Container(_)) => BTreeMap::new(),
            (Some(networks), _) => networks.clone(),
            (None, mode) => [(mode.as_str().to_string(), Membership::default())].into(),
        }
    }
}

impl State {
    pub(super) fn networks(&self) -> Result<Vec<NetworkRecord>> {
        let sql = "SELECT record FROM networks ORDER BY name";
        self.durable().read(|t| t.query(sql, &[], |row| decode(&row.text(0)?)))
    }

    /// Keeps a network; a name that is in use is Docker's conflict.
    pub(super) fn insert_network(&self, network: &NetworkRecord) -> Result<()> {
        let text = encode(network)?;
        let values: [Value<'_>; 3] = [(&network.id).into(), (&network.name).into(), (&text).into()];
        self.durable().write(|t| {
            let taken = "SELECT 1 FROM networks WHERE name = ?1";
            if t.query_one(taken, &[(&network.name).into()], |r| Ok::<_, Error>(r.int(0)?))?.is_some() {
                return Err(super::exists(&network.name));
            }
            t.execute("INSERT INTO networks VALUES (?1, ?2, ?3)", &values)?;
            Ok(())
        })
    }

    pub(super) fn delete_network(&self, id: &str) -> Result<()> {
        self.durable().write(|t| {
            t.execute("DELETE FROM networks WHERE id = ?1", &[id.into()])?;
            Ok(())
        })
    }

    /// The containers that hold an address of a network.
    pub(super) fn address_holders(&self, network: &str) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT container FROM addresses WHERE network = ?1 AND container IS NOT NULL";
        self.run()?.read(|t| t.query(sql, &[network.into()], |row| Ok(row.text(0)?)))
    }

    pub(super) fn forget_addresses(&self, network: &str) -> Result<()> {
        self.run()?.write(|t| {
            t.execute("DELETE FROM addresses WHERE network = ?1", &[network.into()])?;
            Ok(())
        })
    }

    /// A container's address in one network is free again.
    pub(super) fn free_address(&self, network: &str, container: &str) -> Result<()> {
        let freed = i64::try_from(sys::clock::monotonic_ns()).unwrap_or(i64::MAX);
        let sql = "UPDATE addresses SET container = NULL, freed = ?3 WHERE network = ?1 AND container = ?2";
        self.run()?.write(|t| {
            t.execute(sql, &[network.into(), container.into(), freed.into()])?;
            Ok(())
        })
    }
}
