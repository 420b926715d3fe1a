//! Ping, version, info, and the networks there are.

use api::network::{EndpointResource, Ipam, IpamConfig, Network};
use engine::networks::NetworkInfo;
use engine::{Container, ListFilter, NetworkMode};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA};

use crate::call::Call;
use crate::convert::{system, words};
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) fn ping(is_head: bool) -> Reply {
    let mut answer =
        if is_head { reply::empty(StatusCode::OK) } else { reply::text(StatusCode::OK, "OK".into()) };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // No Builder-Version yet: it would promise a builder.
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    answer
}

pub(super) fn version(router: &Router) -> Result<Reply, Refusal> {
    let kernel = rustix::system::uname();
    let body = system::version(&router.engine().options().version, &kernel.release().to_string_lossy());
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) async fn info(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let info = router.block(&call.tracing, engine::Engine::info).await?;
    let body = system::info(&info, &router.engine().options().version, call.version);
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) async fn networks(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let filters = api::filters::Filters::parse(call.query.get("filters"))?;
    for (name, _) in filters.iter() {
        match name {
            "name" | "id" | "driver" | "type" | "scope" | "dangling" => {}
            "label" => return Err(Refusal::later("the filter label")),
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    let found = router.block(&call.tracing, |engine| Ok(engine.networks())).await?;
    let list: Vec<Network> =
        found.iter().filter(|network| passes(network, &filters)).map(|network| body(network, &[])).collect();
    Ok(reply::json(StatusCode::OK, &list))
}

/// Docker's rules: part of a name, start of an id, whole other words.
fn passes(network: &NetworkInfo, filters: &api::filters::Filters) -> bool {
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        !filters.has(name) || filters.get(name).iter().any(|value| test(value))
    };
    any("name", &|value| network.name.contains(value))
        && any("id", &|value| network.id.starts_with(value))
        && any("driver", &|value| network.driver == value)
        && any("scope", &|value| value == "local")
        && any("type", &|value| value == "builtin")
        // The built-in ones never dangle.
        && any("dangling", &|value| matches!(value, "0" | "false"))
}

pub(super) async fn network(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let word = call.name.clone();
    let look = move |engine: &engine::Engine| {
        let all = engine.networks();
        let exact = all.iter().find(|network| network.id == word || network.name == word);
        let prefix = || all.iter().find(|network| word.len() >= 12 && network.id.starts_with(&word));
        let found = exact.or_else(prefix).cloned();
        let found = found.ok_or_else(|| engine::Error::not_found(format!("network {word} not found")))?;
        let containers = engine.list_containers(&ListFilter::default())?;
        Ok((found, containers))
    };
    let (found, containers) = router.block(&call.tracing, look).await?;
    Ok(reply::json(StatusCode::OK, &body(&found, &containers)))
}

fn body(network: &NetworkInfo, containers: &[Container]) -> Network {
    let member = |c: &&Container| c.host.network.as_str() == network.name;
    let resources = containers.iter().filter(member).map(|container| {
        let endpoint = container.endpoint.as_ref();
        let resource = EndpointResource {
            name: container.name.clone(),
            endpoint_id: endpoint.map(|e| e.endpoint_id.clone()).unwrap_or_default(),
            mac_address: endpoint.map(|e| e.mac.clone()).unwrap_or_default(),
            ipv4_address: endpoint.map(|e| format!("{}/{}", e.address, e.prefix)).unwrap_or_default(),
            ipv6_address: String::new(),
        };
        (container.id.clone(), resource)
    });
    let pools = network.subnet.iter().map(|(subnet, gateway)| IpamConfig {
        subnet: subnet.clone(),
        gateway: gateway.clone(),
        ..IpamConfig::default()
    });
    let is_bridge = network.name == NetworkMode::Bridge.as_str();
    Network {
        name: network.name.to_owned(),
        id: network.id.clone(),
        created: words::ZERO_TIME.to_owned(),
        scope: "local".to_owned(),
        driver: network.driver.to_owned(),
        enable_ipv4: true,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: None,
            config: if is_bridge { Some(pools.collect()) } else { None },
        },
        containers: Some(resources.collect()),
        options: Some(Default::default()),
        labels: Some(Default::default()),
        ..Network::default()
    }
}
