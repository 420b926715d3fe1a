//! `HostConfig`: the part of a container's configuration that depends on the host.
//!
//! Field order, names and zero values are those of dockerd 28.5. This file holds no behaviour.

use std::collections::BTreeMap;

use crate::go::StrSlice;
use crate::go_struct;
use crate::network::PortMap;

go_struct! {
    /// How a container is bound to its host.
    pub struct HostConfig = "container.HostConfig" {
        binds: Option<Vec<String>> => "Binds",
        container_id_file: String => "ContainerIDFile",
        log_config: LogConfig => "LogConfig",
        network_mode: String => "NetworkMode",
        port_bindings: Option<PortMap> => "PortBindings",
        restart_policy: RestartPolicy => "RestartPolicy",
        auto_remove: bool => "AutoRemove",
        volume_driver: String => "VolumeDriver",
        volumes_from: Option<Vec<String>> => "VolumesFrom",
        console_size: [usize; 2] => "ConsoleSize",
        annotations: Option<BTreeMap<String, String>> => "Annotations" omitempty,
        cap_add: StrSlice => "CapAdd",
        cap_drop: StrSlice => "CapDrop",
        cgroupns_mode: String => "CgroupnsMode",
        dns: Option<Vec<String>> => "Dns" ("DNS"),
        dns_options: Option<Vec<String>> => "DnsOptions" ("DNSOptions"),
        dns_search: Option<Vec<String>> => "DnsSearch" ("DNSSearch"),
        extra_hosts: Option<Vec<String>> => "ExtraHosts",
        group_add: Option<Vec<String>> => "GroupAdd",
        ipc_mode: String => "IpcMode",
        cgroup: String => "Cgroup",
        links: Option<Vec<String>> => "Links",
        oom_score_adj: isize => "OomScoreAdj",
        pid_mode: String => "PidMode",
        privileged: bool => "Privileged",
        publish_all_ports: bool => "PublishAllPorts",
        readonly_rootfs: bool => "ReadonlyRootfs",
        security_opt: Option<Vec<String>> => "SecurityOpt",
        storage_opt: Option<BTreeMap<String, String>> => "StorageOpt" omitempty,
        tmpfs: Option<BTreeMap<String, String>> => "Tmpfs" omitempty,
        uts_mode: String => "UTSMode",
        userns_mode: String => "UsernsMode",
        shm_size: i64 => "ShmSize",
        sysctls: Option<BTreeMap<String, String>> => "Sysctls" omitempty,
        runtime: String => "Runtime" omitempty,
        isolation: String => "Isolation",
        cpu_shares: i64 => "CpuShares" ("CPUShares"),
        memory: i64 => "Memory",
        nano_cpus: i64 => "NanoCpus" ("NanoCPUs"),
        cgroup_parent: String => "CgroupParent",
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
        devices: Option<Vec<DeviceMapping>> => "Devices",
        device_cgroup_rules: Option<Vec<String>> => "DeviceCgroupRules",
        device_requests: Option<Vec<DeviceRequest>> => "DeviceRequests",
        kernel_memory: i64 => "KernelMemory" omitempty,
        kernel_memory_tcp: i64 => "KernelMemoryTCP" omitempty,
        memory_reservation: i64 => "MemoryReservation",
        memory_swap: i64 => "MemorySwap",
        memory_swappiness: Option<i64> => "MemorySwappiness",
        oom_kill_disable: Option<bool> => "OomKillDisable",
        pids_limit: Option<i64> => "PidsLimit",
        ulimits: Option<Vec<Option<Ulimit>>> => "Ulimits",
        cpu_count: i64 => "CpuCount" ("CPUCount"),
        cpu_percent: i64 => "CpuPercent" ("CPUPercent"),
        io_maximum_iops: u64 => "IOMaximumIOps",
        io_maximum_bandwidth: u64 => "IOMaximumBandwidth",
        mounts: Option<Vec<Mount>> => "Mounts" omitempty,
        masked_paths: Option<Vec<String>> => "MaskedPaths",
        readonly_paths: Option<Vec<String>> => "ReadonlyPaths",
        init: Option<bool> => "Init" omitempty,
    }

    /// Which log driver, with which options.
    pub struct LogConfig = "container.LogConfig" {
        driver: String => "Type",
        config: Option<BTreeMap<String, String>> => "Config",
    }

    /// Whether an exited container is started again.
    pub struct RestartPolicy = "container.RestartPolicy" {
        name: String => "Name",
        maximum_retry_count: isize => "MaximumRetryCount",
    }

    /// A block device's weight.
    pub struct WeightDevice = "blkiodev.WeightDevice" {
        path: String => "Path",
        weight: u16 => "Weight",
    }

    /// A block device's limit.
    pub struct ThrottleDevice = "blkiodev.ThrottleDevice" {
        path: String => "Path",
        rate: u64 => "Rate",
    }

    /// A device node of the host in the container.
    pub struct DeviceMapping = "container.DeviceMapping" {
        path_on_host: String => "PathOnHost",
        path_in_container: String => "PathInContainer",
        cgroup_permissions: String => "CgroupPermissions",
    }

    /// Devices asked of a driver.
    pub struct DeviceRequest = "container.DeviceRequest" {
        driver: String => "Driver",
        count: isize => "Count",
        device_ids: Option<Vec<String>> => "DeviceIDs",
        capabilities: Option<Vec<Option<Vec<String>>>> => "Capabilities",
        options: Option<BTreeMap<String, String>> => "Options",
    }

    /// A resource limit.
    pub struct Ulimit = "units.Ulimit" {
        name: String => "Name",
        hard: i64 => "Hard",
        soft: i64 => "Soft",
    }

    /// A mount asked for with `--mount`.
    pub struct Mount = "mount.Mount" {
        kind: String => "Type" omitempty,
        source: String => "Source" omitempty,
        target: String => "Target" omitempty,
        read_only: bool => "ReadOnly" omitempty,
        consistency: String => "Consistency" omitempty,
        bind_options: Option<BindOptions> => "BindOptions" omitempty,
        volume_options: Option<VolumeOptions> => "VolumeOptions" omitempty,
        image_options: Option<ImageOptions> => "ImageOptions" omitempty,
        tmpfs_options: Option<TmpfsOptions> => "TmpfsOptions" omitempty,
    }

    /// Options of a bind mount.
    pub struct BindOptions = "mount.BindOptions" {
        propagation: String => "Propagation" omitempty,
        non_recursive: bool => "NonRecursive" omitempty,
        create_mountpoint: bool => "CreateMountpoint" omitempty,
        read_only_non_recursive: bool => "ReadOnlyNonRecursive" omitempty,
        read_only_force_recursive: bool => "ReadOnlyForceRecursive" omitempty,
    }

    /// Options of a volume mount.
    pub struct VolumeOptions = "mount.VolumeOptions" {
        no_copy: bool => "NoCopy" omitempty,
        labels: Option<BTreeMap<String, String>> => "Labels" omitempty,
        subpath: String => "Subpath" omitempty,
        driver_config: Option<Driver> => "DriverConfig" omitempty,
    }

    /// Options of an image mount.
    pub struct ImageOptions = "mount.ImageOptions" {
        subpath: String => "Subpath" omitempty,
    }

    /// A volume driver.
    pub struct Driver = "mount.Driver" {
        name: String => "Name" omitempty,
        options: Option<BTreeMap<String, String>> => "Options" omitempty,
    }

    /// Options of a tmpfs.
    pub struct TmpfsOptions = "mount.TmpfsOptions" {
        size_bytes: i64 => "SizeBytes" omitempty,
        mode: u32 => "Mode" omitempty,
        options: Option<Vec<Option<Vec<String>>>> => "Options" omitempty,
    }
}
