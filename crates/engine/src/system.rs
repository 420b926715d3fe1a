//! What the engine knows of the host, and what it says of itself.

use crate::containers::ListFilter;
use crate::error::{Result, io};
use crate::{Engine, Status};
use oci::runtime as spec;
use std::path::PathBuf;

/// Figures for `info`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemInfo {
    /// All containers.
    pub containers: usize,
    /// Those that run.
    pub running: usize,
    /// Those that do not.
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// `uname -r`.
    pub kernel_version: String,
    /// `uname -m`.
    pub architecture: String,
    /// PRETTY_NAME of /etc/os-release.
    pub operating_system: String,
    /// VERSION_ID of it.
    pub os_version: String,
    /// Processors.
    pub cpus: usize,
    /// Bytes.
    pub memory: u64,
    /// Host name.
    pub name: String,
    /// "1" or "2".
    pub cgroup_version: &'static str,
    /// The data root.
    pub data_root: PathBuf,
    /// IPv4 forwarding is on.
    pub ipv4_forwarding: bool,
    /// The memory controller counts swap too.
    pub swap_limit: bool,
    /// A name for this installation.
    pub id: String,
    /// Descriptors that this process has open.
    pub open_files: usize,
    /// Qualified names of the devices that the Container Device Interface's files give.
    pub devices: Vec<String>,
    /// Docker's warnings.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Counts and describes.
    pub fn info(&self) -> Result<SystemInfo> {
        let all = self.list_containers(&ListFilter { all: true, ..ListFilter::default() })?;
        let running = all.iter().filter(|c| c.state.status == Status::Running).count();
        let name = rustix::system::uname();
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let os = |key: &str| {
            let line = release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            line.map(|v| v.trim_matches('"').to_string()).unwrap_or_default()
        };
        let forwarding =
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|t| t.trim() == "1");
        let v2 = self.cgroup_layout()?.version() == cgroup::Version::V2;
        let swap_limit =
            v2 || std::path::Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
        let mut warnings = Vec::new();
        if !swap_limit {
            warnings.push("WARNING: No swap limit support".to_string());
        }
        let cdi = self.cdi();
        warnings.extend(cdi.warnings());
        Ok(SystemInfo {
            devices: cdi.names().map(str::to_string).collect(),
            containers: all.len(),
            running,
            stopped: all.len() - running,
            images: self.images()?.len(),
            kernel_version: name.release().to_string_lossy().into_owned(),
            architecture: name.machine().to_string_lossy().into_owned(),
            operating_system: os("PRETTY_NAME"),
            os_version: os("VERSION_ID"),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: rustix::system::sysinfo().totalram,
            name: host_name(),
            cgroup_version: if v2 { "2" } else { "1" },
            data_root: self.paths().data.clone(),
            ipv4_forwarding: forwarding,
            swap_limit,
            id: self.installation_id(),
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            warnings,
        })
    }

    /// The same for every process of this installation, and none of the machine's own names can be read from
    /// it: a digest of machine and data root in the form of a UUID (RFC 9562, version 8).
    pub(crate) fn installation_id(&self) -> String {
        let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let machine = if machine.trim().is_empty() { host_name() } else { machine.trim().to_string() };
        let text = format!("tare:{machine}:{}", self.paths().data.display());
        as_uuid(oci::Digest::sha256(text.as_bytes()).hex())
    }
}

/// The first 122 free bits of hex digits.
fn as_uuid(hex: &str) -> String {
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

/// The host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The capabilities of this process's bounding set, by name.
pub(crate) fn bounding_capabilities() -> Result<Vec<String>> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(io("read /proc/self/status"))?;
    let mask = status
        .lines()
        .find_map(|l| l.strip_prefix("CapBnd:"))
        .and_then(|t| u64::from_str_radix(t.trim(), 16).ok());
    Ok(crate::spec::capability_names(mask.unwrap_or(0)))
}

/// The nodes of /dev for `--privileged`, as Docker gives them: not those that a container has its
/// own of (pts, shm, mqueue, fd, console).
pub(crate) fn host_devices() -> Result<Vec<spec::Device>> {
    let mut devices = Vec::new();
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            if kind.is_dir() {
                if !["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"].iter().any(|n| name == *n)
                {
                    folders.push(path);
                }
            } else if name != "console" {
                devices.extend(crate::machine::device_at(&path, &path));
            }
        }
    }
    devices.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(devices)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_id_is_a_uuid() {
        let hex = oci::Digest::sha256(b"x").hex().to_string();
        let id = super::as_uuid(&hex);
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!((&id[14..15], &id[19..20]), ("8", "8"), "version and variant");
    }
}
