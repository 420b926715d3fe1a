//! The `linux` section (config-linux.md) apart from resources and seccomp.
//!
//! It does not know which of these the running kernel offers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{IdMapping, Resources, Seccomp, is_empty_path, is_false, zero};

/// What is particular to Linux.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// User ids of the container's user namespace.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of the container's user namespace.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters by dotted name.
    #[serde(deserialize_with = "zero", skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Place in the cgroup tree; the runtime chooses when empty.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_empty_path")]
    pub cgroups_path: PathBuf,
    /// Namespaces to make or to join.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// Device nodes to make.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Host network devices to move into the container, by their name on the host.
    #[serde(deserialize_with = "zero", skip_serializing_if = "BTreeMap::is_empty")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// System call filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// `private`, `shared`, `slave` or `unbindable` (and `rprivate`, …); empty means `rprivate`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub rootfs_propagation: String,
    /// Paths that the container cannot read.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<PathBuf>,
    /// Paths that the container cannot write.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<PathBuf>,
    /// SELinux context of the mounts.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
    /// Cache and memory bandwidth allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// set_mempolicy(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    /// personality(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// Clock offsets of the time namespace: `monotonic`, `boottime`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "BTreeMap::is_empty")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
}

/// A kind of namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// Process ids.
    Pid,
    /// The network stack.
    Network,
    /// Mounts.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Hostname and domain name.
    Uts,
    /// Users, groups and capabilities.
    User,
    /// The root of the visible cgroup tree.
    Cgroup,
    /// Monotonic and boot clocks.
    Time,
}

impl NamespaceKind {
    /// The word of the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// Its file in `/proc/PID/ns`.
    pub const fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.as_str(),
        }
    }
}

/// A namespace to make, or to join when it has a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// File that stands for an existing namespace; empty makes a new one.
    #[serde(default, deserialize_with = "zero", skip_serializing_if = "is_empty_path")]
    pub path: PathBuf,
}

/// A device node in the container (config-linux.md, "Devices").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Path in the container.
    #[serde(deserialize_with = "zero")]
    pub path: PathBuf,
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type", deserialize_with = "zero")]
    pub kind: String,
    /// Major number, unused for a pipe.
    #[serde(deserialize_with = "zero")]
    pub major: i64,
    /// Minor number, unused for a pipe.
    #[serde(deserialize_with = "zero")]
    pub minor: i64,
    /// Permission bits; absent means 0666.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// A network device that is moved into the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Name in the container; empty keeps the host's.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// resctrl settings (config-linux.md, "IntelRdt").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdt {
    /// Class of service.
    #[serde(rename = "closID", deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub clos_id: String,
    /// Lines for the schemata file.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// L3 cache line of the schemata.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// Memory bandwidth line of the schemata.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// A monitoring group of the container's own.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_false")]
    pub enable_monitoring: bool,
}

/// NUMA memory policy (config-linux.md, "Memory Policy").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryPolicy {
    /// `MPOL_BIND`, …
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// List of nodes, `0-1`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    /// `MPOL_F_STATIC_NODES`, …
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Execution domain (personality(2)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// None is defined by the spec yet.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Offset of a clock in a time namespace (time_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    /// Seconds, may be negative.
    #[serde(deserialize_with = "zero")]
    pub secs: i64,
    /// Nanoseconds, always forward.
    #[serde(deserialize_with = "zero")]
    pub nanosecs: u32,
}
