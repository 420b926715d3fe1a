//! Links: what a container on the default bridge is told of others there, in its environment and its hosts file, and
//! the names `PARENT/ALIAS` by which those are found as well.
//!
//! A link leads to a container's id, so that it survives a renaming; one whose container is gone counts for nothing.
//! As with dockerd a linked container has to run before the one that links to it starts, and when it gets another
//! address, the hosts files of those that run with a link to it are edited.
//!
//! On user-defined networks links are words of the resolver's (`names`).

use super::DEFAULT;
use crate::config::Link;
use crate::error::{Error, Kind, Result, io};
use crate::state::{Record, Task};
use crate::{Engine, NetworkMode};
use std::net::{IpAddr, Ipv4Addr};

/// The longest hosts file that is edited.
const HOSTS_MAX: u64 = 1 << 20;

/// A linked container that runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Linked {
    alias: String,
    names: String,
    address: Option<Ipv4Addr>,
    ports: Vec<(u16, String)>,
    env: Vec<String>,
}

impl Engine {
    /// With a new container's request: links lead to what is there now.
    pub(crate) fn resolve_links(&self, network: &NetworkMode, links: Vec<Link>) -> Result<Vec<Link>> {
        // As dockerd: elsewhere they are the endpoint's, and what stands here is not read.
        if matches!(network, NetworkMode::Named(_)) {
            return Ok(Vec::new());
        }
        let mut all: Vec<Link> = Vec::new();
        for link in links {
            let named = |e: Error| match e.kind {
                // Not found would be the image to the client.
                Kind::NotFound | Kind::InvalidParameter => {
                    let text = match link.container.as_str() {
                        "" => "invalid name or ID supplied: \"\"".to_string(),
                        _ => e.message,
                    };
                    Error::invalid(format!("could not get container for {}: {text}", link.container))
                }
                _ => e,
            };
            let found = self.state()?.find(&link.container).map_err(named)?;
            if found.host.network == NetworkMode::Host {
                return Err(Error::invalid(
                    "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
                ));
            }
            if !all.iter().any(|other| other.alias == link.alias) {
                all.push(Link { container: found.id, alias: link.alias });
            }
        }
        Ok(all)
    }

    /// What is known of a container's links at its start.
    pub(crate) fn linked(&self, record: &Record) -> Result<Vec<Linked>> {
        if record.host.links.is_empty() || !record.memberships().contains_key(DEFAULT) {
            return Ok(Vec::new());
        }
        let one = |link: &Link| {
            let Ok(child) = self.state()?.find(&link.container) else { return Ok(None) };
            let container = self.container(&child.id)?;
            if !container.is_running() {
                let text = format!(
                    "Cannot link to a non running container: /{} AS /{}/{}",
                    child.name, record.name, link.alias
                );
                return Err(Error::new(Kind::Internal, text));
            }
            let address = container
                .networks
                .get(DEFAULT)
                .and_then(|n| n.endpoint.as_ref())
                .and_then(|e| Some(e.v4?.address));
            if address.is_none() {
                let text = format!("container {} not attached to default bridge network", child.id);
                return Err(Error::new(Kind::Internal, text));
            }
            Ok(Some(Linked { address, ..describe(&child, &link.alias) }))
        };
        record.host.links.iter().filter_map(|link| one(link).transpose()).collect()
    }

    /// A container has got its address on the default bridge: those that link to it are told.
    pub(crate) fn tell_parents(&self, record: &Record, task: &Task) -> Result<()> {
        let Some(endpoint) = task.endpoints.iter().find(|e| e.network_name == DEFAULT) else { return Ok(()) };
        for id in self.state()?.tasks_linked_to(&record.id)? {
            let Ok(parent) = self.state()?.find(&id) else { continue };
            for link in parent.host.links.iter().filter(|link| link.container == record.id) {
                let names = describe(record, &link.alias).names;
                if let Some(address) = endpoint.address {
                    self.edit_hosts_file(&parent, |lines| replace(lines, &names, address))?;
                }
            }
        }
        Ok(())
    }

