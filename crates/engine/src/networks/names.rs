//! What the resolvers of containers answer from (crate `dns`): a file of names per user-defined network, and a file
//! per container that says where its own resolver looks.
//!
//! Invariants. A network's file is changed line by line under the lock `names`, which waits for nobody else, and
//! replaced whole. The lines of an endpoint are those with its addresses: they are written after the task's row
//! and taken away before it, so that a crash leaves none that its row does not lead to. A container's file is
//! there when its shim has been given a resolver, and goes with the task.
//!
//! It does not know who asks, nor how.

use super::{DEFAULT, Membership};
use crate::Engine;
use crate::config::Dns;
use crate::error::{Error, Result, io};
use crate::state::{Record, Task, TaskEndpoint};
use dns::names::{Place, View, Word};
use shim::client::Connection;
use shim::protocol::Request;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use sys::lock::Lock;

impl Engine {
    /// After the task's row: the container is found by its names, and its resolver knows where to look.
    pub(crate) fn tell_resolvers(&self, record: &Record, task: &Task) -> Result<()> {
        if !has_resolver(task) && !self.is_resolved(&record.id) {
            return Ok(());
        }
        let _lock = self.paths().lock("names")?;
        self.write_view(record, task)?;
        for endpoint in task.endpoints.iter().filter(|e| is_named(e)) {
            self.edit_names(endpoint, &names(record, &endpoint.network_name))?;
        }
        Ok(())
    }

    /// Before an endpoint's end in the task's row: its names are gone. While the lock is held nobody writes any.
    pub(super) fn withdraw_names<'a>(
        &self,
        endpoints: impl IntoIterator<Item = &'a TaskEndpoint>,
    ) -> Result<Lock> {
        let lock = self.paths().lock("names")?;
        for endpoint in endpoints.into_iter().filter(|e| is_named(e)) {
            self.edit_names(endpoint, &[])?;
        }
        Ok(lock)
    }

    /// Before the task's row goes: all its names are gone, and its resolver's file.
    pub(crate) fn forget_names(&self, id: &str, task: &Task) -> Result<Option<Lock>> {
        match std::fs::remove_file(self.paths().names().join(id)) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(io("remove the resolver's file")(e)),
        }
        has_resolver(task).then(|| self.withdraw_names(&task.endpoints)).transpose()
    }

    /// Whether the container's shim has been given a resolver.
    pub(super) fn is_resolved(&self, id: &str) -> bool {
        self.paths().names().join(id).exists()
    }

    /// Hands a resolver's sockets to the container's shim.
    pub(crate) fn hand_resolver(
        &self,
        record: &Record,
        sockets: &net::resolver::Listening,
        connection: &mut Connection,
    ) -> shim::Result<()> {
        use rustix::fd::AsFd;
        let folder = self.paths().names();
        let inside = !self.dns_of(record).servers.is_empty();
        let request = Request::Resolve { folder, file: record.id.clone(), inside };
        let limit = Some(crate::tasks::SHIM_PATIENCE);
        connection.call(&request, &[sockets.udp.as_fd(), sockets.tcp.as_fd()], limit).map(drop)
    }

    /// What a container's resolver is told: its own wishes, the daemon's where it has none.
    pub(crate) fn dns_of(&self, record: &Record) -> Dns {
        let mut dns = record.host.dns.clone();
        let settings = self.settings();
        let default = |list: &mut Vec<String>, name: &str| {
            if list.is_empty() {
                list.extend(settings.list(name).map(str::to_string));
            }
        };
        default(&mut dns.servers, "dns");
        default(&mut dns.search, "dns-search");
        default(&mut dns.options, "dns-opts");
        dns
    }

    /// With the lock `names` held.
    fn write_view(&self, record: &Record, task: &Task) -> Result<()> {
        let mut endpoints: Vec<&TaskEndpoint> = task.endpoints.iter().filter(|e| is_named(e)).collect();
        endpoints.sort_by_key(|e| (!e.default_route, std::cmp::Reverse(e.priority)));
        let dns = &self.dns_of(record);
        // Whoever is only on networks that nothing leaves has nobody to ask (CVE-2024-29018).
        let outside = task.endpoints.iter().any(|e| !e.internal);
        let servers = parse_servers(dns)?;
        let view = View {
            networks: endpoints
                .iter()
                .map(|e| Place { file: e.network.clone(), name: e.network_name.clone() })
                .collect(),
            links: endpoints.iter().flat_map(|e| words(record, e)).collect(),
            host_servers: outside && servers.is_empty(),
            servers: if outside { servers } else { Vec::new() },
            local_single_labels: sets_ndots(dns),
        };
        self.replace(&record.id, view.to_text().as_bytes())
    }

    /// With the lock `names` held: the endpoint's lines are these.
    fn edit_names(&self, endpoint: &TaskEndpoint, names: &[String]) -> Result<()> {
        let path = self.paths().names().join(&endpoint.network);
        let old = match std::fs::read_to_string(&path) {
            Ok(old) => old,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(io("read the names of a network")(e)),
        };
        let addresses = addresses(endpoint);
        let is_own = |line: &&str| {
            line.split(' ')
                .skip(1)
                .filter_map(|text| text.parse().ok())
                .any(|a: IpAddr| addresses.contains(&a))
        };
        let mut text: String = old.split_inclusive('\n').filter(|line| !is_own(&line.trim_end())).collect();
        let lines = names.iter().map(|name| (name.as_str(), &addresses[..]));
        text.push_str(&dns::names::to_text(lines));
        match text.is_empty() {
            false => self.replace(&endpoint.network, text.as_bytes()),
            true if old.is_empty() => Ok(()),
            true => std::fs::remove_file(&path).map_err(io("remove the names of a network")),
        }
    }

    /// A resolver reads the old file or the new one; it is nobody's process.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let folder = self.paths().make_names()?;
        let write = |path: &Path| -> std::io::Result<()> {
            let mut file = std::fs::File::create(path)?;
            rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
            file.write_all(bytes)?;
            std::fs::rename(path, folder.join(name))
        };
        write(&folder.join(".new")).map_err(io("write the names of a network"))
    }
}

