//! From `run`'s and `create`'s flags to the create request that Docker's CLI would send.
//!
//! Checks are made in the order of Docker's client, so that of several mistakes the same one is told. This file
//! does no I/O and knows no engine; the environment and the reading of files are handed in.

pub mod addresses;
pub mod devices;
pub mod limits;
pub mod lines;
pub mod mounts;
pub mod networks;
pub mod ports;
pub mod security;
pub mod volumes;

use std::collections::BTreeMap;

use api::container::{ContainerConfig, ContainerCreateRequest};
use api::go::{Empty, StrSlice};
use api::host_config::{DeviceRequest, HostConfig, LogConfig, Mount};
use api::network::NetworkingConfig;

use crate::grammar::{Parsed, numbers};

/// What `run` and `create` make of their command line.
#[derive(Debug)]
pub struct Plan {
    /// The container's name, or "".
    pub name: String,
    /// The request.
    pub request: ContainerCreateRequest,
    /// The image as typed.
    pub image: String,
    /// The platform as typed, or "".
    pub platform: String,
    /// When to pull.
    pub pull: Pull,
    /// Do not show the pull.
    pub quiet: bool,
    /// The container gets the engine's socket.
    pub api_socket: bool,
    /// Things to tell the user.
    pub warnings: Vec<String>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// Always.
    Always,
    /// When it is missing.
    Missing,
    /// Never.
    Never,
}

/// What lies around a command line.
pub struct Surroundings<'a> {
    /// Looks a variable up.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file.
    pub read: lines::Read<'a>,
    /// The folder relative paths start from.
    pub folder: &'a str,
    /// The output's size: rows and columns.
    pub size: (u16, u16),
    /// Variables that the configuration gives to each container (its proxies).
    pub proxies: &'a [(String, String)],
}

/// Builds the request; the error is Docker's text.
pub fn plan(parsed: &Parsed, around: &Surroundings<'_>) -> Result<Plan, String> {
    let pull = pull(parsed)?;
    let mac = parsed.text("mac-address");
    if !mac.is_empty() && !addresses::is_mac(mac) {
        return Err(format!("{mac} is not a valid mac address"));
    }
    let swappiness = parsed.int_or("memory-swappiness", -1);
    if !(-1..=100).contains(&swappiness) {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    let volumes = volumes::split(&parsed.list("volume"), around.folder)?;
    let ports = ports::parse(&parsed.list("publish"))?;
    let exposed = ports::exposed(&parsed.list("expose"))?;
    let devices = devices::devices(&parsed.list("device"))?;
    let mut warnings = Vec::new();
    let mut host = host(parsed, around);
    let mut config = config(parsed, around)?;
    config.volumes = Some(volumes.anonymous.into_iter().map(|v| (v, Empty)).collect());
    config.exposed_ports = Some(ports.keys().cloned().chain(exposed).map(|p| (p, Empty)).collect());
    host.binds = some(volumes.binds);
    host.port_bindings = Some(ports.into_iter().map(|(p, b)| (p, Some(b))).collect());
    modes(parsed, &mut host)?;
    policies(parsed, around, &mut host)?;
    config.healthcheck = limits::health(parsed)?;
    resources(parsed, &mut host)?;
    block_io(parsed, &mut host)?;
    requests(parsed, devices, &mut host)?;
    host.mounts = some(mounts(parsed, around, &mut warnings)?);
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    let (endpoints, mode) = networks::endpoints(parsed)?;
    host.network_mode = mode;
    if parsed.bytes("kernel-memory") != 0 {
        warnings.push(
            "--kernel-memory has no effect: Linux and the Engine API (1.42) have dropped it".to_owned(),
        );
    }
    let image = config.image.clone();
    let request = ContainerCreateRequest {
        config,
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
    };
    Ok(Plan {
        name: parsed.text("name").to_owned(),
        request,
        image,
        platform: platform(parsed, around),
        pull,
        quiet: parsed.switch("quiet"),
        api_socket: parsed.switch("use-api-socket"),
        warnings,
    })
}

fn pull(parsed: &Parsed) -> Result<Pull, String> {
    match parsed.text("pull") {
        "always" => Ok(Pull::Always),
        "never" => Ok(Pull::Never),
        "missing" | "" => Ok(Pull::Missing),
        other => Err(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        )),
    }
}

