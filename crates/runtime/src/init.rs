//! Init before it is init: what the new process does between clone3 and execve.
//!
//! The order is the contents of [`setup`] and [`pass_gate`]. Everything that can fail for a reason of the
//! container's (a mount, a program that is not there) fails before the gate, so that `create` reports it.
//!
//! Invariants. This code never returns into the caller's frames: [`main`]'s value is the exit code. It runs
//! single-threaded, in a copy of the caller's memory. After pivot_root no path of the host is used.

use crate::channel::ChildEnd;
use crate::error::{Error, Kind, Result, What};
use crate::hooks::{self, HookPhase, HookState};
use crate::identity::Identity;
use crate::namespaces::Namespaces;
use crate::protocol::Report;
use crate::rootfs::{self, Rootfs, Sources};
use crate::{CreateOptions, Gate, Stdio, console, create, identity, limits, network, program, validate};
use oci::runtime::{NamespaceKind, Process};
use rustix::io::Errno;
use rustix::process::Signal;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use sys::process::SingleThread;
use sys::trace;

/// The descriptors before are the standard streams.
pub(crate) const FIRST_AFTER_STDIO: u32 = 3;

/// What the new process is made of.
pub(crate) struct Init<'a> {
    pub(crate) namespaces: Namespaces,
    pub(crate) sources: Sources,
    pub(crate) options: CreateOptions<'a>,
    pub(crate) channel: ChildEnd,
    pub(crate) proof: SingleThread,
}

/// Entry point of the new process; returns its exit code if `execve` was not reached.
pub(crate) fn main(init: Init<'_>) -> i32 {
    trace::set_process_name("init");
    let done = if init.namespaces.needs_helper() { helper(init) } else { run(init) };
    i32::from(!done)
}

/// Runs the setup up to `execve`; true never comes back but for the helper.
fn run(init: Init<'_>) -> bool {
    let result = setup(&init);
    let done = report(&init.channel, result);
    // What it owns may be closed already (see `let_go`), and the process ends now.
    std::mem::forget(init);
    done
}

/// Tells the caller how it failed.
pub(crate) fn report<T>(channel: &ChildEnd, result: Result<T>) -> bool {
    match result {
        Ok(_) => true,
        Err(e) => {
            // A caller that is gone cannot be told: the exit code says it.
            let _ = channel.report(&Report::failed(&e));
            false
        }
    }
}

/// Joins what has to be joined, clones init as a sibling, and is done.
fn helper(init: Init<'_>) -> bool {
    let channel = &init.channel;
    let cloned = (|| {
        arm(&init.options)?;
        join_cgroup(&init.options)?;
        init.namespaces.join()?;
        if let Some(pid) = init.namespaces.pid_to_join() {
            create::enter_pid(pid.as_fd())?;
        }
        let flags = init.namespaces.clone_flags();
        let options = sys::process::ForkOptions { namespaces: flags, sibling: true, ..Default::default() };
        Ok(options)
    })();
    let options = match cloned {
        Ok(options) => options,
        Err(e) => return report::<()>(channel, Err(e)),
    };
    let proof = init.proof;
    let channel = match channel.try_clone() {
        Ok(channel) => channel,
        Err(e) => return report::<()>(&init.channel, Err(e)),
    };
    let child = sys::process::fork(proof, &options, || i32::from(!run(init)));
    let told = child
        .what(|| "clone the container's process")
        .and_then(|child| channel.report_with(&Report::Forked { pid: child.pid }, child.pidfd.as_fd()));
    report(&channel, told)
}

/// All there is to do up to the gate, and beyond it.
fn setup(init: &Init<'_>) -> Result<()> {
    let process =
        init.options.spec.process.as_ref().ok_or_else(|| Error::new(Kind::Invalid, "no process"))?;
    let spec = init.options.spec;
    sys::signal::reset();
    arm(&init.options)?;
    namespaces(init)?;
    rustix::process::setsid().what(|| "setsid()")?;
    if !init.options.no_new_keyring {
        keyring(init)?;
    }
    if init.namespaces.is_new(NamespaceKind::Network) {
        network::loopback_up()?;
    }
    if hooks::has(spec, HookPhase::CreateRuntime) {
        init.channel.report(&Report::Namespaces)?;
        init.channel.wait_proceed()?;
    }
    names(init)?;
    if let Some(score) = process.oom_score_adj
        && !init.namespaces.is_private(NamespaceKind::User)
        && let Some(warning) = limits::oom_score("self", score)?
    {
        init.channel.report(&Report::Warning(warning))?;
    }
    sysctls(init)?;
    identity::label(process)?;
    let slave = root(init, process)?;
    let_go(init, slave.as_ref())?;
    stdio(&init.options.stdio, slave.as_ref(), process)?;
    pass_gate(init, process)
}

