//! The collector: what no image row and no active snapshot leads to is removed.
//!
//! It runs only while no process holds a lease, so everything it sees is either named or garbage, and
//! it may be killed at any point: each of its steps removes garbage only. The export of `index.json`
//! is here too, since both walk from names to content.

use crate::content::list_dir;
use crate::error::{Error, Result};
use crate::lease::{Lease, open_dir};
use crate::{Image, Store};
use oci::{ChainId, Descriptor, Digest, Index, annotation};
use rustix::fd::AsFd;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Nothing was done, because some process holds a lease.
    pub busy: bool,
    /// Blobs removed.
    pub blobs: usize,
    /// Bytes of blobs removed.
    pub blob_bytes: u64,
    /// Bytes of blobs and unpacked layers removed.
    pub bytes: u64,
    /// Unpacked layers removed.
    pub snapshots: usize,
}

impl Store {
    /// Removes what nothing leads to. Deleting the files of unpacked layers takes longest and is left
    /// to [`crate::Snapshots::empty_trash`].
    pub fn gc(&self) -> Result<Collected> {
        let Some(_exclusive) = Lease::exclude(self.content().root())? else {
            return Ok(Collected { busy: true, ..Collected::default() });
        };
        let (blobs, chains) = self.reachable()?;
        let mut collected = Collected::default();
        let mut gone = Vec::new();
        for digest in self.content().list()? {
            if !blobs.contains(&digest) {
                let size = self.content().size(&digest)?.unwrap_or(0);
                collected.blob_bytes += size;
                collected.bytes += size;
                self.content().delete(&digest)?;
                collected.blobs += 1;
                gone.push(digest);
            }
        }
        Store::forget_sources(self.images(), &gone)?;
        self.content().collect_ingests()?;
        self.collect_snapshots(&chains, &mut collected)?;
        self.snapshots().collect_unpacking()?;
        self.collect_directories()?;
        Ok(collected)
    }

    /// Takes away manifests of images that stay, and with the next collection what only these lead to. `false` when
    /// somebody holds a lease: what is wanted here may be wanted there.
    pub fn forget_variants(&self, manifests: &[Digest]) -> Result<bool> {
        let Some(_exclusive) = Lease::exclude(self.content().root())? else { return Ok(false) };
        for digest in manifests {
            self.content().delete(digest)?;
        }
        Store::forget_sources(self.images(), manifests)?;
        Ok(true)
    }

    /// Writes `index.json`, so that other tools can read the store as an OCI layout.
    pub fn export_index(&self) -> Result<()> {
        let manifests = self.images().list()?.into_iter().map(exported).collect();
        let index = Index {
            schema_version: 2,
            media_type: oci::media_type::OCI_INDEX.into(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        };
        let bytes = crate::image_view::encode("image index", &index)?;
        // Derived from the rows: after a crash it is written again with the next change.
        let root = open_dir(self.content().root())?;
        Ok(sys::durable::write_volatile(root.as_fd(), "index.json", &bytes, 0o600)?)
    }

    /// Blobs and chains that names and active snapshots lead to.
    pub(crate) fn reachable(&self) -> Result<(HashSet<Digest>, HashSet<ChainId>)> {
        let mut blobs = HashSet::new();
        let mut chains: HashSet<ChainId> = self.snapshots().active_parents()?.into_iter().collect();
        let mut pending: Vec<Descriptor> = self.images().list()?.into_iter().map(|i| i.target).collect();
        while let Some(descriptor) = pending.pop() {
            if !blobs.insert(descriptor.digest.clone()) || self.content().size(&descriptor.digest)?.is_none()
            {
                continue;
            }
            match self.index(&descriptor) {
                Ok(Some(index)) => pending.extend(index.manifests),
                Ok(None) => {
                    // A manifest whose configuration is missing or foreign still keeps its blobs.
                    let bytes = self.content().document(&descriptor.digest)?;
                    if let Ok(oci::Document::Manifest(m)) =
                        oci::Document::decode(&descriptor.media_type, &bytes)
                    {
                        blobs.insert(m.config.digest);
                        blobs.extend(m.layers.into_iter().map(|l| l.digest));
                    }
                    if let Ok((_, config)) = self.image_documents(&descriptor) {
                        chains.extend(config.chain());
                    }
                }
                // An artifact's blob, or a damaged document: it is named, so it stays.
                Err(Error::Document(_) | Error::DigestMismatch { .. } | Error::Limit { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok((blobs, chains))
    }

    fn collect_snapshots(&self, chains: &HashSet<ChainId>, collected: &mut Collected) -> Result<()> {
        let rows = self.snapshots().durable().read(|t| {
            t.query("SELECT id, parent, chain, size FROM snapshots", &[], |r| {
                Ok::<_, Error>((r.int(0)?, r.opt_int(1)?, r.text(2)?, r.int(3)?))
            })
        })?;
        let parents: HashMap<i64, Option<i64>> = rows.iter().map(|(id, parent, ..)| (*id, *parent)).collect();
        let mut keep = HashSet::new();
        for (id, _, chain, _) in &rows {
            if chains.contains(&ChainId(Digest::parse(chain)?)) {
                let mut next = Some(*id);
                while let Some(id) = next
                    && keep.insert(id)
                {
                    next = parents.get(&id).copied().flatten();
                }
            }
        }
        // Children have larger numbers than their parents: rows go before what they refer to.
        let mut doomed: Vec<(i64, i64)> =
            rows.iter().filter(|(id, ..)| !keep.contains(id)).map(|(id, _, _, size)| (*id, *size)).collect();
        if doomed.is_empty() {
            return Ok(());
        }
        doomed.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        self.snapshots().durable().write(|t| {
            for (id, _) in &doomed {
                t.execute("DELETE FROM snapshots WHERE id = ?1", &[(*id).into()])?;
            }
            Ok::<_, Error>(())
        })?;
        for (id, size) in doomed {
            self.snapshots().discard(&self.snapshots().dir_of(id))?;
            collected.snapshots += 1;
            collected.bytes += size.cast_unsigned();
        }
        Ok(())
    }

    /// Directories without a row: of a crash between rename and commit, or of another boot.
    fn collect_directories(&self) -> Result<()> {
        let snapshots = self.snapshots();
        let ids = snapshots.durable().read(|t| t.query("SELECT id FROM snapshots", &[], |r| r.int(0)))?;
        let ids: HashSet<i64> = ids.into_iter().collect();
        for name in list_dir(snapshots.root())? {
            if name.parse::<i64>().is_ok_and(|id| !ids.contains(&id)) {
                snapshots.discard(&snapshots.root().join(name))?;
            }
        }
        let keys: HashSet<String> = snapshots.keys()?.into_iter().collect();
        for name in list_dir(&snapshots.root().join("active"))? {
            if !keys.contains(&name) {
                snapshots.discard(&snapshots.active_dir(&name))?;
            }
        }
        Ok(())
    }
}

/// An image's entry in the exported index, annotated as containerd and Docker do.
fn exported(image: Image) -> Descriptor {
    let mut descriptor = image.target;
    if let Some(name) = image.name {
        if let Some(tag) = name.tag() {
            descriptor.annotations.insert(annotation::REF_NAME.into(), tag.into());
        }
        descriptor.annotations.insert(annotation::IMAGE_NAME.into(), name.to_string());
    }
    descriptor
}

#[cfg(test)]
mod tests;
