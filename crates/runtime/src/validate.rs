//! What can be known to be wrong before anything is made, with runc's texts where it has one.

use crate::CreateOptions;
use crate::error::{Error, Kind, Result, What};
use crate::limits;
use crate::namespaces::Namespaces;
use crate::rootfs::{self, options};
use oci::runtime::{Linux, NamespaceKind, Process, Spec};
use std::path::Path;

/// runc has no limit of its own, but the id becomes a folder's name.
const ID_MAX: usize = 1024;

pub(crate) fn id(id: &str) -> Result<()> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'+' | b'-' | b'.');
    if id.is_empty() {
        return Err(Error::new(Kind::Invalid, "container ID cannot be empty"));
    }
    if id == "." || id == ".." || id.len() > ID_MAX || !id.bytes().all(allowed) {
        return Err(Error::new(Kind::Invalid, "invalid container ID format"));
    }
    Ok(())
}

pub(crate) fn create(options: &CreateOptions<'_>, namespaces: &Namespaces) -> Result<()> {
    id(options.id)?;
    let spec = options.spec;
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| Error::new(Kind::Invalid, "process property must not be empty"))?;
    check_process(process)?;
    if options.rootfs.is_empty() {
        let path = rootfs::root_path(spec, options.bundle)?;
        let stat = rustix::fs::stat(&path).what(|| format!("invalid rootfs: stat {}", path.display()))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid rootfs: {} is not a directory", path.display()),
            ));
        }
    }
    let hostname = !spec.hostname.is_empty() || !spec.domainname.is_empty();
    if hostname && !namespaces.is_private(NamespaceKind::Uts) {
        return Err(Error::new(Kind::Invalid, "unable to set hostname without a private UTS namespace"));
    }
    for mount in &spec.mounts {
        if !mount.destination.is_absolute() {
            let text = format!("mount destination {} is not absolute", mount.destination.display());
            return Err(Error::new(Kind::Invalid, text));
        }
        options::Options::parse(&mount.options)?;
    }
    match &spec.linux {
        Some(linux) => check_linux(spec, linux, namespaces),
        None => Ok(()),
    }
}

/// What `exec` and `create` both need of a process.
pub(crate) fn check_process(process: &Process) -> Result<()> {
    let invalid = |text: String| Err(Error::new(Kind::Invalid, text));
    if process.args.is_empty() {
        return invalid("process args cannot be empty".into());
    }
    if !process.cwd.is_absolute() {
        return invalid("Cwd property must be an absolute path".into());
    }
    if process.user.uid == u32::MAX
        || process.user.gid == u32::MAX
        || process.user.additional_gids.contains(&u32::MAX)
    {
        return invalid("user and group ids must be below 4294967295".into());
    }
    let nul = |text: &String| text.contains('\0');
    if process.args.iter().any(nul) || process.env.iter().any(nul) {
        return invalid("process args and env cannot hold NUL bytes".into());
    }
    for (number, limit) in process.rlimits.iter().enumerate() {
        limits::resource(&limit.kind)?;
        if limit.soft > limit.hard {
            return invalid(format!(
                "{}: soft limit {} is above hard limit {}",
                limit.kind, limit.soft, limit.hard
            ));
        }
        if process.rlimits[..number].iter().any(|other| other.kind == limit.kind) {
            return invalid(format!("duplicate rlimit type: {}", limit.kind));
        }
    }
    check_labels(process)?;
    let unsupported = [
        (process.scheduler.is_some(), "process.scheduler"),
        (process.io_priority.is_some(), "process.ioPriority"),
        (process.exec_cpu_affinity.is_some(), "process.execCPUAffinity"),
    ];
    refuse(&unsupported)
}

fn check_linux(spec: &Spec, linux: &Linux, namespaces: &Namespaces) -> Result<()> {
    options::propagation(&linux.rootfs_propagation)?;
    for key in linux.sysctl.keys() {
        sysctl(spec, key, namespaces)?;
    }
    let user = namespaces.is_new(NamespaceKind::User);
    let maps = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if user && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty()) {
        return Err(Error::new(
            Kind::Invalid,
            "user namespaces enabled, but no uid or gid mappings provided",
        ));
    }
    if maps && !namespaces.is_private(NamespaceKind::User) {
        return Err(Error::new(
            Kind::Invalid,
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        ));
    }
    if !linux.time_offsets.is_empty() && !namespaces.is_private(NamespaceKind::Time) {
        return Err(Error::new(
            Kind::Invalid,
            "time namespace offsets specified, but time namespace isn't enabled in the config",
        ));
    }
    if !linux.mount_label.is_empty() && !selinux_enabled() {
        return Err(Error::new(
            Kind::Unsupported,
            "selinux label is specified in config, but selinux is disabled or not supported",
        ));
    }
    refuse(&[
        (linux.intel_rdt.is_some(), "linux.intelRdt"),
        (linux.memory_policy.is_some(), "linux.memoryPolicy"),
        (linux.personality.is_some(), "linux.personality"),
        (!linux.net_devices.is_empty(), "linux.netDevices"),
        (
            linux.seccomp.as_ref().is_some_and(|s| !s.listener_path.as_os_str().is_empty()),
            "linux.seccomp.listenerPath",
        ),
    ])
}

fn refuse(fields: &[(bool, &str)]) -> Result<()> {
    match fields.iter().find(|(set, _)| *set) {
        Some((_, name)) => Err(Error::new(Kind::Unsupported, format!("{name} is not supported"))),
        None => Ok(()),
    }
}

