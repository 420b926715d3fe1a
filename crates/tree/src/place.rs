//! A tar's files are put into a folder of somebody else's tree, over what is there.
//!
//! Names are resolved within that folder: a link in it leads nowhere else. Modes and owners are set as each thing
//! is made, the times of folders at the end, when nothing is made in them any more.

use crate::attributes::Attributes;
use crate::error::{Error, Result};
use crate::reader::{Entry, Kind, TarReader};
use crate::walk::{FOLDER, Walk};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use sys::root::Root;

const COPY_BUFFER: usize = 256 << 10;
/// Names of folders whose times are set at the end.
const MAX_FOLDER_BYTES: usize = 64 << 20;
const FOLDER_OVERHEAD: usize = 128;

/// How files are put there.
#[derive(Debug, Clone, Default)]
pub struct Placing {
    /// Everything belongs to them, not to whom the archive says.
    pub owner: Option<(u32, u32)>,
    /// A folder may not replace a file, nor the other way round.
    pub keep_kinds: bool,
    /// The first part of names that begin with it is replaced by another.
    pub renamed: Option<(Vec<u8>, Vec<u8>)>,
    /// Owners stay those of whoever unpacks.
    pub keep_owner: bool,
    /// The folder's name, for messages.
    pub shown: String,
}

/// Unpacks a tar into `folder`.
pub fn place(folder: OwnedFd, tar: impl Read, placing: &Placing) -> Result<()> {
    let mut placer = Placer {
        root: Root::from_fd(folder),
        placing,
        times: BTreeMap::new(),
        kept: 0,
        buffer: vec![0; COPY_BUFFER],
    };
    let mut reader = TarReader::new(tar);
    while let Some(mut entry) = reader.next_entry()? {
        placer.rename(&mut entry);
        placer.entry(&entry, &mut reader)?;
    }
    placer.finish();
    // A client that still sends is heard to its end.
    let mut rest = reader.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map(drop).map_err(Error::Stream)
}

struct Placer<'a> {
    root: Root,
    placing: &'a Placing,
    times: BTreeMap<PathBuf, Timestamps>,
    kept: usize,
    buffer: Vec<u8>,
}