/// `--platform`, or what the environment says.
fn platform(parsed: &Parsed, around: &Surroundings<'_>) -> String {
    match parsed.changed("platform") {
        true => parsed.text("platform").to_owned(),
        false => (around.variable)("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    }
}

fn config(parsed: &Parsed, around: &Surroundings<'_>) -> Result<ContainerConfig, String> {
    let attach: Vec<String> = parsed.list("attach").iter().map(|s| s.to_lowercase()).collect();
    let attached = |stream: &str| attach.iter().any(|a| a == stream);
    let interactive = parsed.switch("interactive");
    let attach_stdin = attached("stdin") || interactive;
    let entrypoint = match parsed.text("entrypoint") {
        "" if !parsed.changed("entrypoint") => None,
        text => Some(vec![text.to_owned()]),
    };
    let mut env = lines::pairs(&parsed.list("env-file"), around.read, around.variable)?;
    let own = last_values(environment(&parsed.list("env"), around.variable));
    env.extend(with_proxies(own, around.proxies));
    let mut labels = lines::pairs(&parsed.list("label-file"), around.read, &|_| None)?;
    labels.extend(parsed.list("label"));
    Ok(ContainerConfig {
        hostname: parsed.text("hostname").to_owned(),
        domainname: parsed.text("domainname").to_owned(),
        user: parsed.text("user").to_owned(),
        attach_stdin,
        attach_stdout: attach.is_empty() || attached("stdout"),
        attach_stderr: attach.is_empty() || attached("stderr"),
        tty: parsed.switch("tty"),
        open_stdin: interactive,
        // The engine closes the container's input when the client that gives it goes away.
        stdin_once: interactive && attach_stdin,
        env: some(env),
        cmd: StrSlice(some(parsed.args.iter().skip(1).cloned().collect())),
        image: parsed.args.first().cloned().unwrap_or_default(),
        working_dir: parsed.text("workdir").to_owned(),
        entrypoint: StrSlice(entrypoint),
        labels: Some(pairs(&labels, '=')),
        stop_signal: parsed.text("stop-signal").to_owned(),
        stop_timeout: parsed
            .changed("stop-timeout")
            .then(|| isize::try_from(parsed.int_or("stop-timeout", 0)).unwrap_or(0)),
        ..ContainerConfig::default()
    })
}

/// What needs no check.
fn host(parsed: &Parsed, around: &Surroundings<'_>) -> HostConfig {
    let text = |name: &str| parsed.text(name).to_owned();
    let list = |name: &str| some(parsed.list(name));
    let valid = |names: &[&str], read: fn(&str) -> Result<String, String>| {
        Some(parsed.list_of(names).iter().filter_map(|v| read(v).ok()).collect::<Vec<_>>())
    };
    HostConfig {
        container_id_file: text("cidfile"),
        auto_remove: parsed.switch("rm"),
        volume_driver: text("volume-driver"),
        volumes_from: list("volumes-from"),
        console_size: [around.size.0.into(), around.size.1.into()],
        annotations: Some(pairs(&parsed.list("annotation"), '=')),
        cap_add: StrSlice(some(capabilities(&parsed.list("cap-add")))),
        cap_drop: StrSlice(some(capabilities(&parsed.list("cap-drop")))),
        dns: valid(&["dns"], addresses::dns),
        dns_options: Some(parsed.list_of(&["dns-option", "dns-opt"])),
        dns_search: valid(&["dns-search"], addresses::dns_search),
        extra_hosts: valid(&["add-host"], addresses::extra_host).and_then(some),
        group_add: list("group-add"),
        ipc_mode: text("ipc"),
        links: list("link"),
        oom_score_adj: isize::try_from(parsed.int_or("oom-score-adj", 0)).unwrap_or(0),
        privileged: parsed.switch("privileged"),
        publish_all_ports: parsed.switch("publish-all"),
        readonly_rootfs: parsed.switch("read-only"),
        tmpfs: Some(pairs(&parsed.list("tmpfs"), ':')),
        shm_size: parsed.bytes("shm-size"),
        sysctls: Some(pairs(&parsed.list("sysctl"), '=')),
        runtime: text("runtime"),
        isolation: text("isolation"),
        cgroup_parent: text("cgroup-parent"),
        init: parsed.changed("init").then(|| parsed.switch("init")),
        ..HostConfig::default()
    }
}

/// The namespaces' modes, of which Docker's client knows which there are.
fn modes(parsed: &Parsed, host: &mut HostConfig) -> Result<(), String> {
    let of_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    for (flag, what, slot) in [
        ("pid", "PID", &mut host.pid_mode),
        ("uts", "UTS", &mut host.uts_mode),
        ("userns", "USER", &mut host.userns_mode),
        ("cgroupns", "CGROUP", &mut host.cgroupns_mode),
    ] {
        let mode = parsed.text(flag);
        let valid = match mode {
            "" | "host" => true,
            "private" => flag == "cgroupns",
            mode => flag == "pid" && of_container(mode),
        };
        if !valid {
            return Err(format!("--{flag}: invalid {what} mode"));
        }
        mode.clone_into(slot);
    }
    Ok(())
}

/// Restart, logs, security, storage.
fn policies(parsed: &Parsed, around: &Surroundings<'_>, host: &mut HostConfig) -> Result<(), String> {
    let restart = if parsed.changed("restart") { parsed.text("restart") } else { "no" };
    host.restart_policy = limits::restart(restart)?;
    let (driver, options) = (parsed.text("log-driver"), parsed.list("log-opt"));
    if driver == "none" && !options.is_empty() {
        return Err(format!("invalid logging opts for driver {driver}"));
    }
    host.log_config = LogConfig { driver: driver.to_owned(), config: Some(pairs(&options, '=')) };
    let given = parsed.list("security-opt");
    let security = security::options(&given, around.read)?;
    // Go's list is there, if empty, when there was an option at all.
    host.security_opt = (!given.is_empty()).then_some(security.options);
    if security.open_paths {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    let storage = parsed.list("storage-opt");
    if storage.iter().any(|option| !option.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    host.storage_opt = Some(pairs(&storage, '='));
    Ok(())
}

fn resources(parsed: &Parsed, host: &mut HostConfig) -> Result<(), String> {
    let cpus = Some(parsed.text("cpus")).filter(|c| !c.is_empty());
    let uint = |name: &str| numbers::parse_uint(parsed.text(name), 64).unwrap_or(0);
    host.cpu_shares = parsed.int_or("cpu-shares", 0);
    host.memory = parsed.bytes("memory");
    host.nano_cpus = cpus.and_then(|c| numbers::parse_cpus(c).ok()).unwrap_or(0);
    host.cpu_period = parsed.int_or("cpu-period", 0);
    host.cpu_quota = parsed.int_or("cpu-quota", 0);
    host.cpu_realtime_period = parsed.int_or("cpu-rt-period", 0);
    host.cpu_realtime_runtime = parsed.int_or("cpu-rt-runtime", 0);
    parsed.text("cpuset-cpus").clone_into(&mut host.cpuset_cpus);
    parsed.text("cpuset-mems").clone_into(&mut host.cpuset_mems);
    host.memory_reservation = parsed.bytes("memory-reservation");
    host.memory_swap = parsed.bytes("memory-swap");
    host.memory_swappiness = Some(parsed.int_or("memory-swappiness", -1));
    host.oom_kill_disable = Some(parsed.switch("oom-kill-disable"));
    host.pids_limit = Some(parsed.int_or("pids-limit", 0));
    host.ulimits = Some(limits::ulimits(&parsed.list("ulimit"))?);
    host.cpu_count = parsed.int_or("cpu-count", 0);
    host.cpu_percent = parsed.int_or("cpu-percent", 0);
    host.io_maximum_iops = uint("io-maxiops");
    host.io_maximum_bandwidth = u64::try_from(parsed.bytes("io-maxbandwidth")).unwrap_or(0);
    Ok(())
}

fn block_io(parsed: &Parsed, host: &mut HostConfig) -> Result<(), String> {
    fn each<T>(
        parsed: &Parsed,
        name: &str,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<Option<T>>>, String> {
        parsed.list(name).iter().map(|v| read(v).map(Some)).collect::<Result<Vec<_>, _>>().map(Some)
    }
    let weight = numbers::parse_uint(parsed.text("blkio-weight"), 16).unwrap_or(0);
    host.blkio_weight = u16::try_from(weight).unwrap_or(0);
    host.blkio_weight_device = each(parsed, "blkio-weight-device", devices::weight)?;
    host.blkio_device_read_bps = each(parsed, "device-read-bps", devices::bytes_per_second)?;
    host.blkio_device_write_bps = each(parsed, "device-write-bps", devices::bytes_per_second)?;
    host.blkio_device_read_iops = each(parsed, "device-read-iops", devices::operations_per_second)?;
    host.blkio_device_write_iops = each(parsed, "device-write-iops", devices::operations_per_second)?;
    Ok(())
}

/// Devices: the host's nodes, and those asked of a driver.
fn requests(parsed: &Parsed, devices: devices::Devices, host: &mut HostConfig) -> Result<(), String> {
    let mut asked = parsed.list("gpus").iter().map(|v| devices::gpus(v)).collect::<Result<Vec<_>, _>>()?;
    if !devices.qualified.is_empty() {
        asked.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(devices.qualified),
            ..DeviceRequest::default()
        });
    }
    host.device_requests = some(asked);
    host.devices = Some(devices.nodes);
    host.device_cgroup_rules = some(parsed.list("device-cgroup-rule"));
    Ok(())
}

fn mounts(
    parsed: &Parsed,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>, String> {
    let mut out = Vec::new();
    for value in parsed.list("mount") {
        let (mount, texts) = mounts::parse(&value, around.folder)?;
        out.push(mount);
        warnings.extend(texts.into_iter().map(str::to_owned));
    }
    Ok(out)
}

/// `-e NAME` takes the value of this process's environment.
pub fn environment(given: &[String], variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let full = |entry: &String| match variable(entry) {
        Some(value) if !entry.contains('=') => format!("{entry}={value}"),
        _ => entry.clone(),
    };
    given.iter().map(full).collect()
}

/// A later value replaces an earlier one.
fn last_values(entries: Vec<String>) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or("").to_owned();
    let mut out: Vec<String> = Vec::new();
    for entry in entries {
        match out.iter_mut().find(|other| name(other) == name(&entry)) {
            Some(slot) => *slot = entry,
            None => out.push(entry),
        }
    }
    out
}

/// The configuration's proxies, where the command line does not say otherwise.
fn with_proxies(mut env: Vec<String>, proxies: &[(String, String)]) -> Vec<String> {
    for (name, value) in proxies {
        if !env.iter().any(|entry| entry.split('=').next() == Some(name)) {
            env.push(format!("{name}={value}"));
        }
    }
    env
}

/// `sys_admin` and `CAP_SYS_ADMIN` are the same; Docker's client sends them sorted and once.
fn capabilities(given: &[String]) -> Vec<String> {
    let mut out: Vec<String> = given
        .iter()
        .map(|name| {
            let name = name.trim().to_uppercase();
            if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

/// A map of `key` and value; a key without a separator has an empty value.
fn pairs(given: &[String], separator: char) -> BTreeMap<String, String> {
    given
        .iter()
        .map(|entry| {
            let (key, value) = entry.split_once(separator).unwrap_or((entry, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// Go's nil for a list that was never added to.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}
