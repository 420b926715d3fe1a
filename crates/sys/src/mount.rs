//! Mounts: the value that storage hands to execution, and the calls rustix lacks.

use crate::{Error, Result, check};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    move_mount, open_tree,
};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

/// Where a mount's content comes from.
#[derive(Debug)]
pub enum Source {
    /// A name that the file system interprets or ignores ("overlay", "tmpfs").
    Name(String),
    /// A path in the caller's mount namespace.
    Path(PathBuf),
    /// A detached mount ([`open_tree_clone`]), to be moved into place.
    Fd(OwnedFd),
}

/// A mount that somebody else will make: what a snapshotter returns and the runtime executes.
#[derive(Debug)]
pub struct Mount {
    /// What to mount.
    pub source: Source,
    /// Where, relative to the root that is being built; empty for the root itself.
    pub target: PathBuf,
    /// The file system's type, or "bind" (or "rbind").
    pub kind: String,
    /// The file system's own options (`lowerdir=…`), and `ro`.
    pub options: Vec<String>,
}

/// mount(2) takes one page of options.
const MAX_DATA: usize = 4095;

impl Mount {
    /// Makes the mount at `at`, which the caller has resolved from `target`.
    pub fn attach(&self, at: &Path) -> Result<()> {
        let read_only = self.options.iter().any(|o| o == "ro");
        match &self.source {
            Source::Fd(fd) => attach_detached(fd.as_fd(), at, read_only),
            Source::Path(path) if self.kind == "bind" || self.kind == "rbind" => {
                let tree = open_tree_clone(rustix::fs::CWD, path, self.kind == "rbind")?;
                attach_detached(tree.as_fd(), at, read_only)
            }
            Source::Path(path) => self.attach_file_system(&path.to_string_lossy(), at, read_only),
            Source::Name(name) => self.attach_file_system(name, at, read_only),
        }
    }

    fn attach_file_system(&self, source: &str, at: &Path, read_only: bool) -> Result<()> {
        let options: Vec<&str> =
            self.options.iter().map(String::as_str).filter(|o| *o != "ro" && *o != "rw").collect();
        let data = options.join(",");
        if data.len() > MAX_DATA {
            let tree = self.detached(source, &options, read_only)?;
            return attach_detached(tree.as_fd(), at, false);
        }
        let call = || format!("mount({source:?}, {at:?}, {:?}, {data:?})", self.kind);
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        let text = CString::new(data.as_str()).map_err(|_| Error::new(call(), rustix::io::Errno::INVAL))?;
        mount(source, at, self.kind.as_str(), flags, text.as_c_str()).map_err(|e| Error::new(call(), e))
    }

    /// Makes the mount of a file system without attaching it anywhere: a root that nobody else sees.
    pub fn detach(&self) -> Result<OwnedFd> {
        let read_only = self.options.iter().any(|o| o == "ro");
        let options: Vec<&str> =
            self.options.iter().map(String::as_str).filter(|o| *o != "ro" && *o != "rw").collect();
        match &self.source {
            Source::Name(name) => self.detached(name, &options, read_only),
            Source::Path(path) => self.detached(&path.to_string_lossy(), &options, read_only),
            Source::Fd(_) => Err(Error::new("fsmount() of a detached mount", rustix::io::Errno::INVAL)),
        }
    }

