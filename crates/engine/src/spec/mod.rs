//! A container's record becomes a runtime spec: a pure function, [`build`].
//!
//! Everything that needs the host (users of the image, files, addresses, limits of this kernel) is
//! looked up before and handed in as [`Inputs`]. Values are Docker's (daemon 28.5 on Linux).

mod defaults;
mod limits;
mod mounts;
mod resources;
pub mod seccomp;
pub mod security;
pub mod users;

pub use defaults::{masked_paths, readonly_paths};
pub use limits::{Machine, validate};
pub(crate) use resources::changed_resources;

use crate::config::NetworkMode;
use crate::error::{Error, Result};
use crate::ipc::SharedIpc;
use crate::state::Record;
pub(crate) use mounts::tmpfs as tmpfs_mount;
use oci::runtime as spec;
use std::path::{Path, PathBuf};
pub(crate) use users::ResolvedUser;

/// What is known of the host and the image when a task starts.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The container.
    pub record: &'a Record,
    /// Whom its process runs as.
    pub user: &'a ResolvedUser,
    /// Where the root file system is mounted: a folder of the host that stays empty.
    pub root: &'a Path,
    /// Where hosts, hostname and resolv.conf lie.
    pub network_files: &'a Path,
    /// The protected runtime program, for `--init`.
    pub init: Option<&'a Path>,
    /// Cgroup path below each hierarchy's root.
    pub cgroup: &'a str,
    /// Only the unified hierarchy: cgroup namespaces are private there, as Docker has it.
    pub cgroup_v2: bool,
    /// The host's name, for `--network host`.
    pub host_name: &'a str,
    /// What this process itself may have: `--privileged` gets no more.
    pub bounding: &'a [String],
    /// `/dev` nodes of the host, for `--privileged`.
    pub host_devices: &'a [spec::Device],
    /// What `--device` asks for, as it was found.
    pub devices: &'a [GivenDevice],
    /// Numbers of the block devices that limits name.
    pub block_devices: &'a [(String, (i64, i64))],
    /// The pid namespace of another container that is shared.
    pub pid_namespace: Option<&'a Path>,
    /// The ipc namespace and `/dev/shm` that are shared.
    pub ipc: Option<&'a SharedIpc>,
    /// `--security-opt`, understood.
    pub security: &'a security::Options,
    /// The kernel's major and minor number.
    pub kernel: (u32, u32),
    /// It has AppArmor, and it is switched on.
    pub apparmor: bool,
    /// What is mounted beside Docker's own.
    pub mounts: &'a [spec::Mount],
    /// What links say in the environment.
    pub linked: &'a [String],
}

/// A device node that a container gets.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenDevice {
    /// Its place in the container and its numbers.
    pub node: spec::Device,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

/// Builds the spec.
pub fn build(inputs: &Inputs<'_>) -> Result<spec::Spec> {
    let record = inputs.record;
    let process = process(inputs)?;
    let bounding = process.capabilities.as_ref().map_or(&[][..], |sets| &sets.bounding[..]);
    let linux = linux(inputs, bounding)?;
    Ok(spec::Spec {
        oci_version: spec::VERSION.to_string(),
        root: Some(spec::Root { path: inputs.root.to_path_buf(), readonly: record.host.read_only }),
        // In the host's namespace there is nothing to set.
        hostname: match record.host.namespaces.uts.as_str() {
            "host" => String::new(),
            _ => hostname(record, inputs.host_name),
        },
        domainname: record.config.domainname.clone(),
        mounts: mounts::mounts(inputs)?,
        annotations: annotations(inputs),
        linux: Some(linux),
        process: Some(process),
        ..spec::Spec::default()
    })
}

fn linux(inputs: &Inputs<'_>, bounding: &[String]) -> Result<spec::Linux> {
    let host = &inputs.record.host;
    let hidden = |asked: &Option<Vec<String>>, usual: fn() -> Vec<PathBuf>| match asked {
        _ if host.privileged => Vec::new(),
        Some(paths) => paths.iter().map(PathBuf::from).collect(),
        None => usual(),
    };
    let mut devices = if host.privileged { inputs.host_devices.to_vec() } else { Vec::new() };
    devices.retain(|device| inputs.devices.iter().all(|given| given.node.path != device.path));
    devices.extend(inputs.devices.iter().map(|given| given.node.clone()));
    let arch = oci::Platform::host().architecture;
    let seccomp = match &inputs.security.seccomp {
        security::Seccomp::Profile(profile) => {
            let facts = seccomp::Facts { capabilities: bounding, arch: &arch, kernel: inputs.kernel };
            Some(seccomp::for_container(profile, facts)?)
        }
        _ => None,
    };
    Ok(spec::Linux {
        sysctl: sysctls(inputs.record),
        resources: Some(resources::resources(inputs)?),
        cgroups_path: PathBuf::from(inputs.cgroup),
        namespaces: namespaces(inputs),
        devices,
        masked_paths: hidden(&host.security.masked_paths, masked_paths),
        readonly_paths: hidden(&host.security.readonly_paths, readonly_paths),
        seccomp,
        ..spec::Linux::default()
    })
}

