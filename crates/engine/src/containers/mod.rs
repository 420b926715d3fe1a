//! Containers: records, what they look like from outside, and how they are found.
//!
//! A container's status is never stored: it follows from the task row, the shim's lock and the
//! last run, so that no crash can leave a lie behind.

mod changes;
mod check;
mod commit;
mod create;
mod files;
pub(crate) mod health;
mod names;
mod prune;
mod remove;
mod rename;
mod size;
mod top;
mod update;
mod view;

use crate::error::Result;
use crate::state::{Record, Task};
use crate::{ContainerConfig, Engine, HostConfig, NetworkMode};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

pub use crate::state::PublishedPort;
pub use changes::{Change, ChangeKind};
pub use commit::Commit;
pub use create::Created;
pub(crate) use create::{new_id, resolve_user_in};
pub use files::{Archive, Extract, PathStat};
pub use prune::PruneFilter;
pub use shim::health::{Health, Outcome, Status as HealthStatus};
pub use size::Sizes;
pub use top::Processes;
pub use update::Update;

/// How a container stands, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Never started.
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process ended, and its restart policy is about to start another.
    Restarting,
    /// Its process ended.
    Exited,
    /// Its shim was lost and nobody has cleaned up yet.
    Dead,
}

impl Status {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// How a container stands, with its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// In one word.
    pub status: Status,
    /// Init's pid on the host; 0 when it does not run.
    pub pid: i32,
    /// Nanoseconds since the epoch; 0 = never.
    pub started_ns: i64,
    /// Nanoseconds since the epoch; 0 = never.
    pub finished_ns: i64,
    /// Of the last run that ended.
    pub exit_code: i32,
    /// A process of it was killed for want of memory.
    pub oom_killed: bool,
    /// Why the last start failed.
    pub error: String,
    /// How often its restart policy has started it since somebody else did.
    pub restarts: i64,
}

/// A container's place in its network, while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointState {
    /// Docker's endpoint id.
    pub endpoint_id: String,
    /// Address and gateway of IPv4; no gateway in an internal network.
    pub v4: Option<Location<Ipv4Addr>>,
    /// Those of IPv6.
    pub v6: Option<Location<Ipv6Addr>>,
    /// Hardware address.
    pub mac: String,
    /// What is published.
    pub ports: Vec<PublishedPort>,
}

/// An address in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location<A> {
    /// Address.
    pub address: A,
    /// Prefix length.
    pub prefix: u8,
    /// Gateway; `None` in an internal network.
    pub gateway: Option<A>,
}

impl EndpointState {
    fn of(e: &crate::state::TaskEndpoint) -> Self {
        let location =
            |address| Location { address, prefix: e.prefix, gateway: e.gateway.filter(|_| !e.internal) };
        let location6 =
            |address| Location { address, prefix: e.prefix6, gateway: e.gateway6.filter(|_| !e.internal) };
        Self {
            endpoint_id: e.endpoint_id.clone(),
            v4: e.address.map(location),
            v6: e.address6.map(location6),
            mac: e.mac.clone(),
            ports: e.ports.clone(),
        }
    }
}

/// A network of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkState {
    /// What it wants of the network.
    pub wish: crate::networks::Membership,
    /// The network's id, while it is known.
    pub id: String,
    /// Its place there, while it runs.
    pub endpoint: Option<EndpointState>,
}

/// A container as the doors see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the slash.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Digest of the image.
    pub image_id: String,
    /// Its architecture.
    pub architecture: String,
    /// The manifest that it was made of.
    pub image_manifest: Option<oci::Descriptor>,
    /// Docker's word for its cgroup namespace: `host` or `private`.
    pub cgroupns: &'static str,
    /// Configuration, the image's merged in.
    pub config: ContainerConfig,
    /// What the host gives.
    pub host: HostConfig,
    /// What is mounted into it, by destination.
    pub mounts: Vec<crate::MountPoint>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// How it stands.
    pub state: State,
    /// Its place in the network of its default route; `None` when it does not run or has no bridge.
    pub endpoint: Option<EndpointState>,
    /// Its networks by name.
    pub networks: std::collections::BTreeMap<String, NetworkState>,
    /// Its links, in Docker's form `/NAME:/OWN/ALIAS`.
    pub links: Vec<String>,
    /// Names that it has by links of others, `PARENT/ALIAS`; only in lists.
    pub link_names: Vec<String>,
    /// Where the files of its network are: `containers/ID`, its own or that of whom it has joined.
    pub network_files: std::path::PathBuf,
    /// `containers/ID`.
    pub data_dir: std::path::PathBuf,
    /// Its json-file log; empty with another driver.
    pub log_path: String,
    /// Its cgroup below each hierarchy's root, while it runs.
    pub cgroup: String,
    /// What its health checks have found; `None` without checks, and before the first start.
    pub health: Option<Health>,
    /// It should have been started again a while ago.
    pub(crate) late: bool,
    /// Who froze it for a while is gone.
    pub(crate) forgotten: bool,
}