impl Placer<'_> {
    fn rename(&self, entry: &mut Entry) {
        let Some((from, to)) = &self.placing.renamed else { return };
        let replaced = |path: &[u8]| {
            let rest = path.strip_prefix(from.as_slice())?;
            matches!(rest.first(), None | Some(b'/')).then(|| [to.as_slice(), rest].concat())
        };
        if let Some(path) = replaced(&entry.path) {
            entry.path = path;
        }
        if entry.kind == Kind::HardLink
            && let Some(link) = replaced(&entry.link)
        {
            entry.link = link;
        }
    }

    fn entry<R: Read>(&mut self, entry: &Entry, data: &mut TarReader<R>) -> Result<()> {
        let shown = || entry.display().into_owned();
        let path = clean(&entry.path).ok_or_else(|| text(format!("invalid entry name {:?}", shown())))?;
        let Some(name) = path.file_name().map(OsStr::to_os_string) else {
            // The folder itself stays as it is.
            return Ok(());
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = self.root.mkdir_all(parent, 0o755).map_err(|e| failed(entry, "open its folder", &e))?;
        let stays = self.make_room(&dir, &name, &path, entry)?;
        let mut attributes = Attributes::of(entry);
        if self.placing.keep_owner {
            // What a file's owner gives up by chown(2), others may not be given.
            (attributes.uid, attributes.gid) = ids();
            attributes.xattrs.retain(|(name, _)| name != b"security.capability" || ids().0 == 0);
        }
        if let Some((uid, gid)) = self.placing.owner {
            (attributes.uid, attributes.gid) = (uid, gid);
        }
        match entry.kind {
            Kind::Directory => self.folder(&dir, &name, path, entry, attributes, stays),
            Kind::File => self.file(&dir, &name, entry, &attributes, data),
            Kind::HardLink => self.hard_link(&dir, &name, entry),
            Kind::Symlink => {
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), &dir, &name)
                    .map_err(|e| call(entry, "symlink", e))?;
                attributes.apply_to_name(dir.as_fd(), &name, false)
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => node(&dir, &name, entry, &attributes),
        }
    }

    /// Takes away what is there, unless folder meets folder: then it stays, and the result is true.
    fn make_room(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path, entry: &Entry) -> Result<bool> {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.map_err(|e| call(entry, "lstat", e))?,
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let comes_folder = entry.kind == Kind::Directory;
        if self.placing.keep_kinds && is_folder != comes_folder {
            let (there, new) = match is_folder {
                true => ("directory", "non-directory"),
                false => ("non-directory", "directory"),
            };
            let at = &self.placing.shown;
            // Docker names the two the wrong way round.
            return Err(text(format!(
                "cannot overwrite {there} {:?} with {new} {at:?}",
                path.display().to_string()
            )));
        }
        if is_folder && comes_folder {
            return Ok(true);
        }
        if is_mount(dir, name) {
            return Err(busy(path));
        }
        let removed = match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                self.refuse_mounts_below(path)?;
                let whole = sys::root::proc_path(dir.as_fd()).join(name);
                // It opens each level relative to its parent and follows no link below this name.
                std::fs::remove_dir_all(whole)
            }
            other => other.map_err(Into::into),
        };
        removed.map_err(|e| text(format!("RemoveAll {}: {e}", path.display())))?;
        Ok(false)
    }

    /// What is mounted somewhere in a folder is not part of it and never removed with it.
    fn refuse_mounts_below(&self, path: &Path) -> Result<()> {
        let mut walk = Walk::new(self.root.open(path, FOLDER, 0)?)?;
        while let Some(found) = walk.next()? {
            if is_mount(&found.folder, OsStr::from_bytes(found.name.to_bytes())) {
                return Err(busy(&path.join(&found.path)));
            }
            if FileType::from_raw_mode(found.stat.st_mode) == FileType::Directory {
                walk.enter(&found)?;
            }
        }
        Ok(())
    }

    fn folder(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        path: PathBuf,
        entry: &Entry,
        attributes: Attributes,
        exists: bool,
    ) -> Result<()> {
        if !exists {
            rustix::fs::mkdirat(dir, name, Mode::from(0o700)).map_err(|e| call(entry, "mkdir", e))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|e| call(entry, "open", e))?;
        // Folders that were there before may belong to somebody: root too is said.
        let (uid, gid) = (attributes.uid, attributes.gid);
        let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&fd, Some(owner.0), Some(owner.1)).map_err(|e| call(entry, "chown", e))?;
        attributes.apply_to_directory(fd.as_fd())?;
        let time = |s: crate::reader::Stamp| Timespec { tv_sec: s.seconds, tv_nsec: s.nanos.into() };
        let mtime = time(entry.mtime);
        let times = Timestamps { last_access: entry.atime.map_or(mtime, time), last_modification: mtime };
        let cost = path.as_os_str().len() + FOLDER_OVERHEAD;
        if self.times.insert(path, times).is_none() {
            self.kept += cost;
        }
        if self.kept > MAX_FOLDER_BYTES {
            return Err(Error::Limit {
                what: "the names of the archive's folders",
                limit: MAX_FOLDER_BYTES as u64,
            });
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
        attributes: &Attributes,
        data: &mut TarReader<R>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else reads or runs it before it is whole and has its owner.
        let fd =
            rustix::fs::openat(dir, name, flags, Mode::from(0o600)).map_err(|e| call(entry, "open", e))?;
        match &entry.extents {
            None => self.copy(fd.as_fd(), entry, data, u64::MAX)?,
            Some(extents) => {
                for extent in extents {
                    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(extent.offset))
                        .map_err(|e| call(entry, "lseek", e))?;
                    self.copy(fd.as_fd(), entry, data, extent.length)?;
                }
                rustix::fs::ftruncate(&fd, entry.size).map_err(|e| call(entry, "ftruncate", e))?;
            }
        }
        attributes.apply_to_file(fd.as_fd(), 0o777)?;
        if attributes.mode & 0o777 == 0 {
            rustix::fs::fchmod(&fd, Mode::from(attributes.mode)).map_err(|e| call(entry, "chmod", e))?;
        }
        Ok(())
    }

    /// Copies the entry's data, or so much of it.
    fn copy<R: Read>(
        &mut self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        data: &mut TarReader<R>,
        mut left: u64,
    ) -> Result<()> {
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = data.read_data(&mut self.buffer[..want])?;
            if n == 0 {
                return if left == u64::MAX || entry.extents.is_none() {
                    Ok(())
                } else {
                    Err(Error::Truncated)
                };
            }
            sys::durable::write_all(fd, &self.buffer[..n]).map_err(|e| call(entry, "write", e))?;
            left -= n as u64;
        }
        Ok(())
    }

    fn hard_link(&mut self, dir: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<()> {
        let wrong = || text(format!("invalid hardlink target {:?}", String::from_utf8_lossy(&entry.link)));
        let target = clean(&entry.link).ok_or_else(wrong)?;
        let target_name = target.file_name().ok_or_else(wrong)?;
        let parent = target.parent().unwrap_or(Path::new(""));
        let from = self
            .root
            .open(parent, OFlags::PATH | OFlags::DIRECTORY, 0)
            .map_err(|e| failed(entry, "open its target's folder", &e))?;
        rustix::fs::linkat(&from, target_name, dir, name, AtFlags::empty())
            .map_err(|e| call(entry, "link", e))
    }

    /// A folder that has gone again has no time to set.
    fn finish(&mut self) {
        for (path, times) in std::mem::take(&mut self.times) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            if let Ok(fd) = self.root.open(&path, flags, 0) {
                let _ = rustix::fs::futimens(&fd, &times);
            }
        }
    }
}

