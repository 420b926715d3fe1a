//! Resources as the files of cgroup v1 (kernel: Documentation/admin-guide/cgroup-v1). Pure apart from the facts read.
//!
//! It does not know folders, or the order in which groups are made.

use oci::runtime::{BlockIo, Cpu, Memory, Network, Resources, ThrottleDevice};

use crate::apply::{Facts, Plan};
use crate::devices::DevicePolicy;
use crate::folder::parse_number;
use crate::{Controllers, Error, Result};

const LIMIT: &str = "memory.limit_in_bytes";
const MEMSW: &str = "memory.memsw.limit_in_bytes";

/// The writes for limits; devices are apart.
pub(crate) fn plan(resources: &Resources, fresh: bool, facts: &dyn Facts) -> Result<Plan> {
    let mut plan = Plan::default();
    if !resources.unified.is_empty() {
        return Err(Error::Unsupported("`unified` resources on cgroup v1".into()));
    }
    if let Some(memory) = &resources.memory {
        plan_memory(&mut plan, memory, fresh, facts)?;
    }
    if let Some(cpu) = &resources.cpu {
        plan_cpu(&mut plan, cpu, facts)?;
    }
    // 0 is "not set", as in the structs of all callers until spec 1.3 made the limit a pointer.
    if let Some(limit) = resources.pids.and_then(|p| p.limit).filter(|&l| l != 0) {
        facts.require(Controllers::PIDS, "a limit of processes")?;
        plan.push(Controllers::PIDS, "pids.max", pids_max(limit));
    }
    if let Some(io) = &resources.block_io {
        plan_io(&mut plan, io, facts)?;
    }
    if let Some(network) = &resources.network {
        plan_network(&mut plan, network, facts)?;
    }
    plan_others(&mut plan, resources, facts)?;
    Ok(plan)
}

/// The writes for device access. A fresh group has its parent's, so "all" is nothing to write.
pub(crate) fn plan_devices(policy: &DevicePolicy, fresh: bool) -> Plan {
    let mut plan = Plan::default();
    let (default, exception) = match policy.default_allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    if !(fresh && policy.default_allow) {
        plan.push(Controllers::DEVICES, default, "a");
    }
    for rule in &policy.exceptions {
        plan.push(Controllers::DEVICES, exception, rule);
    }
    plan
}

pub(crate) fn pids_max(limit: i64) -> String {
    if limit < 0 { "max".into() } else { limit.to_string() }
}

/// memory.limit_in_bytes ≤ memory.memsw.limit_in_bytes holds at each moment, or the kernel says EINVAL.
fn plan_memory(plan: &mut Plan, memory: &Memory, fresh: bool, facts: &dyn Facts) -> Result<()> {
    const MEMORY: Controllers = Controllers::MEMORY;
    facts.require(MEMORY, "a memory limit")?;
    let limit = memory.limit.filter(|&l| l != 0);
    // Unlimited memory with a limit on the sum cannot have been meant by whoever gives no sum.
    let mut swap = memory.swap.filter(|&s| s != 0).or(limit.filter(|&l| l == -1));
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && (limit == -1 || swap < limit)
    {
        return Err(Error::Invalid("memory+swap limit should be >= memory limit".into()));
    }
    if swap.is_some() && !facts.has(MEMORY, MEMSW) {
        if memory.swap.is_some_and(|s| s != 0) {
            plan.warnings.push("the kernel does not count swap: memory is limited without swap".into());
        }
        swap = None;
    }
    match (limit, swap) {
        (Some(limit), Some(swap)) if swap_first(swap, fresh, facts) => {
            plan.push(MEMORY, MEMSW, swap);
            plan.push(MEMORY, LIMIT, limit);
        }
        (limit, swap) => {
            limit.into_iter().for_each(|l| plan.push(MEMORY, LIMIT, l));
            swap.into_iter().for_each(|s| plan.push(MEMORY, MEMSW, s));
        }
    }
    let mut number = |file: &'static str, value: Option<i64>| {
        value.filter(|&v| v != 0).into_iter().for_each(|v| plan.push(MEMORY, file, v));
    };
    number("memory.soft_limit_in_bytes", memory.reservation);
    number("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp);
    if memory.kernel.is_some_and(|k| k != 0) {
        plan.warnings.push("a limit on kernel memory is ignored: the kernel has none any more".into());
    }
    if let Some(swappiness) = memory.swappiness {
        if swappiness > 100 {
            return Err(Error::Invalid(format!(
                "invalid memory swappiness value: {swappiness} (valid range is 0-100)"
            )));
        }
        plan.push(MEMORY, "memory.swappiness", swappiness);
    }
    if let Some(disable) = memory.disable_oom_killer.filter(|d| *d || !fresh) {
        plan.push(MEMORY, "memory.oom_control", u8::from(disable));
    }
    if let Some(hierarchy) = memory.use_hierarchy {
        plan.push(MEMORY, "memory.use_hierarchy", u8::from(hierarchy));
    }
    Ok(())
}

/// Raising: the sum goes first as soon as it is not below the present limit. Lowering: the limit goes first.
fn swap_first(swap: i64, fresh: bool, facts: &dyn Facts) -> bool {
    let present = || facts.read(Controllers::MEMORY, LIMIT).as_deref().and_then(parse_number);
    !fresh && (swap == -1 || present().is_some_and(|p| u64::try_from(swap).is_ok_and(|s| s >= p)))
}

