//! What an engine could leave behind in a test host, taken before and after and compared.
//!
//! Only existence is compared, never content: a database may grow, a bridge and a table may stay (the README
//! says so), but no process, mount, network namespace, veth, nft element, cgroup or folder of a container.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::TestHost;
use crate::sandbox::cgroups;

/// Folders in which engines keep what belongs to containers, and how deep to look.
const WATCHED: [(&str, usize); 7] = [
    ("/var/lib/tare", 3),
    ("/run/tare", 3),
    ("/var/lib/docker/containers", 2),
    ("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", 1),
    ("/run/docker", 3),
    ("/etc", 1),
    ("/tmp", 2),
];

/// One look at a test host: lines such as `veth vethab12`.
#[derive(Debug, Clone, Default)]
pub struct State {
    lines: BTreeSet<String>,
}

impl State {
    /// Looks at `host` now.
    pub fn of(host: &TestHost) -> State {
        let mut lines = BTreeSet::new();
        processes_and_netns(host, &mut lines);
        mounts(host, &mut lines);
        links(host, &mut lines);
        nft_elements(host, &mut lines);
        groups(host, &mut lines);
        for (folder, depth) in WATCHED {
            files(host, folder, depth, &mut lines);
        }
        State { lines }
    }

    /// What is here and not in `before`.
    pub fn minus(&self, before: &State) -> Vec<String> {
        self.lines.difference(&before.lines).cloned().collect()
    }

    /// The lines that begin with `kind`.
    pub fn of_kind(&self, kind: &str) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|line| line.split(' ').next() == Some(kind)).collect()
    }
}

fn processes_and_netns(host: &TestHost, lines: &mut BTreeSet<String>) {
    let proc = host.path("/proc");
    for entry in fs::read_dir(&proc).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // A zombie has no command line; it is process 1's to reap at any moment.
        if !command.is_empty() {
            lines.insert(format!("process {pid} {}", command.trim_end()));
        }
        if let Ok(netns) = fs::read_link(entry.path().join("ns/net")) {
            lines.insert(format!("netns {}", netns.display()));
        }
        for fd in fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            match fs::read_link(fd.path()) {
                Ok(target) if target.to_string_lossy().starts_with("net:[") => {
                    lines.insert(format!("netns {}", target.display()));
                }
                _ => {}
            }
        }
    }
}

fn mounts(host: &TestHost, lines: &mut BTreeSet<String>) {
    let text = fs::read_to_string(format!("/proc/{}/mounts", host.init_pid())).unwrap_or_default();
    for line in text.lines() {
        let mut fields = line.split(' ').skip(1);
        if let (Some(target), Some(kind)) = (fields.next(), fields.next()) {
            lines.insert(format!("mount {target} {kind}"));
        }
    }
}

/// Interfaces that belong to containers; bridges stay.
fn links(host: &TestHost, lines: &mut BTreeSet<String>) {
    let output = host.run(&["ip", "-json", "-details", "link"], b"", crate::command::DEFAULT_LIMIT);
    let links: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    for link in links.as_array().into_iter().flatten() {
        if link["linkinfo"]["info_kind"] == "veth" {
            lines.insert(format!("veth {}", link["ifname"].as_str().unwrap_or_default()));
        }
    }
}

/// Elements of nftables sets and maps; and rules of foreign tables, where an engine without sets works.
fn nft_elements(host: &TestHost, lines: &mut BTreeSet<String>) {
    let output = host.run(&["nft", "--json", "list", "ruleset"], b"", crate::command::DEFAULT_LIMIT);
    let ruleset: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    for object in ruleset["nftables"].as_array().into_iter().flatten() {
        for kind in ["set", "map"] {
            let place = &object[kind];
            for element in place["elem"].as_array().into_iter().flatten() {
                lines.insert(format!("nft-element {} {} {element}", place["table"], place["name"]));
            }
        }
        let rule = &object["rule"];
        if rule.is_object() {
            let expression = strip_counters(rule["expr"].clone());
            lines.insert(format!("nft-rule {} {} {expression}", rule["table"], rule["chain"]));
        }
    }
}

fn strip_counters(expression: Value) -> Value {
    let Value::Array(parts) = expression else { return expression };
    Value::Array(parts.into_iter().filter(|part| part.get("counter").is_none()).collect())
}

/// Groups below the host's own. A parent group that the engine keeps (`/docker`, `/tare`) is no leak.
fn groups(host: &TestHost, lines: &mut BTreeSet<String>) {
    for hierarchy in cgroups::hierarchies().unwrap_or_default() {
        for group in cgroups::below(&hierarchy.path.join(host.name())) {
            if group.contains('/') {
                lines.insert(format!("cgroup {}/{group}", hierarchy.path.display()));
            }
        }
    }
}

fn files(host: &TestHost, folder: &str, depth: usize, lines: &mut BTreeSet<String>) {
    fn walk(outside: &Path, inside: &str, depth: usize, lines: &mut BTreeSet<String>) {
        for entry in fs::read_dir(outside).into_iter().flatten().flatten() {
            let path = format!("{inside}/{}", entry.file_name().to_string_lossy());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // The databases' own files come and go (-wal, -shm).
            if !path.contains(".db") {
                lines.insert(format!("{} {path}", if is_dir { "folder" } else { "file" }));
            }
            if is_dir && depth > 1 {
                walk(&entry.path(), &path, depth - 1, lines);
            }
        }
    }
    walk(&host.path(folder), folder, depth, lines);
}
