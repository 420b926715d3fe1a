//! Limits: Docker's numbers to the runtime spec's.

use super::Inputs;
use crate::config::{DeviceNumber, HostConfig, Limits};
use crate::error::{Error, Result};
use oci::runtime as spec;

/// The scheduler period that `--cpus` is a part of, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

pub(super) fn resources(inputs: &Inputs<'_>) -> Result<spec::Resources> {
    let host = &inputs.record.host;
    Ok(spec::Resources {
        devices: device_rules(inputs)?,
        memory: memory(host),
        cpu: cpu(host),
        pids: host.pids_limit.filter(|n| *n > 0).map(|limit| spec::Pids { limit: Some(limit) }),
        block_io: block_io(&host.limits, inputs)?,
        ..spec::Resources::default()
    })
}

/// What of them can be changed while the container runs: not devices.
pub(crate) fn changed_resources(host: &HostConfig) -> spec::Resources {
    let weight = host.limits.blkio_weight;
    spec::Resources {
        memory: memory(host),
        cpu: cpu(host),
        pids: host.pids_limit.filter(|n| *n != 0).map(|limit| spec::Pids { limit: Some(limit) }),
        block_io: (weight != 0).then(|| spec::BlockIo { weight: Some(weight), ..spec::BlockIo::default() }),
        ..spec::Resources::default()
    }
}

/// `RLIMIT_…` of each `--ulimit`; -1 is no limit.
pub(super) fn rlimits(limits: &Limits) -> Vec<spec::Rlimit> {
    let number = |n: i64| u64::try_from(n).unwrap_or(u64::MAX);
    let one = |u: &crate::config::Ulimit| spec::Rlimit {
        kind: format!("RLIMIT_{}", u.name.to_ascii_uppercase()),
        soft: number(u.soft),
        hard: number(u.hard),
    };
    limits.ulimits.iter().map(one).collect()
}

fn memory(host: &HostConfig) -> Option<spec::Memory> {
    let some = |value: i64| (value != 0).then_some(value);
    let memory = spec::Memory {
        limit: some(host.memory),
        swap: some(host.memory_swap),
        reservation: some(host.limits.memory_reservation),
        swappiness: host.limits.memory_swappiness.and_then(|n| u64::try_from(n).ok()),
        disable_oom_killer: host.limits.oom_kill_disable.then_some(true),
        ..spec::Memory::default()
    };
    (memory != spec::Memory::default()).then_some(memory)
}

fn cpu(host: &HostConfig) -> Option<spec::Cpu> {
    let limits = &host.limits;
    let positive = |value: i64| u64::try_from(value).ok().filter(|n| *n > 0);
    let mut cpu = spec::Cpu {
        shares: positive(limits.cpu_shares),
        period: positive(limits.cpu_period),
        quota: (limits.cpu_quota != 0).then_some(limits.cpu_quota),
        realtime_period: positive(limits.cpu_realtime_period),
        realtime_runtime: (limits.cpu_realtime_runtime != 0).then_some(limits.cpu_realtime_runtime),
        cpus: limits.cpuset_cpus.clone(),
        mems: limits.cpuset_mems.clone(),
        ..spec::Cpu::default()
    };
    if host.nano_cpus > 0 {
        cpu.period = Some(CPU_PERIOD_US);
        cpu.quota = Some(host.nano_cpus / (1_000_000_000 / CPU_PERIOD_US as i64));
    }
    (cpu != spec::Cpu::default()).then_some(cpu)
}

fn block_io(limits: &Limits, inputs: &Inputs<'_>) -> Result<Option<spec::BlockIo>> {
    let number = |device: &DeviceNumber| -> Result<(i64, i64, u64)> {
        let numbers = inputs.block_devices.iter().find(|(path, _)| *path == device.path);
        let (major, minor) = numbers
            .map(|(_, numbers)| *numbers)
            .ok_or_else(|| Error::invalid(format!("stat {}: no such file or directory", device.path)))?;
        Ok((major, minor, device.number))
    };
    let rates = |list: &[DeviceNumber]| {
        let rate = |device| {
            let (major, minor, rate) = number(device)?;
            Ok(spec::ThrottleDevice { major, minor, rate })
        };
        list.iter().map(rate).collect::<Result<Vec<_>>>()
    };
    let weight = |device| {
        let (major, minor, weight) = number(device)?;
        let weight = Some(u16::try_from(weight).unwrap_or(u16::MAX));
        Ok(spec::WeightDevice { major, minor, weight, leaf_weight: None })
    };
    let io = spec::BlockIo {
        weight: (limits.blkio_weight > 0).then_some(limits.blkio_weight),
        weight_device: limits.blkio_weight_device.iter().map(weight).collect::<Result<_>>()?,
        throttle_read_bps_device: rates(&limits.blkio_read_bps)?,
        throttle_write_bps_device: rates(&limits.blkio_write_bps)?,
        throttle_read_iops_device: rates(&limits.blkio_read_iops)?,
        throttle_write_iops_device: rates(&limits.blkio_write_iops)?,
        ..spec::BlockIo::default()
    };
    Ok((io != spec::BlockIo::default()).then_some(io))
}

/// Docker's and runc's together: making any node is allowed, using only these and what was asked for.
fn device_rules(inputs: &Inputs<'_>) -> Result<Vec<spec::DeviceRule>> {
    let host = &inputs.record.host;
    if host.privileged {
        return Ok(vec![rule(true, "a", None, None, "rwm")]);
    }
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
    for given in inputs.devices {
        let (major, minor) = (Some(given.node.major), Some(given.node.minor));
        rules.push(rule(true, &given.node.kind, major, minor, &given.permissions));
    }
    for text in &host.device_cgroup_rules {
        rules.push(parse_rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, `*` for any number.
fn parse_rule(text: &str) -> Result<spec::DeviceRule> {
    let invalid = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |word: &str| match word {
        "*" => Ok(None),
        word if word.bytes().all(|b| b.is_ascii_digit()) => word.parse().map(Some).map_err(|_| invalid()),
        _ => Err(invalid()),
    };
    let known = matches!(kind, "a" | "b" | "c")
        && (1..=3).contains(&access.len())
        && access.chars().all(|c| "rwm".contains(c));
    if !known {
        return Err(invalid());
    }
    Ok(rule(true, kind, number(major)?, number(minor)?, access))
}

fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> spec::DeviceRule {
    let kind = Some(match kind {
        "c" | "u" => spec::DeviceKind::Char,
        "b" => spec::DeviceKind::Block,
        _ => spec::DeviceKind::All,
    });
    spec::DeviceRule { allow, kind, major, minor, access: access.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_dockers() {
        let parsed = parse_rule("c 10:* rw").unwrap();
        assert_eq!((parsed.kind, parsed.major, parsed.minor), (Some(spec::DeviceKind::Char), Some(10), None));
        for bad in ["x", "c 1 rwm", "c 1:3 rwq", "d 1:3 r", "c 1:-3 r", "c 1:3 ", "c 1:3 rwmr"] {
            let expected = format!("invalid device cgroup rule format: '{bad}'");
            assert_eq!(parse_rule(bad).unwrap_err().message, expected);
        }
    }
}
