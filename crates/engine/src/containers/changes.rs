//! `diff`: what a container has changed of its image, by its upper directory and a view of the layers below.
//!
//! A running container may change the tree while it is walked: each folder is opened relative to the one above and
//! never through a link, so that nothing outside is seen. What a start makes for its mounts is no change.

use crate::Engine;
use crate::error::{Error, Kind, Result, errno};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use std::path::PathBuf;

/// Deeper trees are not walked to their end: a path has at most 4096 bytes.
const MAX_DEPTH: usize = 2048;
/// More changes are not listed.
const MAX_CHANGES: usize = 4_000_000;
/// What every container has and no image need have.
pub(super) const GIVEN: [&str; 10] = [
    "/.dockerenv",
    "/dev",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
];

/// How a path was changed, by dockerd's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its content or attributes are others, or of something in it.
    Modified = 0,
    /// It is new.
    Added = 1,
    /// It is gone.
    Deleted = 2,
}

/// A changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute.
    pub path: String,
    /// How.
    pub kind: ChangeKind,
}

impl Engine {
    /// What a container has changed, sorted by path.
    pub fn container_changes(&self, word: &str) -> Result<Vec<Change>> {
        let id = self.state()?.find(word)?.id;
        let snapshots = self.store()?.snapshots();
        let upper = open_at(rustix::fs::CWD, snapshots.upper_dir(&id)?)?;
        let lower = lower_view(&snapshots.parent_dirs(&id)?)?;
        let mut walk = Walk { found: Vec::new(), path: String::new() };
        walk.folder(&upper, lower.as_ref().map(AsFd::as_fd), 0)?;
        walk.found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(walk.found)
    }
}

/// The layers below as one tree, which nobody else sees.
pub(super) fn lower_view(dirs: &[PathBuf]) -> Result<Option<OwnedFd>> {
    match dirs {
        [] => Ok(None),
        [one] => open_at(rustix::fs::CWD, one.clone()).map(Some),
        several => {
            let names: Vec<String> = several.iter().map(|dir| dir.to_string_lossy().into_owned()).collect();
            let options = vec![format!("lowerdir={}", names.join(":")), "ro".to_string()];
            let source = sys::mount::Source::Name("overlay".to_string());
            let mount = sys::mount::Mount { source, target: "".into(), kind: "overlay".to_string(), options };
            Ok(Some(mount.detach()?))
        }
    }
}

pub(super) fn open_at(at: BorrowedFd<'_>, name: PathBuf) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(at, &name, flags, Mode::empty()).map_err(errno(format!("open {}", name.display())))
}

struct Walk {
    found: Vec<Change>,
    path: String,
}

impl Walk {
    /// One folder of the upper directory, and the same of the layers below, if they have it.
    fn folder(&mut self, upper: &OwnedFd, lower: Option<BorrowedFd<'_>>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH || self.found.len() > MAX_CHANGES {
            return Err(Error::new(Kind::Internal, "the container's files are too many or too deep to list"));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(upper).map_err(errno("read a folder"))? {
            let name = entry.map_err(errno("read a folder"))?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        if let Some(lower) = lower.filter(|_| is_opaque(upper)) {
            self.hidden(upper, lower)?;
        }
        let length = self.path.len();
        for name in names {
            // Removed while we looked.
            let Ok(stat) = statat(upper, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            self.path.push('/');
            self.path.push_str(&name.to_string_lossy());
            let below = lower.and_then(|l| statat(l, &name, AtFlags::SYMLINK_NOFOLLOW).ok());
            self.entry(upper, lower, &name, &stat, below.as_ref(), depth)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        upper: &OwnedFd,
        lower: Option<BorrowedFd<'_>>,
        name: &std::ffi::CStr,
        stat: &Stat,
        below: Option<&Stat>,
        depth: usize,
    ) -> Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            if below.is_some() {
                self.note(ChangeKind::Deleted);
            }
            return Ok(());
        }
        if below.is_none()
            && GIVEN.contains(&self.path.as_str())
            && (kind == FileType::Directory || stat.st_size == 0)
        {
            // Made for a mount: only what the container has put into it is a change.
            return if kind == FileType::Directory { self.inside(upper, None, name, depth) } else { Ok(()) };
        }
        let at = self.found.len();
        match below {
            None => self.note(ChangeKind::Added),
            Some(below) if differs(stat, below) => self.note(ChangeKind::Modified),
            Some(_) => {}
        }
        if kind != FileType::Directory {
            return Ok(());
        }
        let same = below.filter(|b| FileType::from_raw_mode(b.st_mode) == FileType::Directory);
        let noted = self.found.len();
        let path = self.path.clone();
        self.inside(upper, lower.filter(|_| same.is_some()), name, depth)?;
        if noted == at && self.found.len() > noted {
            // Something in it has changed, by which it has.
            self.found.push(Change { path, kind: ChangeKind::Modified });
        }
        Ok(())
    }

    fn inside(
        &mut self,
        upper: &OwnedFd,
        lower: Option<BorrowedFd<'_>>,
        name: &std::ffi::CStr,
        depth: usize,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = |at: BorrowedFd<'_>| openat(at, name, flags, Mode::empty());
        let folder = match open(upper.as_fd()) {
            Ok(folder) => folder,
            // It was replaced while we looked.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(e) => return Err(errno(format!("open {}", self.path))(e)),
        };
        let below = lower.and_then(|lower| open(lower).ok());
        self.folder(&folder, below.as_ref().map(AsFd::as_fd), depth + 1)
    }

    /// What an opaque folder hides of the layers below is gone.
    fn hidden(&mut self, upper: &OwnedFd, lower: BorrowedFd<'_>) -> Result<()> {
        let length = self.path.len();
        for entry in Dir::read_from(lower).map_err(errno("read a folder"))? {
            let name = entry.map_err(errno("read a folder"))?.file_name().to_owned();
            let shown = statat(upper, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            if !shown && !matches!(name.to_bytes(), b"." | b"..") {
                self.path.push('/');
                self.path.push_str(&name.to_string_lossy());
                self.note(ChangeKind::Deleted);
                self.path.truncate(length);
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: ChangeKind) {
        self.found.push(Change { path: self.path.clone(), kind });
    }
}

/// By dockerd's measure: the times of folders do not count.
fn differs(a: &Stat, b: &Stat) -> bool {
    let folder = FileType::from_raw_mode(a.st_mode) == FileType::Directory;
    let content = |s: &Stat| (s.st_size, s.st_mtime, s.st_mtime_nsec);
    (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev)
        || (!folder && content(a) != content(b))
}

fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0u8; 4];
    let length = rustix::fs::fgetxattr(folder, "trusted.overlay.opaque", &mut value[..]);
    length.is_ok_and(|n| value.get(..n) == Some(b"y"))
}
