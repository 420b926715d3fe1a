//! One more process in a running container.
//!
//! The caller enters the container's pid namespace for the moment of the clone, so that the new process is
//! its direct child and a member of that namespace at once; all other namespaces are joined by the child in
//! one setns(2) on init's pidfd.

use crate::channel::{self, CallerEnd, ChildEnd};
use crate::create::{self, Talk, kill};
use crate::error::{Error, Kind, Result, What};
use crate::identity::{self, Identity};
use crate::namespaces;
use crate::protocol::{Action, Conversation, Phase, Report};
use crate::{ExecOptions, Stdio, console, init, limits, program, validate};
use cgroup::{Cgroup, Layout};
use oci::runtime::{NamespaceKind, Process, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::process::{Child, ForkOptions, SingleThread};
use sys::root::Root;
use sys::trace;

/// A process that is on its way to its program. Dropping it kills the process.
#[derive(Debug)]
pub struct Executing {
    talk: Talk,
    child: Option<Child>,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

/// A process whose program runs.
#[derive(Debug)]
pub struct Executed {
    /// Its pid in the caller's pid namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub console: Option<OwnedFd>,
    /// What was not possible and is no reason to fail.
    pub warnings: Vec<String>,
}

struct Exec<'a> {
    process: &'a Process,
    options: ExecOptions<'a>,
    channel: ChildEnd,
    /// CLONE_NEW* of the namespaces that the container does not share with the caller.
    namespaces: u64,
    limits: bool,
}

/// Clones the process into the container; nothing is waited for.
pub fn exec(options: ExecOptions<'_>) -> Result<Executing> {
    let process = completed(options.process, options.spec);
    if !process.cwd.is_absolute() {
        return Err(Error::new(Kind::Invalid, "Cwd must be an absolute path"));
    }
    validate::check_process(&process)?;
    let proof = SingleThread::check()?;
    let flags = namespaces::all_of(options.target_pid).what_container()?;
    let user = flags & namespaces::flag(NamespaceKind::User) != 0;
    let (caller_end, child_end) = channel::pair()?;
    let console = matches!(options.stdio, Stdio::Terminal { .. });
    let (cgroup, pidfd) = (options.cgroup, options.target_pidfd);
    let target_pid = options.target_pid;
    let job = Exec { process: &process, options, channel: child_end, namespaces: flags, limits: !user };

    let mut step = trace::step("process", "clone3(2)");
    let pid_flag = flags & namespaces::flag(NamespaceKind::Pid);
    let own = if pid_flag != 0 { Some(create::enter_pid(pidfd)?) } else { None };
    let mut caller_end = Some(caller_end);
    let mut clone = |into: Option<BorrowedFd<'_>>| {
        let options = ForkOptions { cgroup: into, ..ForkOptions::default() };
        sys::process::fork(proof, &options, || {
            drop(caller_end.take());
            main(&job)
        })
    };
    let child = match clone(cgroup.and_then(Cgroup::dir_fd)) {
        // A container that has made groups of its own in a v2 group with controllers: no process may be
        // in the middle of the tree, so the new one goes where init is.
        Err(e) if e.errno() == Errno::BUSY.raw_os_error() => group_of(target_pid)
            .and_then(|group| clone(Some(group.as_fd())).what(|| "clone into init's cgroup")),
        child => child.what(|| "clone the container's process"),
    };
    if let Some(own) = own {
        create::leave_pid(own.as_fd());
    }
    drop(job);
    let child = step.check(child)?;
    step.note(format_args!("pid {}", child.pid));
    drop(step);
    let caller_end: CallerEnd = caller_end.ok_or_else(|| Error::new(Kind::Died, "the channel is missing"))?;
    let mut executing = Executing {
        talk: Talk::new(caller_end, Conversation::new(Phase::Released, false, console, true)),
        child: Some(child),
        console: None,
        warnings: Vec::new(),
    };
    if user && let Some(child) = &executing.child {
        executing.warnings = limits::Limits::of(&process).apply_to(child.pid)?;
    }
    Ok(executing)
}

impl Executing {
    /// Becomes readable when [`Executing::advance`] has something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.talk.as_fd()
    }

    /// Its pid in the caller's pid namespace.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(|child| child.pid)
    }

    /// Does what can be done without waiting; `Some` when the program runs.
    pub fn advance(&mut self) -> Result<Option<Executed>> {
        while let Some((action, fd)) = self.talk.next()? {
            match action {
                Action::Warn(text) => self.warnings.push(text),
                Action::KeepConsole => self.console = fd,
                Action::Executed => {
                    let Some(Child { pid, pidfd }) = self.child.take() else { break };
                    let (console, warnings) = (self.console.take(), std::mem::take(&mut self.warnings));
                    return Ok(Some(Executed { pid, pidfd, console, warnings }));
                }
                Action::Adopt(_) | Action::RunHooks | Action::Ready => {
                    return Err(Error::new(Kind::Died, "the new process mistook itself for init"));
                }
            }
        }
        Ok(None)
    }
}

