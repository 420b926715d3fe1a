//! Closing what a forked child inherited and has no business with.

use crate::{Result, check};
use rustix::fd::{AsRawFd, BorrowedFd};

/// Closes every descriptor from `first` on but those in `keep`.
///
/// For the child of a fork that never returns to the frames which own them: a lock or a socket of the
/// parent's must not live on in it.
pub fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().filter(|fd| *fd >= first) {
        if fd > from {
            close(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close(from, u32::MAX)
}

fn close(first: u32, last: u32) -> Result<()> {
    // SAFETY: closing is the caller's stated intent; by the contract above nobody in this process uses the
    // closed descriptors or drops their owners afterwards.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(ret, || format!("close_range({first}, {last})")).map(drop)
}

#[cfg(test)]
mod tests {
    use crate::process::{ForkOptions, SingleThread, fork, wait};
    use rustix::fd::{AsFd, OwnedFd};

    #[test]
    fn only_what_is_kept_stays_open() {
        let open = || -> OwnedFd { std::fs::File::open("/dev/null").unwrap().into() };
        let (a, b, c) = (open(), open(), open());
        // nextest runs a test in a process of its own, but on a second thread: then there is nothing to prove.
        let Ok(proof) = SingleThread::check() else {
            println!("skipped: this process has several threads");
            return;
        };
        let is_open = |fd: &OwnedFd| rustix::io::fcntl_getfd(fd).is_ok();
        let child = fork(proof, &ForkOptions::default(), || {
            let closed = super::close_all_but(3, &[b.as_fd()]);
            i32::from(closed.is_err() || !is_open(&b) || is_open(&a) || is_open(&c))
        })
        .unwrap();
        assert_eq!(wait(child.pidfd.as_fd()).unwrap().code(), 0);
    }
}
