//! Resources as the files of cgroup v2 (kernel: Documentation/admin-guide/cgroup-v2.rst). Pure apart from the facts
//! read. It does not know folders; which controllers must be enabled above is answered by [`wanted`].

use std::collections::BTreeMap;

use oci::runtime::{BlockIo, Cpu, Memory, Network, Resources};

use crate::apply::{Facts, Plan};
use crate::convert::{blkio_weight_to_io_weight, shares_to_weight, swap_to_v2};
use crate::v1::{check_file_part, pids_max, plan_rdma};
use crate::{Controllers, Error, Result};

/// The kernel's own period.
const USUAL_PERIOD_US: u64 = 100_000;

/// Controllers that a group with these resources has.
pub(crate) fn wanted(resources: &Resources) -> Controllers {
    let mut wanted = Controllers::USUAL;
    if !resources.hugepage_limits.is_empty() {
        wanted = wanted.with(Controllers::HUGETLB);
    }
    if !resources.rdma.is_empty() {
        wanted = wanted.with(Controllers::RDMA);
    }
    resources.unified.keys().filter_map(|key| controller_of(key)).fold(wanted, Controllers::with)
}

/// The writes for limits; devices are a bpf program.
pub(crate) fn plan(resources: &Resources, facts: &dyn Facts) -> Result<Plan> {
    let mut plan = Plan::default();
    if let Some(memory) = &resources.memory {
        plan_memory(&mut plan, memory, facts)?;
    }
    if let Some(cpu) = &resources.cpu {
        plan_cpu(&mut plan, cpu, facts)?;
    }
    // 0 is "not set", see v1.
    if let Some(limit) = resources.pids.and_then(|p| p.limit).filter(|&l| l != 0) {
        facts.require(Controllers::PIDS, "a limit of processes")?;
        plan.push(Controllers::PIDS, "pids.max", pids_max(limit));
    }
    if let Some(io) = &resources.block_io {
        plan_io(&mut plan, io, facts)?;
    }
    if resources.network.as_ref().is_some_and(|n| *n != Network::default()) {
        plan.warnings.push("network class and priority are ignored: cgroup v2 has neither".into());
    }
    for huge in &resources.hugepage_limits {
        facts.require(Controllers::HUGETLB, "a limit of huge pages")?;
        check_file_part(&huge.page_size)?;
        plan.push(Controllers::HUGETLB, format!("hugetlb.{}.max", huge.page_size), huge.limit);
        let reserved = format!("hugetlb.{}.rsvd.max", huge.page_size);
        if facts.has(Controllers::HUGETLB, &reserved) {
            plan.push(Controllers::HUGETLB, reserved, huge.limit);
        }
    }
    plan_rdma(&mut plan, resources, facts)?;
    plan_unified(&mut plan, &resources.unified, facts)?;
    Ok(plan)
}

fn plan_memory(plan: &mut Plan, memory: &Memory, facts: &dyn Facts) -> Result<()> {
    const MEMORY: Controllers = Controllers::MEMORY;
    facts.require(MEMORY, "a memory limit")?;
    let limit = memory.limit.filter(|&l| l != 0);
    if memory.check_before_update == Some(true) {
        check_usage(limit, facts)?;
    }
    // Swap goes first: until both are written the group must not have more than was asked for.
    if let Some(swap) = swap_to_v2(limit, memory.swap)? {
        if facts.has(MEMORY, "memory.swap.max") {
            plan.push(MEMORY, "memory.swap.max", or_max(swap));
        } else if swap > 0 {
            plan.warnings.push("the kernel does not count swap: memory is limited without swap".into());
        }
    }
    limit.into_iter().for_each(|l| plan.push(MEMORY, "memory.max", or_max(l)));
    if let Some(low) = memory.reservation.filter(|&r| r != 0) {
        plan.push(MEMORY, "memory.low", or_max(low));
    }
    let ignored = [
        ("a limit on kernel memory", memory.kernel.is_some_and(|k| k != 0)),
        ("a limit on TCP buffers", memory.kernel_tcp.is_some_and(|k| k != 0)),
        ("swappiness", memory.swappiness.is_some()),
        ("switching the OOM killer off", memory.disable_oom_killer == Some(true)),
        ("memory without hierarchy", memory.use_hierarchy == Some(false)),
    ];
    for (what, _) in ignored.iter().filter(|(_, given)| *given) {
        plan.warnings.push(format!("{what} is ignored: cgroup v2 has no such setting"));
    }
    Ok(())
}

/// `checkBeforeUpdate`: refuse instead of letting the kernel kill.
fn check_usage(limit: Option<i64>, facts: &dyn Facts) -> Result<()> {
    let number =
        |file| facts.read(Controllers::MEMORY, file).as_deref().and_then(crate::folder::parse_number);
    let usage = number("memory.current").unwrap_or(0);
    match limit {
        Some(limit) if limit > 0 && usage > limit.unsigned_abs() => {
            let peak = number("memory.peak").unwrap_or(usage);
            Err(Error::MemoryInUse { limit, usage, peak, source: None })
        }
        _ => Ok(()),
    }
}

