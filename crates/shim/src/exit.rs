//! `exit.json`: how a container's task ended, written once into its data folder.
//!
//! Invariant: the file is whole or absent; when it exists, nothing of the container runs any more.
//! It does not know what is to be done about the exit.

use crate::{Error, Result};
use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};
use std::io::Read;

/// The file's name in the data folder.
pub const FILE: &str = "exit.json";
/// The file's format.
pub const VERSION: u32 = 1;
/// A larger file is not ours.
const MAX_BYTES: u64 = 64 << 10;

/// The exit command's exit code for the shortest delay; each further one doubles it.
const FIRST_CODE: u8 = 100;
/// The shortest delay.
const FIRST_DELAY_MS: u64 = 100;
/// Codes that mean a delay: up to 102 s.
const CODES: u8 = 11;

/// The exit code by which the exit command asks to be run again after at least `delay_ms` (a longer one than the
/// longest there is becomes that).
pub fn code_of(delay_ms: u64) -> u8 {
    let fits = |n: &u8| FIRST_DELAY_MS << n >= delay_ms;
    FIRST_CODE + (0..CODES).find(fits).unwrap_or(CODES - 1)
}

/// The delay in milliseconds that an exit code of the exit command asks for.
pub fn delay_of(code: i32) -> Option<u64> {
    let n = u8::try_from(code).ok()?.checked_sub(FIRST_CODE).filter(|n| *n < CODES)?;
    Some(FIRST_DELAY_MS << n)
}

/// How a container's task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Format of the file.
    pub version: u32,
    /// The container.
    pub id: String,
    /// The boot in which it ended (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Init's pid while it ran.
    pub pid: i32,
    /// Init's start time in clock ticks since boot: tells this run from the next one.
    pub start_time: u64,
    /// As a shell has it: 128 + signal for one that was killed.
    pub exit_code: i32,
    /// The signal that ended init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// When `execve` succeeded, nanoseconds since the epoch; 0 when it was never started.
    #[serde(default)]
    pub started_at_ns: i64,
    /// When init ended, nanoseconds since the epoch.
    pub finished_at_ns: i64,
    /// What went wrong beside it (log not written, cgroup not removed); empty when all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl ExitRecord {
    /// The record that whoever finds a shim's lock free writes in its place: 137, "shim lost".
    pub fn lost(id: &str, boot_id: &str, pid: i32, start_time: u64) -> Self {
        Self {
            version: VERSION,
            id: id.to_string(),
            boot_id: boot_id.to_string(),
            pid,
            start_time,
            exit_code: 137,
            signal: Some(9),
            oom_killed: false,
            started_at_ns: 0,
            finished_at_ns: sys::clock::Time::now().0,
            error: "shim lost".to_string(),
        }
    }

    /// Writes the record into a container's data folder; durable unless `volatile`.
    pub fn write(&self, data_dir: BorrowedFd<'_>, volatile: bool) -> Result<()> {
        let mut json =
            serde_json::to_vec(self).map_err(|source| Error::File { path: FILE.to_string(), source })?;
        json.push(b'\n');
        if volatile {
            sys::durable::write_volatile(data_dir, FILE, &json, 0o600)?;
        } else {
            sys::durable::write(data_dir, FILE, &json, 0o600)?;
        }
        Ok(())
    }

    /// Reads the record of a container's data folder; `None` when there is none.
    pub fn read(data_dir: BorrowedFd<'_>) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = match openat(data_dir, FILE, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(Error::io("openat(exit.json)")(e)),
        };
        let mut json = Vec::new();
        std::fs::File::from(fd)
            .take(MAX_BYTES)
            .read_to_end(&mut json)
            .map_err(Error::io("read(exit.json)"))?;
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| Error::File { path: FILE.to_string(), source })
    }

    /// Removes the record before a new run.
    pub fn remove(data_dir: BorrowedFd<'_>) -> Result<()> {
        match rustix::fs::unlinkat(data_dir, FILE, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::io("unlinkat(exit.json)")(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_codes() {
        for (delay, code, meant) in [
            (0, 100, 100),
            (100, 100, 100),
            (101, 101, 200),
            (51_200, 109, 51_200),
            (60_000, 110, 102_400),
            (u64::MAX, 110, 102_400),
        ] {
            assert_eq!((code_of(delay), delay_of(code.into())), (code, Some(meant)), "{delay}");
        }
        assert_eq!([0, 1, 99, 111, 137, -1, 1000].map(delay_of), [None; 7]);
    }
}
