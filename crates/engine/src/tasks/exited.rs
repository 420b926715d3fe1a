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

/// What is left of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    /// It runs.
    Runs,
    /// Nothing.
    Ended,
    /// It runs again after that time.
    Again(Duration),
}

impl Engine {
    /// Cleans up after a task that has ended; does nothing when it has not, or when there is none. A container that
    /// is due to run again is started.
    ///
    /// `Some`: it will be due after that time, when the caller sees to it that this is called again.
    pub fn task_exited(&self, id: &str) -> Result<Option<Duration>> {
        self.end_task(id, false)
    }

    /// The same for a caller who has found the task without anybody to keep a time for it: what shall run again does
    /// so at once.
    pub(crate) fn task_lost(&self, id: &str) -> Result<()> {
        self.end_task(id, true).map(drop)
    }

    fn end_task(&self, id: &str, at_once: bool) -> Result<Option<Duration>> {
        // Without a task there is nothing to lock for: a lock file would only be made anew.
        if self.state()?.task(id)?.is_none() {
            return Ok(None);
        }
        let (removed, again) = self.end_task_locked(id, at_once)?;
        if removed {
            self.empty_trash();
        }
        Ok(again)
    }

    /// Whether the container went with its task, and when it is due to run again.
    fn end_task_locked(&self, id: &str, at_once: bool) -> Result<(bool, Option<Duration>)> {
        let _lock = self.paths().lock(id)?;
        let Some(task) = self.state()?.task(id)? else { return Ok((false, None)) };
        let finished = match task.until_due() {
            Some(left) => Finished::Again(left),
            None => match self.state()?.find(id) {
                Ok(record) => match self.finish(&record, &task)? {
                    Finished::Ended => return Ok((record.host.auto_remove && !task.kept, None)),
                    other => other,
                },
                Err(e) if e.kind == Kind::NotFound => {
                    self.forget_task(id, &task, None)?;
                    return Ok((true, None));
                }
                Err(e) => return Err(e),
            },
        };
        let Finished::Again(left) = finished else { return Ok((false, None)) };
        if !left.is_zero() && !at_once {
            return Ok((false, Some(left)));
        }
        let waiting = self.state()?.task(id)?.unwrap_or(task);
        self.restart(id, &waiting)?;
        self.pending().wake();
        Ok((false, None))
    }

    /// With the container's lock held: cleans up if the task has ended.
    pub(crate) fn finish(&self, record: &Record, task: &Task) -> Result<Finished> {
        let Some(exit) = self.end_of(record, task)? else { return Ok(Finished::Runs) };
        let mut step = sys::trace::step("exit", "exit.json");
        step.note(format_args!("code {}", exit.exit_code));
        drop(step);
        self.pending().note_exit(&record.id, exit.exit_code);
        let again = again_after(record, task, &exit);
        let lasted = exit.finished_at_ns.saturating_sub(task.started_ns).max(0) / 1_000_000_000;
        if task.pid != 0 {
            self.tell_networks(record, task, "disconnect");
            let (lasted, code) = (lasted.to_string(), exit.exit_code.to_string());
            self.tell(record, "die", &[("execDuration", &lasted), ("exitCode", &code)]);
        }
        let mut record = record.clone();
        record.last = crate::state::LastRun {
            started_ns: task.started_ns,
            finished_ns: exit.finished_at_ns,
            exit_code: exit.exit_code,
            oom_killed: exit.oom_killed,
            error: exit.error,
            restarts: record.last.restarts + i64::from(again.is_some()),
            stopped_by_hand: task.stopped_by_hand,
            health: self.last_health(&record),
        };
        for name in record.volume_names() {
            self.tell_volume(name, "unmount", &[("container", &record.id)]);
        }
        if record.host.auto_remove && !task.kept {
            self.remove_parts(&record, true)?;
            self.tell(&record, "destroy", &[]);
        } else {
            self.state()?.update(&record)?;
            let _ = std::fs::remove_file(self.paths().container(&record.id).join(crate::reconcile::STARTED));
        }
        let Some(delay_ms) = again else {
            self.forget_task(&record.id, task, None)?;
            return Ok(Finished::Ended);
        };
        let delay = Duration::from_millis(delay_ms);
        let waiting = Task {
            owner: None,
            pid: 0,
            pid_start: 0,
            endpoints: Vec::new(),
            mounted: Vec::new(),
            paused: false,
            due_ns: Some(sys::clock::boottime_ns().saturating_add(delay.as_nanos() as u64)),
            delay_ms,
            ..task.clone()
        };
        self.forget_task(&record.id, task, Some(&waiting))?;
        Ok(Finished::Again(delay))
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

    /// Takes back everything of a task that is not the container's, the row last: `next` takes its place.
    pub(crate) fn forget_task(&self, id: &str, task: &Task, next: Option<&Task>) -> Result<()> {
        self.disconnect(id, task)?;
        self.unmount_volumes(id, &task.mounted)?;
        crate::ipc::detach(&self.paths().task(id))?;
        match std::fs::remove_dir_all(self.paths().task(id)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(crate::error::io("remove the run folder")(e));
            }
            _ => {}
        }
        let _names = self.forget_names(id, task)?;
        self.state()?.end_task(id, next)
    }
}

/// The delay in milliseconds after which a task that has ended like that runs again; `None`: not at all.
pub(crate) fn again_after(record: &Record, task: &Task, exit: &ExitRecord) -> Option<u64> {
    let lasted = exit.finished_at_ns.saturating_sub(task.started_ns);
    let run = crate::restart::Run {
        exit_code: exit.exit_code,
        lasted: Duration::from_nanos(u64::try_from(lasted).unwrap_or(0)),
        delay_ms: task.delay_ms,
        count: record.last.restarts,
        cancelled: task.cancelled,
        stopped_by_hand: task.stopped_by_hand,
    };
    crate::restart::after(&record.host.restart, &run)
}

/// Opens a folder; `None` when there is none.
fn open_dir(path: &Path) -> Result<Option<OwnedFd>> {
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(errno(format!("open {}", path.display()))(e)),
    }
}
