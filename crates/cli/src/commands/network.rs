//! `network create`, `ls`, `rm`, `connect`, `disconnect`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use api::network::{
    ConfigReference, EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnect, NetworkCreate,
    NetworkDisconnect,
};

use super::join;
use super::list::filters;
use crate::error::Error;
use crate::grammar::Parsed;
use crate::listing::{self, networks, volumes};
use crate::session::Session;
use crate::template::Value;

/// `network create`
pub async fn create(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let config_from = parsed.text("config-from");
    let wanted = NetworkCreate {
        name: parsed.args[0].clone(),
        driver: parsed.text("driver").to_owned(),
        scope: parsed.text("scope").to_owned(),
        enable_ipv4: parsed.changed("ipv4").then(|| parsed.switch_or("ipv4", true)),
        enable_ipv6: parsed.changed("ipv6").then(|| parsed.switch("ipv6")),
        ipam: Some(Ipam {
            driver: parsed.text("ipam-driver").to_owned(),
            options: Some(pairs(&parsed.list("ipam-opt"))),
            config: Some(pools(parsed)?),
        }),
        internal: parsed.switch("internal"),
        attachable: parsed.switch("attachable"),
        ingress: parsed.switch("ingress"),
        config_only: parsed.switch("config-only"),
        config_from: (!config_from.is_empty()).then(|| ConfigReference { network: config_from.to_owned() }),
        options: Some(pairs(&parsed.list("opt"))),
        labels: Some(pairs(&parsed.list("label"))),
    };
    let made = session.client().await?.network_create(&wanted).await?;
    session.out.line(&made.id)
}

fn pairs(words: &[String]) -> BTreeMap<String, String> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}

fn words(parsed: &Parsed, flag: &str) -> Vec<String> {
    parsed.list(flag).iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
}

/// One pool for each `--subnet`; the others go to the subnet that they lie in, with the texts of Docker's CLI.
fn pools(parsed: &Parsed) -> Result<Vec<IpamConfig>, Error> {
    let (subnets, ranges, gateways) =
        (words(parsed, "subnet"), words(parsed, "ip-range"), words(parsed, "gateway"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(Error::failed("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut pools: Vec<IpamConfig> =
        subnets.into_iter().map(|subnet| IpamConfig { subnet, ..IpamConfig::default() }).collect();
    let mut put = |text: &str, what: &str, slot: &mut dyn FnMut(&mut IpamConfig) -> Result<(), String>| {
        let base = text.split('/').next().unwrap_or_default();
        match pools.iter_mut().find(|pool| contains(&pool.subnet, base)) {
            Some(pool) => slot(pool).map_err(Error::failed),
            None => Err(Error::failed(format!("no matching subnet for {what} {text}"))),
        }
    };
    for range in ranges {
        put(&range, "range", &mut |pool| match pool.ip_range.as_str() {
            "" => {
                pool.ip_range.clone_from(&range);
                Ok(())
            }
            _ => Err(format!(
                "cannot configure multiple ranges ({range}) on the same subnet ({})",
                pool.subnet
            )),
        })?;
    }
    for gateway in gateways {
        put(&gateway, "gateway", &mut |pool| match pool.gateway.as_str() {
            "" => {
                pool.gateway.clone_from(&gateway);
                Ok(())
            }
            _ => {
                let subnet = &pool.subnet;
                Err(format!("cannot configure multiple gateways ({gateway}) on the same subnet ({subnet})"))
            }
        })?;
    }
    for (name, address) in pairs(&parsed.list("aux-address")) {
        put(&address, "aux-address", &mut |pool| {
            pool.auxiliary_addresses.get_or_insert_default().insert(name.clone(), address.clone());
            Ok(())
        })?;
    }
    Ok(pools)
}

/// Whether an address lies in a subnet; what cannot be read lies nowhere.
fn contains(subnet: &str, address: &str) -> bool {
    let bits = |text: &str| match text.parse().ok()? {
        IpAddr::V4(address) => Some((u128::from(address.to_bits()) << 96, 32)),
        IpAddr::V6(address) => Some((address.to_bits(), 128)),
    };
    let Some((base, prefix)) = subnet.split_once('/') else { return false };
    let (Some((base, width)), Some((address, same)), Ok(prefix)) =
        (bits(base), bits(address), prefix.parse::<u32>())
    else {
        return false;
    };
    width == same && prefix <= width && (base ^ address).leading_zeros() >= prefix
}

/// `network connect`
pub async fn connect(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let options = pairs(&words(parsed, "driver-opt"));
    let wanted = NetworkConnect {
        container: parsed.args[1].clone(),
        endpoint_config: Some(EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: parsed.text("ip").to_owned(),
                ipv6_address: parsed.text("ip6").to_owned(),
                link_local_ips: some(words(parsed, "link-local-ip")),
            }),
            links: some(parsed.list("link")),
            aliases: some(words(parsed, "alias")),
            driver_opts: (!options.is_empty()).then_some(options),
            gw_priority: parsed.int_or("gw-priority", 0) as isize,
            ..EndpointSettings::default()
        }),
    };
    Ok(session.client().await?.network_connect(&parsed.args[0], &wanted).await?)
}

/// `network disconnect`
pub async fn disconnect(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let wanted = NetworkDisconnect { container: parsed.args[1].clone(), force: parsed.switch("force") };
    Ok(session.client().await?.network_disconnect(&parsed.args[0], &wanted).await?)
}

/// `network ls`
pub async fn list(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let quiet = parsed.switch("quiet");
    let mut list = session.client().await?.network_list(&filters(parsed)).await?;
    list.sort_by(|a, b| volumes::natural(&a.name, &b.name));
    let given = match parsed.text("format") {
        "" => "table",
        given => given,
    };
    let trunc = !parsed.switch("no-trunc");
    let rows: Vec<Value> =
        list.into_iter().map(|network| Value::Object(Rc::new(networks::Row { network, trunc }))).collect();
    let text =
        listing::print(&networks::format(given, quiet), networks::HEADERS, &rows).map_err(Error::failed)?;
    session.out.write(text.as_bytes())
}

/// `network rm`
pub async fn remove(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let force = parsed.switch("force");
    let mut failures: Vec<Error> = Vec::new();
    for name in &parsed.args {
        match client.network_remove(name).await {
            Ok(()) => session.out.line(name)?,
            Err(error) if force && error.to_string().ends_with("not found") => {}
            Err(error) => failures.push(error.into()),
        }
    }
    join(failures)
}
