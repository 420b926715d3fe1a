//! The one end of every task: [`Engine::task_exited`].
//!
//! Called by the process that supervises the shim, by `tare internal task-exited`, by whoever finds
//! a shim's lock free, and before a new start. It holds the container's lock and may be repeated:
//! each step is undone by its own record, and the task row goes last.

use crate::Engine;
use crate::error::{Error, Kind, Result, errno};
use crate::state::{Record, Task};
use cgroup::Cgroup;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use shim::exit::ExitRecord;
use std::path::Path;
use std::time::Duration;

/// How long the processes of a lost shim may take to die.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Cleans up after a task that has ended; does nothing when it has not, or when there is none.
    pub fn task_exited(&self, id: &str) -> Result<()> {
        // Without a task there is nothing to lock for: a lock file would only be made anew.
        if self.state()?.task(id)?.is_none() {
            return Ok(());
        }
        let removed = self.task_exited_locked(id)?;
        if removed {
            self.store()?.snapshots().empty_trash()?;
        }
        Ok(())
    }

    /// `Ok(true)`: the container went with its task.
    fn task_exited_locked(&self, id: &str) -> Result<bool> {
        let _lock = self.paths().lock(id)?;
        let Some(task) = self.state()?.task(id)? else { return Ok(false) };
        match self.state()?.find(id) {
            Ok(record) => Ok(self.finish(&record, &task)? && record.host.auto_remove),
            Err(e) if e.kind == Kind::NotFound => self.forget_task(id, &task).map(|()| true),
            Err(e) => Err(e),
        }
    }

    /// With the container's lock held: cleans up if the task has ended. `Ok(false)`: it runs.
    pub(crate) fn finish(&self, record: &Record, task: &Task) -> Result<bool> {
        let Some(exit) = self.end_of(record, task)? else { return Ok(false) };
        let mut step = sys::trace::step("exit", "exit.json");
        step.note(format_args!("code {}", exit.exit_code));
        drop(step);
        self.pending().note_exit(&record.id, exit.exit_code);
        let mut record = record.clone();
        record.last.started_ns = task.started_ns;
        record.last.finished_ns = exit.finished_at_ns;
        record.last.exit_code = exit.exit_code;
        record.last.oom_killed = exit.oom_killed;
        record.last.error.clone_from(&exit.error);
        if record.host.auto_remove {
            self.remove_parts(&record)?;
        } else {
            self.state()?.update(&record)?;
            let _ = std::fs::remove_file(self.paths().container(&record.id).join(crate::reconcile::STARTED));
        }
        self.forget_task(&record.id, task)?;
        Ok(true)
    }

    /// The record of this task's end, if there is one.
    pub(crate) fn exit_record(&self, id: &str, task: &Task) -> Result<Option<ExitRecord>> {
        let Some(dir) = open_dir(&self.paths().container(id))? else { return Ok(None) };
        let found = ExitRecord::read(dir.as_fd()).map_err(|e| Error::internal("exit record", &e))?;
        // A record of an earlier run is not this one's.
        Ok(found.filter(|exit| exit.pid == task.pid && exit.start_time == task.pid_start))
    }

    /// How the task ended: as its shim wrote it, or in its place when the shim is gone.
    fn end_of(&self, record: &Record, task: &Task) -> Result<Option<ExitRecord>> {
        if let Some(exit) = self.exit_record(&record.id, task)? {
            return Ok(Some(exit));
        }
        let run_dir = self.paths().task(&record.id);
        if task.pid != 0 && shim::client::is_alive(&run_dir).map_err(super::streams::shim_error)? {
            return Ok(None);
        }
        // The shim was lost, or the process that was starting the task: end what is left of it.
        self.kill_cgroup(&task.cgroup)?;
        if let Some(dir) = open_dir(&self.paths().container(&record.id))?
            && let Some(exit) =
                ExitRecord::read(dir.as_fd()).map_err(|e| Error::internal("exit record", &e))?
            && exit.pid == task.pid
        {
            return Ok(Some(exit));
        }
        let boot = sys::clock::boot_id()?;
        Ok(Some(ExitRecord::lost(&record.id, &boot, task.pid, task.pid_start)))
    }

    /// Ends every process of a container's cgroup and removes it.
    pub(crate) fn kill_cgroup(&self, path: &str) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let group = match Cgroup::open(self.cgroup_layout()?, Path::new(path)) {
            Ok(group) => group,
            // None left.
            Err(_) => return Ok(()),
        };
        group.kill()?;
        group.wait_empty(KILL_PATIENCE)?;
        group.delete()?;
        Ok(())
    }

    /// Takes back everything of a task that is not the container's, the row last.
    pub(crate) fn forget_task(&self, id: &str, task: &Task) -> Result<()> {
        self.disconnect(task)?;
        match std::fs::remove_dir_all(self.paths().task(id)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(crate::error::io("remove the run folder")(e));
            }
            _ => {}
        }
        self.state()?.delete_task(id)
    }
}

/// Opens a folder; `None` when there is none.
fn open_dir(path: &Path) -> Result<Option<OwnedFd>> {
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(errno(format!("open {}", path.display()))(e)),
    }
}
