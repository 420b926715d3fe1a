//! Making networks: what is asked for is checked, with Docker's texts, and what is left open is chosen.
//!
//! The row comes first: a bridge that nobody knows would stay for good.

use super::{BRIDGE_NAME, ICC, MTU, NetworkRecord, PoolRecord, bridge_config, bridge_place, joined};
use crate::Engine;
use crate::error::{Error, Kind, Result};
use net::{Network, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;
use sys::clock::Time;

/// A network that is asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateNetwork {
    /// Its name.
    pub name: String,
    /// `bridge`, or empty.
    pub driver: String,
    /// Its members have addresses of IPv4; they have unless it is said.
    pub ipv4: Option<bool>,
    /// Its members have addresses of IPv6.
    pub ipv6: bool,
    /// Nothing goes out of it.
    pub internal: bool,
    /// Only kept.
    pub attachable: bool,
    /// The pools; of a family without one a free one of the defaults is taken.
    pub pools: Vec<Pool>,
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

impl Engine {
    /// Makes a network; the answer is its id.
    pub fn create_network(&self, mut wanted: CreateNetwork) -> Result<String> {
        for (name, value) in self.settings().maps("default-network-opts").flat_map(|(_, options)| options) {
            wanted.options.entry(name).or_insert(value);
        }
        check(&wanted)?;
        check_pools(&wanted).map_err(Error::invalid)?;
        let _lock = self.paths().lock("network")?;
        if self.networks()?.iter().any(|n| n.name == wanted.name) {
            return Err(super::exists(&wanted.name));
        }
        let record = NetworkRecord {
            id: crate::containers::new_id()?,
            created_ns: Time::now().0,
            ipv4: wanted.ipv4 != Some(false),
            ipv6: wanted.ipv6,
            pools: self.choose_pools(&wanted)?,
            name: wanted.name,
            internal: wanted.internal,
            attachable: wanted.attachable,
            options: wanted.options,
            ipam_options: wanted.ipam_options,
            labels: wanted.labels,
        };
        let config = bridge_config(&record);
        if net::route::RouteSocket::open()?.link(&config.name)?.is_some() {
            let text = format!("networks have same bridge name: bridge {} exists", config.name);
            return Err(Error::new(Kind::Forbidden, text));
        }
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

    /// What was asked for, then a free default pool for each family that is still without one.
    fn choose_pools(&self, wanted: &CreateNetwork) -> Result<Vec<PoolRecord>> {
        let reserved = self.reserved()?;
        let default = bridge_place().map(|place| place.subnet);
        let mut pools: Vec<PoolRecord> = Vec::new();
        for pool in &wanted.pools {
            let subnet: Subnet =
                pool.subnet.parse().map_err(|e: net::ParseSubnetError| Error::invalid(e.to_string()))?;
            let given = pools.iter().filter_map(|p: &PoolRecord| p.subnet.parse::<Subnet>().ok());
            if reserved.iter().copied().chain(default).chain(given).any(|other| other.overlaps(&subnet)) {
                let text = "invalid pool request: Pool overlaps with other one on this address space";
                return Err(Error::new(Kind::Forbidden, text));
            }
            if pools.iter().any(|p| p.gateway.is_ipv6() == subnet.is_ipv6()) {
                return Err(Error::new(Kind::Forbidden, "bridge driver doesn't support multiple subnets"));
            }
            pools.push(pool_record(pool, subnet)?);
        }
        for (ipv6, has) in [(false, wanted.ipv4 != Some(false)), (true, wanted.ipv6)] {
            if !has || pools.iter().any(|p| p.gateway.is_ipv6() == ipv6) {
                continue;
            }
            let mut taken = self.taken()?;
            if default.is_none() && !ipv6 {
                // The default bridge's own, which it takes with its first use.
                taken.push(self.default_pool(&taken)?);
            }
            let subnet = match ipv6 {
                true => match self.free_pool6(&taken) {
                    Some(pool) => pool,
                    None => net::first_free_pool6(self.local_prefix(), &taken)?,
                },
                false => self.free_pool(&taken)?,
            };
            pools.push(PoolRecord {
                subnet: subnet.to_string(),
                own_subnet: false,
                gateway: subnet.first_host(),
                own_gateway: false,
                range: String::new(),
                auxiliary: BTreeMap::new(),
            });
        }
        Ok(pools)
    }

    /// The 40 bits that make this installation's local networks unique (RFC 4193, 3.2).
    fn local_prefix(&self) -> [u8; 5] {
        let digest = oci::Digest::sha256(format!("local prefix {}", self.installation_id()).as_bytes());
        let number = u64::from_str_radix(&digest.hex()[..10], 16).unwrap_or_default();
        let [.., a, b, c, d, e] = number.to_be_bytes();
        [a, b, c, d, e]
    }
}

/// With everything in it that was asked for and is not given to two.
fn pool_record(pool: &Pool, subnet: Subnet) -> Result<PoolRecord> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|e| Error::invalid(e.to_string()));
    let gateway = match pool.gateway.as_str() {
        "" if subnet.is_ipv6() && subnet.prefix() == 128 => {
            return Err(Error::new(
                Kind::Internal,
                "failed to allocate gateway (): no available addresses on this pool",
            ));
        }
        "" => subnet.first_host(),
        text => address(text)?,
    };
    let mut auxiliary = BTreeMap::new();
    for (name, text) in &pool.auxiliary {
        let reserved = address(text)?;
        if reserved == gateway || auxiliary.values().any(|other| *other == reserved) {
            let text = format!(
                "failed to allocate secondary ip address ({name}:{reserved}): Address already in use"
            );
            return Err(Error::new(Kind::Internal, text));
        }
        auxiliary.insert(name.clone(), reserved);
    }
    Ok(PoolRecord {
        subnet: subnet.to_string(),
        own_subnet: true,
        gateway,
        own_gateway: !pool.gateway.is_empty(),
        range: pool.range.clone(),
        auxiliary,
    })
}

