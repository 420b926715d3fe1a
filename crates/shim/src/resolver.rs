//! The resolver of a container: a child of the shim that answers at 127.0.0.11 (crate `dns`), and its keeper.
//!
//! Invariants. The child has none of the shim's descriptors but what it serves with, is nobody's without any
//! capability, makes no system call but those of [`ALLOWED`], and ends with the shim. The keeper holds the sockets,
//! so that what is asked while no child is there waits in the kernel, and starts another child for one that ended.
//!
//! It does not know names; the files of the engine say them.

use crate::{Error, Result};
use dns::files::{Files, Folders};
use dns::serve::Place;
use dns::server::Side;
use oci::runtime::{Action, Arg, Capabilities, Operator, Seccomp, Syscall};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid, open};
use rustix::process::Signal;
use std::path::PathBuf;
use sys::clock::boottime_ns;
use sys::process::{Child, ForkOptions, SingleThread};

/// The container's network namespace.
const NEWNET: u64 = 0x4000_0000;
const NOBODY: u32 = 65534;
/// The host's configuration: its `resolv.conf` is read again when it was replaced.
const HOST_FOLDER: &str = "/etc";
/// The first pause before a child that ended is replaced; it doubles.
const FIRST_PAUSE_NS: u64 = 100_000_000;
const MAX_PAUSE_NS: u64 = 5_000_000_000;
/// A child that lived longer has not failed.
const LIVED_NS: u64 = 10_000_000_000;

/// What the child calls: its loop, its files, its memory.
const ALLOWED: [&str; 36] = [
    "accept4",
    "brk",
    "clock_gettime",
    "close",
    "connect",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "fstatat64",
    "futex",
    "getpid",
    "getrandom",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "newfstatat",
    "ppoll",
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sendmsg",
    "sendto",
    "shutdown",
    "statx",
];
/// AF_INET and AF_INET6.
const FAMILIES: [u64; 2] = [2, 10];
/// O_ACCMODE and O_CREAT: what must not be asked of open(2).
const WRITES: u64 = 0o103;
/// SIOCGIFINDEX, for the zones of addresses.
const INTERFACE_INDEX: u64 = 0x8933;

/// What the engine asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) udp: OwnedFd,
    pub(crate) tcp: OwnedFd,
    /// The engine's files.
    pub(crate) folder: PathBuf,
    /// The container's file among them.
    pub(crate) file: String,
    /// Servers are asked from the container's network namespace.
    pub(crate) inside: bool,
}

/// The resolver of this container, if it has one.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    wanted: Option<Wanted>,
    child: Option<(Child, u64)>,
    pause_ns: u64,
    again_at_ns: Option<u64>,
}

impl Resolver {
    /// It shall be there from the next [`Resolver::start`] on.
    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.stop();
        *self = Self { wanted: Some(wanted), pause_ns: FIRST_PAUSE_NS, ..Self::default() };
    }

    /// When a child is started again.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.again_at_ns
    }

    /// Starts the child, if there shall be one and is none.
    pub(crate) fn start(&mut self, netns: Option<BorrowedFd<'_>>) {
        self.again_at_ns = None;
        let Some(wanted) = self.wanted.as_ref().filter(|_| self.child.is_none()) else { return };
        match fork(wanted, netns) {
            Ok(child) => self.child = Some((child, boottime_ns())),
            // Too many processes, or no memory: it may be there later.
            Err(_) => self.later(),
        }
    }

    /// A child of the shim has ended; `false` when it is another one.
    pub(crate) fn on_ended(&mut self, pid: i32) -> bool {
        let Some((_, since)) = self.child.take_if(|(child, _)| child.pid == pid) else { return false };
        if boottime_ns() - since > LIVED_NS {
            self.pause_ns = FIRST_PAUSE_NS;
        }
        self.later();
        true
    }

    /// Ends it for good.
    pub(crate) fn stop(&mut self) {
        if let Some((child, _)) = &self.child {
            let _ = sys::process::signal(child.pidfd.as_fd(), Signal::KILL.as_raw());
        }
        // Its end is reaped with everybody else's.
        *self = Self::default();
    }

    fn later(&mut self) {
        self.again_at_ns = self.wanted.as_ref().map(|_| boottime_ns() + self.pause_ns);
        self.pause_ns = (self.pause_ns * 2).min(MAX_PAUSE_NS);
    }
}