/// Where a container's cgroup lies below each hierarchy's root: below the parent that was asked for, else the
/// engine's. Cleaned, so that no parent leads out of the hierarchy.
pub(crate) fn cgroup_path(asked: &str, usual: &str, id: &str) -> String {
    let parent = if asked.is_empty() { usual } else { asked };
    let parts = parent.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
    parts.chain([id]).map(|part| format!("/{part}")).collect()
}

/// An absolute path without dots, as Go's `path.Clean` makes it.
pub(crate) fn clean(path: &str) -> String {
    mounts::absolute(path).map_or_else(|_| path.to_string(), |path| path.to_string_lossy().into_owned())
}

/// Checks capability names.
pub(crate) fn check_capabilities(names: &[String]) -> Result<()> {
    defaults::normalise(names).map(drop)
}

/// The names of the capabilities in a mask of /proc/PID/status.
pub(crate) fn capability_names(mask: u64) -> Vec<String> {
    defaults::names(mask)
}

/// The annotation by which the runtime takes Docker's seccomp profile in the form that was
/// compiled at build time.
pub const SECCOMP_ANNOTATION: &str = "io.tare.seccomp";
/// Its only value.
pub const SECCOMP_DOCKER_DEFAULT: &str = "docker-default";

fn annotations(inputs: &Inputs<'_>) -> std::collections::BTreeMap<String, String> {
    let host = &inputs.record.host;
    let mut annotations = host.annotations.clone();
    // Whatever the client says: this one is ours.
    annotations.remove(SECCOMP_ANNOTATION);
    if !host.privileged && inputs.security.seccomp == security::Seccomp::Default {
        annotations.insert(SECCOMP_ANNOTATION.to_string(), SECCOMP_DOCKER_DEFAULT.to_string());
    }
    annotations
}

/// The name a container sees: the host's with the host's network, else the configured one, which
/// creation has set to the short id when none was asked for.
pub fn hostname(record: &Record, host_name: &str) -> String {
    let hosts = record.host.network == NetworkMode::Host || record.host.namespaces.uts == "host";
    if hosts && record.config.hostname.is_empty() {
        return host_name.to_string();
    }
    record.config.hostname.clone()
}

fn process(inputs: &Inputs<'_>) -> Result<spec::Process> {
    let record = inputs.record;
    let mut args = record.argv();
    if args.is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    if inputs.init.is_some() {
        args.splice(0..0, ["/sbin/docker-init".to_string(), "--".to_string()]);
    }
    let (columns, rows) = record.host.console_size;
    Ok(spec::Process {
        terminal: record.config.tty,
        console_size: (record.config.tty && columns != 0)
            .then(|| spec::ConsoleSize { width: columns.into(), height: rows.into() }),
        user: inputs.user.to_spec(),
        env: environment(record, &hostname(record, inputs.host_name), inputs.linked, inputs.user),
        args,
        cwd: PathBuf::from(if record.config.working_dir.is_empty() {
            "/"
        } else {
            &record.config.working_dir
        }),
        capabilities: Some(capabilities(record, inputs.user.uid, inputs.bounding)?),
        oom_score_adj: Some(i32::try_from(record.host.limits.oom_score_adj).unwrap_or(0)),
        rlimits: resources::rlimits(&record.host.limits),
        no_new_privileges: inputs.security.no_new_privileges,
        apparmor_profile: apparmor_profile(inputs),
        ..spec::Process::default()
    })
}

