//! The end of a container: drained, emptied, recorded, told, and handed over.
//!
//! Order: the rest of the output is read (bounded), every process of the container is dead and its cgroup
//! gone, `exit.json` is written, published ports and the network namespace are let go, the socket's name
//! and the lock too; then waiters are told. Only then somebody runs `exited()`: the supervising connection,
//! or, when there is none or it leaves, `exit_command`. A new shim may start in the same folder from the
//! moment the lock is free.
//!
//! A container that shall run again is started by the exit command: the shim only keeps the time until then, as a
//! process that weighs next to nothing. It holds nothing of the container's any more while it waits.
//!
//! It does not know what `exited()` does.

use super::requests::chain;
use super::task::Stage;
use super::{Asked, Monitor};
use crate::client;
use crate::exit::{self, ExitRecord};
use crate::poller::Output;
use crate::protocol::{self, FailureKind, Response};
use crate::{Result, spawn};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, unlinkat};
use sys::clock::boottime_ns;
use sys::process::Ended;

/// How long the rest of the output, and processes that were killed, are waited for. An outsider that was
/// given the container's stdout may hold it open for ever.
const DRAIN_NS: u64 = 2_000_000_000;
/// The first pause before an emptied cgroup is looked at again; it doubles.
const FIRST_LOOK_NS: u64 = 1_000_000;
/// How long a supervisor may take for `exited()`. It takes the container's lock, stops a network, starts
/// the container again: seconds, on a machine that swaps.
const SUPERVISION_NS: u64 = 60_000_000_000;
/// How long the exit command's word is waited for, where it may ask to be run again.
const HELPER_NS: u64 = 120_000_000_000;

/// What the exit waits for.
#[derive(Debug, Default)]
pub(super) struct ExitTimer {
    /// Draining ends here.
    drain_until_ns: u64,
    /// The cgroup is looked at again.
    look_at_ns: Option<u64>,
    pause_ns: u64,
    killed: bool,
    /// The supervisor's time is over.
    supervised_until_ns: Option<u64>,
    /// The exit command that may ask to be run again, and until when it is waited for.
    helper: Option<(i32, u64)>,
    /// The exit command is run again.
    again_at_ns: Option<u64>,
}

impl super::task::Task {
    /// The earliest moment at which the exit has something to do.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        match self.stage {
            Stage::Draining => {
                let timer = &self.exit_timer;
                Some(timer.look_at_ns.map_or(timer.drain_until_ns, |at| at.min(timer.drain_until_ns)))
            }
            Stage::Stopped(_) => {
                let timer = &self.exit_timer;
                let helper = timer.helper.map(|(_, until)| until);
                [timer.supervised_until_ns, helper, timer.again_at_ns].into_iter().flatten().min()
            }
            _ => None,
        }
    }
}

impl Monitor {
    /// Init has ended and was reaped.
    pub(super) fn begin_exit(&mut self) {
        self.end_checks();
        self.task.stage = Stage::Draining;
        self.task.exit_timer = ExitTimer {
            drain_until_ns: boottime_ns() + DRAIN_NS,
            pause_ns: FIRST_LOOK_NS,
            ..ExitTimer::default()
        };
        if !self.task.own_pid_namespace {
            self.kill_rest();
        }
        self.streams.begin_drain(&self.poller);
        // Mostly all is in the pipes already: no need to ask the kernel first.
        self.streams.on_output(&self.poller, Output::Stdout);
        self.streams.on_output(&self.poller, Output::Stderr);
        self.check_exit();
    }

    /// Kills what init left behind.
    fn kill_rest(&mut self) {
        self.task.exit_timer.killed = true;
        if let Some(group) = &self.task.cgroup {
            // What cannot be killed is seen when the group cannot be removed.
            let _ = group.kill();
        }
    }

