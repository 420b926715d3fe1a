//! The step into the new root.

use super::{Rootfs, linux, options};
use crate::error::{Result, What};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::trace;

/// Makes the root the process's `/` and takes the old one out of sight.
pub(crate) fn enter(rootfs: &Rootfs<'_>, no_pivot: bool) -> Result<()> {
    if no_pivot {
        move_root(rootfs)?
    } else {
        pivot(rootfs)?
    }
    let wanted = options::propagation(linux(rootfs.spec).map_or("", |l| &l.rootfs_propagation))?;
    if let Some(flags) = wanted {
        mount_change("/", flags).what(|| "change the propagation of the new root")?;
    }
    Ok(())
}

fn pivot(rootfs: &Rootfs<'_>) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).what(|| "open(/)")?;
    {
        let mut step = trace::step("root", "pivot_root(2)");
        step.note(format_args!("{}", rootfs.path().display()));
        step.check(fchdir(rootfs.as_fd()).what(|| "fchdir(new root)"))?;
        // The same path twice stacks the old root on the new one: no folder for it is needed.
        step.check(pivot_root(".", ".").what(|| "pivot_root(\".\", \".\")"))?;
    }
    let mut step = trace::step("old root", "umount2(2)");
    step.check(fchdir(&old).what(|| "fchdir(old root)"))?;
    // Or the unmount would spread to where the mounts came from.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    step.check(mount_change(".", slave).what(|| "make the old root a slave"))?;
    step.check(unmount(".", UnmountFlags::DETACH).what(|| "umount2(old root, MNT_DETACH)"))?;
    chdir("/").what(|| "chdir(/)")
}

/// For a root on the initial ramfs, where pivot_root says EINVAL. The host's other mounts are unmounted first:
/// they would stay in the namespace, reachable for whoever leaves a chroot.
fn move_root(rootfs: &Rootfs<'_>) -> Result<()> {
    let mut step = trace::step("root", "mount(2) MS_MOVE, chroot(2)");
    let mountinfo = std::fs::read("/proc/self/mountinfo").what(|| "read(/proc/self/mountinfo)")?;
    fchdir(rootfs.as_fd()).what(|| "fchdir(new root)")?;
    for point in mount_points(&mountinfo).into_iter().rev() {
        if point == Path::new("/") || point.starts_with(rootfs.path()) || rootfs.path().starts_with(&point) {
            continue;
        }
        match unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Locked by a user namespace above, or gone with its parent.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::NOENT) => {}
            Err(e) => return Err(crate::Error::kernel(format!("umount2({point:?}, MNT_DETACH)"), e)),
        }
    }
    step.check(mount_move(".", "/").what(|| "mount(\".\", \"/\", MS_MOVE)"))?;
    step.check(chroot(".").what(|| "chroot(\".\")"))?;
    chdir("/").what(|| "chdir(/)")
}

/// The mount points of a mountinfo (proc_pid_mountinfo(5)), in order, unescaped.
fn mount_points(mountinfo: &[u8]) -> Vec<PathBuf> {
    mountinfo
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(unescape)
        .collect()
}

/// Space, tab, newline and backslash are written as three octal digits.
pub(super) fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .filter(|d| d.iter().all(|c| (b'0'..=b'7').contains(c)));
        match octal {
            Some(digits) => {
                out.push(digits.iter().fold(0u8, |n, c| n.wrapping_mul(8).wrapping_add(c - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_unescaped() {
        let text = b"22 27 0:21 / /proc rw - proc proc rw\n23 27 0:22 / /a\\040b\\134c rw - x x rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/proc"), PathBuf::from("/a b\\c")]);
    }
}