/// Whether a container with these endpoints asks a resolver of ours.
pub(crate) fn has_resolver(task: &Task) -> bool {
    task.endpoints.iter().any(is_named)
}

/// Names are known on user-defined networks only.
pub(super) fn is_named(endpoint: &TaskEndpoint) -> bool {
    endpoint.network_name != DEFAULT
}

/// Its name, its aliases, its short id, its host name; the first is what a reverse query is answered with.
fn names(record: &Record, network: &str) -> Vec<String> {
    let wish: Membership = record.memberships().remove(network).unwrap_or_default();
    let mut names = vec![record.name.clone()];
    let short = record.id.get(..12).unwrap_or_default().to_string();
    for name in wish.aliases.into_iter().chain([short, record.config.hostname.clone()]) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The container's own words in a network, and whom they mean.
fn words(record: &Record, endpoint: &TaskEndpoint) -> Vec<Word> {
    let wish = record.memberships().remove(&endpoint.network_name).unwrap_or_default();
    let word = |link: &String| {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        Word { file: endpoint.network.clone(), word: alias.to_string(), name: name.to_string() }
    };
    wish.links.iter().map(word).collect()
}

fn addresses(endpoint: &TaskEndpoint) -> Vec<IpAddr> {
    endpoint.addresses().collect()
}

/// As dockerd: with `ndots` set by anybody, a name without a dot is not asked of others.
fn sets_ndots(dns: &Dns) -> bool {
    let host = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    net::resolv::sets_ndots(&host, &dns.options)
}

/// The addresses of `--dns`.
pub(super) fn parse_servers(dns: &Dns) -> Result<Vec<IpAddr>> {
    let address = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| {
            Error::invalid(format!("bad nameserver address {text}: ParseAddr({text:?}): unable to parse IP"))
        })
    };
    dns.servers.iter().map(address).collect()
}
