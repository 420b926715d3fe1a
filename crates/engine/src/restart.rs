//! Restart policies: whether and when a container runs again after its end, and what starts with the machine.
//!
//! No process waits for it: the end of a task writes a row that says when it is due, and the shim that has just
//! become useless keeps the time (`shim::exit::delay_of`). Whoever sees a row that is long past due, because that
//! shim was killed too, starts the container in its place. A container that waits is *restarting* in Docker's words:
//! it has no process and no network, is not running for `exec` and neither ended for `rm`.

use crate::containers::ListFilter;
use crate::error::{Error, Kind, Result};
use crate::state::{Record, Task};
use crate::tasks::StartOptions;
use crate::{Engine, RestartPolicy, Status};
use std::time::Duration;
use sys::clock::boottime_ns;

/// dockerd's first delay; each further one doubles it.
const FIRST_DELAY_MS: u64 = 100;
/// And its longest.
const LONGEST_DELAY_MS: u64 = 60_000;
/// A run of that length makes the delays begin anew.
const GOOD_RUN: Duration = Duration::from_secs(10);
/// A restart that is that late has nobody who keeps its time.
const LATE: Duration = Duration::from_secs(5);

/// How a run ended, as far as policies care.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub exit_code: i32,
    pub lasted: Duration,
    /// The delay before this run; 0 when somebody started it.
    pub delay_ms: u64,
    /// Restarts since somebody started it.
    pub count: i64,
    /// `stop`, or a `kill` with the signal that stops it.
    pub cancelled: bool,
    /// `stop`, or any `kill`.
    pub stopped_by_hand: bool,
}

/// The delay in milliseconds after which it runs again; `None`: not at all.
pub(crate) fn after(policy: &RestartPolicy, run: &Run) -> Option<u64> {
    if run.cancelled || !wants(policy, run) {
        return None;
    }
    Some(match run.delay_ms {
        0 => FIRST_DELAY_MS,
        _ if run.lasted >= GOOD_RUN => FIRST_DELAY_MS,
        last => last.saturating_mul(2).min(LONGEST_DELAY_MS),
    })
}

fn wants(policy: &RestartPolicy, run: &Run) -> bool {
    match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !run.stopped_by_hand,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            run.exit_code != 0 && (most == 0 || run.count < most)
        }
        _ => false,
    }
}

/// Whether a container that does not run is started with the machine or the daemon. As dockerd: only one that has
/// run before; `always` also when it was stopped by hand.
fn with_machine(record: &Record) -> bool {
    let last = &record.last;
    let run = Run {
        exit_code: last.exit_code,
        count: last.restarts,
        stopped_by_hand: last.stopped_by_hand,
        ..Run::default()
    };
    let failed_by_itself = record.host.restart.name != "on-failure" || !last.stopped_by_hand;
    last.started_ns != 0 && failed_by_itself && wants(&record.host.restart, &run)
}

/// Whether anything but `no`.
pub(crate) fn has_policy(policy: &RestartPolicy) -> bool {
    !matches!(policy.name.as_str(), "" | "no")
}

/// What a `stop` or `kill` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// It may be running.
    Task,
    /// It waited for its restart, which there will not be.
    WasRestarting,
}

impl Task {
    /// How long until it is to run again; `None` when it does not wait for that.
    pub(crate) fn until_due(&self) -> Option<Duration> {
        self.due_ns.map(|due| Duration::from_nanos(due.saturating_sub(boottime_ns())))
    }

    /// It should have been started a while ago, or whoever did so was killed.
    pub(crate) fn is_late(&self) -> bool {
        let late = |due: u64| boottime_ns() > due.saturating_add(LATE.as_nanos() as u64);
        let half_started = self.pid == 0 && self.delay_ms > 0 && self.due_ns.is_none();
        self.due_ns.is_some_and(late) || (half_started && self.owner.is_some_and(is_gone))
    }

    /// Whoever froze it for a while was killed before it let it go on.
    pub(crate) fn is_frozen_by_the_dead(&self) -> bool {
        self.frozen_by.is_some_and(is_gone)
    }
}

/// Whether a process, by pid and start time, has ended.
fn is_gone((pid, start): (i32, u64)) -> bool {
    sys::process::Stat::read(&pid.to_string()).map_or(true, |stat| stat.start_time != start)
}

impl Engine {
    /// Notes before a signal is sent that the container is meant to end, so that its policy does not start it
    /// again. One that waits for its restart has ended with that.
    pub(crate) fn note_stop(&self, container: &crate::Container, cancel: bool) -> Result<Stopping> {
        if !has_policy(&container.host.restart) {
            return Ok(Stopping::Task);
        }
        let _lock = self.paths().lock(&container.id)?;
        let state = self.state()?;
        let Some(mut task) = state.task(&container.id)? else { return Ok(Stopping::Task) };
        task.stopped_by_hand = true;
        task.cancelled |= cancel;
        if task.due_ns.is_none() {
            state.put_task(&container.id, &task)?;
            return Ok(Stopping::Task);
        }
        let mut record = state.find(&container.id)?;
        record.last.stopped_by_hand = true;
        state.update(&record)?;
        self.forget_task(&container.id, &task, None)?;
        self.pending().wake();
        Ok(Stopping::WasRestarting)
    }

