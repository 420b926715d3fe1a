//! Processes: clone3(2) as a fork with namespaces, pidfds, wait, exec.
//!
//! Forking is only safe for a process with one thread (locks held by other threads would stay
//! locked in the child for ever), so [`fork`] asks for a [`SingleThread`] as a proof.

use crate::{Error, Result, check};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, pidfd_open, waitid};
use std::ffi::{CStr, CString};
use std::os::raw::c_char;

/// Proof that the process had one thread when it was made; it cannot leave its thread.
#[derive(Debug, Clone, Copy)]
pub struct SingleThread(std::marker::PhantomData<*const ()>);

impl SingleThread {
    /// Counts the threads in /proc/self/stat; an error when there are more than one.
    pub fn check() -> Result<Self> {
        let stat = Stat::read("self")?;
        if stat.threads == 1 {
            Ok(Self(std::marker::PhantomData))
        } else {
            let text = format!("fork() in a process with {} threads", stat.threads);
            Err(Error::new(text, rustix::io::Errno::BUSY))
        }
    }
}

/// What [`fork`] makes besides a copy of the process.
#[derive(Debug, Default)]
pub struct ForkOptions<'a> {
    /// CLONE_NEW* flags ([`crate::namespace`]).
    pub namespaces: u64,
    /// A cgroup v2 folder to be born in (CLONE_INTO_CGROUP).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The child's parent is the caller's parent (CLONE_PARENT).
    pub sibling: bool,
}

/// A child made by [`fork`].
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's pid namespace.
    pub pid: i32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
}

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks by clone3(2). The child runs `child` and ends with its return value as exit code.
///
/// The child is a copy of a single-threaded process, so that it may allocate and run ordinary
/// code; it never returns to the caller's frames.
pub fn fork(_: SingleThread, options: &ForkOptions<'_>, child: impl FnOnce() -> i32) -> Result<Child> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: options.namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    if options.sibling {
        args.flags |= libc::CLONE_PARENT as u64;
        // With CLONE_PARENT the exit signal is the caller's own (clone(2)): it must not be given.
        args.exit_signal = 0;
    }
    // SAFETY: `args` is a valid clone_args of the given size; no stack and no CLONE_VM, so this is
    // a fork: the child has its own copy of all memory, and the process has one thread (the proof).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    if pid == 0 {
        let code = child();
        exit_now(code);
    }
    let flags = args.flags;
    let pid = check(pid, || format!("clone3(flags {flags:#x})"))?;
    // SAFETY: CLONE_PIDFD made the kernel store a new descriptor of ours there.
    Ok(Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Ends the process at once: no destructors, no buffers, no atexit.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and runs no code of ours.
    unsafe { libc::_exit(code) }
}

/// Replaces the program by the file at `path`. Returns only on failure.
pub fn exec(path: &CStr, argv: &[CString], env: &[CString]) -> Error {
    exec_at(rustix::fs::CWD, path, argv, env, 0)
}

/// Replaces the program by the open file `fd` (execveat with AT_EMPTY_PATH).
pub fn exec_fd(fd: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> Error {
    exec_at(fd, c"", argv, env, libc::AT_EMPTY_PATH)
}

fn exec_at(dir: BorrowedFd<'_>, path: &CStr, argv: &[CString], env: &[CString], flags: i32) -> Error {
    let (argv_pointers, env_pointers) = (pointers(argv), pointers(env));
    // SAFETY: both arrays are null-terminated arrays of pointers to strings that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            dir.as_raw_fd(),
            path.as_ptr(),
            argv_pointers.as_ptr(),
            env_pointers.as_ptr(),
            flags,
        );
    }
    Error::last(format!("execve({path:?})"))
}

pub(crate) fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By exit with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// The shell's and Docker's single number: the code, or 128 + signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Waits for the child behind `pidfd` and reaps it.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    match wait_with(pidfd, WaitIdOptions::EXITED)? {
        Some(ended) => Ok(ended),
        None => Err(Error::new("waitid(P_PIDFD): nothing to wait for", rustix::io::Errno::CHILD)),
    }
}