/// Which containers `list` returns; all conditions must hold, an empty list is no condition.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Also those that do not run.
    pub all: bool,
    /// At most that many, newest first; 0 = all. A limit implies `all`.
    pub limit: usize,
    /// Substring of the name, with or without slash.
    pub name: Vec<String>,
    /// Prefix of the id.
    pub id: Vec<String>,
    /// `key` or `key=value`.
    pub label: Vec<String>,
    /// Docker's status word.
    pub status: Vec<String>,
    /// Exit code of a container that has run.
    pub exited: Vec<i32>,
    /// Image name or id.
    pub ancestor: Vec<String>,
    /// A volume's name, or where something is mounted.
    pub volume: Vec<String>,
    /// A network's name, or the start of its id.
    pub network: Vec<String>,
    /// `none`, `starting`, `healthy`, `unhealthy`.
    pub health: Vec<String>,
}

impl Engine {
    /// One container by id, name or prefix of the id.
    pub fn container(&self, word: &str) -> Result<Container> {
        let record = self.state()?.find(word)?;
        let task = self.state()?.task(&record.id)?;
        // The task row goes after the record was updated: without one, the record is read again.
        let record = if task.is_none() { self.state()?.find(&record.id)? } else { record };
        let mut container = self.describe(record, task)?;
        if container.forgotten {
            container = self.thaw_forgotten(container)?;
        }
        if container.late || container.state.status == Status::Dead {
            container = self.end_dead(container)?;
        }
        if container.is_running() && container.host.memory > 0 {
            // Nobody need have watched: the kernel counts.
            let group = cgroup::Cgroup::open(self.cgroup_layout()?, std::path::Path::new(&container.cgroup));
            container.state.oom_killed = group.and_then(|g| g.oom_kills()).is_ok_and(|n| n > 0);
        }
        Ok(container)
    }

    /// A container whose shim was lost: its end is recorded, and its restart done, by whoever finds it.
    fn end_dead(&self, container: Container) -> Result<Container> {
        if let Err(e) = self.task_lost(&container.id) {
            // Of a restart that fails the record tells; who looks is told how the container stands.
            tracing::warn!(container = container.id, error = %e, "cleanup after a lost shim failed");
        }
        match self.state()?.find(&container.id) {
            Ok(record) => {
                let task = self.state()?.task(&record.id)?;
                self.describe(record, task)
            }
            Err(_) => Err(crate::Error::not_found(format!("No such container: {}", container.id))),
        }
    }

    /// The containers that pass the filter, newest first.
    pub fn list_containers(&self, filter: &ListFilter) -> Result<Vec<Container>> {
        let mut found = Vec::new();
        self.each_container(filter, |container| {
            found.push(container);
            Ok(())
        })?;
        Ok(found)
    }