    /// The same through the mount API, for options longer than a page. `lowerdir=a:b` is given as
    /// one `lowerdir+` per layer (kernel 6.5); older kernels say that they do not know it.
    fn detached(&self, source: &str, options: &[&str], read_only: bool) -> Result<OwnedFd> {
        let err = |call: String| move |e| Error::new(call, e);
        let fs = fsopen(self.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(err(format!("fsopen({:?})", self.kind)))?;
        fsconfig_set_string(fs.as_fd(), "source", source)
            .map_err(err(format!("fsconfig(source, {source:?})")))?;
        for option in options {
            match option.split_once('=') {
                Some(("lowerdir", layers)) => set_layers(fs.as_fd(), layers)?,
                Some((key, value)) => fsconfig_set_string(fs.as_fd(), key, value)
                    .map_err(err(format!("fsconfig({key}, {value:?})")))?,
                None => fsconfig_set_flag(fs.as_fd(), *option).map_err(err(format!("fsconfig({option})")))?,
            }
        }
        fsconfig_create(fs.as_fd()).map_err(err(format!("fsconfig({:?}, CREATE)", self.kind)))?;
        let attributes = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(err(format!("fsmount({:?})", self.kind)))
    }
}

/// One by one, which Linux 6.5 has brought; before, in one text, which may not be longer than that call's limit.
fn set_layers(fs: BorrowedFd<'_>, layers: &str) -> Result<()> {
    for (at, layer) in layers.split(':').enumerate() {
        match fsconfig_set_string(fs, "lowerdir+", layer) {
            Err(rustix::io::Errno::INVAL) if at == 0 => {
                return fsconfig_set_string(fs, "lowerdir", layers)
                    .map_err(|e| Error::new(format!("fsconfig(lowerdir, {layers:?})"), e));
            }
            set => set.map_err(|e| Error::new(format!("fsconfig(lowerdir+, {layer:?})"), e))?,
        }
    }
    Ok(())
}

/// Clones the mount at `path` (with those below it when `recursive`) as a detached tree.
pub fn open_tree_clone(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    open_tree(dir, path, flags).map_err(|e| Error::new(format!("open_tree({path:?}, CLONE)"), e))
}

/// Moves a detached tree to `at`.
pub fn attach_detached(tree: BorrowedFd<'_>, at: &Path, read_only: bool) -> Result<()> {
    let mut after = false;
    if read_only {
        match mount_setattr(tree, c"", true, false, MOUNT_ATTR_RDONLY, 0, None) {
            // Before Linux 5.12 only what has a place can be changed.
            Err(e) if is_missing(&e) => after = true,
            other => other?,
        }
    }
    move_mount(tree, "", rustix::fs::CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| Error::new(format!("move_mount({at:?})"), e))?;
    if after {
        rustix::mount::mount_remount(at, MountFlags::BIND | MountFlags::RDONLY, c"")
            .map_err(|e| Error::new(format!("mount({at:?}, REMOUNT | BIND | RDONLY)"), e))?;
    }
    Ok(())
}

/// Whether the kernel has no such system call.
fn is_missing(e: &Error) -> bool {
    e.errno() == rustix::io::Errno::NOSYS.raw_os_error()
}

/// Moves a detached tree onto the file or folder that `target` (an O_PATH descriptor) is.
pub fn attach_detached_fd(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags).map_err(|e| Error::new("move_mount(fd, fd)", e))
}

/// MOUNT_ATTR_RDONLY.
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
/// MOUNT_ATTR_NOSUID.
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
/// MOUNT_ATTR_NODEV.
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
/// MOUNT_ATTR_NOEXEC.
pub const MOUNT_ATTR_NOEXEC: u64 = 0x8;
/// MOUNT_ATTR__ATIME: the mask of the three access-time modes.
pub const MOUNT_ATTR_ATIME_MASK: u64 = 0x70;
/// MOUNT_ATTR_NOATIME.
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
/// MOUNT_ATTR_STRICTATIME.
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
/// MOUNT_ATTR_NODIRATIME.
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
/// MOUNT_ATTR_NOSYMFOLLOW.
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

/// mount_setattr(2) on `dir`/`path` (empty `path` and `dir_itself`: the tree that `dir` is).
/// `idmap` is a user namespace whose mapping the mount shall have.
pub fn mount_setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    dir_itself: bool,
    recursive: bool,
    set: u64,
    clear: u64,
    idmap: Option<BorrowedFd<'_>>,
) -> Result<()> {
    setattr(
        dir,
        path,
        dir_itself,
        recursive,
        &Attributes {
            set: set | if idmap.is_some() { MOUNT_ATTR_IDMAP } else { 0 },
            clear,
            propagation: 0,
            userns_fd: idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
        },
    )
}

/// Whether the kernel has mount_setattr(2): without it nothing below a mount can be made read-only with it.
pub fn has_setattr() -> bool {
    // Asked to change nothing, it does nothing.
    !matches!(setattr(rustix::fs::CWD, c"/", false, false, &Attributes::default()), Err(e) if is_missing(&e))
}

/// Changes the propagation (MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE as in mount(2)) of a tree.
pub fn set_propagation(path: &CStr, propagation: u64, recursive: bool) -> Result<()> {
    let attributes = Attributes { propagation, ..Attributes::default() };
    match setattr(rustix::fs::CWD, path, false, recursive, &attributes) {
        Err(e) if is_missing(&e) => {
            let recursively =
                if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
            let flags = MountPropagationFlags::from_bits_retain(propagation as _) | recursively;
            rustix::mount::mount_change(path, flags)
                .map_err(|e| Error::new(format!("mount({path:?}, {flags:?})"), e))
        }
        other => other,
    }
}

#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    dir_itself: bool,
    recursive: bool,
    attributes: &Attributes,
) -> Result<()> {
    let mut flags = 0;
    if dir_itself {
        flags |= libc::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a string and `attributes` a struct mount_attr of the given size; both outlive the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    check(ret, || format!("mount_setattr({path:?}, {attributes:x?})")).map(drop)
}