/// Whether something is mounted there. The kernel takes a mount point that is in no mount namespace of the caller
/// away with its name, and with it the mount of everybody else (detach_mounts() in fs/namespace.c).
fn is_mount(dir: &OwnedFd, name: &OsStr) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let found = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty());
    found.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn busy(path: &Path) -> Error {
    text(format!("RemoveAll {}: device or resource busy", path.display()))
}

/// Whose files this process makes.
fn ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn node(dir: &OwnedFd, name: &OsStr, entry: &Entry, attributes: &Attributes) -> Result<()> {
    let (kind, device) = match entry.kind {
        Kind::CharDevice => (FileType::CharacterDevice, entry.device),
        Kind::BlockDevice => (FileType::BlockDevice, entry.device),
        _ => (FileType::Fifo, (0, 0)),
    };
    if kind == FileType::CharacterDevice && device == (0, 0) {
        // In an overlay it would hide the name (overlayfs.rst, "whiteouts").
        return Err(call(entry, "mknod", Errno::PERM));
    }
    let number = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(dir, name, kind, Mode::from(0o600), number).map_err(|e| call(entry, "mknod", e))?;
    // The container may have exchanged it meanwhile: what is changed is what is open.
    let fd = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| call(entry, "open", e))?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(attributes.uid), rustix::fs::Gid::from_raw(attributes.gid));
    rustix::fs::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .map_err(|e| call(entry, "chown", e))?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| call(entry, "stat", e))?;
    if FileType::from_raw_mode(stat.st_mode) == kind {
        let path = sys::root::proc_path(fd.as_fd());
        rustix::fs::chmod(path, Mode::from(attributes.mode)).map_err(|e| call(entry, "chmod", e))?;
    }
    Ok(())
}

/// The path relative to the tree's root, without `.` and `..`; `None` when it leads outside, or
/// cannot be a path.
pub fn clean(path: &[u8]) -> Option<PathBuf> {
    if path.contains(&0) {
        return None;
    }
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(clean)
}

fn text(message: String) -> Error {
    Error::Refused(message)
}

fn call(entry: &Entry, what: &'static str, e: Errno) -> Error {
    Error::Entry { entry: entry.display().into_owned(), what: what.into(), source: e.into() }
}

fn failed(entry: &Entry, what: &'static str, e: &sys::Error) -> Error {
    let source = std::io::Error::from_raw_os_error(e.errno());
    Error::Entry { entry: entry.display().into_owned(), what: what.into(), source }
}
