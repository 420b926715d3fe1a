//! A container's files as it sees them, for calls that read or write them from outside: its root with its binds and
//! volumes mounted, as one detached tree.
//!
//! Invariants. The tree is made in a mount namespace of a thread that ends with it: no crash leaves a mount behind,
//! and no mount of it reaches the host or the container. What is read-only to the container is read-only here, by
//! the kernel, with all mounts below it. Nothing here is named by a path of the container: mount points are resolved
//! within its root ([`sys::root::Root`]) and everything is attached by descriptor. Nobody holds the container's lock
//! while a view is used, but for writing to one that does not run.
//!
//! What only a running container has (tmpfs, /proc, devices) is not seen, as with dockerd.

use crate::error::{Error, Kind as ErrorKind, Result, errno};
use crate::mounts::{Kind, MountPoint, image_snapshot, part_of, read_only, tree_of};
use crate::state::{Record, Task};
use crate::volumes::mount_here;
use crate::{Container, Engine};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use sys::mount::{MOUNT_ATTR_RDONLY, attach_detached, attach_detached_fd, mount_setattr, open_tree_clone};
use sys::root::Root;

/// CLONE_NEWNS.
const NEWNS: u64 = 0x0002_0000;
/// MS_PRIVATE of mount(2).
const PRIVATE: u64 = 1 << 18;

/// What a view is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Where a mount's content comes from, found before the tree is made.
struct Source {
    destination: PathBuf,
    from: From,
    read_only: bool,
    /// With the mounts below it.
    recursive: bool,
    /// Those below stay as they are, whatever the mount itself is.
    only_itself: bool,
}

enum From {
    Path(PathBuf),
    /// A volume's folder, what its options mount there if that has not been done, and the part of it.
    Volume(PathBuf, Option<std::collections::BTreeMap<String, String>>, String),
    Tree(OwnedFd),
}

impl Engine {
    /// The container's files. The caller holds its lock unless it runs or the view is for reading.
    pub(super) fn files_of(&self, container: &Container, access: Access) -> Result<Root> {
        let record = self.state()?.find(&container.id)?;
        let task = self.state()?.task(&record.id)?.filter(|_| container.is_running());
        let sources = self.view_sources(&record)?;
        let build = || -> Result<OwnedFd> {
            sys::namespace::unshare(NEWNS)?;
            sys::mount::set_propagation(c"/", PRIVATE, true)?;
            self.build_view(&record, task.as_ref(), &sources, access)
        };
        let built = std::thread::scope(|scope| scope.spawn(build).join());
        let failed = || Error::new(ErrorKind::Internal, "the thread that mounts a container's files failed");
        Ok(Root::from_fd(built.unwrap_or_else(|_| Err(failed()))?))
    }

    /// The container's root alone, for reading. What is mounted into it is an empty folder or file.
    pub(super) fn bare_root(&self, container: &Container) -> Result<Root> {
        let mounts = self.store()?.snapshots().mounts(&container.id)?;
        let root = tree_of(&mounts, &self.paths().run, Path::new("/"), "")?;
        Ok(Root::from_fd(root))
    }

    fn build_view(
        &self,
        record: &Record,
        task: Option<&Task>,
        sources: &[Source],
        access: Access,
    ) -> Result<OwnedFd> {
        let at = &self.paths().run;
        let snapshots = self.store()?.snapshots();
        let write = access == Access::Write && !record.host.read_only;
        match task {
            // Its own mount: a second one of the same upper directory would not see what it does.
            Some(task) if write => {
                let root = root_of(task)?;
                attach_detached(root.as_fd(), at, false)?;
            }
            _ => {
                let mounts = snapshots.mounts(&record.id)?;
                let own = |writable: bool| -> Result<()> {
                    for mount in &mounts {
                        if writable { mount.attach(at)? } else { read_only(mount).attach(at)? }
                    }
                    Ok(())
                };
                if !write && task.is_none() {
                    own(true)?;
                    make_points(&Root::open_dir(at)?, sources)?;
                    let flags = rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW;
                    rustix::mount::unmount(at, flags).map_err(errno("umount the container's root"))?;
                }
                own(write)?;
            }
        }
        let place = std::ffi::CString::new(at.as_os_str().as_encoded_bytes())
            .map_err(|_| Error::new(ErrorKind::Internal, "the run root's path has a NUL"))?;
        // A shared root would hand on to the container what is mounted below.
        sys::mount::set_propagation(&place, PRIVATE, false)?;
        let root = Root::open_dir(at)?;
        if write {
            make_points(&root, sources)?;
        }
        for source in sources {
            attach(&root, source)?;
        }
        Ok(open_tree_clone(rustix::fs::CWD, at, true)?)
    }