    /// Removes a link by its name `PARENT/ALIAS`; [`Kind::NotFound`] when there is none.
    pub fn remove_link(&self, name: &str) -> Result<()> {
        self.state()?.find(name)?;
        let plain = name.strip_prefix('/').unwrap_or(name);
        let Some((parent, alias)) = plain.split_once('/') else {
            return Err(Error::conflict("Conflict, cannot remove the default link name of the container"));
        };
        let id = self.state()?.find(parent)?.id;
        let _lock = self.paths().lock(&id)?;
        let mut record = self.state()?.find(&id)?;
        let gone: Vec<Link> = record.host.links.iter().filter(|l| l.alias == alias).cloned().collect();
        record.host.links.retain(|link| link.alias != alias);
        self.state()?.update(&record)?;
        for link in gone {
            if let Ok(child) = self.state()?.find(&link.container) {
                let names = describe(&child, &link.alias).names;
                self.edit_hosts_file(&record, |lines| lines.retain(|line| !is_of(line, &names)))?;
            }
        }
        Ok(())
    }

    /// The file is edited in place, because it is mounted; what the container wrote into it stays. It may have
    /// written anything: lines are bytes, and a file longer than any of ours is left alone.
    pub(super) fn edit_hosts_file(
        &self,
        record: &Record,
        edit: impl FnOnce(&mut Vec<Vec<u8>>),
    ) -> Result<()> {
        let _lock = self.paths().lock("names")?;
        let path = self.paths().container(&record.id).join("hosts");
        let mut text = Vec::new();
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            // It has never run.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io("open hosts")(e)),
        };
        std::io::Read::read_to_end(&mut std::io::Read::take(file, HOSTS_MAX + 1), &mut text)
            .map_err(io("read hosts"))?;
        if text.len() as u64 > HOSTS_MAX {
            return Ok(());
        }
        let mut lines: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        edit(&mut lines);
        std::fs::write(&path, lines.concat()).map_err(io("write hosts"))
    }
}

impl Linked {
    /// Its line in the hosts file.
    pub(crate) fn host(&self) -> Option<(String, IpAddr)> {
        self.address.map(|address| (self.names.clone(), address.into()))
    }

    /// What the environment says of it (the legacy links of Docker's documentation).
    pub(crate) fn environment(&self, parent: &str) -> Vec<String> {
        let prefix = self.alias.to_uppercase().replace('-', "_");
        let address = self.address.map(|a| a.to_string()).unwrap_or_default();
        let mut ports = self.ports.clone();
        ports.sort_by_key(|(number, protocol)| (protocol != "tcp", *number));
        let url = |(number, protocol): &(u16, String)| format!("{protocol}://{address}:{number}");
        let key = |(number, protocol): &(u16, String)| {
            format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase())
        };
        let mut env = Vec::new();
        if let Some(first) = ports.first() {
            env.push(format!("{prefix}_PORT={}", url(first)));
        }
        // Ports that follow on one another are told as a range besides.
        let follows =
            |a: &(u16, String), b: &(u16, String)| a.1 == b.1 && u32::from(a.0) + 1 == u32::from(b.0);
        for range in ports.chunk_by(follows) {
            for port in range {
                let key = key(port);
                env.push(format!("{key}={}", url(port)));
                env.push(format!("{key}_ADDR={address}"));
                env.push(format!("{key}_PORT={}", port.0));
                env.push(format!("{key}_PROTO={}", port.1));
            }
            if let [first, .., last] = range {
                let key = key(first);
                env.push(format!("{key}_START={}", url(first)));
                env.push(format!("{key}_PORT_START={}", first.0));
                env.push(format!("{key}_END={}", url(last)));
                env.push(format!("{key}_PORT_END={}", last.0));
            }
        }
        env.push(format!("{prefix}_NAME=/{parent}/{}", self.alias));
        for entry in &self.env {
            // A variable without a value is none, and these two are everybody's own.
            if let Some((name, value)) = entry.split_once('=').filter(|(n, _)| !matches!(*n, "HOME" | "PATH"))
            {
                env.push(format!("{prefix}_ENV_{name}={value}"));
            }
        }
        env
    }
}

/// All but the address.
fn describe(child: &Record, alias: &str) -> Linked {
    let mut names = format!("{alias} {}", child.config.hostname);
    if alias != child.name {
        names = format!("{names} {}", child.name);
    }
    let port = |text: &String| {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((number.parse().ok()?, protocol.to_lowercase()))
    };
    let exposed = child.config.exposed_ports.iter().chain(child.host.port_bindings.keys());
    let mut ports: Vec<(u16, String)> = exposed.filter_map(port).collect();
    ports.sort();
    ports.dedup();
    Linked { alias: alias.to_string(), names, address: None, ports, env: child.config.env.clone() }
}

fn is_of(line: &[u8], names: &str) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.split(|b| *b == b'\t').nth(1) == Some(names.as_bytes())
}

