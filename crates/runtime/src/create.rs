//! The caller's side of a new container: clone init, talk to it, never wait.

use crate::channel::{self, CallerEnd, Received};
use crate::error::{Error, Kind, Result, What};
use crate::hooks::{self, HookPhase, HookRun, HookState};
use crate::init::{self, Init};
use crate::limits::Limits;
use crate::namespaces::{self, Namespaces};
use crate::protocol::{Action, Conversation, Order, Phase};
use crate::{CreateOptions, Gate, rootfs, validate};
use cgroup::Cgroup;
use oci::runtime::{IdMapping, NamespaceKind, Spec};
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use sys::process::{Child, ForkOptions, SingleThread};
use sys::trace;

/// A container whose init has been cloned and is setting itself up.
///
/// Dropping it kills init: nobody could ever start it.
#[derive(Debug)]
pub struct Creating {
    talk: Talk,
    guard: Option<Child>,
    helper: Option<OwnedFd>,
    hook_helper: Option<OwnedFd>,
    context: Context,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

/// A container whose init stands at its gate (or, with [`Gate::Immediate`], is about to execute).
#[derive(Debug)]
pub struct Created {
    /// Init's pid in the caller's pid namespace.
    pub pid: i32,
    /// Init's pidfd.
    pub pidfd: OwnedFd,
    /// The master of init's terminal.
    pub console: Option<OwnedFd>,
    /// What was not possible and is no reason to fail (a limit that may not be raised).
    pub warnings: Vec<String>,
    talk: Talk,
    context: Context,
}

/// A container whose gate was opened.
#[derive(Debug)]
pub struct Starting {
    talk: Talk,
    state: Poststart,
    context: Context,
    pid: i32,
    pidfd: OwnedFd,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Poststart {
    /// `execve` is to come.
    Before,
    Running(HookRun),
}

/// What is needed after the options are gone: the spec only for the hooks that are still to come.
#[derive(Debug, Default)]
struct Context {
    id: String,
    bundle: PathBuf,
    spec: Option<Box<Spec>>,
    maps: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    limits: Option<Limits>,
    hold: bool,
}

/// Channel and conversation. The channel is shared by the stages of a start, the conversation passed on.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    channel: Rc<CallerEnd>,
    conversation: Conversation,
}

/// Clones init. What is wrong with the spec is said here; what init finds out, at [`Creating::advance`].
pub fn create(mut options: CreateOptions<'_>) -> Result<Creating> {
    let namespaces = Namespaces::from_spec(options.spec)?;
    validate::create(&options, &namespaces)?;
    let proof = SingleThread::check()?;
    let (caller_end, child_end) = channel::pair()?;
    let with_hooks = hooks::has(options.spec, HookPhase::CreateRuntime);
    let helper = namespaces.needs_helper();
    let phase = if helper { Phase::Forking } else { Phase::Setup };
    let terminal = matches!(options.stdio, crate::Stdio::Terminal { .. });
    let open_gate = !matches!(options.gate, Gate::Hold);
    let context = Context::of(&options, &namespaces);
    let trees = std::mem::take(&mut options.trees);
    let sources = rootfs::prepare_sources(options.spec, options.bundle, &namespaces, trees, proof)?;
    let init = Init { namespaces, sources, options, channel: child_end, proof };
    let mut caller_end = Some(caller_end);
    let child = clone(init, &mut caller_end)?;
    let caller_end = caller_end.ok_or_else(|| missing("channel"))?;

    let mut creating = Creating {
        talk: Talk::new(caller_end, Conversation::new(phase, with_hooks, terminal, open_gate)),
        guard: None,
        helper: None,
        hook_helper: None,
        context,
        console: None,
        warnings: Vec::new(),
    };
    if helper {
        creating.helper = Some(child.pidfd);
    } else {
        let pid = child.pid;
        creating.guard = Some(child);
        creating.prepare(pid)?;
    }
    Ok(creating)
}

fn clone(init: Init<'_>, caller_end: &mut Option<CallerEnd>) -> Result<Child> {
    let helper = init.namespaces.needs_helper();
    let flags = if helper { 0 } else { init.namespaces.clone_flags() };
    let mut step = trace::step(if helper { "helper" } else { "process" }, "clone3(2)");
    let own = match init.namespaces.pid_to_join() {
        Some(fd) if !helper => Some(enter_pid(fd.as_fd())?),
        _ => None,
    };
    let (proof, cgroup) = (init.proof, init.options.cgroup);
    let child = fork(proof, flags, cgroup, || {
        // Or the new process would never see that the caller is gone.
        drop(caller_end.take());
        init::main(init)
    });
    if let Some(own) = own {
        leave_pid(own.as_fd());
    }
    let child = step.check(child)?;
    step.note(format_args!("pid {}, flags {flags:#x}", child.pid));
    Ok(child)
}

/// clone3, born in the cgroup where that is possible (v2).
pub(crate) fn fork(
    proof: SingleThread,
    namespaces: u64,
    cgroup: Option<&Cgroup>,
    child: impl FnOnce() -> i32,
) -> Result<Child> {
    let options =
        ForkOptions { namespaces, cgroup: cgroup.and_then(Cgroup::dir_fd), ..ForkOptions::default() };
    sys::process::fork(proof, &options, child).what(|| "clone the container's process")
}

/// Makes `fd` the pid namespace of the next children; returns the way back.
pub(crate) fn enter_pid(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let own = sys::namespace::open("/proc/self/ns/pid".as_ref())?;
    sys::namespace::setns(fd, namespaces::flag(NamespaceKind::Pid)).what(|| "join the pid namespace")?;
    Ok(own)
}

/// The way back from [`enter_pid`].
pub(crate) fn leave_pid(own: BorrowedFd<'_>) {
    if sys::namespace::setns(own, namespaces::flag(NamespaceKind::Pid)).is_err() {
        // Every later child would be born inside a container: better no process than that one.
        std::process::abort();
    }
}

impl Creating {
    /// Becomes readable when [`Creating::advance`] has something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.talk.channel.as_fd()
    }