    fn view_sources(&self, record: &Record) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for (index, point) in record.mounts.iter().enumerate() {
            if record.host.tmpfs.keys().any(|target| crate::mounts::clean(target) == point.destination) {
                continue;
            }
            let from = match point.kind {
                Kind::Tmpfs => continue,
                Kind::Bind => From::Path(PathBuf::from(&point.source)),
                Kind::Volume => {
                    let options = self.volume(&point.name)?.options;
                    From::Volume(self.volume_folder(&point.name)?, options, point.subpath.clone())
                }
                Kind::Image => {
                    let mounts = self.store()?.snapshots().mounts(&image_snapshot(&record.id, index))?;
                    let shown = Path::new(&point.name);
                    From::Tree(tree_of(&mounts, &self.paths().run, shown, &point.subpath)?)
                }
            };
            sources.push(source_of(point, from));
        }
        for name in ["resolv.conf", "hostname", "hosts"] {
            let path = self.paths().container(&record.id).join(name);
            let destination = Path::new("/etc").join(name);
            if path.exists() && !sources.iter().any(|s| s.destination == destination) {
                let read_only = record.host.read_only;
                let from = From::Path(path);
                sources.push(Source { destination, from, read_only, recursive: false, only_itself: false });
            }
        }
        Ok(sources)
    }
}

fn source_of(point: &MountPoint, from: From) -> Source {
    let read_only = !point.read_write || point.kind == Kind::Image;
    // Where the kernel cannot make the mounts below read-only, they are not shown at all (Linux 5.11 and older).
    let able = !read_only || point.read_only_non_recursive || sys::mount::has_setattr();
    Source {
        destination: PathBuf::from(&point.destination),
        from,
        read_only,
        recursive: !point.non_recursive && able,
        only_itself: point.read_only_non_recursive,
    }
}

/// The root mount of a running container, without what is mounted in it.
fn root_of(task: &Task) -> Result<OwnedFd> {
    let proc = PathBuf::from(format!("/proc/{}/ns/mnt", task.pid));
    let gone = || Error::conflict("the container has just ended");
    let theirs = sys::namespace::open(&proc).map_err(|_| gone())?;
    // Opened first, looked at then: it is this process's as long as that one lives.
    let stat = sys::process::Stat::read(&task.pid.to_string()).map_err(|_| gone())?;
    if stat.start_time != task.pid_start {
        return Err(gone());
    }
    let own = sys::namespace::open(Path::new("/proc/thread-self/ns/mnt"))?;
    sys::namespace::setns(theirs.as_fd(), NEWNS)?;
    // "/" is all that is named there.
    let root = open_tree_clone(rustix::fs::CWD, Path::new("/"), false);
    sys::namespace::setns(own.as_fd(), NEWNS)?;
    Ok(root?)
}

/// Makes the missing mount points, as a start would.
fn make_points(root: &Root, sources: &[Source]) -> Result<()> {
    for source in sources {
        let is_folder = match &source.from {
            From::Volume(..) => true,
            From::Path(path) => path.is_dir(),
            From::Tree(tree) => sys::root::file_type(tree.as_fd())? == FileType::Directory,
        };
        // One that lies in another mount is made there by a start; here it is only looked for.
        let inside = |other: &Source| {
            source.destination != other.destination && source.destination.starts_with(&other.destination)
        };
        if sources.iter().any(inside) {
            continue;
        }
        if is_folder {
            root.mkdir_all(&source.destination, 0o755)?;
        } else {
            root.ensure_file(&source.destination, 0o755)?;
        }
    }
    Ok(())
}

fn attach(root: &Root, source: &Source) -> Result<()> {
    let tree = match &source.from {
        From::Path(path) => match open_tree_clone(rustix::fs::CWD, path, source.recursive) {
            Ok(tree) => tree,
            // Only a start makes, or misses, the source of a bind.
            Err(e) if Errno::from_raw_os_error(e.errno()) == Errno::NOENT => return Ok(()),
            Err(e) => return Err(e.into()),
        },
        From::Volume(folder, options, subpath) => {
            if let Some(options) = options {
                mount_here(options, folder)?;
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(folder, flags, Mode::empty())
                .map_err(errno(format!("open {}", folder.display())))?;
            let part = part_of(&opened, folder, subpath)?;
            open_tree_clone(part.as_fd(), Path::new(""), source.recursive)?
        }
        From::Tree(tree) => open_tree_clone(tree.as_fd(), Path::new(""), true)?,
    };
    let target = match root.resolve(&source.destination) {
        Ok(target) => target,
        Err(e) if Errno::from_raw_os_error(e.errno()) == Errno::NOENT => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let able = sys::mount::has_setattr();
    if source.read_only && able {
        let recursive = !source.only_itself;
        mount_setattr(tree.as_fd(), c"", true, recursive, MOUNT_ATTR_RDONLY, 0, None)?;
    }
    attach_detached_fd(tree.as_fd(), target.as_fd())?;
    if source.read_only && !able {
        // Before Linux 5.12 only what has a place can be changed.
        let placed = root.resolve(&source.destination)?;
        let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount_remount(sys::root::proc_path(placed.as_fd()), flags, c"")
            .map_err(errno("remount read-only"))?;
    }
    Ok(())
}
