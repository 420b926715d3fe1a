//! From `run`'s and `create`'s flags to the create request that Docker's CLI would send.
//!
//! This file does no I/O and knows no engine; the environment is handed in.

pub mod ports;
pub mod volumes;

use std::collections::BTreeMap;

use api::container::{ContainerConfig, ContainerCreateRequest};
use api::go::{Empty, StrSlice};
use api::host_config::{HostConfig, LogConfig, RestartPolicy};
use api::network::{EndpointSettings, NetworkingConfig};

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
    /// When to pull.
    pub pull: Pull,
    /// Do not show the pull.
    pub quiet: bool,
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

/// The environment's variables and the folder relative paths start from.
pub struct Surroundings<'a> {
    /// Looks a variable up.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The current folder.
    pub folder: &'a str,
    /// The output's size: rows and columns.
    pub size: (u16, u16),
}

/// Builds the request; the error is Docker's text.
pub fn plan(parsed: &Parsed, around: &Surroundings<'_>) -> Result<Plan, String> {
    let pull = match parsed.text("pull") {
        "always" => Pull::Always,
        "never" => Pull::Never,
        "missing" | "" => Pull::Missing,
        other => {
            return Err(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ));
        }
    };
    let image = parsed.args.first().cloned().unwrap_or_default();
    let mut config = config(parsed, &image, around)?;
    let mut host = host(parsed, around);
    let volumes = volumes::split(&parsed.list("volume"), around.folder)?;
    host.binds = some(volumes.binds);
    config.volumes = Some(volumes.anonymous.into_iter().map(|v| (v, Empty)).collect());
    let ports = ports::parse(&parsed.list("publish"))?;
    config.exposed_ports = Some(ports.keys().map(|p| (p.clone(), Empty)).collect());
    host.port_bindings = Some(ports.into_iter().map(|(p, b)| (p, Some(b))).collect());
    let networking = networking(&parsed.list_of(&["network", "net"]), &mut host)?;
    let request = ContainerCreateRequest {
        config,
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(networking) }),
    };
    Ok(Plan { name: parsed.text("name").to_owned(), request, image, pull, quiet: parsed.switch("quiet") })
}

fn config(parsed: &Parsed, image: &str, around: &Surroundings<'_>) -> Result<ContainerConfig, String> {
    let attach: Vec<String> = parsed.list("attach").iter().map(|s| s.to_lowercase()).collect();
    let attached = |stream: &str| attach.iter().any(|a| a == stream);
    let interactive = parsed.switch("interactive");
    let attach_stdin = attached("stdin") || interactive;
    let entrypoint = match parsed.text("entrypoint") {
        "" if !parsed.changed("entrypoint") => None,
        text => Some(vec![text.to_owned()]),
    };
    Ok(ContainerConfig {
        hostname: parsed.text("hostname").to_owned(),
        user: parsed.text("user").to_owned(),
        attach_stdin,
        attach_stdout: attach.is_empty() || attached("stdout"),
        attach_stderr: attach.is_empty() || attached("stderr"),
        tty: parsed.switch("tty"),
        open_stdin: interactive,
        // The engine closes the container's input when the client that gives it goes away.
        stdin_once: interactive && attach_stdin,
        env: some(environment(&parsed.list("env"), around.variable)),
        cmd: StrSlice(some(parsed.args.iter().skip(1).cloned().collect())),
        image: image.to_owned(),
        working_dir: parsed.text("workdir").to_owned(),
        entrypoint: StrSlice(entrypoint),
        labels: Some(pairs(&parsed.list("label"), '=')),
        stop_timeout: parsed
            .changed("stop-timeout")
            .then(|| isize::try_from(parsed.int_or("stop-timeout", 0)).unwrap_or(0)),
        ..ContainerConfig::default()
    })
}

fn host(parsed: &Parsed, around: &Surroundings<'_>) -> HostConfig {
    let cpus = Some(parsed.text("cpus")).filter(|c| !c.is_empty());
    HostConfig {
        log_config: LogConfig { driver: String::new(), config: Some(BTreeMap::new()) },
        network_mode: "default".to_owned(),
        restart_policy: RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 },
        auto_remove: parsed.switch("rm"),
        console_size: [around.size.0.into(), around.size.1.into()],
        cap_add: StrSlice(some(capabilities(&parsed.list("cap-add")))),
        cap_drop: StrSlice(some(capabilities(&parsed.list("cap-drop")))),
        dns: Some(Vec::new()),
        dns_options: Some(Vec::new()),
        dns_search: Some(Vec::new()),
        privileged: parsed.switch("privileged"),
        readonly_rootfs: parsed.switch("read-only"),
        tmpfs: Some(pairs(&parsed.list("tmpfs"), ':')),
        memory: parsed.bytes("memory"),
        memory_swap: parsed.bytes("memory-swap"),
        memory_swappiness: Some(-1),
        nano_cpus: cpus.and_then(|c| numbers::parse_cpus(c).ok()).unwrap_or(0),
        oom_kill_disable: Some(false),
        pids_limit: Some(parsed.int_or("pids-limit", 0)),
        blkio_weight_device: Some(Vec::new()),
        blkio_device_read_bps: Some(Vec::new()),
        blkio_device_write_bps: Some(Vec::new()),
        blkio_device_read_iops: Some(Vec::new()),
        blkio_device_write_iops: Some(Vec::new()),
        devices: Some(Vec::new()),
        ulimits: Some(Vec::new()),
        init: parsed.changed("init").then(|| parsed.switch("init")),
        ..HostConfig::default()
    }
}

/// `-e NAME` takes the value of this process's environment; a later value replaces an earlier one.
pub fn environment(given: &[String], variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut out: Vec<(String, String)> = Vec::new();
    for entry in given {
        let name = entry.split('=').next().unwrap_or("").to_owned();
        let full = match variable(&name) {
            Some(value) if !entry.contains('=') => format!("{name}={value}"),
            _ => entry.clone(),
        };
        match out.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = full,
            None => out.push((name, full)),
        }
    }
    out.into_iter().map(|(_, full)| full).collect()
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

type Endpoints = BTreeMap<String, Option<EndpointSettings>>;

fn networking(given: &[String], host: &mut HostConfig) -> Result<Endpoints, String> {
    let mut endpoints = Endpoints::new();
    match given {
        [] => {
            endpoints.insert("default".to_owned(), Some(EndpointSettings::default()));
        }
        [one] if one.trim().is_empty() => return Err("no name set for network".to_owned()),
        [one] if one.contains('=') => {
            return Err(format!("--network {one}: options of a network are not available yet"));
        }
        [one] => host.network_mode = one.clone(),
        _ => return Err("--network: more than one network is not available yet".to_owned()),
    }
    Ok(endpoints)
}

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
