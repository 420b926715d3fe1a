//! Docker's checks of what a container may use, with its texts; pure over what the machine has.

use crate::config::{HostConfig, Limits};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// Docker's minimum for `--memory` and `--memory-reservation`.
const MIN_MEMORY: i64 = 6 << 20;
/// Bounds of the scheduler's period, in microseconds.
const CPU_PERIODS: std::ops::RangeInclusive<i64> = 1000..=1_000_000;
/// The least quota that the scheduler takes, in microseconds.
const MIN_CPU_QUOTA: i64 = 1000;
/// No machine has more; a list that names more is refused before it is counted out.
const MAX_CPUS: u32 = 8192;

/// What the machine has, as far as limits depend on it.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// How many CPUs may be used.
    pub cpus: usize,
    /// Their numbers as the kernel writes them (`0-3,7`); empty = not known.
    pub cpu_list: String,
    /// Numbers of the memory nodes; empty = not known.
    pub mem_list: String,
    /// Block devices can be weighed.
    pub blkio_weight: bool,
    /// The weight can differ by device.
    pub blkio_weight_device: bool,
    /// The group's swappiness can be set (v1).
    pub swappiness: bool,
    /// Killing for want of memory can be switched off (v1).
    pub oom_kill_disable: bool,
}

/// Checks; fills in what follows from others (swap = twice the memory) and takes out what the machine lacks, with
/// Docker's warnings.
pub fn validate(host: &mut HostConfig, machine: &Machine) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    memory(host, machine, &mut warnings)?;
    cpu(host, machine)?;
    block_io(&mut host.limits, machine, &mut warnings);
    if host.shm_size < 0 {
        return Err(Error::invalid("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&host.limits.oom_score_adj) {
        return Err(Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.limits.oom_score_adj
        )));
    }
    Ok(warnings)
}

