//! The container's process (config.md, "Process"; config-linux.md for what is Linux's own).
//!
//! It does not know how a name or number reaches the kernel: strings such as `RLIMIT_NOFILE` stay strings.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{is_false, zero};

/// A process to run: the container's own, or one that joins it (`exec --process`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// A pseudo terminal as stdio.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_false")]
    pub terminal: bool,
    /// First size of the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Whom it runs as.
    #[serde(deserialize_with = "zero")]
    pub user: User,
    /// Program and arguments.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment, `NAME=value`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Working directory, absolute in the container.
    #[serde(deserialize_with = "zero")]
    pub cwd: PathBuf,
    /// The five sets; absent means that the runtime's own are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_false")]
    pub no_new_privileges: bool,
    /// AppArmor profile entered at execve.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub apparmor_profile: String,
    /// SELinux label entered at execve.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub selinux_label: String,
    /// `/proc/self/oom_score_adj`; absent leaves the runtime's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// sched_setattr(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// CPU affinity of a process that joins the container.
    #[serde(rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsoleSize {
    /// Lines.
    #[serde(deserialize_with = "zero")]
    pub height: u32,
    /// Columns.
    #[serde(deserialize_with = "zero")]
    pub width: u32,
}

/// Ids as the container sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    #[serde(deserialize_with = "zero")]
    pub uid: u32,
    /// Group id.
    #[serde(deserialize_with = "zero")]
    pub gid: u32,
    /// File mode creation mask; absent means 022.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
    /// Used on Windows only; kept so that it survives a round trip.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub username: String,
}

/// Capability names (`CAP_CHOWN`) of each set (capabilities(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What execve can ever grant.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// What the kernel checks.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// What a program with inheritable file capabilities may gain.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// What may be made effective.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// What survives execve of an ordinary program by a user other than root.
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One resource limit (setrlimit(2)); the largest value is RLIM_INFINITY.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(rename = "type", deserialize_with = "zero")]
    pub kind: String,
    /// Hard limit.
    #[serde(deserialize_with = "zero")]
    pub hard: u64,
    /// Soft limit.
    #[serde(deserialize_with = "zero")]
    pub soft: u64,
}

/// sched_setattr(2) in the spec's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    /// `SCHED_OTHER`, `SCHED_FIFO`, …
    #[serde(deserialize_with = "zero")]
    pub policy: String,
    /// Nice value, for SCHED_OTHER and SCHED_BATCH.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_zero_i32")]
    pub nice: i32,
    /// Static priority, for SCHED_FIFO and SCHED_RR.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_zero_i32")]
    pub priority: i32,
    /// `SCHED_FLAG_RESET_ON_FORK`, …
    #[serde(deserialize_with = "zero", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// SCHED_DEADLINE: nanoseconds of work per period.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_zero_u64")]
    pub runtime: u64,
    /// SCHED_DEADLINE: nanoseconds until the work must be done.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_zero_u64")]
    pub deadline: u64,
    /// SCHED_DEADLINE: length of a period in nanoseconds.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_zero_u64")]
    pub period: u64,
}

/// ioprio_set(2) in the spec's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    #[serde(deserialize_with = "zero")]
    pub class: String,
    /// 0 (first) to 7.
    #[serde(deserialize_with = "zero")]
    pub priority: i32,
}

/// CPU lists (`0-3,7`) of a process that joins a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecCpuAffinity {
    /// While the runtime joins the container's cgroup.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub initial: String,
    /// From then on.
    #[serde(rename = "final", deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub last: String,
}

fn is_zero_i32(value: &i32) -> bool {
    *value == 0
}

fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}
