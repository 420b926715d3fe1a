//! Who manages the groups. Only cgroupfs exists: the files are written by ourselves.

use crate::{Error, Result};

/// Manager of the groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Driver {
    /// Folders and files, by ourselves.
    #[default]
    Cgroupfs,
}

impl Driver {
    /// The driver of this name; `systemd` is known and refused.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "" | "cgroupfs" => Ok(Self::Cgroupfs),
            "systemd" => Err(Error::Unsupported("the cgroup driver systemd".into())),
            other => Err(Error::Invalid(format!("unknown cgroup driver {other:?}"))),
        }
    }

    /// Its name, as `info` shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
        }
    }
}
