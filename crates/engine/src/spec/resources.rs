//! Limits: Docker's numbers to the runtime spec's, and the checks that Docker makes before.

use crate::config::HostConfig;
use crate::error::{Error, Result};
use crate::state::Record;
use oci::runtime as spec;

/// Docker's minimum for `--memory`.
const MIN_MEMORY: i64 = 6 << 20;
/// The scheduler period that `--cpus` is a part of, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// Docker's checks, with its texts; fills in what follows from others (swap = twice the memory).
pub fn validate(host: &mut HostConfig, cpus: usize) -> Result<()> {
    if host.memory != 0 && host.memory < MIN_MEMORY {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return Err(Error::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    let available = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if host.nano_cpus < 0 || host.nano_cpus > available {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    Ok(())
}

pub(super) fn resources(record: &Record) -> spec::Resources {
    let host = &record.host;
    let limit = |value: i64| (value != 0).then_some(value);
    spec::Resources {
        devices: if host.privileged { vec![rule(true, "a", None, None, "rwm")] } else { device_rules() },
        memory: (host.memory != 0 || host.memory_swap != 0).then(|| spec::Memory {
            limit: limit(host.memory),
            swap: limit(host.memory_swap),
            ..spec::Memory::default()
        }),
        cpu: (host.nano_cpus > 0).then(|| spec::Cpu {
            period: Some(CPU_PERIOD_US),
            quota: Some(host.nano_cpus / (1_000_000_000 / CPU_PERIOD_US as i64)),
            ..spec::Cpu::default()
        }),
        pids: host.pids_limit.filter(|n| *n > 0).map(|limit| spec::Pids { limit: Some(limit) }),
        ..spec::Resources::default()
    }
}

/// Docker's and runc's together: making any node is allowed, using only these.
fn device_rules() -> Vec<spec::DeviceRule> {
    let char_devices = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ];
    let mut rules = vec![
        rule(false, "a", None, None, "rwm"),
        rule(true, "c", None, None, "m"),
        rule(true, "b", None, None, "m"),
    ];
    rules.extend(char_devices.map(|(major, minor)| rule(true, "c", Some(major), minor, "rwm")));
    rules
}

fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> spec::DeviceRule {
    let kind = Some(match kind {
        "c" => spec::DeviceKind::Char,
        "b" => spec::DeviceKind::Block,
        _ => spec::DeviceKind::All,
    });
    spec::DeviceRule { allow, kind, major, minor, access: access.to_string() }
}
