//! What a container is asked to be: the typed form of Docker's Config and HostConfig.
//!
//! Only what the engine acts on stands here; a door refuses the rest by name. Kept as JSON in the
//! container's record, so that fields may be added (each has a default).

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A request to make a container.
#[derive(Debug, Clone, Default)]
pub struct CreateContainer {
    /// Its name without the slash; generated when `None`.
    pub name: Option<String>,
    /// What runs in it.
    pub config: ContainerConfig,
    /// What the host gives it.
    pub host: HostConfig,
    /// Its networks by name and what it wants of each; `None`: that of its mode.
    pub networks: Option<BTreeMap<String, crate::networks::Membership>>,
}

/// What runs in the container (Docker's `Config`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// Host name; the id's first 12 characters when empty.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers, as given; the image's when empty.
    pub user: String,
    /// The client wants stdin.
    pub attach_stdin: bool,
    /// The client wants stdout.
    pub attach_stdout: bool,
    /// The client wants stderr.
    pub attach_stderr: bool,
    /// `80/tcp` and so on: the image's and the published ones.
    pub exposed_ports: BTreeSet<String>,
    /// A terminal for the main process.
    pub tty: bool,
    /// Keep stdin open.
    pub open_stdin: bool,
    /// Close stdin when the first attached client leaves.
    pub stdin_once: bool,
    /// `NAME=value`; the image's first.
    pub env: Vec<String>,
    /// Arguments, or the command when there is no entry point. `None`: the image's.
    pub cmd: Option<Vec<String>>,
    /// The command. `None`: the image's.
    pub entrypoint: Option<Vec<String>>,
    /// The image as the client named it.
    pub image: String,
    /// Paths of anonymous volumes, the image's and the client's.
    pub volumes: BTreeSet<String>,
    /// Working directory; the image's, or `/`.
    pub working_dir: String,
    /// Labels, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Signal for `stop`; the image's, or SIGTERM.
    pub stop_signal: Option<String>,
    /// Seconds that `stop` waits before it kills.
    pub stop_timeout: Option<i64>,
    /// The image's `ONBUILD` lines, only shown.
    pub on_build: Vec<String>,
    /// How its health is checked; the image's where it says nothing.
    pub healthcheck: Option<Health>,
}

/// A health check as images and clients write it; durations in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `["CMD", …]`, `["CMD-SHELL", …]` or `["NONE"]`.
    pub test: Vec<String>,
    /// Between checks.
    pub interval: i64,
    /// For one check.
    pub timeout: i64,
    /// Grace after the start.
    pub start_period: i64,
    /// Between checks within the grace.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

/// What the host gives (Docker's `HostConfig`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// `source:target[:mode]`; a source that is no absolute path is a volume.
    pub binds: Vec<String>,
    /// The container's network.
    pub network: NetworkMode,
    /// Container port (`80/tcp`) to where it is published.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// Publish every exposed port on a free one.
    pub publish_all: bool,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// All capabilities and devices, no confinement.
    pub privileged: bool,
    /// The root file system is read-only.
    pub read_only: bool,
    /// Capabilities beyond Docker's default; `ALL` is one.
    pub cap_add: Vec<String>,
    /// Capabilities taken away; `ALL` is one.
    pub cap_drop: Vec<String>,
    /// Bytes; 0 = no limit.
    pub memory: i64,
    /// Bytes of memory and swap together; 0 = twice the memory, -1 = no limit.
    pub memory_swap: i64,
    /// Billionths of a CPU; 0 = no limit.
    pub nano_cpus: i64,
    /// Processes; `None`, 0 and -1 = no limit.
    pub pids_limit: Option<i64>,
    /// Target to options.
    pub tmpfs: BTreeMap<String, String>,
    /// An init process that forwards signals and reaps.
    pub init: Option<bool>,
    /// Where the output goes.
    pub log: LogConfig,
    /// What happens after an exit.
    pub restart: RestartPolicy,
    /// Width and height of the terminal at the start.
    pub console_size: (u16, u16),
    /// Where the client wrote the id; only shown.
    pub container_id_file: String,
    /// Bytes of /dev/shm; 0 = Docker's 64 MiB.
    pub shm_size: i64,
    /// Limits beyond memory, CPUs and processes.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Whose namespaces it shares.
    #[serde(skip_serializing_if = "is_default")]
    pub namespaces: Namespaces,
    /// What confines it, and what loosens that.
    #[serde(skip_serializing_if = "is_default")]
    pub security: Security,
    /// Nodes of the host's `/dev`.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<DeviceMapping>,
    /// `c 1:3 rwm`: more that it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub device_cgroup_rules: Vec<String>,
    /// Devices asked of a driver (`--gpus`, devices by name).
    #[serde(skip_serializing_if = "is_default")]
    pub device_requests: Vec<DeviceRequest>,
    /// Options of its own layer.
    #[serde(skip_serializing_if = "is_default")]
    pub storage_opt: BTreeMap<String, String>,
    /// Names and addresses for its resolver.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Dns,
    /// Groups beyond the user's, names or numbers.
    #[serde(skip_serializing_if = "is_default")]
    pub group_add: Vec<String>,
    /// Kernel settings of its namespaces.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// For the runtime.
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// The cgroup below which its own is made; empty = the engine's.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup_parent: String,
    /// The runtime as the client named it; there is one.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: String,
    /// Mounts with all their options (`--mount`).
    #[serde(skip_serializing_if = "is_default")]
    pub mounts: Vec<crate::MountRequest>,
    /// `name[:ro]`: containers whose volumes it gets, too.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes_from: Vec<String>,
    /// The driver of volumes that name none.
    #[serde(skip_serializing_if = "is_default")]
    pub volume_driver: String,
    /// Containers on the default bridge that it is told of.
    #[serde(skip_serializing_if = "is_default")]
    pub links: Vec<Link>,
}

