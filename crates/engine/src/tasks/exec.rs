//! One more process in a running container.
//!
//! The shim forks it and is its parent; the pipes or the terminal's master come to this process,
//! so that an exec's bytes never pass the shim.

use super::attach::SHIM_PATIENCE;
use super::streams::{AsyncConnection, shim_error};
use crate::error::{Error, Kind, Result};
use crate::{Engine, spec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use serde::{Deserialize, Serialize};
use shim::client::Connection;
use shim::config::Config;
use shim::protocol::{ExecStdio, Request, Response};
use std::time::Duration;

/// An exec touches the container's file systems, which may be slow.
const EXEC_PATIENCE: Duration = Duration::from_secs(60);

/// How long an exec is known after its end, as dockerd keeps it (there: until the second round after it).
const KEPT: Duration = Duration::from_secs(5 * 60);

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecConfig {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// A terminal.
    pub tty: bool,
    /// The client writes stdin.
    pub attach_stdin: bool,
    /// The client reads stdout.
    pub attach_stdout: bool,
    /// The client reads stderr.
    pub attach_stderr: bool,
    /// Added to the container's environment.
    pub env: Vec<String>,
    /// `user[:group]`; the container's when empty.
    pub user: String,
    /// Working directory; the container's when empty.
    pub working_dir: String,
    /// All capabilities.
    pub privileged: bool,
    /// What a client at a terminal types to leave it; Docker's when empty.
    #[serde(default)]
    pub detach_keys: String,
}

/// An exec as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ExecRecord {
    container: String,
    config: ExecConfig,
    started: bool,
    pid: i32,
    exit_code: Option<i32>,
    /// When its end was found out, by the clock that does not stop in sleep; 0 before.
    #[serde(default)]
    ended_ns: u64,
}

impl ExecRecord {
    /// Takes it for the one who starts it: `false` when somebody did already.
    fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.started, true)
    }

    fn end(&mut self, code: i32, now_ns: u64) {
        if self.exit_code.is_none() {
            (self.exit_code, self.ended_ns) = (Some(code), now_ns.max(1));
        }
    }

    /// It has ended, and so long ago that nobody will ask any more.
    fn is_old(&self, now_ns: u64) -> bool {
        self.ended_ns != 0 && now_ns.saturating_sub(self.ended_ns) > KEPT.as_nanos() as u64
    }
}

/// An exec as the doors see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecInfo {
    /// Its id.
    pub id: String,
    /// The container's id.
    pub container: String,
    /// What it runs.
    pub config: ExecConfig,
    /// It runs now.
    pub running: bool,
    /// Its pid on the host, 0 before it ran.
    pub pid: i32,
    /// Once it has ended.
    pub exit_code: Option<i32>,
}

/// The other ends of a started exec's streams.
#[derive(Debug)]
pub enum ExecStreams {
    /// A terminal's master: reading is output, writing is input.
    Terminal(OwnedFd),
    /// Pipes, each if asked for.
    Pipes {
        /// Write end.
        stdin: Option<OwnedFd>,
        /// Read end.
        stdout: Option<OwnedFd>,
        /// Read end.
        stderr: Option<OwnedFd>,
    },
}

impl Engine {
    /// Prepares an exec; nothing runs yet. Returns its id.
    pub fn exec_create(&self, word: &str, config: ExecConfig) -> Result<String> {
        if config.cmd.is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        let container = self.container(word)?;
        container.must_run()?;
        not_paused(&container, word)?;
        // As dockerd: an unknown user is told here, before anything is taken over.
        self.exec_user(&container, &config.user)?;
        let id = crate::containers::new_id()?;
        let record = ExecRecord {
            container: container.id.clone(),
            config,
            started: false,
            pid: 0,
            exit_code: None,
            ended_ns: 0,
        };
        self.forget_old_execs(&container.id)?;
        self.state()?.put_exec(&id, &container.id, &crate::state::encode(&record)?)?;
        self.tell_exec(&container, "exec_create", &record.config, &id);
        Ok(id)
    }

