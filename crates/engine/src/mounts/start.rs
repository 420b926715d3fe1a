//! A start: mount points become mounts of the runtime's specification.
//!
//! What the runtime can open by its path stays a path. What must come from the host's own mount namespace (a shared
//! bind, which the shim's namespace, a slave of it, could not send anything back through; the mount that a volume's
//! options describe), and what no path leads to safely (a part of a volume, an image), is opened here and handed over
//! as a detached tree.

use super::{Kind, MountPoint};
use crate::Engine;
use crate::error::{Error, Kind as ErrorKind, Result, errno};
use crate::spec::{ResolvedUser, tmpfs_mount};
use crate::state::{Record, Task};
use oci::runtime::{IdMapping, Mount};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use sys::mount::{Source, open_tree_clone};

/// The mounts of a container that is about to start.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// For the specification.
    pub mounts: Vec<Mount>,
    /// Trees for some of them, by destination.
    pub trees: Vec<(PathBuf, OwnedFd)>,
}

impl Prepared {
    /// The trees, and which mounts of the specification they are for. What another mount has replaced is dropped.
    pub(crate) fn handed(self, spec: &oci::runtime::Spec) -> (Vec<usize>, Vec<OwnedFd>) {
        let place = |(destination, tree): (PathBuf, OwnedFd)| {
            let index = spec.mounts.iter().position(|mount| mount.destination == destination)?;
            Some((index, tree))
        };
        self.trees.into_iter().filter_map(place).unzip()
    }
}

impl Engine {
    /// Finds, makes and opens what the container's mount points name. Volumes that are mounted for it stand in its
    /// task's row first.
    pub(crate) fn prepare_mounts(
        &self,
        record: &Record,
        task: &mut Task,
        user: &ResolvedUser,
    ) -> Result<Prepared> {
        let mut prepared = Prepared::default();
        self.note_mounted_volumes(record, task)?;
        for (index, point) in record.mounts.iter().enumerate() {
            // As dockerd: `--tmpfs` wins.
            if record.host.tmpfs.keys().any(|target| super::parse::clean(target) == point.destination) {
                continue;
            }
            match point.kind {
                Kind::Bind => self.prepare_bind(point, user, &mut prepared)?,
                Kind::Volume => self.prepare_volume(&record.id, point, &mut prepared)?,
                Kind::Tmpfs => prepared.mounts.push(tmpfs_mount(&point.destination, &point.tmpfs)?),
                Kind::Image => self.prepare_image(record, index, point, &mut prepared)?,
            }
        }
        Ok(prepared)
    }

    fn note_mounted_volumes(&self, record: &Record, task: &mut Task) -> Result<()> {
        let mut names = Vec::new();
        for name in record.volume_names() {
            if self.volume(name)?.options.is_some() {
                names.push(name.to_string());
            }
        }
        if !names.is_empty() {
            task.mounted = names;
            self.state()?.put_task(&record.id, task)?;
        }
        Ok(())
    }

    fn prepare_bind(&self, point: &MountPoint, user: &ResolvedUser, prepared: &mut Prepared) -> Result<()> {
        let source = Path::new(&point.source);
        if point.create_source {
            make_source(source)?;
        }
        let mut mount = bind_mount(point, access(point)?);
        mount.source = source.to_path_buf();
        mount.options.push(point.propagation.clone());
        match point.propagation.as_str() {
            "shared" | "rshared" => {
                check_source_mount(source, &["shared:"], "shared mount")?;
                if !point.idmap {
                    let tree = open_tree_clone(rustix::fs::CWD, source, !point.non_recursive)?;
                    prepared.trees.push((mount.destination.clone(), tree));
                }
            }
            // Where nobody asked for it, it is nobody's mistake either.
            "slave" | "rslave" if point.asked_propagation => {
                check_source_mount(source, &["shared:", "master:"], "shared or slave mount")?;
            }
            _ => {}
        }
        if point.idmap {
            map_owner(source, user, &mut mount)?;
        }
        prepared.mounts.push(mount);
        Ok(())
    }