/// Reaps the child behind `pidfd` if it has ended.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>> {
    wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Ended>> {
    loop {
        match waitid(WaitId::PidFd(pidfd), options) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => {
                return Ok(Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Ended::Code(code),
                    (None, Some(signal)) => Ended::Signal(signal),
                    (None, None) => Ended::Code(255),
                }));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::new("waitid(P_PIDFD)", e)),
        }
    }
}

/// Reaps any one ended child: (pid, how it ended), `None` when there is none now.
pub fn reap_any() -> Option<(i32, Ended)> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => {
            let ended = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Ended::Code(code),
                (None, Some(signal)) => Ended::Signal(signal),
                (None, None) => return None,
            };
            Some((pid.as_raw_nonzero().get(), ended))
        }
        _ => None,
    }
}

/// Opens a pidfd for `pid`.
pub fn pidfd(pid: i32) -> Result<OwnedFd> {
    let number = Pid::from_raw(pid)
        .ok_or_else(|| Error::new(format!("pidfd_open({pid})"), rustix::io::Errno::SRCH))?;
    pidfd_open(number, PidfdFlags::empty()).map_err(|e| Error::new(format!("pidfd_open({pid})"), e))
}

/// Sends `signal` (0 tests for existence) through a pidfd.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no siginfo is passed; the call touches no memory.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(ret, || format!("pidfd_send_signal({signal})")).map(drop)
}

/// The fields of /proc/PID/stat (proc_pid_stat(5)) that name a process beyond its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// One letter: R, S, D, Z, T, …
    pub state: char,
    /// The parent's pid.
    pub parent: i32,
    /// Number of threads.
    pub threads: i64,
    /// Start in clock ticks after boot: with the pid and the boot id it names a process for ever.
    pub start_time: u64,
}

impl Stat {
    /// Reads `/proc/<pid>/stat`; `pid` may be "self".
    pub fn read(pid: &str) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let bytes = std::fs::read(&path).map_err(|e| Error::new(format!("read({path})"), e))?;
        Self::parse(&bytes).ok_or_else(|| Error::new(format!("parse({path})"), rustix::io::Errno::INVAL))
    }

    /// Parses the file's content. The command (field 2) may hold any byte, even `)`: what follows
    /// is counted from the last one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let after = &bytes[bytes.iter().rposition(|&b| b == b')')? + 1..];
        let text = std::str::from_utf8(after).ok()?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Closes every descriptor from `first` on, or only marks them close-on-exec.
pub fn close_from(first: u32, only_on_exec: bool) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    let flags = if only_on_exec { CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: closing is the caller's stated intent; owned descriptors from `first` on must not be
    // used afterwards, which callers ensure by doing this right after start or before exec.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    check(ret, || format!("close_range({first}, ~0)")).map(drop)
}

/// Takes descriptor number `fd`, which this process inherited and nobody in it owns yet.
/// An error when it is not open.
pub fn inherited_fd(fd: i32) -> Result<OwnedFd> {
    // SAFETY: F_GETFD only asks whether the descriptor is open.
    let ret = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    check(ret.into(), || format!("fcntl({fd}, F_GETFD)"))?;
    // SAFETY: it is open, and by this function's contract nobody else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(owned.as_fd(), rustix::io::FdFlags::CLOEXEC)
        .map_err(|e| Error::new(format!("fcntl({fd}, F_SETFD)"), e))?;
    Ok(owned)
}

/// Joins a new, empty session keyring (keyctl(2) KEYCTL_JOIN_SESSION_KEYRING), so that the
/// program does not see the caller's keys.
pub fn new_session_keyring(name: &CStr) -> Result<()> {
    // SAFETY: the name is a string that outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, 1, name.as_ptr()) };
    check(ret, || format!("keyctl(JOIN_SESSION_KEYRING, {name:?})")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_hostile_names() {
        let text = b"7 (a) R 1 (x)) S 42 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 987 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.threads, stat.start_time), ('S', 42, 3, 987));
        assert_eq!(Stat::parse(b"7 (a"), None);
        assert!(Stat::read("self").unwrap().start_time > 0);
    }
}