fn fork(wanted: &Wanted, netns: Option<BorrowedFd<'_>>) -> Result<Child> {
    let proof = SingleThread::check()?;
    let shim = rustix::process::getpid();
    Ok(sys::process::fork(proof, &ForkOptions::default(), || {
        let side = if wanted.inside { Side::Container } else { Side::Host };
        let ready = begin(wanted, netns.filter(|_| wanted.inside), shim);
        let Ok(folders) = ready else { return 1 };
        let place = Place { udp: wanted.udp.as_fd(), tcp: wanted.tcp.as_fd(), side };
        // Only waiting can fail.
        i32::from(dns::serve::serve(place, &mut Files::new(folders)).is_err())
    })?)
}

/// In the child: away with all that it does not need.
fn begin(wanted: &Wanted, netns: Option<BorrowedFd<'_>>, shim: rustix::process::Pid) -> Result<Folders> {
    let mut kept = vec![wanted.udp.as_fd(), wanted.tcp.as_fd()];
    kept.extend(netns);
    // The lock that says that the shim lives is among the others.
    sys::descriptors::close_all_but(3, &kept)?;
    sys::signal::reset();
    let _ = rustix::thread::set_name(c"tare-dns");
    if let Some(netns) = netns {
        sys::namespace::setns(netns, NEWNET)?;
    }
    let folder = |path: &std::path::Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).map_err(Error::io(format!("open({path:?})")))
    };
    let folders = Folders {
        names: folder(&wanted.folder)?,
        container: wanted.file.clone(),
        host: folder(HOST_FOLDER.as_ref())?,
    };
    confine(shim)?;
    Ok(folders)
}

fn confine(shim: rustix::process::Pid) -> Result<()> {
    let failed = |call: &'static str| Error::io(call);
    let filter =
        runtime::seccomp::compile(&filter()).map_err(|_| failed("seccomp")(rustix::io::Errno::INVAL))?;
    let none = runtime::caps::Sets::from_spec(&Capabilities::default())
        .map_err(|_| failed("capset()")(rustix::io::Errno::INVAL))?;
    // Without CAP_SETPCAP there is nothing that could be won back either.
    let _ = none.drop_bounding();
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    if rustix::process::geteuid().is_root() {
        rustix::thread::set_thread_groups(&[]).map_err(failed("setgroups()"))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid()"))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid()"))?;
    }
    none.apply().map_err(|_| failed("capset()")(rustix::io::Errno::PERM))?;
    // After the change of ids, which takes it back.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("prctl(PDEATHSIG)"))?;
    if rustix::process::getppid() != Some(shim) {
        return Err(Error::Closed);
    }
    rustix::thread::set_no_new_privs(true).map_err(failed("prctl(NO_NEW_PRIVS)"))?;
    sys::seccomp::load(filter.insns(), filter.flags())?;
    Ok(())
}

fn filter() -> Seccomp {
    let rule = |names: &[&str], args: Vec<Arg>| Syscall {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: Action::Allow,
        errno_ret: None,
        args,
    };
    let is = |index, value| Arg { index, value, value_two: 0, op: Operator::Equal };
    let mut syscalls = vec![rule(&ALLOWED, Vec::new())];
    syscalls.extend(FAMILIES.map(|family| rule(&["socket"], vec![is(0, family)])));
    let reads = Arg { index: 2, value: WRITES, value_two: 0, op: Operator::MaskedEqual };
    syscalls.push(rule(&["openat"], vec![reads]));
    syscalls.push(rule(&["ioctl"], vec![is(1, INTERFACE_INDEX)]));
    Seccomp {
        default_action: Action::Errno,
        default_errno_ret: None,
        architectures: Vec::new(),
        flags: Vec::new(),
        listener_path: PathBuf::new(),
        listener_metadata: String::new(),
        syscalls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_for_this_machine() {
        let program = runtime::seccomp::compile(&filter()).unwrap();
        assert!(program.insns().len() > ALLOWED.len() / 2, "{} instructions", program.insns().len());
    }
}
