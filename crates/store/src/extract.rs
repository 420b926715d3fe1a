//! Unpacking one layer into a directory in overlayfs's own form.
//!
//! Every name is reached from the layer's root by openat2(RESOLVE_IN_ROOT) (`sys::Root`) and every
//! object is made relative to an open directory, so that no entry, link or race leads outside; paths
//! that would are refused by name rather than bent. Whiteouts (image-spec layer.md "Whiteouts") become
//! character devices 0:0 and opaque directories get `trusted.overlay.opaque`
//! (Documentation/filesystems/overlayfs.rst). A directory that a layer only implies takes its
//! attributes from the layers below, as overlayfs's copy-up would give it.
//!
//! Attributes of directories are set last, so that making their content does not change their times and
//! a set-gid directory does not give its group to the files made in it.

mod kept;
mod lower;

use crate::error::{Error, Result};
use crate::snapshots::{Usage, disk_usage};

use kept::Kept;
use lower::Lower;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use sys::root::Root;
use tree::attributes::{self, Attributes};
use tree::clean;
use tree::reader::{Entry, Kind, TarReader};

const WHITEOUT: &[u8] = b".wh.";
/// aufs's own files, which no layer needs.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const COPY_BUFFER: usize = 256 << 10;
/// Open directories kept, most recently used first: tars list a directory's files together.
const OPEN_DIRECTORIES: usize = 16;

/// Unpacks one layer.
pub(crate) struct Extractor {
    root: Root,
    lower: Lower,
    open: Vec<(PathBuf, Rc<OwnedFd>)>,
    kept: Kept,
    root_is_opaque: bool,
    umask: u32,
    usage: Usage,
    /// Something that was counted is gone again: the sum must be taken from the tree.
    must_recount: bool,
    buffer: Vec<u8>,
}

impl Extractor {
    /// `target` is an empty directory; `lower` are the trees below it, top first.
    pub(crate) fn new(target: &Path, lower: &[PathBuf]) -> Result<Self> {
        let lower = Lower::new(lower);
        let root = Root::open_dir(target)?;
        let mut kept = Kept::new();
        kept.directory(PathBuf::new(), lower.directory(Path::new(""))?.unwrap_or_default())?;
        Ok(Extractor {
            root,
            lower,
            open: Vec::new(),
            kept,
            root_is_opaque: false,
            umask: attributes::umask()?,
            usage: Usage::default(),
            must_recount: false,
            buffer: vec![0; COPY_BUFFER],
        })
    }

    /// Makes everything that the tar holds; returns the rest of the stream and the size.
    pub(crate) fn extract<R: Read>(mut self, tar: R) -> Result<(R, Usage)> {
        let mut reader = TarReader::new(tar);
        while let Some(entry) = reader.next_entry()? {
            self.apply(&entry, &mut reader)?;
        }
        if self.root_is_opaque {
            self.hide_all_below()?;
        }
        self.finish_directories()?;
        if self.must_recount {
            self.usage = disk_usage(&self.root)?;
        }
        Ok((reader.into_inner(), self.usage))
    }

