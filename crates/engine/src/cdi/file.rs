//! One file of the Container Device Interface (CNCF CDI, SPEC.md): its form, and what it must be to count. Pure.
//!
//! Invariant: a [`Checked`] has a known version, a kind `vendor/class`, and devices with different names, each with
//! edits. What another version of the form would say more is an unknown member, and refused.

use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};

/// Of which versions files are read, oldest first. The first two are known, but too old to say anything.
const VERSIONS: [&str; 9] = ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0"];
/// A file name's length on Linux is below; so is that of a folder of resctrl.
const MAX_CLOS_ID: usize = 4096;
/// How deep a file in YAML may nest; the form itself has six levels.
const MAX_YAML_DEPTH: usize = 32;
/// Values in a file in YAML, its aliases resolved.
const MAX_YAML_NODES: usize = 200_000;
/// Of its anchors and aliases.
const MAX_YAML_ALIASES: usize = 1000;

/// A file that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    /// `vendor.com/class`
    pub kind: String,
    /// For a container that gets any device of the file.
    pub edits: Edits,
    /// Each device's own.
    pub devices: BTreeMap<String, Edits>,
}

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By its ending `.json`.
    Json,
    /// By its ending `.yaml`.
    Yaml,
}

/// Reads a file's text; the error is the text of the CDI library that dockerd uses.
pub(crate) fn check(text: &[u8], form: Form) -> Result<Checked, String> {
    let read: Result<File, String> = match form {
        Form::Json => serde_json::from_slice(text).map_err(|e| format!("error unmarshaling JSON: {e}")),
        Form::Yaml => yaml(text),
    };
    let file = read.map_err(|e| format!("failed to unmarshal CDI Spec: {e}"))?;
    file.check().map_err(|why| format!("invalid CDI Spec: {why}"))
}

/// YAML can say much with few bytes (aliases of aliases) and nest without end: both are bounded.
fn yaml(text: &[u8]) -> Result<File, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_YAML_DEPTH,
            max_nodes: MAX_YAML_NODES,
            max_events: 2 * MAX_YAML_NODES,
            max_aliases: MAX_YAML_ALIASES,
            max_anchors: MAX_YAML_ALIASES,
            max_recorded_anchor_events: MAX_YAML_NODES,
            max_documents: 1,
        },
        // As Go's YAML 1.1: a file mode is written 0660.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(text, options).map_err(|e| {
        let text = e.to_string();
        format!("error converting YAML to JSON: {}", text.lines().next().unwrap_or_default())
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct File {
    #[serde(deserialize_with = "zero")]
    cdi_version: String,
    #[serde(deserialize_with = "zero")]
    kind: String,
    #[serde(deserialize_with = "zero")]
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "zero")]
    container_edits: Edits,
    #[serde(deserialize_with = "zero")]
    devices: Vec<Device>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Device {
    #[serde(deserialize_with = "zero")]
    name: String,
    #[serde(deserialize_with = "zero")]
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "zero")]
    container_edits: Edits,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Edits {
    /// `NAME=value`
    #[serde(deserialize_with = "zero")]
    pub env: Vec<String>,
    /// Nodes in its `/dev`.
    #[serde(deserialize_with = "zero")]
    pub device_nodes: Vec<Node>,
    /// Programs of the host.
    #[serde(deserialize_with = "zero")]
    pub hooks: Vec<Hook>,
    /// Mounts.
    #[serde(deserialize_with = "zero")]
    pub mounts: Vec<Mount>,
    /// Cache and memory bandwidth.
    pub intel_rdt: Option<IntelRdt>,
    /// Groups of its process.
    #[serde(deserialize_with = "zero")]
    pub additional_gids: Vec<u32>,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Node {
    /// In the container.
    #[serde(deserialize_with = "zero")]
    pub path: String,
    /// On the host; empty = the same.
    #[serde(deserialize_with = "zero")]
    pub host_path: String,
    /// `b`, `c`, `u`, `p`, or empty: as on the host.
    #[serde(rename = "type", deserialize_with = "zero")]
    pub kind: String,
    /// 0 = as on the host.
    #[serde(deserialize_with = "zero")]
    pub major: i64,
    /// Counts with a major number.
    #[serde(deserialize_with = "zero")]
    pub minor: i64,
    /// Its permission bits.
    pub file_mode: Option<u32>,
    /// Of `r`, `w`, `m`; empty = all.
    #[serde(deserialize_with = "zero")]
    pub permissions: String,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Mount {
    /// On the host.
    #[serde(deserialize_with = "zero")]
    pub host_path: String,
    /// In the container.
    #[serde(deserialize_with = "zero")]
    pub container_path: String,
    /// As in fstab.
    #[serde(deserialize_with = "zero")]
    pub options: Vec<String>,
    /// Of the file system.
    #[serde(rename = "type", deserialize_with = "zero")]
    pub kind: String,
}

/// A program that is called.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Hook {
    /// When.
    #[serde(deserialize_with = "zero")]
    pub hook_name: String,
    /// Which.
    #[serde(deserialize_with = "zero")]
    pub path: String,
    /// With argv[0].
    #[serde(deserialize_with = "zero")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(deserialize_with = "zero")]
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<u32>,
}

/// resctrl.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IntelRdt {
    /// Class of service.
    #[serde(rename = "closID", deserialize_with = "zero")]
    pub clos_id: String,
    /// L3 line.
    #[serde(rename = "l3CacheSchema", deserialize_with = "zero")]
    pub l3_cache_schema: String,
    /// Memory bandwidth line.
    #[serde(rename = "memBwSchema", deserialize_with = "zero")]
    pub mem_bw_schema: String,
    /// Monitoring of the cache.
    #[serde(rename = "enableCMT", deserialize_with = "zero")]
    pub enable_cmt: bool,
    /// Monitoring of the memory bandwidth.
    #[serde(rename = "enableMBM", deserialize_with = "zero")]
    pub enable_mbm: bool,
}

