//! Behaviour and policy: the one place that decides what a container, a task, an image or a
//! network does. Every door (Docker's API today) converts and calls this.
//!
//! Nouns. A *container* is a record: configuration, a snapshot, a folder. A *task* is its running
//! process, held by a shim. An *image* is a name for content in the store. [`Engine`] is a cheap
//! handle; several processes may each have one over the same two roots at once, and none of them
//! needs to stay alive: state is in the two databases, the shims and the kernel.
//!
//! Blocking functions (most) may wait for a disk or a lock and are called off the async threads;
//! `async` ones move bytes or wait for a container.
//!
//! This crate does not know HTTP, JSON bodies, terminals or command lines.

pub mod cdi;
mod config;
mod device_requests;
mod error;
mod ipc;
mod machine;
pub mod name_pattern;
mod paths;
mod reconcile;
mod restart;
mod state;
mod trace;
mod usage;

pub mod containers;
pub mod events;
pub mod images;
pub mod mounts;
pub mod networks;
pub mod settings;
pub mod spec;
pub mod system;
pub mod tasks;
pub mod volumes;

pub use config::{
    ContainerConfig, CreateContainer, DeviceMapping, DeviceNumber, DeviceRequest, Dns, Health, HostConfig,
    Limits, Link, LogConfig, Namespaces, NetworkMode, PortBinding, RestartPolicy, Security, Ulimit,
};
pub use containers::{Container, EndpointState, ListFilter, Location, NetworkState, State, Status};
pub use error::{Error, Kind, Result};
pub use mounts::{MountPoint, MountRequest};
pub use paths::Paths;
pub use reconcile::Reconciled;
pub use settings::Settings;
pub use state::time_text;
pub use sys::clock::Time;
pub use sys::lock::Lock;
pub use trace::TraceSink;
pub use usage::{ImageUsage, Usage, UsageOf, VolumeUsage};

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};

/// How an engine is set up; the same for all processes of one installation.
#[derive(Debug, Clone)]
pub struct Options {
    /// What outlives a boot (`/var/lib/tare`).
    pub data_root: PathBuf,
    /// What does not (`/run/tare`).
    pub run_root: PathBuf,
    /// The parent of the containers' cgroups, below each hierarchy's root (`/docker`).
    pub cgroup_parent: String,
    /// The `tare` program: spawned as `tare internal task-exited ID` by a shim that nobody supervises.
    pub program: PathBuf,
    /// The `tare-runtime` program: shim, init and the built-in image.
    pub runtime_program: PathBuf,
    /// Docker's version string that is announced.
    pub version: String,
    /// This process lives on (the daemon): it supervises the tasks that it starts.
    pub long_lived: bool,
    /// What `daemon.json` and flags say.
    pub settings: Settings,
    /// Flags that say the same to a helper of this installation.
    pub arguments: Vec<String>,
}

/// The handle on everything.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    paths: Paths,
    /// Opened on first use: `version` and `--help` need no database.
    state: OnceLock<state::State>,
    store: OnceLock<store::Store>,
    layout: OnceLock<cgroup::Layout>,
    pending: tasks::Pending,
    /// Replaced as a whole when they are read again.
    settings: RwLock<Arc<Settings>>,
}

impl Engine {
    /// Makes the folders of both roots; the databases are opened when first needed.
    pub fn open(options: Options) -> Result<Self> {
        let paths = Paths::create(&options.data_root, &options.run_root)?;
        let settings = RwLock::new(Arc::new(options.settings.clone()));
        Ok(Self(Arc::new(Inner {
            options,
            settings,
            paths,
            state: OnceLock::new(),
            store: OnceLock::new(),
            layout: OnceLock::new(),
            pending: tasks::Pending::default(),
        })))
    }

    /// How this engine was set up.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The settings that hold now.
    pub fn settings(&self) -> Arc<Settings> {
        // A writer only stores: what it has poisoned is whole.
        self.0.settings.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether containers have run in this boot.
    pub fn has_run(&self) -> bool {
        self.paths().run.join("run.db").exists()
    }

    /// Where things lie.
    pub fn paths(&self) -> &Paths {
        &self.0.paths
    }

    fn state(&self) -> Result<&state::State> {
        if let Some(state) = self.0.state.get() {
            return Ok(state);
        }
        let opened = state::State::open(&self.0.paths)?;
        self.close_after_boot(&opened)?;
        Ok(self.0.state.get_or_init(|| opened))
    }

    fn store(&self) -> Result<&store::Store> {
        if let Some(store) = self.0.store.get() {
            return Ok(store);
        }
        let opened = store::Store::open(
            &self.0.options.data_root,
            self.state()?.durable().clone(),
            self.state()?.run()?.clone(),
        )?;
        Ok(self.0.store.get_or_init(|| opened))
    }

    fn pending(&self) -> &tasks::Pending {
        &self.0.pending
    }

    fn cgroup_layout(&self) -> Result<&cgroup::Layout> {
        if let Some(layout) = self.0.layout.get() {
            return Ok(layout);
        }
        let detected = cgroup::Layout::detect(std::path::Path::new("/"))?;
        Ok(self.0.layout.get_or_init(|| detected))
    }
}
