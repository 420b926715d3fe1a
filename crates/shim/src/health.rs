//! Health checks: what is asked (in the settings), and what was found (`RUN/ID/health.json`).
//!
//! Invariant: the file is whole or absent; it is written by the engine before the start and by the shim after each
//! check. Nothing of it stays in the shim's memory between two checks.
//! It does not know how a check is run.

use crate::{Error, Result};
use rustix::fd::BorrowedFd;
use serde::{Deserialize, Serialize};

/// The file's name in the run folder.
pub const FILE: &str = "health.json";
/// So many results are kept.
pub const KEPT: usize = 5;
/// So much of a check's output is kept; dockerd's mark of what was cut comes behind it.
pub const MAX_OUTPUT: usize = 4096;

/// A check, with every value filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Between two checks.
    pub interval_ns: u64,
    /// For one check.
    pub timeout_ns: u64,
    /// Failures do not count for so long after the start, until one check has succeeded.
    pub start_period_ns: u64,
    /// Between two checks in that time.
    pub start_interval_ns: u64,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
}

/// How healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No check has decided yet.
    #[default]
    Starting,
    /// The last check succeeded, or too few have failed since one did.
    Healthy,
    /// Too many checks have failed; or nobody checks (paused, ended).
    Unhealthy,
}

impl Status {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results, oldest first.
    pub log: Vec<Outcome>,
}

/// One check's result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Nanoseconds since the epoch.
    pub start_ns: i64,
    /// Nanoseconds since the epoch.
    pub end_ns: i64,
    /// 0 is healthy; -1 when it could not run or took too long.
    pub exit_code: i32,
    /// The beginning of what it wrote.
    pub output: String,
}

impl Health {
    /// Takes a result in; `since_start_ns` is when the check began. Whether the status is another now.
    pub fn take(&mut self, check: &Check, outcome: Outcome, since_start_ns: u64) -> bool {
        let before = self.status;
        let healthy = outcome.exit_code == 0;
        self.log.push(outcome);
        let excess = self.log.len().saturating_sub(KEPT);
        self.log.drain(..excess);
        if healthy {
            (self.failing_streak, self.status) = (0, Status::Healthy);
        } else if before != Status::Starting || since_start_ns >= check.start_period_ns {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = Status::Unhealthy;
            }
        }
        self.status != before
    }

    /// Reads the file; `None` when there is none.
    pub fn read(run_dir: &std::path::Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run_dir.join(FILE)).ok()?).ok()
    }

    /// Writes the file.
    pub fn write(&self, run_dir: BorrowedFd<'_>) -> Result<()> {
        let json =
            serde_json::to_vec(self).map_err(|source| Error::File { path: FILE.to_string(), source })?;
        Ok(sys::durable::write_volatile(run_dir, FILE, &json, 0o600)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_decide_as_dockers() {
        let check = Check { retries: 2, start_period_ns: 10, ..Check::default() };
        let mut health = Health::default();
        let mut said = String::new();
        // (since the start, exit code): failures within the start period do not count until a success.
        for (since, code) in
            [(1, 1), (2, 1), (3, 1), (11, 1), (12, 1), (13, 0), (14, 1), (15, 1), (16, 0), (17, -1)]
        {
            let outcome = Outcome { exit_code: code, ..Outcome::default() };
            let changed = health.take(&check, outcome, since);
            let (mark, first) = (if changed { "!" } else { "" }, &health.status.as_str()[..1]);
            said.push_str(&format!("{first}{}{mark} ", health.failing_streak));
        }
        assert_eq!(said, "s0 s0 s0 s1 u2! h0! h1 u2! h0! h1 ");
        assert_eq!(health.log.len(), KEPT);
        let mut early = Health::default();
        early.take(&check, Outcome::default(), 1);
        early.take(&check, Outcome { exit_code: 1, ..Outcome::default() }, 2);
        assert_eq!((early.status, early.failing_streak), (Status::Healthy, 1));
    }
}
