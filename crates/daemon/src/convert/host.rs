//! HostConfig, both ways: as a client asks for it, and as `inspect` shows it.

use std::path::PathBuf;

use api::go::StrSlice;
use api::host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use api::network::PortBinding;
use engine::{Container, DeviceNumber, Dns, Limits, Link, Namespaces, NetworkMode, Security};

use crate::reply::Refusal;

/// Docker's size of /dev/shm when none is asked for.
const DEFAULT_SHM: i64 = 64 * 1024 * 1024;

/// What a client asks for; what the engine cannot do has been refused before.
pub(super) fn wanted(mut from: HostConfig, network: NetworkMode) -> engine::HostConfig {
    let bindings = from.port_bindings.take().unwrap_or_default().into_iter().map(|(port, bindings)| {
        let bindings = bindings.unwrap_or_default().into_iter();
        let bindings = bindings.map(|b| engine::PortBinding { host_ip: b.host_ip, host_port: b.host_port });
        (port, bindings.collect())
    });
    let links = from.links.take().unwrap_or_default().iter().filter_map(|text| link(text).ok()).collect();
    let [rows, columns] = from.console_size.map(|size| u16::try_from(size).unwrap_or(u16::MAX));
    let log = engine::LogConfig {
        // An empty one is the engine's choice.
        driver: std::mem::take(&mut from.log_config.driver),
        options: from.log_config.config.take().unwrap_or_default(),
    };
    engine::HostConfig {
        binds: from.binds.take().unwrap_or_default(),
        network,
        port_bindings: bindings.collect(),
        publish_all: from.publish_all_ports,
        auto_remove: from.auto_remove,
        privileged: from.privileged,
        read_only: from.readonly_rootfs,
        cap_add: from.cap_add.0.take().unwrap_or_default(),
        cap_drop: from.cap_drop.0.take().unwrap_or_default(),
        memory: from.memory,
        memory_swap: from.memory_swap,
        nano_cpus: from.nano_cpus,
        pids_limit: from.pids_limit.filter(|limit| *limit > 0),
        tmpfs: from.tmpfs.take().unwrap_or_default(),
        init: from.init,
        log,
        restart: restart(from.restart_policy.clone()),
        console_size: (columns, rows),
        container_id_file: std::mem::take(&mut from.container_id_file),
        shm_size: from.shm_size,
        limits: limits(&mut from),
        namespaces: Namespaces {
            pid: std::mem::take(&mut from.pid_mode),
            ipc: std::mem::take(&mut from.ipc_mode),
            uts: std::mem::take(&mut from.uts_mode),
            user: std::mem::take(&mut from.userns_mode),
            cgroup: std::mem::take(&mut from.cgroupns_mode),
        },
        security: Security {
            options: from.security_opt.take().unwrap_or_default(),
            masked_paths: from.masked_paths.take(),
            readonly_paths: from.readonly_paths.take(),
        },
        devices: devices(from.devices.take().unwrap_or_default()),
        device_cgroup_rules: from.device_cgroup_rules.take().unwrap_or_default(),
        storage_opt: from.storage_opt.take().unwrap_or_default(),
        device_requests: device_requests(from.device_requests.take().unwrap_or_default()),
        dns: Dns {
            servers: from.dns.take().unwrap_or_default(),
            search: from.dns_search.take().unwrap_or_default(),
            options: from.dns_options.take().unwrap_or_default(),
            extra_hosts: from.extra_hosts.take().unwrap_or_default(),
        },
        group_add: from.group_add.take().unwrap_or_default(),
        sysctls: from.sysctls.take().unwrap_or_default(),
        annotations: from.annotations.take().unwrap_or_default(),
        cgroup_parent: from.cgroup_parent,
        runtime: from.runtime,
        mounts: from.mounts.take().unwrap_or_default().into_iter().map(super::mount::wanted).collect(),
        volumes_from: from.volumes_from.take().unwrap_or_default(),
        volume_driver: from.volume_driver,
        links,
    }
}

/// Refuses what is no link, in the words of Docker's option parser.
pub(super) fn check_links(from: &HostConfig) -> Result<(), Refusal> {
    from.links.iter().flatten().try_for_each(|text| link(text).map(drop))
}

/// `name[:alias]`; `/name:/parent/alias` is what `inspect` shows.
fn link(text: &str) -> Result<Link, Refusal> {
    let words: Vec<&str> = text.splitn(3, ':').collect();
    let (container, alias) = match words[..] {
        [""] => return Err(Refusal::bad_request("empty string specified for links")),
        [name] => (name, name),
        [name, alias] if alias.starts_with('/') => {
            (name.get(1..).unwrap_or_default(), alias.rsplit('/').next().unwrap_or_default())
        }
        [name, alias] => (name, alias),
        _ => return Err(Refusal::bad_request(format!("bad format for links: {text}"))),
    };
    Ok(Link { container: container.to_owned(), alias: alias.to_owned() })
}

