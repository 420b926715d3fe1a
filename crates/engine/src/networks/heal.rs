//! What somebody has taken away from running containers' networks comes back: rules, tables, bridges.
//!
//! Invariants. What should be there is read from the tasks' rows, with the `network` lock held until it is there;
//! a container whose end unpublishes waits for that lock first, and one whose init has ended is passed over, so that
//! nothing comes back that is on its way out. A network without members is made by its next use.

use super::ports::port_maps;
use super::{DEFAULT, bridge_config};
use crate::Engine;
use crate::error::Result;
use crate::state::{Task, TaskEndpoint};
use net::{BridgeConfig, Network, Place, PortMap, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Which families' forwarding Tare has switched on in this boot.
const SWITCHED_ON: &str = "forwarding";

/// A network in use, as it should be.
#[derive(Debug)]
struct InUse {
    config: BridgeConfig,
    endpoints: Vec<TaskEndpoint>,
}

impl Engine {
    /// What is missing of the networks of running containers, in words.
    pub fn missing_of_networks(&self) -> Result<Vec<String>> {
        let _lock = self.paths().lock("network")?;
        let mut all = Vec::new();
        for network in self.in_use(None)? {
            let plugged: Vec<&str> = network.endpoints.iter().map(|e| e.host_link.as_str()).collect();
            let maps: Vec<PortMap> = network.endpoints.iter().flat_map(port_maps).collect();
            for missing in Network::missing(&network.config, &plugged, &maps)? {
                if !all.contains(&missing) {
                    all.push(missing);
                }
            }
        }
        Ok(all)
    }

    /// Brings back what is missing of the networks of running containers; returns what it was.
    pub fn mend_networks(&self) -> Result<Vec<String>> {
        let missing = self.missing_of_networks()?;
        if !missing.is_empty() {
            let _lock = self.paths().lock("network")?;
            self.restore(None)?;
        }
        Ok(missing)
    }

    /// Mends for as long as the process lives, as soon as the kernel tells of something that is gone.
    pub fn watch_networks(&self) -> Result<()> {
        let mut monitor = net::Monitor::open()?;
        let engine = self.clone();
        let watch = move || {
            loop {
                let seen = monitor.wait().map_err(crate::Error::from);
                match seen.and_then(|()| engine.mend_networks()) {
                    Ok(missing) if missing.is_empty() => {}
                    Ok(missing) => tracing::warn!(missing = missing.join(", "), "networks were mended"),
                    Err(e) => {
                        tracing::warn!(error = e.message, "networks could not be mended");
                        // A failure that repeats at once must not make a busy loop of it.
                        std::thread::sleep(std::time::Duration::from_secs(1));
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("networks".to_string()).spawn(watch);
        thread.map(drop).map_err(crate::error::io("clone of the thread that watches networks"))
    }

    /// With the network lock held: makes networks in use what they should be; all, or that of one id.
    pub(super) fn restore(&self, only: Option<&str>) -> Result<()> {
        for network in self.in_use(only)? {
            let opened = Network::open(&network.config)?;
            self.note_forwarding(opened.forwarding_switched_on)?;
            for endpoint in network.endpoints.iter().filter(|e| !e.host_link.is_empty()) {
                let publishes = !endpoint.ports.is_empty();
                opened.network.plug_in(&endpoint.host_link, publishes, network.config.apart)?;
            }
            let maps: Vec<PortMap> = network.endpoints.iter().flat_map(port_maps).collect();
            if !maps.is_empty() {
                opened.network.publish(&maps)?;
            }
        }
        Ok(())
    }

    /// Whether forwarding was switched on by us in this boot, of IPv4 and of IPv6.
    pub(super) fn has_switched_on(&self) -> Result<[bool; 2]> {
        let text = self.state()?.setting(SWITCHED_ON)?.unwrap_or_default();
        Ok([text.contains('4'), text.contains('6')])
    }

    pub(super) fn note_forwarding(&self, now: [bool; 2]) -> Result<()> {
        if now == [false; 2] {
            return Ok(());
        }
        let [earlier, earlier6] = self.has_switched_on()?;
        let text = [(earlier || now[0], "4"), (earlier6 || now[1], "6")];
        let text: String = text.iter().filter(|(is, _)| *is).map(|(_, digit)| *digit).collect();
        self.state()?.set_setting(SWITCHED_ON, &text)
    }

    /// It was switched off again.
    pub(super) fn forget_forwarding(&self) -> Result<()> {
        self.state()?.set_setting(SWITCHED_ON, "")
    }

    fn in_use(&self, only: Option<&str>) -> Result<Vec<InUse>> {
        let mut members: BTreeMap<String, Vec<TaskEndpoint>> = BTreeMap::new();
        for (_, task) in self.state()?.tasks()? {
            if is_alive(&task) {
                for endpoint in task.endpoints {
                    if only.is_none_or(|id| endpoint.network == id) {
                        members.entry(endpoint.network.clone()).or_default().push(endpoint);
                    }
                }
            }
        }
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let switched_on = self.has_switched_on()?;
        let records = self.state()?.networks()?;
        let one = |(id, endpoints): (String, Vec<TaskEndpoint>)| {
            let config = match records.iter().find(|r| r.id == id) {
                Some(record) => bridge_config(record),
                // Its subnet is what its members have: the first free pool is another one by now.
                None if id == super::network_id(DEFAULT) => {
                    BridgeConfig { places: places(endpoints.first()?), ..self.default_bridge().ok()? }
                }
                None => return None,
            };
            let forward = self.settings().switch("ip-forward") != Some(false);
            Some(InUse { config: BridgeConfig { switched_on, forward, ..config }, endpoints })
        };
        Ok(members.into_iter().filter_map(one).collect())
    }
}

fn places(endpoint: &TaskEndpoint) -> Vec<Place> {
    let place = |gateway: Option<IpAddr>, prefix| {
        let gateway = gateway?;
        Some(Place { subnet: Subnet::containing(gateway, prefix)?, gateway })
    };
    [
        place(endpoint.gateway.map(IpAddr::V4), endpoint.prefix),
        place(endpoint.gateway6.map(IpAddr::V6), endpoint.prefix6),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Its init runs, or somebody is about to start it.
fn is_alive(task: &Task) -> bool {
    let (pid, start) = match (task.pid, task.owner) {
        (0, None) => return false,
        (0, Some(owner)) => owner,
        (pid, _) => (pid, task.pid_start),
    };
    sys::process::Stat::read(&pid.to_string()).is_ok_and(|stat| stat.start_time == start)
}
