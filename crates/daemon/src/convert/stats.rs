//! A container's counters in Docker's form.

use api::stats::{
    BlkioStatEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, StatsResponse,
    ThrottlingData,
};
use engine::tasks::{BlockStats, Device, Sample};

use super::words;

/// No limit of tasks in the kernel's form.
const NO_LIMIT: u64 = u64::MAX;

/// A message; of a container that does not run all is zero. `before` is the sample to compare with.
pub(crate) fn stats(now: Option<&Sample>, before: Option<&Sample>) -> StatsResponse {
    let none = || words::ZERO_TIME.to_owned();
    let Some(now) = now else {
        return StatsResponse { read: none(), pre_read: none(), ..StatsResponse::default() };
    };
    let pids = &now.group.pids;
    StatsResponse {
        read: words::time(now.read_ns),
        pre_read: before.map_or_else(none, |sample| words::time(sample.read_ns)),
        pids_stats: PidsStats {
            current: pids.current,
            limit: if pids.limit == NO_LIMIT { 0 } else { pids.limit },
        },
        blkio_stats: blkio(now),
        cpu_stats: cpu(now),
        pre_cpu_stats: before.map(cpu).unwrap_or_default(),
        memory_stats: memory(now),
        networks: (!now.networks.is_empty()).then(|| now.networks.iter().map(network).collect()),
        ..StatsResponse::default()
    }
}

fn cpu(sample: &Sample) -> CpuStats {
    let from = &sample.group.cpu;
    CpuStats {
        usage: CpuUsage {
            total: from.usage_ns,
            per_cpu: (!from.per_cpu_ns.is_empty()).then(|| from.per_cpu_ns.clone()),
            kernel: from.system_ns,
            user: from.user_ns,
        },
        system: sample.system_ns,
        online: u32::try_from(sample.cpus).unwrap_or(0),
        throttling: ThrottlingData {
            periods: from.periods,
            throttled_periods: from.throttled_periods,
            throttled_time: from.throttled_ns,
        },
    }
}

fn memory(sample: &Sample) -> MemoryStats {
    let from = &sample.group.memory;
    MemoryStats {
        usage: from.usage,
        // dockerd shows it for v1 only.
        max_usage: if sample.v2 { 0 } else { from.peak },
        stats: (!from.stat.is_empty()).then(|| from.stat.clone()),
        fail_count: from.failures,
        limit: from.limit.min(sample.machine_memory),
    }
}

fn blkio(sample: &Sample) -> BlkioStats {
    let list = |value: fn(&BlockStats) -> u64| {
        let entry = |io: &BlockStats| BlkioStatEntry {
            major: io.major.into(),
            minor: io.minor.into(),
            op: if sample.v2 { io.operation.clone() } else { capital(&io.operation) },
            value: value(io),
        };
        sample.group.io.iter().map(entry).collect::<Vec<_>>()
    };
    let bytes = Some(list(|io| io.bytes));
    if sample.v2 {
        return BlkioStats { bytes, ..BlkioStats::default() };
    }
    let empty = || Some(Vec::new());
    BlkioStats {
        bytes,
        operations: Some(list(|io| io.operations)),
        queued: empty(),
        service_time: empty(),
        wait_time: empty(),
        merged: empty(),
        time: empty(),
        sectors: empty(),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn network(device: &Device) -> (String, NetworkStats) {
    let ([rx_bytes, rx_packets, rx_errors, rx_dropped], [tx_bytes, tx_packets, tx_errors, tx_dropped]) =
        (device.received, device.sent);
    let counters = NetworkStats {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    };
    (device.name.clone(), counters)
}
