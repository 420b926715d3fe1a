//! The container's main process: made, started, signalled.
//!
//! Invariants. When making or starting fails nothing is left: init is dead and reaped, the cgroup is gone,
//! the reason is told, and the shim leaves. The parsed spec lives only while a process is being made.
//!
//! It does not know how an exit is recorded and told (see `exit`).

use super::requests::{chain, signal};
use super::{Asked, Monitor, read_config};
use crate::config::{self, Config};
use crate::exit::ExitRecord;
use crate::poller::{Event, Poller, Readiness};
use crate::protocol::{Failure, FailureKind, Response, TaskStatus};
use crate::{Error, Result};
use cgroup::{Cgroup, Layout, OomWatch, OomWatchKind};
use oci::runtime::{Namespace, NamespaceKind, Spec};
use runtime::{CreateOptions, Created, Creating, Gate, Starting, Stdio};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::clock::Time;
use sys::process::Ended;

/// How long the cgroup of a container that could not be made may take to become empty.
const CLEANUP_LIMIT: Duration = Duration::from_secs(2);

/// How far the task is.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Nothing was made.
    #[default]
    New,
    /// Init sets itself up.
    Creating { creating: Box<Creating>, asked: Asked },
    /// Init waits at its gate.
    Created(Box<Created>),
    /// Init is about to execute.
    Starting { starting: Box<Starting>, asked: Asked },
    /// Init runs.
    Running,
    /// Init has ended; the rest of its output is read, the rest of its processes killed.
    Draining,
    /// All is recorded and told.
    Stopped(Box<ExitRecord>),
    /// It could not be made.
    Failed,
}

/// The container's main process and what belongs to it.
#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) stage: Stage,
    pub(super) cgroup: Option<Cgroup>,
    oom: Option<OomWatch>,
    pub(super) init: Option<Init>,
    pub(super) started_at: Option<Time>,
    /// How init ended and when.
    pub(super) ended: Option<(Ended, Time)>,
    /// The container has a pid namespace of its own: its processes end with init.
    pub(super) own_pid_namespace: bool,
    paused: bool,
    /// Kills for want of memory that there were events of.
    pub(super) told_kills: u64,
    /// When the exit goes on whatever happens, or is looked at again.
    pub(super) exit_timer: super::exit::ExitTimer,
}

/// Init, named so that no other process can be meant.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) start_time: u64,
}

impl Task {
    /// Nothing was asked for yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.stage, Stage::New)
    }

    /// It is being made or made, and nobody has asked for its program to run.
    pub(super) fn is_unstarted(&self) -> bool {
        matches!(self.stage, Stage::Creating { .. } | Stage::Created(_)) && self.ended.is_none()
    }

    /// Init has ended, or never will be.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some() || matches!(self.stage, Stage::Stopped(_) | Stage::Failed)
    }

    /// A process is being made whose pid may not be known yet.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Creating { .. })
    }

    /// Init's pid until it was reaped, else 0.
    pub(super) fn pid(&self) -> i32 {
        if self.ended.is_some() { 0 } else { self.init.as_ref().map_or(0, |i| i.pid) }
    }

    /// Its program runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    /// The same for `State`.
    pub(super) fn running_pid(&self) -> i32 {
        self.pid()
    }

    /// How far it is, for `State`.
    pub(super) fn status(&self) -> TaskStatus {
        match self.stage {
            Stage::New | Stage::Creating { .. } => TaskStatus::New,
            Stage::Created(_) | Stage::Starting { .. } => TaskStatus::Created,
            Stage::Running if self.paused => TaskStatus::Paused,
            Stage::Running => TaskStatus::Running,
            Stage::Draining | Stage::Stopped(_) | Stage::Failed => TaskStatus::Stopped,
        }
    }

    /// The record of the exit, once it is written.
    pub(super) fn exit_record(&self) -> Option<&ExitRecord> {
        match &self.stage {
            Stage::Stopped(record) => Some(record),
            _ => None,
        }
    }

    /// Sends a signal to init; `false` when there is none.
    pub(super) fn signal(&self, number: i32) -> Result<bool> {
        match &self.init {
            Some(init) if self.ended.is_none() => signal(&init.pidfd, number),
            _ => Ok(false),
        }
    }

    /// Sends a signal to all processes of the container; `false` when there is none.
    pub(super) fn signal_all(&self, number: i32) -> Result<bool> {
        let Some(cgroup) = self.cgroup.as_ref().filter(|_| self.init.is_some()) else { return Ok(false) };
        if number == rustix::process::Signal::KILL.as_raw() {
            cgroup.kill()?;
            return Ok(true);
        }
        let mut any = false;
        let opened: Vec<(i32, OwnedFd)> = cgroup
            .pids()?
            .into_iter()
            .filter_map(|pid| Some((pid, sys::process::pidfd(pid).ok()?)))
            .collect();
        // A number that was freed and given to another in between is not in the group any more.
        let present = cgroup.pids()?;
        for (pid, pidfd) in &opened {
            if present.contains(pid) {
                any |= signal(pidfd, number)?;
            }
        }
        Ok(any)
    }

    /// Freezes or thaws all processes.
    pub(super) fn set_paused(&mut self, pause: bool) -> Result<()> {
        if let Some(cgroup) = &self.cgroup {
            if pause { cgroup.freeze()? } else { cgroup.thaw()? }
        }
        self.paused = pause;
        Ok(())
    }

    /// Watches for kills for want of memory. Without a memory controller there are none to see.
    fn watch_memory(&mut self, poller: &Poller) -> Result<()> {
        let Some(watch) = self.cgroup.as_ref().and_then(|c| c.oom_watch().ok()) else { return Ok(()) };
        let readiness = match watch.kind() {
            OomWatchKind::Eventfd => Readiness::IN,
            OomWatchKind::Priority => Readiness::PRI,
        };
        poller.add(&watch, Event::OutOfMemory, readiness)?;
        self.oom = Some(watch);
        Ok(())
    }

    /// The watch was ready: makes it wait again; whether the kernel killed.
    pub(super) fn rearm_memory(&self) -> bool {
        if let Some(watch) = &self.oom {
            watch.rearm();
        }
        self.was_out_of_memory()
    }

    /// Whether the kernel killed a process of the container for want of memory.
    pub(super) fn was_out_of_memory(&self) -> bool {
        self.cgroup.as_ref().and_then(|c| c.oom_kills().ok()).is_some_and(|n| n > 0)
    }

    /// How many processes of the container the kernel has killed for want of memory.
    pub(super) fn memory_kills(&self) -> u64 {
        self.cgroup.as_ref().and_then(|c| c.oom_kills().ok()).unwrap_or(0)
    }

    /// Watches memory no more: on v1 the watch is also ready when the group goes.
    pub(super) fn forget_memory(&mut self) {
        self.oom = None;
    }
}