fn plan_cpu(plan: &mut Plan, cpu: &Cpu, facts: &dyn Facts) -> Result<()> {
    const CPU: Controllers = Controllers::CPU;
    let before = plan.writes.len();
    if let Some(idle) = cpu.idle {
        plan.push(CPU, "cpu.idle", idle);
    }
    // An idle group takes no weight (EINVAL).
    if let Some(shares) = cpu.shares.filter(|&s| s != 0 && cpu.idle != Some(1)) {
        plan.push(CPU, "cpu.weight", shares_to_weight(shares));
    }
    if let Some(burst) = cpu.burst {
        plan.push_deferrable(CPU, "cpu.max.burst", burst);
    }
    let (quota, period) = (cpu.quota.filter(|&q| q != 0), cpu.period.filter(|&p| p != 0));
    match (quota, period) {
        (None, None) => {}
        (Some(quota), period) => {
            let period = period.unwrap_or(USUAL_PERIOD_US);
            plan.push_deferrable(CPU, "cpu.max", format_args!("{} {period}", or_max(quota)));
        }
        (None, Some(period)) => {
            // A period alone keeps the quota that is there.
            let present = facts.read(CPU, "cpu.max");
            let quota = present.as_deref().and_then(|p| p.split(' ').next()).unwrap_or("max");
            plan.push_deferrable(CPU, "cpu.max", format_args!("{quota} {period}"));
        }
    }
    if plan.writes.len() > before {
        facts.require(CPU, "a CPU limit")?;
    }
    if cpu.realtime_runtime.is_some_and(|r| r != 0) || cpu.realtime_period.is_some_and(|p| p != 0) {
        plan.warnings.push("realtime limits are ignored: cgroup v2 has none".into());
    }
    for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if !value.is_empty() {
            facts.require(Controllers::CPUSET, "a set of CPUs or memory nodes")?;
            plan.push(Controllers::CPUSET, file, value);
        }
    }
    Ok(())
}

fn plan_io(plan: &mut Plan, io: &BlockIo, facts: &dyn Facts) -> Result<()> {
    const IO: Controllers = Controllers::IO;
    if *io == BlockIo::default() {
        return Ok(());
    }
    facts.require(IO, "a limit on block devices")?;
    let leaf = |w: &oci::runtime::WeightDevice| w.leaf_weight.is_some_and(|l| l != 0);
    if io.leaf_weight.is_some_and(|l| l != 0) || io.weight_device.iter().any(leaf) {
        plan.warnings.push("leaf weights of block devices are ignored: cgroup v2 has none".into());
    }
    let weights: Vec<_> =
        io.weight_device.iter().filter_map(|d| Some((d, d.weight.filter(|&w| w != 0)?))).collect();
    let weight = io.weight.filter(|&w| w != 0);
    if weight.is_some() || !weights.is_empty() {
        // BFQ has a file of its own, with v1's numbers; io.weight (iocost) counts otherwise.
        let bfq = facts.has(IO, "io.bfq.weight");
        let file = if bfq { "io.bfq.weight" } else { "io.weight" };
        let convert = |w| if bfq { u64::from(w) } else { blkio_weight_to_io_weight(w) };
        if bfq || facts.has(IO, file) {
            weight.into_iter().for_each(|w| plan.push(IO, file, convert(w)));
            for (d, weight) in weights {
                plan.push(IO, file, format_args!("{}:{} {}", d.major, d.minor, convert(weight)));
            }
        } else {
            plan.warnings.push("the kernel does not weigh block devices: weights are ignored".into());
        }
    }
    let rates = [
        ("rbps", &io.throttle_read_bps_device),
        ("wbps", &io.throttle_write_bps_device),
        ("riops", &io.throttle_read_iops_device),
        ("wiops", &io.throttle_write_iops_device),
    ];
    let mut by_device: BTreeMap<(i64, i64), String> = BTreeMap::new();
    for (key, devices) in rates {
        for d in devices {
            let rate = if d.rate == 0 { "max".to_owned() } else { d.rate.to_string() };
            let line = by_device.entry((d.major, d.minor)).or_default();
            line.push_str(&format!(" {key}={rate}"));
        }
    }
    for ((major, minor), rates) in by_device {
        plan.push(IO, "io.max", format_args!("{major}:{minor}{rates}"));
    }
    Ok(())
}

/// `unified`: files of v2 as they are. The kernel takes one line per write.
fn plan_unified(plan: &mut Plan, unified: &BTreeMap<String, String>, facts: &dyn Facts) -> Result<()> {
    for (file, value) in unified {
        check_file_part(file)?;
        let controller = controller_of(file).unwrap_or(Controllers::NONE);
        if !controller.is_empty() {
            facts.require(controller, file)?;
        } else if !file.starts_with("cgroup.") && !facts.has(controller, file) {
            return Err(Error::Invalid(format!("unified resource {file:?} can't be set: no such file")));
        }
        for line in value.lines() {
            plan.push(controller, file.clone(), line);
        }
    }
    Ok(())
}

fn controller_of(file: &str) -> Option<Controllers> {
    Controllers::from_name(file.split_once('.')?.0)
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

#[cfg(test)]
mod tests;