    fn apply<R: Read>(&mut self, entry: &Entry, data: &mut TarReader<R>) -> Result<()> {
        let path = clean(&entry.path).ok_or_else(|| escape(entry, "path"))?;
        let Some(name) = path.file_name().map(OsStr::to_os_string) else {
            if entry.kind != Kind::Directory {
                return Err(broken("the root is not a directory"));
            }
            return self.kept.directory(path, Attributes::of(entry));
        };
        let parent = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.hide(entry, &parent, name.as_bytes(), hidden);
        }
        let dir = self.directory(&parent).map_err(|e| failed(entry, e))?;
        match entry.kind {
            Kind::Directory => self.make_directory(&dir, &path, &name, entry),
            Kind::File => self.make_file(&dir, &path, &name, entry, data),
            Kind::HardLink => self.make_hard_link(&dir, &path, &name, entry),
            Kind::Symlink => self.make_symlink(&dir, &path, &name, entry),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.make_node(&dir, &path, &name, entry),
        }
    }

    fn make_directory(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        match rustix::fs::mkdirat(dir, name, Mode::from(0o700)) {
            // Directories are counted when they are finished.
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| call(entry, "stat", e))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    let hidden = self.kept.has_whiteout(path);
                    self.remove(dir, path, name).map_err(|e| call(entry, "unlink", e))?;
                    rustix::fs::mkdirat(dir, name, Mode::from(0o700)).map_err(|e| call(entry, "mkdir", e))?;
                    if hidden {
                        self.make_opaque(path).map_err(|e| failed(entry, e))?;
                    }
                }
            }
            Err(e) => return Err(call(entry, "mkdir", e)),
        }
        self.kept.directory(path.to_path_buf(), Attributes::of(entry))
    }

    fn make_file<R: Read>(
        &mut self,
        dir: &OwnedFd,
        path: &Path,
        name: &OsStr,
        entry: &Entry,
        data: &mut TarReader<R>,
    ) -> Result<()> {
        let fd = self.create(dir, path, name, entry.mode).map_err(|e| call(entry, "open", e))?;
        self.write_data(fd.as_fd(), entry, data)?;
        Attributes::of(entry).apply_to_file(fd.as_fd(), self.umask).map_err(|e| failed(entry, e))?;
        // xfs takes back what it allocated ahead of a writer when that one closes.
        drop(fd);
        self.count(dir, name).map_err(|e| call(entry, "stat", e))
    }

    fn write_data<R: Read>(
        &mut self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        data: &mut TarReader<R>,
    ) -> Result<()> {
        let Some(extents) = &entry.extents else {
            loop {
                let n = data.read_data(&mut self.buffer)?;
                if n == 0 {
                    return Ok(());
                }
                sys::durable::write_all(fd, &self.buffer[..n]).map_err(|e| call(entry, "write", e))?;
            }
        };
        for extent in extents {
            let seek = rustix::fs::SeekFrom::Start(extent.offset);
            rustix::fs::seek(fd, seek).map_err(|e| call(entry, "lseek", e))?;
            let mut left = extent.length;
            while left > 0 {
                let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let n = data.read_data(&mut self.buffer[..want])?;
                if n == 0 {
                    return Err(Error::Truncated);
                }
                sys::durable::write_all(fd, &self.buffer[..n]).map_err(|e| call(entry, "write", e))?;
                left -= n as u64;
            }
        }
        rustix::fs::ftruncate(fd, entry.size).map_err(|e| call(entry, "ftruncate", e))
    }

    fn make_hard_link(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let target = clean(&entry.link).ok_or_else(|| escape(entry, "link target"))?;
        let Some(target_name) = target.file_name().map(OsStr::to_os_string) else {
            return Err(broken(format!("entry {:?} is a hard link to the root", entry.display())));
        };
        if target == path {
            return Ok(());
        }
        let target_parent = target.parent().unwrap_or(Path::new("")).to_path_buf();
        for attempt in 0.. {
            let target_dir = self.root.open(&target_parent, OFlags::PATH | OFlags::DIRECTORY, 0);
            let linked = match target_dir {
                Ok(target_dir) => rustix::fs::linkat(&target_dir, &target_name, dir, name, AtFlags::empty()),
                Err(e) if e.errno() == libc_enoent() => Err(Errno::NOENT),
                Err(e) => return Err(failed(entry, e)),
            };
            match linked {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) if attempt < 2 => {
                    self.remove(dir, path, name).map_err(|e| call(entry, "unlink", e))?;
                }
                Err(Errno::NOENT) if attempt < 2 => self.copy_up(&target, entry)?,
                Err(e) => return Err(call(entry, "link", e)),
            }
        }
        Ok(())
    }

    /// A hard link to a file of a lower layer: the file is copied into this one, as overlayfs would.
    fn copy_up(&mut self, target: &Path, entry: &Entry) -> Result<()> {
        let Some((mut file, attributes)) = self.lower.file(target)? else {
            let target = target.display();
            return Err(broken(format!(
                "entry {:?} is a hard link to {target}, which does not exist",
                entry.display()
            )));
        };
        let parent = target.parent().unwrap_or(Path::new("")).to_path_buf();
        let dir = self.directory(&parent).map_err(|e| failed(entry, e))?;
        let name = target.file_name().unwrap_or_default().to_os_string();
        let fd = self.create(&dir, target, &name, 0o600).map_err(|e| call(entry, "open", e))?;
        let mut copy = std::fs::File::from(fd);
        std::io::copy(&mut file, &mut copy).map_err(|source| Error::Entry {
            entry: entry.display().into_owned(),
            what: "copy".into(),
            source,
        })?;
        attributes.apply_to_file(copy.as_fd(), 0o777).map_err(|e| failed(entry, e))?;
        drop(copy);
        self.count(&dir, &name).map_err(|e| call(entry, "stat", e))
    }

    fn make_symlink(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let target = OsStr::from_bytes(&entry.link);
        let mut made = rustix::fs::symlinkat(target, dir, name);
        if made == Err(Errno::EXIST) {
            self.remove(dir, path, name).map_err(|e| call(entry, "unlink", e))?;
            made = rustix::fs::symlinkat(target, dir, name);
        }
        made.map_err(|e| call(entry, "symlink", e))?;
        Attributes::of(entry).apply_to_name(dir.as_fd(), name, false).map_err(|e| failed(entry, e))?;
        self.count(dir, name).map_err(|e| call(entry, "stat", e))
    }

    fn make_node(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let (kind, device) = match entry.kind {
            Kind::CharDevice => (FileType::CharacterDevice, entry.device),
            Kind::BlockDevice => (FileType::BlockDevice, entry.device),
            _ => (FileType::Fifo, (0, 0)),
        };
        if kind == FileType::CharacterDevice && device == (0, 0) {
            // It would hide the name: that is said with `.wh.`.
            return Err(broken(format!("entry {:?} is a character device 0:0", entry.display())));
        }
        let device = rustix::fs::makedev(device.0, device.1);
        let mode = Mode::from(entry.mode & 0o777);
        let mut made = rustix::fs::mknodat(dir, name, kind, mode, device);
        if made == Err(Errno::EXIST) {
            self.remove(dir, path, name).map_err(|e| call(entry, "unlink", e))?;
            made = rustix::fs::mknodat(dir, name, kind, mode, device);
        }
        made.map_err(|e| call(entry, "mknod", e))?;
        Attributes::of(entry).apply_to_name(dir.as_fd(), name, true).map_err(|e| failed(entry, e))?;
        self.count_node();
        Ok(())
    }

    /// A whiteout. It hides only what lies below: what this layer itself makes stays.
    fn hide(&mut self, entry: &Entry, parent: &Path, whole: &[u8], hidden: &[u8]) -> Result<()> {
        if whole == OPAQUE {
            self.root_is_opaque |= parent.as_os_str().is_empty();
            self.directory(parent).map_err(|e| failed(entry, e))?;
            return self.make_opaque(parent).map_err(|e| failed(entry, e));
        }
        if whole.starts_with(AUFS) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(escape(entry, "path"));
        }
        let name = OsStr::from_bytes(hidden);
        let path = parent.join(name);
        let dir = self.directory(parent).map_err(|e| failed(entry, e))?;
        match rustix::fs::mknodat(&*dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => {
                self.kept.whiteout(path)?;
                self.count_node();
                Ok(())
            }
            Err(Errno::EXIST) if self.kept.has_directory(&path) => {
                self.make_opaque(&path).map_err(|e| failed(entry, e))
            }
            Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(call(entry, "mknod", e)),
        }
    }

    fn make_opaque(&mut self, path: &Path) -> Result<()> {
        let fd = self.root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        rustix::fs::fsetxattr(&fd, OPAQUE_XATTR, b"y", rustix::fs::XattrFlags::empty())
            .map_err(|e| sys::Error::new(format!("fsetxattr({path:?}, {OPAQUE_XATTR:?})"), e).into())
    }

    /// overlayfs merges the roots of all layers whatever their marks, so an opaque root is spelled out.
    fn hide_all_below(&mut self) -> Result<()> {
        let root = self.directory(Path::new(""))?;
        for name in self.lower.names()? {
            let path = PathBuf::from(&name);
            match rustix::fs::mknodat(&*root, &name, FileType::CharacterDevice, Mode::empty(), 0) {
                Ok(()) => self.count_node(),
                Err(Errno::EXIST) if self.kept.has_directory(&path) => self.make_opaque(&path)?,
                Err(Errno::EXIST) => {}
                Err(e) => return Err(sys::Error::new(format!("mknodat({path:?}, 0:0)"), e).into()),
            }
        }
        Ok(())
    }

    /// Opens a directory of this layer, making it when it is only implied.
    fn directory(&mut self, path: &Path) -> Result<Rc<OwnedFd>> {
        if let Some(i) = self.open.iter().position(|(p, _)| p == path) {
            let hit = self.open.remove(i);
            let fd = hit.1.clone();
            self.open.insert(0, hit);
            return Ok(fd);
        }
        let fd = match self.root.open(path, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Ok(fd) => fd,
            Err(e) if e.errno() == libc_enoent() || self.is_below_whiteout(path) => {
                self.make_implied(path)?
            }
            Err(e) => return Err(e.into()),
        };
        let fd = Rc::new(fd);
        self.open.truncate(OPEN_DIRECTORIES - 1);
        self.open.insert(0, (path.to_path_buf(), fd.clone()));
        Ok(fd)
    }

    fn is_below_whiteout(&self, path: &Path) -> bool {
        path.ancestors().any(|p| self.kept.has_whiteout(p))
    }

    fn make_implied(&mut self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut walked = PathBuf::new();
        let mut at = self.root.open(&walked, flags, 0)?;
        for component in path.components() {
            let name = component.as_os_str();
            walked.push(name);
            let hidden = self.kept.has_whiteout(&walked);
            if hidden {
                let error = |e| sys::Error::new(format!("unlinkat({walked:?})"), e);
                rustix::fs::unlinkat(&at, name, AtFlags::empty()).map_err(error)?;
                self.kept.forget_whiteout(&walked);
                self.must_recount = true;
            }
            match rustix::fs::mkdirat(&at, name, Mode::from(0o700)) {
                Ok(()) => {
                    // What was hidden and is made again has nothing below it.
                    let attributes = if hidden { None } else { self.lower.directory(&walked)? };
                    self.kept.directory(walked.clone(), attributes.unwrap_or_default())?;
                    if hidden {
                        self.make_opaque(&walked)?;
                    }
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(sys::Error::new(format!("mkdirat({walked:?})"), e).into()),
            }
            // From the root again: the name may be a link of this layer.
            at = self.root.open(&walked, flags, 0)?;
        }
        Ok(at)
    }

    fn create(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr, mode: u32) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(dir, name, flags, Mode::from(mode & 0o777));
        match open() {
            Err(Errno::EXIST) => {
                self.remove(dir, path, name)?;
                open()
            }
            other => other,
        }
    }

    /// A later entry of the same name replaces an earlier one, whatever either is.
    fn remove(&mut self, dir: &OwnedFd, path: &Path, name: &OsStr) -> rustix::io::Result<()> {
        self.kept.forget_whiteout(path);
        self.must_recount = true;
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            other => return other,
        }
        self.open.clear();
        self.kept.forget_below(path);
        let whole = sys::root::proc_path(dir.as_fd()).join(name);
        // It opens each level relative to its parent and follows no link below this name.
        std::fs::remove_dir_all(whole).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    }

    fn finish_directories(&mut self) -> Result<()> {
        for (path, attributes) in self.kept.take_directories() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match self.root.open(&path, flags, 0) {
                Ok(fd) => {
                    attributes.apply_to_directory(fd.as_fd()).map_err(|e| with_path(&path, e))?;
                    let stat = rustix::fs::fstat(&fd)
                        .map_err(|e| sys::Error::new(format!("fstat({})", path.display()), e))?;
                    self.usage.add(&stat);
                }
                // A directory on the way to it was replaced by a link later in the layer.
                Err(e)
                    if matches!(
                        Errno::from_raw_os_error(e.errno()),
                        Errno::NOENT | Errno::NOTDIR | Errno::LOOP
                    ) => {}
                Err(e) => return Err(with_path(&path, e)),
            }
        }
        Ok(())
    }

    /// Adds what a finished file or link occupies, in blocks as the file system counts them.
    fn count(&mut self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.usage.add(&stat);
        Ok(())
    }

    /// Adds a device or a whiteout: an inode without blocks.
    fn count_node(&mut self) {
        self.usage.inodes += 1;
    }
}

/// A broken layer.
fn broken(reason: impl Into<String>) -> Error {
    Error::Tar { reason: reason.into() }
}

fn libc_enoent() -> i32 {
    Errno::NOENT.raw_os_error()
}

fn escape(entry: &Entry, what: &'static str) -> Error {
    Error::Escape { entry: entry.display().into_owned(), what }
}

fn call(entry: &Entry, what: &'static str, e: Errno) -> Error {
    Error::Entry { entry: entry.display().into_owned(), what: what.into(), source: e.into() }
}

/// Names the entry in an error of a system call.
fn failed(entry: &Entry, e: impl Into<Error>) -> Error {
    with_path(Path::new(OsStr::from_bytes(&entry.path)), e)
}

fn with_path(path: &Path, e: impl Into<Error>) -> Error {
    match e.into() {
        Error::Sys(e) => {
            let source = std::io::Error::from_raw_os_error(e.errno());
            Error::Entry { entry: path.display().to_string(), what: e.call().to_owned(), source }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
