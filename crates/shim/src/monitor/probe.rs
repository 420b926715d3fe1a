//! Health checks while the container runs: one process at a time, never while it is paused.
//!
//! A check is an exec of the shim's own; its output is read from one pipe, as much as is kept, and the rest goes
//! nowhere. What was found goes to a file; between two checks only the times are in memory.
//!
//! It does not know who looks at the result.

use super::requests::chain;
use super::{Asked, Monitor};
use crate::health::{Health, MAX_OUTPUT, Outcome, Status};
use crate::poller::{Event, Readiness};
use crate::protocol::Failure;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use sys::clock::{Time, boottime_ns};

/// No request: a check is asked for by nobody.
const NOBODY: Asked = Asked { peer: 0, request: 0 };

/// The checks of a running container.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// When the next one is due; `None` while one runs, and where there are none.
    next_ns: Option<u64>,
    started_ns: u64,
    running: Option<Box<Probe>>,
}

#[derive(Debug)]
struct Probe {
    id: String,
    start: Time,
    began_ns: u64,
    until_ns: u64,
    output: Option<OwnedFd>,
    kept: Vec<u8>,
    cut: bool,
    timed_out: bool,
}

impl Checks {
    /// The earliest moment at which there is something to do.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.running.as_ref().filter(|p| !p.timed_out).map(|p| p.until_ns).or(self.next_ns)
    }
}

impl Probe {
    /// Reads what there is.
    fn read(&mut self) {
        let mut buffer = [0u8; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(n) => {
                    let room = MAX_OUTPUT - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..n.min(room)]);
                    self.cut |= n > room;
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }
}

impl Monitor {
    /// The container runs from now on.
    pub(super) fn begin_checks(&mut self) {
        if self.settings.health.is_some() {
            self.checks.started_ns = boottime_ns();
            self.plan_check(Status::Starting);
        }
    }

    /// It is paused, or has ended: nobody checks, which counts as unhealthy, as with dockerd.
    pub(super) fn end_checks(&mut self) {
        if self.settings.health.is_none() {
            return;
        }
        self.checks.next_ns = None;
        if let Some(probe) = self.checks.running.take() {
            self.forget_output(&probe);
            let _ = self.execs.signal(&probe.id, rustix::process::Signal::KILL.as_raw());
        }
        let mut health = self.health();
        health.status = Status::Unhealthy;
        let _ = health.write(rustix::fd::AsFd::as_fd(&self.place.run_dir));
    }

    /// It goes on after a pause.
    pub(super) fn resume_checks(&mut self) {
        if self.settings.health.is_some() {
            self.plan_check(Status::Unhealthy);
        }
    }

    fn plan_check(&mut self, status: Status) {
        let Some(check) = &self.settings.health else { return };
        let now = boottime_ns();
        let young = now.saturating_sub(self.checks.started_ns) < check.start_period_ns;
        let interval =
            if young && status == Status::Starting { check.start_interval_ns } else { check.interval_ns };
        self.checks.next_ns = Some(now.saturating_add(interval));
    }

    /// What is due of the checks.
    pub(super) fn on_check_deadline(&mut self, now: u64) {
        if let Some(probe) = &mut self.checks.running {
            if now >= probe.until_ns && !probe.timed_out {
                probe.timed_out = true;
                let id = probe.id.clone();
                // Where it is on its way to its program still, its start tells the end.
                if !self.execs.signal(&id, rustix::process::Signal::KILL.as_raw()).unwrap_or(false) {
                    self.execs.abandon(&id);
                    self.finish_check(-1);
                }
            }
        } else if self.checks.next_ns.is_some_and(|at| now >= at) {
            self.checks.next_ns = None;
            self.run_check();
        }
    }

    fn run_check(&mut self) {
        let Some(check) = &self.settings.health else { return };
        let (args, now) = (check.args.clone(), boottime_ns());
        let probe = Probe {
            id: random_id(),
            start: Time::now(),
            began_ns: now,
            until_ns: now.saturating_add(check.timeout_ns),
            output: None,
            kept: Vec::new(),
            cut: false,
            timed_out: false,
        };
        let id = probe.id.clone();
        // dockerd's form: the program, a space, the arguments.
        let program = args.first().map_or("", String::as_str);
        let line = format!("{program} {}", args.get(1..).unwrap_or_default().join(" "));
        self.publish(&format!("exec_create: {line}"), &[("execID", &id)]);
        self.publish(&format!("exec_start: {line}"), &[("execID", &id)]);
        self.checks.running = Some(Box::new(probe));
        if let Err(failure) = self.start_check(&id, args) {
            self.fail_check(&id, &failure);
        }
    }

