//! Docker's defaults: capabilities, masked and read-only paths.

use crate::error::{Error, Result};
use std::path::PathBuf;

/// The fourteen that every container has.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// All that Linux has (capability.h), in the order of their numbers.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The names of the capabilities in a bit mask such as /proc/self/status has.
pub(crate) fn names(mask: u64) -> Vec<String> {
    ALL.iter()
        .enumerate()
        .filter(|(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, name)| (*name).to_string())
        .collect()
}

/// Docker's names are case-insensitive and may lack `CAP_`. Text as the daemon's.
pub(crate) fn normalise(names: &[String]) -> Result<Vec<String>> {
    let one = |name: &String| {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            return Ok(upper);
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if ALL.contains(&full.as_str()) {
            Ok(full)
        } else {
            Err(Error::invalid(format!("unknown capability: \"{full}\"")))
        }
    };
    names.iter().map(one).collect()
}

/// The default list with additions and removals, never more than `bounding`: a capability that
/// this process lacks cannot be given, and saying `--cap-add` for it is an error by name.
pub(super) fn capabilities(add: &[String], drop: &[String], bounding: &[String]) -> Result<Vec<String>> {
    let (add, drop) = (normalise(add)?, normalise(drop)?);
    let has = |name: &str| bounding.iter().any(|b| b == name);
    if let Some(missing) = add.iter().find(|name| *name != "ALL" && !has(name)) {
        return Err(Error::invalid(format!(
            "capability {missing} cannot be added: this host's engine does not have it"
        )));
    }
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let base: Vec<&str> = match (all(&add), all(&drop)) {
        (true, _) => ALL.to_vec(),
        (false, true) => Vec::new(),
        (false, false) => CAPABILITIES.to_vec(),
    };
    let dropped = |name: &str| drop.iter().any(|d| d == name);
    let mut list: Vec<String> =
        base.into_iter().filter(|c| has(c) && !dropped(c)).map(str::to_string).collect();
    for name in add {
        if name != "ALL" && !list.contains(&name) {
            list.push(name);
        }
    }
    Ok(list)
}

/// Hidden from every container that is not privileged.
pub fn masked_paths() -> Vec<PathBuf> {
    [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    .map(PathBuf::from)
    .into()
}

/// Read-only in every container that is not privileged.
pub fn readonly_paths() -> Vec<PathBuf> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"].map(PathBuf::from).into()
}
