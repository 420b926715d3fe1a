//! What a group has used, in one form for both versions. Numbers are the kernel's; times are nanoseconds.
//!
//! It does not know percentages or rates.

use std::collections::BTreeMap;

use crate::folder::{Folder, keyed, parse_number};
use crate::layout::Version;
use crate::{Cgroup, Controllers, Result};

/// What a group has used. A controller that is missing leaves its part at zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block devices, one entry for each device and operation.
    pub io: Vec<BlockStats>,
}

/// CPU time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub usage_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// By CPU; v1 only.
    pub per_cpu_ns: Vec<u64>,
    /// Periods with a quota.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// Time spent waiting for the next period.
    pub throttled_ns: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use.
    pub usage: u64,
    /// Most ever in use (v2: since 5.19).
    pub peak: u64,
    /// Limit; `u64::MAX` is none on v2, a large number on v1.
    pub limit: u64,
    /// Swap in use.
    pub swap: u64,
    /// How often the limit was hit.
    pub failures: u64,
    /// `memory.stat` as it is.
    pub stat: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// Limit; `u64::MAX` is none.
    pub limit: u64,
}

/// One operation on one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockStats {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// `read`, `write`, … in lower case.
    pub operation: String,
    /// Bytes.
    pub bytes: u64,
    /// Operations.
    pub operations: u64,
}

impl Cgroup {
    /// Reads what the group has used.
    pub fn stats(&self) -> Result<Stats> {
        let v2 = self.version() == Version::V2;
        let mut stats = Stats::default();
        if let Some(folder) = self.folder(Controllers::CPU) {
            let text = folder.read("cpu.stat")?;
            stats.cpu = if v2 { cpu_v2(&text) } else { cpu_v1(&text) };
        }
        if let Some(folder) = self.folder(Controllers::CPUACCT).filter(|_| !v2) {
            add_cpuacct(&mut stats.cpu, folder)?;
        }
        if let Some(folder) = self.folder(Controllers::MEMORY) {
            stats.memory = if v2 { memory_v2(folder)? } else { memory_v1(folder)? };
        }
        if let Some(folder) = self.folder(Controllers::PIDS) {
            let number = |file| folder.read_number(file).unwrap_or(0);
            stats.pids = PidsStats { current: number("pids.current"), limit: number("pids.max") };
        }
        if let Some(folder) = self.folder(Controllers::IO) {
            stats.io = if v2 { io_v2(&folder.read("io.stat")?) } else { io_v1(folder) };
        }
        Ok(stats)
    }
}

fn cpu_v2(text: &str) -> CpuStats {
    let us = |key| keyed(text, key).unwrap_or(0);
    CpuStats {
        usage_ns: us("usage_usec") * 1000,
        user_ns: us("user_usec") * 1000,
        system_ns: us("system_usec") * 1000,
        per_cpu_ns: Vec::new(),
        periods: us("nr_periods"),
        throttled_periods: us("nr_throttled"),
        throttled_ns: us("throttled_usec") * 1000,
    }
}

fn cpu_v1(text: &str) -> CpuStats {
    let number = |key| keyed(text, key).unwrap_or(0);
    CpuStats {
        periods: number("nr_periods"),
        throttled_periods: number("nr_throttled"),
        throttled_ns: number("throttled_time"),
        ..CpuStats::default()
    }
}

fn add_cpuacct(cpu: &mut CpuStats, folder: &Folder) -> Result<()> {
    cpu.usage_ns = folder.read_number("cpuacct.usage").unwrap_or(0);
    cpu.user_ns = folder.read_number("cpuacct.usage_user").unwrap_or(0);
    cpu.system_ns = folder.read_number("cpuacct.usage_sys").unwrap_or(0);
    let per_cpu = folder.read("cpuacct.usage_percpu")?;
    cpu.per_cpu_ns = per_cpu.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    Ok(())
}

fn memory_v2(folder: &Folder) -> Result<MemoryStats> {
    let number = |file| folder.read_number(file).unwrap_or(0);
    let events = folder.read("memory.events").unwrap_or_default();
    Ok(MemoryStats {
        usage: number("memory.current"),
        peak: number("memory.peak"),
        limit: number("memory.max"),
        swap: number("memory.swap.current"),
        failures: keyed(&events, "max").unwrap_or(0),
        stat: all_keys(&folder.read("memory.stat")?),
    })
}

