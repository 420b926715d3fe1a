//! What is remembered of a layer until its end: directories with their attributes, and whiteouts.
//!
//! Invariant: the sum of both is bounded (`MAX_KEPT_BYTES`), so that no layer, whatever it holds, takes more
//! memory than that. Files are never kept. Knows nothing of the tree itself.

use super::attributes::Attributes;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// Paths and attributes kept of one layer: a million directories of an ordinary tree.
const MAX_KEPT_BYTES: usize = 256 << 20;
/// What a name costs beside its bytes: the map's node, the vector's parts, the allocator.
const OVERHEAD: usize = 160;

/// The directories and whiteouts of one layer.
pub(super) struct Kept {
    directories: BTreeMap<PathBuf, Attributes>,
    /// Names hidden by this layer, in case it also makes them.
    whiteouts: HashSet<PathBuf>,
    bytes: usize,
    limit: usize,
}

impl Kept {
    pub(super) fn new() -> Self {
        Kept { directories: BTreeMap::new(), whiteouts: HashSet::new(), bytes: 0, limit: MAX_KEPT_BYTES }
    }

    /// A smaller bound, which a test reaches.
    #[cfg(test)]
    pub(super) fn with_limit(limit: usize) -> Self {
        Kept { limit, ..Kept::new() }
    }

    /// Remembers a directory; the last entry of a name counts.
    pub(super) fn directory(&mut self, path: PathBuf, attributes: Attributes) -> Result<()> {
        self.grow(&path, cost(&path, Some(&attributes)))?;
        let length = path.as_os_str().len();
        if let Some(old) = self.directories.insert(path, attributes) {
            self.bytes -= length + OVERHEAD + old.heap_bytes();
        }
        Ok(())
    }

    pub(super) fn has_directory(&self, path: &Path) -> bool {
        self.directories.contains_key(path)
    }

    /// Remembers a whiteout.
    pub(super) fn whiteout(&mut self, path: PathBuf) -> Result<()> {
        let cost = cost(&path, None);
        self.grow(&path, cost)?;
        if !self.whiteouts.insert(path) {
            self.bytes -= cost;
        }
        Ok(())
    }

    pub(super) fn has_whiteout(&self, path: &Path) -> bool {
        self.whiteouts.contains(path)
    }

    /// The name is made by this layer after all.
    pub(super) fn forget_whiteout(&mut self, path: &Path) {
        if self.whiteouts.remove(path) {
            self.bytes -= cost(path, None);
        }
    }

    /// The tree at `path` is gone.
    pub(super) fn forget_below(&mut self, path: &Path) {
        let bytes = &mut self.bytes;
        self.directories.retain(|p, attributes| {
            let stays = !p.starts_with(path);
            *bytes -= if stays { 0 } else { cost(p, Some(attributes)) };
            stays
        });
        self.whiteouts.retain(|p| {
            let stays = !p.starts_with(path);
            *bytes -= if stays { 0 } else { cost(p, None) };
            stays
        });
    }

    /// All directories, parents first.
    pub(super) fn take_directories(&mut self) -> BTreeMap<PathBuf, Attributes> {
        std::mem::take(&mut self.directories)
    }

    fn grow(&mut self, path: &Path, cost: usize) -> Result<()> {
        if self.bytes + cost > self.limit {
            return Err(Error::EntryLimit {
                entry: path.display().to_string(),
                what: "the names and attributes of the layer's directories".to_owned(),
                limit: self.limit as u64,
            });
        }
        self.bytes += cost;
        Ok(())
    }
}

fn cost(path: &Path, attributes: Option<&Attributes>) -> usize {
    path.as_os_str().len() + OVERHEAD + attributes.map_or(0, Attributes::heap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes and goes, the sum is that of what is kept.
    #[test]
    fn the_sum_is_exact() {
        let mut kept = Kept::new();
        let attributes =
            |n: usize| Attributes { xattrs: vec![(b"user.a".to_vec(), vec![0; n])], ..Attributes::default() };
        kept.directory("a".into(), attributes(10)).unwrap();
        kept.directory("a/b".into(), attributes(1000)).unwrap();
        kept.directory("a/b".into(), attributes(20)).unwrap();
        kept.directory("c".into(), Attributes::default()).unwrap();
        kept.whiteout("a/w".into()).unwrap();
        kept.whiteout("a/w".into()).unwrap();
        kept.whiteout("w".into()).unwrap();
        kept.forget_whiteout(Path::new("w"));
        kept.forget_whiteout(Path::new("none"));
        kept.forget_below(Path::new("a"));
        assert_eq!(kept.bytes, cost(Path::new("c"), Some(&Attributes::default())));
        assert!(kept.has_directory(Path::new("c")) && !kept.has_directory(Path::new("a/b")));
        assert!(!kept.has_whiteout(Path::new("a/w")));
    }
}