fn check(wanted: &CreateNetwork) -> Result<()> {
    let CreateNetwork { name, driver, options, .. } = wanted;
    if name.trim().is_empty() {
        return Err(Error::invalid("invalid name: name is empty"));
    }
    if matches!(name.as_str(), "bridge" | "host" | "none" | "default") {
        let text = format!("operation is not permitted on predefined {name} network ");
        return Err(Error::new(Kind::Forbidden, text));
    }
    if wanted.ipv4 == Some(false) && !wanted.ipv6 {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
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
        other => return Err(Error::not_found(format!("plugin \"{other}\" not found"))),
    }
    options.iter().try_for_each(|(key, value)| check_option(key, value))
}

fn check_option(key: &str, value: &str) -> Result<()> {
    let failed = |reason: String| Error::invalid(format!("failed to parse {key} value: {value} ({reason})"));
    let syntax = |function: &str| failed(format!("strconv.{function}: parsing {value:?}: invalid syntax"));
    match key {
        MTU => match value.parse::<i64>() {
            Err(_) => Err(syntax("Atoi")),
            Ok(mtu) if mtu < 0 => Err(Error::invalid(format!("invalid MTU number: {mtu}"))),
            Ok(_) => Ok(()),
        },
        // Go's words for truth.
        ICC if !matches!(
            value,
            "1" | "t" | "T" | "TRUE" | "true" | "True" | "0" | "f" | "F" | "FALSE" | "false" | "False"
        ) =>
        {
            Err(syntax("ParseBool"))
        }
        ICC => Ok(()),
        BRIDGE_NAME if !value.starts_with("tare") || value.len() > 15 || value == "tare0" => {
            let rule = "the name of a bridge begins with tare and has at most 15 characters";
            Err(Error::invalid(format!("invalid value {value:?} of the option {key}: {rule}")))
        }
        BRIDGE_NAME => Ok(()),
        _ if key.starts_with("com.docker.network.") => {
            Err(Error::new(Kind::NotImplemented, format!("the network option {key} is not supported yet")))
        }
        _ => Ok(()),
    }
}

/// As dockerd checks them, all errors at once; a pool of a family that the network does not have is only kept.
fn check_pools(wanted: &CreateNetwork) -> std::result::Result<(), String> {
    let mut wrong = Vec::new();
    for pool in &wanted.pools {
        let Ok(subnet) = pool.subnet.parse::<Subnet>() else {
            wrong.push(format!("invalid subnet {}: invalid CIDR block notation", pool.subnet));
            continue;
        };
        if subnet.is_ipv6() && !wanted.ipv6 {
            continue;
        }
        if !is_masked(&pool.subnet, subnet) {
            wrong.push(format!("invalid subnet {}: it should be {subnet}", pool.subnet));
        }
        check_range(&pool.range, subnet, &mut wrong);
        if let Err(why) = check_address(&pool.gateway, subnet) {
            wrong.push(format!("invalid gateway {}: {why}", pool.gateway));
        }
        for (name, address) in &pool.auxiliary {
            if let Err(why) = check_address(address, subnet) {
                wrong.push(format!("invalid auxiliary address {name}: {why}"));
            }
        }
    }
    joined("invalid network config", &wrong)
}

/// Whether a text that parses to a subnet has no bits beyond its prefix.
fn is_masked(text: &str, subnet: Subnet) -> bool {
    let base = text.split_once('/').map(|(base, _)| base.parse::<IpAddr>());
    base.is_some_and(|base| base == Ok(subnet.base()))
}

fn family(subnet: Subnet) -> &'static str {
    if subnet.is_ipv6() { "IPv6" } else { "IPv4" }
}

fn check_range(text: &str, subnet: Subnet, wrong: &mut Vec<String>) {
    if text.is_empty() {
        return;
    }
    let mut bad = |why: String| wrong.push(format!("invalid ip-range {text}: {why}"));
    let Ok(range) = text.parse::<Subnet>() else { return bad("invalid CIDR block notation".to_string()) };
    if range.is_ipv6() != subnet.is_ipv6() {
        return bad(format!("parent subnet is an {} block", family(subnet)));
    }
    if range.prefix() < subnet.prefix() {
        bad(format!("CIDR block is bigger than its parent subnet {subnet}"));
    }
    if !is_masked(text, range) {
        bad(format!("it should be {range}"));
    }
    if !range.overlaps(&subnet) {
        bad(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
}

fn check_address(text: &str, subnet: Subnet) -> std::result::Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let Ok(address) = text.parse::<IpAddr>() else { return Err("invalid address".to_string()) };
    if address.is_ipv6() != subnet.is_ipv6() {
        return Err(format!("parent subnet is an {} block", family(subnet)));
    }
    match subnet.contains(address) {
        true => Ok(()),
        false => Err(format!("parent subnet {subnet} doesn't contain this address")),
    }
}
