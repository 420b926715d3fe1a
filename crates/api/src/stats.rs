//! Bodies of `GET /containers/{id}/stats`, `GET …/changes`, `POST …/update` and `POST /containers/prune` (Engine API 1.51).
//!
//! Field order, names and zero values are those of dockerd 28.5. This file holds no behaviour.

use std::collections::BTreeMap;

use crate::go_struct;
use crate::host_config::{RestartPolicy, ThrottleDevice, WeightDevice};

go_struct! {
    /// What a container uses.
    pub struct StatsResponse = "container.StatsResponse" {
        name: String => "name" omitempty ("Name"),
        id: String => "id" omitempty ("ID"),
        read: String => "read" ("Read"),
        pre_read: String => "preread" ("PreRead"),
        pids_stats: PidsStats => "pids_stats" ("PidsStats"),
        blkio_stats: BlkioStats => "blkio_stats" ("BlkioStats"),
        num_procs: u32 => "num_procs" ("NumProcs"),
        storage_stats: StorageStats => "storage_stats" ("StorageStats"),
        cpu_stats: CpuStats => "cpu_stats" ("CPUStats"),
        pre_cpu_stats: CpuStats => "precpu_stats" ("PreCPUStats"),
        memory_stats: MemoryStats => "memory_stats" ("MemoryStats"),
        networks: Option<BTreeMap<String, NetworkStats>> => "networks" omitempty ("Networks"),
    }

    /// Tasks.
    pub struct PidsStats = "container.PidsStats" {
        current: u64 => "current" omitempty ("Current"),
        limit: u64 => "limit" omitempty ("Limit"),
    }

    /// Block devices.
    pub struct BlkioStats = "container.BlkioStats" {
        bytes: Option<Vec<BlkioStatEntry>> => "io_service_bytes_recursive" ("IoServiceBytesRecursive"),
        operations: Option<Vec<BlkioStatEntry>> => "io_serviced_recursive" ("IoServicedRecursive"),
        queued: Option<Vec<BlkioStatEntry>> => "io_queue_recursive" ("IoQueuedRecursive"),
        service_time: Option<Vec<BlkioStatEntry>> => "io_service_time_recursive" ("IoServiceTimeRecursive"),
        wait_time: Option<Vec<BlkioStatEntry>> => "io_wait_time_recursive" ("IoWaitTimeRecursive"),
        merged: Option<Vec<BlkioStatEntry>> => "io_merged_recursive" ("IoMergedRecursive"),
        time: Option<Vec<BlkioStatEntry>> => "io_time_recursive" ("IoTimeRecursive"),
        sectors: Option<Vec<BlkioStatEntry>> => "sectors_recursive" ("SectorsRecursive"),
    }

    /// One operation on one block device.
    pub struct BlkioStatEntry = "container.BlkioStatEntry" {
        major: u64 => "major" ("Major"),
        minor: u64 => "minor" ("Minor"),
        op: String => "op" ("Op"),
        value: u64 => "value" ("Value"),
    }

    /// Windows only.
    pub struct StorageStats = "container.StorageStats" {
        read_count: u64 => "read_count_normalized" omitempty ("ReadCountNormalized"),
    }

    /// CPU time.
    pub struct CpuStats = "container.CPUStats" {
        usage: CpuUsage => "cpu_usage" ("CPUUsage"),
        system: u64 => "system_cpu_usage" omitempty ("SystemUsage"),
        online: u32 => "online_cpus" omitempty ("OnlineCPUs"),
        throttling: ThrottlingData => "throttling_data" ("ThrottlingData"),
    }

    /// CPU time in nanoseconds.
    pub struct CpuUsage = "container.CPUUsage" {
        total: u64 => "total_usage" ("TotalUsage"),
        per_cpu: Option<Vec<u64>> => "percpu_usage" omitempty ("PercpuUsage"),
        kernel: u64 => "usage_in_kernelmode" ("UsageInKernelmode"),
        user: u64 => "usage_in_usermode" ("UsageInUsermode"),
    }

    /// How the CPU quota has bitten.
    pub struct ThrottlingData = "container.ThrottlingData" {
        periods: u64 => "periods" ("Periods"),
        throttled_periods: u64 => "throttled_periods" ("ThrottledPeriods"),
        throttled_time: u64 => "throttled_time" ("ThrottledTime"),
    }

    /// Memory.
    pub struct MemoryStats = "container.MemoryStats" {
        usage: u64 => "usage" omitempty ("Usage"),
        max_usage: u64 => "max_usage" omitempty ("MaxUsage"),
        stats: Option<BTreeMap<String, u64>> => "stats" omitempty ("Stats"),
        fail_count: u64 => "failcnt" omitempty ("Failcnt"),
        limit: u64 => "limit" omitempty ("Limit"),
    }

    /// A network device.
    pub struct NetworkStats = "container.NetworkStats" {
        rx_bytes: u64 => "rx_bytes" ("RxBytes"),
        rx_packets: u64 => "rx_packets" ("RxPackets"),
        rx_errors: u64 => "rx_errors" ("RxErrors"),
        rx_dropped: u64 => "rx_dropped" ("RxDropped"),
        tx_bytes: u64 => "tx_bytes" ("TxBytes"),
        tx_packets: u64 => "tx_packets" ("TxPackets"),
        tx_errors: u64 => "tx_errors" ("TxErrors"),
        tx_dropped: u64 => "tx_dropped" ("TxDropped"),
    }

    /// Body of `POST /containers/{id}/update`.
    pub struct UpdateConfig = "container.UpdateConfig" {
        cpu_shares: i64 => "CpuShares" ("CPUShares"),
        memory: i64 => "Memory",
        nano_cpus: i64 => "NanoCpus" ("NanoCPUs"),
        blkio_weight: u16 => "BlkioWeight",
        blkio_weight_device: Option<Vec<Option<WeightDevice>>> => "BlkioWeightDevice",
        blkio_device_read_bps: Option<Vec<Option<ThrottleDevice>>> => "BlkioDeviceReadBps",
        blkio_device_write_bps: Option<Vec<Option<ThrottleDevice>>> => "BlkioDeviceWriteBps",
        blkio_device_read_iops: Option<Vec<Option<ThrottleDevice>>> => "BlkioDeviceReadIOps",
        blkio_device_write_iops: Option<Vec<Option<ThrottleDevice>>> => "BlkioDeviceWriteIOps",
        cpu_period: i64 => "CpuPeriod" ("CPUPeriod"),
        cpu_quota: i64 => "CpuQuota" ("CPUQuota"),
        cpu_realtime_period: i64 => "CpuRealtimePeriod" ("CPURealtimePeriod"),
        cpu_realtime_runtime: i64 => "CpuRealtimeRuntime" ("CPURealtimeRuntime"),
        cpuset_cpus: String => "CpusetCpus",
        cpuset_mems: String => "CpusetMems",
        memory_reservation: i64 => "MemoryReservation",
        memory_swap: i64 => "MemorySwap",
        pids_limit: Option<i64> => "PidsLimit",
        restart_policy: RestartPolicy => "RestartPolicy",
    }

    /// Its answer.
    pub struct UpdateResponse = "container.UpdateResponse" {
        warnings: Option<Vec<String>> => "Warnings",
    }

    /// What `X-Docker-Container-Path-Stat` says, in base64: a path in a container.
    pub struct PathStat = "container.PathStat" {
        name: String => "name",
        size: i64 => "size",
        /// Go's `fs.FileMode`.
        mode: u32 => "mode",
        mtime: String => "mtime",
        link_target: String => "linkTarget",
    }

    /// One line of `GET /containers/{id}/changes`.
    pub struct FilesystemChange = "container.FilesystemChange" {
        path: String => "Path",
        kind: isize => "Kind",
    }

    /// Answer of `POST /containers/prune`.
    pub struct ContainersPruneReport = "container.PruneReport" {
        deleted: Option<Vec<String>> => "ContainersDeleted",
        reclaimed: u64 => "SpaceReclaimed",
    }
}
