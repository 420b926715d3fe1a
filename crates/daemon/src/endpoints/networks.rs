//! The network endpoints.

use api::filters::Filters;
use api::network::{
    EndpointResource, Ipam, IpamConfig, Network, NetworkConnect, NetworkCreate, NetworkCreated,
    NetworkDisconnect, NetworkPruneReport,
};
use engine::networks::{CreateNetwork, Joining, NetworkInfo, Pool, PruneNetworks};
use engine::{Container, Engine, ListFilter};
use http::StatusCode;

use crate::call::Call;
use crate::convert::{moment, networks, words};
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) async fn list(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let filters = Filters::parse(call.query.get("filters"))?;
    for (name, values) in filters.iter() {
        match name {
            "name" | "id" | "driver" | "scope" | "label" => {}
            "type" if values.iter().all(|v| v == "builtin" || v == "custom") => {}
            "dangling" if values.iter().all(|v| matches!(v.as_str(), "0" | "1" | "true" | "false")) => {}
            "type" | "dangling" => {
                return Err(Refusal::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" "))));
            }
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    let look = |engine: &Engine| Ok((engine.networks()?, engine.used_networks()?));
    let (found, used) = router.block(&call.tracing, look).await?;
    let fits = |n: &&NetworkInfo| passes(n, &filters, used.contains_key(&n.name));
    let list: Vec<Network> = found.iter().filter(fits).map(|network| body(network, &[])).collect();
    Ok(reply::json(StatusCode::OK, &list))
}

/// Docker's rules: part of a name, start of an id, whole other words.
fn passes(network: &NetworkInfo, filters: &Filters, used: bool) -> bool {
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        !filters.has(name) || filters.get(name).iter().any(|value| test(value))
    };
    let builtin = network.record.is_none();
    any("name", &|value| engine::name_pattern::matches(value, &network.name))
        && any("id", &|value| network.id.starts_with(value))
        && any("driver", &|value| network.driver == value)
        && any("scope", &|value| value == "local")
        && any("type", &|value| (value == "builtin") == builtin)
        && filters.get("label").iter().all(|label| network.has_label(label))
        // The built-in ones never dangle.
        && any("dangling", &|value| matches!(value, "1" | "true") == (!builtin && !used))
}

pub(super) async fn inspect(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let word = call.name.clone();
    let scope = call.query.get("scope").to_owned();
    let look = move |engine: &Engine| {
        if !matches!(scope.as_str(), "" | "local") {
            return Err(engine::Error::not_found(format!("network {word} not found")));
        }
        Ok((engine.network(&word)?, engine.list_containers(&ListFilter::default())?))
    };
    let (found, containers) = router.block(&call.tracing, look).await?;
    Ok(reply::json(StatusCode::OK, &body(&found, &containers)))
}

pub(super) async fn create(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let wanted = wanted(call.json_required().await?)?;
    let id = router.block(&call.tracing, move |engine| engine.create_network(wanted)).await?;
    Ok(reply::json(StatusCode::CREATED, &NetworkCreated { id, warning: String::new() }))
}

/// What of a request cannot be had is refused by its name.
fn wanted(from: NetworkCreate) -> Result<CreateNetwork, Refusal> {
    let ipam = from.ipam.unwrap_or_default();
    let refused = [
        ("Ingress", from.ingress),
        ("ConfigOnly", from.config_only),
        ("ConfigFrom", from.config_from.is_some_and(|c| !c.network.is_empty())),
    ];
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(engine::Error::not_found(format!("plugin {:?} not found", ipam.driver)).into());
    }
    if !matches!(from.scope.as_str(), "" | "local") {
        let text = "cannot create a swarm scoped network when swarm is not active";
        return Err(engine::Error::new(engine::Kind::Forbidden, text).into());
    }
    if let Some((field, _)) = refused.iter().find(|(_, given)| *given) {
        return Err(Refusal::later(field));
    }
    let pools = ipam.config.unwrap_or_default().into_iter().map(|pool| Pool {
        subnet: pool.subnet,
        range: pool.ip_range,
        gateway: pool.gateway,
        auxiliary: pool.auxiliary_addresses.unwrap_or_default(),
    });
    Ok(CreateNetwork {
        name: from.name,
        driver: from.driver,
        internal: from.internal,
        attachable: from.attachable,
        ipv4: from.enable_ipv4,
        ipv6: from.enable_ipv6 == Some(true),
        pools: pools.collect(),
        ipam_options: ipam.options.unwrap_or_default(),
        options: from.options.unwrap_or_default(),
        labels: from.labels.unwrap_or_default(),
    })
}