    /// Starts it. `size` is the terminal's (columns, rows); a detached one gets no streams.
    pub fn exec_start(&self, id: &str, detach: bool, size: Option<(u16, u16)>) -> Result<ExecStreams> {
        let record = self.exec_record(id)?;
        if record.started {
            return Err(self.started_already(id, &record));
        }
        let container = self.container(&record.container)?;
        container.must_run()?;
        not_paused(&container, &container.id)?;
        let mut process = self.exec_process(&container, &record.config)?;
        if let Some((columns, rows)) = size.filter(|(c, r)| *c > 0 && *r > 0 && record.config.tty) {
            process.console_size =
                Some(oci::runtime::ConsoleSize { width: columns.into(), height: rows.into() });
        }
        let config = &record.config;
        let stdio = ExecStdio {
            stdin: config.attach_stdin && !detach,
            stdout: config.attach_stdout && !detach,
            stderr: config.attach_stderr && !detach,
        };
        let mut connection = Connection::connect(&self.paths().task(&container.id)).map_err(shim_error)?;
        // Of several who start it exactly one goes on. Killed from here on, it counts as one that was killed.
        let mut claimed = false;
        self.state()?.change_exec(id, |kept: &mut ExecRecord| claimed = kept.claim())?;
        if !claimed {
            return Err(self.started_already(id, &self.exec_record(id)?));
        }
        // As dockerd: before it is known whether it can run.
        self.tell_exec(&container, "exec_start", &record.config, id);
        let sink = sys::trace::current_sink();
        let handed: Vec<BorrowedFd<'_>> = sink.iter().map(|sink| sink.as_fd()).collect();
        let trace = sink.is_some();
        let request = Request::Exec { exec_id: id.to_string(), process: Box::new(process), stdio, trace };
        let answer = connection.call(&request, &handed, Some(EXEC_PATIENCE)).map_err(exec_error);
        let (response, fds) = match answer {
            Ok(answer) => answer,
            Err(e) => {
                // Docker's CLI asks for the code after it was told the error.
                let (code, now) = (super::start::failure_code(&e, 0), sys::clock::boottime_ns());
                self.state()?.change_exec(id, |kept: &mut ExecRecord| kept.end(code, now))?;
                return Err(e);
            }
        };
        let Response::ExecStarted { pid } = response else {
            return Err(Error::new(Kind::Internal, "the shim did not start the exec"));
        };
        self.state()?.change_exec(id, |kept: &mut ExecRecord| kept.pid = pid)?;
        let mut fds = fds.into_iter();
        let missing = || Error::new(Kind::Internal, "the shim sent too few descriptors");
        if record.config.tty {
            return Ok(ExecStreams::Terminal(fds.next().ok_or_else(missing)?));
        }
        let mut take =
            |wanted: bool| if wanted { fds.next().ok_or_else(missing).map(Some) } else { Ok(None) };
        Ok(ExecStreams::Pipes {
            stdin: take(stdio.stdin)?,
            stdout: take(stdio.stdout)?,
            stderr: take(stdio.stderr)?,
        })
    }

    /// Waits for its exit code.
    pub async fn exec_wait(&self, id: &str) -> Result<i32> {
        let record = self.exec_record(id)?;
        if let Some(code) = record.exit_code {
            return Ok(code);
        }
        let connection = Connection::connect(&self.paths().task(&record.container)).map_err(shim_error)?;
        let mut connection = AsyncConnection::new(connection)?;
        let answer = connection.call(&Request::ExecWait { exec_id: id.to_string() }).await?;
        let code = match answer {
            Some((Response::ExecExited { exit_code }, _)) => exit_code,
            // The container went first and took it along.
            _ => 137,
        };
        // Gone with the task already: then nobody can ask any more.
        let now = sys::clock::boottime_ns();
        self.state()?.change_exec(id, |kept: &mut ExecRecord| kept.end(code, now))?;
        Ok(code)
    }

