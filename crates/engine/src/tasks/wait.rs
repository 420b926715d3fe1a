//! Waiting for a container's end, in Docker's three senses.

use super::streams::AsyncConnection;
use crate::error::{Error, Result};
use crate::{Engine, Status};
use shim::client::{Connection, Incoming};
use shim::protocol::{Request, Response};

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

/// A wait that has found its container; from here on a start is not missed.
#[derive(Debug)]
pub struct Waiting {
    engine: Engine,
    id: String,
    condition: Condition,
    starts: tokio::sync::watch::Receiver<u64>,
}

impl Engine {
    /// Begins to wait; errors such as "No such container" come from here, before anything is waited for.
    pub fn wait(&self, word: &str, condition: Condition) -> Result<Waiting> {
        let starts = self.pending().starts();
        let container = self.container(word)?;
        Ok(Waiting { engine: self.clone(), id: container.id, condition, starts })
    }
}

impl Waiting {
    /// Waits.
    pub async fn finish(mut self) -> Result<WaitResult> {
        let engine = self.engine.clone();
        let _guard = engine.pending().waiting(&self.id);
        let mut last = WaitResult { exit_code: 0, error: None };
        loop {
            let container = match engine.container(&self.id) {
                Ok(container) => container,
                Err(e) if e.kind == crate::Kind::NotFound => return Ok(last),
                Err(e) => return Err(e),
            };
            match container.state.status {
                Status::Running => {
                    if let Some(result) = self.follow().await? {
                        last = result;
                    }
                    engine.pending().cleaned_up(&self.id).await;
                    if self.condition == Condition::Removed && container.host.auto_remove {
                        // Whoever was to clean up may have died: the same function, under the lock.
                        engine.clone().task_exited(&self.id)?;
                        return Ok(last);
                    }
                    if self.condition != Condition::Removed {
                        return Ok(last);
                    }
                }
                Status::Dead => engine.task_exited(&self.id)?,
                Status::Created | Status::Exited if self.condition == Condition::NotRunning => {
                    return Ok(WaitResult { exit_code: container.state.exit_code, error: None });
                }
                Status::Created | Status::Exited => self.next_start().await?,
            }
        }
    }

    async fn next_start(&mut self) -> Result<()> {
        self.starts.changed().await.map_err(|_| Error::conflict("the engine is shutting down"))
    }

    /// Waits for the end of the run that the shim holds, and for the shim's own end, by which
    /// the cleanup is done. `None`: the shim was lost before it could tell.
    async fn follow(&self) -> Result<Option<WaitResult>> {
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
                result = Some(WaitResult { exit_code: exit.exit_code, error: None });
                if self.condition != Condition::Removed {
                    break;
                }
            }
        }
        if result.is_none() {
            self.engine.task_exited(&self.id)?;
            return self.recorded();
        }
        Ok(result)
    }

    fn recorded(&self) -> Result<Option<WaitResult>> {
        match self.engine.container(&self.id) {
            Ok(c) => Ok(Some(WaitResult { exit_code: c.state.exit_code, error: None })),
            Err(e) if e.kind == crate::Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}
