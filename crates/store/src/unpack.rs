//! From layers to a chain of committed snapshots, complete or not at all.
//!
//! Each layer is unpacked into `unpacking/<chain>/fs` under the lock `unpacking/<chain>.lock`, so that
//! two processes that want the same layer do the work once. Nothing is named until `commit`: one
//! syncfs for all layers, then one transaction that renames the trees to their numbers and writes their
//! rows. What a killed process leaves is a directory whose lock is free; the next unpacker of that
//! chain and the collector throw it away.

use crate::content::{list_dir, remove_file};
use crate::error::{Error, Result, errno, io};
use crate::extract::Extractor;
use crate::inflate::Inflated;
use crate::lease::open_dir;
use crate::snapshots::{Snapshots, Usage};
use crate::{ImageView, Store};
use oci::{ChainId, DiffId};
use rustix::fd::AsFd;
use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use sys::lock::Lock;

/// Layers unpacked one on top of the other, not yet committed. Dropped, nothing of it stays.
#[derive(Debug)]
pub struct Unpacking {
    snapshots: Snapshots,
    parent: Option<ChainId>,
    depth: usize,
    /// Trees below the next layer, top first.
    lower: Vec<PathBuf>,
    done: Vec<Done>,
    _lease: crate::Lease,
}

/// The next layer of an [`Unpacking`].
#[derive(Debug)]
pub enum Layer<'a> {
    /// It is unpacked already.
    Present,
    /// It is to be unpacked.
    Absent(Slot<'a>),
}

/// The right to unpack one layer.
#[derive(Debug)]
pub struct Slot<'a> {
    unpacking: &'a mut Unpacking,
    chain: ChainId,
    diff: DiffId,
    lock: ChainLock,
}

#[derive(Debug)]
struct Done {
    chain: ChainId,
    parent: Option<ChainId>,
    usage: Usage,
    dir: PathBuf,
    _lock: ChainLock,
}

impl Store {
    /// Begins to unpack the layers of an image, lowest first.
    pub fn unpacking(&self) -> Result<Unpacking> {
        Ok(Unpacking {
            snapshots: self.snapshots().clone(),
            parent: None,
            depth: 0,
            lower: Vec::new(),
            done: Vec::new(),
            _lease: self.lease()?,
        })
    }

    /// Unpacks what is missing of an image whose blobs are here.
    pub fn unpack_image(&self, view: &ImageView) -> Result<()> {
        if self.snapshots().contains_all(&view.chain)? {
            return Ok(());
        }
        let mut unpacking = self.unpacking()?;
        for (layer, diff) in view.manifest.layers.iter().zip(&view.config.rootfs.diff_ids) {
            if let Layer::Absent(slot) = unpacking.next(diff)? {
                slot.unpack(self.content().follow(&layer.digest)?)?;
            }
        }
        unpacking.commit()
    }
}

impl Unpacking {
    /// The layer on top of those before. Waits while another process unpacks the same one.
    pub fn next(&mut self, diff: &DiffId) -> Result<Layer<'_>> {
        let chain = ChainId::of(self.parent.as_ref(), diff);
        // A layer above an uncommitted one cannot be committed.
        if self.done.is_empty() && self.snapshots.contains(&chain)? {
            self.advance(chain)?;
            return Ok(Layer::Present);
        }
        let lock = ChainLock::take(&self.snapshots, &chain)?;
        // The last holder of the lock may have committed it.
        if self.done.is_empty() && self.snapshots.contains(&chain)? {
            self.advance(chain)?;
            return Ok(Layer::Present);
        }
        Ok(Layer::Absent(Slot { chain, diff: diff.clone(), lock, unpacking: self }))
    }

    /// Syncs and names all layers unpacked so far. Sensible after an error in a later layer too: they
    /// need not be unpacked again.
    pub fn commit(mut self) -> Result<()> {
        if self.done.is_empty() {
            return Ok(());
        }
        let mut step = sys::trace::step("layers", "syncfs(2)");
        step.note(format_args!("{} layers", self.done.len()));
        rustix::fs::syncfs(open_dir(self.snapshots.root())?).map_err(errno("syncfs(snapshots)"))?;
        drop(step);
        let snapshots = &self.snapshots;
        snapshots.durable().write(|t| {
            for done in &self.done {
                let tree = done.dir.join("fs");
                snapshots.insert_committed(t, &done.chain, done.parent.as_ref(), done.usage, &tree)?;
            }
            Ok::<_, Error>(())
        })?;
        for done in self.done.drain(..) {
            // Empty now, unless somebody committed the chain first.
            remove_dir(&done.dir)?;
        }
        Ok(())
    }

    fn advance(&mut self, chain: ChainId) -> Result<()> {
        self.lower = self.snapshots.layers(Some(&chain))?;
        self.parent = Some(chain);
        self.depth += 1;
        Ok(())
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        for done in self.done.drain(..) {
            // Also when the disk is full: nothing may stay behind.
            let _ = fs::remove_dir_all(&done.dir);
        }
    }
}

