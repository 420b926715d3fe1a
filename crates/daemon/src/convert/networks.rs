//! A container's networks, both ways.

use std::collections::BTreeMap;

use api::network::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};
use engine::networks::Membership;
use engine::{Container, NetworkMode};

use crate::reply::Refusal;

/// Docker's word for a network.
pub(super) fn mode(word: &str) -> Result<NetworkMode, Refusal> {
    match word {
        "" | "default" | "bridge" => Ok(NetworkMode::Bridge),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other if other.starts_with("container:") => Ok(NetworkMode::Container(other.to_owned())),
        other => Ok(NetworkMode::Named(other.to_owned())),
    }
}

/// The networks of a new container: that of its mode, and those that it names besides.
pub(super) fn wanted(
    networking: Option<&NetworkingConfig>,
    own: &NetworkMode,
) -> Result<Option<BTreeMap<String, Membership>>, Refusal> {
    let endpoints = networking.and_then(|networking| networking.endpoints_config.as_ref());
    if own.joined().is_some() {
        for settings in endpoints.into_iter().flat_map(BTreeMap::values).flatten() {
            if membership(settings)?.address.is_some() {
                let name = own.as_str();
                return Err(Refusal::bad_request(format!(
                    "invalid config for network {name}: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only"
                )));
            }
        }
        return Ok(None);
    }
    let mut all = BTreeMap::from([(own.as_str().to_owned(), Membership::default())]);
    for (name, settings) in endpoints.into_iter().flatten() {
        let wish = settings.as_ref().map(membership).transpose()?.unwrap_or_default();
        all.insert(mode(name)?.as_str().to_owned(), wish);
    }
    if all.len() > 1 && (all.contains_key("host") || all.contains_key("none")) {
        return Err(Refusal::bad_request(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    let plain = all.len() == 1 && all.values().all(|wish| *wish == Membership::default());
    Ok((!plain).then_some(all))
}

/// What is wanted of one network; what the engine itself fills in is ignored, as dockerd does.
pub(crate) fn membership(from: &EndpointSettings) -> Result<Membership, Refusal> {
    let ipam = from.ipam_config.clone().unwrap_or_default();
    let refused = [
        ("IPAMConfig.LinkLocalIPs", ipam.link_local_ips.as_ref().is_some_and(|l| !l.is_empty())),
        ("DriverOpts", from.driver_opts.as_ref().is_some_and(|o| !o.is_empty())),
    ];
    if let Some((field, _)) = refused.iter().find(|(_, given)| *given) {
        return Err(Refusal::later(&format!("EndpointsConfig.{field}")));
    }
    let address = address_of(&ipam.ipv4_address, "IPv4")?;
    let address6 = address_of(&ipam.ipv6_address, "IPv6")?;
    let mac = Some(from.mac_address.to_lowercase()).filter(|mac| !mac.is_empty());
    Ok(Membership {
        aliases: from.aliases.clone().unwrap_or_default(),
        address,
        address6,
        mac,
        priority: from.gw_priority as i64,
        links: from.links.clone().unwrap_or_default(),
    })
}

/// A fixed address, where one is asked for.
fn address_of<A: std::str::FromStr>(text: &str, family: &str) -> Result<Option<A>, Refusal> {
    let address = (!text.is_empty()).then(|| text.parse());
    address.transpose().map_err(|_| {
        Refusal::bad_request(format!("invalid endpoint settings:\ninvalid {family} address: {text}"))
    })
}

/// A container's networks as `inspect` and `ps` show them.
pub(super) fn shown(container: &Container) -> BTreeMap<String, EndpointSettings> {
    let one = |(name, network): (&String, &engine::NetworkState)| {
        let wish = &network.wish;
        let (own, own6) = (text(wish.address.as_ref()), text(wish.address6.as_ref()));
        let fixed = !own.is_empty() || !own6.is_empty();
        let mut settings = EndpointSettings {
            ipam_config: fixed.then(|| EndpointIpamConfig {
                ipv4_address: own,
                ipv6_address: own6,
                ..EndpointIpamConfig::default()
            }),
            aliases: (!wish.aliases.is_empty()).then(|| wish.aliases.clone()),
            gw_priority: wish.priority as isize,
            links: (!wish.links.is_empty()).then(|| wish.links.clone()),
            mac_address: String::new(),
            network_id: network.id.clone(),
            dns_names: dns_names(container, name, wish),
            ..EndpointSettings::default()
        };
        if let Some(endpoint) = &network.endpoint {
            settings.mac_address.clone_from(&endpoint.mac);
            settings.endpoint_id.clone_from(&endpoint.endpoint_id);
            if let Some(v4) = &endpoint.v4 {
                settings.gateway = text(v4.gateway.as_ref());
                settings.ip_address = v4.address.to_string();
                settings.ip_prefix_len = v4.prefix.into();
            }
            if let Some(v6) = &endpoint.v6 {
                settings.ipv6_gateway = text(v6.gateway.as_ref());
                settings.global_ipv6_address = v6.address.to_string();
                settings.global_ipv6_prefix_len = v6.prefix.into();
            }
        }
        (name.clone(), settings)
    };
    container.networks.iter().map(one).collect()
}

fn text(address: Option<&impl ToString>) -> String {
    address.map(ToString::to_string).unwrap_or_default()
}

/// Its names in a user-defined network: its own, its aliases, its short id, its host name.
fn dns_names(container: &Container, network: &str, wish: &Membership) -> Option<Vec<String>> {
    if matches!(network, "bridge" | "host" | "none") {
        return None;
    }
    let mut names = vec![container.name.clone()];
    let short = container.id.get(..12).unwrap_or_default().to_owned();
    for name in wish.aliases.iter().chain([&short, &container.config.hostname]) {
        if !name.is_empty() && !names.contains(name) {
            names.push(name.clone());
        }
    }
    Some(names)
}
