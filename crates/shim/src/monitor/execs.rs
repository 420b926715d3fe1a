//! Further processes in the container.
//!
//! The shim forks them and is their parent; their bytes never pass it: the engine gets the pipes or the
//! terminal's master. Exit codes are kept until somebody asks, the latest [`MAX_ENDED`] of them.
//!
//! It does not know what a process is for.

use super::requests::signal;
use super::task::{failure_of, runtime_failure};
use super::{Asked, Monitor};
use crate::poller::{Event, Readiness};
use crate::protocol::{ExecStdio, Failure, FailureKind, Response, TaskStatus};
use crate::table::Table;
use crate::{Error, Result};
use oci::runtime::Process;
use runtime::{ExecOptions, Executed, Executing, Stdio};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use sys::process::Ended;

/// Execs at once.
const MAX_RUNNING: usize = 1024;
/// Exit codes that nobody has asked for.
const MAX_ENDED: usize = 256;
/// The longest id.
const MAX_ID_BYTES: usize = 128;
/// Requests that wait for one exec's end.
const MAX_WAITING: usize = 64;

/// The execs of a container.
#[derive(Debug, Default)]
pub(super) struct Execs {
    table: Table<Exec>,
}

#[derive(Debug)]
struct Exec {
    id: String,
    stage: Stage,
    waiting: Vec<Asked>,
}

#[derive(Debug)]
enum Stage {
    /// Before its `execve`; the descriptors go to whoever asked.
    Starting { executing: Box<Executing>, asked: Asked, fds: Vec<OwnedFd> },
    /// It runs; the terminal is kept for its size.
    Running { pid: i32, pidfd: OwnedFd, terminal: Option<OwnedFd> },
    /// It has ended.
    Ended(i32),
}

impl Execs {
    /// A start is under way.
    pub(super) fn is_pending(&self) -> bool {
        self.table.iter().any(|(_, e)| matches!(e.stage, Stage::Starting { .. }))
    }

    /// The ids of those that have not ended.
    pub(super) fn running(&self) -> Vec<String> {
        self.table
            .iter()
            .filter(|(_, e)| !matches!(e.stage, Stage::Ended(_)))
            .map(|(_, e)| e.id.clone())
            .collect()
    }

    /// Changes the size of an exec's terminal: `None` when it does not run, `false` when it has none.
    pub(super) fn resize(&self, id: &str, columns: u16, rows: u16) -> Option<Result<bool>> {
        let (_, exec) = self.table.iter().find(|(_, e)| e.id == id)?;
        match &exec.stage {
            Stage::Running { terminal: Some(terminal), .. } => {
                Some(sys::pty::resize(terminal.as_fd(), columns, rows).map(|()| true).map_err(Error::from))
            }
            Stage::Running { .. } => Some(Ok(false)),
            _ => None,
        }
    }

    /// Sends a signal to an exec; `false` when it does not run.
    pub(super) fn signal(&self, id: &str, number: i32) -> Result<bool> {
        match self.table.iter().find(|(_, e)| e.id == id).map(|(_, e)| &e.stage) {
            Some(Stage::Running { pidfd, .. }) => signal(pidfd, number),
            _ => Ok(false),
        }
    }

    /// Forgets an exec.
    pub(super) fn forget(&mut self, id: &str) {
        self.table.retain(|_, e| e.id != id);
    }

    /// Gives up an exec whose program does not run yet: dropping it kills its process.
    pub(super) fn abandon(&mut self, id: &str) {
        self.table.retain(|_, e| e.id != id || !matches!(e.stage, Stage::Starting { .. }));
    }

    /// Forgets the oldest exit codes above the limit.
    fn forget_oldest(&mut self) {
        let mut excess = self.table.iter().filter(|(_, e)| matches!(e.stage, Stage::Ended(_))).count();
        while excess > MAX_ENDED {
            let oldest = self
                .table
                .iter()
                .filter(|(_, e)| matches!(e.stage, Stage::Ended(_)))
                .map(|(key, _)| key)
                .min();
            let Some(oldest) = oldest else { return };
            self.table.remove(oldest);
            excess -= 1;
        }
    }
}

impl Monitor {
    /// `Exec`.
    pub(super) fn exec(&mut self, asked: Asked, id: String, process: &Process, stdio: ExecStdio) {
        if let Err(failure) = self.check_exec(&id) {
            return self.respond(asked, &Response::Failed(failure));
        }
        let streams = if process.terminal {
            Ok((Stdio::Terminal { size: None }, Vec::new()))
        } else {
            pipes(stdio).map_err(|e| failure_of(&e))
        };
        let begun = streams.and_then(|(stdio, fds)| self.begin_exec(asked, id, process, stdio, fds));
        if let Err(failure) = begun {
            self.respond(asked, &Response::Failed(failure));
        }
    }

    /// An exec of the shim's own, whose output all goes to `output`.
    pub(super) fn start_exec(
        &mut self,
        asked: Asked,
        id: String,
        process: &Process,
        output: OwnedFd,
    ) -> Result<(), Failure> {
        self.check_exec(&id)?;
        let stdin = crate::spawn::null().map_err(|e| failure_of(&e))?;
        let stderr = output.try_clone().map_err(Error::io("dup(pipe)")).map_err(|e| failure_of(&e))?;
        self.begin_exec(asked, id, process, Stdio::Pipes { stdin, stdout: output, stderr }, Vec::new())
    }

