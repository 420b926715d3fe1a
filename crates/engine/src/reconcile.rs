//! Putting right what a crash has left.
//!
//! Only rows whose owner is dead are touched: a task whose shim's lock is free, a start whose
//! process is gone, a folder or snapshot without a record. Run at the daemon's start, after a
//! boot, and by `system check`; never by `ps`.

use crate::Engine;
use crate::containers::ListFilter;
use crate::error::{Kind, Result};
use crate::state::LastRun;
use rustix::fd::AsFd;
use shim::client::Connection;
use shim::exit::ExitRecord;
use sys::clock::Time;

/// What Docker records for a container that ended because the machine went down.
const LOST_WITH_HOST: i32 = 255;
/// `containers/ID/started`: a run began; removed when its end was recorded.
pub(crate) const STARTED: &str = "started";

/// What was put right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Tasks whose end was recorded.
    pub tasks: usize,
    /// Folders and snapshots that belonged to nothing.
    pub orphans: usize,
}

impl Engine {
    /// Ends dead tasks and removes what belongs to nothing.
    pub fn reconcile(&self) -> Result<Reconciled> {
        // Opened first: the first process after a boot takes the same lock for that.
        self.state()?;
        let _lock = self.paths().lock("reconcile")?;
        let mut done = Reconciled::default();
        for (id, _) in self.state()?.tasks()? {
            // A busy container has somebody who looks after it.
            if let Some(lock) = self.paths().try_lock(&id)? {
                drop(lock);
                self.end_if_lost(&id)?;
                done.tasks += usize::from(self.state()?.task(&id)?.is_none());
            }
        }
        done.orphans = self.remove_orphans()?;
        Ok(done)
    }

    /// What waits for its restart has a shim that keeps the time, unless it is late. A failed restart is that
    /// container's trouble.
    fn end_if_lost(&self, id: &str) -> Result<()> {
        let waits = self.state()?.task(id)?.is_some_and(|task| task.due_ns.is_some() && !task.is_late());
        let ended = if waits { Ok(()) } else { self.task_lost(id) };
        if let (Err(e), None) = (&ended, self.state()?.task(id)?) {
            tracing::warn!(container = id, error = %e, "the container could not be started again");
            return Ok(());
        }
        ended
    }

    /// The daemon's start: reconciles, supervises what runs, and starts what the restart policies say.
    pub fn adopt(&self) -> Result<usize> {
        self.reconcile()?;
        self.clear_leftovers()?;
        let mut adopted = 0;
        for container in self.list_containers(&ListFilter::default())? {
            match Connection::connect(&self.paths().task(&container.id)) {
                Ok(connection) => {
                    self.supervise(&container.id, connection)?;
                    adopted += 1;
                }
                Err(shim::Error::NoShim(_)) => self.end_if_lost(&container.id)?,
                Err(e) => tracing::warn!(container = container.id, error = %e, "a shim does not answer"),
            }
        }
        let (_, failures) = self.start_by_policy()?;
        for failure in failures {
            tracing::warn!(error = %failure, "a restart policy could not be followed");
        }
        Ok(adopted)
    }

    /// The first process after a boot closes the records of what ran when the machine went down.
    pub(crate) fn close_after_boot(&self, state: &crate::state::State) -> Result<()> {
        let boot = sys::clock::boot_id()?;
        let is_known = || Ok::<_, crate::Error>(state.setting("boot")?.is_some_and(|known| known == boot));
        if is_known()? {
            return Ok(());
        }
        let _lock = self.paths().lock("reconcile")?;
        if is_known()? {
            return Ok(());
        }
        // A run root on a disk has outlived the boot that its rows are of.
        for (id, _) in state.tasks()? {
            let _ = crate::ipc::detach(&self.paths().task(&id));
            let _ = std::fs::remove_dir_all(self.paths().task(&id));
        }
        state.forget_boot()?;
        for mut record in state.containers()? {
            let folder = self.paths().container(&record.id);
            let Ok(started) = std::fs::read_to_string(folder.join(STARTED)) else { continue };
            let exit = open_folder(&folder).and_then(|dir| ExitRecord::read(dir.as_fd()).ok().flatten());
            record.last = LastRun {
                started_ns: started.trim().parse().unwrap_or(0),
                finished_ns: exit.as_ref().map_or(Time::now().0, |e| e.finished_at_ns),
                exit_code: exit.as_ref().map_or(LOST_WITH_HOST, |e| e.exit_code),
                oom_killed: exit.is_some_and(|e| e.oom_killed),
                error: String::new(),
                ..record.last
            };
            state.update(&record)?;
            let _ = std::fs::remove_file(folder.join(STARTED));
        }
        state.set_setting("boot", &boot)
    }