    /// Shows `visit` the containers that pass the filter, newest first, without keeping them all.
    pub fn each_container(
        &self,
        filter: &ListFilter,
        mut visit: impl FnMut(Container) -> Result<()>,
    ) -> Result<()> {
        let mut tasks: std::collections::HashMap<String, Task> = self.state()?.tasks()?.into_iter().collect();
        let linking = self.state()?.linking()?;
        let names: Vec<(String, String)> = linking.iter().flat_map(links_of).collect();
        let mut count = 0;
        self.state()?.each_container(|record| {
            let task = tasks.remove(&record.id);
            let mut container = self.describe(record, task)?;
            if container.forgotten {
                container = self.thaw_forgotten(container)?;
            }
            if container.late || container.state.status == Status::Dead {
                container = match self.end_dead(container) {
                    Ok(container) => container,
                    Err(e) if e.kind == crate::Kind::NotFound => return Ok(ControlFlow::Continue(())),
                    Err(e) => return Err(e),
                };
            }
            let own = names.iter().filter(|(id, _)| *id == container.id);
            container.link_names = own.map(|(_, name)| name.clone()).collect();
            if self.passes(&container, filter)? {
                visit(container)?;
                count += 1;
            }
            let enough = filter.limit > 0 && count == filter.limit;
            Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    fn passes(&self, c: &Container, filter: &ListFilter) -> Result<bool> {
        let running = c.is_active();
        let everything =
            filter.all || filter.limit > 0 || !filter.status.is_empty() || !filter.exited.is_empty();
        let any =
            |list: &[String], test: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|x| test(x));
        let label = |text: &String| match text.split_once('=') {
            Some((key, value)) => c.config.labels.get(key).is_some_and(|v| v == value),
            None => c.config.labels.contains_key(text.as_str()),
        };
        Ok((everything || running)
            && any(&filter.name, &|n| {
                let own = std::iter::once(&c.name).chain(&c.link_names);
                own.into_iter().any(|name| crate::name_pattern::matches(n, name))
            })
            && any(&filter.id, &|prefix| c.id.starts_with(prefix))
            && filter.label.iter().all(label)
            && any(&filter.health, &|h| c.health.as_ref().map_or("none", |found| found.status.as_str()) == h)
            && any(&filter.status, &|s| c.state.status.as_str() == s)
            && (filter.exited.is_empty()
                || (c.state.finished_ns != 0 && !running && filter.exited.contains(&c.state.exit_code)))
            && any(&filter.network, &|n| {
                let by_id = |network: &NetworkState| !n.is_empty() && network.id.starts_with(n);
                c.networks.contains_key(n) || c.networks.values().any(by_id)
            })
            && any(&filter.volume, &|v| c.mounts.iter().any(|m| m.name == v || m.destination == v))
            && (filter.ancestor.is_empty() || self.descends(c, &filter.ancestor)?))
    }

    fn descends(&self, c: &Container, ancestors: &[String]) -> Result<bool> {
        for word in ancestors {
            if *word == c.config.image || self.image_id(word).is_ok_and(|id| id == c.image_id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts record and task together; looks at the shim's lock when there is a task.
    pub(crate) fn describe(&self, record: Record, task: Option<Task>) -> Result<Container> {
        let state = self.state_of(&record, task.as_ref())?;
        let late = task.as_ref().is_some_and(Task::is_late);
        let forgotten = task.as_ref().is_some_and(Task::is_frozen_by_the_dead);
        let running = matches!(state.status, Status::Running | Status::Paused);
        let health = self.health_of(&record, state.status);
        let cgroup = task.as_ref().map(|t| t.cgroup.clone()).unwrap_or_default();
        let task = task.filter(|_| running);
        let endpoint = task.as_ref().and_then(|task| {
            let mut primary = EndpointState::of(task.primary()?);
            primary.ports = task.endpoints.iter().flat_map(|e| e.ports.iter().cloned()).collect();
            Some(primary)
        });
        let placed = task.as_ref().map(|t| t.endpoints.as_slice()).unwrap_or_default();
        let networks = record.memberships().into_iter().map(|(name, wish)| {
            let endpoint = placed.iter().find(|e| e.network_name == name);
            // dockerd fills it in with the first start.
            let started = record.last.started_ns != 0 || running;
            let id = match endpoint {
                Some(endpoint) => endpoint.network.clone(),
                None if started => self.network(&name).map(|n| n.id).unwrap_or_default(),
                None => String::new(),
            };
            (name, NetworkState { wish, id, endpoint: endpoint.map(EndpointState::of) })
        });
        let networks = networks.collect();
        let log_path = match record.host.log.driver.as_str() {
            "json-file" => self.paths().log(&record.id).to_string_lossy().into_owned(),
            _ => String::new(),
        };
        let v2 = self.cgroup_layout()?.version() == cgroup::Version::V2;
        let private = crate::spec::private_cgroups(&record.host, v2);
        let mounts = self.shown_mounts(&record);
        let links = record.host.links.iter().filter_map(|link| {
            let child = self.state().ok()?.find(&link.container).ok()?;
            Some(format!("/{}:/{}/{}", child.name, record.name, link.alias))
        });
        let links = links.collect();
        Ok(Container {
            links,
            network_files: self.network_files(&record),
            link_names: Vec::new(),
            argv: record.argv(),
            data_dir: self.paths().container(&record.id),
            log_path,
            endpoint,
            networks,
            cgroup,
            late,
            forgotten,
            health,
            state,
            id: record.id,
            name: record.name,
            created_ns: record.created_ns,
            image_id: record.image_id,
            architecture: record.architecture,
            image_manifest: record.image_manifest,
            cgroupns: if private { "private" } else { "host" },
            config: record.config,
            host: record.host,
            mounts,
        })
    }

    fn state_of(&self, record: &Record, task: Option<&Task>) -> Result<State> {
        let last = &record.last;
        let past = |status| State {
            status,
            pid: 0,
            started_ns: last.started_ns,
            finished_ns: last.finished_ns,
            exit_code: last.exit_code,
            oom_killed: last.oom_killed,
            error: last.error.clone(),
            restarts: last.restarts,
        };
        // A start that failed leaves an error and Docker's status "created".
        let at_rest = if last.finished_ns == 0 { Status::Created } else { Status::Exited };
        let Some(task) = task else { return Ok(past(at_rest)) };
        if task.pid == 0 {
            // It waits for its restart, or is being started.
            return Ok(past(if task.delay_ms > 0 { Status::Restarting } else { at_rest }));
        }
        // The usual case first. A shim writes the exit record before it lets its lock go.
        if shim::client::is_alive(&self.paths().task(&record.id)).unwrap_or(false) {
            return Ok(State {
                status: if task.paused { Status::Paused } else { Status::Running },
                pid: task.pid,
                started_ns: task.started_ns,
                exit_code: 0,
                oom_killed: false,
                error: String::new(),
                ..past(Status::Running)
            });
        }
        if let Some(exit) = self.exit_record(&record.id, task)? {
            // Between the exit and `exited()`.
            let again = crate::tasks::again_after(record, task, &exit).is_some();
            return Ok(State {
                status: if again { Status::Restarting } else { Status::Exited },
                pid: 0,
                started_ns: task.started_ns,
                finished_ns: exit.finished_at_ns,
                exit_code: exit.exit_code,
                oom_killed: exit.oom_killed,
                error: String::new(),
                restarts: last.restarts + i64::from(again),
            });
        }
        Ok(State { status: Status::Dead, exit_code: 137, ..past(Status::Dead) })
    }

    /// Whether something uses the image: Docker refuses to remove it then.
    pub fn containers_of_image(&self, image_id: &str) -> Result<Vec<Container>> {
        let all = ListFilter { all: true, ..ListFilter::default() };
        Ok(self.list_containers(&all)?.into_iter().filter(|c| c.image_id == image_id).collect())
    }
}

/// The names that others have by a container's links, and their ids.
fn links_of(record: &Record) -> impl Iterator<Item = (String, String)> {
    record.host.links.iter().map(|link| (link.container.clone(), format!("{}/{}", record.name, link.alias)))
}

impl Container {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running | Status::Paused)
    }

    /// Whether it runs or is about to run again: what `ps` shows and `rm` refuses.
    pub fn is_active(&self) -> bool {
        matches!(self.state.status, Status::Running | Status::Paused | Status::Restarting)
    }

    /// Docker's text for what needs a process.
    pub(crate) fn must_run(&self) -> Result<()> {
        let id = &self.id;
        match self.state.status {
            Status::Running | Status::Paused => Ok(()),
            Status::Restarting => Err(crate::Error::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            ))),
            _ => Err(crate::Error::conflict(format!("container {id} is not running"))),
        }
    }

    /// The network it is or would be in.
    pub fn network(&self) -> &NetworkMode {
        &self.host.network
    }
}
