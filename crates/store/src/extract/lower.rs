//! Looking things up in the layers below, without mounting them.

use super::attributes::{self, Attributes};
use crate::error::{Error, Result, errno};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use sys::root::{Root, file_type};

/// The trees below a layer, top first.
pub(super) struct Lower(Vec<PathBuf>);

impl Lower {
    pub(super) fn new(trees: &[PathBuf]) -> Self {
        Lower(trees.to_vec())
    }

    /// The attributes of a directory as a container would see it; `None` when there is none.
    pub(super) fn directory(&self, path: &Path) -> Result<Option<Attributes>> {
        match self.find(path)? {
            Some((_, fd)) if file_type(fd.as_fd())? == FileType::Directory => {
                Ok(Some(attributes::read(fd.as_fd())?))
            }
            _ => Ok(None),
        }
    }

    /// A regular file, open for reading.
    pub(super) fn file(&self, path: &Path) -> Result<Option<(File, Attributes)>> {
        let Some((tree, fd)) = self.find(path)? else { return Ok(None) };
        if file_type(fd.as_fd())? != FileType::RegularFile {
            return Ok(None);
        }
        let attributes = attributes::read(fd.as_fd())?;
        let file = Root::open_dir(tree)?.open(path, OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
        Ok(Some((file.into(), attributes)))
    }

    /// The names in all roots.
    pub(super) fn names(&self) -> Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for tree in &self.0 {
            let fd = Root::open_dir(tree)?.open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
            for entry in rustix::fs::Dir::new(fd).map_err(errno("cannot list a layer"))? {
                let name = entry.map_err(errno("cannot list a layer"))?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.insert(OsString::from_vec(name));
                }
            }
        }
        Ok(names)
    }

    /// The topmost object of that name. A whiteout on the way ends the search in its layer with
    /// ENOTDIR, at the end it is found itself (as the device that it is).
    fn find(&self, path: &Path) -> Result<Option<(&Path, OwnedFd)>> {
        for tree in &self.0 {
            match Root::open_dir(tree)?.resolve_no_follow(path) {
                Ok(fd) => return Ok(Some((tree, fd))),
                Err(e) => match Errno::from_raw_os_error(e.errno()) {
                    Errno::NOENT => {}
                    Errno::NOTDIR | Errno::LOOP => return Ok(None),
                    _ => return Err(Error::Sys(e)),
                },
            }
        }
        Ok(None)
    }
}
