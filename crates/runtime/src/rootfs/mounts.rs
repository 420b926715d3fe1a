//! One mount of the spec (config.md, "Mounts"): bind, file system, or one of the special kinds.

use super::options::{Attributes, Options};
use super::{Rootfs, cgroupfs, copy};
use crate::error::{Error, Kind, Result, What};
use oci::runtime::Mount;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount, mount_change, mount_remount,
};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::root::proc_path;
use sys::trace;

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// What may be mounted over inside /proc: lxcfs's files and the like, none of which decides about security.
const ALLOWED_IN_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
    "/proc/uptime",
];

impl Rootfs<'_> {
    pub(super) fn mount(&mut self, index: usize, wanted: &Mount) -> Result<()> {
        let options = Options::parse(&wanted.options)?;
        let mut step =
            trace::step("mount", if options.bind.is_some() { "move_mount(2)" } else { "mount(2)" });
        step.note(format_args!(
            "{} {} {}",
            wanted.kind,
            wanted.destination.display(),
            wanted.options.join(",")
        ));
        let result = match (options.bind, wanted.kind.as_str()) {
            (Some(recursive), _) => self.bind(index, wanted, &options, recursive),
            (None, "" | "none") => Err(Error::new(Kind::Invalid, "neither a type nor bind")),
            (None, "cgroup" | "cgroup2") => cgroupfs::mount(self, wanted, &options),
            (None, "proc" | "sysfs") => self.kernel_tree(wanted, &options),
            (None, "tmpfs") => self.tmpfs(wanted, &options),
            (None, _) => self.file_system(wanted, &options),
        };
        step.check(result)
    }

    fn bind(&self, index: usize, wanted: &Mount, options: &Options, recursive: bool) -> Result<()> {
        if options.copy_up || !options.data.is_empty() {
            let word = if options.copy_up { "tmpcopyup" } else { &options.data };
            return Err(Error::new(Kind::Invalid, format!("a bind mount cannot have the option {word:?}")));
        }
        let opened;
        let tree = match self.sources.get(index) {
            Some(fd) => fd,
            None => {
                opened = open_source(self.bundle, wanted, recursive)?;
                opened.as_fd()
            }
        };
        set(tree, options.recursive, true)?;
        let target = self.target_like(&wanted.destination, tree);
        if self.is_of_another_kind(&wanted.destination, tree) {
            // runc's advice, for what the kernel calls ENOTDIR.
            let text = format!(
                "mount {}:{}: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
                wanted.source.display(),
                wanted.destination.display()
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        let target = target?;
        self.check_proc(&wanted.destination, target.as_fd(), Some(tree))?;
        place_with(tree, target.as_fd(), options.attributes)?;
        propagate(tree, options)
    }

    /// proc and sysfs: their place must be an ordinary folder. A link there, made by the image, would
    /// put the real /proc elsewhere and let later steps write to a fake one (CVE-2019-19921).
    fn kernel_tree(&self, wanted: &Mount, options: &Options) -> Result<()> {
        let ordinary = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            openat2(self.root.as_fd(), &wanted.destination, flags, Mode::empty(), how)
        };
        let target = match ordinary() {
            Err(Errno::NOENT) => {
                self.root.mkdir_all(&wanted.destination, 0o755)?;
                ordinary()
            }
            other => other,
        };
        let target = target.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => Error::new(
                Kind::Invalid,
                format!("filesystem {:?} must be mounted on ordinary directory", wanted.kind),
            ),
            errno => Error::kernel(format!("open {:?}", wanted.destination), errno),
        })?;
        self.attach(wanted, options, &target, &options.data, options.mount_flags(false))
    }

    fn tmpfs(&mut self, wanted: &Mount, options: &Options) -> Result<()> {
        let (target, data) = match self.root.open(&wanted.destination, OFlags::PATH | OFlags::DIRECTORY, 0) {
            // The mode of the folder that it hides, unless the options have one (the last one counts).
            Ok(fd) => {
                let mode = fstat(&fd).what(|| "fstat()")?.st_mode & 0o7777;
                let comma = if options.data.is_empty() { "" } else { "," };
                (fd, format!("mode={mode:04o}{comma}{}", options.data))
            }
            Err(e) if e.errno() == Errno::NOENT.raw_os_error() => {
                (self.root.mkdir_all(&wanted.destination, 0o755)?, options.data.clone())
            }
            Err(e) => return Err(e.into()),
        };
        self.check_proc(&wanted.destination, target.as_fd(), None)?;
        if options.copy_up {
            let tree = detached("tmpfs", &wanted.source.to_string_lossy(), &data)?;
            copy::tree(target.as_fd(), tree.as_fd())?;
            let attributes = Attributes {
                set: options.attributes.set & !sys::mount::MOUNT_ATTR_RDONLY,
                ..options.attributes
            };
            place_with(tree.as_fd(), target.as_fd(), attributes)?;
            propagate(tree.as_fd(), options)?;
        } else {
            self.attach(wanted, options, &target, &data, options.mount_flags(true))?;
        }
        if options.is_read_only() {
            self.read_only_later.push(wanted.destination.clone());
        }
        Ok(())
    }

    fn file_system(&self, wanted: &Mount, options: &Options) -> Result<()> {
        let target = self.root.mkdir_all(&wanted.destination, 0o755)?;
        self.check_proc(&wanted.destination, target.as_fd(), None)?;
        self.attach(wanted, options, &target, &options.data, options.mount_flags(false))
    }

    /// mount(2) at a resolved target, then what only works on the finished mount.
    pub(super) fn attach(
        &self,
        wanted: &Mount,
        options: &Options,
        target: &OwnedFd,
        data: &str,
        flags: MountFlags,
    ) -> Result<()> {
        let data = CString::new(data).map_err(|_| Error::new(Kind::Invalid, "NUL byte in a mount option"))?;
        let at = proc_path(target.as_fd());
        mount(&wanted.source, &at, wanted.kind.as_str(), flags, data.as_c_str())
            .what(|| format!("mount {} ({data:?})", wanted.kind))?;
        if options.recursive != Attributes::default() || !options.propagation.is_empty() {
            let fd = self.root.resolve(&wanted.destination)?;
            set(fd.as_fd(), options.recursive, true)?;
            propagate(fd.as_fd(), options)?;
        }
        Ok(())
    }

    /// The place for a bind: a folder for a folder, a file for everything else.
    pub(super) fn target_like(&self, path: &Path, source: BorrowedFd<'_>) -> Result<OwnedFd> {
        let stat = fstat(source).what(|| "fstat(source of a bind)")?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            Ok(self.root.mkdir_all(path, 0o755)?)
        } else {
            Ok(self.root.ensure_file(path, 0o755)?)
        }
    }

    /// A folder cannot be bound to a file, nor anything else to a folder.
    fn is_of_another_kind(&self, path: &Path, source: BorrowedFd<'_>) -> bool {
        let is_folder = |fd: BorrowedFd<'_>| fstat(fd).map(|s| FileType::from_raw_mode(s.st_mode).is_dir());
        let target = self.root.resolve(path).ok().and_then(|fd| is_folder(fd.as_fd()).ok());
        target.is_some_and(|target| is_folder(source).is_ok_and(|source| source != target))
    }

    /// Nothing may be mounted over the kernel's own files in /proc, or security settings written there
    /// would go elsewhere. /proc itself may be replaced by another procfs only.
    fn check_proc(&self, path: &Path, target: BorrowedFd<'_>, source: Option<BorrowedFd<'_>>) -> Result<()> {
        let is_proc = |fd| fstatfs(fd).is_ok_and(|s| s.f_type == PROC_SUPER_MAGIC);
        if normal(path) == Path::new("/proc") {
            return match source {
                Some(source) if is_proc(source) => Ok(()),
                _ => Err(Error::new(
                    Kind::Invalid,
                    format!("{path:?} cannot be mounted because it is not of type proc"),
                )),
            };
        }
        if is_proc(target) && !ALLOWED_IN_PROC.iter().any(|allowed| normal(path) == Path::new(allowed)) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{path:?} cannot be mounted because it is inside /proc"),
            ));
        }
        Ok(())
    }
}

