//! `version` and `info`.

use std::collections::BTreeMap;

use api::ApiVersion;
use api::system::{
    ComponentVersion, DeviceInfo, FirewallInfo, IndexInfo, Info, PluginsInfo, RegistryConfig, Runtime,
    SwarmInfo, Version, VersionPlatform,
};
use engine::Time;
use engine::system::SystemInfo;

use super::inspect::DRIVER;

/// Go's word for the architecture this program is built for.
fn go_architecture() -> String {
    oci::Platform::host().architecture
}

/// The body of `GET /version`. Clients tell engines apart by the platform's name and by the components.
pub(crate) fn version(version: &str, kernel: &str) -> Version {
    let (oldest, newest) = (ApiVersion::OLDEST.to_string(), ApiVersion::NEWEST.to_string());
    let details: [(&str, String); 6] = [
        ("ApiVersion", newest.clone()),
        ("Arch", go_architecture()),
        ("Experimental", "false".to_owned()),
        ("KernelVersion", kernel.to_owned()),
        ("MinAPIVersion", oldest.clone()),
        ("Os", "linux".to_owned()),
    ];
    let details: BTreeMap<String, String> =
        details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let engine =
        ComponentVersion { name: "Engine".to_owned(), version: version.to_owned(), details: Some(details) };
    Version {
        platform: VersionPlatform { name: "Tare".to_owned() },
        components: Some(vec![engine]),
        version: version.to_owned(),
        api_version: newest,
        min_api_version: oldest,
        os: "linux".to_owned(),
        arch: go_architecture(),
        kernel_version: kernel.to_owned(),
        ..Version::default()
    }
}

/// The body of `GET /info`.
pub(crate) fn info(info: &SystemInfo, version: &str, api: ApiVersion) -> Info {
    let words = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let figure = |number: usize| isize::try_from(number).unwrap_or(isize::MAX);
    Info {
        id: info.id.clone(),
        nfd: figure(info.open_files),
        containers: figure(info.containers),
        containers_running: figure(info.running),
        containers_stopped: figure(info.stopped),
        images: figure(info.images),
        driver: DRIVER.to_owned(),
        driver_status: Some(vec![["driver-type", "io.containerd.snapshotter.v1"].map(str::to_owned)]),
        plugins: PluginsInfo {
            volume: Some(vec!["local".to_owned()]),
            network: words(&["bridge", "host", "null"]),
            authorization: None,
            log: words(&["json-file", "none"]),
        },
        memory_limit: true,
        swap_limit: info.swap_limit,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: info.ipv4_forwarding,
        system_time: Time::now().rfc3339(),
        logging_driver: "json-file".to_owned(),
        logging_options: Some(
            [("max-size", engine::tasks::DEFAULT_MAX_SIZE), ("max-file", engine::tasks::DEFAULT_MAX_FILE)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: info.cgroup_version.to_owned(),
        kernel_version: info.kernel_version.clone(),
        operating_system: info.operating_system.clone(),
        os_version: info.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: info.architecture.clone(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registries()),
        ncpu: figure(info.cpus),
        mem_total: i64::try_from(info.memory).unwrap_or(i64::MAX),
        docker_root_dir: info.data_root.to_string_lossy().into_owned(),
        name: info.name.clone(),
        labels: Some(Vec::new()),
        server_version: version.to_owned(),
        runtimes: Some(
            [("runc".to_owned(), Runtime { path: "tare-runtime".to_owned(), ..Runtime::default() })].into(),
        ),
        default_runtime: "runc".to_owned(),
        swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
        init_binary: "tare-runtime".to_owned(),
        security_options: words(&["name=seccomp,profile=builtin"]),
        firewall_backend: (api >= ApiVersion::v1(49))
            .then(|| FirewallInfo { driver: "nftables".to_owned(), info: None }),
        cdi_spec_dirs: words(&engine::cdi::FOLDERS),
        discovered_devices: (api >= ApiVersion::v1(50) && !info.devices.is_empty()).then(|| {
            info.devices.iter().map(|id| DeviceInfo { source: "cdi".to_owned(), id: id.clone() }).collect()
        }),
        warnings: (!info.warnings.is_empty()).then(|| info.warnings.clone()),
        ..Info::default()
    }
}

/// Registries on loopback are spoken to without TLS, as dockerd does.
fn registries() -> RegistryConfig {
    let hub = IndexInfo { mirrors: Vec::new(), name: "docker.io".to_owned(), official: true, secure: true };
    RegistryConfig {
        index_configs: Some([("docker.io".to_owned(), hub)].into()),
        insecure_registry_cidrs: Some(vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()]),
        mirrors: None,
    }
}
