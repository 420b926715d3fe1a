//! `--network` and what belongs to it: aliases, addresses, links.
//!
//! A network is a name, or `name=…,alias=…,…`. The flags beside it (`--ip`, `--network-alias`, …) are about the
//! first network. Whether several networks, or an option, can be had is the engine's business.

use std::collections::BTreeMap;

use api::network::{EndpointIpamConfig, EndpointSettings};

use super::addresses::is_mac;
use super::some;
use crate::grammar::{Parsed, csv, numbers};

/// Endpoints by the name of their network.
pub type Endpoints = BTreeMap<String, Option<EndpointSettings>>;

/// One value of `--network`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The network.
    pub target: String,
    aliases: Vec<String>,
    options: BTreeMap<String, String>,
    links: Vec<String>,
    ip: String,
    ip6: String,
    mac: String,
    link_local: Vec<String>,
    priority: isize,
}

/// Reads one value.
pub fn attachment(value: &str) -> Result<Attachment, String> {
    if !is_long(value) {
        return Ok(Attachment { target: value.to_owned(), ..Attachment::default() });
    }
    let mut out = Attachment::default();
    for field in csv::fields(value)? {
        let lower = field.to_lowercase();
        let (key, value) = lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim() {
            "name" => value.clone_into(&mut out.target),
            "alias" => out.aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut out.ip),
            "ip6" => value.clone_into(&mut out.ip6),
            "mac-address" => value.clone_into(&mut out.mac),
            "link-local-ip" => out.link_local.push(value.to_owned()),
            "driver-opt" => {
                let pair = value.split_once('=').filter(|(key, _)| !key.is_empty());
                let (key, value) =
                    pair.ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                out.options.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            "gw-priority" => {
                let reason = |e| format!("invalid gw-priority ({value}): {e}");
                out.priority = numbers::parse_decimal(value).map_err(reason)?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if out.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(out)
}

/// For the check while flags are parsed.
pub fn is_network(value: &str) -> Result<(), String> {
    attachment(value).map(drop)
}

/// The endpoints that a command line asks for, and the network mode.
pub fn endpoints(parsed: &Parsed) -> Result<(Endpoints, String), String> {
    let given = parsed.list_of(&["network", "net"]);
    let mut wanted = given.iter().map(|v| attachment(v)).collect::<Result<Vec<_>, _>>()?;
    let named = !wanted.is_empty();
    if !named {
        wanted.push(Attachment { target: "default".to_owned(), ..Attachment::default() });
    }
    let mode = wanted[0].target.clone();
    let single = wanted.len() == 1;
    let own: Vec<bool> = wanted.iter().map(|w| is_user_defined(&w.target)).collect();
    let mut out = Endpoints::new();
    for (at, mut one) in wanted.into_iter().enumerate() {
        if at == 0 {
            add_flags(&mut one, parsed)?;
        }
        let settings = settings(&one)?;
        if out.contains_key(&one.target) {
            return Err(format!("network {} is specified multiple times", numbers::quote(&one.target)));
        }
        // A single network without options is named by the mode alone.
        if named && single && settings == EndpointSettings::default() {
            continue;
        }
        out.insert(one.target, Some(settings));
    }
    if own.contains(&true) && own.contains(&false) {
        let text = "conflicting options: cannot attach both user-defined and non-user-defined network-modes";
        return Err(text.to_owned());
    }
    Ok((out, mode))
}

/// The flags beside `--network`, for its first value.
fn add_flags(one: &mut Attachment, parsed: &Parsed) -> Result<(), String> {
    let aliases = parsed.list_of(&["network-alias", "net-alias"]);
    let (links, local) = (parsed.list("link"), parsed.list("link-local-ip"));
    let (ip, ip6, mac) = (parsed.text("ip"), parsed.text("ip6"), parsed.text("mac-address"));
    for (twice, flag, own) in [
        (!one.aliases.is_empty() && !aliases.is_empty(), "network-alias", "alias"),
        (!one.links.is_empty() && !links.is_empty(), "link", "links"),
        (!one.ip.is_empty() && !ip.is_empty(), "ip", "IPv4 address"),
        (!one.ip6.is_empty() && !ip6.is_empty(), "ip6", "IPv6 address"),
        (!one.mac.is_empty() && !mac.is_empty(), "mac-address", "MAC address"),
        (!one.link_local.is_empty() && !local.is_empty(), "link-local-ip", "link-local IP addresses"),
    ] {
        if twice {
            return Err(format!("conflicting options: cannot specify both --{flag} and per-network {own}"));
        }
    }
    if !aliases.is_empty() {
        one.aliases = aliases;
    }
    // On the default bridge a link is the container's, elsewhere the endpoint's.
    if is_user_defined(&one.target) && !links.is_empty() {
        one.links = links;
    }
    for (slot, given) in [(&mut one.ip, ip), (&mut one.ip6, ip6), (&mut one.mac, mac)] {
        if !given.is_empty() {
            given.clone_into(slot);
        }
    }
    if !local.is_empty() {
        one.link_local = local;
    }
    Ok(())
}

fn settings(one: &Attachment) -> Result<EndpointSettings, String> {
    if one.target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(&one.target) {
        for (list, what) in [(&one.aliases, "network-scoped aliases"), (&one.links, "links")] {
            if !list.is_empty() {
                return Err(format!("{what} are only supported for user-defined networks"));
            }
        }
    }
    if !one.mac.is_empty() && !is_mac(&one.mac) {
        return Err(format!("{} is not a valid mac address", one.mac));
    }
    let addresses = EndpointIpamConfig {
        ipv4_address: one.ip.clone(),
        ipv6_address: one.ip6.clone(),
        link_local_ips: some(one.link_local.clone()),
    };
    Ok(EndpointSettings {
        ipam_config: (addresses != EndpointIpamConfig::default()).then_some(addresses),
        links: some(one.links.clone()),
        aliases: some(one.aliases.clone()),
        mac_address: one.mac.clone(),
        driver_opts: (!one.options.is_empty()).then(|| one.options.clone()),
        gw_priority: one.priority,
        ..EndpointSettings::default()
    })
}

fn is_user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// Docker takes a value for the long form if a letter, digit or underscore stands on both sides of a `=`.
fn is_long(value: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    value.as_bytes().windows(3).any(|w| is_word(w[0]) && w[1] == b'=' && is_word(w[2]))
}