/// Decodes a member whose `null` means the zero value, as in Go.
fn zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl File {
    fn check(self) -> Result<Checked, String> {
        let version = self.cdi_version.trim_start_matches('v');
        let known = VERSIONS.iter().position(|known| *known == version);
        let known = known.ok_or_else(|| format!("invalid version {:?}", self.cdi_version))?;
        let oldest = self.oldest();
        if VERSIONS[known] < oldest {
            return Err(format!("the spec version must be at least v{oldest}"));
        }
        let (vendor, class) = self.kind.split_once('/').unwrap_or(("", &self.kind));
        name(vendor).map_err(|why| format!("invalid vendor. {why}"))?;
        name(class).map_err(|why| format!("invalid class. {why}"))?;
        self.container_edits.check()?;
        let mut devices = BTreeMap::new();
        for device in self.devices {
            let Device { name, container_edits, .. } = device;
            check_device(&name, &container_edits)
                .map_err(|why| format!("failed add device {name:?}: {why}"))?;
            if devices.insert(name.clone(), container_edits).is_some() {
                return Err(format!("invalid spec, multiple device {name:?}"));
            }
        }
        if devices.is_empty() {
            return Err("invalid spec, no devices".to_string());
        }
        Ok(Checked { kind: self.kind, edits: self.container_edits, devices })
    }

    /// The oldest version that has everything the file says.
    fn oldest(&self) -> &'static str {
        let edits = || self.devices.iter().map(|d| &d.container_edits).chain([&self.container_edits]);
        let class = self.kind.split_once('/').map_or("", |(_, class)| class);
        if edits().any(|e| e.intel_rdt.is_some() || !e.additional_gids.is_empty()) {
            return "0.7.0";
        }
        let annotated = |d: &Device| !d.annotations.is_empty();
        if !self.annotations.is_empty() || self.devices.iter().any(annotated) || class.contains('.') {
            return "0.6.0";
        }
        let starts_with_digit = |d: &Device| !d.name.starts_with(|c: char| c.is_ascii_alphabetic());
        if edits().flat_map(|e| &e.device_nodes).any(|n| !n.host_path.is_empty())
            || self.devices.iter().any(|d| !d.name.is_empty() && starts_with_digit(d))
        {
            return "0.5.0";
        }
        if edits().flat_map(|e| &e.mounts).any(|m| !m.kind.is_empty()) {
            return "0.4.0";
        }
        "0.3.0"
    }
}

/// A vendor's or a class's name.
fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty name".to_string());
    }
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("{text:?}, should start with letter"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
        return Err(format!("invalid character '{bad}' in name {text:?}"));
    }
    if !text.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("{text:?}, should end with a letter or digit"));
    }
    Ok(())
}

