//! How a group ends or pauses: freeze, kill, wait until it is empty, remove.
//!
//! Invariants: each wait is bounded and woken by the kernel (POLLPRI on `cgroup.events`, pidfds on v1), except the
//! v1 freezer, which tells nobody. A signal is sent through a pidfd whose process was seen in the group after the
//! pidfd was opened, so that a recycled pid is never hit.
//!
//! It does not know why a group ends.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::folder::{Folder, keyed, remove_tree};
use crate::{Cgroup, Controllers, Error, Result};

/// Kill rounds on v1: each freezes, kills all and thaws; a fork bomb needs no more than the first two.
const MAX_KILL_ROUNDS: usize = 16;
/// How long a group may take to freeze.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);
/// How often the v1 freezer is looked at.
const FREEZER_PAUSE: Duration = Duration::from_millis(1);
/// How long to go on when the kernel says that a group is still busy.
const REMOVE_LIMIT: Duration = Duration::from_secs(2);
/// Most pidfds that are waited for at once.
const MAX_PIDFDS: usize = 256;

impl Cgroup {
    /// Whether a process is in the group or below it.
    pub fn is_populated(&self) -> Result<bool> {
        match &self.unified {
            Some(unified) => Ok(populated(&unified.read("cgroup.events")?)),
            None => Ok(!self.pids()?.is_empty()),
        }
    }

