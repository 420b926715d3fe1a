//! `version` and `info`.

use std::collections::BTreeMap;

use api::ApiVersion;
use api::system::{
    AddressPool, ComponentVersion, DeviceInfo, FirewallInfo, IndexInfo, Info, PluginsInfo, RegistryConfig,
    Runtime, SwarmInfo, Version, VersionPlatform,
};
use engine::system::SystemInfo;
use engine::{Settings, Time};

use super::inspect::DRIVER;

/// Go's word for the architecture this program is built for.
fn go_architecture() -> String {
    oci::Platform::host().architecture
}

/// The body of `GET /version`. Clients tell engines apart by the platform's name and by the components.
pub(crate) fn version(version: &str, kernel: &str, oldest: ApiVersion) -> Version {
    let (oldest, newest) = (oldest.to_string(), ApiVersion::NEWEST.to_string());
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
pub(crate) fn info(info: &SystemInfo, settings: &Settings, version: &str, api: ApiVersion) -> Info {
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
        logging_driver: settings.log().driver,
        logging_options: Some(logging_options(settings)),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: info.cgroup_version.to_owned(),
        kernel_version: info.kernel_version.clone(),
        operating_system: info.operating_system.clone(),
        os_version: info.os_version.clone(),
        os_type: "linux".to_owned(),
        architecture: info.architecture.clone(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registries(settings)),
        http_proxy: proxy(settings, "http-proxy", "HTTP_PROXY"),
        https_proxy: proxy(settings, "https-proxy", "HTTPS_PROXY"),
        no_proxy: proxy(settings, "no-proxy", "NO_PROXY"),
        ncpu: figure(info.cpus),
        mem_total: i64::try_from(info.memory).unwrap_or(i64::MAX),
        docker_root_dir: info.data_root.to_string_lossy().into_owned(),
        name: info.name.clone(),
        labels: Some(settings.list("labels").map(str::to_owned).collect()),
        debug: settings.switch("debug").unwrap_or(false),
        experimental_build: settings.switch("experimental").unwrap_or(false),
        live_restore_enabled: true,
        default_address_pools: pools(settings),
        server_version: version.to_owned(),
        runtimes: Some(
            [("runc".to_owned(), Runtime { path: "tare-runtime".to_owned(), ..Runtime::default() })].into(),
        ),
        default_runtime: "runc".to_owned(),
        swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
        init_binary: "tare-runtime".to_owned(),
        security_options: Some(security(settings)),
        firewall_backend: (api >= ApiVersion::v1(49))
            .then(|| FirewallInfo { driver: "nftables".to_owned(), info: None }),
        cdi_spec_dirs: cdi_folders(settings),
        discovered_devices: (api >= ApiVersion::v1(50) && !info.devices.is_empty()).then(|| {
            info.devices.iter().map(|id| DeviceInfo { source: "cdi".to_owned(), id: id.clone() }).collect()
        }),
        warnings: (!info.warnings.is_empty()).then(|| info.warnings.clone()),
        ..Info::default()
    }
}

/// What `log-opts` says, and the bound that holds where it says none.
fn logging_options(settings: &Settings) -> BTreeMap<String, String> {
    let log = settings.log();
    let mut options = log.options;
    if log.driver == "json-file" && !options.contains_key("max-size") {
        let bound =
            [("max-size", engine::tasks::DEFAULT_MAX_SIZE), ("max-file", engine::tasks::DEFAULT_MAX_FILE)];
        for (name, value) in bound {
            options.entry(name.to_owned()).or_insert(value.to_owned());
        }
    }
    options
}

/// A proxy of the settings or of the environment, without its password.
fn proxy(settings: &Settings, name: &str, variable: &str) -> String {
    let of_environment = || {
        let variables = [variable.to_owned(), variable.to_lowercase()];
        variables.iter().find_map(|v| std::env::var(v).ok().filter(|v| !v.is_empty()))
    };
    let text = settings.text(name).map(str::to_owned).or_else(of_environment).unwrap_or_default();
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        None => text,
    }
}

fn pools(settings: &Settings) -> Option<Vec<AddressPool>> {
    let pools: Vec<_> = settings
        .pools()
        .into_iter()
        .map(|(base, size)| AddressPool { base, size: isize::try_from(size).unwrap_or_default() })
        .collect();
    (!pools.is_empty()).then_some(pools)
}

fn security(settings: &Settings) -> Vec<String> {
    let profile = settings.text("seccomp-profile").unwrap_or("builtin");
    let mut options = vec![format!("name=seccomp,profile={profile}")];
    if settings.switch("no-new-privileges") == Some(true) {
        options.push("name=no-new-privileges".to_owned());
    }
    options
}

fn cdi_folders(settings: &Settings) -> Option<Vec<String>> {
    if settings.switches("features").any(|feature| feature == ("cdi", false)) {
        return None;
    }
    let own: Vec<String> = settings.list("cdi-spec-dirs").map(str::to_owned).collect();
    Some(if own.is_empty() { engine::cdi::FOLDERS.map(str::to_owned).to_vec() } else { own })
}

/// Registries on loopback are spoken to without TLS, as dockerd does.
fn registries(settings: &Settings) -> RegistryConfig {
    let mirrors: Vec<String> = settings
        .list("registry-mirrors")
        .map(|mirror| format!("{}/", mirror.trim_end_matches('/')))
        .collect();
    let index = |name: &str, mirrors: Vec<String>, official: bool| {
        (name.to_owned(), IndexInfo { mirrors, name: name.to_owned(), official, secure: official })
    };
    let (networks, hosts): (Vec<&str>, Vec<&str>) =
        settings.list("insecure-registries").partition(|name| name.contains('/'));
    let hub = index("docker.io", mirrors.clone(), true);
    let networks = networks.into_iter().map(str::to_owned);
    RegistryConfig {
        index_configs: Some(
            [hub].into_iter().chain(hosts.into_iter().map(|host| index(host, Vec::new(), false))).collect(),
        ),
        insecure_registry_cidrs: Some(
            ["::1/128".to_owned(), "127.0.0.0/8".to_owned()].into_iter().chain(networks).collect(),
        ),
        mirrors: (!mirrors.is_empty()).then_some(mirrors),
    }
}
