//! A walk through a tree in the order of its names, a folder before what is in it.
//!
//! Only the innermost folders are kept open, so that no depth of a tree exhausts descriptors; a folder that was
//! closed is opened again by its path below the tree's root, which the kernel keeps inside. The names of the
//! folders on the way are bounded in bytes.

use crate::error::{Error, Result, errno};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use sys::root::Root;

/// So many folders are open at once.
const MAX_OPEN: usize = 64;
/// The names of all folders on the way to where the walk is: a folder with a million files and more.
const MAX_NAME_BYTES: usize = 256 << 20;
const NAME_OVERHEAD: usize = 48;

/// Opens a folder for reading, itself and no link.
pub(crate) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A step of the walk.
pub(crate) struct Found {
    /// Below the tree's root.
    pub(crate) path: PathBuf,
    /// The folder that it is in.
    pub(crate) folder: Rc<OwnedFd>,
    /// Its name there.
    pub(crate) name: CString,
    pub(crate) stat: Stat,
}

struct Frame {
    path: PathBuf,
    folder: Option<Rc<OwnedFd>>,
    names: std::vec::IntoIter<CString>,
    bytes: usize,
}

/// The walk. What vanishes while it is under way is passed over.
pub(crate) struct Walk {
    root: Root,
    frames: Vec<Frame>,
    bytes: usize,
}

impl Walk {
    /// `folder` is where it starts; it is not itself a step.
    pub(crate) fn new(folder: OwnedFd) -> Result<Self> {
        let copy = rustix::io::fcntl_dupfd_cloexec(&folder, 0).map_err(errno("dup()"))?;
        let mut walk = Walk { root: Root::from_fd(copy), frames: Vec::new(), bytes: 0 };
        walk.push(PathBuf::new(), folder)?;
        Ok(walk)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Found>> {
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            let Some(name) = frame.names.next() else {
                self.bytes -= frame.bytes;
                self.frames.pop();
                continue;
            };
            let path = frame.path.join(OsStr::from_bytes(name.to_bytes()));
            let folder = match &frame.folder {
                Some(folder) => Rc::clone(folder),
                None => match self.root.open(&frame.path, FOLDER, 0) {
                    Ok(fd) => Rc::clone(frame.folder.insert(Rc::new(fd))),
                    Err(e) if is_gone(e.errno()) => continue,
                    Err(e) => return Err(e.into()),
                },
            };
            match statat(&*folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => return Ok(Some(Found { path, folder, name, stat })),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(errno(format!("cannot stat {}", path.display()))(e)),
            }
        }
    }

    /// Goes into a folder that was just found. False: it is none any more.
    pub(crate) fn enter(&mut self, found: &Found) -> Result<bool> {
        match openat(&*found.folder, &found.name, FOLDER, Mode::empty()) {
            Ok(folder) => self.push(found.path.clone(), folder).map(|()| true),
            Err(e) if is_gone(e.raw_os_error()) => Ok(false),
            Err(e) => Err(errno(format!("cannot open {}", found.path.display()))(e)),
        }
    }

    fn push(&mut self, path: PathBuf, folder: OwnedFd) -> Result<()> {
        let (names, bytes) = names(&folder, &path, MAX_NAME_BYTES - self.bytes)?;
        self.bytes += bytes;
        if let Some(outer) = self.frames.len().checked_sub(MAX_OPEN) {
            self.frames[outer].folder = None;
        }
        let folder = Some(Rc::new(folder));
        self.frames.push(Frame { path, folder, names: names.into_iter(), bytes });
        Ok(())
    }
}

/// The names in a folder, sorted, and what they take.
pub(crate) fn names(folder: &OwnedFd, path: &std::path::Path, room: usize) -> Result<(Vec<CString>, usize)> {
    let failed = |e| errno(format!("cannot read folder {}", path.display()))(e);
    let (mut names, mut bytes) = (Vec::new(), 0);
    for entry in Dir::read_from(folder).map_err(failed)? {
        let name: CString = entry.map_err(failed)?.file_name().to_owned();
        if !is_dots(&name) {
            bytes += name.as_bytes().len() + NAME_OVERHEAD;
            if bytes > room {
                return Err(Error::Limit { what: "the names in a folder", limit: MAX_NAME_BYTES as u64 });
            }
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok((names, bytes))
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Somebody removed or replaced it.
fn is_gone(code: i32) -> bool {
    matches!(Errno::from_raw_os_error(code), Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}
