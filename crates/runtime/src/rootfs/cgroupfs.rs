//! The container's view of its cgroups (config-linux.md, "cgroup mount"): one cgroup2 mount on v2; on v1
//! and hybrid a tmpfs with a folder per hierarchy, mounted anew inside a cgroup namespace, or bound from the
//! container's own group without one.

use super::Rootfs;
use super::mounts;
use super::options::{Attributes, Options};
use crate::error::{Error, Kind, Result, What};
use cgroup::{Hierarchy, Layout, Version};
use oci::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount as mount2};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use sys::root::proc_path;

const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

pub(super) fn mount(rootfs: &mut Rootfs<'_>, wanted: &Mount, options: &Options) -> Result<()> {
    let layout = Layout::detect(Path::new("/"))
        .map_err(|e| Error::new(Kind::Unsupported, format!("cgroup mount: {e}")))?;
    if layout.version() == Version::V2 || wanted.kind == "cgroup2" {
        let own = layout.unified.as_ref().map(group_folder);
        return unified(rootfs, wanted, options, own.as_deref());
    }
    let target = rootfs.root.mkdir_all(&wanted.destination, 0o755)?;
    mount2("tmpfs", proc_path(target.as_fd()), "tmpfs", FLAGS, c"mode=755")
        .what(|| "mount the cgroup tmpfs")?;
    let tmpfs = rootfs.root.open(&wanted.destination, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    // As runc: the unified hierarchy of a hybrid machine is not shown, the tmpfs itself stays writable.
    for hierarchy in &layout.legacy {
        let name = hierarchy.mount.file_name().unwrap_or(OsStr::new("cgroup"));
        one(rootfs, &tmpfs, name, hierarchy, options)?;
        for controller in names(hierarchy).filter(|controller| OsStr::new(controller) != name) {
            match symlinkat(name, &tmpfs, controller) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::kernel(format!("symlinkat({controller})"), e)),
            }
        }
    }
    Ok(())
}

fn unified(rootfs: &Rootfs<'_>, wanted: &Mount, options: &Options, own: Option<&Path>) -> Result<()> {
    let target = rootfs.root.mkdir_all(&wanted.destination, 0o755)?;
    let data = CString::new(options.data.as_str())
        .map_err(|_| Error::new(Kind::Invalid, "NUL byte in an option"))?;
    let flags = options.mount_flags(false);
    match mount2("cgroup", proc_path(target.as_fd()), "cgroup2", flags, data.as_c_str()) {
        Ok(()) => Ok(()),
        // A user namespace without a cgroup namespace of its own may only bind.
        Err(Errno::PERM | Errno::BUSY) if own.is_some() => {
            let tree = sys::mount::open_tree_clone(CWD, own.unwrap_or(Path::new("/")), true)?;
            mounts::place_with(tree.as_fd(), target.as_fd(), options.attributes)
        }
        Err(e) => Err(Error::kernel("mount cgroup2", e)),
    }
}

fn one(
    rootfs: &Rootfs<'_>,
    tmpfs: &OwnedFd,
    name: &OsStr,
    hierarchy: &Hierarchy,
    options: &Options,
) -> Result<()> {
    mkdirat(tmpfs, name, Mode::from(0o755)).what(|| format!("mkdirat({name:?})"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(tmpfs, name, flags, Mode::empty()).what(|| format!("openat({name:?})"))?;
    if rootfs.cgroup_namespace {
        let (kind, data) = fresh(hierarchy);
        let read_only = if options.is_read_only() { MountFlags::RDONLY } else { MountFlags::empty() };
        let data =
            CString::new(data).map_err(|_| Error::new(Kind::Invalid, "NUL byte in a hierarchy's name"))?;
        return mount2("cgroup", proc_path(folder.as_fd()), kind, FLAGS | read_only, data.as_c_str())
            .what(|| format!("mount {kind} ({data:?})"));
    }
    let tree = sys::mount::open_tree_clone(CWD, &group_folder(hierarchy), false)?;
    let read_only = if options.is_read_only() { MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | read_only;
    mounts::place_with(tree.as_fd(), folder.as_fd(), Attributes { set: attributes, clear: 0 })
}

/// Type and options that mount this hierarchy once more.
fn fresh(hierarchy: &Hierarchy) -> (&'static str, String) {
    let controllers: Vec<&str> = names(hierarchy).collect();
    match &hierarchy.name {
        Some(name) if controllers.is_empty() => ("cgroup", format!("none,name={name}")),
        Some(name) => ("cgroup", format!("{},name={name}", controllers.join(","))),
        None if controllers.is_empty() => ("cgroup2", String::new()),
        None => ("cgroup", controllers.join(",")),
    }
}

/// The controllers of a v1 hierarchy as its mount options name them: what v2 calls io is blkio there.
fn names(hierarchy: &Hierarchy) -> impl Iterator<Item = &'static str> {
    hierarchy.controllers.names().map(|name| if name == "io" { "blkio" } else { name })
}

/// The folder of the group that this process is in.
fn group_folder(hierarchy: &Hierarchy) -> PathBuf {
    hierarchy.mount.join(hierarchy.own.strip_prefix("/").unwrap_or(&hierarchy.own))
}
