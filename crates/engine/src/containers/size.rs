//! What a container occupies on disk.

use crate::Engine;
use crate::error::Result;

/// Docker's two sizes of a container, in bytes of whole blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// What it wrote itself (`SizeRw`).
    pub written: u64,
    /// That and its image's layers (`SizeRootFs`).
    pub all: u64,
}

impl Engine {
    /// Looks at every file that the container wrote: the price grows with their number.
    pub fn container_sizes(&self, id: &str) -> Result<Sizes> {
        let snapshots = self.store()?.snapshots();
        let written = snapshots.active_usage(id)?.size;
        Ok(Sizes { written, all: snapshots.parents_usage(id)?.size.saturating_add(written) })
    }
}
