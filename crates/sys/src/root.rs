//! Paths inside a foreign root (a container's, an image's), resolved by the kernel.
//!
//! Whatever such a tree contains (symbolic links to `/etc`, `..`, magic links) must not lead out
//! of it. openat2(2) with RESOLVE_IN_ROOT does that in one step and without races; no string is
//! ever joined and checked here.

use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// An open directory that is taken as `/`.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// openat2 gives EAGAIN when a rename races with a `..`; the kernel asks to try again.
const TRIES: usize = 128;
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Opens the directory at `path` (the caller's path, trusted).
    pub fn open_dir(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| Error::new(format!("open({path:?}, O_PATH)"), e))?;
        Ok(Self(fd))
    }

    /// Takes an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens `path` below the root. Absolute paths and links start at the root.
    pub fn open(&self, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        resolve(self.0.as_fd(), path, flags, mode)
            .map_err(|e| Error::new(format!("openat2({path:?}, IN_ROOT)"), e))
    }

    /// Opens `path` as an O_PATH descriptor, following links.
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH, 0)
    }

    /// Opens `path` as an O_PATH descriptor; a link at its end is opened itself.
    pub fn resolve_no_follow(&self, path: &Path) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::NOFOLLOW, 0)
    }

    /// Opens the directory `path`, making what is missing (mode before umask) and following
    /// links inside the root.
    pub fn mkdir_all(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Err(e) if e.errno() == libc::ENOENT => {}
            other => return other,
        }
        let mut walked = PathBuf::new();
        let mut at = self.open(Path::new("."), OFlags::PATH | OFlags::DIRECTORY, 0)?;
        for part in path.components() {
            match part {
                Component::Normal(name) => {
                    walked.push(name);
                    match mkdirat(&at, name, Mode::from(mode)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(Error::new(format!("mkdirat({walked:?})"), e)),
                    }
                }
                Component::ParentDir => walked.push(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            }
            // From the root again, so that a link or `..` is resolved within it.
            at = self.open(&walked, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        }
        Ok(at)
    }

    /// Opens the parent directory of `path` (making it with `mode` when missing) and returns it
    /// with the last name. `None` as name: `path` is the root itself or ends in `..`.
    pub fn parent(&self, path: &Path, mode: Option<u32>) -> Result<(OwnedFd, Option<OsString>)> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Ok((self.resolve(path)?, None));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let fd = match mode {
            Some(mode) => self.mkdir_all(parent, mode)?,
            None => self.open(parent, OFlags::PATH | OFlags::DIRECTORY, 0)?,
        };
        Ok((fd, Some(name.to_os_string())))
    }

    /// Makes an empty file at `path`, with its parents, unless something is there; returns an
    /// O_PATH descriptor of what is there then.
    pub fn ensure_file(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        match self.resolve(path) {
            Err(e) if e.errno() == libc::ENOENT => {}
            other => return other,
        }
        let (parent, name) = self.parent(path, Some(0o755))?;
        let name = name.ok_or_else(|| Error::new(format!("create({path:?})"), Errno::ISDIR))?;
        create_file(parent.as_fd(), &name, mode)?;
        self.resolve(path)
    }

    /// The root itself.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kind of file behind a descriptor.
pub fn file_type(fd: BorrowedFd<'_>) -> Result<FileType> {
    let stat = rustix::fs::fstat(fd).map_err(|e| Error::new("fstat()", e))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// The path by which a descriptor can be handed to calls that only take paths.
pub fn proc_path(fd: BorrowedFd<'_>) -> PathBuf {
    use rustix::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn create_file(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::from(mode)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(Error::new(format!("openat({name:?}, O_CREAT)"), e)),
    }
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: u32) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { OsStr::from_bytes(b".") } else { path.as_os_str() };
    for _ in 0..TRIES {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::from(mode), IN_ROOT) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let base = std::env::temp_dir().join(format!("tare-root-{}", std::process::id()));
        let inside = base.join("root");
        std::fs::create_dir_all(inside.join("a")).unwrap();
        std::fs::write(base.join("secret"), "x").unwrap();
        for (name, target) in
            [("up", "../secret"), ("abs", "/secret"), ("dir", "../../../.."), ("loop", "loop")]
        {
            symlink(target, inside.join(name)).unwrap();
        }
        let root = Root::open_dir(&inside).unwrap();
        for path in ["up", "abs", "../secret", "/../secret", "a/../../secret", "dir/secret"] {
            let e = root.resolve(Path::new(path)).unwrap_err();
            assert_eq!(e.errno(), libc::ENOENT, "{path}");
        }
        assert_eq!(root.resolve(Path::new("loop")).unwrap_err().errno(), libc::ELOOP);
        root.mkdir_all(Path::new("dir/new/deep"), 0o755).unwrap();
        assert!(inside.join("new/deep").is_dir(), "the link's `..` ends at the root");
        root.ensure_file(Path::new("/x/y/file"), 0o644).unwrap();
        assert!(inside.join("x/y/file").is_file());
        std::fs::remove_dir_all(base).unwrap();
    }
}
