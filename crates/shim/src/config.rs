//! `RUN/ID/config.json`: all that a shim is told about its container, written by the engine.
//!
//! Invariant: the shim keeps only [`Settings`]; the spec is parsed when it is needed and dropped.
//! It does not know how the engine came to these values.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use sys::mount::{Mount, Source};

/// The file's name in the run folder.
pub const FILE: &str = "config.json";
/// What events say of a container that was renamed while it ran.
pub const EVENT_FILE: &str = "event.json";
/// Its presence says that the container has been given a restart policy while it ran.
pub const RESTARTS_FILE: &str = "restarts";
/// The file's format.
pub const VERSION: u32 = 1;
/// The largest configuration: Docker's own seccomp profile is 20 kB, a spec with thousands of mounts 1 MB.
pub const MAX_BYTES: u64 = 16 << 20;

/// A container as its shim sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// What the shim keeps in memory.
    pub settings: Settings,
    /// The container. `process.terminal` must be the same as `settings.tty`.
    pub spec: oci::runtime::Spec,
    /// Mounted in the container's mount namespace before pivot_root; empty takes `spec.root.path` as it is.
    #[serde(default)]
    pub rootfs: Vec<MountData>,
    /// The folder that relative paths of the spec belong to.
    pub bundle: PathBuf,
    /// What the shim's own events say of the container (a file [`EVENT_FILE`] in the run folder goes before it).
    #[serde(default)]
    pub event: crate::journal::Attributes,
    /// `chroot` instead of pivot_root (a host that runs from its initramfs).
    #[serde(default)]
    pub no_pivot: bool,
}

/// The part of the configuration that the shim keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Format of the file.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// `containers/ID` in the data root: the log and `exit.json`.
    pub data_dir: PathBuf,
    /// `RUN/ID`: `config.json`, `alive`, `shim.sock`.
    pub run_dir: PathBuf,
    /// The container's cgroup below the root of each hierarchy, for example `/docker/ID`.
    pub cgroup_path: PathBuf,
    /// The shim's own cgroup, outside the container's and the caller's, for example `/tare/shim/ID`.
    pub shim_cgroup: PathBuf,
    /// The main process has a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Stdin is kept open for attached clients; otherwise it is `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// Stdin ends when the first attached client ends it or leaves.
    #[serde(default)]
    pub stdin_once: bool,
    /// Where the output goes.
    #[serde(default)]
    pub log: Log,
    /// Spawned after the exit when nobody supervises: absolute path and arguments, environment only PATH.
    #[serde(default)]
    pub exit_command: Vec<String>,
    /// The exit command's exit code is waited for: it may ask to be run again later
    /// ([`exit::delay_of`](crate::exit::delay_of)).
    #[serde(default)]
    pub restarts: bool,
    /// A descriptor of the container's network namespace is handed over; the spec's network namespace is it.
    #[serde(default)]
    pub has_netns: bool,
    /// One for each socket of a published port that is handed over, in their order.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Mounts of the spec, by their place in it, for each of which a detached tree is handed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<usize>,
    /// How its health is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<crate::health::Check>>,
    /// A descriptor for `sys::trace` records is handed over.
    #[serde(default)]
    pub trace: bool,
    /// The container is removed at its end: nothing of it needs to reach the disk.
    #[serde(default)]
    pub volatile: bool,
}

/// Where the container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case")]
pub enum Log {
    /// Nowhere but to attached clients.
    #[default]
    None,
    /// Docker's json-file.
    JsonFile {
        /// `containers/ID/ID-json.log`.
        path: PathBuf,
        /// The file is rotated before a line when it has at least that many bytes.
        #[serde(default)]
        max_size: Option<u64>,
        /// How many files are kept, the current one included (0 counts as 1).
        #[serde(default)]
        max_file: u32,
        /// Compresses a rotated file: absolute path and arguments, the file as its stdin and the compressed one as
        /// its stdout. Empty: rotated files stay as they are.
        #[serde(default)]
        compress: Vec<String>,
        /// A JSON object that stands in each entry as `attrs`; empty for none.
        #[serde(default)]
        attrs: String,
    },
}

/// A socket of a published port: held until the container's exit, so that nobody else can bind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// TCP or UDP.
    pub proto: Proto,
    /// The shim serves the socket and copies each connection, or each client's datagrams, to this address of the
    /// container and back; `None` only holds it (the kernel translates IPv4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splice_to: Option<SocketAddr>,
}

/// A transport protocol; what is neither is held as UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A mount of the container's root, as the store's snapshotter made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountData {
    /// What.
    pub source: MountSource,
    /// Where.
    pub target: PathBuf,
    /// File system type, or `bind`.
    pub kind: String,
    /// Options as in fstab.
    #[serde(default)]
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A name that the file system interprets or ignores.
    Name(String),
    /// A path of the host.
    Path(PathBuf),
}

impl MountData {
    /// The description of a mount; `None` for one that is a descriptor, which no file can hold.
    pub fn from_mount(mount: &Mount) -> Option<Self> {
        let source = match &mount.source {
            Source::Name(name) => MountSource::Name(name.clone()),
            Source::Path(path) => MountSource::Path(path.clone()),
            Source::Fd(_) => return None,
        };
        let (target, kind, options) = (mount.target.clone(), mount.kind.clone(), mount.options.clone());
        Some(Self { source, target, kind, options })
    }

    /// The mount as the runtime takes it.
    pub fn into_mount(self) -> Mount {
        let source = match self.source {
            MountSource::Name(name) => Source::Name(name),
            MountSource::Path(path) => Source::Path(path),
        };
        Mount { source, target: self.target, kind: self.kind, options: self.options }
    }
}
