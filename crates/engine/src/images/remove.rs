//! `rmi`: a name goes, and with its last name the image.

use super::Engine;
use crate::error::{Error, Result};
use oci::{AnyReference, Digest};

/// One line of Docker's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name.
    Untagged(String),
    /// An image, by id.
    Deleted(String),
}

impl Engine {
    /// Removes a name, or an image with all its names when it is given by id.
    pub fn remove_image(&self, word: &str, force: bool) -> Result<Vec<Removed>> {
        let image = self.find_image(word)?;
        let store = self.store()?;
        let rows = store.images().by_digest(&image.target.digest)?;
        let by_name = matches!(AnyReference::parse(word), Ok(AnyReference::Named(_)))
            && image.name.is_some()
            && !is_id_of(word, &image.target.digest);
        let names: Vec<_> = rows.iter().filter_map(|r| r.name.clone()).collect();
        let last = !by_name || names.len() <= 1;
        if !by_name && names.len() > 1 && !force {
            return Err(Error::conflict(format!(
                "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                short(&image.target.digest)
            )));
        }
        if last {
            let shown = if by_name { word.to_string() } else { short(&image.target.digest).to_string() };
            self.refuse_used(&image.target.digest, &shown, force)?;
        }
        let mut removed = Vec::new();
        if let (true, Some(name)) = (by_name, &image.name) {
            store.images().delete(name)?;
            removed.push(Removed::Untagged(name.familiar()));
        } else {
            store.images().delete_target(&image.target.digest)?;
            removed.extend(names.iter().map(|name| Removed::Untagged(name.familiar())));
        }
        if last {
            removed.push(Removed::Deleted(image.target.digest.to_string()));
        }
        store.export_index()?;
        store.gc()?;
        store.snapshots().empty_trash()?;
        Ok(removed)
    }

    fn refuse_used(&self, digest: &Digest, shown: &str, force: bool) -> Result<()> {
        for container in self.containers_of_image(digest.as_str())? {
            let running = container.is_running();
            if running || !force {
                let how = if running { "cannot be forced" } else { "must be forced" };
                return Err(Error::conflict(format!(
                    "conflict: unable to delete {shown} ({how}) - container {} is using its referenced image {}",
                    &container.id[..12],
                    short(digest)
                )));
            }
        }
        Ok(())
    }
}

fn is_id_of(word: &str, digest: &Digest) -> bool {
    digest.as_str() == word
        || (word.len() >= 4 && digest.hex().starts_with(word.strip_prefix("sha256:").unwrap_or(word)))
}

fn short(digest: &Digest) -> &str {
    &digest.hex()[..12]
}