fn check_device(name: &str, edits: &Edits) -> Result<(), String> {
    if name.is_empty() {
        return Err("invalid (empty) device name".to_string());
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("invalid class {name:?}, should start with a letter or digit"));
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c)) {
        return Err(format!("invalid character '{bad}' in device name {name:?}"));
    }
    if !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("invalid name {name:?}, should end with a letter or digit"));
    }
    if *edits == Edits::default() {
        return Err("invalid device, empty device edits".to_string());
    }
    edits.check().map_err(|why| format!("invalid device {name:?}: {why}"))
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        let bad_env = |list: &[String]| {
            let nameless = |entry: &&String| entry.split_once('=').is_none_or(|(name, _)| name.is_empty());
            list.iter().find(nameless).map(|entry| format!("invalid environment variable {entry:?}"))
        };
        if let Some(why) = bad_env(&self.env) {
            return Err(format!("invalid container edits: {why}"));
        }
        for node in &self.device_nodes {
            let path = &node.path;
            if path.is_empty() {
                return Err("invalid (empty) device path".to_string());
            }
            if !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
                return Err(format!("device {path:?}: invalid type {:?}", node.kind));
            }
            if node.permissions.chars().any(|c| !"rwm".contains(c)) {
                return Err(format!("device {path:?}: invalid permissions {:?}", node.permissions));
            }
        }
        for hook in &self.hooks {
            let known =
                ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
            if !known.contains(&hook.hook_name.as_str()) {
                return Err(format!("invalid hook name {:?}", hook.hook_name));
            }
            if hook.path.is_empty() {
                return Err(format!("invalid hook {:?} with empty path", hook.hook_name));
            }
            if let Some(why) = bad_env(&hook.env) {
                return Err(format!("invalid hook {:?}: {why}", hook.hook_name));
            }
        }
        for mount in &self.mounts {
            for (path, what) in [(&mount.host_path, "host"), (&mount.container_path, "container")] {
                if path.is_empty() {
                    return Err(format!("invalid mount, empty {what} path"));
                }
            }
        }
        let bad = |id: &str| id.len() >= MAX_CLOS_ID || matches!(id, "." | "..") || id.contains(['/', '\n']);
        match &self.intel_rdt {
            Some(rdt) if bad(&rdt.clos_id) => Err("invalid ClosID".to_string()),
            _ => Ok(()),
        }
    }

    /// Another's come after its own.
    pub(crate) fn append(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.device_nodes.extend_from_slice(&other.device_nodes);
        self.hooks.extend_from_slice(&other.hooks);
        self.mounts.extend_from_slice(&other.mounts);
        self.intel_rdt = other.intel_rdt.clone().or(self.intel_rdt.take());
        let held: BTreeSet<u32> = self.additional_gids.iter().copied().collect();
        self.additional_gids.extend(other.additional_gids.iter().filter(|gid| !held.contains(gid)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one device `x` and these edits.
    fn with(version: &str, kind: &str, edits: &str) -> String {
        format!(
            r#"{{"cdiVersion":"{version}","kind":"{kind}","devices":[{{"name":"x","containerEdits":{edits}}}]}}"#
        )
    }

    #[test]
    fn a_file_is_read() {
        let text = with("0.7.0", "v.com/c", r#"{"env":["A=1"],"additionalGids":[7],"mounts":null}"#);
        let read = check(text.as_bytes(), Form::Json).unwrap();
        assert_eq!(read.kind, "v.com/c");
        assert_eq!((read.devices["x"].env.len(), &read.devices["x"].additional_gids[..]), (1, &[7][..]));
    }

    /// Each text is dockerd 28.5.2's, as `docker info` shows it.
    #[test]
    fn what_does_not_count_is_told_as_docker_tells_it() {
        let env = r#"{"env":["A=1"]}"#;
        let v7 = |edits: &str| with("0.7.0", "v.com/c", edits);
        let in_device = |why: &str| format!("failed add device \"x\": invalid device \"x\": {why}");
        let cases = [
            (with("9.0.0", "v.com/c", env), "invalid version \"9.0.0\"".to_string()),
            (with("0.2.0", "v.com/c", env), "the spec version must be at least v0.3.0".to_string()),
            (with("0.5.0", "v.com/c.d", env), "the spec version must be at least v0.6.0".to_string()),
            (
                with("0.6.0", "v.com/c", r#"{"additionalGids":[1]}"#),
                "the spec version must be at least v0.7.0".to_string(),
            ),
            (
                with("0.4.0", "v.com/c", r#"{"deviceNodes":[{"path":"/dev/a","hostPath":"/dev/b"}]}"#),
                "the spec version must be at least v0.5.0".to_string(),
            ),
            (
                with(
                    "0.3.0",
                    "v.com/c",
                    r#"{"mounts":[{"hostPath":"/a","containerPath":"/a","type":"bind"}]}"#,
                ),
                "the spec version must be at least v0.4.0".to_string(),
            ),
            (with("0.7.0", "b4com", env), "invalid vendor. empty name".to_string()),
            (
                with("0.7.0", "-b.com/c", env),
                "invalid vendor. \"-b.com\", should start with letter".to_string(),
            ),
            (with("0.7.0", "b.com/0c", env), "invalid class. \"0c\", should start with letter".to_string()),
            (
                with("0.7.0", "b.com/c d", env),
                "invalid class. invalid character ' ' in name \"c d\"".to_string(),
            ),
            (v7("{}"), "failed add device \"x\": invalid device, empty device edits".to_string()),
            (
                v7(r#"{"env":["A"]}"#),
                in_device("invalid container edits: invalid environment variable \"A\""),
            ),
            (v7(r#"{"deviceNodes":[{"path":""}]}"#), in_device("invalid (empty) device path")),
            (
                v7(r#"{"deviceNodes":[{"path":"/dev/x","type":"q"}]}"#),
                in_device("device \"/dev/x\": invalid type \"q\""),
            ),
            (
                v7(r#"{"deviceNodes":[{"path":"/dev/x","permissions":"q"}]}"#),
                in_device("device \"/dev/x\": invalid permissions \"q\""),
            ),
            (v7(r#"{"mounts":[{"hostPath":"/x"}]}"#), in_device("invalid mount, empty container path")),
            (v7(r#"{"hooks":[{"hookName":"q","path":"/x"}]}"#), in_device("invalid hook name \"q\"")),
            (
                v7(r#"{"hooks":[{"hookName":"prestart"}]}"#),
                in_device("invalid hook \"prestart\" with empty path"),
            ),
            (v7(r#"{"intelRdt":{"closID":".."}}"#), in_device("invalid ClosID")),
            (
                r#"{"cdiVersion":"0.7.0","kind":"b1.com/dev"}"#.to_string(),
                "invalid spec, no devices".to_string(),
            ),
            (
                v7(env).replace("}]}", "},{\"name\":\"x\",\"containerEdits\":{\"env\":[\"A=1\"]}}]}"),
                "invalid spec, multiple device \"x\"".to_string(),
            ),
            (
                v7(env).replace("\"x\"", "\"x-\""),
                "failed add device \"x-\": invalid name \"x-\", should end with a letter or digit"
                    .to_string(),
            ),
            (
                v7(env).replace("\"x\"", "\"x y\""),
                "failed add device \"x y\": invalid character ' ' in device name \"x y\"".to_string(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(
                check(text.as_bytes(), Form::Json).unwrap_err(),
                format!("invalid CDI Spec: {expected}"),
                "{text}"
            );
        }
        let unknown = check(v7(r#"{"junk":1}"#).as_bytes(), Form::Json).unwrap_err();
        assert!(unknown.contains("unknown field `junk`"), "{unknown}");
    }

    #[test]
    fn yaml_says_the_same_and_has_limits() {
        let yaml = "# Nodes of a card\ncdiVersion: 0.6.0\nkind: v.com/c\ncontainerEdits: {env: [ALL=1]}\ndevices:\n  - name: \"0\"\n    containerEdits:\n      deviceNodes:\n        - {path: /dev/x, type: c, major: 1, minor: 3, fileMode: 0660, uid: 7}\n";
        let json = r#"{"cdiVersion":"0.6.0","kind":"v.com/c","containerEdits":{"env":["ALL=1"]},"devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/x","type":"c","major":1,"minor":3,"fileMode":432,"uid":7}]}}]}"#;
        assert_eq!(check(yaml.as_bytes(), Form::Yaml), check(json.as_bytes(), Form::Json));
        // JSON is YAML.
        assert_eq!(check(json.as_bytes(), Form::Yaml), check(json.as_bytes(), Form::Json));
        let deep = format!("kind: {}", "[".repeat(10_000));
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
        for n in 1..12 {
            let before = vec![format!("*a{}", n - 1); 10].join(", ");
            laughs.push_str(&format!("a{n}: &a{n} [{before}]\n"));
        }
        laughs.push_str("kind: v.com/c\n");
        for bad in [deep.as_str(), &laughs, "kind: [", "junk: 1", "a: b\n---\nc: d", "kind: \t\0"] {
            let error = check(bad.as_bytes(), Form::Yaml).unwrap_err();
            assert!(error.starts_with("failed to unmarshal CDI Spec: ") && !error.contains('\n'), "{error}");
        }
        assert!(check(b"\xff", Form::Yaml).is_err());
    }
}