    fn prepare_volume(&self, id: &str, point: &MountPoint, prepared: &mut Prepared) -> Result<()> {
        let folder = self.volume_folder(&point.name)?;
        let mounted = self.mount_volume(&point.name)?;
        let mut mount = bind_mount(point, access(point)?);
        mount.source.clone_from(&folder);
        if mounted || !point.subpath.is_empty() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(&folder, flags, Mode::empty())
                .map_err(errno(format!("open {}", folder.display())))?;
            let part = below(&root, &folder, &point.subpath)?;
            let tree = open_tree_clone(part.as_fd(), Path::new(""), true)?;
            prepared.trees.push((mount.destination.clone(), tree));
        }
        prepared.mounts.push(mount);
        let access = if point.read_write { "true" } else { "false" };
        let place = [("container", id), ("destination", &point.destination), ("propagation", "")];
        self.tell_volume(&point.name, "mount", &[&place[..], &[("read/write", access)]].concat());
        Ok(())
    }

    fn prepare_image(
        &self,
        record: &Record,
        index: usize,
        point: &MountPoint,
        prepared: &mut Prepared,
    ) -> Result<()> {
        let mounts = self.store()?.snapshots().mounts(&image_snapshot(&record.id, index))?;
        let mut mount = bind_mount(point, "ro");
        mount.source = self.image_source(&record.id, &point.name);
        mount.options.push(point.propagation.clone());
        let shown = mount.source.clone();
        let tree = tree_of(&mounts, &self.paths().run, &shown, &point.subpath)?;
        prepared.trees.push((mount.destination.clone(), tree));
        prepared.mounts.push(mount);
        Ok(())
    }

    /// What is shown as the source of an image's mount; nothing is ever mounted there.
    pub(crate) fn image_source(&self, id: &str, image: &str) -> PathBuf {
        self.paths().task(id).join("images").join(image)
    }
}

/// The snapshot on which an image is mounted: it keeps the image's layers.
pub(crate) fn image_snapshot(id: &str, index: usize) -> String {
    format!("{id}-{index}")
}

/// A tree that is mounted nowhere and read-only: a snapshot's root, or a part of it. It is made in a mount namespace
/// that ends with the thread that has it, so that no crash leaves a mount behind; `at` is any folder.
pub(crate) fn tree_of(
    mounts: &[sys::mount::Mount],
    at: &Path,
    shown: &Path,
    subpath: &str,
) -> Result<OwnedFd> {
    let make = || -> Result<OwnedFd> {
        sys::namespace::unshare(NEWNS)?;
        sys::mount::set_propagation(c"/", PRIVATE, true)?;
        for mount in mounts {
            read_only(mount).attach(at)?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(at, flags, Mode::empty()).map_err(errno(format!("open {}", at.display())))?;
        let part = below(&root, shown, subpath)?;
        Ok(open_tree_clone(part.as_fd(), Path::new(""), true)?)
    };
    let made = std::thread::scope(|scope| scope.spawn(make).join());
    made.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the thread that mounts an image failed")))
}

/// A snapshot's mount with its upper folder as one more that is only read.
pub(crate) fn read_only(mount: &sys::mount::Mount) -> sys::mount::Mount {
    let source = match &mount.source {
        Source::Path(path) => Source::Path(path.clone()),
        Source::Name(name) => Source::Name(name.clone()),
        // Snapshots have none of these.
        Source::Fd(_) => Source::Name(String::new()),
    };
    let option = |name: &'static str| mount.options.iter().filter_map(move |o| o.strip_prefix(name));
    let lower: Vec<&str> = option("upperdir=").chain(option("lowerdir=")).collect();
    let of_writing = |o: &str| o.starts_with("upperdir=") || o.starts_with("workdir=") || o == "volatile";
    let mut options: Vec<String> = mount.options.clone();
    options.retain(|o| !of_writing(o) && !o.starts_with("lowerdir="));
    options.push("ro".to_string());
    if !lower.is_empty() {
        options.push(format!("lowerdir={}", lower.join(":")));
    }
    sys::mount::Mount { source, target: PathBuf::new(), kind: mount.kind.clone(), options }
}

/// CLONE_NEWNS.
const NEWNS: u64 = 0x0002_0000;
/// MS_PRIVATE of mount(2).
const PRIVATE: u64 = 1 << 18;

fn bind_mount(point: &MountPoint, access: &str) -> Mount {
    let bind = if point.non_recursive { "bind" } else { "rbind" };
    let destination = Path::new("/").join(&point.destination);
    Mount {
        destination,
        kind: "bind".to_string(),
        options: vec![bind.to_string(), access.to_string()],
        ..Mount::default()
    }
}

/// The word for a mount's access: read-only is so for the mounts below, too, where the kernel can do that.
fn access(point: &MountPoint) -> Result<&'static str> {
    if point.read_write {
        return Ok("rw");
    }
    let recursive = sys::mount::has_setattr();
    match () {
        () if point.read_only_force_recursive && !recursive => Err(Error::invalid(
            "mounts can be made read-only recursively only by Linux 5.12 and newer (bind-recursive=readonly)",
        )),
        () if recursive && !point.read_only_non_recursive => Ok("rro"),
        () => Ok("ro"),
    }
}