/// `path` without `.` and `..`, absolute; for comparing names, never for opening.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => out.push(name),
            std::path::Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

/// A bind's source as a detached tree.
pub(super) fn open_source(bundle: &Path, wanted: &Mount, recursive: bool) -> Result<OwnedFd> {
    let path = bundle.join(&wanted.source);
    sys::mount::open_tree_clone(CWD, &path, recursive).map_err(|e| {
        let errno = e.errno();
        if errno == Errno::NOENT.raw_os_error() {
            Error::kernel(format!("stat {}", path.display()), Errno::NOENT)
        } else if errno == Errno::NOTDIR.raw_os_error() {
            // runc's words.
            let advice = "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";
            Error::new(Kind::Invalid, format!("stat {}: not a directory: {advice}", path.display()))
        } else {
            e.into()
        }
    })
}

/// Moves a detached tree onto a resolved target, with these attributes: before Linux 5.12 only what has a place can be
/// changed, which nobody in the container sees yet.
pub(super) fn place_with(tree: BorrowedFd<'_>, target: BorrowedFd<'_>, attributes: Attributes) -> Result<()> {
    let later = match change(tree, attributes, false) {
        Err(e) if e.errno() == Errno::NOSYS.raw_os_error() => true,
        changed => {
            changed?;
            false
        }
    };
    sys::mount::attach_detached_fd(tree, target)?;
    if later { remount(tree, attributes) } else { Ok(()) }
}

