//! Other limits, or another restart policy, for a container that exists.
//!
//! The record goes first and is taken back when the kernel refuses, as with dockerd.

use crate::config::{Limits, RestartPolicy};
use crate::error::{Error, Result};
use crate::state::Record;
use crate::{Engine, HostConfig, spec};
use cgroup::Cgroup;
use std::path::Path;

/// What is asked for; what is zero, empty or `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// Bytes.
    pub memory: i64,
    /// Bytes of memory and swap; -1 = no limit.
    pub memory_swap: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Processes; -1 = no limit.
    pub pids_limit: Option<i64>,
    /// The rest; devices and resource limits of processes cannot be changed.
    pub limits: Limits,
    /// When it is started again.
    pub restart: Option<RestartPolicy>,
}

impl Engine {
    /// Changes a container's limits or policy, at once when it runs. Returns warnings.
    pub fn update_container(&self, word: &str, update: Update) -> Result<Vec<String>> {
        let (update, warnings) = self.check_update(update)?;
        let container = self.container(word)?;
        let id = container.id.clone();
        let _lock = self.paths().lock(&id)?;
        let before = self.state()?.find(&id)?;
        let mut record = before.clone();
        let cannot =
            |e: Error| Error { message: format!("Cannot update container {id}: {}", e.message), ..e };
        apply(&mut record.host, &update).map_err(cannot)?;
        self.state()?.update(&record)?;
        if container.is_running()
            && let Err(e) = self.set_limits(&container.cgroup, &record)
        {
            self.state()?.update(&before)?;
            return Err(cannot(e));
        }
        if container.is_active() && crate::restart::has_policy(&record.host.restart) {
            // Its shim was told otherwise at its start: it asks for this file when its end has come.
            let path = self.paths().task(&id).join(shim::config::RESTARTS_FILE);
            match std::fs::write(&path, "") {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(crate::error::io(format!("write {}", path.display()))(e));
                }
                _ => {}
            }
        }
        self.tell(&record, "update", &[]);
        Ok(warnings)
    }

    /// dockerd's checks of a request by itself.
    fn check_update(&self, mut update: Update) -> Result<(Update, Vec<String>)> {
        let mut asked = HostConfig {
            memory: update.memory,
            // Without a new limit of memory it belongs to the old one.
            memory_swap: if update.memory == 0 { 0 } else { update.memory_swap },
            nano_cpus: update.nano_cpus,
            limits: update.limits.clone(),
            ..HostConfig::default()
        };
        let machine = self.machine(&asked)?;
        let warnings = spec::validate(&mut asked, &machine)?;
        // What the machine lacks was taken out.
        update.limits = asked.limits;
        Ok((update, warnings))
    }

    fn set_limits(&self, path: &str, record: &Record) -> Result<()> {
        let group = Cgroup::open(self.cgroup_layout()?, Path::new(path))?;
        group.set(&spec::changed_resources(&record.host))?;
        Ok(())
    }
}

/// Puts what is asked for over what is; conflicts between the two in dockerd's words.
fn apply(host: &mut HostConfig, update: &Update) -> Result<()> {
    let asked = &update.limits;
    for (both, text) in [
        (update.nano_cpus > 0 && host.limits.cpu_period > 0, "Nano CPUs cannot be updated as CPU Period has"),
        (update.nano_cpus > 0 && host.limits.cpu_quota > 0, "Nano CPUs cannot be updated as CPU Quota has"),
        (asked.cpu_quota > 0 && host.nano_cpus > 0, "CPU Quota cannot be updated as NanoCPUs has"),
        (asked.cpu_period > 0 && host.nano_cpus > 0, "CPU Period cannot be updated as NanoCPUs has"),
    ] {
        if both {
            return Err(Error::conflict(format!("Conflicting options: {text} already been set")));
        }
    }
    if update.memory != 0
        && update.memory > host.memory_swap
        && host.memory_swap > 0
        && update.memory_swap == 0
    {
        return Err(Error::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    let limits = &mut host.limits;
    for (have, asked) in [
        (&mut host.memory, update.memory),
        (&mut host.memory_swap, update.memory_swap),
        (&mut host.nano_cpus, update.nano_cpus),
        (&mut limits.memory_reservation, asked.memory_reservation),
        (&mut limits.cpu_shares, asked.cpu_shares),
        (&mut limits.cpu_period, asked.cpu_period),
        (&mut limits.cpu_quota, asked.cpu_quota),
        (&mut limits.cpu_realtime_period, asked.cpu_realtime_period),
        (&mut limits.cpu_realtime_runtime, asked.cpu_realtime_runtime),
    ] {
        if asked != 0 {
            *have = asked;
        }
    }
    for (have, asked) in
        [(&mut limits.cpuset_cpus, &asked.cpuset_cpus), (&mut limits.cpuset_mems, &asked.cpuset_mems)]
    {
        if !asked.is_empty() {
            have.clone_from(asked);
        }
    }
    if asked.blkio_weight != 0 {
        limits.blkio_weight = asked.blkio_weight;
    }
    host.pids_limit = update.pids_limit.or(host.pids_limit);
    if let Some(policy) = &update.restart {
        if host.auto_remove && crate::restart::has_policy(policy) {
            return Err(Error::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        host.restart = policy.clone();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_dockers() {
        let mut cpus = HostConfig { nano_cpus: 1, ..HostConfig::default() };
        let mut period = HostConfig::default();
        period.limits.cpu_period = 1000;
        let mut removed = HostConfig { auto_remove: true, ..HostConfig::default() };
        let mut swap = HostConfig { memory: 8 << 20, memory_swap: 16 << 20, ..HostConfig::default() };
        let quota = Limits { cpu_quota: 2000, ..Limits::default() };
        let always = RestartPolicy { name: "always".into(), ..RestartPolicy::default() };
        for (host, update, text) in [
            (
                &mut cpus,
                Update { limits: quota, ..Update::default() },
                "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
            ),
            (
                &mut period,
                Update { nano_cpus: 5, ..Update::default() },
                "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
            ),
            (
                &mut removed,
                Update { restart: Some(always), ..Update::default() },
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ),
            (
                &mut swap,
                Update { memory: 32 << 20, ..Update::default() },
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ),
        ] {
            assert_eq!(apply(host, &update).unwrap_err().message, text);
        }
        apply(&mut swap, &Update { memory: 12 << 20, pids_limit: Some(-1), ..Update::default() }).unwrap();
        assert_eq!((swap.memory, swap.memory_swap, swap.pids_limit), (12 << 20, 16 << 20, Some(-1)));
    }
}
