//! Starting a program from a process that may be large and have many threads: posix_spawn(3),
//! which glibc does with CLONE_VM|CLONE_VFORK, so that nothing is copied (a fork of 256 MB costs 4 ms).

use crate::process::{pidfd, pointers};
use crate::{Error, Result};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// What to start and with what.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The open program file (see [`crate::clone_exe`]).
    pub exe: BorrowedFd<'a>,
    /// Arguments, the program's name first.
    pub argv: &'a [&'a OsStr],
    /// The whole environment, `NAME=value`.
    pub env: &'a [&'a OsStr],
    /// The descriptors the program gets: the first as 0, the next as 1, and so on; no others
    /// unless they were made inheritable.
    pub fds: &'a [BorrowedFd<'a>],
    /// Begin a session of its own.
    pub setsid: bool,
}

/// A started child: its pid and pidfd. The caller (or init, when the caller ends) reaps it.
#[derive(Debug)]
pub struct Spawned {
    /// The pid in the caller's pid namespace.
    pub pid: i32,
    /// The pidfd; close-on-exec.
    pub pidfd: OwnedFd,
}

/// Starts the program with default signal dispositions and an empty signal mask.
pub fn spawn(s: &Spawn<'_>) -> Result<Spawned> {
    // A detached file has no path: the kernel resolves the magic link before it closes anything.
    let path = text(OsStr::new(&format!("/proc/self/fd/{}", s.exe.as_raw_fd())))?;
    let argv = s.argv.iter().map(|a| text(a)).collect::<Result<Vec<_>>>()?;
    let env = s.env.iter().map(|a| text(a)).collect::<Result<Vec<_>>>()?;
    // Sources move above the targets, so that no dup2 overwrites a later source.
    let first_free = s.fds.len() as i32 + 3;
    let sources = s
        .fds
        .iter()
        .map(|fd| {
            rustix::io::fcntl_dupfd_cloexec(fd, first_free)
                .map_err(|e| Error::new("fcntl(F_DUPFD_CLOEXEC)", e))
        })
        .collect::<Result<Vec<OwnedFd>>>()?;
    let pid = posix_spawn(&path, &argv, &env, &sources, s.setsid)?;
    Ok(Spawned { pid, pidfd: pidfd(pid)? })
}

fn text(s: &OsStr) -> Result<CString> {
    CString::new(s.as_bytes())
        .map_err(|_| Error::new(format!("posix_spawn(): NUL byte in {s:?}"), rustix::io::Errno::INVAL))
}

fn posix_spawn(
    path: &CString,
    argv: &[CString],
    env: &[CString],
    sources: &[OwnedFd],
    setsid: bool,
) -> Result<i32> {
    let call = |ret: i32, what: &str| {
        if ret == 0 {
            Ok(())
        } else {
            Err(Error::new(format!("{what}({path:?})"), std::io::Error::from_raw_os_error(ret)))
        }
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both objects are initialised by their init functions before use and destroyed after
    // it; all pointers outlive the call; the signal sets are plain integers.
    unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        call(libc::posix_spawn_file_actions_init(&raw mut actions), "posix_spawn_file_actions_init")?;
        let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
        let mut result = call(libc::posix_spawnattr_init(&raw mut attributes), "posix_spawnattr_init");
        for (target, source) in sources.iter().enumerate() {
            let ret =
                libc::posix_spawn_file_actions_adddup2(&raw mut actions, source.as_raw_fd(), target as i32);
            result = result.and_then(|()| call(ret, "posix_spawn_file_actions_adddup2"));
        }
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::posix_spawnattr_setsigdefault(&raw mut attributes, &raw const all);
        libc::posix_spawnattr_setsigmask(&raw mut attributes, &raw const none);
        let session = if setsid { POSIX_SPAWN_SETSID } else { 0 };
        let flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK | session;
        libc::posix_spawnattr_setflags(&raw mut attributes, flags as libc::c_short);
        let mut pid = 0;
        result = result.and_then(|()| {
            let ret = libc::posix_spawn(
                &raw mut pid,
                path.as_ptr(),
                &raw const actions,
                &raw const attributes,
                argv.as_ptr().cast(),
                env.as_ptr().cast(),
            );
            call(ret, "posix_spawn")
        });
        libc::posix_spawnattr_destroy(&raw mut attributes);
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        result.map(|()| pid)
    }
}

/// glibc's value; the libc crate does not name it everywhere.
const POSIX_SPAWN_SETSID: i32 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn the_program_gets_just_its_descriptors() {
        let exe: OwnedFd = std::fs::File::open("/bin/sh").unwrap().into();
        let null: OwnedFd =
            std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into();
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let argv = ["sh", "-c", "echo $A; read x; test -t 1 || ls -l /proc/$$/fd/1"].map(OsStr::new);
        let env = [OsStr::new("A=b"), OsStr::new("PATH=/bin:/usr/bin")];
        let fds = [null.as_fd(), write.as_fd(), null.as_fd()];
        let child =
            spawn(&Spawn { exe: exe.as_fd(), argv: &argv, env: &env, fds: &fds, setsid: true }).unwrap();
        drop(write);
        let mut out = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(read), &mut out).unwrap();
        assert_eq!(crate::process::wait(child.pidfd.as_fd()).unwrap(), crate::process::Ended::Code(0));
        assert!(out.starts_with("b\n") && out.contains("pipe:["), "{out}");
    }
}
