//! A container in full, as `GET /containers/{id}/json` shows it.

use std::collections::BTreeMap;

use api::container::{
    ContainerConfig, ContainerInspect, DriverData, Health, HealthConfig, HealthcheckResult, NetworkSettings,
    State,
};
use api::go::{Empty, StrSlice};
use api::network::{PortBinding, PortMap};
use engine::Container;

use super::{descriptor, words};

/// The snapshotter's name, as containerd's.
pub(super) const DRIVER: &str = "overlayfs";

/// The whole body.
pub(crate) fn inspect(container: &Container, execs: Vec<String>, with_manifest: bool) -> ContainerInspect {
    let started = container.state.started_ns != 0;
    let file = |name: &str| {
        // dockerd names them once they exist, which is from the first start on.
        if started {
            container.network_files.join(name).to_string_lossy().into_owned()
        } else {
            String::new()
        }
    };
    let mut argv = container.argv.iter().cloned();
    ContainerInspect {
        id: container.id.clone(),
        created: words::time(container.created_ns),
        path: argv.next().unwrap_or_default(),
        args: argv.collect(),
        state: Some(state(container)),
        image: container.image_id.clone(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: if started { container.log_path.clone() } else { String::new() },
        name: format!("/{}", container.name),
        restart_count: container.state.restarts as isize,
        driver: DRIVER.to_owned(),
        platform: "linux".to_owned(),
        exec_ids: (!execs.is_empty()).then_some(execs),
        host_config: Some(super::host::shown(container)),
        graph_driver: DriverData { data: None, name: DRIVER.to_owned() },
        mounts: super::mount::points(container),
        config: Some(config(container)),
        network_settings: Some(network_settings(container)),
        image_manifest_descriptor: container
            .image_manifest
            .as_ref()
            .filter(|_| with_manifest)
            .map(descriptor),
        ..ContainerInspect::default()
    }
}

fn state(container: &Container) -> State {
    let state = &container.state;
    State {
        status: state.status.as_str().to_owned(),
        // As dockerd: one that is about to run again counts as running.
        running: container.is_active(),
        restarting: state.status == engine::Status::Restarting,
        oom_killed: state.oom_killed,
        dead: state.status == engine::Status::Dead,
        pid: state.pid as isize,
        exit_code: state.exit_code as isize,
        error: state.error.clone(),
        started_at: words::time(state.started_ns),
        finished_at: words::time(state.finished_ns),
        paused: state.status == engine::Status::Paused,
        health: container.health.as_ref().map(health),
    }
}

fn health(health: &engine::containers::Health) -> Health {
    let result = |outcome: &engine::containers::Outcome| HealthcheckResult {
        start: words::time(outcome.start_ns),
        end: words::time(outcome.end_ns),
        exit_code: outcome.exit_code as isize,
        output: outcome.output.clone(),
    };
    Health {
        status: health.status.as_str().to_owned(),
        failing_streak: health.failing_streak as isize,
        log: Some(health.log.iter().map(result).collect()),
    }
}

fn config(container: &Container) -> ContainerConfig {
    let from = &container.config;
    ContainerConfig {
        hostname: from.hostname.clone(),
        domainname: from.domainname.clone(),
        user: from.user.clone(),
        attach_stdin: from.attach_stdin,
        attach_stdout: from.attach_stdout,
        attach_stderr: from.attach_stderr,
        exposed_ports: set(&from.exposed_ports),
        tty: from.tty,
        open_stdin: from.open_stdin,
        stdin_once: from.stdin_once,
        env: Some(from.env.clone()),
        cmd: StrSlice(from.cmd.clone()),
        healthcheck: from.healthcheck.as_ref().map(|health| HealthConfig {
            test: Some(health.test.clone()),
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries as isize,
        }),
        image: from.image.clone(),
        volumes: set(&from.volumes),
        working_dir: from.working_dir.clone(),
        entrypoint: StrSlice(from.entrypoint.clone()),
        on_build: (!from.on_build.is_empty()).then(|| from.on_build.clone()),
        labels: Some(from.labels.clone()),
        stop_signal: from.stop_signal.clone().unwrap_or_default(),
        stop_timeout: from.stop_timeout.map(|seconds| seconds as isize),
        ..ContainerConfig::default()
    }
}

fn set(names: &std::collections::BTreeSet<String>) -> Option<BTreeMap<String, Empty>> {
    (!names.is_empty()).then(|| names.iter().map(|name| (name.clone(), Empty)).collect())
}

fn network_settings(container: &Container) -> NetworkSettings {
    let networks = super::networks::shown(container);
    // The fields beside the map are those of the default bridge.
    let endpoint = networks.get("bridge").cloned().unwrap_or_default();
    let key = if container.is_running() && container.network().joined().is_none() {
        format!("/proc/{}/ns/net", container.state.pid)
    } else {
        String::new()
    };
    NetworkSettings {
        sandbox_key: key,
        ports: Some(ports(container)),
        endpoint_id: endpoint.endpoint_id.clone(),
        gateway: endpoint.gateway.clone(),
        ip_address: endpoint.ip_address.clone(),
        ip_prefix_len: endpoint.ip_prefix_len,
        ipv6_gateway: endpoint.ipv6_gateway.clone(),
        global_ipv6_address: endpoint.global_ipv6_address.clone(),
        global_ipv6_prefix_len: endpoint.global_ipv6_prefix_len,
        mac_address: endpoint.mac_address.clone(),
        networks: Some(networks),
        ..NetworkSettings::default()
    }
}

/// Exposed ports with `null`, published ones with where. Only while it runs, as with dockerd.
fn ports(container: &Container) -> PortMap {
    let mut map = PortMap::new();
    let Some(endpoint) = &container.endpoint else { return map };
    for port in &container.config.exposed_ports {
        map.insert(port.clone(), None);
    }
    for port in &endpoint.ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        map.entry(key).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.host.ip().to_string(),
            host_port: port.host.port().to_string(),
        });
    }
    map
}
