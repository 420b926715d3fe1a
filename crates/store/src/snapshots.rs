//! The overlay snapshotter: directories in, mounts out.
//!
//! A committed snapshot holds what one layer changes, in overlayfs's own form (a character device 0:0
//! hides a name, `trusted.overlay.opaque` hides a directory's lower content), so that nothing is
//! converted at start. An active snapshot is an upper and a work directory; `mounts` returns the one
//! overlay mount that joins it with its parents. The caller makes the mount: the store mounts nothing.
//!
//! Removal renames into `trash/` and returns; `empty_trash` deletes, off anybody's path.

use crate::content::{list_dir, make_dirs};
use crate::error::{Error, Result, errno, io};
use crate::lease::open_dir;
use db::{Database, Transaction, Value};
use oci::{ChainId, Digest};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sys::clock::Time;
use sys::mount::{Mount, Source};
use sys::root::Root;

/// What each overlay mount states, so that neither kernel configuration nor module parameters
/// change what a layer means.
const OVERLAY_OPTIONS: &[&str] = &["index=off", "redirect_dir=off", "metacopy=off", "xino=off"];
/// overlayfs stacks at most 500 lower layers (OVL_MAX_STACK in fs/overlayfs/super.c).
const MAX_LAYERS: usize = 500;
const MAX_KEY_BYTES: usize = 200;
/// The unit of `st_blocks`, whatever the file system's own (stat(2)).
const STAT_BLOCK: u64 = 512;

/// Snapshots of a data root.
#[derive(Debug, Clone)]
pub struct Snapshots {
    root: PathBuf,
    durable: Arc<Database>,
    run: Arc<Database>,
}

/// What a snapshot occupies by itself, without its parents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in whole blocks.
    pub size: u64,
    /// Files and directories.
    pub inodes: u64,
}

impl Usage {
    /// Adds an inode, with its blocks as its file system counts them.
    pub(crate) fn add(&mut self, stat: &rustix::fs::Stat) {
        self.inodes += 1;
        self.size += u64::try_from(stat.st_blocks).unwrap_or(0) * STAT_BLOCK;
    }
}

/// A committed snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    pub(crate) id: i64,
    pub(crate) usage: Usage,
}

/// An active snapshot's row.
struct Active {
    parent: Option<ChainId>,
    volatile: bool,
}

impl Snapshots {
    pub(crate) fn open(root: &Path, durable: Arc<Database>, run: Arc<Database>) -> Result<Self> {
        let snapshots = Snapshots { root: root.to_path_buf(), durable, run };
        if !snapshots.trash_dir().exists() {
            for dir in ["active", "unpacking", "trash"] {
                make_dirs(&root.join(dir))?;
            }
        }
        Ok(snapshots)
    }

    /// Whether this chain is unpacked.
    pub fn contains(&self, chain: &ChainId) -> Result<bool> {
        Ok(self.committed(chain)?.is_some())
    }

    /// What this chain's top layer occupies; `None` when it is not unpacked.
    pub fn usage(&self, chain: &ChainId) -> Result<Option<Usage>> {
        Ok(self.committed(chain)?.map(|c| c.usage))
    }

    /// Makes the writable directory `key` on top of `parent` and returns how to mount it. A volatile
    /// one is for containers that die with this boot: making it syncs nothing and neither does the
    /// file system mounted from it.
    pub fn prepare(&self, key: &str, parent: Option<&ChainId>, volatile: bool) -> Result<Vec<Mount>> {
        check_key(key)?;
        let _lease = crate::Lease::take(&self.content_root())?;
        let active = Active { parent: parent.cloned(), volatile };
        // The row is the intent: whatever follows can be undone from it.
        let layers = self.layers(parent)?;
        self.insert_active(key, &active)?;
        let made = self.make_active(key, layers.first()).and_then(|()| self.overlay(key, &layers, volatile));
        if made.is_err() {
            // The first error counts; what cannot be undone now is undone by the collector.
            let _ = self.remove(key);
        }
        made
    }

