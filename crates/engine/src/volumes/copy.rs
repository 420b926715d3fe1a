//! Copies a folder of an image into a volume: contents, owners, modes, times, extended attributes, hard links.
//!
//! Everything is done at descriptors; no link in either tree is followed, so that neither an image nor a container
//! that has the volume already can lead the copy elsewhere.

use crate::error::{Error, Kind, Result, errno};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat,
    readlinkat, sendfile, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::root::Root;

/// A folder nested deeper than this is not copied but refused: each level holds descriptors and stack.
const DEPTH_MAX: usize = 100;
/// The longest value of an extended attribute (XATTR_SIZE_MAX) and of their names together (XATTR_LIST_MAX).
const XATTR_MAX: usize = 65_536;

/// Copies the content of `from` and then its own attributes to `to`; whether there was any content.
pub(super) fn folder(from: &OwnedFd, to: &OwnedFd) -> Result<bool> {
    let mut copy = Copy { root: Root::from_fd(reopen(to.as_fd())?), links: HashMap::new() };
    let any = copy.content(from, to, Path::new(""), 0)?;
    attributes(from.as_fd(), to.as_fd())?;
    Ok(any)
}

/// Opens a folder by its descriptor for reading.
pub(super) fn reopen(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    open_folder(fd, c".")
}

/// Whether a folder has nothing in it.
pub(super) fn is_empty(folder: &OwnedFd) -> Result<bool> {
    for entry in Dir::read_from(folder).map_err(errno("read the volume"))? {
        let entry = entry.map_err(errno("read the volume"))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The bytes of all files in a folder, as dockerd counts them: sizes, each inode once. What cannot be read is 0.
pub(super) fn content_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut seen) = (0u64, std::collections::HashSet::new());
    let mut pending = vec![folder.to_path_buf()];
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                pending.push(entry.path());
            } else if seen.insert((meta.dev(), meta.ino())) {
                bytes = bytes.saturating_add(meta.len());
            }
        }
    }
    bytes
}

struct Copy {
    root: Root,
    /// Files with several names, by where the first of them was put.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy {
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path, depth: usize) -> Result<bool> {
        if depth > DEPTH_MAX {
            let text = format!("cannot fill the volume: folders more than {DEPTH_MAX} deep");
            return Err(Error::new(Kind::NotImplemented, text));
        }
        let mut any = false;
        for entry in Dir::read_from(from).map_err(errno("read the image's folder"))? {
            let entry = entry.map_err(errno("read the image's folder"))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            any = true;
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            self.one(from, to, name, &path, depth).map_err(|e| Error {
                message: format!("copy {} to the volume: {}", path.display(), e.message),
                ..e
            })?;
        }
        Ok(any)
    }

    fn one(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &Path, depth: usize) -> Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(errno("stat"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            match mkdirat(to, name, Mode::from(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(errno("mkdir")(e)),
            }
            let (from, to) = (open_folder(from.as_fd(), name)?, open_folder(to.as_fd(), name)?);
            self.content(&from, &to, path, depth + 1)?;
            return attributes(from.as_fd(), to.as_fd());
        }
        // What an interrupted copy has left of it.
        match unlinkat(to, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(errno("unlink")(e)),
        }
        if stat.st_nlink > 1 {
            let key = (stat.st_dev as u64, stat.st_ino as u64);
            if let Some(first) = self.links.get(&key) {
                return self.link(first, to, name);
            }
            self.links.insert(key, path.to_path_buf());
        }
        match kind {
            FileType::RegularFile => return file(from, to, name, &stat),
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new()).map_err(errno("readlink"))?;
                symlinkat(target, to, name).map_err(errno("symlink"))?;
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                mknodat(to, name, kind, mode, stat.st_rdev).map_err(errno("mknod"))?;
            }
        }
        let (uid, gid) = owner(&stat);
        chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(errno("chown"))?;
        if kind != FileType::Symlink {
            chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
                .map_err(errno("chmod"))?;
        }
        utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW).map_err(errno("utimensat"))
    }

    fn link(&self, first: &Path, to: &OwnedFd, name: &CStr) -> Result<()> {
        let file = self.root.resolve_no_follow(first)?;
        let path = sys::root::proc_path(file.as_fd());
        linkat(rustix::fs::CWD, &path, to, name, AtFlags::SYMLINK_FOLLOW).map_err(errno("link"))
    }
}

fn file(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = openat(from, name, read, Mode::empty()).map_err(errno("open"))?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = openat(to, name, write, Mode::from(0o600)).map_err(errno("create"))?;
    let mut left = u64::try_from(stat.st_size).unwrap_or(0);
    while left > 0 {
        let chunk = usize::try_from(left.min(1 << 30)).unwrap_or(usize::MAX);
        match sendfile(&target, &source, None, chunk).map_err(errno("write"))? {
            0 => break,
            n => left -= n as u64,
        }
    }
    attributes(source.as_fd(), target.as_fd())
}

/// Owner, mode, extended attributes and times of one file or folder onto another.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = fstat(from).map_err(errno("stat"))?;
    let (uid, gid) = owner(&stat);
    fchown(to, Some(uid), Some(gid)).map_err(errno("chown"))?;
    // After chown, which clears set-id bits.
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(errno("chmod"))?;
    extended(from, to)?;
    futimens(to, &times(&stat)).map_err(errno("futimens"))
}

fn extended(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let mut names = vec![0u8; XATTR_MAX];
    let len = match flistxattr(from, &mut names[..]) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(()),
        other => other.map_err(errno("listxattr"))?,
    };
    let mut value = vec![0u8; XATTR_MAX];
    for name in names[..len].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let Ok(name) = CString::new(name) else { continue };
        let len = fgetxattr(from, &name, &mut value[..]).map_err(errno("getxattr"))?;
        match fsetxattr(to, &name, &value[..len], XattrFlags::empty()) {
            // The volume's file system has none, or labels are another's business.
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(e) => return Err(errno("setxattr")(e)),
        }
    }
    Ok(())
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}

fn open_folder(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).map_err(errno(format!("open {}", name.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_tree_is_copied_with_all_that_belongs_to_it() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        std::fs::create_dir_all(from.join("sub")).unwrap();
        std::fs::create_dir_all(&to).unwrap();
        std::fs::write(from.join("sub/file"), "content").unwrap();
        std::fs::hard_link(from.join("sub/file"), from.join("hard")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        std::fs::set_permissions(from.join("sub/file"), std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o1750)).unwrap();
        // What an interrupted copy may leave.
        std::fs::create_dir(to.join("sub")).unwrap();
        std::fs::write(to.join("sub/file"), "con").unwrap();
        let open = |path: &Path| {
            openat(rustix::fs::CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        assert!(!is_empty(&open(&from)).unwrap());
        assert!(folder(&open(&from), &open(&to)).unwrap());
        assert_eq!(std::fs::read_to_string(to.join("sub/file")).unwrap(), "content");
        let (file, hard) = (to.join("sub/file").metadata().unwrap(), to.join("hard").metadata().unwrap());
        assert_eq!((file.ino(), file.mode() & 0o7777), (hard.ino(), 0o640));
        assert_eq!(file.mtime_nsec(), from.join("sub/file").metadata().unwrap().mtime_nsec());
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(to.metadata().unwrap().mode() & 0o7777, 0o1750);
        assert_eq!(content_bytes(&to), 7 + 11);
    }
}