fn restart(from: RestartPolicy) -> engine::RestartPolicy {
    let name = if from.name.is_empty() { "no".to_owned() } else { from.name };
    engine::RestartPolicy { name, maximum_retry_count: from.maximum_retry_count as i64 }
}

fn limits(from: &mut HostConfig) -> Limits {
    let rates = |list: &mut Option<Vec<Option<ThrottleDevice>>>| {
        let list = list.take().unwrap_or_default().into_iter().flatten();
        list.map(|device| DeviceNumber { path: device.path, number: device.rate }).collect()
    };
    let weights = from.blkio_weight_device.take().unwrap_or_default().into_iter().flatten();
    let ulimits = from.ulimits.take().unwrap_or_default().into_iter().flatten();
    Limits {
        cpu_shares: from.cpu_shares,
        cpu_period: from.cpu_period,
        cpu_quota: from.cpu_quota,
        cpu_realtime_period: from.cpu_realtime_period,
        cpu_realtime_runtime: from.cpu_realtime_runtime,
        cpuset_cpus: std::mem::take(&mut from.cpuset_cpus),
        cpuset_mems: std::mem::take(&mut from.cpuset_mems),
        memory_reservation: from.memory_reservation,
        memory_swappiness: from.memory_swappiness.filter(|swappiness| *swappiness != -1),
        oom_kill_disable: from.oom_kill_disable.unwrap_or(false),
        oom_score_adj: i64::try_from(from.oom_score_adj).unwrap_or(i64::MAX),
        blkio_weight: from.blkio_weight,
        blkio_weight_device: weights
            .map(|device| DeviceNumber { path: device.path, number: device.weight.into() })
            .collect(),
        blkio_read_bps: rates(&mut from.blkio_device_read_bps),
        blkio_write_bps: rates(&mut from.blkio_device_write_bps),
        blkio_read_iops: rates(&mut from.blkio_device_read_iops),
        blkio_write_iops: rates(&mut from.blkio_device_write_iops),
        ulimits: ulimits
            .map(|limit| engine::Ulimit { name: limit.name, soft: limit.soft, hard: limit.hard })
            .collect(),
    }
}

fn devices(from: Vec<DeviceMapping>) -> Vec<engine::DeviceMapping> {
    let device = |device: DeviceMapping| engine::DeviceMapping {
        host: device.path_on_host,
        container: device.path_in_container,
        permissions: device.cgroup_permissions,
    };
    from.into_iter().map(device).collect()
}

fn device_requests(from: Vec<DeviceRequest>) -> Vec<engine::DeviceRequest> {
    let sets = |sets: Vec<Option<Vec<String>>>| sets.into_iter().map(Option::unwrap_or_default).collect();
    let request = |request: DeviceRequest| engine::DeviceRequest {
        driver: request.driver,
        count: request.count as i64,
        device_ids: request.device_ids,
        capabilities: request.capabilities.map(sets),
        options: request.options,
    };
    from.into_iter().map(request).collect()
}

fn shown_request(request: &engine::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: request.driver.clone(),
        count: isize::try_from(request.count).unwrap_or(0),
        device_ids: request.device_ids.clone(),
        capabilities: request.capabilities.clone().map(|sets| sets.into_iter().map(Some).collect()),
        options: request.options.clone(),
    }
}

/// Who shares so much with the host has no label of its own: dockerd writes that into the configuration.
fn without_labels(from: &engine::HostConfig) -> bool {
    from.privileged || from.namespaces.ipc == "host" || from.namespaces.pid == "host"
}