    fn start_check(&mut self, id: &str, args: Vec<String>) -> Result<(), Failure> {
        let config = self.load_config()?;
        let mut process = config.spec.process.unwrap_or_default();
        (process.args, process.terminal, process.console_size) = (args, false, None);
        let broken = |what: &str, e: Errno| {
            Failure::new(crate::protocol::FailureKind::Internal, format!("{what}: {e}"))
        };
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| broken("pipe2()", e))?;
        rustix::io::ioctl_fionbio(&read, true).map_err(|e| broken("ioctl(FIONBIO)", e))?;
        self.poller
            .add(&read, Event::Probe, Readiness::IN)
            .map_err(|e| Failure::new(crate::protocol::FailureKind::Internal, chain(&e)))?;
        if let Some(probe) = &mut self.checks.running {
            probe.output = Some(read);
        }
        self.start_exec(NOBODY, id.to_string(), &process, write)
    }

    /// The check's program has written something.
    pub(super) fn on_probe(&mut self) {
        let Some(probe) = &mut self.checks.running else { return };
        // At its end it is closed, by which it is watched no more.
        probe.read();
    }

    /// An exec could not be started; nothing happens when it was no check.
    pub(super) fn fail_check(&mut self, id: &str, failure: &Failure) {
        let Some(probe) = self.checks.running.as_mut().filter(|p| p.id == id) else { return };
        let text = failure.message.as_str();
        let what = match text.starts_with("exec: ") || text.starts_with("chdir to cwd") {
            true => "unable to start container process: ",
            false => "",
        };
        probe.kept = format!("OCI runtime exec failed: exec failed: {what}{text}").into_bytes();
        probe.output = None;
        self.finish_check(-1);
    }

    /// An exec has ended; nothing happens when it was no check.
    pub(super) fn end_check(&mut self, id: &str, exit_code: i32) {
        if self.checks.running.as_ref().is_some_and(|p| p.id == id) {
            self.execs.forget(id);
            self.finish_check(exit_code);
        }
    }

    fn finish_check(&mut self, exit_code: i32) {
        let (Some(mut probe), Some(check)) = (self.checks.running.take(), self.settings.health.clone())
        else {
            return;
        };
        probe.read();
        self.forget_output(&probe);
        let (mut exit_code, mut output) = (exit_code, probe.text());
        if probe.timed_out {
            let said = if output.is_empty() { String::new() } else { format!(": {output}") };
            output = format!("Health check exceeded timeout ({}){said}", go_duration(check.timeout_ns));
            exit_code = -1;
        }
        let outcome = Outcome { start_ns: probe.start.0, end_ns: Time::now().0, exit_code, output };
        let mut health = self.health();
        let since_start = probe.began_ns.saturating_sub(self.checks.started_ns);
        let changed = health.take(&check, outcome, since_start);
        let _ = health.write(rustix::fd::AsFd::as_fd(&self.place.run_dir));
        if changed {
            self.publish(&format!("health_status: {}", health.status.as_str()), &[]);
        }
        self.plan_check(health.status);
    }

    fn forget_output(&self, probe: &Probe) {
        if let Some(output) = &probe.output {
            self.poller.remove(output);
        }
    }

    fn health(&self) -> Health {
        let json = super::read_file(&self.place.run_dir, crate::health::FILE).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }
}

fn random_id() -> String {
    let mut bytes = [0u8; 32];
    // It fails only where the kernel has no such call.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A duration as Go prints it: `1.5s`, `1m30s`, `200ms`.
fn go_duration(ns: u64) -> String {
    let plain = |value: f64| {
        let text = format!("{value:.9}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    match ns {
        0 => "0s".to_string(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}µs", plain(ns as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{}ms", plain(ns as f64 / 1e6)),
        _ => {
            let minutes = ns / 60_000_000_000;
            let seconds = plain((ns % 60_000_000_000) as f64 / 1e9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, m) => format!("{m}m{seconds}s"),
                (h, m) => format!("{h}h{m}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (ns, text) in [
            (0, "0s"),
            (500_000_000, "500ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500, "1.5µs"),
        ] {
            assert_eq!(go_duration(ns), text);
        }
    }
}