fn memory(host: &mut HostConfig, machine: &Machine, warnings: &mut Vec<String>) -> Result<()> {
    let HostConfig { memory, memory_swap, limits, .. } = host;
    if *memory != 0 && *memory < MIN_MEMORY {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    if *memory > 0 && *memory_swap > 0 && *memory_swap < *memory {
        return Err(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if *memory == 0 && *memory_swap > 0 {
        return Err(Error::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if let Some(swappiness) = limits.memory_swappiness {
        if !(-1..=100).contains(&swappiness) {
            return Err(Error::invalid(format!(
                "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
            )));
        }
        if swappiness == -1 || !machine.swappiness {
            limits.memory_swappiness = None;
        }
        if swappiness >= 0 && !machine.swappiness {
            warnings.push(
                "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded."
                    .to_string(),
            );
        }
    }
    let reservation = limits.memory_reservation;
    if reservation > 0 && reservation < MIN_MEMORY {
        return Err(Error::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if *memory > 0 && reservation > 0 && *memory < reservation {
        return Err(Error::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    if limits.oom_kill_disable && !machine.oom_kill_disable {
        limits.oom_kill_disable = false;
        warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_string());
    }
    if limits.oom_kill_disable && *memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_string(),
        );
    }
    if *memory > 0 && *memory_swap == 0 {
        *memory_swap = memory.saturating_mul(2);
    }
    Ok(())
}

fn cpu(host: &HostConfig, machine: &Machine) -> Result<()> {
    let limits = &host.limits;
    let conflict = |what| {
        Err(Error::invalid(format!("Conflicting options: Nano CPUs and CPU {what} cannot both be set")))
    };
    if host.nano_cpus > 0 && limits.cpu_period > 0 {
        return conflict("Period");
    }
    if host.nano_cpus > 0 && limits.cpu_quota > 0 {
        return conflict("Quota");
    }
    let available = i64::try_from(machine.cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if host.nano_cpus < 0 || host.nano_cpus > available {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available",
            machine.cpus
        )));
    }
    if limits.cpu_shares < 0 {
        return Err(Error::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            limits.cpu_shares
        )));
    }
    if limits.cpu_period != 0 && !CPU_PERIODS.contains(&limits.cpu_period) {
        return Err(Error::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < MIN_CPU_QUOTA {
        return Err(Error::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    placement(&limits.cpuset_cpus, &machine.cpu_list, "cpus", "CPUs")?;
    placement(&limits.cpuset_mems, &machine.mem_list, "mems", "memory nodes")
}

fn placement(asked: &str, available: &str, file: &str, what: &str) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let numbers = number_list(asked)
        .map_err(|why| Error::invalid(format!("Invalid value {asked} for cpuset {file}: {why}")))?;
    let there = number_list(available).unwrap_or_default();
    if !available.is_empty() && !numbers.is_subset(&there) {
        return Err(Error::invalid(format!(
            "Requested {what} are not available - requested {asked}, available: {}",
            available.trim()
        )));
    }
    Ok(())
}

/// `0-2,7` (cpuset(7), "List format").
fn number_list(text: &str) -> std::result::Result<BTreeSet<u32>, String> {
    let mut numbers = BTreeSet::new();
    for part in text.trim().split(',') {
        let invalid = || format!("invalid format: {part}");
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) =
            (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
        if last < first || last > MAX_CPUS {
            return Err(invalid());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

fn block_io(limits: &mut Limits, machine: &Machine, warnings: &mut Vec<String>) {
    let mut lacks = |what: &str, discarded: &str| {
        warnings.push(format!(
            "Your kernel does not support Block I/O {what} or the cgroup is not mounted. {discarded} discarded."
        ));
    };
    if limits.blkio_weight > 0 && !machine.blkio_weight {
        lacks("weight", "Weight");
        limits.blkio_weight = 0;
    }
    if !limits.blkio_weight_device.is_empty() && !machine.blkio_weight_device {
        lacks("weight_device", "Weight-device");
        limits.blkio_weight_device.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut HostConfig);

    fn machine() -> Machine {
        Machine {
            cpus: 2,
            cpu_list: "0-1\n".into(),
            mem_list: "0".into(),
            swappiness: true,
            oom_kill_disable: true,
            ..Machine::default()
        }
    }

    #[test]
    fn what_docker_refuses_in_its_words() {
        let limits = |change: Change| {
            let mut host = HostConfig::default();
            change(&mut host);
            validate(&mut host, &machine())
        };
        let cases: &[(Change, &str)] = &[
            (|h| h.memory = 1, "Minimum memory limit allowed is 6MB"),
            (|h| h.limits.memory_reservation = 100, "Minimum memory reservation allowed is 6MB"),
            (
                |h| (h.memory, h.limits.memory_reservation) = (10 << 20, 20 << 20),
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (
                |h| h.limits.memory_swappiness = Some(101),
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (
                |h| h.limits.oom_score_adj = 2000,
                "Invalid value 2000, range for oom score adj is [-1000, 1000]",
            ),
            (
                |h| (h.nano_cpus, h.limits.cpu_period) = (1, 100_000),
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (
                |h| (h.nano_cpus, h.limits.cpu_quota) = (1, 100_000),
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (
                |h| h.limits.cpu_period = 10,
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (|h| h.limits.cpu_quota = 10, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
            (|h| h.limits.cpu_shares = -1, "invalid CPU shares (-1): value must be a positive integer"),
            (|h| h.limits.cpuset_cpus = "x".into(), "Invalid value x for cpuset cpus: invalid format: x"),
            (
                |h| h.limits.cpuset_cpus = "0-99".into(),
                "Requested CPUs are not available - requested 0-99, available: 0-1",
            ),
            (
                |h| h.limits.cpuset_mems = "7".into(),
                "Requested memory nodes are not available - requested 7, available: 0",
            ),
            (
                |h| h.nano_cpus = 3_000_000_000,
                "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (|h| h.shm_size = -1, "SHM size can not be less than 0"),
        ];
        for (change, expected) in cases {
            assert_eq!(limits(*change).unwrap_err().message, *expected);
        }
    }

    #[test]
    fn what_the_machine_lacks_is_taken_out_with_a_warning() {
        let mut host = HostConfig::default();
        host.limits.blkio_weight = 500;
        host.limits.memory_swappiness = Some(50);
        host.limits.oom_kill_disable = true;
        let warnings = validate(&mut host, &Machine { cpus: 1, ..Machine::default() }).unwrap();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(host.limits, Limits::default());
        host.limits.oom_kill_disable = true;
        let warnings = validate(&mut host, &machine()).unwrap();
        assert!(warnings[0].starts_with("OOM killer is disabled"), "{warnings:?}");
        assert!(host.limits.oom_kill_disable);
    }

    #[test]
    fn lists_of_numbers() {
        let list = |text: &str| number_list(text).map(|set| set.into_iter().collect::<Vec<_>>());
        assert_eq!(list("0-2,7\n"), Ok(vec![0, 1, 2, 7]));
        for bad in ["", "1-", "2-1", "a", "0-4294967295", "1,,2"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }
}
