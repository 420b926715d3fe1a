//! Owner, mode, times and extended attributes, in the order that keeps them: chown clears set-uid and
//! `security.capability`, and everything changes times.

use crate::error::{Error, Result};
use crate::reader::{Entry, Stamp};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// overlayfs's own attributes: a layer that could set them could redirect names to elsewhere.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What is set on an object after it is made.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// The lower twelve bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Access and modification.
    pub times: Option<(Stamp, Stamp)>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Attributes {
    /// Those of an implied directory.
    fn default() -> Self {
        Attributes { mode: 0o755, uid: 0, gid: 0, times: None, xattrs: Vec::new() }
    }
}

impl Attributes {
    /// An entry's.
    pub fn of(entry: &Entry) -> Self {
        let xattrs = entry.xattrs.iter().filter(|(name, _)| is_allowed(name)).cloned().collect();
        let times = Some((entry.atime.unwrap_or(entry.mtime), entry.mtime));
        Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, times, xattrs }
    }

    /// What the attributes hold in memory beside themselves.
    pub fn heap_bytes(&self) -> usize {
        let pair = size_of::<(Vec<u8>, Vec<u8>)>();
        self.xattrs.iter().map(|(name, value)| pair + name.len() + value.len()).sum()
    }

    /// For a new regular file, made with this mode and `umask`, owned by root.
    pub fn apply_to_file(&self, fd: BorrowedFd<'_>, umask: u32) -> Result<()> {
        self.chown(fd)?;
        if self.mode & 0o7000 != 0 || self.mode & 0o777 & umask != 0 {
            rustix::fs::fchmod(fd, Mode::from(self.mode)).map_err(error("fchmod"))?;
        }
        self.apply_rest(fd)
    }

    /// For a folder.
    pub fn apply_to_directory(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.chown(fd)?;
        rustix::fs::fchmod(fd, Mode::from(self.mode)).map_err(error("fchmod"))?;
        self.apply_rest(fd)
    }

    /// For objects that cannot be opened without side effects: links, devices, fifos.
    pub fn apply_to_name(&self, dir: BorrowedFd<'_>, name: &OsStr, has_mode: bool) -> Result<()> {
        if (self.uid, self.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(error("fchownat"))?;
        }
        if has_mode {
            // Just made by us in a directory that nobody else can enter: it is no link.
            rustix::fs::chmodat(dir, name, Mode::from(self.mode), AtFlags::empty())
                .map_err(error("fchmodat"))?;
        }
        if !self.xattrs.is_empty() {
            let path = sys::root::proc_path(dir).join(name);
            for (key, value) in &self.xattrs {
                tolerate(rustix::fs::lsetxattr(&path, key.as_slice(), value, XattrFlags::empty()), key)?;
            }
        }
        match self.timestamps() {
            Some(times) => rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(error("utimensat")),
            None => Ok(()),
        }
    }

    fn chown(&self, fd: BorrowedFd<'_>) -> Result<()> {
        if (self.uid, self.gid) == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(error("fchown"))
    }

    fn apply_rest(&self, fd: BorrowedFd<'_>) -> Result<()> {
        for (key, value) in &self.xattrs {
            tolerate(rustix::fs::fsetxattr(fd, key.as_slice(), value, XattrFlags::empty()), key)?;
        }
        match self.timestamps() {
            Some(times) => rustix::fs::futimens(fd, &times).map_err(error("futimens")),
            None => Ok(()),
        }
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let (access, modification) = self.times?;
        let spec = |s: Stamp| Timespec { tv_sec: s.seconds, tv_nsec: s.nanos.into() };
        Some(Timestamps { last_access: spec(access), last_modification: spec(modification) })
    }
}

/// The attributes of an object of a lower layer. `fd` may be an O_PATH descriptor.
pub fn read(fd: BorrowedFd<'_>) -> Result<Attributes> {
    let stat = rustix::fs::fstat(fd).map_err(error("fstat"))?;
    let path = sys::root::proc_path(fd);
    let mut names = vec![0_u8; 64 << 10];
    let used = match rustix::fs::listxattr(&path, &mut names) {
        Ok(n) => n,
        Err(Errno::OPNOTSUPP) => 0,
        Err(e) => return Err(error("listxattr")(e)),
    };
    let mut xattrs = Vec::new();
    for name in names[..used].split(|b| *b == 0).filter(|n| !n.is_empty() && is_allowed(n)) {
        let mut value = vec![0_u8; 64 << 10];
        let n = rustix::fs::getxattr(&path, name, &mut value).map_err(error("getxattr"))?;
        value.truncate(n);
        xattrs.push((name.to_vec(), value));
    }
    // Their types differ between the kernel's interface and libc's.
    let stamp =
        |seconds, nanos: i128| Stamp { seconds, nanos: u32::try_from(nanos).unwrap_or(UTIME_OMIT as u32) };
    let times = Some((
        stamp(stat.st_atime, stat.st_atime_nsec.into()),
        stamp(stat.st_mtime, stat.st_mtime_nsec.into()),
    ));
    Ok(Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, times, xattrs })
}

/// The process's umask, read without changing it (umask(2) can only swap, which races with threads).
pub fn umask() -> Result<u32> {
    let path = "/proc/self/status";
    let status = std::fs::read_to_string(path).map_err(crate::error::io(format!("cannot read {path}")))?;
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    // Without the line (kernel < 4.7) every mode is set explicitly.
    Ok(line.and_then(|l| u32::from_str_radix(l.trim(), 8).ok()).unwrap_or(0o777))
}

fn is_allowed(name: &[u8]) -> bool {
    !OVERLAY.iter().any(|prefix| name.starts_with(prefix))
}

/// A file system without extended attributes (or a kernel without that security module) drops them,
/// as containerd does.
fn tolerate(result: rustix::io::Result<()>, key: &[u8]) -> Result<()> {
    match result {
        Err(Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(e) => {
            let key = OsStr::from_bytes(key);
            Err(sys::Error::new(format!("setxattr({key:?})"), e).into())
        }
    }
}

fn error(call: &'static str) -> impl Fn(Errno) -> Error {
    move |e| sys::Error::new(format!("{call}()"), e).into()
}
