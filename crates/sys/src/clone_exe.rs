//! The protected copy of a program: a detached, read-only clone of the mount its file lies on.
//!
//! A process that enters a container can be asked to open its own /proc/self/exe for writing
//! (CVE-2019-5736). Executed through this clone the open fails with EROFS, while the pages stay
//! shared with the file. Where the kernel lacks open_tree(2) or mount_setattr(2) (before Linux 5.12) a sealed
//! memfd is executed instead, which costs a copy of the program.

use crate::mount::{MOUNT_ATTR_RDONLY, mount_setattr};
use crate::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::path::Path;

/// What a copy may never do again.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Opens `program` so that who executes the descriptor cannot change the file. Needs CAP_SYS_ADMIN.
pub fn open(program: &Path) -> Result<OwnedFd> {
    match read_only_clone(program) {
        Err(e) if e.errno() == rustix::io::Errno::NOSYS.raw_os_error() => sealed_copy(program),
        other => other,
    }
}

/// Whether this process runs from a file that it cannot write to.
pub fn is_protected() -> Result<bool> {
    let stat = rustix::fs::statvfs("/proc/self/exe").map_err(|e| Error::new("statvfs(/proc/self/exe)", e))?;
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    let own = std::fs::File::open("/proc/self/exe").map_err(|e| Error::new("open(/proc/self/exe)", e))?;
    // EINVAL: the file is none that has seals.
    Ok(rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SEALS)))
}

fn read_only_clone(program: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let fd = open_tree(rustix::fs::CWD, program, flags)
        .map_err(|e| Error::new(format!("open_tree({program:?}, CLONE)"), e))?;
    mount_setattr(fd.as_fd(), c"", true, false, MOUNT_ATTR_RDONLY, 0, None)?;
    Ok(fd)
}

fn sealed_copy(program: &Path) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd =
        rustix::fs::memfd_create("tare-runtime", flags).map_err(|e| Error::new("memfd_create()", e))?;
    let mut from = std::fs::File::open(program).map_err(|e| Error::new(format!("open({program:?})"), e))?;
    let mut to = std::fs::File::from(memfd);
    std::io::copy(&mut from, &mut to).map_err(|e| Error::new(format!("copy {program:?} to a memfd"), e))?;
    rustix::fs::fcntl_add_seals(&to, SEALS).map_err(|e| Error::new("fcntl(F_ADD_SEALS)", e))?;
    // Executed through a read-only descriptor: one that is open for writing is ETXTBSY.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&to));
    std::fs::File::open(&path).map(OwnedFd::from).map_err(|e| Error::new(format!("open({path})"), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsRawFd;

    #[test]
    fn a_sealed_copy_runs_and_cannot_be_changed() {
        let copy = sealed_copy(Path::new("/bin/true")).unwrap();
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
        assert!(std::process::Command::new(&path).status().unwrap().success());
        let writer = std::fs::OpenOptions::new().write(true).open(&path);
        // Opening may succeed; no write does.
        let written = writer.and_then(|mut file| std::io::Write::write(&mut file, b"x"));
        assert!(written.is_err());
    }
}