    /// How to mount an active snapshot that was prepared before.
    pub fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let active = self.active(key)?;
        let layers = self.layers(active.parent.as_ref())?;
        if active.volatile {
            // overlayfs leaves a mark that refuses a second mount after a crash of the host; within
            // one boot the upper directory is sound (Documentation/filesystems/overlayfs.rst).
            let mark = self.active_dir(key).join("work/work/incompat");
            match fs::remove_dir_all(&mark) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io(format!("cannot remove {}", mark.display()))(e));
                }
                _ => {}
            }
        }
        self.overlay(key, &layers, active.volatile)
    }

    /// The directories of the layers below an active snapshot, the topmost first.
    pub fn parent_dirs(&self, key: &str) -> Result<Vec<PathBuf>> {
        let active = self.active(key)?;
        self.layers(active.parent.as_ref())
    }

    /// The directory that holds what an active snapshot changed.
    pub fn upper_dir(&self, key: &str) -> Result<PathBuf> {
        check_key(key)?;
        Ok(self.active_dir(key).join("fs"))
    }

    /// What a chain occupies with all its parents; nothing when it is not unpacked.
    pub fn chain_usage(&self, chain: &ChainId) -> Result<Usage> {
        let sql = "WITH RECURSIVE up (parent, size, inodes) AS (
                     SELECT parent, size, inodes FROM snapshots WHERE chain = ?1
                     UNION ALL
                     SELECT s.parent, s.size, s.inodes FROM snapshots s JOIN up ON s.id = up.parent)
                   SELECT coalesce(sum(size), 0), coalesce(sum(inodes), 0) FROM up";
        let found = self.durable.read(|t| {
            t.query_one(sql, &[chain.0.as_str().into()], |r| {
                Ok::<_, Error>(Usage { size: r.int(0)?.cast_unsigned(), inodes: r.int(1)?.cast_unsigned() })
            })
        })?;
        Ok(found.unwrap_or_default())
    }

    /// What all unpacked layers occupy.
    pub fn committed_size(&self) -> Result<u64> {
        let sql = "SELECT coalesce(sum(size), 0) FROM snapshots";
        let sum = self.durable.read(|t| t.query_one(sql, &[], |r| r.int(0)))?;
        Ok(sum.unwrap_or(0).cast_unsigned())
    }

    /// What an active snapshot's parents occupy.
    pub fn parents_usage(&self, key: &str) -> Result<Usage> {
        match self.active(key)?.parent {
            Some(parent) => self.chain_usage(&parent),
            None => Ok(Usage::default()),
        }
    }

    /// What an active snapshot occupies by itself, by looking at each of its files.
    pub fn active_usage(&self, key: &str) -> Result<Usage> {
        disk_usage(&Root::open_dir(&self.upper_dir(key)?)?)
    }

    /// Turns an active snapshot, which must not be mounted, into the committed one of `chain`. If that
    /// exists already, the active one is removed.
    pub fn commit(&self, key: &str, chain: &ChainId) -> Result<()> {
        let active = self.active(key)?;
        let upper = self.active_dir(key).join("fs");
        let usage = disk_usage(&Root::open_dir(&upper)?)?;
        rustix::fs::syncfs(open_dir(&upper)?).map_err(errno("syncfs(snapshot)"))?;
        self.durable.write(|t| self.insert_committed(t, chain, active.parent.as_ref(), usage, &upper))?;
        self.remove(key)
    }

    /// Removes an active snapshot; nothing happens when there is none. Its files are deleted by
    /// [`Snapshots::empty_trash`].
    pub fn remove(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let mut step = sys::trace::step("snapshot", "renameat(2)");
        step.note(format_args!("{} to the trash", self.active_dir(key).display()));
        step.check(self.discard(&self.active_dir(key)))?;
        drop(step);
        for database in [&self.run, &self.durable] {
            let known = "SELECT 1 FROM active_snapshots WHERE key = ?1";
            // Looked up first: deleting nothing would still sync the durable database.
            if database.read(|t| t.query_one(known, &[key.into()], |r| r.int(0)))?.is_some() {
                database
                    .write(|t| t.execute("DELETE FROM active_snapshots WHERE key = ?1", &[key.into()]))?;
            }
        }
        Ok(())
    }

    /// The keys of all active snapshots.
    pub fn keys(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for database in [&self.durable, &self.run] {
            keys.extend(database.read(|t| t.query("SELECT key FROM active_snapshots", &[], |r| r.text(0)))?);
        }
        Ok(keys)
    }

    /// Deletes what was removed. May run in several processes at once. What cannot be deleted (an immutable file, a
    /// busy mount) is passed over and left for the next time; the first such is the error.
    pub fn empty_trash(&self) -> Result<()> {
        let mut first = Ok(());
        for name in list_dir(&self.trash_dir())? {
            let path = self.trash_dir().join(name);
            let mut step = sys::trace::step("trash", "unlinkat(2)");
            step.note(format_args!("{}", path.display()));
            match fs::remove_dir_all(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    first = first.and(Err(io(format!("cannot remove {}", path.display()))(e)));
                }
                _ => {}
            }
        }
        first
    }

    pub(crate) fn durable(&self) -> &Database {
        &self.durable
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn unpacking_dir(&self) -> PathBuf {
        self.root.join("unpacking")
    }

    pub(crate) fn dir_of(&self, id: i64) -> PathBuf {
        self.root.join(id.to_string())
    }

    pub(crate) fn active_dir(&self, key: &str) -> PathBuf {
        self.root.join("active").join(key)
    }

    fn trash_dir(&self) -> PathBuf {
        self.root.join("trash")
    }

    fn content_root(&self) -> PathBuf {
        self.root.parent().unwrap_or(&self.root).join("content")
    }

    /// The row of a committed chain.
    pub(crate) fn committed(&self, chain: &ChainId) -> Result<Option<Committed>> {
        self.durable.read(|t| find_committed(t, chain))
    }

    /// The directories of a chain, top first.
    pub(crate) fn layers(&self, chain: Option<&ChainId>) -> Result<Vec<PathBuf>> {
        let Some(chain) = chain else { return Ok(Vec::new()) };
        let sql = "WITH RECURSIVE up (id, parent, depth) AS (
                     SELECT id, parent, 0 FROM snapshots WHERE chain = ?1
                     UNION ALL
                     SELECT s.id, s.parent, up.depth + 1 FROM snapshots s JOIN up ON s.id = up.parent)
                   SELECT id FROM up ORDER BY depth";
        let ids = self.durable.read(|t| t.query(sql, &[chain.0.as_str().into()], |r| r.int(0)))?;
        if ids.is_empty() {
            return Err(Error::SnapshotNotFound(chain.to_string()));
        }
        if ids.len() > MAX_LAYERS {
            return Err(Error::Limit { what: "number of layers", limit: MAX_LAYERS as u64 });
        }
        Ok(ids.into_iter().map(|id| self.dir_of(id).join("fs")).collect())
    }

    /// Gives a complete and synced tree its number and its row, in the caller's transaction.
    pub(crate) fn insert_committed(
        &self,
        t: &Transaction<'_>,
        chain: &ChainId,
        parent: Option<&ChainId>,
        usage: Usage,
        tree: &Path,
    ) -> Result<()> {
        if find_committed(t, chain)?.is_some() {
            return Ok(());
        }
        let parent = match parent {
            None => None,
            Some(p) => Some(find_committed(t, p)?.ok_or_else(|| Error::SnapshotNotFound(p.to_string()))?.id),
        };
        t.execute(
            "INSERT INTO snapshots (chain, parent, size, inodes, created_ns) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[
                chain.0.as_str().into(),
                parent.map_or(Value::Null, Value::Int),
                usage.size.cast_signed().into(),
                usage.inodes.cast_signed().into(),
                Time::now().0.into(),
            ],
        )?;
        let dir = self.dir_of(t.last_insert_id());
        // A crash between rename and commit leaves a directory without a row, and the number is
        // given again.
        self.discard(&dir)?;
        make_dirs(&dir)?;
        let target = dir.join("fs");
        fs::rename(tree, &target).map_err(io(format!("cannot rename to {}", target.display())))?;
        for dir in [&dir, &self.root] {
            rustix::fs::fsync(open_dir(dir)?).map_err(errno(format!("fsync({})", dir.display())))?;
        }
        Ok(())
    }

    /// Renames a directory into the trash; nothing happens when it does not exist.
    pub(crate) fn discard(&self, dir: &Path) -> Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let target =
            self.trash_dir().join(format!("{}-{n}-{}", std::process::id(), sys::clock::monotonic_ns()));
        match fs::rename(dir, &target) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(io(format!("cannot rename {} to trash", dir.display()))(e))
            }
            _ => Ok(()),
        }
    }

    /// The parents of all active snapshots.
    pub(crate) fn active_parents(&self) -> Result<Vec<ChainId>> {
        let mut parents = Vec::new();
        let sql = "SELECT parent FROM active_snapshots WHERE parent IS NOT NULL";
        for database in [&*self.durable, &*self.run] {
            let texts = database.read(|t| t.query(sql, &[], |r| r.text(0)))?;
            for text in texts {
                parents.push(ChainId(Digest::parse(&text)?));
            }
        }
        Ok(parents)
    }

    fn active(&self, key: &str) -> Result<Active> {
        check_key(key)?;
        let sql = "SELECT parent, volatile FROM active_snapshots WHERE key = ?1";
        for database in [&self.run, &self.durable] {
            let found = database.read(|t| {
                t.query_one(sql, &[key.into()], |r| Ok::<_, Error>((r.opt_text(0)?, r.bool(1)?)))
            })?;
            if let Some((parent, volatile)) = found {
                let parent = parent.map(|p| Digest::parse(&p).map(ChainId)).transpose()?;
                return Ok(Active { parent, volatile });
            }
        }
        Err(Error::SnapshotNotFound(key.to_owned()))
    }

    fn insert_active(&self, key: &str, active: &Active) -> Result<()> {
        let database = if active.volatile { &self.run } else { &self.durable };
        let values = [
            key.into(),
            active.parent.as_ref().map(|p| p.0.as_str()).into(),
            active.volatile.into(),
            Time::now().0.into(),
        ];
        match database.write(|t| t.execute("INSERT INTO active_snapshots VALUES (?1, ?2, ?3, ?4)", &values)) {
            Err(e) if e.is_unique_violation() => Err(Error::SnapshotExists(key.to_owned())),
            other => Ok(other.map(drop)?),
        }
    }

    /// The container's root takes owner and mode from its upper directory: those of the image's root.
    fn make_active(&self, key: &str, top: Option<&PathBuf>) -> Result<()> {
        let dir = self.active_dir(key);
        // Left over from before a boot: run.db forgot it.
        self.discard(&dir)?;
        let what = |path: &Path| format!("cannot make {}", path.display());
        let mkdir =
            |path: &Path, mode: u32| rustix::fs::mkdir(path, Mode::from(mode)).map_err(errno(what(path)));
        mkdir(&dir, 0o700)?;
        mkdir(&dir.join("work"), 0o700)?;
        let upper = dir.join("fs");
        mkdir(&upper, 0o755)?;
        let (mode, owner) = match top {
            Some(top) => {
                let stat =
                    rustix::fs::lstat(top).map_err(errno(format!("cannot look at {}", top.display())))?;
                (stat.st_mode & 0o7777, Some((Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))))
            }
            None => (0o755, None),
        };
        if let Some((uid, gid)) = owner.filter(|(u, g)| (u.as_raw(), g.as_raw()) != (0, 0)) {
            rustix::fs::chownat(rustix::fs::CWD, &upper, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(errno(format!("chown({})", upper.display())))?;
        }
        rustix::fs::chmod(&upper, Mode::from(mode)).map_err(errno(format!("chmod({})", upper.display())))
    }

    fn overlay(&self, key: &str, layers: &[PathBuf], volatile: bool) -> Result<Vec<Mount>> {
        let dir = self.active_dir(key);
        let upper = dir.join("fs");
        if layers.is_empty() {
            // An image without layers: overlayfs needs a lower one.
            let source = Source::Path(upper);
            return Ok(vec![Mount {
                source,
                target: PathBuf::new(),
                kind: "bind".into(),
                options: Vec::new(),
            }]);
        }
        let lower: Vec<String> = layers.iter().map(|l| l.display().to_string()).collect();
        let mut options = vec![
            format!("lowerdir={}", lower.join(":")),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", dir.join("work").display()),
        ];
        options.extend(OVERLAY_OPTIONS.iter().map(|o| (*o).to_owned()));
        if volatile {
            options.push("volatile".into());
        }
        let source = Source::Name("overlay".into());
        Ok(vec![Mount { source, target: PathBuf::new(), kind: "overlay".into(), options }])
    }
}