impl Monitor {
    /// `Create`.
    pub(super) fn create(&mut self, asked: Asked) {
        if !self.task.is_new() {
            return self.fail(asked, FailureKind::Conflict, "the container was created already");
        }
        let failure = match self.hold_failure.take() {
            Some(failure) => failure,
            None => match self.begin_create() {
                Ok(creating) => {
                    let watched = self.poller.add(creating.as_fd(), Event::Task, Readiness::IN);
                    self.task.stage = Stage::Creating { creating: Box::new(creating), asked };
                    match watched {
                        Ok(()) => return,
                        Err(e) => failure_of(&e),
                    }
                }
                Err(failure) => failure,
            },
        };
        self.give_up(asked, failure);
    }

    /// Parses the configuration, makes the cgroup and clones init.
    fn begin_create(&mut self) -> Result<Creating, Failure> {
        let mut config = self.load_config()?;
        check_supported(&config.spec)?;
        let missing = self.settings.ports.len() - self.ports.len();
        let trees = std::mem::take(&mut self.trees);
        let missing = missing + (self.settings.mounts.len() - trees.len());
        if missing > 0 || self.settings.has_netns != self.netns.is_some() {
            let text = format!(
                "descriptors are missing: {missing} ports and mounts, netns {}",
                self.netns.is_some()
            );
            return Err(Failure::new(FailureKind::Invalid, text));
        }
        let layout = Layout::detect(Path::new("/")).map_err(|e| failure_of(&e))?;
        let resources = config.spec.linux.as_ref().and_then(|l| l.resources.clone()).unwrap_or_default();
        let group =
            Cgroup::create(&layout, &self.settings.cgroup_path, &resources).map_err(|e| failure_of(&e))?;
        self.task.cgroup = Some(group);
        self.task.watch_memory(&self.poller).map_err(|e| failure_of(&e))?;
        self.task.own_pid_namespace =
            config.spec.namespace(NamespaceKind::Pid).is_some_and(|n| n.path.as_os_str().is_empty());
        let stdio = if self.settings.tty {
            Stdio::Terminal { size: None }
        } else {
            let ends = self
                .streams
                .make_pipes(&self.poller, self.settings.open_stdin)
                .map_err(|e| failure_of(&e))?;
            Stdio::Pipes { stdin: ends.stdin, stdout: ends.stdout, stderr: ends.stderr }
        };
        prepare_spec(&mut config.spec, self.netns.as_ref());
        let rootfs = config.rootfs.into_iter().map(config::MountData::into_mount).collect();
        runtime::create(CreateOptions {
            rootfs,
            trees: self.settings.mounts.iter().copied().zip(trees).collect(),
            cgroup: self.task.cgroup.as_ref(),
            stdio,
            gate: Gate::Hold,
            no_pivot: config.no_pivot,
            die_with_parent: true,
            ..CreateOptions::new(&self.settings.id, &config.spec, &config.bundle)
        })
        .map_err(|e| runtime_failure(&e))
    }

