//! A container's record becomes a runtime spec: a pure function, [`build`].
//!
//! Everything that needs the host (users of the image, files, addresses, limits of this kernel) is
//! looked up before and handed in as [`Inputs`]. Values are Docker's (daemon 28.5 on Linux).

mod defaults;
mod mounts;
mod resources;
pub mod users;

pub use defaults::{masked_paths, readonly_paths};
pub use resources::validate;

use crate::config::NetworkMode;
use crate::error::{Error, Result};
use crate::state::Record;
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
    /// `containers/ID`: hosts, hostname and resolv.conf lie there.
    pub data_dir: &'a Path,
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
}

/// Builds the spec.
pub fn build(inputs: &Inputs<'_>) -> Result<spec::Spec> {
    let record = inputs.record;
    let privileged = record.host.privileged;
    Ok(spec::Spec {
        oci_version: spec::VERSION.to_string(),
        process: Some(process(inputs)?),
        root: Some(spec::Root { path: inputs.root.to_path_buf(), readonly: record.host.read_only }),
        hostname: hostname(record, inputs.host_name),
        domainname: record.config.domainname.clone(),
        mounts: mounts::mounts(inputs)?,
        annotations: annotations(record),
        linux: Some(spec::Linux {
            sysctl: sysctls(record),
            resources: Some(resources::resources(record)),
            cgroups_path: PathBuf::from(inputs.cgroup),
            namespaces: namespaces(record, inputs.cgroup_v2),
            devices: if privileged { inputs.host_devices.to_vec() } else { Vec::new() },
            masked_paths: if privileged { Vec::new() } else { masked_paths() },
            readonly_paths: if privileged { Vec::new() } else { readonly_paths() },
            ..spec::Linux::default()
        }),
        ..spec::Spec::default()
    })
}

/// Checks a `-v` value without the host.
pub(crate) fn check_bind(text: &str) -> Result<()> {
    mounts::Bind::parse(text).map(drop)
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

fn annotations(record: &Record) -> std::collections::BTreeMap<String, String> {
    if record.host.privileged {
        return std::collections::BTreeMap::new();
    }
    [(SECCOMP_ANNOTATION.to_string(), SECCOMP_DOCKER_DEFAULT.to_string())].into()
}

/// The name a container sees: the host's with the host's network, else the configured one, which
/// creation has set to the short id when none was asked for.
pub fn hostname(record: &Record, host_name: &str) -> String {
    if record.host.network == NetworkMode::Host && record.config.hostname.is_empty() {
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
        env: environment(record, &hostname(record, inputs.host_name), inputs.user),
        args,
        cwd: PathBuf::from(if record.config.working_dir.is_empty() {
            "/"
        } else {
            &record.config.working_dir
        }),
        capabilities: Some(capabilities(record, inputs.user.uid, inputs.bounding)?),
        oom_score_adj: Some(0),
        ..spec::Process::default()
    })
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's order: PATH, HOSTNAME, TERM, then what image and client say, then HOME when nobody did.
fn environment(record: &Record, hostname: &str, user: &ResolvedUser) -> Vec<String> {
    let mut env = vec![format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    if record.config.tty {
        env.push("TERM=xterm".to_string());
    }
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

fn namespaces(record: &Record, cgroup_v2: bool) -> Vec<spec::Namespace> {
    use spec::NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let mut kinds = vec![Mount, Uts, Pid, Ipc];
    if record.host.network != NetworkMode::Host {
        kinds.push(Network);
    }
    // Docker: private on v2, except for privileged containers; the host's on v1.
    if cgroup_v2 && !record.host.privileged {
        kinds.push(Cgroup);
    }
    kinds.into_iter().map(|kind| spec::Namespace { kind, path: PathBuf::new() }).collect()
}

fn sysctls(record: &Record) -> std::collections::BTreeMap<String, String> {
    if record.host.network == NetworkMode::Host {
        return std::collections::BTreeMap::new();
    }
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")]
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .into()
}

#[cfg(test)]
mod tests;
