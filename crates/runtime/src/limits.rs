//! Resource limits (config.md, "POSIX process": rlimits) and the OOM score.
//!
//! Raising a hard limit or lowering the score needs CAP_SYS_RESOURCE in the initial user namespace. Where
//! that is missing the process gets what is possible and the caller a warning.

use crate::error::{Error, Kind, Result, What};
use oci::runtime::{Process, Rlimit};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, getrlimit, prlimit};
use sys::trace;

/// What one process shall have.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    rlimits: Vec<Rlimit>,
    oom_score_adj: Option<i32>,
}

impl Limits {
    pub(crate) fn of(process: &Process) -> Self {
        Self { rlimits: process.rlimits.clone(), oom_score_adj: process.oom_score_adj }
    }

    /// Sets the limits of another process; returns warnings.
    pub(crate) fn apply_to(&self, pid: i32) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        if let Some(score) = self.oom_score_adj {
            warnings.extend(oom_score(&pid.to_string(), score)?);
        }
        let target = Pid::from_raw(pid);
        for limit in &self.rlimits {
            warnings.extend(rlimit(target, limit)?);
        }
        Ok(warnings)
    }
}

/// Sets the calling process's limits; returns warnings.
pub(crate) fn rlimits(process: &Process) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for limit in &process.rlimits {
        warnings.extend(rlimit(None, limit)?);
    }
    Ok(warnings)
}

/// Writes `/proc/<pid>/oom_score_adj`; `pid` may be "self".
pub(crate) fn oom_score(pid: &str, score: i32) -> Result<Option<String>> {
    let mut step = trace::step("OOM score", "write(2)");
    step.note(format_args!("{score}"));
    let path = format!("/proc/{pid}/oom_score_adj");
    match std::fs::write(&path, score.to_string()) {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            Ok(Some(format!("oom_score_adj {score} not set: lowering it needs CAP_SYS_RESOURCE")))
        }
        Err(e) => step.check(Err(Error::kernel(format!("write({path}, {score})"), e))),
    }
}

/// The resource that a name of the spec means.
pub(crate) fn resource(name: &str) -> Result<Resource> {
    let table = [
        ("RLIMIT_AS", Resource::As),
        ("RLIMIT_CORE", Resource::Core),
        ("RLIMIT_CPU", Resource::Cpu),
        ("RLIMIT_DATA", Resource::Data),
        ("RLIMIT_FSIZE", Resource::Fsize),
        ("RLIMIT_LOCKS", Resource::Locks),
        ("RLIMIT_MEMLOCK", Resource::Memlock),
        ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
        ("RLIMIT_NICE", Resource::Nice),
        ("RLIMIT_NOFILE", Resource::Nofile),
        ("RLIMIT_NPROC", Resource::Nproc),
        ("RLIMIT_RSS", Resource::Rss),
        ("RLIMIT_RTPRIO", Resource::Rtprio),
        ("RLIMIT_RTTIME", Resource::Rttime),
        ("RLIMIT_SIGPENDING", Resource::Sigpending),
        ("RLIMIT_STACK", Resource::Stack),
    ];
    let found = table.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, resource)| *resource)
        .ok_or_else(|| Error::new(Kind::Invalid, format!("invalid rlimit type: {name}")))
}

fn rlimit(pid: Option<Pid>, limit: &Rlimit) -> Result<Option<String>> {
    let mut step = trace::step("rlimit", "prlimit64(2)");
    step.note(format_args!("{} {}:{}", limit.kind, limit.soft, limit.hard));
    let resource = resource(&limit.kind)?;
    let wanted = rustix::process::Rlimit { current: finite(limit.soft), maximum: finite(limit.hard) };
    match prlimit(pid, resource, wanted) {
        Ok(_) => return Ok(None),
        Err(Errno::PERM) => {}
        Err(e) => {
            return step.check(Err(Error::kernel(format!("error setting rlimit type {}", limit.kind), e)));
        }
    }
    // The hard limit stays where it is, the soft one comes as close as it can.
    let maximum = getrlimit(resource).maximum;
    let current = least(wanted.current, maximum);
    prlimit(pid, resource, rustix::process::Rlimit { current, maximum })
        .what(|| format!("error setting rlimit type {}", limit.kind))?;
    let has = maximum.map_or_else(|| "unlimited".to_string(), |n| n.to_string());
    Ok(Some(format!("{} stays at {has}: raising it to {} needs CAP_SYS_RESOURCE", limit.kind, limit.hard)))
}

/// RLIM_INFINITY is all ones.
fn finite(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

/// The smaller one, `None` being endless.
fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (Some(n), None) | (None, Some(n)) => Some(n),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_minima() {
        assert!(matches!(resource("RLIMIT_NOFILE"), Ok(Resource::Nofile)));
        assert_eq!(resource("RLIMIT_X").unwrap_err().to_string(), "invalid rlimit type: RLIMIT_X");
        for (a, b, min) in [
            (Some(1), Some(2), Some(1)),
            (None, Some(2), Some(2)),
            (Some(3), None, Some(3)),
            (None, None, None),
        ] {
            assert_eq!(least(a, b), min);
        }
        assert_eq!(finite(u64::MAX), None);
    }
}
