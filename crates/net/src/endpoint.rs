//! A container's interface: one request makes the pair, the rest happens inside its namespace.
//!
//! Nothing is undone at exit: closing the namespace's last fd destroys the pair, in batches, off
//! everybody's path. [`detach`] is for reconciling only.

use crate::bridge::{self, Bridge};
use crate::route::{RouteSocket, VethPair, check_name};
use crate::{Error, MacAddr, Netns, Result};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::net::IpAddr;
use sys::trace;

/// BR_MAX_PORTS − 1 (net/bridge/br_private.h): port number 0 is not used.
const MAX_BRIDGE_PORTS: u32 = 1023;
/// Names are drawn at random; so many collisions in a row do not happen.
const NAME_ATTEMPTS: u32 = 8;
/// Docker's form of a host-side name: `veth` and seven hexadecimal digits.
const HOST_PREFIX: &str = "veth";

/// What an endpoint shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// Its addresses, from [`crate::Ipam::candidate`]: one of each family at most.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address, usually [`crate::Ipam::mac`] of the address.
    pub mac: MacAddr,
    /// Its name inside, `eth0`.
    pub name: String,
    /// Whether ports of it are published.
    pub publishes: bool,
    /// Whether the namespace's default route goes by it, of IPv4 and of IPv6.
    pub default_route: [bool; 2],
    /// Whether it shall not hear its siblings on the bridge (`icc=false`).
    pub isolated: bool,
}

/// An interface that works: inside its namespace, with its address and default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name of the host's side.
    pub host_name: String,
    /// The name inside.
    pub name: String,
    /// The index inside.
    pub index: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: MacAddr,
}

pub(crate) fn attach(
    route: &RouteSocket,
    bridge: &Bridge,
    netns: &Netns,
    config: &EndpointConfig,
) -> Result<Endpoint> {
    check_name(&config.name)?;
    let host_name = pair(route, bridge, netns, config)?;
    if config.publishes && bridge::filters_frames() {
        // br_netfilter redirects a frame without routing it, so that a container that reaches itself by
        // its published port gets its own frame back through the port it came from.
        let mut step = trace::step("veth", "RTM_NEWLINK");
        step.note(format_args!("hairpin on {host_name}"));
        step.check(route.set_hairpin(&host_name))?;
    }
    if config.isolated {
        route.set_isolated(&host_name)?;
    }
    let mut step = trace::step("address", "RTM_NEWADDR");
    let (mut addresses, mut gateways) = (Vec::new(), Vec::new());
    for address in &config.addresses {
        let place = bridge.places.iter().find(|p| p.subnet.contains(*address));
        let place = place.ok_or(Error::AddressOutOfRange(*address))?;
        step.note(format_args!("{address}/{} on {}", place.subnet.prefix(), config.name));
        addresses.push((*address, place.subnet));
        if config.default_route[usize::from(address.is_ipv6())] {
            gateways.push(place.gateway);
            step.note(format_args!("up, default via {}", place.gateway));
        }
    }
    let inside = netns.route();
    let index = match step.check(inside.link(&config.name))? {
        Some(link) => link.index,
        None => return Err(Error::Answer("RTM_GETLINK inside the new namespace")),
    };
    step.check(netns.switch_ipv6(&config.name, config.addresses.iter().any(IpAddr::is_ipv6)))?;
    step.check(inside.configure(index, &addresses, &gateways))?;
    let (name, addresses) = (config.name.clone(), config.addresses.clone());
    Ok(Endpoint { host_name, name, index, addresses, mac: config.mac })
}

/// Makes an endpoint a port of its bridge again, after somebody has deleted the bridge. One that is gone is fine.
pub(crate) fn plug_in(
    route: &RouteSocket,
    bridge: &Bridge,
    host_name: &str,
    publishes: bool,
    isolated: bool,
) -> Result<()> {
    let Some(link) = route.link(host_name)? else { return Ok(()) };
    if link.master == Some(bridge.index) {
        return Ok(());
    }
    route.set_master(host_name, bridge.index)?;
    if publishes && bridge::filters_frames() {
        route.set_hairpin(host_name)?;
    }
    if isolated { route.set_isolated(host_name) } else { Ok(()) }
}

/// Removes an endpoint whose namespace may live on. What is gone already is fine.
pub(crate) fn detach(route: &RouteSocket, host_name: &str) -> Result<()> {
    let mut step = trace::step("veth", "RTM_DELLINK");
    step.note(format_args!("{host_name}"));
    step.check(route.delete_link(host_name))
}

/// Makes the pair under a random host-side name.
fn pair(route: &RouteSocket, bridge: &Bridge, netns: &Netns, config: &EndpointConfig) -> Result<String> {
    for attempt in 1.. {
        let host_name = random_name()?;
        let mut step = trace::step("veth", "RTM_NEWLINK");
        step.note(format_args!("{host_name} on {}", bridge.name));
        step.note(format_args!("peer {} {} in net:[{}]", config.name, config.mac, netns.inode()));
        let made = step.check(route.create_veth(&VethPair {
            host_name: &host_name,
            bridge: bridge.index,
            peer_name: &config.name,
            peer_mac: config.mac,
            peer_netns: netns.as_fd(),
            mtu: bridge.mtu,
        }));
        match made {
            Ok(()) => return Ok(host_name),
            // Taken on the host's side; a second interface of that name inside is the caller's error.
            Err(e) if e.errno() == Errno::EXIST.raw_os_error() && attempt < NAME_ATTEMPTS => {
                if netns.route().link(&config.name)?.is_some() {
                    return Err(e);
                }
            }
            Err(e) if e.errno() == Errno::XFULL.raw_os_error() => {
                return Err(Error::BridgeFull { bridge: bridge.name.clone(), limit: MAX_BRIDGE_PORTS });
            }
            Err(e) => return Err(e),
        }
    }
    Err(Error::Answer("RTM_NEWLINK"))
}

fn random_name() -> Result<String> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::kernel("getrandom(4 bytes)", e))?;
    Ok(format!("{HOST_PREFIX}{:07x}", u32::from_ne_bytes(bytes) & 0xfff_ffff))
}