    fn remove_orphans(&self) -> Result<usize> {
        // Somebody who makes a container right now has a folder and no record yet.
        let Some(_alone) = self.paths().try_lock("creating")? else { return Ok(0) };
        let known: std::collections::HashSet<String> =
            self.state()?.containers()?.into_iter().map(|r| r.id).collect();
        let mut removed = 0;
        let snapshots = self.store()?.snapshots();
        let folders =
            std::fs::read_dir(self.paths().containers()).map_err(crate::error::io("read containers/"))?;
        for folder in folders.flatten() {
            let id = folder.file_name().to_string_lossy().into_owned();
            if !known.contains(&id) {
                // A `--rm` container whose record went with the run root.
                if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
                    self.kill_cgroup(&crate::spec::cgroup_path("", &self.options().cgroup_parent, &id))?;
                    snapshots.remove(&id)?;
                }
                std::fs::remove_dir_all(folder.path())
                    .map_err(crate::error::io(format!("remove {}", folder.path().display())))?;
                removed += 1;
            }
        }
        for key in snapshots.keys()? {
            // An image that a container mounts has a snapshot of its own: ID-INDEX.
            let owner = key.split('-').next().unwrap_or_default();
            if !known.contains(owner) {
                snapshots.remove(&key)?;
                removed += 1;
            }
        }
        self.empty_trash();
        Ok(removed + self.reconcile_volumes()?)
    }

    /// What `system uninstall` removes, in words; with `dry` nothing is touched, and what stands in the way
    /// is said first. Refuses while containers run.
    pub fn uninstall(&self, dry: bool) -> Result<Vec<String>> {
        let mut list = Vec::new();
        match self.obstacle()? {
            Some(obstacle) if !dry => return Err(crate::Error::conflict(obstacle)),
            obstacle => list.extend(obstacle),
        }
        if !dry {
            self.reconcile()?;
        }
        let network = net::uninstall(dry)?;
        list.extend(network.table.then(|| "nftables table inet tare".to_string()));
        list.extend(network.bridges.iter().map(|b| format!("bridge {b}")));
        list.extend(network.foreign_rules.iter().map(|r| format!("rules in {r}")));
        list.extend(
            network.forwarding_switched_off.then(|| "sysctl net.ipv4.ip_forward back to 0".to_string()),
        );
        for cgroup in [crate::tasks::SHIM_CGROUP, self.options().cgroup_parent.as_str()] {
            if let Ok(group) = cgroup::Cgroup::open(self.cgroup_layout()?, std::path::Path::new(cgroup)) {
                list.push(format!("cgroup {cgroup}, when empty"));
                if !dry {
                    // Another engine's containers may be in it: then it is not ours to remove.
                    let _ = group.delete();
                }
            }
        }
        for root in [&self.paths().run, &self.paths().data] {
            list.push(format!("folder {} with all it holds", root.display()));
        }
        if !dry {
            for root in [&self.paths().run, &self.paths().data] {
                match std::fs::remove_dir_all(root) {
                    Ok(()) => {}
                    // A mount point stays, empty: it is its owner's.
                    Err(e)
                        if matches!(
                            e.kind(),
                            std::io::ErrorKind::NotFound | std::io::ErrorKind::ResourceBusy
                        ) => {}
                    Err(e) => {
                        return Err(crate::Error::new(
                            Kind::Internal,
                            format!("remove {}: {e}", root.display()),
                        ));
                    }
                }
            }
        }
        Ok(list)
    }

    /// The running containers, in words, if there are any.
    fn obstacle(&self) -> Result<Option<String>> {
        let listed = self.list_containers(&ListFilter::default())?;
        let running: Vec<&str> = listed.iter().filter(|c| c.is_active()).map(|c| c.name.as_str()).collect();
        Ok(match running.as_slice() {
            [] => None,
            [one] => Some(format!("1 container is running and must be stopped first: {one}")),
            [first, ..] => Some(format!(
                "{} containers are running and must be stopped first, for example {first}",
                running.len()
            )),
        })
    }
}

fn open_folder(path: &std::path::Path) -> Option<std::fs::File> {
    std::fs::File::open(path).ok()
}
