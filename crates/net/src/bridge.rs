//! The default bridge: made once per boot, found ever after.
//!
//! Idempotent; the caller holds the network's lock. The bridge outlives containers and commands: it
//! is removed by `uninstall` only.

use crate::netns::{read_sysctl, write_sysctl};
use crate::route::{Link, RouteSocket};
use crate::{BridgeConfig, Error, MacAddr, Result, Subnet, ipam};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};
use sys::trace;

/// A bridge that is up and has its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) subnet: Subnet,
    pub(crate) gateway: Ipv4Addr,
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
    let (subnet, gateway, addressed) = address(route, &link, config)?;
    step.note(format_args!("{} {gateway}/{} mtu {}", link.name, subnet.prefix(), config.mtu));
    Ok(Bridge {
        index: link.index,
        name: link.name,
        mtu: config.mtu,
        subnet,
        gateway,
        created: made || addressed,
    })
}

fn make(route: &RouteSocket, config: &BridgeConfig) -> Result<Link> {
    let mut step = trace::step("bridge", "RTM_NEWLINK");
    step.note(format_args!("create {}", config.name));
    step.check(route.create_bridge(&config.name, MacAddr::random()?, config.mtu))?;
    // dockerd does the same: the host takes no router's word that comes from a container.
    match write_sysctl(&format!("net/ipv6/conf/{}/accept_ra", config.name), "0") {
        Err(e) if e.errno() != Errno::NOENT.raw_os_error() => return Err(e),
        _ => {}
    }
    route.link(&config.name)?.ok_or(Error::Answer("RTM_GETLINK after RTM_NEWLINK"))
}

/// The bridge's own address: what it has, or what the configuration says, or the first free pool.
fn address(route: &RouteSocket, link: &Link, config: &BridgeConfig) -> Result<(Subnet, Ipv4Addr, bool)> {
    for a in route.addresses_of(link.index)? {
        let IpAddr::V4(own) = a.address else { continue };
        let Some(subnet) = Subnet::containing(own, a.prefix) else { continue };
        if config.gateway.is_none_or(|g| g == own) && config.subnet.is_none_or(|s| s == subnet) {
            return Ok((subnet, own, false));
        }
    }
    let subnet = match config.subnet {
        Some(subnet) => subnet,
        None => ipam::first_free_pool(&taken(&route.addresses()?, &route.routes()?, &config.reserved))?,
    };
    let gateway = config.gateway.unwrap_or(subnet.first_host());
    let mut step = trace::step("address", "RTM_NEWADDR");
    step.note(format_args!("{gateway}/{} on {}", subnet.prefix(), link.name));
    step.check(route.add_address(link.index, gateway, subnet))?;
    Ok((subnet, gateway, true))
}

/// The subnets that the host uses already; the default route is not one.
fn taken(
    addresses: &[crate::route::Address],
    routes: &[crate::route::Route],
    reserved: &[Subnet],
) -> Vec<Subnet> {
    let v4 = |ip, prefix| match ip {
        IpAddr::V4(ip) => Subnet::containing(ip, prefix),
        IpAddr::V6(_) => None,
    };
    let by_address = addresses.iter().filter_map(|a| v4(a.address, a.prefix));
    let by_route = routes.iter().filter(|r| r.prefix > 0).filter_map(|r| v4(r.destination, r.prefix));
    by_address.chain(by_route).chain(reserved.iter().copied()).collect()
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

/// Whether frames between ports of a bridge pass the IPv4 hooks (br_netfilter).
pub(crate) fn filters_frames() -> bool {
    // Without the module there is no such file.
    read_sysctl("net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value != "0")
}

/// Whether the host forwards IPv4.
pub(crate) fn forwarding() -> Result<bool> {
    Ok(read_sysctl("net/ipv4/ip_forward")? != "0")
}

/// Switches IPv4 forwarding.
pub(crate) fn set_forwarding(on: bool) -> Result<()> {
    let mut step = trace::step("sysctl", "write(2)");
    step.note(format_args!("net/ipv4/ip_forward = {}", u8::from(on)));
    step.check(write_sysctl("net/ipv4/ip_forward", if on { "1" } else { "0" }))
}
