//! Files that are either the old or the new one after a crash: write beside, sync, rename, sync the folder.

use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, unlinkat};

/// Writes `bytes` as `name` in `dir` so that a crash leaves the old or the new content, and the
/// new one is on disk when this returns.
pub fn write(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    replace(dir, name, bytes, mode, true)
}

/// Like [`write()`] without the syncs: atomic for readers, not durable (for tmpfs and `--rm`).
pub fn write_volatile(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    replace(dir, name, bytes, mode, false)
}

fn replace(dir: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32, sync: bool) -> Result<()> {
    let temporary = format!(".{name}.{}", std::process::id());
    let err = |call: String| move |e: rustix::io::Errno| Error::new(call, e);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd =
        openat(dir, &temporary, flags, Mode::from(mode)).map_err(err(format!("openat({temporary:?})")))?;
    let written = (|| {
        write_all(fd.as_fd(), bytes).map_err(err(format!("write({temporary:?})")))?;
        if sync {
            fsync(&fd).map_err(err(format!("fsync({temporary:?})")))?;
        }
        renameat(dir, &temporary, dir, name).map_err(err(format!("renameat({temporary:?}, {name:?})")))
    })();
    if written.is_err() {
        // The error that matters is the first; a leftover here is only a hidden file.
        let _ = unlinkat(dir, &temporary, AtFlags::empty());
    } else if sync {
        fsync(dir).map_err(err("fsync(folder)".to_string()))?;
    }
    written
}

/// Writes all bytes, going on after interruptions and short writes.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