    /// With the container's lock held: starts it again. A failure ends it.
    pub(crate) fn restart(&self, id: &str, waiting: &Task) -> Result<()> {
        let mut record = match self.state()?.find(id) {
            Ok(record) => record,
            Err(e) if e.kind == Kind::NotFound => return self.forget_task(id, waiting, None),
            Err(e) => return Err(e),
        };
        match self.start_locked(&record, Vec::new(), false, waiting.delay_ms) {
            Ok(_) => Ok(()),
            Err(failure) => {
                record.last.error.clone_from(&failure.message);
                record.last.exit_code = crate::tasks::failure_code(&failure, record.last.exit_code);
                self.state()?.update(&record)?;
                Err(failure)
            }
        }
    }

    /// What starts with the machine: clears what the last boot has left, then starts what the policies say, in the
    /// order of creation. Returns the names of those that were started, and what went wrong.
    pub fn boot(&self) -> Result<(Vec<String>, Vec<Error>)> {
        self.reconcile()?;
        self.clear_leftovers()?;
        self.clear_network_if_unused()?;
        self.start_by_policy()
    }

    pub(crate) fn start_by_policy(&self) -> Result<(Vec<String>, Vec<Error>)> {
        let (mut started, mut failures) = (Vec::new(), Vec::new());
        let mut all = self.list_containers(&ListFilter { all: true, ..ListFilter::default() })?;
        all.reverse();
        for container in in_order(all) {
            let has_ended = matches!(container.state.status, Status::Exited | Status::Created);
            if !has_ended || !has_policy(&container.host.restart) {
                continue;
            }
            let Ok(record) = self.state()?.find(&container.id) else { continue };
            if !with_machine(&record) {
                continue;
            }
            match self.start(&container.id, StartOptions::default()) {
                Ok(()) => started.push(container.name),
                Err(e) if matches!(e.kind, Kind::NotModified | Kind::NotFound) => {}
                Err(e) => failures
                    .push(Error { message: format!("container {}: {}", container.name, e.message), ..e }),
            }
        }
        Ok((started, failures))
    }

    /// Processes and cgroups of containers that nobody knows to run: their rows went with the run root, and with
    /// them all by which they could be held.
    pub(crate) fn clear_leftovers(&self) -> Result<()> {
        for record in self.state()?.containers()? {
            let Some(_lock) = self.paths().try_lock(&record.id)? else { continue };
            if self.state()?.task(&record.id)?.is_none() {
                let parent = &record.host.cgroup_parent;
                let path = crate::spec::cgroup_path(parent, &self.options().cgroup_parent, &record.id);
                self.kill_cgroup(&path)?;
            }
        }
        Ok(())
    }
}

/// Those that others need (whose network they join, to whom they link) before them, else in the order given.
fn in_order(all: Vec<crate::Container>) -> Vec<crate::Container> {
    fn visit(at: usize, needs: &[Vec<usize>], seen: &mut [bool], order: &mut Vec<usize>) {
        if !std::mem::replace(&mut seen[at], true) {
            needs[at].iter().for_each(|&other| visit(other, needs, seen, order));
            order.push(at);
        }
    }
    let needs: Vec<Vec<usize>> = all
        .iter()
        .map(|container| {
            let links = container.host.links.iter().map(|link| link.container.as_str());
            let words = container.host.network.joined().into_iter().chain(links);
            words.filter_map(|word| all.iter().position(|c| c.id == word || c.name == word)).collect()
        })
        .collect();
    let (mut seen, mut order) = (vec![false; all.len()], Vec::new());
    (0..all.len()).for_each(|at| visit(at, &needs, &mut seen, &mut order));
    let mut all: Vec<Option<crate::Container>> = all.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| all[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> RestartPolicy {
        let (name, count) = text.split_once(':').unwrap_or((text, "0"));
        RestartPolicy { name: name.to_string(), maximum_retry_count: count.parse().unwrap() }
    }

    #[test]
    fn who_runs_again() {
        let failed = Run { exit_code: 1, ..Run::default() };
        let done = Run::default();
        let killed = Run { stopped_by_hand: true, ..failed };
        let stopped = Run { cancelled: true, ..killed };
        for (name, run, again) in [
            ("no", failed, false),
            ("", failed, false),
            ("always", done, true),
            ("always", failed, true),
            ("always", killed, true),
            ("always", stopped, false),
            ("unless-stopped", done, true),
            ("unless-stopped", killed, false),
            ("unless-stopped", stopped, false),
            ("on-failure", done, false),
            ("on-failure", failed, true),
            ("on-failure", stopped, false),
            ("on-failure", Run { count: 1000, ..failed }, true),
            ("on-failure:3", Run { count: 2, ..failed }, true),
            ("on-failure:3", Run { count: 3, ..failed }, false),
        ] {
            assert_eq!(after(&policy(name), &run).is_some(), again, "{name} {run:?}");
        }
    }

    #[test]
    fn delays_double_up_to_a_minute() {
        let mut delays = Vec::new();
        let mut run = Run::default();
        for _ in 0..12 {
            run.delay_ms = after(&policy("always"), &run).unwrap();
            delays.push(run.delay_ms);
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        run.lasted = Duration::from_secs(10);
        assert_eq!(after(&policy("always"), &run), Some(100));
        run.lasted = Duration::from_millis(9_999);
        assert_eq!(after(&policy("always"), &run), Some(60_000));
    }
}
