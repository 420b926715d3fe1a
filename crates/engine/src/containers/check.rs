//! What a request must be before anything is made of it: Docker's checks, with its texts. Pure.

use crate::config::{ContainerConfig, HostConfig, Namespaces};
use crate::error::{Error, Kind, Result};
use crate::spec;
use std::net::IpAddr;

/// The names under which dockerd has its own runtime; there is one here too.
const RUNTIMES: [&str; 3] = ["", "runc", "io.containerd.runc.v2"];

/// Checks what does not depend on the machine.
pub(super) fn host(host: &HostConfig) -> Result<()> {
    crate::mounts::check(host)?;
    for (list, option) in [(&host.cap_add, "CapAdd"), (&host.cap_drop, "CapDrop")] {
        spec::check_capabilities(list)
            .map_err(|e| Error::invalid(format!("invalid {option}: {}", e.message)))?;
    }
    namespaces(&host.namespaces)?;
    network(host)?;
    // As dockerd: of these the client is not said to be the cause.
    spec::security::parse(&host.security).map_err(|e| Error::new(Kind::Internal, e.message))?;
    storage(host)?;
    ports(host)?;
    if let Some(target) = host.tmpfs.keys().find(|target| !target.starts_with('/')) {
        return Err(Error::invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    for (target, options) in &host.tmpfs {
        tmpfs(target, options)?;
    }
    extra_hosts(&host.dns.extra_hosts)?;
    crate::tasks::check_log(&host.log)?;
    if host.annotations.contains_key("") {
        return Err(Error::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    if host.auto_remove && !matches!(host.restart.name.as_str(), "" | "no") {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

/// What the kernel would refuse is refused now, in dockerd's words.
fn tmpfs(target: &str, options: &str) -> Result<()> {
    // mount(8)'s own options, which are flags of mount(2); those of tmpfs have values (tmpfs.rst).
    const FLAGS: [&str; 38] = [
        "defaults",
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "lazytime",
        "nolazytime",
        "tmpcopyup",
        "silent",
        "loud",
    ];
    if target.trim_end_matches('/').is_empty() {
        return Err(Error::invalid("invalid specification: destination can't be '/'"));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            None if FLAGS.contains(&option) => {}
            // As with dockerd, a value that the kernel does not know fails the start.
            Some(_) => {}
            _ => return Err(Error::invalid(format!("invalid tmpfs option {option:?}"))),
        }
    }
    Ok(())
}

/// Checks what runs in it.
pub(super) fn config(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    crate::networks::joined::check(config, host)?;
    if let Some(entry) = config.env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(Error::invalid(format!("invalid environment variable: {entry}")));
    }
    match &config.stop_signal {
        Some(signal) if sys::signal::parse(signal).is_none() => {
            Err(Error::invalid(format!("invalid signal: {signal}")))
        }
        _ => Ok(()),
    }
}

/// A published port is a number, a range of two, or left to the engine.
fn ports(host: &HostConfig) -> Result<()> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let good = |text: &str| match text.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => text.is_empty() || number(text),
    };
    match host.port_bindings.values().flatten().find(|binding| !good(&binding.host_port)) {
        Some(bad) => Err(Error::invalid(format!("invalid port specification: {:?}", bad.host_port))),
        None => Ok(()),
    }
}

fn network(host: &HostConfig) -> Result<()> {
    if host.network == crate::NetworkMode::Host && !host.links.is_empty() {
        return Err(Error::invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    Ok(())
}

fn namespaces(n: &Namespaces) -> Result<()> {
    let container = |word: &str| word.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    if !matches!(n.pid.as_str(), "" | "host") && !container(&n.pid) {
        return Err(Error::invalid(format!("invalid PID mode: {}", n.pid)));
    }
    if !matches!(n.ipc.as_str(), "" | "none" | "private" | "shareable" | "host") && !container(&n.ipc) {
        return Err(Error::invalid(format!("invalid IPC mode: {}", n.ipc)));
    }
    if !matches!(n.uts.as_str(), "" | "host") {
        return Err(Error::invalid(format!("invalid UTS mode: {}", n.uts)));
    }
    // Without a remapped daemon every container has the host's users.
    if !matches!(n.user.as_str(), "" | "host") {
        return Err(Error::invalid(format!("invalid user namespace mode: {}", n.user)));
    }
    if !matches!(n.cgroup.as_str(), "" | "host" | "private") {
        return Err(Error::invalid(format!("invalid cgroup namespace mode: {}", n.cgroup)));
    }
    Ok(())
}

/// What is not there yet, told after what is wrong. Where SELinux is off, its labels mean nothing, as to dockerd;
/// where it is on, a label that is not applied would be a promise that is not kept.
pub(super) fn labels(host: &HostConfig, selinux: bool) -> Result<()> {
    let options = spec::security::parse(&host.security)?;
    match options.labels.iter().find(|label| selinux && *label != "disable") {
        Some(label) => {
            Err(Error::unsupported(format!("the SELinux label {label:?} (--security-opt label=)")))
        }
        None => Ok(()),
    }
}

/// A limit of a container's own layer would need project quotas of the file system, of which there are none here.
/// dockerd's containerd store takes the option and does nothing; its overlay2 driver says this.
fn storage(host: &HostConfig) -> Result<()> {
    match host.storage_opt.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Internal,
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        )),
    }
}

/// The working folder is absolute, and kept without what path cleaning takes out.
pub(super) fn working_dir(config: &mut ContainerConfig) -> Result<()> {
    let folder = &config.working_dir;
    if !folder.is_empty() && !folder.starts_with('/') {
        let text = format!("the working directory '{folder}' is invalid, it needs to be an absolute path");
        return Err(Error::invalid(text));
    }
    if !folder.is_empty() {
        config.working_dir = spec::clean(folder);
    }
    Ok(())
}

fn extra_hosts(list: &[String]) -> Result<()> {
    for entry in list {
        let (name, address) = entry.split_once([':', '=']).unwrap_or(("", ""));
        if name.is_empty() {
            return Err(Error::invalid(format!("bad format for add-host: {entry:?}")));
        }
        let plain = address.trim_start_matches('[').trim_end_matches(']');
        if address != "host-gateway" && plain.parse::<IpAddr>().is_err() {
            return Err(Error::invalid(format!("invalid IP address in add-host: {address:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut HostConfig);

    #[test]
    fn refused_in_dockers_words() {
        let cases: &[(Change, &str)] = &[
            (|h| h.namespaces.pid = "x".into(), "invalid PID mode: x"),
            (|h| h.namespaces.pid = "container:".into(), "invalid PID mode: container:"),
            (|h| h.namespaces.ipc = "x".into(), "invalid IPC mode: x"),
            (|h| h.namespaces.uts = "x".into(), "invalid UTS mode: x"),
            (|h| h.namespaces.cgroup = "x".into(), "invalid cgroup namespace mode: x"),
            (|h| h.runtime = "x".into(), "unknown or invalid runtime name: x"),
            (|h| h.dns.extra_hosts = vec!["x".into()], "bad format for add-host: \"x\""),
            (|h| h.dns.extra_hosts = vec!["x:y".into()], "invalid IP address in add-host: \"y\""),
            (|h| h.security.options = vec!["x".into()], "invalid --security-opt 1: \"x\""),
            (
                |h| drop(h.storage_opt.insert("size".into(), "1G".into())),
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            ),
            (
                |h| (h.auto_remove, h.restart.name) = (true, "always".into()),
                "can't create 'AutoRemove' container with restart policy",
            ),
            (
                |h| drop(h.annotations.insert(String::new(), "x".into())),
                "invalid Annotations: the empty string is not permitted as an annotation key",
            ),
        ];
        for (change, expected) in cases {
            let mut wanted = HostConfig::default();
            change(&mut wanted);
            assert_eq!(host(&wanted).unwrap_err().message, *expected);
        }
        let mut good = HostConfig::default();
        good.dns.extra_hosts = ["a:1.2.3.4", "b=::1", "c:[::1]", "d:host-gateway"].map(String::from).into();
        good.namespaces.pid = "container:x".into();
        good.security.options = vec!["label=user:x".into()];
        host(&good).unwrap();
        labels(&good, false).unwrap();
        assert_eq!(
            labels(&good, true).unwrap_err().message,
            "the SELinux label \"user:x\" (--security-opt label=) is not supported yet"
        );
        good.security.options = vec!["label=disable".into()];
        labels(&good, true).unwrap();
    }
}