    /// The whole configuration; it is dropped when the process that needs it was made.
    pub(super) fn load_config(&self) -> Result<Config, Failure> {
        let json = read_config(&self.place.run_dir).map_err(|e| failure_of(&e))?;
        let config: Config = serde_json::from_slice(&json)
            .map_err(|e| Failure::new(FailureKind::Invalid, format!("{}: {e}", config::FILE)))?;
        let terminal = config.spec.process.as_ref().is_some_and(|p| p.terminal);
        if terminal != self.settings.tty {
            let text = "process.terminal and settings.tty of the configuration differ";
            return Err(Failure::new(FailureKind::Invalid, text));
        }
        Ok(config)
    }

    /// `Start`.
    pub(super) fn start(&mut self, asked: Asked) {
        if !matches!(self.task.stage, Stage::Created(_)) {
            return self.fail(asked, FailureKind::Conflict, "the container is not waiting to be started");
        }
        let Stage::Created(mut created) = std::mem::take(&mut self.task.stage) else { return };
        // Before the gate opens: published ports answer from the first moment of the program, and one that cannot
        // be listened on is found out before anything runs.
        let listening = self.ports.serve(&self.poller, &self.settings.ports).map_err(|e| failure_of(&e));
        let started = listening.and_then(|()| {
            let starting = created.start().map_err(|e| runtime_failure(&e))?;
            self.poller.add(starting.as_fd(), Event::Task, Readiness::IN).map_err(|e| failure_of(&e))?;
            Ok(starting)
        });
        match started {
            Ok(starting) => self.task.stage = Stage::Starting { starting: Box::new(starting), asked },
            Err(failure) => self.give_up(asked, failure),
        }
    }

    /// Creation or start goes on.
    pub(super) fn on_task(&mut self) {
        match &mut self.task.stage {
            Stage::Creating { creating, asked } => {
                let asked = *asked;
                match creating.advance() {
                    Ok(None) => {}
                    Ok(Some(created)) => self.on_created(asked, created),
                    Err(e) => self.give_up(asked, runtime_failure(&e)),
                }
            }
            Stage::Starting { starting, asked } => {
                let asked = *asked;
                let before = starting.as_fd().as_raw_fd();
                match starting.advance() {
                    Ok(None) => {
                        // The hooks after the start are waited for on another descriptor.
                        if starting.as_fd().as_raw_fd() != before {
                            let _ = self.poller.add(starting.as_fd(), Event::Task, Readiness::IN);
                        }
                    }
                    Ok(Some(())) => self.on_started(asked),
                    Err(e) => self.give_up(asked, runtime_failure(&e)),
                }
            }
            _ => {}
        }
    }

    fn on_created(&mut self, asked: Asked, mut created: Created) {
        if let Stage::Creating { creating, .. } = &self.task.stage {
            self.poller.remove(creating.as_fd());
        }
        let adopted = self.adopt_init(&mut created);
        if let Err(e) = adopted {
            return self.give_up(asked, failure_of(&e));
        }
        let (pid, start_time) = self.task.init.as_ref().map_or((0, 0), |i| (i.pid, i.start_time));
        let mut warnings = std::mem::take(&mut created.warnings);
        warnings.extend(self.task.cgroup.iter().flat_map(|c| c.warnings().iter().cloned()));
        self.task.stage = Stage::Created(Box::new(created));
        self.respond(asked, &Response::Created { pid, start_time, warnings });
        if let Some(ended) = self.take_unclaimed(pid) {
            self.on_init_ended(ended);
        }
    }

    fn adopt_init(&mut self, created: &mut Created) -> Result<()> {
        let pidfd = created.pidfd.try_clone().map_err(Error::io("dup(pidfd)"))?;
        // Read before it can end: a zombie keeps its start time, and nobody else reaps it.
        let start_time = sys::process::Stat::read(&created.pid.to_string())?.start_time;
        self.task.init = Some(Init { pid: created.pid, pidfd, start_time });
        if let Some(console) = created.console.take() {
            self.streams.take_terminal(&self.poller, console, self.settings.open_stdin)?;
        }
        Ok(())
    }

