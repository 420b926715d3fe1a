//! Images from and to archives: `docker load`, `docker import` and `docker save`.
//!
//! `load` takes what `docker save` of any version, skopeo and buildah write: docker-archive
//! (`manifest.json`, with layers as files or in the directories of the legacy form) and OCI layouts; an
//! archive that is both is read as the layout, as Docker does. Manifests made for a docker-archive are
//! byte for byte containerd's, so that the image gets the id that it has in Docker.
//!
//! An image is named when its content is complete and its layers for this machine are unpacked; if
//! that fails, nothing of the archive stays.

mod changes;
mod commit;
mod health;
mod import;
mod load;
mod save;

pub use commit::{Commit, apply_change, commit};
pub use import::{Import, import};
pub use load::{Loaded, load};
pub use save::{Archive, Export};

use crate::Store;
use crate::error::{Error, Result};
use crate::lease::Lease;

/// Runs `work` under a lease; after a failure, what it wrote is collected.
fn all_or_nothing<T>(store: &Store, work: impl FnOnce(&Lease) -> Result<T>) -> Result<T> {
    let lease = store.lease()?;
    let result = work(&lease);
    drop(lease);
    if result.is_err() {
        // The first error counts. If another process holds a lease, the next collection does this.
        let _ = store.gc();
        let _ = store.snapshots().empty_trash();
    }
    result
}

fn unusable(message: impl Into<String>) -> Error {
    Error::Archive(message.into())
}

#[cfg(test)]
mod tests;