impl Drop for Executing {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            kill(&child.pidfd);
        }
    }
}

/// What the process does not say is the container's, as with runc.
fn completed(process: &Process, spec: &Spec) -> Process {
    let mut process = process.clone();
    let Some(init) = &spec.process else { return process };
    if process.capabilities.is_none() {
        process.capabilities = init.capabilities.clone();
    }
    if process.rlimits.is_empty() {
        process.rlimits = init.rlimits.clone();
    }
    if process.apparmor_profile.is_empty() {
        process.apparmor_profile = init.apparmor_profile.clone();
    }
    if process.selinux_label.is_empty() {
        process.selinux_label = init.selinux_label.clone();
    }
    process
}

/// The v2 group that a process is in.
fn group_of(pid: i32) -> Result<OwnedFd> {
    let unified = Layout::detect(Path::new("/")).map_err(init::cgroup_error)?.unified;
    let mount = unified.ok_or_else(|| Error::new(Kind::Unsupported, "no cgroup v2 tree"))?.mount;
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).what(|| format!("read({path})"))?;
    let group = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let folder = mount.join(group);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(&folder, flags, Mode::empty()).what(|| format!("open({folder:?})"))
}

/// Entry point of the new process.
fn main(job: &Exec<'_>) -> i32 {
    trace::set_process_name("exec");
    i32::from(!init::report(&job.channel, run(job)))
}

fn run(job: &Exec<'_>) -> Result<()> {
    let options = &job.options;
    let process = job.process;
    sys::signal::reset();
    if let Some(cgroup) = options.cgroup.filter(|cgroup| cgroup.needs_join()) {
        let mut step = trace::step("cgroup", "write(2)");
        step.check(cgroup.join_rest().map_err(init::cgroup_error))?;
    }
    if let (Some(score), true) = (process.oom_score_adj, job.limits)
        && let Some(warning) = limits::oom_score("self", score)?
    {
        job.channel.report(&Report::Warning(warning))?;
    }
    identity::label(process)?;
    init::hide()?;
    join(job)?;
    if options.die_with_parent {
        let kill = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(kill).what(|| "prctl(PR_SET_PDEATHSIG)")?;
    }
    rustix::process::setsid().what(|| "setsid()")?;
    let slave = terminal(job)?;
    init::stdio(&options.stdio, slave.as_ref(), process)?;
    let identity = Identity::of(process, options.spec)?;
    if job.limits {
        for warning in limits::rlimits(process)? {
            job.channel.report(&Report::Warning(warning))?;
        }
    }
    let_go(job)?;
    identity.assume()?;
    identity::enter_cwd(process)?;
    let program = program::find(process, 0)?;
    identity.filter_last()?;
    program.exec(options.preserve_fds)
}

/// From here on paths are the container's: a folder of the host's that the caller has open must not be reached by
/// one through /proc/self/fd (CVE-2024-21626). The owners in the copied memory are never dropped: see [`main`].
fn let_go(job: &Exec<'_>) -> Result<()> {
    let sink = trace::current_sink();
    let mut keep = vec![job.channel.as_fd()];
    keep.extend(sink.as_ref().map(|sink| sink.as_fd()));
    Ok(sys::descriptors::close_all_but(init::FIRST_AFTER_STDIO + job.options.preserve_fds, &keep)?)
}

/// All namespaces in one call: the kernel enters the user namespace first and checks the others with its rights.
fn join(job: &Exec<'_>) -> Result<()> {
    let flags = job.namespaces & !namespaces::flag(NamespaceKind::Pid);
    let mut step = trace::step("namespaces", "setns(2)");
    step.note(format_args!("pid {}, flags {flags:#x}", job.options.target_pid));
    if flags != 0 {
        step.check(
            sys::namespace::setns(job.options.target_pidfd, flags).what(|| "join the container's namespaces"),
        )?;
    }
    if flags & namespaces::flag(NamespaceKind::User) != 0 {
        identity::become_root()?;
    }
    if !job.options.no_new_keyring {
        // The container's own keyring would be init's, which is not ours to possess: a fresh one as runc.
        let name = CString::new("_ses.exec").map_err(|_| Error::new(Kind::Invalid, "keyring name"))?;
        // ENOSYS, EPERM: no keyrings here.
        let _ = sys::process::new_session_keyring(&name);
    }
    Ok(())
}

fn terminal(job: &Exec<'_>) -> Result<Option<OwnedFd>> {
    let Stdio::Terminal { size } = job.options.stdio else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = Root::from_fd(rustix::fs::open("/", flags, Mode::empty()).what(|| "open(/)")?);
    let console = console::open(&root, size.or(program::console_size(job.process)))?;
    job.channel.report_with(&Report::Console, console.master.as_fd())?;
    Ok(Some(console.slave))
}

trait WhatContainer<T> {
    fn what_container(self) -> Result<T>;
}

impl<T> WhatContainer<T> for Result<T> {
    /// A pid without namespaces is a process that is gone.
    fn what_container(self) -> Result<T> {
        self.map_err(|e| e.context("the container's init"))
    }
}
