//! Published ports: from a container's wishes to bound sockets, elements of the ruleset and the shim's list.

use crate::state::{PublishedPort, Record, TaskEndpoint};
use net::{BoundPort, Network, PortMap, PortRequest};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where published ports lead: the addresses that the default routes go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Targets {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Targets {
    pub(super) fn of(endpoints: &[TaskEndpoint]) -> Self {
        Self {
            v4: endpoints.iter().find(|e| e.default_route).and_then(|e| e.address),
            v6: endpoints.iter().find(|e| e.default_route6).and_then(|e| e.address6),
        }
    }
}

/// Gives each published port to the endpoint that it leads to: one of IPv6 to that of IPv6, and to the other where
/// there is none, as the shim splices it.
pub(super) fn deal(held: &[PublishedPort], endpoints: &mut [TaskEndpoint]) {
    let has6 = endpoints.iter().any(|e| e.default_route6);
    for endpoint in endpoints {
        let (route, route6) = (endpoint.default_route, endpoint.default_route6);
        let leads_here = |p: &&PublishedPort| if p.host.is_ipv6() && has6 { route6 } else { route };
        endpoint.ports = held.iter().filter(leads_here).cloned().collect();
    }
}

/// Binds what is to be published; the error is Docker's text.
pub(super) fn bind(
    network: &Network,
    record: &Record,
    targets: Targets,
    default: Option<IpAddr>,
) -> Result<Vec<BoundPort>, String> {
    let Some(address) = targets.v4.map(IpAddr::V4).or(targets.v6.map(IpAddr::V6)) else {
        return Ok(Vec::new());
    };
    let mut requests = Vec::new();
    // -P: what is exposed and has no place yet gets a free one.
    let everywhere = [crate::config::PortBinding::default()];
    let exposed = record.config.exposed_ports.iter().filter(|_| record.host.publish_all);
    let exposed = exposed.filter(|port| !record.host.port_bindings.contains_key(*port));
    let wanted = record.host.port_bindings.iter().map(|(port, bindings)| (port, &bindings[..]));
    for (port, bindings) in wanted.chain(exposed.map(|port| (port, &everywhere[..]))) {
        let (number, protocol) = container_port(port)?;
        for binding in bindings {
            requests.push(PortRequest {
                host_ip: host_ip(&binding.host_ip)?.or(default),
                host_ports: host_ports(&binding.host_port)?,
                container_ip: address,
                container_ip6: targets.v6,
                container_port: number,
                protocol,
            });
        }
    }
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut step = sys::trace::step("ports", "bind(2)");
    let bound = step.check(net::ports::bind(&requests, None));
    bound.map_err(|e| match &e {
        net::Error::Bind { request, .. } if request.is_exact() => {
            let ip = request.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let map = PortMap {
                host_ip: ip,
                host_port: request.host_ports.0,
                container_ip: request.container_ip,
                container_port: request.container_port,
                protocol: request.protocol,
            };
            // Docker has another text when the holder is a container of its own.
            match network.is_published(&map) {
                Ok(true) => net::Error::PortAllocated(Box::new(map)).to_string(),
                _ => e.docker_message(),
            }
        }
        _ => e.docker_message(),
    })
}

/// `80/tcp`, `80`.
pub(crate) fn container_port(text: &str) -> Result<(u16, net::Protocol), String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.parse().map_err(|_| format!("invalid port specification: {text:?}"))?;
    let protocol: net::Protocol = protocol.parse().map_err(|_| format!("invalid proto: {protocol}"))?;
    if number == 0 {
        return Err(format!("invalid port specification: {text:?}"));
    }
    Ok((number, protocol))
}

fn host_ip(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.trim_matches(['[', ']']).parse().map(Some).map_err(|_| format!("invalid IP address: {text}"))
}

fn host_ports(text: &str) -> Result<(u16, u16), String> {
    let number = |t: &str| t.parse::<u16>().map_err(|_| format!("invalid hostPort: {text}"));
    if text.is_empty() {
        return Ok((0, 0));
    }
    match text.split_once('-') {
        Some((first, last)) => Ok((number(first)?, number(last)?)),
        None => number(text).map(|n| (n, n)),
    }
}

pub(super) fn published(map: &PortMap) -> PublishedPort {
    PublishedPort {
        host: SocketAddr::new(map.host_ip, map.host_port),
        container_port: map.container_port,
        protocol: map.protocol.to_string(),
    }
}

/// What the ruleset knows of an endpoint's published ports.
pub(super) fn port_maps(endpoint: &TaskEndpoint) -> Vec<PortMap> {
    endpoint.ports.iter().filter_map(|port| port_map(endpoint, port)).collect()
}

fn port_map(endpoint: &TaskEndpoint, port: &PublishedPort) -> Option<PortMap> {
    let v6 = endpoint.address6.filter(|_| port.host.is_ipv6());
    Some(PortMap {
        host_ip: port.host.ip(),
        host_port: port.host.port(),
        container_ip: v6.map(IpAddr::V6).or(endpoint.address.map(IpAddr::V4))?,
        container_port: port.container_port,
        protocol: port.protocol.parse().ok()?,
    })
}

/// What the shim does with each of its sockets, now that the endpoints are these.
pub(super) fn shim_ports(held: &[PublishedPort], endpoints: &[TaskEndpoint]) -> Vec<shim::config::Port> {
    let one = |port: &PublishedPort| {
        let endpoint = endpoints.iter().find(|e| e.ports.contains(port));
        let map = endpoint.and_then(|endpoint| port_map(endpoint, port));
        map.as_ref().map_or(shim::config::Port { proto: proto(&port.protocol), splice_to: None }, shim_port)
    };
    held.iter().map(one).collect()
}

/// IPv4 is the kernel's; an IPv6 socket is listened on and spliced by the shim.
pub(super) fn shim_port(map: &PortMap) -> shim::config::Port {
    let splice = map.is_spliced() && map.protocol != net::Protocol::Sctp;
    shim::config::Port {
        proto: proto(&map.protocol.to_string()),
        splice_to: splice.then(|| SocketAddr::new(map.container_ip, map.container_port)),
    }
}

/// What is not TCP (SCTP) is only held.
fn proto(word: &str) -> shim::config::Proto {
    if word == "tcp" { shim::config::Proto::Tcp } else { shim::config::Proto::Udp }
}
