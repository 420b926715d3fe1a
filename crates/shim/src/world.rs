//! The world a shim lives in, whoever started it: the first thing it makes after `execve`.
//!
//! Invariants. When [`enter`] returns, the process has its own session, mount namespace and cgroup, `/` as
//! its folder, umask 022, no descriptors but `/dev/null` as stdio, the engine's socket and what it opened
//! itself, default signal dispositions (SIGPIPE excepted: a closed pipe is an error, not a death), fixed
//! limits, nice 0, and it is the reaper of what its descendants leave behind. Its environment is the empty
//! one that it was executed with.
//!
//! What is not permitted (rootless, or a machine without CAP_SYS_RESOURCE) is left as it is where the
//! design says "where permitted", and an error otherwise.

use crate::{Error, Result};
use cgroup::{Cgroup, Layout};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{RecvFlags, recv};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;

/// CLONE_NEWNS.
const NEWNS: u64 = 0x0002_0000;
/// MS_SLAVE of mount(2).
const SLAVE: u64 = 1 << 19;
/// As low as containerd's shim: the shim must outlive what it reports on. Not -1000: a shim that leaks may be killed.
const OOM_SCORE_ADJ: &[u8] = b"-999";

/// The limits (soft, hard) of a shim, and of a container that sets none: those of dockerd's systemd unit.
const LIMITS: [(Resource, Option<u64>, Option<u64>); 13] = [
    (Resource::Nofile, Some(1_048_576), Some(1_048_576)),
    (Resource::Nproc, None, None),
    (Resource::Core, None, None),
    (Resource::Stack, Some(8 << 20), None),
    (Resource::As, None, None),
    (Resource::Cpu, None, None),
    (Resource::Data, None, None),
    (Resource::Fsize, None, None),
    (Resource::Locks, None, None),
    (Resource::Rss, None, None),
    (Resource::Memlock, Some(8 << 20), Some(8 << 20)),
    (Resource::Nice, Some(0), Some(0)),
    (Resource::Rtprio, Some(0), Some(0)),
];

/// A descriptor that came as one of stdio, out of the way of what will be there. The engine's socket is taken
/// before all else: when the rest fails, the reason can be told.
pub fn take(stdio: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(stdio, 3).map_err(Error::io("fcntl(F_DUPFD_CLOEXEC)"))
}

/// Waits for the engine's first byte, which is left in the socket; `false` when the engine has gone instead.
pub fn wait_for_word(socket: &OwnedFd) -> Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::io("poll()")(e)),
        }
    }
    let mut first = [0u8];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    // A peer that closed is the end of the stream, or a reset.
    Ok(recv(socket, &mut first, flags).is_ok_and(|(count, _)| count > 0))
}

/// The shim's own place in the cgroup tree, away from the caller and the container.
pub fn make_cgroup(path: &Path) -> Result<Cgroup> {
    let mut step = sys::trace::step("shim cgroup", "mkdir(2)");
    step.note(format_args!("{}", path.display()));
    let group = Layout::detect(Path::new("/")).and_then(|layout| Cgroup::ensure(&layout, path));
    Ok(step.check(group)?)
}

/// Runs `shim` in a child that is born in the cgroup. To move there later the kernel would wait for a grace
/// period (11 ms were seen); a fork of this small process costs a hundredth of that.
pub fn fork_into(group: Cgroup, shim: impl FnOnce(Cgroup) -> i32) -> Result<()> {
    let proof = sys::process::SingleThread::check()?;
    let copy =
        group.dir_fd().map(|fd| fd.try_clone_to_owned()).transpose().map_err(Error::io("dup(cgroup)"))?;
    let number = copy.as_ref().map(AsRawFd::as_raw_fd);
    let options = sys::process::ForkOptions { cgroup: copy.as_ref().map(AsFd::as_fd), ..Default::default() };
    sys::process::fork(proof, &options, || {
        // The frame that owns it exists in the child, too, but is never returned to.
        drop(number.map(sys::process::inherited_fd));
        shim(group)
    })?;
    Ok(())
}

/// The rest of the world, in the child. Returns the host's mount namespace, in which the exit command has to run.
pub fn enter(group: Cgroup) -> Result<OwnedFd> {
    group.join_rest()?;
    // Its folders need not stay open for the shim's whole life.
    drop(group);
    sys::signal::reset();
    sys::signal::ignore_sigpipe();
    rustix::process::setsid().map_err(Error::io("setsid()"))?;
    rustix::process::chdir("/").map_err(Error::io("chdir(\"/\")"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for (resource, soft, hard) in LIMITS {
        set_limit(resource, soft, hard);
    }
    // Raising the priority needs CAP_SYS_NICE; then the caller's stays.
    let _ = rustix::process::setpriority_process(None, 0);
    lower_oom_score();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(Error::io("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    // Executed through a descriptor, the process would be called "7".
    let _ = rustix::thread::set_name(c"tare-shim");
    enter_mount_namespace()
}

/// A mount namespace of its own that follows the host's; returns the host's.
fn enter_mount_namespace() -> Result<OwnedFd> {
    let host = open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::io("open(\"/proc/self/ns/mnt\")"))?;
    let mut step = sys::trace::step("shim mount namespace", "unshare(2)");
    let own = || -> sys::Result<()> {
        sys::namespace::unshare(NEWNS)?;
        sys::mount::set_propagation(c"/", SLAVE, true)
    };
    step.check(own())?;
    Ok(host)
}

/// Makes 0, 1 and 2 `/dev/null` and closes everything else but the socket and the trace sink.
pub fn close_all_but(socket: Option<&OwnedFd>, sink: Option<&OwnedFd>) -> Result<()> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::io("open(\"/dev/null\")"))?;
    rustix::stdio::dup2_stdin(&null).map_err(Error::io("dup2(0)"))?;
    rustix::stdio::dup2_stdout(&null).map_err(Error::io("dup2(1)"))?;
    rustix::stdio::dup2_stderr(&null).map_err(Error::io("dup2(2)"))?;
    drop(null);
    let kept = [socket, sink].map(|fd| fd.map_or(-1, AsRawFd::as_raw_fd));
    let highest = kept.into_iter().max().unwrap_or(-1);
    for number in (3..highest).filter(|number| !kept.contains(number)) {
        if let Ok(fd) = sys::process::inherited_fd(number) {
            drop(fd);
        }
    }
    sys::process::close_from(highest as u32 + 1, false)?;
    Ok(())
}

/// Sets soft and hard limit, or as much of it as is permitted.
fn set_limit(resource: Resource, soft: Option<u64>, hard: Option<u64>) {
    if setrlimit(resource, Rlimit { current: soft, maximum: hard }).is_ok() {
        return;
    }
    // The hard limit may not be raised: it stays, and the soft one goes as far as it.
    let hard = getrlimit(resource).maximum;
    let current = match (soft, hard) {
        (Some(soft), Some(hard)) => Some(soft.min(hard)),
        (soft, hard) => soft.or(hard),
    };
    let _ = setrlimit(resource, Rlimit { current, maximum: hard });
}

fn lower_oom_score() {
    if let Ok(fd) = open("/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        // EACCES without CAP_SYS_RESOURCE.
        let _ = rustix::io::write(&fd, OOM_SCORE_ADJ);
    }
}
