//! What a running container uses: the kernel's counters, read at one moment.

use crate::error::{Result, io};
use crate::{Container, Engine};
use cgroup::Cgroup;
use std::path::Path;
use sys::clock::Time;

pub use cgroup::{BlockStats, Stats};

/// Counters at a moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// When (nanoseconds since the epoch).
    pub read_ns: i64,
    /// Of its cgroup.
    pub group: Stats,
    /// The cgroup is a v2 one, whose counters have other names.
    pub v2: bool,
    /// CPU time of the whole machine, in nanoseconds.
    pub system_ns: u64,
    /// CPUs that are online.
    pub cpus: usize,
    /// The machine's memory: a limit above it is none.
    pub machine_memory: u64,
    /// Its network devices, without the loopback.
    pub networks: Vec<Device>,
}

/// Counters of a network device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// `eth0`
    pub name: String,
    /// Received: bytes, packets, errors, dropped.
    pub received: [u64; 4],
    /// Sent: bytes, packets, errors, dropped.
    pub sent: [u64; 4],
}

impl Engine {
    /// Reads a container's counters; `None` when it does not run.
    pub fn sample(&self, word: &str) -> Result<(Container, Option<Sample>)> {
        let container = self.container(word)?;
        if !container.is_running() {
            return Ok((container, None));
        }
        let layout = self.cgroup_layout()?;
        // It may end in between: then it does not run.
        let stats = Cgroup::open(layout, Path::new(&container.cgroup)).and_then(|group| group.stats());
        let Ok(group) = stats else { return Ok((container, None)) };
        let own = container.network() != crate::NetworkMode::Host;
        let text = std::fs::read_to_string(format!("/proc/{}/net/dev", container.state.pid));
        let networks = text.ok().filter(|_| own).map(|text| devices(&text)).unwrap_or_default();
        let (system_ns, cpus) = machine_time()?;
        let sample = Sample {
            read_ns: Time::now().0,
            group,
            v2: layout.version() == cgroup::Version::V2,
            system_ns,
            cpus,
            machine_memory: machine_memory()?,
            networks,
        };
        Ok((container, Some(sample)))
    }
}

/// `/proc/net/dev` without the loopback.
fn devices(text: &str) -> Vec<Device> {
    let mut found = Vec::new();
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let four = |from: usize| -> Option<[u64; 4]> { numbers.get(from..from + 4)?.try_into().ok() };
        if let (Some(received), Some(sent), false) = (four(0), four(8), name.trim() == "lo") {
            found.push(Device { name: name.trim().to_string(), received, sent });
        }
    }
    found
}

/// All CPU time since the boot in nanoseconds, and the number of CPUs.
fn machine_time() -> Result<(u64, usize)> {
    /// `/proc/stat` counts in hundredths of a second on every architecture.
    const TICK_NS: u64 = 10_000_000;
    let text = std::fs::read_to_string("/proc/stat").map_err(io("read /proc/stat"))?;
    let numbers = |line: &str| -> u64 {
        // User, nice, system, idle, iowait, irq, softirq: guests are in user already.
        line.split_whitespace().skip(1).take(7).filter_map(|n| n.parse::<u64>().ok()).sum()
    };
    let all = text.lines().find(|l| l.starts_with("cpu ")).map_or(0, numbers);
    let single =
        text.lines().filter(|l| l.starts_with("cpu") && l.as_bytes().get(3).is_some_and(u8::is_ascii_digit));
    Ok((all.saturating_mul(TICK_NS), single.count()))
}

fn machine_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(io("read /proc/meminfo"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    Ok(kib.unwrap_or(0).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes packets\n    lo: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n  eth0: 986 11 1 2 0 0 0 0 126 3 4 5 0 0 0 0\nbad line\n";
        let eth0 = Device { name: "eth0".into(), received: [986, 11, 1, 2], sent: [126, 3, 4, 5] };
        assert_eq!(devices(text), [eth0]);
    }
}
