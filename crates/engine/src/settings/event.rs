//! What the event of a reload says: dockerd's names, and values as Go writes them.

use super::{Settings, values};
use crate::events::Attributes;

/// dockerd's numbers where nothing is said.
const NUMBERS: [(&str, i64); 5] = [
    ("default-shm-size", 64 << 20),
    ("max-concurrent-downloads", 3),
    ("max-concurrent-uploads", 5),
    ("max-download-attempts", 5),
    ("shutdown-timeout", 15),
];

pub(super) fn attributes(settings: &Settings, cgroup_v2: bool) -> Attributes {
    let mut all = Attributes::new();
    let mut tell = |name: &str, value: String| drop(all.insert(name.to_string(), value));
    for (name, usual) in NUMBERS {
        tell(name, settings.number(name).unwrap_or(usual).to_string());
    }
    for name in ["insecure-registries", "labels", "registry-mirrors"] {
        let list: Vec<&str> = settings.list(name).collect();
        tell(name, serde_json::Value::from(list).to_string());
    }
    let cgroup = if cgroup_v2 { "private" } else { "host" };
    for (name, usual) in
        [("default-cgroupns-mode", cgroup), ("default-ipc-mode", "private"), ("default-runtime", "runc")]
    {
        tell(name, settings.text(name).unwrap_or(usual).to_string());
    }
    let none = serde_json::Value::Object(serde_json::Map::new());
    tell("features", values::shown(settings.value("features").unwrap_or(&none)));
    tell("debug", settings.switch("debug").unwrap_or(false).to_string());
    // Containers go on without the daemon, whatever is said.
    tell("live-restore", true.to_string());
    tell("runtimes", String::new());
    tell("name", crate::system::host_name());
    all
}