fn memory_v1(folder: &Folder) -> Result<MemoryStats> {
    let number = |file| folder.read_number(file).unwrap_or(0);
    let usage = number("memory.usage_in_bytes");
    Ok(MemoryStats {
        usage,
        peak: number("memory.max_usage_in_bytes"),
        limit: number("memory.limit_in_bytes"),
        swap: number("memory.memsw.usage_in_bytes").saturating_sub(usage),
        failures: number("memory.failcnt"),
        stat: all_keys(&folder.read("memory.stat")?),
    })
}

fn all_keys(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| line.split_once(' ').and_then(|(k, v)| Some((k.to_owned(), parse_number(v)?)));
    text.lines().filter_map(pair).collect()
}

/// `8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`
fn io_v2(text: &str) -> Vec<BlockStats> {
    let mut all = Vec::new();
    for line in text.lines() {
        let Some((device, rest)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = parse_device(device) else { continue };
        let value = |key: &str| {
            rest.split(' ')
                .find_map(|p| p.strip_prefix(key)?.strip_prefix('='))
                .and_then(parse_number)
                .unwrap_or(0)
        };
        for (operation, bytes, operations) in
            [("read", "rbytes", "rios"), ("write", "wbytes", "wios"), ("discard", "dbytes", "dios")]
        {
            let (bytes, operations) = (value(bytes), value(operations));
            all.push(BlockStats { major, minor, operation: operation.into(), bytes, operations });
        }
    }
    all
}

/// BFQ counts when it is the scheduler; the throttling layer always does.
fn io_v1(folder: &Folder) -> Vec<BlockStats> {
    let sources = [
        ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
        ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
        ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
    ];
    for (bytes, operations) in sources {
        let read = |file| folder.read(file).unwrap_or_default();
        let stats = merge_io_v1(&read(bytes), &read(operations));
        if !stats.is_empty() {
            return stats;
        }
    }
    Vec::new()
}

/// Lines `8:16 Read 4096`, and a last line `Total 4096`.
fn merge_io_v1(bytes: &str, operations: &str) -> Vec<BlockStats> {
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let (major, minor) = parse_device(fields.next()?)?;
        let operation = fields.next()?.to_ascii_lowercase();
        Some((major, minor, operation, parse_number(fields.next()?)?))
    };
    let counts: Vec<_> = operations.lines().filter_map(parse).collect();
    let one = |(major, minor, operation, bytes): (u32, u32, String, u64)| {
        let same = |c: &&(u32, u32, String, u64)| (c.0, c.1, &c.2) == (major, minor, &operation);
        let operations = counts.iter().find(same).map_or(0, |c| c.3);
        BlockStats { major, minor, operation, bytes, operations }
    };
    bytes.lines().filter_map(parse).map(one).collect()
}

fn parse_device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_block_statistics() {
        let entry = |operation: &str, bytes, operations| BlockStats {
            major: 8,
            minor: 16,
            operation: operation.into(),
            bytes,
            operations,
        };
        let v2 = io_v2("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\nbad\n");
        assert_eq!(v2, [entry("read", 1, 3), entry("write", 2, 4), entry("discard", 5, 6)]);
        let v1 = merge_io_v1("8:16 Read 10\n8:16 Write 20\nTotal 30\n", "8:16 Read 1\nTotal 1\n");
        assert_eq!(v1, [entry("read", 10, 1), entry("write", 20, 0)]);
    }

    #[test]
    fn cpu_times() {
        let v2 = cpu_v2(
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\nthrottled_usec 9\n",
        );
        assert_eq!((v2.usage_ns, v2.user_ns, v2.system_ns), (5000, 3000, 2000));
        assert_eq!((v2.periods, v2.throttled_periods, v2.throttled_ns), (7, 1, 9000));
        let v1 = cpu_v1("nr_periods 7\nnr_throttled 1\nthrottled_time 9\n");
        assert_eq!((v1.periods, v1.throttled_periods, v1.throttled_ns), (7, 1, 9));
    }
}