fn plan_cpu(plan: &mut Plan, cpu: &Cpu, facts: &dyn Facts) -> Result<()> {
    const CPU: Controllers = Controllers::CPU;
    let before = plan.writes.len();
    if let Some(idle) = cpu.idle {
        plan.push(CPU, "cpu.idle", idle);
    }
    // An idle group takes no shares (EINVAL).
    if let Some(shares) = cpu.shares.filter(|&s| s != 0 && cpu.idle != Some(1)) {
        plan.push(CPU, "cpu.shares", shares);
    }
    // Which order is right depends on what is there: what is refused is tried again after the others.
    if let Some(period) = cpu.period.filter(|&p| p != 0) {
        plan.push_deferrable(CPU, "cpu.cfs_period_us", period);
    }
    if let Some(burst) = cpu.burst {
        plan.push_deferrable(CPU, "cpu.cfs_burst_us", burst);
    }
    if let Some(quota) = cpu.quota.filter(|&q| q != 0) {
        plan.push_deferrable(CPU, "cpu.cfs_quota_us", quota);
    }
    if let Some(period) = cpu.realtime_period.filter(|&p| p != 0) {
        plan.push_deferrable(CPU, "cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|&r| r != 0) {
        plan.push_deferrable(CPU, "cpu.rt_runtime_us", runtime);
    }
    if plan.writes.len() > before {
        facts.require(CPU, "a CPU limit")?;
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
        plan.warnings.push("leaf weights of block devices are ignored: the kernel has none any more".into());
    }
    let weights: Vec<_> =
        io.weight_device.iter().filter_map(|d| Some((d, d.weight.filter(|&w| w != 0)?))).collect();
    let weight = io.weight.filter(|&w| w != 0);
    if weight.is_some() || !weights.is_empty() {
        // The schedulers that know weights: BFQ now, CFQ before 5.0.
        let (file, by_device) = match facts.has(IO, "blkio.bfq.weight") {
            true => ("blkio.bfq.weight", "blkio.bfq.weight_device"),
            false => ("blkio.weight", "blkio.weight_device"),
        };
        if facts.has(IO, file) {
            weight.into_iter().for_each(|w| plan.push(IO, file, w));
            for (device, weight) in weights {
                plan.push(IO, by_device, format_args!("{}:{} {weight}", device.major, device.minor));
            }
        } else {
            plan.warnings.push("the kernel does not weigh block devices: weights are ignored".into());
        }
    }
    let mut rates = |file: &'static str, devices: &[ThrottleDevice]| {
        for d in devices {
            plan.push(IO, file, format_args!("{}:{} {}", d.major, d.minor, d.rate));
        }
    };
    rates("blkio.throttle.read_bps_device", &io.throttle_read_bps_device);
    rates("blkio.throttle.write_bps_device", &io.throttle_write_bps_device);
    rates("blkio.throttle.read_iops_device", &io.throttle_read_iops_device);
    rates("blkio.throttle.write_iops_device", &io.throttle_write_iops_device);
    Ok(())
}

fn plan_network(plan: &mut Plan, network: &Network, facts: &dyn Facts) -> Result<()> {
    if let Some(class) = network.class_id.filter(|&c| c != 0) {
        facts.require(Controllers::NET_CLS, "a network class")?;
        plan.push(Controllers::NET_CLS, "net_cls.classid", class);
    }
    for priority in &network.priorities {
        facts.require(Controllers::NET_PRIO, "a network priority")?;
        let value = format!("{} {}", priority.name, priority.priority);
        plan.push(Controllers::NET_PRIO, "net_prio.ifpriomap", value);
    }
    Ok(())
}

fn plan_others(plan: &mut Plan, resources: &Resources, facts: &dyn Facts) -> Result<()> {
    const HUGETLB: Controllers = Controllers::HUGETLB;
    for huge in &resources.hugepage_limits {
        facts.require(HUGETLB, "a limit of huge pages")?;
        check_file_part(&huge.page_size)?;
        plan.push(HUGETLB, format!("hugetlb.{}.limit_in_bytes", huge.page_size), huge.limit);
        let reserved = format!("hugetlb.{}.rsvd.limit_in_bytes", huge.page_size);
        if facts.has(HUGETLB, &reserved) {
            plan.push(HUGETLB, reserved, huge.limit);
        }
    }
    plan_rdma(plan, resources, facts)
}

/// `rdma.max` is the same file on both versions.
pub(crate) fn plan_rdma(plan: &mut Plan, resources: &Resources, facts: &dyn Facts) -> Result<()> {
    for (device, limit) in &resources.rdma {
        facts.require(Controllers::RDMA, "a limit on RDMA")?;
        let part = |name: &str, value: Option<u32>| value.map(|v| format!(" {name}={v}")).unwrap_or_default();
        let handles = part("hca_handle", limit.hca_handles);
        let objects = part("hca_object", limit.hca_objects);
        plan.push(Controllers::RDMA, "rdma.max", format_args!("{device}{handles}{objects}"));
    }
    Ok(())
}

/// What becomes part of a file name must not leave the folder.
pub(crate) fn check_file_part(part: &str) -> Result<()> {
    if part.is_empty() || part.contains(['/', '\0']) || part.starts_with('.') {
        return Err(Error::Invalid(format!("invalid cgroup file {part:?}")));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
