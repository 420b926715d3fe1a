//! Masked and read-only paths (config-linux.md).
//!
//! A masked file gets the container's /dev/null on top, by a descriptor whose device number was looked at: it
//! could have been exchanged (CVE-2025-31133). All masked folders share one empty read-only tmpfs.

use super::{Rootfs, linux, mounts};
use crate::error::{Error, Result, What};
use rustix::fs::{FileType, Mode, OFlags, fstat, makedev};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::mount::{attach_detached_fd, open_tree_clone};
use sys::trace;

impl Rootfs<'_> {
    pub(super) fn restrict_paths(&self) -> Result<()> {
        let Some(linux) = linux(self.spec) else { return Ok(()) };
        if !linux.readonly_paths.is_empty() {
            let mut step = trace::step("read-only paths", "mount_setattr(2)");
            step.note(format_args!("{} paths", linux.readonly_paths.len()));
            for path in &linux.readonly_paths {
                step.check(
                    self.read_only_path(path).map_err(|e| e.context(format!("read-only path {path:?}"))),
                )?;
            }
        }
        if !linux.masked_paths.is_empty() {
            let mut step = trace::step("masked paths", "move_mount(2)");
            step.note(format_args!("{} paths", linux.masked_paths.len()));
            let mut masks = Masks::default();
            for path in &linux.masked_paths {
                step.check(
                    self.mask(path, &mut masks).map_err(|e| e.context(format!("masked path {path:?}"))),
                )?;
            }
        }
        Ok(())
    }

    fn read_only_path(&self, path: &Path) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let tree = open_tree_clone(target.as_fd(), Path::new(""), true)?;
        mounts::place_read_only(tree.as_fd(), target.as_fd())
    }

    fn mask(&self, path: &Path, masks: &mut Masks) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let is_folder = FileType::from_raw_mode(fstat(&target).what(|| "fstat()")?.st_mode).is_dir();
        if is_folder {
            return masks.cover_folder(&target);
        }
        let tree = open_tree_clone(masks.file(self)?.as_fd(), Path::new(""), false)?;
        Ok(attach_detached_fd(tree.as_fd(), target.as_fd())?)
    }

    /// `None` for a path that is not there (this kernel lacks it).
    fn existing(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match self.root.resolve(path) {
            Ok(fd) => Ok(Some(fd)),
            Err(e) if [Errno::NOENT, Errno::NOTDIR].iter().any(|n| n.raw_os_error() == e.errno()) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// What is put over masked paths, made when first needed.
#[derive(Default)]
struct Masks {
    file: Option<OwnedFd>,
    /// Attached over the first masked folder.
    folder: Option<OwnedFd>,
}

impl Masks {
    /// The container's own null device, the host's where the container has none.
    fn file(&mut self, rootfs: &Rootfs<'_>) -> Result<&OwnedFd> {
        if self.file.is_none() {
            let own = rootfs.existing(Path::new("/dev/null"))?;
            self.file = Some(match own {
                Some(fd) if is_null_device(&fd)? => fd,
                _ => host_null()?,
            });
        }
        self.file.as_ref().ok_or_else(|| Error::kernel("/dev/null", Errno::NODEV))
    }

    /// The first folder gets the tmpfs itself, the others clones of it: before Linux 6.15 a mount can be cloned only
    /// when it is attached in the caller's mount namespace.
    fn cover_folder(&mut self, target: &OwnedFd) -> Result<()> {
        if let Some(attached) = &self.folder {
            let tree = open_tree_clone(attached.as_fd(), Path::new(""), false)?;
            return Ok(attach_detached_fd(tree.as_fd(), target.as_fd())?);
        }
        let fd = mounts::detached("tmpfs", "tmpfs", "")?;
        mounts::place_read_only(fd.as_fd(), target.as_fd())?;
        self.folder = Some(fd);
        Ok(())
    }
}

fn host_null() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open("/dev/null", flags, Mode::empty()).what(|| "open(/dev/null)")?;
    if !is_null_device(&fd)? {
        return Err(Error::kernel("the host's /dev/null is not the null device", Errno::NODEV));
    }
    Ok(fd)
}

fn is_null_device(fd: &OwnedFd) -> Result<bool> {
    let stat = fstat(fd).what(|| "fstat(/dev/null)")?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == makedev(1, 3))
}
