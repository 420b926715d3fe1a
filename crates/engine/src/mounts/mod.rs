//! What is mounted into a container beside its root: binds, volumes, tmpfs and images.
//!
//! Creation resolves all that a request asks for (`-v`, `--mount`, `--volumes-from`, the image's volumes) into
//! [`MountPoint`]s, which stand in the container's record from then on; a start only looks for their sources.
//! Invariants. A destination has one mount point. A volume that a record names exists as long as the record.
//! Paths inside a volume or an image are resolved by the kernel below that root, never by name.
//!
//! This module does not know how volumes are kept (`volumes`) or what the runtime makes of a mount (`spec`).

mod parse;
mod resolve;
mod start;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) use parse::clean;
pub(crate) use resolve::check;
pub(crate) use start::{Prepared, below as part_of, image_snapshot, mount_id, read_only, tree_of};

/// A mount as `--mount` asks for it, in the API's terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountRequest {
    /// `bind`, `volume`, `tmpfs`, `image`.
    pub kind: String,
    /// A path of the host, a volume, an image.
    pub source: String,
    /// A path in the container.
    pub target: String,
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Only shown: a hint for other systems.
    pub consistency: String,
    /// For `bind`.
    pub bind: Option<BindOptions>,
    /// For `volume`.
    pub volume: Option<VolumeOptions>,
    /// For `image`: a folder or file in it.
    pub image_subpath: Option<String>,
    /// For `tmpfs`.
    pub tmpfs: Option<TmpfsOptions>,
}

/// Options of a bind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// `rprivate` and so on.
    pub propagation: String,
    /// Without the mounts below.
    pub non_recursive: bool,
    /// Make the source when it is missing.
    pub create_mountpoint: bool,
    /// Read-only, but for the mounts below.
    pub read_only_non_recursive: bool,
    /// Read-only with all mounts below, or not at all.
    pub read_only_force_recursive: bool,
}

/// Options of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Do not fill it from the image.
    pub no_copy: bool,
    /// Labels for a volume that is made.
    pub labels: Option<BTreeMap<String, String>>,
    /// A folder or file in it.
    pub subpath: String,
    /// Whether a driver was named at all, even by nothing.
    pub has_driver: bool,
    /// The driver.
    pub driver: String,
    /// The driver's options.
    pub driver_options: Option<BTreeMap<String, String>>,
}

/// Options of a tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// 0 = half of the memory.
    pub size_bytes: i64,
    /// 0 = 1777.
    pub mode: u32,
    /// `["exec"]`, `["noexec"]`.
    pub options: Vec<Vec<String>>,
}

/// What kind of mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A path of the host.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// A file system in memory.
    Tmpfs,
    /// An image's files.
    Image,
}

impl Kind {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

/// One mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// What is mounted.
    pub kind: Kind,
    /// Where.
    pub destination: String,
    /// A bind's path on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The volume's name, or the image as it was named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The volume's driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The words after the second colon of `-v`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// It can be written to.
    pub read_write: bool,
    /// A bind's propagation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// The client named the propagation.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub asked_propagation: bool,
    /// Nobody named the volume: it goes with the container when that is asked for.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub anonymous: bool,
    /// An empty volume is filled with what the image has there.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub copy: bool,
    /// What of the volume or image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// A tmpfs's options.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tmpfs: String,
    /// Without the mounts below the source.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub non_recursive: bool,
    /// Read-only without the mounts below.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub read_only_non_recursive: bool,
    /// Read-only with all mounts below, or not at all.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub read_only_force_recursive: bool,
    /// A missing source is made.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub create_source: bool,
    /// The source's owner is the container's user there, and the other way round.
    #[serde(skip_serializing_if = "crate::config::is_default")]
    pub idmap: bool,
    /// The image's top layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
}
