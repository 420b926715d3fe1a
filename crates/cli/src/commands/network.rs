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

/// One pool for each `--subnet`; the others go to the subnet that they lie in, as Docker's CLI finds it.
fn pools(parsed: &Parsed) -> Result<Vec<IpamConfig>, Error> {
    let (subnets, ranges, gateways) =
        (words(parsed, "subnet"), words(parsed, "ip-range"), words(parsed, "gateway"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(Error::failed("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut pools: Vec<IpamConfig> = Vec::new();
    for subnet in subnets {
        for other in &pools {
            if contains(&other.subnet, network(&subnet)?.0)? || contains(&subnet, network(&other.subnet)?.0)?
            {
                return Err(Error::failed("multiple overlapping subnet configuration is not supported"));
            }
        }
        pools.push(IpamConfig { subnet, ..IpamConfig::default() });
    }
    for text in ranges {
        let pool = pool_of(&mut pools, "range", &text, Some(network(&text)?.0))?;
        give(&mut pool.ip_range, "ranges", "on", &pool.subnet, text)?;
    }
    for text in gateways {
        let pool = pool_of(&mut pools, "gateway", &text, text.parse().ok())?;
        give(&mut pool.gateway, "gateways", "for", &pool.subnet, text)?;
    }
    for (name, address) in pairs(&parsed.list("aux-address")) {
        let pool = pool_of(&mut pools, "aux-address", &address, address.parse().ok())?;
        pool.auxiliary_addresses.get_or_insert_default().insert(name, address);
    }
    Ok(pools)
}

fn pool_of<'a>(
    pools: &'a mut [IpamConfig],
    what: &str,
    text: &str,
    address: Option<IpAddr>,
) -> Result<&'a mut IpamConfig, Error> {
    for pool in pools {
        if address.map_or(Ok(false), |address| contains(&pool.subnet, address))? {
            return Ok(pool);
        }
    }
    Err(Error::failed(format!("no matching subnet for {what} {text}")))
}

fn give(slot: &mut String, what: &str, preposition: &str, subnet: &str, text: String) -> Result<(), Error> {
    if !slot.is_empty() {
        let text = format!(
            "cannot configure multiple {what} ({text}, {slot}) {preposition} the same subnet ({subnet})"
        );
        return Err(Error::failed(text));
    }
    *slot = text;
    Ok(())
}

fn contains(subnet: &str, address: IpAddr) -> Result<bool, Error> {
    let (base, prefix) = network(subnet)?;
    Ok(match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            u32::from(base) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            u128::from(base) & mask == u128::from(address) & mask
        }
        _ => false,
    })
}

/// `10.0.0.0/8`
fn network(text: &str) -> Result<(IpAddr, u32), Error> {
    let parse = || {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (IpAddr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
    };
    parse().ok_or_else(|| Error::failed(format!("invalid CIDR address: {text}")))
}

/// `network connect`
pub async fn connect(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    if words(parsed, "driver-opt").iter().any(|option| !option.contains('=')) {
        return Err(Error::failed("invalid key/value pair format in driver options"));
    }
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
    // Docker's CLI returns an error that says no more than this.
    if !failures.is_empty() {
        failures.push(Error::failed("exit status 1"));
    }
    join(failures)
}
