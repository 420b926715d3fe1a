//! `image prune`: what nobody uses goes.
//!
//! Without `all` only images that lost their name; with it every image that no container was made of.

use super::{Engine, Removed};
use crate::error::Result;
use oci::Digest;
use std::collections::{BTreeMap, HashSet};
use store::Image;

/// Which images may go.
#[derive(Debug, Clone, Default)]
pub struct PruneFilter {
    /// Also those that have a name.
    pub all: bool,
    /// Only names given before this (nanoseconds since the epoch).
    pub until_ns: Option<i64>,
    /// Only with these labels: name and value, or the name alone.
    pub labels: Vec<(String, Option<String>)>,
    /// Only without these.
    pub not_labels: Vec<(String, Option<String>)>,
}

impl Engine {
    /// Removes what may go; returns what it was, and the bytes of content that it gave back.
    pub fn prune_images(&self, filter: &PruneFilter) -> Result<(Vec<Removed>, u64)> {
        let store = self.store()?;
        let used: HashSet<String> =
            self.state()?.containers()?.into_iter().map(|container| container.image_id).collect();
        let mut by_id: BTreeMap<Digest, Vec<Image>> = BTreeMap::new();
        for image in store.images().list()? {
            by_id.entry(image.target.digest.clone()).or_default().push(image);
        }
        let mut doomed: Vec<(Digest, Vec<Image>)> = by_id.into_iter().collect();
        doomed.retain(|(digest, rows)| !used.contains(digest.as_str()) && self.may_go(filter, rows));
        for (_, rows) in &mut doomed {
            rows.sort_by_cached_key(|row| row.name.as_ref().map(ToString::to_string));
        }
        // In the order of their first names, as dockerd walks through them.
        doomed.sort_by_cached_key(|(digest, rows)| {
            rows[0].name.as_ref().map_or_else(|| format!("\u{0}{digest}"), ToString::to_string)
        });
        let mut removed = Vec::new();
        for (digest, rows) in doomed {
            store.images().delete_target(&digest)?;
            let before = removed.len();
            removed.extend(rows.iter().map(|row| {
                Removed::Untagged(
                    row.name.as_ref().map_or_else(|| digest.to_string(), oci::Reference::familiar),
                )
            }));
            removed.push(Removed::Deleted(digest.to_string()));
            self.tell_removed(digest.as_str(), &removed[before..]);
        }
        if removed.is_empty() {
            return Ok((removed, 0));
        }
        store.export_index()?;
        let collected = store.gc()?;
        self.empty_trash();
        Ok((removed, collected.blob_bytes))
    }

    fn may_go(&self, filter: &PruneFilter, rows: &[Image]) -> bool {
        let named = rows.iter().any(|row| row.name.is_some());
        if named && !filter.all {
            return false;
        }
        if filter.until_ns.is_some_and(|until| rows.iter().any(|row| row.created.0 >= until)) {
            return false;
        }
        if filter.labels.is_empty() && filter.not_labels.is_empty() {
            return true;
        }
        let Some(view) = rows.first().and_then(|row| self.view(row).ok()) else { return false };
        let labels = &view.config.config.labels;
        let has = |(name, value): &(String, Option<String>)| {
            labels.get(name).is_some_and(|have| value.as_ref().is_none_or(|value| value == have))
        };
        filter.labels.iter().all(has) && !filter.not_labels.iter().any(has)
    }
}