/// Into the container's namespaces and, in a user namespace, to its root.
fn namespaces(init: &Init<'_>) -> Result<()> {
    if !init.namespaces.needs_helper() {
        join_cgroup(&init.options)?;
        init.namespaces.join()?;
    }
    if init.namespaces.is_new(NamespaceKind::User) {
        init.channel.wait_proceed()?;
    }
    if init.namespaces.is_private(NamespaceKind::User) {
        identity::become_root()?;
        // Killed by a change of ids.
        arm(&init.options)?;
    }
    init.namespaces.unshare_cgroup()?;
    init.namespaces.unshare_time(init.options.spec)?;
    init.namespaces.tell();
    hide()
}

/// Until execve this process holds descriptors of the host: nobody who shares its namespaces or its user may
/// look into /proc/PID/fd or trace it (CVE-2016-9962). execve makes it dumpable again.
pub(crate) fn hide() -> Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).what(|| "prctl(PR_SET_DUMPABLE)")
}

/// Hierarchies that clone3 could not put us into.
fn join_cgroup(options: &CreateOptions<'_>) -> Result<()> {
    let Some(cgroup) = options.cgroup.filter(|cgroup| cgroup.needs_join()) else { return Ok(()) };
    let mut step = trace::step("cgroup", "write(2)");
    step.note(format_args!("tasks, {}", cgroup.path().display()));
    step.check(cgroup.join_rest().map_err(cgroup_error))
}

pub(crate) fn cgroup_error(e: cgroup::Error) -> Error {
    let errno = std::error::Error::source(&e)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::raw_os_error);
    match errno {
        Some(errno) => Error::kernel(e.to_string(), std::io::Error::from_raw_os_error(errno)),
        None => Error::new(Kind::Kernel, e.to_string()),
    }
}

/// The parent's death kills us, where that was asked for.
fn arm(options: &CreateOptions<'_>) -> Result<()> {
    if !options.die_with_parent {
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).what(|| "prctl(PR_SET_PDEATHSIG)")
}

fn keyring(init: &Init<'_>) -> Result<()> {
    let name =
        CString::new(format!("_ses.{}", init.options.id)).map_err(|_| Error::new(Kind::Invalid, "id"))?;
    match sys::process::new_session_keyring(&name) {
        Ok(()) => Ok(()),
        // A kernel without keyrings, or a filter around us that hides them.
        Err(e) if [Errno::NOSYS, Errno::PERM].iter().any(|n| n.raw_os_error() == e.errno()) => Ok(()),
        Err(e) => Err(e).what(|| "create the session keyring"),
    }
}

fn names(init: &Init<'_>) -> Result<()> {
    let spec = init.options.spec;
    if !spec.hostname.is_empty() {
        let mut step = trace::step("hostname", "sethostname(2)");
        step.note(format_args!("{}", spec.hostname));
        step.check(rustix::system::sethostname(spec.hostname.as_bytes()).what(|| "sethostname()"))?;
    }
    if !spec.domainname.is_empty() {
        let mut step = trace::step("domain name", "setdomainname(2)");
        step.note(format_args!("{}", spec.domainname));
        step.check(rustix::system::setdomainname(spec.domainname.as_bytes()).what(|| "setdomainname()"))?;
    }
    Ok(())
}

/// Written through the host's /proc, which nobody in the container can have replaced; what is behind a file
/// of /proc/sys is decided by the writer's namespaces.
fn sysctls(init: &Init<'_>) -> Result<()> {
    let Some(linux) = &init.options.spec.linux else { return Ok(()) };
    for (key, value) in &linux.sysctl {
        let path: String = validate::dotted(key)
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect();
        let mut step = trace::step("sysctl", "write(2)");
        step.note(format_args!("{path} = {value}"));
        if path.split('/').any(|part| part == "..") {
            return Err(Error::new(Kind::Invalid, format!("sysctl {key:?} climbs")));
        }
        step.check(
            std::fs::write(format!("/proc/sys/{path}"), value).what(|| format!("write sysctl key {key}")),
        )?;
    }
    Ok(())
}

