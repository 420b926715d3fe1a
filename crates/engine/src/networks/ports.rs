//! Published ports: from a container's wishes to bound sockets, elements of the ruleset and the shim's list.

use crate::state::{PublishedPort, Record, TaskEndpoint};
use net::{BoundPort, Network, PortMap, PortRequest};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Binds what is to be published; the error is Docker's text.
pub(super) fn bind(
    network: &Network,
    record: &Record,
    address: Ipv4Addr,
    default: Option<IpAddr>,
) -> Result<Vec<BoundPort>, String> {
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
                container_ip: address,
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

pub(super) fn port_maps(endpoint: &TaskEndpoint) -> Vec<PortMap> {
    let map = |port: &PublishedPort| {
        Some(PortMap {
            host_ip: port.host.ip(),
            host_port: port.host.port(),
            container_ip: endpoint.address,
            container_port: port.container_port,
            protocol: port.protocol.parse().ok()?,
        })
    };
    endpoint.ports.iter().filter_map(map).collect()
}

/// IPv4 is the kernel's; an IPv6 socket is listened on and spliced by the shim.
pub(super) fn shim_port(map: &PortMap) -> shim::config::Port {
    let tcp = map.protocol == net::Protocol::Tcp;
    let splice = tcp && !map.is_redirected();
    shim::config::Port {
        proto: if tcp { shim::config::Proto::Tcp } else { shim::config::Proto::Udp },
        splice_to: splice.then(|| SocketAddrV4::new(map.container_ip, map.container_port)),
    }
}
