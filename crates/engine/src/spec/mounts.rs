//! The mounts of a container: Docker's own, its three files, and what was asked for.

use super::Inputs;
use crate::error::{Error, Result};
use oci::runtime::Mount;
use std::path::{Component, Path, PathBuf};

pub(super) fn mounts(inputs: &Inputs<'_>) -> Result<Vec<Mount>> {
    let host = &inputs.record.host;
    let mut mounts = system(host.privileged, inputs.security.writable_cgroups);
    mounts.extend(shared_memory(inputs));
    for file in ["resolv.conf", "hostname", "hosts"] {
        mounts.push(bind(&format!("/etc/{file}"), &inputs.network_files.join(file), host.read_only));
    }
    if let Some(init) = inputs.init {
        mounts.push(bind("/sbin/docker-init", init, true));
    }
    let mut asked = Vec::new();
    for (target, options) in &host.tmpfs {
        asked.push(tmpfs(target, options)?);
    }
    asked.extend(inputs.mounts.iter().cloned());
    // As Docker: the system's in their order, then the user's by depth, so that a mount below
    // another comes after it; a user's mount on one of the system's places replaces it.
    asked.sort_by_key(|m| m.destination.components().count());
    mounts.extend(asked);
    dedup(&mut mounts);
    Ok(mounts)
}

/// `/dev/shm`, which is System V's shared memory by another name: it goes with the ipc namespace.
fn shared_memory(inputs: &Inputs<'_>) -> Option<Mount> {
    if let Some(ipc) = inputs.ipc {
        return Some(bind("/dev/shm", &ipc.shm, false));
    }
    let host = &inputs.record.host;
    let shm = if host.shm_size > 0 { host.shm_size } else { crate::ipc::SHM_BYTES };
    let options = ["nosuid", "noexec", "nodev", "mode=1777", &format!("size={shm}")];
    match host.namespaces.ipc.as_str() {
        "none" => None,
        "host" => Some(bind("/dev/shm", Path::new("/dev/shm"), false)),
        _ => Some(mount("/dev/shm", "tmpfs", "shm", &options)),
    }
}

fn system(privileged: bool, writable_cgroups: bool) -> Vec<Mount> {
    let access = if privileged { "rw" } else { "ro" };
    let cgroups = if privileged || writable_cgroups { "rw" } else { "ro" };
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[cgroups, "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ]
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: PathBuf::from(destination),
        kind: kind.to_string(),
        source: PathBuf::from(source),
        options: options.iter().map(|o| (*o).to_string()).collect(),
        ..Mount::default()
    }
}

fn bind(destination: &str, source: &Path, read_only: bool) -> Mount {
    let access = if read_only { "ro" } else { "rw" };
    Mount { source: source.to_path_buf(), ..mount(destination, "bind", "", &["rbind", "rprivate", access]) }
}

/// A tmpfs with Docker's defaults.
pub(crate) fn tmpfs(target: &str, options: &str) -> Result<Mount> {
    let path = absolute(target)?;
    let mut list = vec!["noexec".to_string(), "nosuid".to_string(), "nodev".to_string()];
    for option in options.split(',').filter(|o| !o.is_empty()) {
        // The opposite of a default replaces it.
        let opposite = match option {
            "exec" => "noexec",
            "suid" => "nosuid",
            "dev" => "nodev",
            _ => "",
        };
        list.retain(|o| o != opposite && o != option);
        list.push(option.to_string());
    }
    Ok(Mount {
        destination: path,
        kind: "tmpfs".to_string(),
        source: PathBuf::from("tmpfs"),
        options: list,
        ..Mount::default()
    })
}

/// A later mount on the same place wins.
fn dedup(mounts: &mut Vec<Mount>) {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Mount> =
        mounts.drain(..).rev().filter(|m| seen.insert(m.destination.clone())).collect();
    kept.reverse();
    *mounts = kept;
}

/// Cleans an absolute path of the container as Go's `path.Clean` does.
pub(super) fn absolute(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(Error::invalid(format!("invalid mount path: '{text}' mount path must be absolute")));
    }
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    Ok(clean)
}