    fn check_exec(&mut self, id: &str) -> Result<(), Failure> {
        let status = self.task.status();
        if !matches!(status, TaskStatus::Running) || self.task.has_ended() {
            let text = if status == TaskStatus::Paused {
                "the container is paused"
            } else {
                "the container is not running"
            };
            return Err(Failure::new(FailureKind::NotRunning, text));
        }
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(Failure::new(FailureKind::Invalid, "the exec id is empty or too long"));
        }
        if self.execs.table.iter().any(|(_, e)| e.id == id) {
            return Err(Failure::new(FailureKind::Conflict, format!("exec {id} exists already")));
        }
        if self.execs.running().len() >= MAX_RUNNING {
            let text = format!("{MAX_RUNNING} execs are running already");
            return Err(Failure::new(FailureKind::TooMany, text));
        }
        Ok(())
    }

    fn begin_exec(
        &mut self,
        asked: Asked,
        id: String,
        process: &Process,
        stdio: Stdio,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let config = self.load_config()?;
        let Some(init) = &self.task.init else {
            return Err(Failure::new(FailureKind::NotRunning, "the container is not running"));
        };
        let executing = runtime::exec(ExecOptions {
            process,
            spec: &config.spec,
            target_pid: init.pid,
            target_pidfd: init.pidfd.as_fd(),
            cgroup: self.task.cgroup.as_ref(),
            stdio,
            no_new_keyring: false,
            preserve_fds: 0,
            die_with_parent: false,
        })
        .map_err(|e| runtime_failure(&e))?;
        let key = self.execs.table.next_id();
        self.poller.add(executing.as_fd(), Event::Exec(key), Readiness::IN).map_err(|e| failure_of(&e))?;
        let stage = Stage::Starting { executing: Box::new(executing), asked, fds };
        self.execs.table.insert(Exec { id, stage, waiting: Vec::new() });
        Ok(())
    }

    /// The start of an exec goes on.
    pub(super) fn on_exec(&mut self, key: u32) {
        let Some(exec) = self.execs.table.get_mut(key) else { return };
        let Stage::Starting { executing, asked, .. } = &mut exec.stage else { return };
        let asked = *asked;
        match executing.advance() {
            Ok(None) => {}
            Ok(Some(executed)) => self.on_executed(key, asked, executed),
            Err(e) => {
                self.poller.remove(executing.as_fd());
                let id = self.execs.table.remove(key).map(|e| e.id).unwrap_or_default();
                let failure = runtime_failure(&e);
                self.fail_check(&id, &failure);
                self.respond(asked, &Response::Failed(failure));
            }
        }
    }

    fn on_executed(&mut self, key: u32, asked: Asked, executed: Executed) {
        let Some(exec) = self.execs.table.get_mut(key) else { return };
        let (terminal, copy) = match executed.console {
            Some(master) => (master.try_clone().ok(), Some(master)),
            None => (None, None),
        };
        let pid = executed.pid;
        let running = Stage::Running { pid, pidfd: executed.pidfd, terminal };
        let Stage::Starting { executing, mut fds, .. } = std::mem::replace(&mut exec.stage, running) else {
            return;
        };
        self.poller.remove(executing.as_fd());
        fds.extend(copy);
        self.respond_with(asked, &Response::ExecStarted { pid }, fds);
        if let Some(ended) = self.take_unclaimed(pid) {
            self.on_exec_ended(pid, ended);
        }
    }

    /// An exec was reaped; `false` when the pid is none's.
    pub(super) fn on_exec_ended(&mut self, pid: i32, ended: Ended) -> bool {
        let found = self
            .execs
            .table
            .iter_mut()
            .find(|(_, e)| matches!(e.stage, Stage::Running { pid: p, .. } if p == pid));
        let Some((key, exec)) = found else { return false };
        let exit_code = ended.code();
        exec.stage = Stage::Ended(exit_code);
        let waiting = std::mem::take(&mut exec.waiting);
        let id = exec.id.clone();
        // Before anybody is told: who has waited finds the event.
        self.publish("exec_die", &[("execID", &id), ("exitCode", &exit_code.to_string())]);
        if !waiting.is_empty() {
            self.execs.table.remove(key);
        }
        for asked in waiting {
            self.respond(asked, &Response::ExecExited { exit_code });
        }
        self.end_check(&id, exit_code);
        self.execs.forget_oldest();
        true
    }

    /// `ExecWait`: the code is given once.
    pub(super) fn exec_wait(&mut self, asked: Asked, id: &str) {
        let Some((key, exec)) = self.execs.table.iter_mut().find(|(_, e)| e.id == id) else {
            return self.fail(asked, FailureKind::NotRunning, format!("no exec {id}"));
        };
        if let Stage::Ended(exit_code) = exec.stage {
            self.execs.table.remove(key);
            return self.respond(asked, &Response::ExecExited { exit_code });
        }
        if exec.waiting.len() >= MAX_WAITING {
            return self.fail(asked, FailureKind::TooMany, "too many wait for this exec");
        }
        exec.waiting.push(asked);
    }
}

/// Pipes for what is wanted, `/dev/null` for the rest; the caller's ends in the order stdin, stdout, stderr.
fn pipes(wanted: ExecStdio) -> Result<(Stdio, Vec<OwnedFd>)> {
    use rustix::fs::{Mode, OFlags, open};
    let mut ours = Vec::new();
    let mut end = |wanted: bool, child_reads: bool| -> Result<OwnedFd> {
        if !wanted {
            return open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                .map_err(Error::io("open(\"/dev/null\")"));
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(Error::io("pipe2()"))?;
        let (theirs, mine) = if child_reads { (read, write) } else { (write, read) };
        ours.push(mine);
        Ok(theirs)
    };
    let stdin = end(wanted.stdin, true)?;
    let stdout = end(wanted.stdout, false)?;
    let stderr = end(wanted.stderr, false)?;
    Ok((Stdio::Pipes { stdin, stdout, stderr }, ours))
}