fn find_committed(t: &Transaction<'_>, chain: &ChainId) -> Result<Option<Committed>> {
    let sql = "SELECT id, size, inodes FROM snapshots WHERE chain = ?1";
    t.query_one(sql, &[chain.0.as_str().into()], |r| {
        let usage = Usage { size: r.int(1)?.cast_unsigned(), inodes: r.int(2)?.cast_unsigned() };
        Ok(Committed { id: r.int(0)?, usage })
    })
}

/// A key is a directory's name and stands in mount options.
fn check_key(key: &str) -> Result<()> {
    let valid = !key.is_empty()
        && key.len() <= MAX_KEY_BYTES
        && !key.starts_with('.')
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if valid { Ok(()) } else { Err(Error::SnapshotNotFound(key.to_owned())) }
}

/// What a tree occupies, its top included: blocks in use, each inode once (containerd's `fs.DiskUsage`).
/// The tree may be in use by hostile processes: no link leads out of it, and what disappears meanwhile is
/// not counted.
pub(crate) fn disk_usage(root: &Root) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let mut pending = vec![PathBuf::from(".")];
    while let Some(path) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = match root.open(&path, flags, 0) {
            Err(e)
                if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
                    .iter()
                    .any(|n| n.raw_os_error() == e.errno()) =>
            {
                continue;
            }
            other => other?,
        };
        let failed = || errno(format!("cannot list {}", path.display()));
        usage.add(&rustix::fs::fstat(&dir).map_err(failed())?);
        for entry in Dir::read_from(&dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other.map_err(failed())?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(path.join(OsStr::from_bytes(entry.file_name().to_bytes())));
            } else if stat.st_nlink == 1 || linked.insert((stat.st_dev, stat.st_ino)) {
                usage.add(&stat);
            }
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests;