    /// Kills every process in the group and below. They may still be exiting on return: see
    /// [`wait_empty`](Self::wait_empty). The group must not be used again.
    pub fn kill(&self) -> Result<()> {
        let mut step = sys::trace::step("cgroup", "cgroup.kill");
        step.note(format_args!("{}", self.path().display()));
        if let Some(unified) = &self.unified {
            match unified.write("cgroup.kill", "1") {
                Ok(()) => return self.kill_strays(unified),
                // Before 5.14.
                Err(Error::Write { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        for _ in 0..MAX_KILL_ROUNDS {
            // Without the freezer the rounds still end everything that does not fork faster than we kill.
            let frozen = self.freeze();
            let killed = signal_all(self.main_folder()?);
            if frozen.is_ok() {
                self.thaw()?;
            }
            if killed? == 0 {
                return Ok(());
            }
            self.wait_empty(Duration::from_millis(50)).or_else(ignore_timeout)?;
        }
        Err(Error::Timeout {
            what: "killing",
            path: self.path().to_owned(),
            limit_ms: 50 * MAX_KILL_ROUNDS as u64,
        })
    }

    /// Stops every process in the group and below.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    /// Whether the group is frozen.
    pub fn is_frozen(&self) -> Result<bool> {
        match (&self.unified, self.folder(Controllers::FREEZER)) {
            (Some(unified), _) if unified.has("cgroup.freeze") => {
                Ok(keyed(&unified.read("cgroup.events")?, "frozen") == Some(1))
            }
            (_, Some(freezer)) => Ok(freezer.read("freezer.state")?.trim() == "FROZEN"),
            _ => Ok(false),
        }
    }

    /// Waits until no process is left in the group or below.
    pub fn wait_empty(&self, limit: Duration) -> Result<()> {
        if let Some(unified) = &self.unified {
            return wait_event(unified, "emptying", limit, |events| !populated(events));
        }
        let end = sys::clock::boottime_ns() + limit.as_nanos() as u64;
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            let Some(left) = remaining(end) else {
                let (path, limit_ms) = (self.path().to_owned(), limit.as_millis() as u64);
                return Err(Error::Timeout { what: "emptying", path, limit_ms });
            };
            let pidfds: Vec<OwnedFd> = pids.iter().take(MAX_PIDFDS).filter_map(|&p| open_pid(p)).collect();
            wait_exit(&pidfds, left);
        }
    }

    /// Removes the group and the empty groups below it in all hierarchies. Its processes must be gone.
    pub fn delete(self) -> Result<()> {
        self.folders().try_for_each(|folder| {
            let end = sys::clock::boottime_ns() + REMOVE_LIMIT.as_nanos() as u64;
            let mut pause = Duration::from_micros(500);
            loop {
                match remove_tree(&folder.path) {
                    Ok(()) => return Ok(()),
                    // The last process has been counted out but its task is still being put away.
                    Err(Errno::BUSY) if remaining(end).is_some() && folder.pids()?.is_empty() => {
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(Duration::from_millis(100));
                    }
                    Err(Errno::BUSY) => {
                        let count = folder.pids()?.len();
                        return Err(Error::NotEmpty { path: folder.path.clone(), count });
                    }
                    Err(e) => return Err(folder.io("rmdir", "", e)),
                }
            }
        })
    }

    /// In the hybrid layout somebody may have put a process into a v1 folder only.
    fn kill_strays(&self, unified: &Folder) -> Result<()> {
        let Some(legacy) = self.legacy.first() else { return Ok(()) };
        let known = unified.pids()?;
        if legacy.pids()?.iter().any(|p| !known.contains(p)) {
            signal_all(legacy)?;
        }
        Ok(())
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        // v2's freezer also in the hybrid layout: it tells when it is done, and a frozen process can be killed.
        if let Some(unified) = self.unified.as_ref().filter(|u| u.has("cgroup.freeze")) {
            let wanted = u64::from(frozen);
            unified.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
            return wait_event(unified, "freezing", FREEZE_LIMIT, |events| {
                keyed(events, "frozen") == Some(wanted)
            });
        }
        let Some(freezer) = self.folder(Controllers::FREEZER) else {
            return Err(Error::NoController {
                what: "freezing".into(),
                controller: Controllers::FREEZER.name(),
            });
        };
        let wanted = if frozen { "FROZEN" } else { "THAWED" };
        let end = sys::clock::boottime_ns() + FREEZE_LIMIT.as_nanos() as u64;
        loop {
            // Written again each time: a process that forked while the group was freezing needs another push.
            freezer.write("freezer.state", wanted)?;
            if freezer.read("freezer.state")?.trim() == wanted {
                return Ok(());
            }
            if remaining(end).is_none() {
                freezer.write("freezer.state", "THAWED")?;
                let (path, limit_ms) = (freezer.path.clone(), FREEZE_LIMIT.as_millis() as u64);
                return Err(Error::Timeout { what: "freezing", path, limit_ms });
            }
            std::thread::sleep(FREEZER_PAUSE);
        }
    }
}

/// Sends SIGKILL to all in the folder and below; returns how many there were.
fn signal_all(folder: &Folder) -> Result<usize> {
    let opened: Vec<(i32, OwnedFd)> =
        folder.pids()?.into_iter().filter_map(|p| Some((p, open_pid(p)?))).collect();
    let present = folder.pids()?;
    for (pid, pidfd) in &opened {
        if present.binary_search(pid).is_ok() {
            match pidfd_send_signal(pidfd, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(e) => return Err(folder.io("kill processes of", "", e)),
            }
        }
    }
    Ok(present.len())
}

fn open_pid(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Waits until one of the processes has exited, or the time is over.
fn wait_exit(pidfds: &[OwnedFd], left: Duration) {
    if pidfds.is_empty() {
        // All went between the listing and the opening, or were never ours to see: look again, not at once.
        std::thread::sleep(FREEZER_PAUSE);
        return;
    }
    let mut fds: Vec<PollFd<'_>> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let left = Timespec::try_from(left).ok();
    let _ = poll(&mut fds, left.as_ref());
    // A process that has exited but is not reaped is still listed: do not spin on it.
    if fds.iter().all(|fd| !fd.revents().is_empty()) {
        std::thread::sleep(FREEZER_PAUSE);
    }
}

fn populated(events: &str) -> bool {
    keyed(events, "populated") == Some(1)
}

/// Waits until `cgroup.events` says what is wanted.
fn wait_event(
    folder: &Folder,
    what: &'static str,
    limit: Duration,
    done: impl Fn(&str) -> bool,
) -> Result<()> {
    let file = folder
        .open_file("cgroup.events", OFlags::RDONLY)
        .map_err(|e| folder.io("open", "cgroup.events", e))?;
    let end = sys::clock::boottime_ns() + limit.as_nanos() as u64;
    let mut bytes = [0; 256];
    loop {
        // Reading arms the next notification (kernfs notices changes since the last read of this open file).
        match rustix::io::pread(&file, &mut bytes, 0) {
            Ok(n) if done(&String::from_utf8_lossy(&bytes[..n])) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(folder.io("read", "cgroup.events", e)),
        }
        let Some(left) = remaining(end) else {
            return Err(Error::Timeout {
                what,
                path: folder.path.clone(),
                limit_ms: limit.as_millis() as u64,
            });
        };
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(folder.io("poll", "cgroup.events", e)),
        }
    }
}

fn remaining(end_ns: u64) -> Option<Duration> {
    end_ns.checked_sub(sys::clock::boottime_ns()).filter(|&ns| ns > 0).map(Duration::from_nanos)
}

fn ignore_timeout(error: Error) -> Result<()> {
    match error {
        Error::Timeout { .. } => Ok(()),
        other => Err(other),
    }
}
