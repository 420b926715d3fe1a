//! The runtime spec (OCI runtime-spec 1.3, Linux): `config.json` and the answer of `state`.
//!
//! Invariants:
//! - Decoding is as lenient as the Go structs that all callers encode from: an absent member, `null` and the
//!   zero value are the same; unknown members are skipped. What has no zero value in the spec's own words
//!   (a namespace's type, a seccomp action) must be there and be known.
//! - Encoding drops what is empty, except the members that the Go structs always write.
//!
//! It does not know what a value means to the kernel: validation is the runtime's.

mod linux;
mod process;
mod resources;
mod seccomp;
mod state;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

pub use linux::{
    Device, IntelRdt, Linux, MemoryPolicy, Namespace, NamespaceKind, NetDevice, Personality, TimeOffset,
};
pub use process::{Capabilities, ConsoleSize, ExecCpuAffinity, IoPriority, Process, Rlimit, Scheduler, User};
pub use resources::{
    BlockIo, Cpu, DeviceKind, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{Action, Arg, Operator, Seccomp, Syscall};
pub use state::{ContainerProcessState, State, Status};

/// The version of the runtime spec that these structs describe, written into what we produce.
pub const VERSION: &str = "1.3.0";

/// A container's `config.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the spec that the bundle follows.
    #[serde(deserialize_with = "zero")]
    pub oci_version: String,
    /// The container's process; absent when only the namespaces are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Hostname in the uts namespace.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// NIS domain name in the uts namespace.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounts beyond the root, in order.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs called at points of the life cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Free metadata.
    #[serde(deserialize_with = "zero", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is particular to Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

impl Spec {
    /// Decodes a `config.json`.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Encodes a `config.json` on one line.
    pub fn to_vec(&self) -> Vec<u8> {
        // Strings, numbers, lists and maps with string keys: nothing here can fail to encode.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The entry for a namespace of this kind, if the spec asks for one.
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&Namespace> {
        self.linux.as_ref()?.namespaces.iter().find(|n| n.kind == kind)
    }
}

/// The root file system (config.md, "Root").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    #[serde(deserialize_with = "zero")]
    pub path: PathBuf,
    /// Mounted read-only inside the container.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_false")]
    pub readonly: bool,
}

/// One mount (config.md, "Mounts").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Path in the container.
    #[serde(deserialize_with = "zero")]
    pub destination: PathBuf,
    /// File system type; empty or `none` for a bind.
    #[serde(rename = "type", deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Device, name, or for a bind the path on the host (absolute or relative to the bundle).
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_empty_path")]
    pub source: PathBuf,
    /// Options as in fstab.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// For an idmapped mount: user ids.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// For an idmapped mount: group ids.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// A range of ids in the container and where it lies on the host (user_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMapping {
    /// First id in the container.
    #[serde(rename = "containerID", deserialize_with = "zero")]
    pub container_id: u32,
    /// First id on the host.
    #[serde(rename = "hostID", deserialize_with = "zero")]
    pub host_id: u32,
    /// Number of ids.
    #[serde(deserialize_with = "zero")]
    pub size: u32,
}

/// The hooks of all phases (config.md, "POSIX-platform Hooks").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated: in the runtime's namespaces, before `createRuntime`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, after the container's namespaces exist.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before pivot_root.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// In the container's namespaces, before the process is executed.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the process was started.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container was deleted.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// A program called at a point of the life cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Absolute path of the program.
    #[serde(deserialize_with = "zero")]
    pub path: PathBuf,
    /// Arguments, with argv[0].
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The whole environment.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds after which it is aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

/// Decodes a member whose `null` means the zero value, as in Go.
pub(crate) fn zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

pub(crate) fn is_empty_path(value: &std::path::Path) -> bool {
    value.as_os_str().is_empty()
}

#[cfg(test)]
mod tests;