/// The same, read-only.
pub(super) fn place_read_only(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    place_with(tree, target, Attributes { set: sys::mount::MOUNT_ATTR_RDONLY, clear: 0 })
}

/// Makes the mount behind `fd` read-only.
pub(super) fn make_read_only(fd: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    set(fd, Attributes { set: sys::mount::MOUNT_ATTR_RDONLY, clear: 0 }, recursive)
}

/// mount_setattr on the mount behind `fd`, which has a place; before Linux 5.12 a remount, which cannot be recursive.
fn set(fd: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<()> {
    match change(fd, attributes, recursive) {
        Err(e) if e.errno() == Errno::NOSYS.raw_os_error() && !recursive => remount(fd, attributes),
        other => Ok(other?),
    }
}

fn change(fd: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> sys::Result<()> {
    if attributes == Attributes::default() {
        return Ok(());
    }
    sys::mount::mount_setattr(fd, c"", true, recursive, attributes.set, attributes.clear, None)
}

fn remount(fd: BorrowedFd<'_>, attributes: Attributes) -> Result<()> {
    let now = rustix::fs::fstatvfs(fd).what(|| "fstatvfs()")?.f_flag.bits();
    // ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC have the values of MS_* and of MOUNT_ATTR_*.
    const SAME: u64 = 0xf;
    let bits = ((now & SAME) | attributes.set & SAME) & !(attributes.clear & SAME);
    let mut flags = MountFlags::BIND | MountFlags::from_bits_retain(bits as _);
    // A remount that says nothing of these keeps them.
    for (attribute, flag) in [
        (sys::mount::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (sys::mount::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
        (sys::mount::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
    ] {
        flags.set(flag, attributes.set & attribute != 0);
    }
    mount_remount(proc_path(fd), flags, c"").what(|| format!("mount(remount, bind, {bits:#x})"))
}

fn propagate(fd: BorrowedFd<'_>, options: &Options) -> Result<()> {
    for flags in &options.propagation {
        mount_change(proc_path(fd), *flags).what(|| format!("change the propagation to {flags:?}"))?;
    }
    Ok(())
}

/// A file system that is mounted nowhere yet.
pub(super) fn detached(kind: &str, source: &str, data: &str) -> Result<OwnedFd> {
    let made = (|| {
        let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        if !source.is_empty() {
            fsconfig_set_string(fs.as_fd(), "source", source)?;
        }
        for option in data.split(',').filter(|o| !o.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(fs.as_fd(), key, value)?,
                None => fsconfig_set_flag(fs.as_fd(), option)?,
            }
        }
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    })();
    made.what(|| format!("fsmount({kind}, {data:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_dots() {
        for (path, expected) in
            [("/proc", "/proc"), ("proc/", "/proc"), ("/a/../proc/./", "/proc"), ("/../..", "/")]
        {
            assert_eq!(normal(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
