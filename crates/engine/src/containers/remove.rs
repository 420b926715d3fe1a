//! Removing a container.

use crate::error::{Error, Kind, Result, io};
use crate::state::Record;
use crate::tasks::Finished;
use crate::{Engine, Status};

impl Engine {
    /// Removes a container. A running one only with `force`, which kills it.
    pub async fn remove_container(&self, word: &str, force: bool, volumes: bool) -> Result<()> {
        let container = self.container(word)?;
        if container.is_active() {
            if !force {
                let why = match container.state.status {
                    Status::Paused => "container is paused and must be unpaused first".to_string(),
                    status => format!(
                        "container is {}: stop the container before removing or force remove",
                        status.as_str()
                    ),
                };
                return Err(Error::conflict(format!("cannot remove container \"{word}\": {why}")));
            }
            match self.end_by(&container.id, Some("KILL"), Some(-1)).await {
                Ok(()) => {}
                // It ended, or was removed, in between.
                Err(e) if matches!(e.kind, Kind::NotModified | Kind::NotFound | Kind::Conflict) => {}
                Err(e) => return Err(e),
            }
        }
        self.remove_stopped(&container.id, volumes)?;
        self.pending().wake();
        self.empty_trash();
        Ok(())
    }

    /// Deletes what was removed. What cannot be (an immutable file, a busy mount) is said once and tried again by
    /// the next; whoever comes by here has nothing to do with it and does not fail.
    pub(crate) fn empty_trash(&self) {
        let emptied = self.store().and_then(|store| Ok(store.snapshots().empty_trash()?));
        if let Err(error) = emptied {
            tracing::warn!(%error, "the trash cannot be emptied now");
        }
    }

    fn remove_stopped(&self, id: &str, volumes: bool) -> Result<()> {
        let _lock = self.paths().lock(id)?;
        let record = match self.state()?.find(id) {
            Ok(record) => record,
            // `--rm` was faster.
            Err(e) if e.kind == Kind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        if let Some(task) = self.state()?.task(id)?
            && (task.due_ns.is_some() || self.finish(&record, &task)? != Finished::Ended)
        {
            return Err(Error::conflict(format!("container {id} was started again")));
        }
        self.remove_parts(&record, volumes)?;
        self.tell(&record, "destroy", &[]);
        Ok(())
    }

    /// Removes everything of a container that does not run, the record first: what is left after
    /// a crash has no record and is found by reconcile. With `volumes` those that nobody named go, too. The caller
    /// holds the lock.
    pub(crate) fn remove_parts(&self, record: &Record, volumes: bool) -> Result<()> {
        let volumes = if volumes { record.anonymous_volumes() } else { Vec::new() };
        self.state()?.delete(record, &volumes)?;
        self.store()?.snapshots().remove(&record.id)?;
        for key in record.image_snapshots() {
            self.store()?.snapshots().remove(&key)?;
        }
        match std::fs::remove_dir_all(self.paths().container(&record.id)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove the container's folder")(e));
            }
            _ => {}
        }
        self.paths().remove_lock(&record.id);
        self.release_volumes(&volumes)
    }
}