/// A part of an open folder, which no link leads out of. `shown` is the folder's name in errors.
pub(crate) fn below(root: &OwnedFd, shown: &Path, subpath: &str) -> Result<OwnedFd> {
    let path = if subpath.is_empty() { "." } else { subpath };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(fd),
        Err(Errno::XDEV) => Err(Error::invalid(format!(
            "path concatenation escapes the base directory, base: {}, subpath: {subpath}",
            shown.display()
        ))),
        Err(e) => {
            let path = shown.join(subpath);
            let path = path.display();
            Err(Error::new(ErrorKind::Internal, format!("cannot access path {path}: lstat {path}: {e}")))
        }
    }
}

/// Makes the missing source of a bind, as dockerd does. What is no folder on the way is the runtime's to tell.
fn make_source(source: &Path) -> Result<()> {
    let mut path = PathBuf::new();
    for part in source.components() {
        path.push(part);
        if path.exists() {
            continue;
        }
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => return Ok(()),
            Err(e) => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!(
                        "error while creating mount source path '{}': mkdir {}: {e}",
                        source.display(),
                        path.display()
                    ),
                ));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Which mount a path is on.
pub(crate) fn mount_id(path: &Path) -> rustix::io::Result<u64> {
    let found = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}

/// Whether the mount that a path is on has one of these marks in mountinfo (proc_pid_mountinfo(5)).
fn check_source_mount(source: &Path, marks: &[&str], what: &str) -> Result<()> {
    let id = match mount_id(source) {
        Ok(id) => id.to_string(),
        Err(e) => return Err(errno(format!("stat {}", source.display()))(e)),
    };
    let text = std::fs::read_to_string("/proc/self/mountinfo").map_err(crate::error::io("read mountinfo"))?;
    let mut lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&id.as_str())).unwrap_or_default();
    let optional = line.iter().skip(6).take_while(|field| **field != "-");
    if optional.clone().any(|field| marks.iter().any(|mark| field.starts_with(mark))) {
        return Ok(());
    }
    let point = line.get(4).copied().unwrap_or("/");
    Err(Error::new(
        ErrorKind::Internal,
        format!("path {} is mounted on {point} but it is not a {what}", source.display()),
    ))
}

/// `idmap`: the source's owner and the container's user change places.
fn map_owner(source: &Path, user: &ResolvedUser, mount: &mut Mount) -> Result<()> {
    let stat = rustix::fs::stat(source).map_err(errno(format!("stat {}", source.display())))?;
    if (stat.st_uid, stat.st_gid) == (user.uid, user.gid) {
        return Ok(());
    }
    mount.uid_mappings = swapped(stat.st_uid, user.uid);
    mount.gid_mappings = swapped(stat.st_gid, user.gid);
    mount
        .options
        .push(if mount.options.iter().any(|o| o == "rbind") { "ridmap" } else { "idmap" }.to_string());
    Ok(())
}

/// Every number stands for itself, but these two for each other.
fn swapped(a: u32, b: u32) -> Vec<IdMapping> {
    let (low, high) = (a.min(b), a.max(b));
    let line = |from: u32, to: u32, size: u32| IdMapping { container_id: from, host_id: to, size };
    let all = u32::MAX;
    let lines = if low == high {
        vec![line(0, 0, all)]
    } else {
        vec![
            line(0, 0, low),
            line(low, high, 1),
            line(low + 1, low + 1, high - low - 1),
            line(high, low, 1),
            line(high + 1, high + 1, all - high - 1),
        ]
    };
    lines.into_iter().filter(|line| line.size > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_change_places() {
        let text = |a, b| {
            let lines = swapped(a, b).into_iter();
            lines
                .map(|l| format!("{} {} {}", l.container_id, l.host_id, l.size))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(text(1000, 0), "0 1000 1, 1 1 999, 1000 0 1, 1001 1001 4294966294");
        assert_eq!(text(5, 6), "0 0 5, 5 6 1, 6 5 1, 7 7 4294967288");
        assert_eq!(text(7, 7), "0 0 4294967295");
    }

    #[test]
    fn parts_stay_below() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", base.path().join("out")).unwrap();
        std::os::unix::fs::symlink("a", base.path().join("in")).unwrap();
        let root = OwnedFd::from(std::fs::File::open(base.path()).unwrap());
        let shown = Path::new("/v");
        for (path, expected) in [
            ("a/b", None),
            ("in/b", None),
            ("", None),
            ("out", Some("path concatenation escapes the base directory, base: /v, subpath: out")),
            ("nope", Some("cannot access path /v/nope: lstat /v/nope: no such file or directory")),
        ] {
            assert_eq!(below(&root, shown, path).err().map(|e| e.message).as_deref(), expected, "{path}");
        }
    }
}