/// As dockerd: a profile is asked for by name only, and on a kernel without AppArmor it means nothing.
fn apparmor_profile(inputs: &Inputs<'_>) -> String {
    let asked = inputs.security.apparmor.clone().filter(|_| inputs.apparmor);
    asked.unwrap_or_default()
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's order: PATH, HOSTNAME, TERM, links, then what image and client say, then HOME when nobody did.
fn environment(record: &Record, hostname: &str, linked: &[String], user: &ResolvedUser) -> Vec<String> {
    let mut env = vec![format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    if record.config.tty {
        env.push("TERM=xterm".to_string());
    }
    env.extend_from_slice(linked);
    merge_env(&mut env, &record.config.env);
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    env
}

/// Replaces or appends each `NAME=value`; a bare `NAME` removes it.
pub fn merge_env(env: &mut Vec<String>, overrides: &[String]) {
    for entry in overrides {
        match entry.split_once('=') {
            Some((name, _)) => {
                match env.iter_mut().find(|e| e.split_once('=').is_some_and(|(n, _)| n == name)) {
                    Some(existing) => existing.clone_from(entry),
                    None => env.push(entry.clone()),
                }
            }
            None => env.retain(|e| e.split_once('=').is_none_or(|(n, _)| n != entry)),
        }
    }
}

/// The process of `exec`: the container's own, with what the request changes.
pub fn exec_process(
    base: &spec::Process,
    user: Option<&ResolvedUser>,
    request: &crate::tasks::ExecConfig,
    privileged: &[String],
) -> spec::Process {
    let mut process = base.clone();
    process.args.clone_from(&request.cmd);
    process.terminal = request.tty;
    process.console_size = None;
    if request.tty && !process.env.iter().any(|e| e.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_string());
    }
    if let Some(user) = user {
        process.user = user.to_spec();
        process.env.retain(|e| !e.starts_with("HOME="));
        process.env.push(format!("HOME={}", user.home));
    }
    merge_env(&mut process.env, &request.env);
    if !request.working_dir.is_empty() {
        process.cwd = PathBuf::from(&request.working_dir);
    }
    if request.privileged {
        process.capabilities = Some(sets(privileged.to_vec(), process.user.uid));
    } else if let Some(capabilities) = &base.capabilities {
        process.capabilities = Some(sets(capabilities.bounding.clone(), process.user.uid));
    }
    process
}

fn capabilities(record: &Record, uid: u32, bounding: &[String]) -> Result<spec::Capabilities> {
    let list = if record.host.privileged {
        bounding.to_vec()
    } else {
        defaults::capabilities(&record.host.cap_add, &record.host.cap_drop, bounding)?
    };
    Ok(sets(list, uid))
}

/// Docker gives users other than root a bounding set only: what a set-user-id program may regain.
fn sets(list: Vec<String>, uid: u32) -> spec::Capabilities {
    let held = if uid == 0 { list.clone() } else { Vec::new() };
    spec::Capabilities {
        bounding: list,
        effective: held.clone(),
        permitted: held,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    }
}

/// Whether the container has a cgroup namespace of its own. Docker: on v2, privileged ones too; on v1 the
/// host's.
pub(crate) fn private_cgroups(host: &crate::HostConfig, cgroup_v2: bool) -> bool {
    match host.namespaces.cgroup.as_str() {
        "host" => false,
        "private" => true,
        _ => cgroup_v2,
    }
}

fn namespaces(inputs: &Inputs<'_>) -> Vec<spec::Namespace> {
    use spec::NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let host = &inputs.record.host;
    let own = |kind| spec::Namespace { kind, path: PathBuf::new() };
    let mut list = vec![own(Mount)];
    if host.namespaces.uts != "host" {
        list.push(own(Uts));
    }
    match inputs.pid_namespace {
        Some(path) => list.push(spec::Namespace { kind: Pid, path: path.to_path_buf() }),
        None if host.namespaces.pid == "host" => {}
        None => list.push(own(Pid)),
    }
    match inputs.ipc.and_then(|ipc| ipc.namespace.as_ref()) {
        Some(path) => list.push(spec::Namespace { kind: Ipc, path: path.clone() }),
        None if host.namespaces.ipc == "host" => {}
        None => list.push(own(Ipc)),
    }
    if host.network != NetworkMode::Host {
        list.push(own(Network));
    }
    if private_cgroups(host, inputs.cgroup_v2) {
        list.push(own(Cgroup));
    }
    list
}

fn sysctls(record: &Record) -> std::collections::BTreeMap<String, String> {
    let mut sysctls = std::collections::BTreeMap::new();
    // Those of a namespace that is another's are another's business.
    if record.host.network != NetworkMode::Host && record.host.network.joined().is_none() {
        for (key, value) in
            [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")]
        {
            sysctls.insert(key.to_string(), value.to_string());
        }
    }
    sysctls.extend(record.host.sysctls.clone());
    sysctls
}

#[cfg(test)]
mod tests;
