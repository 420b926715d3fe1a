//! Ending a task: by a signal, or politely with a deadline.

use super::StartOptions;
use super::attach::SHIM_PATIENCE;
use super::streams::shim_error;
use super::wait::Condition;
use crate::error::{Error, Result};
use crate::restart::Stopping;
use crate::{Container, Engine};
use shim::client::Connection;
use shim::protocol::Request;
use std::time::Duration;

/// What `stop` sends when neither image nor client says otherwise.
const STOP_SIGNAL: &str = "SIGTERM";
/// And how long it waits.
const STOP_TIMEOUT_S: i64 = 10;
/// How long after SIGKILL a container may take; then the error says so.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Sends a signal (name or number) to the main process. As dockerd, SIGKILL is waited for: the container does not
    /// run any more when this returns, unless the kernel holds a process back.
    pub async fn kill(&self, word: &str, signal: &str) -> Result<()> {
        let signal = if signal.is_empty() { "KILL" } else { signal };
        let number = sys::signal::parse(signal).filter(|n| *n != 0).ok_or_else(|| unknown_signal(signal))?;
        let container = self.container(word)?;
        if !container.is_active() {
            return Err(Error::conflict(format!(
                "cannot kill container: {word}: container {} is not running",
                container.id
            )));
        }
        // As dockerd: where no stop signal is configured, any signal is meant to end it.
        let stop_signal = container.config.stop_signal.as_deref().filter(|s| !s.is_empty());
        let kill = rustix::process::Signal::KILL.as_raw();
        let ends = number == kill || stop_signal.is_none_or(|s| sys::signal::parse(s) == Some(number));
        // Before the signal, so that its end is not missed.
        let ended = self.wait(&container.id, Condition::NotRunning)?;
        if self.note_stop(&container, ends)? == Stopping::WasRestarting {
            return Ok(());
        }
        self.signal(&container, number)?;
        if ends {
            self.unpause_to_end(&container)?;
        }
        if number == kill {
            // dockerd too only logs it when the time is over.
            let _ = tokio::time::timeout(KILL_PATIENCE, ended.finish()).await;
        }
        Ok(())
    }

    /// Stops a container: its stop signal, then SIGKILL after the timeout (seconds; negative =
    /// never). [`crate::Kind::NotModified`] when it does not run.
    pub async fn stop(&self, word: &str, signal: Option<&str>, timeout_s: Option<i64>) -> Result<()> {
        let container = self.container(word)?;
        self.end_by(&container.id, signal, timeout_s).await?;
        self.tell_container(&container, "stop", &[]);
        Ok(())
    }

    /// The same as a part of something else.
    pub(crate) async fn end_by(
        &self,
        word: &str,
        signal: Option<&str>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let container = self.container(word)?;
        if !container.is_active() {
            return Err(Error::new(
                crate::Kind::NotModified,
                format!("container {} is not running", container.id),
            ));
        }
        let wanted = signal
            .filter(|s| !s.is_empty())
            .or(container.config.stop_signal.as_deref())
            .unwrap_or(STOP_SIGNAL);
        let number = sys::signal::parse(wanted)
            .filter(|n| *n != 0)
            .ok_or_else(|| Error::invalid(format!("invalid signal: {wanted}")))?;
        let seconds = timeout_s.or(container.config.stop_timeout).unwrap_or(STOP_TIMEOUT_S);
        // Before the signal, so that its end is not missed.
        let ended = self.wait(&container.id, Condition::NotRunning)?.finish();
        tokio::pin!(ended);
        if self.note_stop(&container, true)? == Stopping::WasRestarting {
            return Ok(());
        }
        match self.signal(&container, number) {
            Ok(()) => {}
            // It ended by itself in between.
            Err(e) if e.kind == crate::Kind::Conflict => {}
            Err(e) => return Err(e),
        }
        self.unpause_to_end(&container)?;
        if seconds < 0 {
            return ended.await.map(drop);
        }
        if let Ok(result) = tokio::time::timeout(Duration::from_secs(seconds as u64), &mut ended).await {
            return result.map(drop);
        }
        let _ = self.signal(&container, libc_sigkill());
        match tokio::time::timeout(KILL_PATIENCE, ended).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(Error::new(
                crate::Kind::Internal,
                format!(
                    "container {} did not end within {} s after SIGKILL",
                    container.id,
                    KILL_PATIENCE.as_secs()
                ),
            )),
        }
    }

    /// Stops a container, if it runs, and starts it. `--rm` does not remove it in between.
    pub async fn restart_container(
        &self,
        word: &str,
        signal: Option<&str>,
        timeout_s: Option<i64>,
        options: StartOptions,
    ) -> Result<()> {
        let id = self.container(word)?.id;
        self.keep(&id, true)?;
        match self.stop(&id, signal, timeout_s).await {
            Ok(()) => {}
            Err(e) if e.kind == crate::Kind::NotModified => {}
            Err(e) => {
                self.keep(&id, false)?;
                return Err(e);
            }
        }
        match self.start(&id, options) {
            // A policy, or somebody else, was faster.
            Err(e) if e.kind == crate::Kind::NotModified => {}
            other => other?,
        }
        self.tell(&self.state()?.find(&id)?, "restart", &[]);
        Ok(())
    }

    /// Whether the end of the present run removes an `--rm` container.
    fn keep(&self, id: &str, keep: bool) -> Result<()> {
        let _lock = self.paths().lock(id)?;
        let Some(mut task) = self.state()?.task(id)? else { return Ok(()) };
        task.kept = keep;
        self.state()?.put_task(id, &task)
    }

    /// A frozen process takes no signal: one that is meant to end is let go on.
    fn unpause_to_end(&self, container: &Container) -> Result<()> {
        if container.state.status != crate::Status::Paused {
            return Ok(());
        }
        match self.unpause(&container.id) {
            Err(e) if matches!(e.kind, crate::Kind::Conflict | crate::Kind::NotFound) => Ok(()),
            other => other,
        }
    }

    fn signal(&self, container: &Container, signal: i32) -> Result<()> {
        let mut step = sys::trace::step("signal", "pidfd_send_signal(2)");
        step.note(format_args!("{signal} to pid {}, by the shim", container.state.pid));
        let mut connection = Connection::connect(&self.paths().task(&container.id)).map_err(shim_error)?;
        let request = Request::Kill { signal, all: false, exec_id: None };
        connection.call(&request, &[], Some(SHIM_PATIENCE)).map_err(shim_error)?;
        self.tell_container(container, "kill", &[("signal", &signal.to_string())]);
        Ok(())
    }
}

fn libc_sigkill() -> i32 {
    rustix::process::Signal::KILL.as_raw()
}

/// Of a number the kernel's range is meant, of a word its name: dockerd says so.
fn unknown_signal(signal: &str) -> Error {
    match signal.parse::<i32>() {
        Ok(number) if number > 0 => {
            Error::invalid(format!("the linux daemon does not support signal {number}"))
        }
        _ => Error::invalid(format!("invalid signal: {signal}")),
    }
}
