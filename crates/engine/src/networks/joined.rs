//! `--network container:NAME`: a container in the network of another.
//!
//! The *root* is the container at the end of the chain, whose network it is. Whoever joins has its namespace, its
//! host name and its three files, and no network of its own. As with dockerd the other has to run when it starts;
//! it stays in that namespace when the other ends, which then has no way out any more.

use crate::config::{ContainerConfig, HostConfig};
use crate::error::{Error, Kind, Result};
use crate::state::Record;
use crate::{Engine, NetworkMode, Status};
use net::Netns;

/// A container that joins one that joins one …: longer chains are a circle.
const MAX_CHAIN: usize = 64;

impl Engine {
    /// The container whose network it is: itself, if it joins nobody.
    pub(crate) fn network_root(&self, record: &Record) -> Result<Record> {
        let mut at = record.clone();
        for _ in 0..MAX_CHAIN {
            match at.host.network.joined() {
                None => return Ok(at),
                Some(word) => {
                    // It is the other that is not found: to the client this one is.
                    let hidden = |e: Error| {
                        let text = format!("joining network namespace of container: {}", e.message);
                        Error::new(Kind::Internal, text)
                    };
                    at = self.state()?.find(word).map_err(hidden)?;
                }
            }
        }
        Err(Error::invalid("cannot join own network namespace"))
    }

    /// Before the start of one that joins: it has the names of the other's host.
    pub(crate) fn adopt_names(&self, record: &Record) -> Result<Record> {
        let mut record = record.clone();
        let Some(word) = record.host.network.joined().map(str::to_string) else { return Ok(record) };
        let root = self.network_root(&record)?;
        if self.state()?.find(&word)?.id == record.id {
            return Err(Error::invalid("cannot join own network namespace"));
        }
        let other = self.container(&word)?;
        match other.state.status {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                return Err(Error::conflict(format!(
                    "cannot join network namespace of container: Container {word} is restarting, wait until the container is running"
                )));
            }
            status => {
                return Err(Error::conflict(format!(
                    "cannot join network namespace of a non running container: container {} is {}",
                    other.name,
                    status.as_str()
                )));
            }
        }
        let hostname = crate::spec::hostname(&root, &crate::system::host_name());
        if record.config.hostname != hostname || record.config.domainname != root.config.domainname {
            record.config.hostname = hostname;
            record.config.domainname = root.config.domainname;
            self.state()?.update(&record)?;
        }
        Ok(record)
    }

    /// The id of the container whose network it is, when that is another.
    pub(crate) fn joined(&self, record: &Record) -> Result<Option<String>> {
        let joins = record.host.network.joined().is_some();
        joins.then(|| self.network_root(record).map(|root| root.id)).transpose()
    }

    /// The namespace of one that runs.
    pub(crate) fn joined_netns(&self, word: &str) -> Result<Netns> {
        let id = self.state()?.find(word)?.id;
        let gone = || Error::conflict(format!("container {word} is not running"));
        let task = self.state()?.task(&id)?.filter(|task| task.pid > 0).ok_or_else(gone)?;
        super::live::open_netns(&task)
    }

    /// Where the files of its network are.
    pub(crate) fn network_files(&self, record: &Record) -> std::path::PathBuf {
        // Of a root that is gone nothing is left.
        let root = self.network_root(record).map_or_else(|_| record.id.clone(), |root| root.id);
        self.paths().container(&root)
    }
}

/// What cannot be had in the network of another, in dockerd's order and words.
pub(crate) fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let Some(word) = host.network.joined() else { return Ok(()) };
    if word.is_empty() {
        return Err(Error::invalid("invalid network mode: invalid container format container:<name|id>"));
    }
    let ports = !host.port_bindings.is_empty() || host.publish_all;
    for (asked, text) in [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (
            !host.links.is_empty(),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (!host.dns.servers.is_empty(), "dns and the network mode"),
        (!host.dns.extra_hosts.is_empty(), "custom host-to-IP mapping and the network mode"),
        (ports, "port publishing and the container type network mode"),
        (!config.exposed_ports.is_empty(), "port exposing and the container type network mode"),
    ] {
        if asked {
            return Err(Error::invalid(format!("conflicting options: {text}")));
        }
    }
    Ok(())
}

impl NetworkMode {
    /// Whose network it is, as `container:NAME` names it.
    pub fn joined(&self) -> Option<&str> {
        match self {
            Self::Container(word) => word.strip_prefix("container:"),
            _ => None,
        }
    }
}