/// `--link container:alias`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Its id; in a request a name or an id.
    pub container: String,
    /// What it is called in the container that links.
    pub alias: String,
}

/// Limits beyond memory, CPUs and processes (Docker's `Resources`); 0 or empty = none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Weight among siblings (1024 = the usual).
    pub cpu_shares: i64,
    /// Microseconds that the quota is a part of.
    pub cpu_period: i64,
    /// Microseconds in each period; -1 = no limit.
    pub cpu_quota: i64,
    /// Microseconds, for real-time tasks.
    pub cpu_realtime_period: i64,
    /// Microseconds in each real-time period.
    pub cpu_realtime_runtime: i64,
    /// `0-2,7`.
    pub cpuset_cpus: String,
    /// `0`.
    pub cpuset_mems: String,
    /// Bytes that the kernel tries to keep it below when memory is short.
    pub memory_reservation: i64,
    /// 0 to 100; `None` = the kernel's.
    pub memory_swappiness: Option<i64>,
    /// It waits for memory instead of being killed.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// The weight for a device.
    pub blkio_weight_device: Vec<DeviceNumber>,
    /// Bytes read per second.
    pub blkio_read_bps: Vec<DeviceNumber>,
    /// Bytes written per second.
    pub blkio_write_bps: Vec<DeviceNumber>,
    /// Reads per second.
    pub blkio_read_iops: Vec<DeviceNumber>,
    /// Writes per second.
    pub blkio_write_iops: Vec<DeviceNumber>,
    /// Resource limits of its processes.
    pub ulimits: Vec<Ulimit>,
}

/// A number for a block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceNumber {
    /// `/dev/sda`.
    pub path: String,
    /// A weight or a rate.
    pub number: u64,
}

/// `--ulimit name=soft:hard`; -1 = no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ulimit {
    /// `nofile` and so on.
    pub name: String,
    /// What the process starts with.
    pub soft: i64,
    /// How far it may raise that.
    pub hard: i64,
}

/// Docker's words for namespaces: empty, `host`, `private`, `container:NAME`, …; each is checked at creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// `""`, `host`, `container:NAME`.
    pub pid: String,
    /// `""`, `none`, `private`, `shareable`, `host`, `container:NAME`.
    pub ipc: String,
    /// `""`, `host`.
    pub uts: String,
    /// `""`, `host`.
    pub user: String,
    /// `""`, `host`, `private`.
    pub cgroup: String,
}

/// What confines a container, and what loosens that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// `--security-opt` as given.
    pub options: Vec<String>,
    /// In place of Docker's list.
    pub masked_paths: Option<Vec<String>>,
    /// In place of Docker's list.
    pub readonly_paths: Option<Vec<String>>,
}

/// `--device host[:container[:rwm]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMapping {
    /// On the host.
    pub host: String,
    /// In the container.
    pub container: String,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

/// Devices asked of a driver. Shown as it was asked for: no list is not an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// `cdi`, `nvidia`, or empty: whoever has the capabilities.
    pub driver: String,
    /// How many; -1 = all.
    pub count: i64,
    /// Which.
    pub device_ids: Option<Vec<String>>,
    /// Sets of words, one of which the driver must have.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// For the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// What a container's resolver is told in place of the host's, and its additional names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of servers.
    pub servers: Vec<String>,
    /// Domains; `.` = none.
    pub search: Vec<String>,
    /// `ndots:2` and so on.
    pub options: Vec<String>,
    /// `name:address`, `name:host-gateway`.
    pub extra_hosts: Vec<String>,
}

/// What most containers do not ask for is not written into their records, which `ps` reads all.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The container's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's namespace.
    Host,
    /// A namespace with nothing but the loopback interface.
    None,
    /// A user-defined network, as the client named it.
    Named(String),
    /// `container:NAME`: the namespace of another container.
    Container(String),
}

impl NetworkMode {
    /// Docker's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
            Self::Named(name) | Self::Container(name) => name,
        }
    }
}

/// Where a container's port is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Address; empty = all, v4 and v6.
    pub host_ip: String,
    /// Port; empty or 0 = a free one.
    pub host_port: String,
}

/// A log driver and its options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// `json-file` or `none`.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { driver: "json-file".to_string(), options: BTreeMap::new() }
    }
}

/// What happens after an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub name: String,
    /// For `on-failure`; 0 = no limit.
    pub maximum_retry_count: i64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { name: "no".to_string(), maximum_retry_count: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_read_as_it_was() {
        let plain = HostConfig::default();
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("limits") && !text.contains("dns"), "{text}");
        let mut full = HostConfig { runtime: "runc".into(), group_add: vec!["a".into()], ..plain.clone() };
        full.limits.cpu_shares = 5;
        full.security.masked_paths = Some(Vec::new());
        for host in [plain, full] {
            let text = serde_json::to_string(&host).unwrap();
            assert_eq!(serde_json::from_str::<HostConfig>(&text).unwrap(), host);
        }
    }
}