    /// How it stands.
    pub fn exec_inspect(&self, id: &str) -> Result<ExecInfo> {
        let mut record = self.exec_record(id)?;
        let mut running = false;
        if record.started && record.exit_code.is_none() {
            (running, record.exit_code) = self.ask_exec(id, &record.container);
        }
        Ok(ExecInfo {
            id: id.to_string(),
            container: record.container,
            config: record.config,
            running,
            pid: record.pid,
            exit_code: record.exit_code,
        })
    }

    /// Ids of the execs that run in a container, as its shim knows them.
    pub fn exec_ids(&self, container: &str) -> Result<Vec<String>> {
        let known = self.state()?.exec_ids(container)?;
        if known.is_empty() {
            return Ok(known);
        }
        let Ok(mut connection) = Connection::connect(&self.paths().task(container)) else {
            return Ok(Vec::new());
        };
        match connection.call(&Request::State, &[], Some(SHIM_PATIENCE)) {
            Ok((Response::State { execs, .. }, _)) => {
                Ok(known.into_iter().filter(|id| execs.contains(id)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Changes the size of its terminal.
    pub fn exec_resize(&self, id: &str, columns: u16, rows: u16) -> Result<()> {
        let record = self.exec_record(id)?;
        let mut connection =
            Connection::connect(&self.paths().task(&record.container)).map_err(shim_error)?;
        let request = Request::Resize { exec_id: Some(id.to_string()), width: columns, height: rows };
        connection.call(&request, &[], Some(SHIM_PATIENCE)).map_err(shim_error).map(drop)
    }

    /// (it runs, its exit code), from the shim; an exec whose shim is gone has been killed with it.
    fn ask_exec(&self, id: &str, container: &str) -> (bool, Option<i32>) {
        let Ok(mut connection) = Connection::connect(&self.paths().task(container)) else {
            return (false, Some(137));
        };
        let running = match connection.call(&Request::State, &[], Some(SHIM_PATIENCE)) {
            Ok((Response::State { execs, .. }, _)) => execs.iter().any(|e| e == id),
            _ => false,
        };
        if running {
            return (true, None);
        }
        match connection.call(&Request::ExecWait { exec_id: id.to_string() }, &[], Some(SHIM_PATIENCE)) {
            Ok((Response::ExecExited { exit_code }, _)) => (false, Some(exit_code)),
            _ => (false, Some(137)),
        }
    }

    /// dockerd's two texts.
    fn started_already(&self, id: &str, record: &ExecRecord) -> Error {
        let runs = record.exit_code.is_none() && self.exec_runs(id, &record.container);
        let how = if runs { "is already running" } else { "has already run" };
        Error::conflict(format!("exec command {id} {how}"))
    }

    /// Whether the shim has it. Its exit code, which is given once, is not taken.
    fn exec_runs(&self, id: &str, container: &str) -> bool {
        let Ok(mut connection) = Connection::connect(&self.paths().task(container)) else { return false };
        let answer = connection.call(&Request::State, &[], Some(SHIM_PATIENCE));
        matches!(answer, Ok((Response::State { execs, .. }, _)) if execs.iter().any(|e| e == id))
    }

    /// What ended long ago goes when another one comes: a container that is checked for years keeps little.
    fn forget_old_execs(&self, container: &str) -> Result<()> {
        let now = sys::clock::boottime_ns();
        self.state()?.forget_execs(container, |record: &ExecRecord| record.is_old(now))
    }

    fn tell_exec(&self, container: &crate::Container, action: &str, config: &ExecConfig, id: &str) {
        // dockerd's form: the program, a space, the arguments.
        let (program, args) = config.cmd.split_first().map_or(("", &[][..]), |(p, args)| (p.as_str(), args));
        let action = format!("{action}: {program} {}", args.join(" "));
        self.tell_container(container, &action, &[("execID", id)]);
    }

    /// The user that an exec asks for by name, from the files as the container sees them now.
    fn exec_user(&self, container: &crate::Container, user: &str) -> Result<Option<spec::ResolvedUser>> {
        if user.is_empty() {
            return Ok(None);
        }
        // The kernel's own view of its root.
        let process = self.process_folder(&container.id)?;
        let root = sys::root::Root::open_dir(&sys::root::proc_path(process.as_fd()).join("root"))?;
        crate::containers::resolve_user_in(&root, user, &container.host.group_add).map(Some)
    }

    fn exec_record(&self, id: &str) -> Result<ExecRecord> {
        self.state()?.exec(id)?.ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
    }

    fn exec_process(
        &self,
        container: &crate::Container,
        config: &ExecConfig,
    ) -> Result<oci::runtime::Process> {
        let path = self.paths().task(&container.id).join(shim::config::FILE);
        let bytes = std::fs::read(&path).map_err(crate::error::io(format!("read {}", path.display())))?;
        let shim_config: Config = serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(Kind::Internal, format!("decode {}: {e}", path.display())))?;
        let base = shim_config
            .spec
            .process
            .ok_or_else(|| Error::new(Kind::Internal, "the container has no process"))?;
        let user = self.exec_user(container, &config.user)?;
        let bounding = if config.privileged { crate::system::bounding_capabilities()? } else { Vec::new() };
        Ok(spec::exec_process(&base, user.as_ref(), config, &bounding))
    }
}

fn not_paused(container: &crate::Container, word: &str) -> Result<()> {
    if container.state.status != crate::Status::Paused {
        return Ok(());
    }
    Err(Error::conflict(format!("Container {word} is paused, unpause the container before exec")))
}

/// Docker's words in front of the runtime's.
fn exec_error(e: shim::Error) -> Error {
    let mut error = shim_error(e);
    error.message =
        format!("OCI runtime exec failed: exec failed: {}", super::start::process_text(&error.message));
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use crate::state::{State, encode};
    use std::path::Path;

    fn state(folder: &Path) -> State {
        let paths = Paths { data: folder.to_path_buf(), run: folder.to_path_buf() };
        State::open(&paths).unwrap()
    }

    fn record() -> ExecRecord {
        ExecRecord {
            container: "c".into(),
            config: ExecConfig::default(),
            started: false,
            pid: 0,
            exit_code: None,
            ended_ns: 0,
        }
    }

    /// Of many processes that start one exec exactly one may; the others change nothing.
    #[test]
    fn one_start_wins() {
        let folder = tempfile::tempdir().unwrap();
        state(folder.path()).put_exec("one", "c", &encode(&record()).unwrap()).unwrap();
        let won: usize = std::thread::scope(|scope| {
            let tries = (0..8).map(|_| {
                scope.spawn(|| {
                    let mut claimed = false;
                    let state = state(folder.path());
                    state.change_exec("one", |kept: &mut ExecRecord| claimed = kept.claim()).unwrap();
                    usize::from(claimed)
                })
            });
            tries.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
        assert!(!state(folder.path()).change_exec("other", |_: &mut ExecRecord| {}).unwrap());
    }

    /// Those that ended long ago are forgotten, those that run or ended just now are not.
    #[test]
    fn old_ones_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(folder.path());
        let minute = 60 * 1_000_000_000;
        let now = 60 * minute;
        for (id, ended_at) in [("old", Some(54)), ("new", Some(56)), ("running", None)] {
            let mut record = record();
            assert!(record.claim() && !record.claim());
            if let Some(at) = ended_at {
                record.end(3, at * minute);
                record.end(4, now);
                assert_eq!(record.exit_code, Some(3), "the first one to find out is right");
            }
            state.put_exec(id, "c", &encode(&record).unwrap()).unwrap();
        }
        state.forget_execs("c", |record: &ExecRecord| record.is_old(now)).unwrap();
        let mut left = state.exec_ids("c").unwrap();
        left.sort();
        assert_eq!(left, ["new", "running"]);
    }
}