fn replace(lines: &mut Vec<Vec<u8>>, names: &str, address: Ipv4Addr) {
    let new = format!("{address}\t{names}\n").into_bytes();
    match lines.iter_mut().find(|line| is_of(line, names)) {
        Some(line) => *line = new,
        None => lines.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from dockerd 28.5.2, sorted.
    #[test]
    fn environment_of_a_link() {
        let ports = [
            (7000, "tcp"),
            (7001, "tcp"),
            (7002, "tcp"),
            (7003, "tcp"),
            (7003, "udp"),
            (53, "udp"),
            (53, "tcp"),
            (90, "tcp"),
        ];
        let linked = Linked {
            alias: "data-base".into(),
            address: Some(Ipv4Addr::new(172, 17, 0, 2)),
            ports: ports.map(|(number, protocol)| (number, protocol.to_string())).into(),
            env: ["A=1", "B", "C=x=y", "PATH=/bin", "HOME=/"].map(String::from).into(),
            ..Linked::default()
        };
        let mut env = linked.environment("c1");
        env.sort();
        let expected = "DATA_BASE_ENV_A=1 DATA_BASE_ENV_C=x=y DATA_BASE_NAME=/c1/data-base DATA_BASE_PORT=tcp://172.17.0.2:53 \
            DATA_BASE_PORT_53_TCP=tcp://172.17.0.2:53 DATA_BASE_PORT_53_TCP_ADDR=172.17.0.2 DATA_BASE_PORT_53_TCP_PORT=53 \
            DATA_BASE_PORT_53_TCP_PROTO=tcp DATA_BASE_PORT_53_UDP=udp://172.17.0.2:53 DATA_BASE_PORT_53_UDP_ADDR=172.17.0.2 \
            DATA_BASE_PORT_53_UDP_PORT=53 DATA_BASE_PORT_53_UDP_PROTO=udp DATA_BASE_PORT_7000_TCP=tcp://172.17.0.2:7000 \
            DATA_BASE_PORT_7000_TCP_ADDR=172.17.0.2 DATA_BASE_PORT_7000_TCP_END=tcp://172.17.0.2:7003 \
            DATA_BASE_PORT_7000_TCP_PORT=7000 DATA_BASE_PORT_7000_TCP_PORT_END=7003 DATA_BASE_PORT_7000_TCP_PORT_START=7000 \
            DATA_BASE_PORT_7000_TCP_PROTO=tcp DATA_BASE_PORT_7000_TCP_START=tcp://172.17.0.2:7000 \
            DATA_BASE_PORT_7001_TCP=tcp://172.17.0.2:7001 DATA_BASE_PORT_7001_TCP_ADDR=172.17.0.2 DATA_BASE_PORT_7001_TCP_PORT=7001 \
            DATA_BASE_PORT_7001_TCP_PROTO=tcp DATA_BASE_PORT_7002_TCP=tcp://172.17.0.2:7002 DATA_BASE_PORT_7002_TCP_ADDR=172.17.0.2 \
            DATA_BASE_PORT_7002_TCP_PORT=7002 DATA_BASE_PORT_7002_TCP_PROTO=tcp DATA_BASE_PORT_7003_TCP=tcp://172.17.0.2:7003 \
            DATA_BASE_PORT_7003_TCP_ADDR=172.17.0.2 DATA_BASE_PORT_7003_TCP_PORT=7003 DATA_BASE_PORT_7003_TCP_PROTO=tcp \
            DATA_BASE_PORT_7003_UDP=udp://172.17.0.2:7003 DATA_BASE_PORT_7003_UDP_ADDR=172.17.0.2 DATA_BASE_PORT_7003_UDP_PORT=7003 \
            DATA_BASE_PORT_7003_UDP_PROTO=udp DATA_BASE_PORT_90_TCP=tcp://172.17.0.2:90 DATA_BASE_PORT_90_TCP_ADDR=172.17.0.2 \
            DATA_BASE_PORT_90_TCP_PORT=90 DATA_BASE_PORT_90_TCP_PROTO=tcp";
        assert_eq!(env, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn lines_of_the_hosts_file() {
        let mut lines: Vec<Vec<u8>> = vec![b"10.0.0.1\tdb 12 name\n".into(), b"\xff own\n".into()];
        replace(&mut lines, "db 12 name", Ipv4Addr::new(10, 0, 0, 7));
        replace(&mut lines, "other", Ipv4Addr::new(10, 0, 0, 8));
        assert_eq!(lines.concat(), b"10.0.0.7\tdb 12 name\n\xff own\n10.0.0.8\tother\n");
    }
}
