//! What the runtime says of a container (runtime.md, "State"): the answer of `state`, the stdin of hooks, and the
//! message to a seccomp listener.
//!
//! It does not know how a status is found out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::zero;

/// Where a container stands in its life (runtime.md, "State").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    #[default]
    Creating,
    /// Made, its program not yet executed.
    Created,
    /// Its program runs.
    Running,
    /// Frozen: not in the spec, but what runc says.
    Paused,
    /// Its process is gone.
    Stopped,
}

impl Status {
    /// The word of the spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The state of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Version of the spec.
    #[serde(deserialize_with = "zero")]
    pub oci_version: String,
    /// The container's id.
    #[serde(deserialize_with = "zero")]
    pub id: String,
    /// Where it stands.
    #[serde(deserialize_with = "zero")]
    pub status: Status,
    /// Its process as the host sees it; 0 when there is none.
    #[serde(deserialize_with = "zero", skip_serializing_if = "is_zero")]
    pub pid: i32,
    /// Absolute path of its bundle.
    #[serde(deserialize_with = "zero")]
    pub bundle: PathBuf,
    /// The spec's annotations.
    #[serde(deserialize_with = "zero", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a seccomp listener gets beside the fds (config-linux.md, "The Container Process State").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerProcessState {
    /// Version of the spec.
    #[serde(deserialize_with = "zero")]
    pub oci_version: String,
    /// Names of the fds that travel along, in order: `seccompFd`.
    #[serde(deserialize_with = "zero")]
    pub fds: Vec<String>,
    /// The process that the filter holds.
    #[serde(deserialize_with = "zero")]
    pub pid: i32,
    /// The spec's `listenerMetadata`.
    #[serde(deserialize_with = "zero", skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// The container.
    #[serde(deserialize_with = "zero")]
    pub state: State,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}