    /// Goes on with the exit if what it waits for has come.
    pub(super) fn check_exit(&mut self) {
        if !matches!(self.task.stage, Stage::Draining) {
            return;
        }
        let now = boottime_ns();
        let timer = &mut self.task.exit_timer;
        timer.look_at_ns = None;
        let over = now >= timer.drain_until_ns;
        if !over && !self.streams.is_drained() {
            return;
        }
        let populated = self.task.cgroup.as_ref().is_some_and(|c| c.is_populated().unwrap_or(false));
        if populated && !over {
            if !self.task.exit_timer.killed {
                self.kill_rest();
            }
            let timer = &mut self.task.exit_timer;
            timer.look_at_ns = Some(now + timer.pause_ns);
            timer.pause_ns *= 2;
            return;
        }
        self.finish_exit();
    }

    fn finish_exit(&mut self) {
        let mut errors: Vec<String> = self.streams.finish(&self.poller).into_iter().collect();
        let oom_killed = self.task.was_out_of_memory();
        self.task.forget_memory();
        if let Some(group) = self.task.cgroup.take()
            && let Err(e) = group.delete()
        {
            errors.push(format!("cgroup not removed: {}", chain(&e)));
        }
        let mut record = self.record(oom_killed);
        record.error = errors.join("; ");
        let mut step = sys::trace::step("exit record", "renameat(2)");
        if let Err(e) = step.check(record.write(self.place.data_dir.as_fd(), self.settings.volatile)) {
            // The disk is full or gone. Whoever finds the lock free records "shim lost"; those who wait hear the truth.
            record.error = format!("{}; exit.json not written: {}", record.error, chain(&e));
        }
        drop(step);
        self.ports.close();
        self.resolver.stop();
        self.netns = None;
        self.place.listener = None;
        // A new shim may make its own as soon as the lock is free.
        let _ = unlinkat(&self.place.run_dir, client::SOCKET, AtFlags::empty());
        self.place.alive = None;
        self.tell(&record);
        self.task.stage = Stage::Stopped(Box::new(record));
        if !self.peers.iter().any(|(_, p)| p.supervises) {
            self.on_supervisor_gone();
        }
    }

    fn record(&self, oom_killed: bool) -> ExitRecord {
        let (ended, at) = self.task.ended.unwrap_or((Ended::Code(255), sys::clock::Time::now()));
        let signal = match ended {
            Ended::Signal(signal) => Some(signal),
            Ended::Code(_) => None,
        };
        let (pid, start_time) = self.task.init.as_ref().map_or((0, 0), |i| (i.pid, i.start_time));
        ExitRecord {
            version: exit::VERSION,
            id: self.settings.id.clone(),
            boot_id: sys::clock::boot_id().unwrap_or_default(),
            pid,
            start_time,
            exit_code: ended.code(),
            signal,
            oom_killed,
            started_at_ns: self.task.started_at.map_or(0, |t| t.0),
            finished_at_ns: at.0,
            error: String::new(),
        }
    }

    /// Answers all who wait and calls the supervisor.
    fn tell(&mut self, record: &ExitRecord) {
        let response = Response::Exited(record.clone());
        let event = protocol::Event::Exited(record.clone());
        let mut broken = Vec::new();
        for (id, peer) in self.peers.iter_mut() {
            let waiting = std::mem::take(&mut peer.waiting);
            let mut told =
                waiting.iter().try_for_each(|&request| peer.respond(request, &response, Vec::new()));
            if peer.supervises {
                self.task.exit_timer.supervised_until_ns = Some(boottime_ns() + SUPERVISION_NS);
                told = told.and_then(|()| peer.tell(&event));
            }
            if told.and_then(|()| peer.watch(&self.poller, id)).is_err() {
                broken.push(id);
            }
        }
        for id in broken {
            self.drop_peer(id);
        }
    }