/// A label that cannot be applied must not be dropped silently.
fn check_labels(process: &Process) -> Result<()> {
    if !process.apparmor_profile.is_empty() && process.apparmor_profile != "unconfined" && !apparmor_enabled()
    {
        return Err(Error::new(Kind::Unsupported, "apparmor: config provided but apparmor not supported"));
    }
    if !process.selinux_label.is_empty() && !selinux_enabled() {
        return Err(Error::new(
            Kind::Unsupported,
            "selinux label is specified in config, but selinux is disabled or not supported",
        ));
    }
    Ok(())
}

fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

fn selinux_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// A sysctl may only be set if it belongs to a namespace of the container's own.
fn sysctl(spec: &Spec, key: &str, namespaces: &Namespaces) -> Result<()> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let key = dotted(key);
    let need = |kind: NamespaceKind| {
        if namespaces.is_private(kind) {
            return Ok(());
        }
        // runc's words, of which the network's differ.
        let text = match kind {
            NamespaceKind::Network => format!("sysctl {key:?} not allowed in host network namespace"),
            _ => format!("sysctl {key:?} is not allowed in the hosts {} namespace", kind.as_str()),
        };
        Err(Error::new(Kind::Invalid, text))
    };
    if IPC.contains(&key.as_str()) || key.starts_with("fs.mqueue.") {
        return need(NamespaceKind::Ipc);
    }
    if key.starts_with("net.") {
        return need(NamespaceKind::Network);
    }
    if key == "kernel.domainname" {
        return need(NamespaceKind::Uts);
    }
    if key == "kernel.hostname" {
        let text = if spec.hostname.is_empty() {
            "sysctl \"kernel.hostname\" is not allowed: use the hostname of the spec"
        } else {
            "sysctl \"kernel.hostname\" conflicts with the hostname of the spec"
        };
        return Err(Error::new(Kind::Invalid, text));
    }
    Err(Error::new(Kind::Invalid, format!("sysctl {key:?} is not in a separate kernel namespace")))
}

/// `net/ipv4/conf/eth0.1/forwarding` → `net.ipv4.conf.eth0/1.forwarding` (sysctl.d(5)): the first separator decides.
pub(crate) fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'/' => key
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{Namespace, Rlimit};

    #[test]
    fn ids() {
        for good in ["a", "a_b+c-d.e", "...", "0"] {
            assert!(id(good).is_ok(), "{good}");
        }
        for bad in [".", "..", "a/b", "a b", "é", &"x".repeat(1025)] {
            assert_eq!(id(bad).unwrap_err().to_string(), "invalid container ID format", "{bad}");
        }
        assert_eq!(id("").unwrap_err().to_string(), "container ID cannot be empty");
    }

    #[test]
    fn processes() {
        let good = Process { args: vec!["true".into()], cwd: "/".into(), ..Process::default() };
        assert!(check_process(&good).is_ok());
        let limit = |soft, hard| Rlimit { kind: "RLIMIT_CORE".into(), soft, hard };
        let cases = [
            (Process { args: vec![], ..good.clone() }, "process args cannot be empty"),
            (Process { cwd: "a".into(), ..good.clone() }, "Cwd property must be an absolute path"),
            (
                Process { env: vec!["a\0".into()], ..good.clone() },
                "process args and env cannot hold NUL bytes",
            ),
            (
                Process { rlimits: vec![limit(2, 1)], ..good.clone() },
                "RLIMIT_CORE: soft limit 2 is above hard limit 1",
            ),
            (
                Process { rlimits: vec![limit(1, 1), limit(1, 1)], ..good.clone() },
                "duplicate rlimit type: RLIMIT_CORE",
            ),
            (
                Process { scheduler: Some(Default::default()), ..good.clone() },
                "process.scheduler is not supported",
            ),
        ];
        for (process, text) in cases {
            assert_eq!(check_process(&process).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn sysctls() {
        let with = |kinds: &[NamespaceKind]| {
            let kinds = [&[NamespaceKind::Mount], kinds].concat();
            let namespaces = kinds.iter().map(|kind| Namespace { kind: *kind, path: "".into() }).collect();
            Spec { linux: Some(Linux { namespaces, ..Linux::default() }), ..Spec::default() }
        };
        let (net, none) = (with(&[NamespaceKind::Network]), with(&[]));
        let cases = [
            (&net, "net.ipv4.ip_forward", None),
            (&net, "net/ipv4/conf/a.b/forwarding", None),
            (
                &none,
                "net.ipv4.ip_forward",
                Some("sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"),
            ),
            (&net, "kernel.sem", Some("sysctl \"kernel.sem\" is not allowed in the hosts ipc namespace")),
            (&net, "vm.swappiness", Some("sysctl \"vm.swappiness\" is not in a separate kernel namespace")),
            (
                &net,
                "kernel.hostname",
                Some("sysctl \"kernel.hostname\" is not allowed: use the hostname of the spec"),
            ),
        ];
        for (spec, key, text) in cases {
            let namespaces = Namespaces::from_spec(spec).unwrap();
            let result = sysctl(spec, key, &namespaces).map_err(|e| e.to_string());
            assert_eq!(result.err().as_deref(), text, "{key}");
        }
        assert_eq!(dotted("net/ipv4/conf/eth0.1/x"), "net.ipv4.conf.eth0/1.x");
    }
}