/// Builds and enters the root; returns the terminal's end for stdio.
fn root(init: &Init<'_>, process: &Process) -> Result<Option<OwnedFd>> {
    let options = &init.options;
    let mut rootfs =
        Rootfs::prepare(options.spec, options.bundle, &options.rootfs, &init.sources, &init.namespaces)?;
    rootfs.fill()?;
    if hooks::has(options.spec, HookPhase::CreateContainer) {
        hooks::run(HookPhase::CreateContainer, hook_state(init), init.proof)?;
    }
    let slave = match options.stdio {
        Stdio::Terminal { size } => {
            let console = console::open(rootfs.root(), size.or(program::console_size(process)))?;
            console.bind(rootfs.root())?;
            init.channel.report_with(&Report::Console, console.master.as_fd())?;
            Some(console.slave)
        }
        Stdio::Inherit | Stdio::Pipes { .. } => None,
    };
    rootfs.seal()?;
    rootfs::enter(&rootfs, options.no_pivot)?;
    Ok(slave)
}

/// From here on nothing of the caller's is needed. Init may stand at its gate for hours, and would hold the
/// caller's locks and sockets open all the time. Their owners in the copied memory are never dropped: see [`main`].
///
/// No folder may stay open: the paths that follow are the container's, and one through /proc/self/fd would be on
/// the host (CVE-2024-21626).
fn let_go(init: &Init<'_>, slave: Option<&OwnedFd>) -> Result<()> {
    let options = &init.options;
    let mut keep = vec![init.channel.as_fd()];
    keep.extend(slave.map(AsFd::as_fd));
    if let Stdio::Pipes { stdin, stdout, stderr } = &options.stdio {
        keep.extend([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
    }
    if let Gate::Fifo(fifo) = &options.gate {
        keep.push(fifo.as_fd());
    }
    let sink = trace::current_sink();
    keep.extend(sink.as_ref().map(|sink| sink.as_fd()));
    Ok(sys::descriptors::close_all_but(FIRST_AFTER_STDIO + options.listen_fds + options.preserve_fds, &keep)?)
}

fn hook_state<'a>(init: &Init<'a>) -> HookState<'a> {
    HookState {
        id: init.options.id,
        // In the container's pid namespace, as it sees itself.
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        bundle: init.options.bundle,
        spec: init.options.spec,
    }
}

/// Makes the streams the process's descriptors 0, 1 and 2.
pub(crate) fn stdio(stdio: &Stdio, slave: Option<&OwnedFd>, process: &Process) -> Result<()> {
    let (stdin, stdout, stderr) = match (stdio, slave) {
        (Stdio::Pipes { stdin, stdout, stderr }, _) => (stdin, stdout, stderr),
        (Stdio::Terminal { .. }, Some(slave)) => (slave, slave, slave),
        (Stdio::Terminal { .. }, None) => return Err(Error::new(Kind::Died, "the terminal is missing")),
        (Stdio::Inherit, _) => return identity::own_stdio(process),
    };
    // Copies first: a source may itself be one of 0, 1, 2.
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).what(|| "fcntl(F_DUPFD_CLOEXEC)");
    let (stdin, stdout, stderr) = (copy(stdin)?, copy(stdout)?, copy(stderr)?);
    rustix::stdio::dup2_stdin(&stdin).what(|| "dup2(0)")?;
    rustix::stdio::dup2_stdout(&stdout).what(|| "dup2(1)")?;
    rustix::stdio::dup2_stderr(&stderr).what(|| "dup2(2)")?;
    if slave.is_some() {
        rustix::process::ioctl_tiocsctty(&stdin).what(|| "ioctl(TIOCSCTTY)")?;
    }
    identity::own_stdio(process)
}

/// The process's own identity, the gate, and the end of this program.
fn pass_gate(init: &Init<'_>, process: &Process) -> Result<()> {
    let options = &init.options;
    let identity = Identity::of(process, options.spec)?;
    if !init.namespaces.is_private(NamespaceKind::User) {
        for warning in limits::rlimits(process)? {
            init.channel.report(&Report::Warning(warning))?;
        }
    }
    identity.assume()?;
    arm(options)?;
    identity::enter_cwd(process)?;
    let program = program::find(process, options.listen_fds)?;

    init.channel.report(&Report::Ready)?;
    match &options.gate {
        Gate::Fifo(fifo) => wait_at_fifo(fifo)?,
        Gate::Hold => init.channel.wait_go()?,
        Gate::Immediate => {}
    }
    hooks::run(HookPhase::StartContainer, hook_state(init), init.proof)?;
    identity.filter_last()?;
    program.exec(init.options.preserve_fds)
}

/// Blocks until `start` has written its byte.
fn wait_at_fifo(fifo: &OwnedFd) -> Result<()> {
    loop {
        match rustix::io::read(fifo, &mut [0; 1]) {
            Err(Errno::INTR) => {}
            Err(e) => return Err(e).what(|| "read exec fifo"),
            Ok(_) => return Ok(()),
        }
    }
}
