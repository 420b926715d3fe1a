//! Rows of `stats`.

use std::rc::Rc;

use api::stats::StatsResponse;

use super::short_id;
use crate::template::{Object, Value, plain};
use crate::units::{binary_size, human_size};

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// The format that an option stands for.
pub fn format(given: &str) -> String {
    match given {
        "" | "table" => TABLE.to_owned(),
        given => given.to_owned(),
    }
}

/// What a row shows.
#[derive(Clone, Debug, Default)]
pub struct Row {
    container: String,
    name: String,
    id: String,
    cpu: f64,
    memory: u64,
    limit: u64,
    memory_share: f64,
    network: [u64; 2],
    block: [u64; 2],
    pids: u64,
}

impl Row {
    /// Of an answer; `container` is the word that was asked for.
    pub fn new(container: &str, answer: &StatsResponse) -> Row {
        let memory = &answer.memory_stats;
        let used = without_cache(answer);
        let networks = answer.networks.iter().flatten();
        let network = networks.fold([0u64; 2], |[received, sent], (_, device)| {
            [received.saturating_add(device.rx_bytes), sent.saturating_add(device.tx_bytes)]
        });
        let blocks = answer.blkio_stats.bytes.iter().flatten();
        let block = blocks.fold([0u64; 2], |[read, written], entry| match entry.op.as_bytes().first() {
            Some(b'r' | b'R') => [read.saturating_add(entry.value), written],
            Some(b'w' | b'W') => [read, written.saturating_add(entry.value)],
            _ => [read, written],
        });
        Row {
            container: container.to_owned(),
            name: answer.name.trim_start_matches('/').to_owned(),
            id: answer.id.clone(),
            cpu: cpu_percent(answer),
            memory: used,
            limit: memory.limit,
            memory_share: if memory.limit == 0 { 0.0 } else { used as f64 / memory.limit as f64 * 100.0 },
            network,
            block,
            pids: answer.pids_stats.current,
        }
    }

    fn text(&self, name: &str, truncate: bool) -> Option<String> {
        let figure = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let pair = |[a, b]: [u64; 2]| format!("{} / {}", human_size(figure(a), 3), human_size(figure(b), 3));
        Some(match name {
            "Container" => self.container.clone(),
            "Name" if self.name.is_empty() => "--".to_owned(),
            "Name" => self.name.clone(),
            "ID" if truncate => short_id(&self.id),
            "ID" => self.id.clone(),
            "CPUPerc" => format!("{:.2}%", self.cpu),
            "MemUsage" => {
                format!("{} / {}", binary_size(figure(self.memory)), binary_size(figure(self.limit)))
            }
            "MemPerc" => format!("{:.2}%", self.memory_share),
            "NetIO" => pair(self.network),
            "BlockIO" => pair(self.block),
            "PIDs" => self.pids.to_string(),
            _ => return None,
        })
    }
}

/// Share of one CPU since the sample before, in percent.
fn cpu_percent(answer: &StatsResponse) -> f64 {
    let (now, before) = (&answer.cpu_stats, &answer.pre_cpu_stats);
    let used = now.usage.total as f64 - before.usage.total as f64;
    let all = now.system as f64 - before.system as f64;
    let online = match now.online {
        0 => now.usage.per_cpu.as_ref().map_or(0, Vec::len) as f64,
        n => f64::from(n),
    };
    if used > 0.0 && all > 0.0 { used / all * online * 100.0 } else { 0.0 }
}

/// Memory without what the kernel would give back at once.
fn without_cache(answer: &StatsResponse) -> u64 {
    let memory = &answer.memory_stats;
    let figure = |name| memory.stats.as_ref().and_then(|stats| stats.get(name)).copied();
    let cache = figure("total_inactive_file").or_else(|| figure("inactive_file")).unwrap_or(0);
    if cache < memory.usage { memory.usage - cache } else { memory.usage }
}

/// Rows as a template's data.
pub fn values(rows: Vec<Row>, truncate: bool) -> Vec<Value> {
    rows.into_iter().map(|row| Value::Object(Rc::new(Shown { row, truncate }))).collect()
}

struct Shown {
    row: Row,
    truncate: bool,
}

impl Object for Shown {
    fn type_name(&self) -> &'static str {
        "*container.statsContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        plain(name, self.row.text(name, self.truncate)?, args)
    }
    fn names(&self) -> &'static [&'static str] {
        &["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::stats::{BlkioStatEntry, MemoryStats};

    #[test]
    fn figures_are_dockers() {
        let mut answer = StatsResponse { name: "/box".to_owned(), ..StatsResponse::default() };
        answer.cpu_stats.usage.total = 1_947_476_381;
        answer.pre_cpu_stats.usage.total = 1_060_854_778;
        (answer.cpu_stats.system, answer.pre_cpu_stats.system) = (8_273_520_000_000, 8_271_510_000_000);
        answer.cpu_stats.online = 2;
        answer.memory_stats = MemoryStats {
            usage: 688_128,
            limit: 67_108_864,
            stats: Some([("total_inactive_file".to_owned(), 8192)].into()),
            ..MemoryStats::default()
        };
        let entry =
            |op: &str, value| BlkioStatEntry { op: op.to_owned(), value, ..BlkioStatEntry::default() };
        answer.blkio_stats.bytes = Some(vec![entry("Read", 1500), entry("write", 20), entry("Total", 9)]);
        let row = Row::new("b", &answer);
        for (field, expected) in [
            ("Container", "b"),
            ("Name", "box"),
            ("CPUPerc", "88.22%"),
            ("MemUsage", "664KiB / 64MiB"),
            ("MemPerc", "1.01%"),
            ("NetIO", "0B / 0B"),
            ("BlockIO", "1.5kB / 20B"),
            ("PIDs", "0"),
        ] {
            assert_eq!(row.text(field, true).as_deref(), Some(expected), "{field}");
        }
    }
}
