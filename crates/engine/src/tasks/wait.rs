//! Waiting for a container's end, in Docker's three senses.

use super::streams::AsyncConnection;
use crate::error::{Error, Result};
use crate::{Engine, Status};
use rustix::fs::inotify::WatchFlags;
use shim::client::{Connection, Incoming};
use shim::protocol::{Request, Response};
use std::time::Duration;

/// How long a change that came before the watch for changes may go unseen.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// That it does not run: returns at once for one that has ended or was never started.
    #[default]
    NotRunning,
    /// The end of this run, or of the next one.
    NextExit,
    /// That it is gone.
    Removed,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitResult {
    /// Docker's exit code.
    pub exit_code: i32,
    /// Why there is none, if so.
    pub error: Option<String>,
}

/// A wait that has found its container; from here on a start or an end is not missed.
#[derive(Debug)]
pub struct Waiting {
    engine: Engine,
    id: String,
    condition: Condition,
    changes: tokio::sync::watch::Receiver<u64>,
}

impl Engine {
    /// Begins to wait; errors such as "No such container" come from here, before anything is waited for.
    pub fn wait(&self, word: &str, condition: Condition) -> Result<Waiting> {
        let changes = self.pending().changes();
        let id = self.container(word)?.id;
        self.pending().join(&id);
        Ok(Waiting { engine: self.clone(), id, condition, changes })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.engine.pending().leave(&self.id);
    }
}

impl Waiting {
    /// Waits.
    pub async fn finish(mut self) -> Result<WaitResult> {
        let engine = self.engine.clone();
        let mut last: Option<i32> = None;
        loop {
            // Marked as seen before looking, so that a change in between is looked at again.
            self.changes.borrow_and_update();
            let since = engine.pending().since(&self.id);
            last = since.exit.or(last);
            let container = match engine.container(&self.id) {
                Ok(container) => container,
                Err(e) if e.kind == crate::Kind::NotFound => {
                    // It may have ended between the two looks.
                    let since = engine.pending().since(&self.id);
                    return Ok(removed(since.exit.or(last), since.started));
                }
                Err(e) => return Err(e),
            };
            match container.state.status {
                Status::Running | Status::Paused => last = self.follow().await?.or(last),
                Status::Dead => {
                    engine.task_lost(&self.id)?;
                    continue;
                }
                Status::Exited | Status::Restarting if since.started || since.exit.is_some() => {
                    last = since.exit.or(Some(container.state.exit_code));
                }
                Status::Created | Status::Exited if self.condition == Condition::NotRunning => {
                    return Ok(ended(container.state.exit_code));
                }
                // As dockerd: the next run counts.
                Status::Restarting => {
                    self.next_state().await?;
                    continue;
                }
                Status::Created | Status::Exited => {
                    self.next_change().await?;
                    continue;
                }
            }
            // A run has ended: its cleanup is this process's, or the helper's, or ours.
            engine.pending().cleaned_up(&self.id).await;
            if self.condition == Condition::Removed && container.host.auto_remove {
                engine.task_exited(&self.id)?;
            }
            last = self.last_word(last)?;
            if self.condition != Condition::Removed || container.host.auto_remove {
                return Ok(removed(last, true));
            }
            self.next_change().await?;
        }
    }

    /// Waits for another process to do something to a container: its lock is let go with each such thing.
    async fn next_state(&mut self) -> Result<()> {
        let locks = self.engine.paths().run.join("locks");
        let watch = super::logs::watch_folder(&locks, WatchFlags::CLOSE_WRITE | WatchFlags::CREATE)?;
        tokio::select! {
            changed = self.next_change() => changed,
            ready = watch.readable() => ready.map_err(crate::error::io("epoll_wait(inotify)")),
            // What happened between the last look and the watch.
            () = tokio::time::sleep(SECOND_LOOK) => Ok(()),
        }
    }

    async fn next_change(&mut self) -> Result<()> {
        self.changes.changed().await.map_err(|_| Error::conflict("the engine is shutting down"))
    }

    /// Waits for the end of the run that the shim holds, and for the shim's own end, by which
    /// the cleanup is done. `None`: the shim was lost before it could tell.
    async fn follow(&self) -> Result<Option<i32>> {
        let run_dir = self.engine.paths().task(&self.id);
        let connection = match Connection::connect(&run_dir) {
            Ok(connection) => connection,
            Err(shim::Error::NoShim(_) | shim::Error::Closed) => return self.recorded(),
            Err(e) => return Err(super::streams::shim_error(e)),
        };
        let mut connection = AsyncConnection::new(connection)?;
        connection.send(&Request::Wait)?;
        let mut result = None;
        while let Some(incoming) = connection.next().await? {
            if let Incoming::Response { response: Response::Exited(exit), .. } = incoming {
                result = Some(exit.exit_code);
                if self.condition != Condition::Removed {
                    break;
                }
            }
        }
        if result.is_none() {
            self.engine.task_lost(&self.id)?;
            return self.recorded();
        }
        Ok(result)
    }

    /// The code of a run that is cleaned up. Where the shim had gone before it could be asked, whoever cleaned up has
    /// read the code from the record of the run's end and noted it.
    fn last_word(&self, last: Option<i32>) -> Result<Option<i32>> {
        match last.or_else(|| self.engine.pending().since(&self.id).exit) {
            None => self.recorded(),
            known => Ok(known),
        }
    }

    /// The code of a run whose shim has gone: from its record, or as this process has noted it.
    fn recorded(&self) -> Result<Option<i32>> {
        match self.engine.container(&self.id) {
            Ok(c) if c.is_running() => Ok(None),
            Ok(c) => Ok(Some(c.state.exit_code)),
            Err(e) if e.kind == crate::Kind::NotFound => Ok(self.engine.pending().since(&self.id).exit),
            Err(e) => Err(e),
        }
    }
}

fn ended(exit_code: i32) -> WaitResult {
    WaitResult { exit_code, error: None }
}

/// A container that is gone: with its code, or with the reason why there is none.
fn removed(code: Option<i32>, has_run: bool) -> WaitResult {
    match code {
        Some(code) => ended(code),
        None if has_run => WaitResult {
            exit_code: 0,
            error: Some("the container was removed before its exit code was read".to_string()),
        },
        None => ended(0),
    }
}
