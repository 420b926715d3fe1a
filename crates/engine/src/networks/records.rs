//! The rows of user-defined networks in `tare.db`, and a container's wishes for each of its networks.
//!
//! `bridge`, `host` and `none` have no row. Knows no kernel.

use crate::NetworkMode;
use crate::error::{Error, Result};
use crate::state::{Record, State, decode, encode};
use db::{Migration, Value};
use net::{Place, Subnet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const MIGRATION: Migration = Migration {
    component: "networks",
    version: 1,
    sql: "CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;",
};

/// In `run.db`: addresses of both families as text, so that a family's are in their order ([`super::addresses`]).
pub(crate) const RUN_MIGRATION: Migration = Migration {
    component: "addresses",
    version: 1,
    sql: "CREATE TABLE both_families (network TEXT NOT NULL, address TEXT NOT NULL, container TEXT, freed INTEGER,
              PRIMARY KEY (network, address)) STRICT;
          INSERT INTO both_families SELECT network, '4' || printf('%08x', address), container, freed FROM addresses;
          DROP TABLE addresses;
          ALTER TABLE both_families RENAME TO addresses;",
};

/// A network that somebody has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct NetworkRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Whether its members have addresses of IPv4.
    pub ipv4: bool,
    /// Whether they have addresses of IPv6.
    pub ipv6: bool,
    /// One for each family, and what was asked for of a family that it does not have.
    pub pools: Vec<PoolRecord>,
    /// Nothing goes out of it.
    pub internal: bool,
    /// Only shown.
    pub attachable: bool,
    /// Docker's options of the bridge driver.
    pub options: BTreeMap<String, String>,
    /// Options of the address management, only shown.
    pub ipam_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// `172.18.0.0/16`.
    pub subnet: String,
    /// Whether the subnet was asked for: only then may addresses be.
    pub own_subnet: bool,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// Whether it was asked for.
    #[serde(default)]
    pub own_gateway: bool,
    /// Containers get their addresses from that part; empty = from all of it.
    #[serde(default)]
    pub range: String,
    /// Addresses that no container gets, by name.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// What stands in a row: the fields beside `pools` are those of rows before there was IPv6.
#[derive(Deserialize)]
struct Stored {
    id: String,
    name: String,
    created_ns: i64,
    #[serde(default = "yes")]
    ipv4: bool,
    #[serde(default)]
    ipv6: bool,
    #[serde(default)]
    pools: Vec<PoolRecord>,
    #[serde(flatten)]
    only: Option<PoolRecord>,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    attachable: bool,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    ipam_options: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

impl From<Stored> for NetworkRecord {
    fn from(mut row: Stored) -> Self {
        row.pools.extend(row.only);
        Self {
            id: row.id,
            name: row.name,
            created_ns: row.created_ns,
            ipv4: row.ipv4,
            ipv6: row.ipv6,
            pools: row.pools,
            internal: row.internal,
            attachable: row.attachable,
            options: row.options,
            ipam_options: row.ipam_options,
            labels: row.labels,
        }
    }
}

impl PoolRecord {
    /// The subnet and the bridge's address in it.
    pub fn place(&self) -> Option<Place> {
        Some(Place { subnet: self.subnet.parse().ok()?, gateway: self.gateway })
    }

    /// The gateway that is shown: as with dockerd, of a subnet that was asked for only one that was, too.
    pub fn shown_gateway(&self) -> String {
        match self.own_subnet && !self.own_gateway {
            true => String::new(),
            false => self.gateway.to_string(),
        }
    }
}

impl NetworkRecord {
    /// The pool of a family that the network has.
    pub fn pool(&self, ipv6: bool) -> Option<&PoolRecord> {
        let has = if ipv6 { self.ipv6 } else { self.ipv4 };
        self.pools.iter().find(|pool| has && pool.gateway.is_ipv6() == ipv6)
    }

    /// The subnets that are on its bridge.
    pub fn places(&self) -> Vec<Place> {
        [false, true].into_iter().filter_map(|ipv6| self.pool(ipv6)?.place()).collect()
    }

    /// The subnets that nobody else can have.
    pub fn subnets(&self) -> impl Iterator<Item = Subnet> {
        self.pools.iter().filter_map(|pool| pool.subnet.parse().ok())
    }
}

/// What a container wants of one of its networks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// Further names in that network.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub address: Option<Ipv4Addr>,
    /// A fixed address of IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address6: Option<Ipv6Addr>,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as the build of 24 November 2026 (ded2a2d) wrote them, when there was IPv4 only.
    #[test]
    fn rows_from_before_ipv6() {
        let full = r#"{"id":"aa","name":"mine","created_ns":7,"subnet":"10.77.0.0/24","own_subnet":true,
            "gateway":"10.77.0.5","own_gateway":true,"range":"10.77.0.128/25","auxiliary":{"x":"10.77.0.9"},
            "internal":true,"attachable":true,"options":{"a":"b"},"ipam_options":{"c":"d"},"labels":{"e":"f"}}"#;
        let record: NetworkRecord = decode(full).unwrap();
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_string(), value.to_string())]);
        let pool = PoolRecord {
            subnet: "10.77.0.0/24".to_string(),
            own_subnet: true,
            gateway: "10.77.0.5".parse().unwrap(),
            own_gateway: true,
            range: "10.77.0.128/25".to_string(),
            auxiliary: BTreeMap::from([("x".to_string(), "10.77.0.9".parse().unwrap())]),
        };
        let want = NetworkRecord {
            id: "aa".to_string(),
            name: "mine".to_string(),
            created_ns: 7,
            ipv4: true,
            ipv6: false,
            pools: vec![pool],
            internal: true,
            attachable: true,
            options: map("a", "b"),
            ipam_options: map("c", "d"),
            labels: map("e", "f"),
        };
        assert_eq!(record, want);
        // What is written is read again, and only once.
        assert_eq!(decode::<NetworkRecord>(&encode(&record).unwrap()).unwrap(), want);
        let short = r#"{"id":"aa","name":"mine","created_ns":7,"subnet":"172.18.0.0/16","own_subnet":false,"gateway":"172.18.0.1"}"#;
        let record: NetworkRecord = decode(short).unwrap();
        assert_eq!((record.pools.len(), record.places().len(), record.ipv6), (1, 1, false));
        let member = r#"{"aliases":["db"],"address":"10.77.0.9","mac":null,"priority":3}"#;
        let member: Membership = decode(member).unwrap();
        assert_eq!((member.address6, member.priority), (None, 3));
    }

    /// Addresses as numbers, as that build kept them until the boot's end.
    #[test]
    fn addresses_from_before_ipv6() {
        let folder = std::env::temp_dir().join(format!("tare-addresses-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run.db");
        let old = [Migration {
            component: "engine",
            version: 1,
            sql: "CREATE TABLE addresses (network TEXT NOT NULL, address INTEGER NOT NULL, container TEXT, freed INTEGER,
                      PRIMARY KEY (network, address)) STRICT;
                  INSERT INTO addresses VALUES ('bridge', 2886795266, 'aa', NULL), ('bridge', 2886795267, NULL, 9);",
        }];
        drop(db::Database::open(&path, db::Durability::Volatile, &old).unwrap());
        let now = [old[0], RUN_MIGRATION];
        let opened = db::Database::open(&path, db::Durability::Volatile, &now).unwrap();
        let usage = opened.read(|t| crate::networks::addresses::usage(t, "bridge", false)).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(usage.used, [address("172.17.0.2")].into());
        assert_eq!(usage.freed, [address("172.17.0.3")]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
