//! What this machine has that a container may ask for: controllers, CPUs, device nodes, the kernel's version.
//!
//! Looked up only when asked for: most containers ask for none of it.

use crate::config::{DeviceMapping, DeviceNumber, HostConfig, Limits};
use crate::error::{Error, Result};
use crate::spec::{GivenDevice, Machine};
use crate::{Engine, error::Kind};
use cgroup::Controllers;
use oci::runtime as spec;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A folder of devices is walked no deeper.
const MAX_DEPTH: usize = 8;
/// And gives no more nodes.
const MAX_DEVICES: usize = 4096;

impl Engine {
    /// The facts that a container's limits are held against.
    pub(crate) fn machine(&self, host: &HostConfig) -> Result<Machine> {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if host.limits == Limits::default() {
            return Ok(Machine { cpus, ..Machine::default() });
        }
        let layout = self.cgroup_layout()?;
        let legacy = |controller| layout.legacy.iter().find(|h| h.controllers.contains(controller));
        let folders = |controller| {
            let found = legacy(controller).or(layout.unified.as_ref());
            let own = |h: &cgroup::Hierarchy| h.mount.join(h.own.strip_prefix("/").unwrap_or(&h.own));
            found.map(|h| [h.mount.clone(), own(h), h.mount.join("docker")]).into_iter().flatten()
        };
        let read = |names: &[&str]| {
            let paths = folders(Controllers::CPUSET).flat_map(|f| names.iter().map(move |n| f.join(n)));
            paths.filter_map(|path| std::fs::read_to_string(path).ok()).next().unwrap_or_default()
        };
        let has = |controller, names: &[&str]| {
            folders(controller).any(|f| names.iter().any(|n| f.join(n).exists()))
        };
        Ok(Machine {
            cpus,
            cpu_list: read(&["cpuset.cpus.effective", "cpuset.cpus"]).trim().to_string(),
            mem_list: read(&["cpuset.mems.effective", "cpuset.mems"]).trim().to_string(),
            blkio_weight: has(
                Controllers::IO,
                &["blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"],
            ),
            // BFQ's file takes a device only while that scheduler serves it.
            blkio_weight_device: has(Controllers::IO, &["blkio.weight_device", "io.weight"]),
            swappiness: legacy(Controllers::MEMORY).is_some(),
            oom_kill_disable: legacy(Controllers::MEMORY).is_some(),
        })
    }

    /// The pid namespace of `--pid container:NAME`, which must run.
    pub(crate) fn shared_pid_namespace(&self, host: &HostConfig) -> Result<Option<PathBuf>> {
        let Some(word) = host.namespaces.pid.strip_prefix("container:") else { return Ok(None) };
        let other = self.container(word)?;
        if !other.is_running() {
            return Err(Error::new(
                Kind::Conflict,
                format!("failed to join PID namespace: container {} is not running", other.id),
            ));
        }
        Ok(Some(PathBuf::from(format!("/proc/{}/ns/pid", other.state.pid))))
    }
}

/// The numbers of the block devices that limits name.
pub(crate) fn block_devices(limits: &Limits) -> Result<Vec<(String, (i64, i64))>> {
    let lists = [
        &limits.blkio_weight_device,
        &limits.blkio_read_bps,
        &limits.blkio_write_bps,
        &limits.blkio_read_iops,
        &limits.blkio_write_iops,
    ];
    let number = |device: &DeviceNumber| {
        let stat = rustix::fs::stat(device.path.as_str())
            .map_err(|e| Error::invalid(format!("stat {}: {}", device.path, go_text(e))))?;
        let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        Ok((device.path.clone(), (i64::from(numbers.0), i64::from(numbers.1))))
    };
    lists.into_iter().flatten().map(number).collect()
}

/// What `--device` asks for: a node, or all nodes of a folder. Links are followed, as Docker does.
pub(crate) fn given_devices(mappings: &[DeviceMapping]) -> Result<Vec<GivenDevice>> {
    let mut given = Vec::new();
    for mapping in mappings {
        let failed = |why: String| {
            let path = &mapping.host;
            Error::invalid(format!(
                "error gathering device information while adding custom device {path:?}: {why}"
            ))
        };
        let source = std::fs::canonicalize(&mapping.host).map_err(|e| {
            let errno = rustix::io::Errno::from_io_error(&e);
            failed(errno.map_or_else(|| e.to_string(), go_text))
        })?;
        let target = Path::new(if mapping.container.is_empty() { &mapping.host } else { &mapping.container });
        if !target.is_absolute() {
            return Err(failed(format!("{} is not an absolute path", target.display())));
        }
        let before = given.len();
        collect(&source, target, &mapping.permissions, 0, &mut given);
        if given.len() == before {
            return Err(failed("not a device node".to_string()));
        }
    }
    Ok(given)
}

fn collect(source: &Path, target: &Path, permissions: &str, depth: usize, given: &mut Vec<GivenDevice>) {
    if given.len() >= MAX_DEVICES {
        return;
    }
    if let Some(node) = device_at(source, target) {
        return given.push(GivenDevice { node, permissions: permissions.to_string() });
    }
    // A folder that changes meanwhile gives what it has.
    let Ok(entries) = std::fs::read_dir(source) else { return };
    if depth < MAX_DEPTH {
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| !kind.is_symlink())) {
            let target = target.join(entry.file_name());
            collect(&entry.path(), &target, permissions, depth + 1, given);
        }
    }
}

/// The node at `source`, as it shall be at `target`; `None` when it is none.
pub(crate) fn device_at(source: &Path, target: &Path) -> Option<spec::Device> {
    let meta = source.symlink_metadata().ok()?;
    let kind = meta.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return None;
    }
    Some(spec::Device {
        path: target.to_path_buf(),
        kind: if kind.is_char_device() { "c" } else { "b" }.to_string(),
        major: i64::from(rustix::fs::major(meta.rdev())),
        minor: i64::from(rustix::fs::minor(meta.rdev())),
        file_mode: Some(meta.mode() & 0o7777),
        uid: Some(meta.uid()),
        gid: Some(meta.gid()),
    })
}

/// The kernel's major and minor number.
pub(crate) fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether AppArmor confines processes here.
pub(crate) fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// Whether SELinux confines processes here.
pub(crate) fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// An errno's text as Go has it: lower case.
pub(crate) fn go_text(errno: rustix::io::Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_or_named() {
        let ask = |host: &str, container: &str| {
            given_devices(&[DeviceMapping {
                host: host.into(),
                container: container.into(),
                permissions: "rw".into(),
            }])
        };
        let null = ask("/dev/null", "/dev/nothing").unwrap();
        assert_eq!(null[0].node.path, Path::new("/dev/nothing"));
        assert_eq!((null[0].node.major, null[0].node.minor, null[0].permissions.as_str()), (1, 3, "rw"));
        for (path, why) in
            [("/dev/nosuch", "no such file or directory"), ("/etc/passwd", "not a device node")]
        {
            let expected =
                format!("error gathering device information while adding custom device \"{path}\": {why}");
            assert_eq!(ask(path, "").unwrap_err().message, expected);
        }
        let list = vec![DeviceNumber { path: "/dev/nosuch".into(), number: 1 }];
        let limits = Limits { blkio_read_bps: list, ..Limits::default() };
        assert_eq!(
            block_devices(&limits).unwrap_err().message,
            "stat /dev/nosuch: no such file or directory"
        );
    }

    #[test]
    fn the_kernel_has_a_number() {
        assert!(kernel() >= (5, 0), "{:?}", kernel());
    }
}