    /// `Release`: the supervisor ran `exited()`.
    pub(super) fn release(&mut self, asked: Asked, again_after_ms: Option<u64>) {
        let supervises = self.peers.get_mut(asked.peer).is_some_and(|p| p.supervises);
        if !supervises || !matches!(self.task.stage, Stage::Stopped(_)) {
            return self.fail(
                asked,
                FailureKind::Conflict,
                "there is no exit to release for this connection",
            );
        }
        if let Some(peer) = self.peers.get_mut(asked.peer) {
            peer.supervises = false;
        }
        self.task.exit_timer.supervised_until_ns = None;
        self.respond(asked, &Response::Done);
        self.run_again(again_after_ms);
    }

    /// Nobody runs `exited()`, or nobody does any more.
    pub(super) fn on_supervisor_gone(&mut self) {
        if !matches!(self.task.stage, Stage::Stopped(_)) || self.leaving_until_ns.is_some() {
            return;
        }
        let timer = &mut self.task.exit_timer;
        timer.supervised_until_ns = None;
        if timer.helper.is_some() || timer.again_at_ns.is_some() {
            return;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let restarts = self.settings.restarts
            || rustix::fs::statat(&self.place.run_dir, crate::config::RESTARTS_FILE, flags).is_ok();
        // Should it not start, the reconciler finds `exit.json` without a shim.
        let helper = self.spawn_exit_command();
        match helper {
            Ok(Some(pid)) if restarts => {
                self.task.exit_timer.helper = Some((pid, boottime_ns() + HELPER_NS));
            }
            _ => self.leave(),
        }
    }

    /// A child has ended; false when it is not the exit command that is waited for.
    pub(super) fn on_helper_ended(&mut self, pid: i32, ended: Ended) -> bool {
        if self.task.exit_timer.helper.take_if(|(helper, _)| *helper == pid).is_none() {
            return false;
        }
        self.run_again(exit::delay_of(ended.code()));
        true
    }

    /// The exit command is run (once more) after that time; `None`: all is done.
    fn run_again(&mut self, after_ms: Option<u64>) {
        match after_ms {
            Some(ms) => {
                let delay = ms.saturating_mul(1_000_000);
                self.task.exit_timer.again_at_ns = Some(boottime_ns().saturating_add(delay));
            }
            None => self.leave(),
        }
    }

    /// Its pid; `None` when there is none.
    fn spawn_exit_command(&self) -> Result<Option<i32>> {
        if self.settings.exit_command.is_empty() {
            return Ok(None);
        }
        let null = spawn::null()?;
        let fds = [null.as_fd(), null.as_fd(), null.as_fd(), self.place.host_mounts.as_fd()];
        Ok(Some(spawn::spawn(&self.settings.exit_command, &fds)?.pid))
    }

    /// The exit's own deadline.
    pub(super) fn on_task_deadline(&mut self) {
        match self.task.stage {
            Stage::Draining => self.check_exit(),
            Stage::Stopped(_) if self.task.exit_timer.again_at_ns.is_some() => {
                // It starts the container with a new shim, or finds that it need not any more.
                self.task.exit_timer.again_at_ns = None;
                let _ = self.spawn_exit_command();
                self.leave();
            }
            Stage::Stopped(_) if self.task.exit_timer.helper.take().is_some() => self.leave(),
            Stage::Stopped(_) => {
                for (_, peer) in self.peers.iter_mut() {
                    peer.supervises = false;
                }
                self.on_supervisor_gone();
            }
            _ => {}
        }
    }

    /// The kernel killed for want of memory, or the group is going.
    pub(super) fn on_out_of_memory(&mut self) {
        if !self.task.rearm_memory() {
            return;
        }
        let kills = self.task.memory_kills();
        if self.task.told_kills < kills {
            self.task.told_kills = kills;
            self.publish("oom", &[]);
        }
        let mut broken = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, p)| p.supervises) {
            let told = peer.tell(&protocol::Event::Oom).and_then(|()| peer.watch(&self.poller, id));
            if told.is_err() {
                broken.push(id);
            }
        }
        for id in broken {
            self.drop_peer(id);
        }
    }
}
