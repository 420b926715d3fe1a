//! Default and configured devices, and the links in /dev (config-linux.md, "Devices", "Default Devices").

use super::Rootfs;
use crate::error::{Error, Kind, Result, What};
use oci::runtime::Device;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Uid, chmodat, chownat, fstat, major, makedev, minor, mknodat,
    readlinkat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use sys::trace;

const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// (link, target); /dev/core only where the kernel has the file.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// One node to make.
struct Node {
    path: PathBuf,
    kind: FileType,
    device: u64,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Rootfs<'_> {
    pub(super) fn make_devices(&self) -> Result<()> {
        let mut step = trace::step("devices", "mknodat(2)");
        // A node's mode is meant as it is given.
        let old = rustix::process::umask(Mode::empty());
        let configured = self.spec.linux.as_ref().map_or(&[][..], |l| &l.devices);
        let made = (|| {
            for (path, major, minor) in DEFAULTS {
                if configured.iter().any(|device| device.path == Path::new(path)) {
                    continue;
                }
                let device = makedev(major, minor);
                self.node(&Node {
                    path: path.into(),
                    kind: FileType::CharacterDevice,
                    device,
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                })?;
            }
            for device in configured {
                self.node(&Node::of(device)?)?;
            }
            for (link, target) in LINKS {
                if link != "/dev/core" || Path::new(target).exists() {
                    self.link(Path::new(link), target)?;
                }
            }
            Ok(())
        })();
        rustix::process::umask(old);
        step.note(format_args!(
            "{} and {} configured, {} links",
            DEFAULTS.len(),
            configured.len(),
            LINKS.len()
        ));
        step.check(made)
    }

    fn node(&self, node: &Node) -> Result<()> {
        let (parent, name) = self.parent_of(&node.path)?;
        let result = if self.user_namespace && node.kind != FileType::Fifo {
            self.bind_node(node)
        } else {
            match make(&parent, &name, node) {
                // A device cgroup or a user namespace around us says no: the host's own node will do.
                Err(Errno::PERM) => self.bind_node(node),
                other => other.what(|| "mknodat()"),
            }
        };
        result.map_err(|e| e.context(format!("error creating device nodes: {}", node.path.display())))
    }

    fn bind_node(&self, node: &Node) -> Result<()> {
        let tree = sys::mount::open_tree_clone(CWD, &node.path, false)?;
        node.check(tree.as_fd())?;
        let target = self.root.ensure_file(&node.path, 0o644)?;
        Ok(sys::mount::attach_detached_fd(tree.as_fd(), target.as_fd())?)
    }

    fn link(&self, link: &Path, target: &str) -> Result<()> {
        let (parent, name) = self.parent_of(link)?;
        let made = match symlinkat(target, &parent, &name) {
            Err(Errno::EXIST) if link == Path::new("/dev/ptmx") => {
                // Whatever is there would be another devpts's multiplexer.
                unlinkat(&parent, &name, AtFlags::empty()).and_then(|()| symlinkat(target, &parent, &name))
            }
            Err(Errno::EXIST) => Ok(()),
            other => other,
        };
        match made {
            // A link that is right already, on a root that may not be written.
            Err(Errno::ROFS) if readlinkat(&parent, &name, Vec::new()).is_ok() => Ok(()),
            other => other.what(|| format!("symlinkat({target:?}, {link:?})")),
        }
    }

    fn parent_of(&self, path: &Path) -> Result<(OwnedFd, OsString)> {
        let (parent, name) = self.root.parent(path, Some(0o755))?;
        let name =
            name.ok_or_else(|| Error::new(Kind::Invalid, format!("{path:?} is no name for a device")))?;
        Ok((parent, name))
    }
}

impl Node {
    fn of(device: &Device) -> Result<Self> {
        let kind = match device.kind.as_str() {
            "c" | "u" => FileType::CharacterDevice,
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            other => {
                let text = format!("device {:?}: type {other:?} is not one of b, c, u, p", device.path);
                return Err(Error::new(Kind::Invalid, text));
            }
        };
        let number = |n: i64| {
            u32::try_from(n).map_err(|_| {
                Error::new(Kind::Invalid, format!("device {:?}: number {n} is out of range", device.path))
            })
        };
        Ok(Self {
            path: device.path.clone(),
            kind,
            device: makedev(number(device.major)?, number(device.minor)?),
            mode: device.file_mode.unwrap_or(0o666) & 0o7777,
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
        })
    }
}

impl Node {
    /// Whether what was opened is the node that was asked for: the host may have another one under that name.
    fn check(&self, opened: BorrowedFd<'_>) -> Result<()> {
        let stat = fstat(opened).what(|| "fstat()")?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_device = matches!(self.kind, FileType::CharacterDevice | FileType::BlockDevice);
        if kind == self.kind && (!is_device || stat.st_rdev == self.device) {
            return Ok(());
        }
        let name = |kind: FileType, device: u64| match kind {
            FileType::CharacterDevice => format!("character device {}:{}", major(device), minor(device)),
            FileType::BlockDevice => format!("block device {}:{}", major(device), minor(device)),
            other => format!("{other:?}"),
        };
        let (found, wanted) = (name(kind, stat.st_rdev), name(self.kind, self.device));
        let path = self.path.display();
        Err(Error::new(Kind::Invalid, format!("{path} of the host is a {found}, not the {wanted} asked for")))
    }
}

/// mknodat; what is there already is left if it is the same node, and replaced otherwise (an image may
/// have a plain file for /dev/null).
fn make(parent: &OwnedFd, name: &OsString, node: &Node) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(node.mode);
    let made = mknodat(parent, name, node.kind, mode, node.device);
    if made == Err(Errno::EXIST) {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == node.kind && stat.st_rdev == node.device {
            return Ok(());
        }
        unlinkat(parent, name, AtFlags::empty())?;
        mknodat(parent, name, node.kind, mode, node.device)?;
    } else {
        made?;
    }
    if node.uid != 0 || node.gid != 0 {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(parent, name, mode, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_node_is_bound() {
        let node =
            |kind, device| Node { path: "/dev/null".into(), kind, device, mode: 0o666, uid: 0, gid: 0 };
        let open = |path: &str| {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).unwrap()
        };
        let null = open("/dev/null");
        let device = FileType::CharacterDevice;
        node(device, makedev(1, 3)).check(null.as_fd()).unwrap();
        for (opened, kind, number, found, wanted) in [
            (&null, device, (1, 5), "character device 1:3", "character device 1:5"),
            (&null, FileType::BlockDevice, (1, 3), "character device 1:3", "block device 1:3"),
            (&open("/etc"), device, (1, 3), "Directory", "character device 1:3"),
        ] {
            let error = node(kind, makedev(number.0, number.1)).check(opened.as_fd()).unwrap_err();
            let want = format!("/dev/null of the host is a {found}, not the {wanted} asked for");
            assert_eq!(error.chain(), want);
        }
    }
}
