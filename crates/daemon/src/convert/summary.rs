//! A container in a list, as `GET /containers/json` shows it.

use std::net::IpAddr;

use api::container::{ContainerSummary, NetworkSettingsSummary, Port, SummaryHostConfig};
use engine::containers::{HealthStatus, Sizes};
use engine::{Container, Status, Time};

use super::{descriptor, figure, mount, networks, words};

/// One line of the list; `image` is the word to show for its image.
pub(crate) fn summary(
    container: &Container,
    image: &str,
    sizes: Option<Sizes>,
    with_manifest: bool,
) -> ContainerSummary {
    let network = container.network().as_str().to_owned();
    ContainerSummary {
        id: container.id.clone(),
        names: std::iter::once(&container.name)
            .chain(&container.link_names)
            .map(|n| format!("/{n}"))
            .collect(),
        image: image.to_owned(),
        image_id: container.image_id.clone(),
        image_manifest_descriptor: container
            .image_manifest
            .as_ref()
            .filter(|_| with_manifest)
            .map(descriptor),
        command: words::command(&container.argv),
        created: container.created_ns.div_euclid(1_000_000_000),
        ports: ports(container),
        size_rw: sizes.map_or(0, |sizes| figure(sizes.written)),
        size_root_fs: sizes.map_or(0, |sizes| figure(sizes.all)),
        labels: Some(container.config.labels.clone()),
        state: container.state.status.as_str().to_owned(),
        status: status(container, Time::now().0),
        host_config: SummaryHostConfig { network_mode: network.clone(), annotations: None },
        network_settings: Some(NetworkSettingsSummary { networks: Some(networks::shown(container)) }),
        mounts: mount::points(container),
    }
}

/// `Up 2 minutes`, `Exited (3) 5 seconds ago`, …
fn status(container: &Container, now_ns: i64) -> String {
    let state = &container.state;
    match state.status {
        Status::Running | Status::Paused => {
            let up = format!("Up {}", words::duration(state.started_ns, now_ns));
            match (state.status, container.health.as_ref().map(|h| h.status)) {
                (Status::Paused, _) => format!("{up} (Paused)"),
                (_, Some(HealthStatus::Starting)) => format!("{up} (health: starting)"),
                (_, Some(health)) => format!("{up} ({})", health.as_str()),
                (_, None) => up,
            }
        }
        Status::Created => "Created".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, words::duration(state.finished_ns, now_ns))
        }
        Status::Exited if state.finished_ns == 0 => String::new(),
        Status::Exited => {
            format!("Exited ({}) {} ago", state.exit_code, words::duration(state.finished_ns, now_ns))
        }
    }
}

/// Published ports, then those that are only exposed, by number as dockerd sorts them.
fn ports(container: &Container) -> Vec<Port> {
    let mut list = Vec::new();
    let Some(endpoint) = &container.endpoint else { return list };
    for port in &endpoint.ports {
        list.push(Port {
            ip: match port.host.ip() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => address.to_string(),
            },
            private_port: port.container_port,
            public_port: port.host.port(),
            protocol: port.protocol.clone(),
        });
    }
    for exposed in &container.config.exposed_ports {
        let (number, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let published = list.iter().any(|p| p.private_port.to_string() == number && p.protocol == protocol);
        if let (false, Ok(private_port)) = (published, number.parse()) {
            list.push(Port { private_port, protocol: protocol.to_owned(), ..Port::default() });
        }
    }
    list.sort_by(|a, b| (a.private_port, &a.ip, &a.protocol).cmp(&(b.private_port, &b.ip, &b.protocol)));
    list
}