impl Slot<'_> {
    /// Unpacks the layer from its blob's bytes, compressed or not, and verifies its diff id.
    pub fn unpack(self, blob: impl Read + Send + 'static) -> Result<Usage> {
        let Slot { unpacking, chain, diff, lock } = self;
        let dir = unpacking.snapshots.unpacking_dir().join(chain.0.hex());
        remove_dir(&dir)?;
        let result = extract(&dir, &unpacking.lower, blob);
        let verified = result.and_then(|(actual, usage)| {
            if actual == diff {
                Ok(usage)
            } else {
                let index = unpacking.depth;
                Err(Error::DiffIdMismatch { index, expected: diff.0.clone(), actual: actual.0 })
            }
        });
        let usage = match verified {
            Ok(usage) => usage,
            Err(e) => {
                let _ = fs::remove_dir_all(&dir);
                return Err(e);
            }
        };
        unpacking.lower.insert(0, dir.join("fs"));
        let parent = unpacking.parent.replace(chain.clone());
        unpacking.depth += 1;
        unpacking.done.push(Done { chain, parent, usage, dir, _lock: lock });
        Ok(usage)
    }
}

fn extract(
    dir: &std::path::Path,
    lower: &[PathBuf],
    blob: impl Read + Send + 'static,
) -> Result<(DiffId, Usage)> {
    let tree = dir.join("fs");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&tree)
        .map_err(io(format!("cannot make {}", tree.display())))?;
    let mut step = sys::trace::step("layer", "openat2(2)");
    let (rest, usage) = step.check(Extractor::new(&tree, lower)?.extract(Inflated::start(blob)))?;
    let (diff, bytes) = step.check(rest.finish())?;
    step.note(format_args!("{bytes} bytes, {} files", usage.inodes));
    Ok((diff, usage))
}

/// The right to unpack one chain, among all processes.
#[derive(Debug)]
struct ChainLock {
    path: PathBuf,
    _lock: Lock,
}

impl ChainLock {
    fn take(snapshots: &Snapshots, chain: &ChainId) -> Result<Self> {
        let dir = snapshots.unpacking_dir();
        let name = format!("{}.lock", chain.0.hex());
        loop {
            let lock = Lock::exclusive(open_dir(&dir)?.as_fd(), &name)?;
            // Its holder unlinks the file before it lets go: then this lock is on a file without a name.
            if rustix::fs::fstat(lock.as_fd()).map_err(errno("fstat(lock)"))?.st_nlink > 0 {
                return Ok(ChainLock { path: dir.join(name), _lock: lock });
            }
        }
    }
}

impl Drop for ChainLock {
    fn drop(&mut self) {
        let _ = remove_file(&self.path);
    }
}

impl Snapshots {
    /// Whether all of these chains are unpacked. The top one is enough: it cannot be without the others.
    pub fn contains_all(&self, chain: &[ChainId]) -> Result<bool> {
        match chain.last() {
            Some(top) => self.contains(top),
            None => Ok(true),
        }
    }

    /// Throws away what killed processes left. Only the collector calls this, when nobody holds a lease.
    pub(crate) fn collect_unpacking(&self) -> Result<()> {
        let dir = self.unpacking_dir();
        for name in list_dir(&dir)? {
            if name.ends_with(".lock") {
                remove_file(&dir.join(name))?;
            } else {
                self.discard(&dir.join(name))?;
            }
        }
        Ok(())
    }
}

fn remove_dir(path: &std::path::Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(io(format!("cannot remove {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