    /// Init's pid as soon as it is known.
    pub fn pid(&self) -> Option<i32> {
        self.guard.as_ref().map(|child| child.pid)
    }

    /// Does what can be done without waiting; `Some` when init stands at its gate.
    pub fn advance(&mut self) -> Result<Option<Created>> {
        while let Some((action, fd)) = self.talk.next()? {
            match action {
                Action::Adopt(pid) => self.adopt(pid, fd)?,
                Action::RunHooks => self.run_hooks()?,
                Action::KeepConsole => self.console = Some(fd.ok_or_else(|| missing("console"))?),
                Action::Warn(text) => self.warnings.push(text),
                Action::Ready => return self.finish().map(Some),
                Action::Executed => return Err(Error::new(Kind::Died, "init executed before it was ready")),
            }
        }
        Ok(None)
    }

    /// The helper's report: init is a child of ours, made by the helper with CLONE_PARENT.
    fn adopt(&mut self, pid: i32, pidfd: Option<OwnedFd>) -> Result<()> {
        self.guard = Some(Child { pid, pidfd: pidfd.ok_or_else(|| missing("pidfd"))? });
        if let Some(helper) = self.helper.take() {
            // It has nothing left to do but exit. ECHILD: somebody reaped it already.
            let _ = sys::process::wait(helper.as_fd());
        }
        self.prepare(pid)
    }

    /// What only the caller may do for init: id maps, and limits when init has lost its rights.
    fn prepare(&mut self, pid: i32) -> Result<()> {
        if let Some(limits) = self.context.limits.take() {
            self.warnings.extend(limits.apply_to(pid)?);
        }
        let Some((uids, gids)) = self.context.maps.take() else { return Ok(()) };
        write_map(pid, "uid_map", &uids)?;
        write_map(pid, "gid_map", &gids)?;
        self.talk.channel.order(&Order::Proceed)
    }

    fn run_hooks(&mut self) -> Result<()> {
        let pid = self.pid().unwrap_or(0);
        let Some(spec) = &self.context.spec else { return self.talk.channel.order(&Order::Proceed) };
        let state = HookState { id: &self.context.id, pid, bundle: &self.context.bundle, spec };
        self.hook_helper = Some(hooks::spawn_and_order(state, &self.talk.channel)?);
        Ok(())
    }

    fn finish(&mut self) -> Result<Created> {
        if let Some(helper) = self.hook_helper.take() {
            let _ = sys::process::wait(helper.as_fd());
        }
        let child = self.guard.take().ok_or_else(|| missing("pid"))?;
        Ok(Created {
            pid: child.pid,
            pidfd: child.pidfd,
            console: self.console.take(),
            warnings: std::mem::take(&mut self.warnings),
            talk: self.talk.clone(),
            context: std::mem::take(&mut self.context),
        })
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        if let Some(helper) = self.helper.take() {
            kill(&helper);
        }
        if let Some(child) = self.guard.take() {
            kill(&child.pidfd);
        }
    }
}

/// Kills and reaps; ESRCH and ECHILD mean that it is done already.
pub(crate) fn kill(pidfd: &OwnedFd) {
    let _ = sys::process::signal(pidfd.as_fd(), rustix::process::Signal::KILL.as_raw());
    let _ = sys::process::wait(pidfd.as_fd());
}

