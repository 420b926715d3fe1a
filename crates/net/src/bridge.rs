//! The default bridge: made once per boot, found ever after.
//!
//! Idempotent; the caller holds the network's lock. The bridge outlives containers and commands: it
//! is removed by `uninstall` only.

use crate::netns::{read_sysctl, write_sysctl};
use crate::route::{Link, RouteSocket};
use crate::{BridgeConfig, Error, MacAddr, Place, Result, Subnet, ipam};
use rustix::io::Errno;
use sys::trace;

/// A bridge that is up and has its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) places: Vec<Place>,
    /// Whether this call made it or gave it its address.
    pub(crate) created: bool,
}

/// Finds the bridge or makes it, with its address and MTU, up.
pub(crate) fn ensure(route: &RouteSocket, config: &BridgeConfig) -> Result<Bridge> {
    crate::route::check_name(&config.name)?;
    let mut step = trace::step("bridge", "RTM_GETLINK");
    let found = step.check(route.link(&config.name))?;
    let (link, made) = match found {
        Some(link) => (link, false),
        None => (make(route, config)?, true),
    };
    if link.kind.as_deref() != Some("bridge") {
        return Err(Error::NotABridge { name: config.name.clone() });
    }
    if !link.up {
        route.set_up(link.index)?;
    }
    if link.mtu != config.mtu {
        // Shows the truth also before the first port brings its own.
        route.set_mtu(link.index, config.mtu)?;
    }
    let (places, addressed) = addresses(route, &link, config)?;
    step.note(format_args!("{} mtu {}", link.name, config.mtu));
    for place in &places {
        step.note(format_args!("{}/{}", place.gateway, place.subnet.prefix()));
    }
    Ok(Bridge { index: link.index, name: link.name, mtu: config.mtu, places, created: made || addressed })
}

fn make(route: &RouteSocket, config: &BridgeConfig) -> Result<Link> {
    let mut step = trace::step("bridge", "RTM_NEWLINK");
    step.note(format_args!("create {}", config.name));
    step.check(route.create_bridge(&config.name, MacAddr::from_name(&config.name), config.mtu))?;
    // dockerd does the same: the host takes no router's word that comes from a container.
    match write_sysctl(&format!("net/ipv6/conf/{}/accept_ra", config.name), "0") {
        Err(e) if e.errno() != Errno::NOENT.raw_os_error() => return Err(e),
        _ => {}
    }
    route.link(&config.name)?.ok_or(Error::Answer("RTM_GETLINK after RTM_NEWLINK"))
}

/// The bridge's own addresses: what the configuration says; without it those of IPv4 that it has, or the first
/// free pool. Also whether one of them was missing.
fn addresses(route: &RouteSocket, link: &Link, config: &BridgeConfig) -> Result<(Vec<Place>, bool)> {
    let place = |a: &crate::route::Address| {
        Some(Place { subnet: Subnet::containing(a.address, a.prefix)?, gateway: a.address })
    };
    let has: Vec<Place> = route.addresses_of(link.index)?.iter().filter_map(place).collect();
    let mut wanted = config.places.clone();
    if wanted.is_empty() {
        if let Some(own) = has.iter().find(|p| !p.subnet.is_ipv6()) {
            return Ok((vec![*own], false));
        }
        let mut taken = taken(route)?;
        taken.extend(&config.reserved);
        wanted.push(Place::first_of(ipam::first_free_pool(&taken)?));
    }
    let missing: Vec<&Place> = wanted.iter().filter(|p| !has.contains(p)).collect();
    for Place { subnet, gateway } in &missing {
        if subnet.is_ipv6() {
            // A host's default may have it off.
            write_sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", link.name), "0")?;
        }
        let mut step = trace::step("address", "RTM_NEWADDR");
        step.note(format_args!("{gateway}/{} on {}", subnet.prefix(), link.name));
        step.check(route.add_address(link.index, *gateway, *subnet))?;
    }
    let any = !missing.is_empty();
    Ok((wanted, any))
}

/// The subnets that the host uses already, of both families; the default route is not one.
pub(crate) fn taken(route: &RouteSocket) -> Result<Vec<Subnet>> {
    let addresses = route.addresses()?;
    let mut taken: Vec<Subnet> =
        addresses.iter().filter_map(|a| Subnet::containing(a.address, a.prefix)).collect();
    let mut routes = route.routes()?;
    routes.extend(route.routes6()?);
    let routes = routes.iter().filter(|r| r.prefix > 0);
    taken.extend(routes.filter_map(|r| Subnet::containing(r.destination, r.prefix)));
    Ok(taken)
}

/// Lets packets for 127.0.0.0/8 pass the bridge: only after the ruleset that guards them is there.
pub(crate) fn allow_route_localnet(bridge: &str) -> Result<()> {
    let name = format!("net/ipv4/conf/{bridge}/route_localnet");
    if read_sysctl(&name)? == "1" {
        return Ok(());
    }
    let mut step = trace::step("sysctl", "write(2)");
    step.note(format_args!("{name} = 1"));
    step.check(write_sysctl(&name, "1"))
}

/// Whether frames between ports of a bridge pass the IP hooks (br_netfilter).
pub(crate) fn filters_frames() -> bool {
    // Without the module there are no such files.
    ["iptables", "ip6tables"].iter().any(|family| {
        read_sysctl(&format!("net/bridge/bridge-nf-call-{family}")).is_ok_and(|value| value != "0")
    })
}

const FORWARDING: &str = "net/ipv4/ip_forward";
const FORWARDING6: &str = "net/ipv6/conf/all/forwarding";

/// Whether the host forwards that family.
pub(crate) fn forwarding(ipv6: bool) -> Result<bool> {
    Ok(read_sysctl(if ipv6 { FORWARDING6 } else { FORWARDING })? != "0")
}

/// Switches forwarding.
pub(crate) fn set_forwarding(ipv6: bool, on: bool) -> Result<()> {
    let name = if ipv6 { FORWARDING6 } else { FORWARDING };
    let mut step = trace::step("sysctl", "write(2)");
    step.note(format_args!("{name} = {}", u8::from(on)));
    step.check(write_sysctl(name, if on { "1" } else { "0" }))
}
