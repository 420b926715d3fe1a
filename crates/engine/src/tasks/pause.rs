//! Freezing a container's processes and letting them go on.
//!
//! The shim freezes; that it did is in the task's row, which only holders of the container's lock write.

use super::attach::SHIM_PATIENCE;
use super::streams::shim_error;
use crate::error::{Error, Kind, Result};
use crate::{Container, Engine, Status};
use shim::client::Connection;
use shim::protocol::{FailureKind, Request};

impl Engine {
    /// Freezes all processes of a container.
    pub fn pause(&self, word: &str) -> Result<()> {
        let container = self.container(word)?;
        let id = &container.id;
        match container.state.status {
            Status::Running => {}
            Status::Paused => return Err(Error::conflict(format!("Container {id} is already paused"))),
            Status::Restarting => container.must_run()?,
            _ => return Err(Error::conflict(format!("container {id} is not running"))),
        }
        self.freeze(&container, true, None)?;
        self.tell_container(&container, "pause", &[]);
        Ok(())
    }

    /// Freezes a container for as long as this process wants, or lives.
    pub(crate) fn freeze_for_now(&self, container: &Container) -> Result<()> {
        let own = sys::process::Stat::read("self")?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        self.freeze(container, true, Some((pid, own.start_time)))?;
        self.tell_container(container, "pause", &[]);
        Ok(())
    }

    /// Lets a container that was frozen so go on. It may have been let go, or have ended, meanwhile.
    pub(crate) fn thaw(&self, container: &Container) -> Result<()> {
        let task = self.state()?.task(&container.id)?;
        if task.is_none_or(|task| task.frozen_by.is_none()) {
            return Ok(());
        }
        match self.freeze(container, false, None) {
            Ok(()) => self.tell_container(container, "unpause", &[]),
            Err(e) if e.kind == Kind::Conflict => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Lets them go on.
    pub fn unpause(&self, word: &str) -> Result<()> {
        let container = self.container(word)?;
        if container.state.status != Status::Paused {
            return Err(Error::conflict(format!("Container {} is not paused", container.id)));
        }
        self.freeze(&container, false, None)?;
        self.tell_container(&container, "unpause", &[]);
        Ok(())
    }

    fn freeze(&self, container: &Container, pause: bool, by: Option<(i32, u64)>) -> Result<()> {
        let _lock = self.paths().lock(&container.id)?;
        let Some(mut task) = self.state()?.task(&container.id)? else { return container.must_run() };
        if by.is_some() {
            // Before the deed: when this process dies in between, the next who looks lets it go on.
            (task.paused, task.frozen_by) = (true, by);
            self.state()?.put_task(&container.id, &task)?;
        }
        let request = if pause { Request::Pause } else { Request::Resume };
        let asked = Connection::connect(&self.paths().task(&container.id))
            .and_then(|mut connection| connection.call(&request, &[], Some(SHIM_PATIENCE)).map(drop));
        match asked {
            Ok(()) => {}
            // It is so already: whoever did it was killed before the row was written.
            Err(shim::Error::Refused(failure)) if failure.kind == FailureKind::Conflict => {}
            Err(shim::Error::Closed | shim::Error::NoShim(_)) => {
                return Err(Error::conflict(format!("container {} is not running", container.id)));
            }
            Err(e) => return Err(shim_error(e)),
        }
        (task.paused, task.frozen_by) = (pause, by);
        self.state()?.put_task(&container.id, &task)
    }
}