impl Created {
    /// Opens the gate. To be called once.
    pub fn start(&mut self) -> Result<Starting> {
        if self.context.hold {
            self.talk.conversation.release()?;
            self.talk.channel.order(&Order::Go)?;
        } else if self.talk.conversation.phase() != Phase::Released {
            return Err(Error::new(Kind::State, "this container is started through its fifo"));
        }
        let pidfd = rustix::io::fcntl_dupfd_cloexec(&self.pidfd, 3).what(|| "fcntl(F_DUPFD_CLOEXEC)")?;
        Ok(Starting {
            talk: self.talk.clone(),
            state: Poststart::Before,
            context: std::mem::take(&mut self.context),
            pid: self.pid,
            pidfd,
            warnings: Vec::new(),
        })
    }
}

impl Starting {
    /// Becomes readable when [`Starting::advance`] has something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.state {
            Poststart::Before => self.talk.channel.as_fd(),
            Poststart::Running(run) => run.as_fd(),
        }
    }

    /// `Some` when `execve` succeeded and the `poststart` hooks ran. A failed hook kills the container
    /// (runtime.md, "Lifecycle", step 9).
    pub fn advance(&mut self) -> Result<Option<()>> {
        if matches!(self.state, Poststart::Before) {
            match self.talk.next()? {
                None => return Ok(None),
                Some((Action::Executed, _)) => {}
                Some((Action::Warn(text), _)) => {
                    self.warnings.push(text);
                    return Ok(None);
                }
                Some(_) => return Err(Error::new(Kind::Died, "init reported twice that it is ready")),
            }
            let Some(spec) = self.context.spec.take() else { return Ok(Some(())) };
            let state =
                HookState { id: &self.context.id, pid: self.pid, bundle: &self.context.bundle, spec: &spec };
            match hooks::spawn_hooks(HookPhase::Poststart, state)? {
                None => return Ok(Some(())),
                Some(run) => self.state = Poststart::Running(run),
            }
        }
        let Poststart::Running(run) = &mut self.state else { return Ok(None) };
        run.advance().inspect_err(|_| {
            // ESRCH: it ended by itself.
            let _ = sys::process::signal(self.pidfd.as_fd(), rustix::process::Signal::KILL.as_raw());
        })
    }

    /// Init's pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What was not possible behind the gate and is no reason to fail.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Talk {
    pub(crate) fn new(channel: CallerEnd, conversation: Conversation) -> Self {
        Self { channel: Rc::new(channel), conversation }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// The next thing to do, with what came attached; `None` when there is nothing yet.
    pub(crate) fn next(&mut self) -> Result<Option<(Action, Option<OwnedFd>)>> {
        match self.channel.receive()? {
            Received::Nothing => Ok(None),
            Received::Report(report, fd) => Ok(Some((self.conversation.report(report)?, fd))),
            Received::Closed => Ok(Some((self.conversation.closed()?, None))),
        }
    }
}

impl Context {
    fn of(options: &CreateOptions<'_>, namespaces: &Namespaces) -> Self {
        let spec = options.spec;
        let keep = hooks::has(spec, HookPhase::CreateRuntime) || hooks::has(spec, HookPhase::Poststart);
        let linux = spec.linux.as_ref();
        let user = namespaces.is_new(NamespaceKind::User);
        Self {
            id: options.id.to_string(),
            bundle: options.bundle.to_path_buf(),
            spec: keep.then(|| Box::new(spec.clone())),
            maps: linux.filter(|_| user).map(|l| (l.uid_mappings.clone(), l.gid_mappings.clone())),
            limits: spec
                .process
                .as_ref()
                .filter(|_| namespaces.is_private(NamespaceKind::User))
                .map(Limits::of),
            hold: matches!(options.gate, Gate::Hold),
        }
    }
}

/// Writes `uid_map` or `gid_map` of a process in a new user namespace (user_namespaces(7)).
pub(crate) fn write_map(pid: i32, file: &'static str, maps: &[IdMapping]) -> Result<()> {
    let mut step = trace::step("id map", "write(2)");
    let mut text = String::new();
    for IdMapping { container_id, host_id, size } in maps {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{container_id} {host_id} {size}");
    }
    step.note(format_args!("{file} {}", text.trim_end()));
    let path = format!("/proc/{pid}/{file}");
    step.check(std::fs::write(&path, &text).what(|| format!("write({path}, {:?})", text.trim_end())))
}

fn missing(what: &str) -> Error {
    Error::new(Kind::Died, format!("the container's {what} is missing"))
}