/// What was asked for, and dockerd's empty lists and zeros for what cannot be asked for yet.
pub(super) fn shown(container: &Container) -> HostConfig {
    let from = &container.host;
    let list = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let paths = |asked: &Option<Vec<String>>, usual: Vec<PathBuf>| {
        let usual = || usual.into_iter().map(|path| path.to_string_lossy().into_owned()).collect();
        // A privileged container has none.
        (!from.privileged).then(|| asked.clone().unwrap_or_else(usual))
    };
    let bindings = from.port_bindings.iter().map(|(port, bindings)| {
        let bindings = bindings.iter();
        let bindings =
            bindings.map(|b| PortBinding { host_ip: b.host_ip.clone(), host_port: b.host_port.clone() });
        (port.clone(), Some(bindings.collect()))
    });
    let ((columns, rows), namespaces) = (from.console_size, &from.namespaces);
    let or = |word: &str, usual: &str| if word.is_empty() { usual.to_owned() } else { word.to_owned() };
    let shown = HostConfig {
        binds: list(&from.binds),
        container_id_file: from.container_id_file.clone(),
        log_config: LogConfig { driver: from.log.driver.clone(), config: Some(from.log.options.clone()) },
        network_mode: from.network.as_str().to_owned(),
        port_bindings: Some(bindings.collect()),
        restart_policy: RestartPolicy {
            name: from.restart.name.clone(),
            maximum_retry_count: from.restart.maximum_retry_count as isize,
        },
        auto_remove: from.auto_remove,
        console_size: [rows.into(), columns.into()],
        cap_add: StrSlice(list(&from.cap_add)),
        cap_drop: StrSlice(list(&from.cap_drop)),
        cgroupns_mode: container.cgroupns.to_owned(),
        dns: Some(from.dns.servers.clone()),
        dns_options: Some(from.dns.options.clone()),
        dns_search: Some(from.dns.search.clone()),
        extra_hosts: list(&from.dns.extra_hosts),
        links: list(&container.links),
        group_add: list(&from.group_add),
        ipc_mode: or(&namespaces.ipc, "private"),
        pid_mode: namespaces.pid.clone(),
        uts_mode: namespaces.uts.clone(),
        userns_mode: namespaces.user.clone(),
        security_opt: list(&from.security.options)
            .or_else(|| without_labels(from).then(|| vec!["label=disable".to_owned()])),
        sysctls: (!from.sysctls.is_empty()).then(|| from.sysctls.clone()),
        annotations: (!from.annotations.is_empty()).then(|| from.annotations.clone()),
        privileged: from.privileged,
        publish_all_ports: from.publish_all,
        readonly_rootfs: from.read_only,
        tmpfs: (!from.tmpfs.is_empty()).then(|| from.tmpfs.clone()),
        shm_size: if from.shm_size == 0 { DEFAULT_SHM } else { from.shm_size },
        runtime: or(&from.runtime, "runc"),
        memory: from.memory,
        nano_cpus: from.nano_cpus,
        cgroup_parent: from.cgroup_parent.clone(),
        devices: Some(from.devices.iter().map(shown_device).collect()),
        device_cgroup_rules: list(&from.device_cgroup_rules),
        device_requests: (!from.device_requests.is_empty())
            .then(|| from.device_requests.iter().map(shown_request).collect()),
        memory_swap: from.memory_swap,
        pids_limit: from.pids_limit,
        masked_paths: paths(&from.security.masked_paths, engine::spec::masked_paths()),
        readonly_paths: paths(&from.security.readonly_paths, engine::spec::readonly_paths()),
        init: from.init,
        mounts: (!from.mounts.is_empty()).then(|| from.mounts.iter().map(super::mount::shown).collect()),
        volumes_from: list(&from.volumes_from),
        volume_driver: from.volume_driver.clone(),
        ..HostConfig::default()
    };
    with_limits(shown, &from.limits)
}

fn with_limits(shown: HostConfig, limits: &Limits) -> HostConfig {
    let rates = |list: &[DeviceNumber]| {
        let rate =
            |device: &DeviceNumber| Some(ThrottleDevice { path: device.path.clone(), rate: device.number });
        Some(list.iter().map(rate).collect())
    };
    let weight = |device: &DeviceNumber| {
        let weight = u16::try_from(device.number).unwrap_or(u16::MAX);
        Some(WeightDevice { path: device.path.clone(), weight })
    };
    let ulimit = |limit: &engine::Ulimit| {
        Some(Ulimit { name: limit.name.clone(), hard: limit.hard, soft: limit.soft })
    };
    HostConfig {
        cpu_shares: limits.cpu_shares,
        cpu_period: limits.cpu_period,
        cpu_quota: limits.cpu_quota,
        cpu_realtime_period: limits.cpu_realtime_period,
        cpu_realtime_runtime: limits.cpu_realtime_runtime,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        memory_reservation: limits.memory_reservation,
        memory_swappiness: limits.memory_swappiness,
        oom_kill_disable: Some(limits.oom_kill_disable),
        oom_score_adj: isize::try_from(limits.oom_score_adj).unwrap_or(0),
        blkio_weight: limits.blkio_weight,
        blkio_weight_device: Some(limits.blkio_weight_device.iter().map(weight).collect()),
        blkio_device_read_bps: rates(&limits.blkio_read_bps),
        blkio_device_write_bps: rates(&limits.blkio_write_bps),
        blkio_device_read_iops: rates(&limits.blkio_read_iops),
        blkio_device_write_iops: rates(&limits.blkio_write_iops),
        ulimits: Some(limits.ulimits.iter().map(ulimit).collect()),
        ..shown
    }
}

fn shown_device(device: &engine::DeviceMapping) -> DeviceMapping {
    DeviceMapping {
        path_on_host: device.host.clone(),
        path_in_container: device.container.clone(),
        cgroup_permissions: device.permissions.clone(),
    }
}