pub(super) async fn remove(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = call.name.clone();
    router.block(&call.tracing, move |engine| engine.remove_network(&name)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn connect(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let network = call.name.clone();
    let asked: NetworkConnect = call.json_required().await?;
    let wish = networks::membership(&asked.endpoint_config.unwrap_or_default())?;
    let joining = Joining { network, container: asked.container, wish };
    router.block(&call.tracing, move |engine| engine.connect_network(&joining)).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub(super) async fn disconnect(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let network = call.name.clone();
    let asked: NetworkDisconnect = call.json_required().await?;
    let leave = move |engine: &Engine| engine.disconnect_network(&network, &asked.container, asked.force);
    router.block(&call.tracing, leave).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub(super) async fn prune(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let filters = Filters::parse(call.query.get("filters"))?;
    let mut filter = PruneNetworks::default();
    for (name, values) in filters.iter() {
        match name {
            "label" => filter.labels = values.to_vec(),
            "label!" => filter.not_labels = values.to_vec(),
            "until" => {
                let [text] = values else {
                    return Err(Refusal::bad_request("more than one until filter specified"));
                };
                filter.until_ns = Some(moment::moment(text).ok_or_else(|| {
                    Refusal::bad_request(format!("failed to parse value as time or duration: \"{text}\""))
                })?);
            }
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    let names = router.block(&call.tracing, move |engine| engine.prune_networks(&filter)).await?;
    let networks_deleted = (!names.is_empty()).then_some(names);
    Ok(reply::json(StatusCode::OK, &NetworkPruneReport { networks_deleted }))
}

fn with_prefix<A: std::fmt::Display>(location: Option<&engine::Location<A>>) -> String {
    location.map(|l| format!("{}/{}", l.address, l.prefix)).unwrap_or_default()
}

fn body(network: &NetworkInfo, containers: &[Container]) -> Network {
    let resources = containers.iter().filter_map(|container| {
        let place = container.networks.get(&network.name)?;
        let endpoint = place.endpoint.as_ref();
        let resource = EndpointResource {
            name: container.name.clone(),
            endpoint_id: endpoint.map(|e| e.endpoint_id.clone()).unwrap_or_default(),
            mac_address: endpoint.map(|e| e.mac.clone()).unwrap_or_default(),
            ipv4_address: with_prefix(endpoint.and_then(|e| e.v4.as_ref())),
            ipv6_address: with_prefix(endpoint.and_then(|e| e.v6.as_ref())),
        };
        Some((container.id.clone(), resource))
    });
    let record = network.record.as_ref();
    let default = network.place.iter().map(|place| IpamConfig {
        subnet: place.subnet.to_string(),
        gateway: place.gateway.to_string(),
        ..IpamConfig::default()
    });
    let pools = record.iter().flat_map(|r| &r.pools).map(|pool| IpamConfig {
        subnet: pool.subnet.clone(),
        gateway: pool.shown_gateway(),
        ip_range: pool.range.clone(),
        auxiliary_addresses: (!pool.auxiliary.is_empty())
            .then(|| pool.auxiliary.iter().map(|(name, ip)| (name.clone(), ip.to_string())).collect()),
    });
    let pools: Vec<IpamConfig> = default.chain(pools).collect();
    Network {
        name: network.name.clone(),
        id: network.id.clone(),
        created: match network.created_ns {
            0 => words::ZERO_TIME.to_owned(),
            ns => words::time(ns),
        },
        scope: "local".to_owned(),
        driver: network.driver.to_owned(),
        enable_ipv4: record.is_none_or(|r| r.ipv4),
        enable_ipv6: record.is_some_and(|r| r.ipv6),
        ipam: Ipam {
            driver: "default".to_owned(),
            options: record.map(|r| r.ipam_options.clone()),
            config: (network.driver == "bridge").then_some(pools),
        },
        internal: record.is_some_and(|r| r.internal),
        attachable: record.is_some_and(|r| r.attachable),
        containers: Some(resources.collect()),
        options: Some(record.map(|r| r.options.clone()).unwrap_or_default()),
        labels: Some(record.map(|r| r.labels.clone()).unwrap_or_default()),
        ..Network::default()
    }
}