    fn on_started(&mut self, asked: Asked) {
        if let Stage::Starting { starting, .. } = &self.task.stage {
            self.poller.remove(starting.as_fd());
        }
        let at = Time::now();
        self.task.started_at = Some(at);
        self.task.stage = Stage::Running;
        self.respond(
            asked,
            &Response::Started { pid: self.task.init.as_ref().map_or(0, |i| i.pid), at_ns: at.0 },
        );
        if self.task.ended.is_some() {
            return self.begin_exit();
        }
        self.resolver.start(self.netns.as_ref().map(AsFd::as_fd));
        self.begin_checks();
    }

    /// Init was reaped.
    pub(super) fn on_init_ended(&mut self, ended: Ended) {
        self.task.ended = Some((ended, Time::now()));
        // Before, its channel tells more than its exit code: `on_task` will see it closed.
        if matches!(self.task.stage, Stage::Running | Stage::Created(_)) {
            self.begin_exit();
        }
    }

    /// Takes back what was made, says why, and leaves.
    pub(super) fn give_up(&mut self, asked: Asked, failure: Failure) {
        self.clean_up();
        self.task.stage = Stage::Failed;
        self.respond(asked, &Response::Failed(failure));
        self.leave();
    }

    /// Takes back what was made for somebody who is gone, and leaves.
    pub(super) fn abandon(&mut self) {
        self.clean_up();
        self.leave();
    }

    fn clean_up(&mut self) {
        // Dropping a container that is being made kills and reaps its init.
        self.task.stage = Stage::Failed;
        if let Some(init) = self.task.init.take_if(|_| self.task.ended.is_none()) {
            let _ = signal(&init.pidfd, rustix::process::Signal::KILL.as_raw());
            let _ = sys::process::wait(init.pidfd.as_fd());
        }
        self.task.forget_memory();
        if let Some(group) = self.task.cgroup.take() {
            // Hooks may have left somebody; the reason of the failure is told whatever happens here.
            if group.is_populated().unwrap_or(false) {
                let _ = group.kill().and_then(|()| group.wait_empty(CLEANUP_LIMIT));
            }
            let _ = group.delete();
        }
        self.ports.close();
        self.resolver.stop();
        self.netns = None;
    }

    /// `Abort`.
    pub(super) fn abort(&mut self, asked: Asked) {
        match self.task.stage {
            Stage::New | Stage::Creating { .. } | Stage::Created(_) => {
                if let Stage::Creating { asked: creator, .. } = self.task.stage {
                    self.fail(creator, FailureKind::Conflict, "the creation was aborted");
                }
                self.clean_up();
                self.respond(asked, &Response::Done);
                self.leave();
            }
            _ => self.fail(asked, FailureKind::Conflict, "the container was started already"),
        }
    }
}

/// Refuses by name what this shim does not do.
fn check_supported(spec: &Spec) -> Result<(), Failure> {
    let what = if spec.hooks.as_ref().is_some_and(|h| !h.poststop.is_empty()) {
        "poststop hooks"
    } else {
        return Ok(());
    };
    Err(Failure::new(FailureKind::Unsupported, format!("the shim does not support {what}")))
}

/// What only the shim can say: where the network namespace is, and that the container does not inherit the
/// shim's protection from the out-of-memory killer.
fn prepare_spec(spec: &mut Spec, netns: Option<&OwnedFd>) {
    if let Some(process) = &mut spec.process
        && process.oom_score_adj.is_none()
    {
        process.oom_score_adj = Some(0);
    }
    let Some(netns) = netns else { return };
    let path = fd_path(netns.as_fd());
    let namespaces = &mut spec.linux.get_or_insert_default().namespaces;
    match namespaces.iter_mut().find(|n| n.kind == NamespaceKind::Network) {
        Some(namespace) => namespace.path = path,
        None => namespaces.push(Namespace { kind: NamespaceKind::Network, path }),
    }
}

fn fd_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// A failure that is not the runtime's.
pub(super) fn failure_of(error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureKind::Internal, chain(error))
}

/// A failure of the runtime, with the text that callers match on.
pub(super) fn runtime_failure(error: &runtime::Error) -> Failure {
    use runtime::Kind;
    let kind = match error.kind() {
        Kind::NotFound => FailureKind::NotFound,
        Kind::NoSuchFile => FailureKind::NoSuchFile,
        Kind::PermissionDenied => FailureKind::PermissionDenied,
        Kind::IsDirectory => FailureKind::IsDirectory,
        Kind::NotDirectory => FailureKind::NotDirectory,
        Kind::Invalid => FailureKind::Invalid,
        Kind::Unsupported => FailureKind::Unsupported,
        Kind::State | Kind::Exists => FailureKind::Conflict,
        Kind::Kernel | Kind::Hook | Kind::Died | Kind::NoContainer => FailureKind::Internal,
    };
    Failure::new(kind, error.chain())
}
