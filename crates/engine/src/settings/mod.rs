//! The settings of an installation: dockerd's `daemon.json` and its flags, in one checked form.
//!
//! [`merge`] is pure: the file's bytes and what flags say in, [`Settings`] or one clear line out. [`load`] reads the
//! file. Every process of an installation reads the same file, the daemon or none; a setting is looked up where it is
//! used, by its name in the file. What is not supported is refused here, so that nothing starts with a setting that
//! means nothing.

mod apply;
mod check;
mod event;
mod keys;
mod values;

pub use keys::{Key, Kind, key, keys};
pub use values::from_flag;

use crate::config::{LogConfig, Ulimit};
use crate::error::{Error, Result, chain};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where the file lies.
pub const FILE: &str = "/etc/tare/daemon.json";
/// A larger file is no configuration.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The old name of `host-gateway-ips`, which were one.
const OLD_GATEWAY: &str = "host-gateway-ip";
const BOTH: &str = "the following directives are specified both as a flag and in the configuration file";

/// What flags say: a value for a name of [`keys()`].
pub type Given = BTreeMap<&'static str, Value>;

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// A file that was asked for by name, and so must be there; else [`FILE`], if it is there.
    pub file: Option<PathBuf>,
    /// What flags say.
    pub given: Given,
}

/// Settings that have passed all checks; what is not there was not said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    seccomp: Option<String>,
}

/// Reads the file and what it names.
pub fn load(source: &Source) -> Result<Settings> {
    let path = source.file.as_deref().unwrap_or(Path::new(FILE));
    let text = match read(path) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && source.file.is_none() => None,
        Err(e) => return Err(wrapped(path, &format!("open {}: {}", path.display(), chain(&e)))),
    };
    let mut settings = merge(text.as_deref(), path, &source.given)?;
    if let Some(profile) =
        settings.text("seccomp-profile").filter(|p| !matches!(*p, "builtin" | "unconfined"))
    {
        let failed =
            |why: String| Error::invalid(format!("opening seccomp profile ({profile}) failed: {why}"));
        let bytes = read(Path::new(profile)).map_err(|e| failed(format!("open {profile}: {}", chain(&e))))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_string()))?;
        let arch = oci::Platform::host().architecture;
        let facts =
            crate::spec::seccomp::Facts { capabilities: &[], arch: &arch, kernel: crate::machine::kernel() };
        crate::spec::seccomp::for_container(&text, facts).map_err(|e| failed(e.message))?;
        settings.seccomp = Some(text);
    }
    Ok(settings)
}

/// Settings from the file's bytes (`None` = there is no file) and from flags.
pub fn merge(file: Option<&[u8]>, path: &Path, given: &Given) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(bytes) = file {
        settings.values = from_bytes(bytes, given).map_err(|why| wrapped(path, &why))?;
    }
    for (name, value) in given {
        let both = match (settings.values.get(name), value) {
            // Runtimes of both are taken.
            (Some(Value::Object(file)), Value::Object(flags)) => {
                file.iter().chain(flags).map(|(k, v)| (k.clone(), v.clone())).collect::<Map<_, _>>().into()
            }
            _ => value.clone(),
        };
        settings.values.insert(name, both);
    }
    check::check(&settings).map_err(|why| match file {
        Some(_) => {
            let context = "merged configuration validation from file and command line flags failed";
            wrapped(path, &format!("{context}: {why}"))
        }
        None => Error::invalid(why),
    })?;
    Ok(settings)
}

fn wrapped(path: &Path, why: &str) -> Error {
    Error::invalid(format!("unable to configure the Docker daemon with file {}: {why}", path.display()))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(std::io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

fn from_bytes(bytes: &[u8], given: &Given) -> std::result::Result<BTreeMap<&'static str, Value>, String> {
    let text =
        std::str::from_utf8(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)).map_err(|e| {
            format!(
                "failed to decode configuration JSON at offset {}: encoding: invalid UTF-8",
                e.valid_up_to()
            )
        })?;
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let invalid = |why: String| format!("invalid JSON: {why}");
    let parsed: Value = serde_json::from_str(text).map_err(|e| match e.is_eof() {
        true => invalid("unexpected end of JSON input".to_string()),
        false => invalid(e.to_string()),
    })?;
    let Value::Object(map) = parsed else {
        let kind = if parsed.is_array() { "array" } else { "value" };
        return Err(invalid(format!(
            "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )));
    };
    let flat = flatten(&map)?;
    conflicts(&flat, given)?;
    let mut all = BTreeMap::new();
    if let (Some(old), Some(list)) = (map.get(OLD_GATEWAY), key("host-gateway-ips")) {
        if map.contains_key(list.name) {
            return Err(format!(
                "{OLD_GATEWAY} and {} must not both be specified in the config file",
                list.name
            ));
        }
        if let Some(flag) = given.get(list.name) {
            let (flag, file) = (values::shown(flag), values::shown(old));
            return Err(format!("{BOTH}: {OLD_GATEWAY}: (from flag: {flag}, from file: {file})"));
        }
        let old = match old.as_str() {
            Some("") => Value::Null,
            _ => Value::Array(vec![old.clone()]),
        };
        if let Some(value) = values::from_file(list, &old).map_err(invalid)? {
            all.insert(list.name, value);
        }
    }
    for (key, value) in flat {
        if let Some(value) = values::from_file(key, value).map_err(invalid)? {
            all.insert(key.name, value);
        }
    }
    Ok(all)
}

/// The file's keys; `proxies` holds three of them, `host-gateway-ip` is the old name of a list.
fn flatten(map: &Map<String, Value>) -> std::result::Result<Vec<(&'static Key, &Value)>, String> {
    let (mut flat, mut unknown) = (Vec::new(), Vec::new());
    for (name, value) in map {
        match (key(name), value) {
            (Some(key), value) => flat.push((key, value)),
            (None, _) if name == OLD_GATEWAY => {}
            (None, Value::Object(inner)) if name == "proxies" => {
                for (name, value) in inner {
                    match key(name).filter(|key| key.name.ends_with("-proxy")) {
                        Some(key) => flat.push((key, value)),
                        None => unknown.push(name.clone()),
                    }
                }
            }
            // dockerd's own way to say it: the names inside, as if they stood outside.
            (None, Value::Object(inner)) if name != "builder" => {
                unknown.extend(inner.keys().cloned());
            }
            (None, Value::Object(inner)) if inner.is_empty() => {}
            _ => unknown.push(name.clone()),
        }
    }
    if let Some(at) = unknown.iter().position(|name| name == "builder") {
        unknown.swap_remove(at);
        return Err("the option builder is not supported: this version builds no images".to_string());
    }
    if unknown.is_empty() {
        return Ok(flat);
    }
    let unknown = unknown.join(", ");
    Err(format!("the following directives don't match any configuration option: {unknown}"))
}

fn conflicts(flat: &[(&'static Key, &Value)], given: &Given) -> std::result::Result<(), String> {
    let both = flat.iter().filter(|(key, _)| key.name != "runtimes" && given.contains_key(key.name));
    let both: Vec<String> = both
        .map(|(key, value)| {
            let (flag, file) = (values::shown(&given[key.name]), values::shown(value));
            format!("{}: (from flag: {flag}, from file: {file})", key.name)
        })
        .collect();
    if both.is_empty() {
        return Ok(());
    }
    Err(format!("{BOTH}: {}", both.join(", ")))
}

impl Settings {
    /// These, with the values of others where they may change while containers run. As dockerd: what is not said any
    /// more stays as it was, but for numbers and features.
    pub(crate) fn with_reloaded(&self, others: &Settings) -> Settings {
        let mut settings = self.clone();
        for key in keys().iter().filter(|key| key.reloads) {
            match others.values.get(key.name) {
                Some(value) => drop(settings.values.insert(key.name, value.clone())),
                None if key.name.starts_with("max-") || key.name == "features" => {
                    settings.values.remove(key.name);
                }
                None => {}
            }
        }
        settings
    }

    /// A value as it was said.
    pub fn value(&self, name: &str) -> Option<&Value> {
        debug_assert!(key(name).is_some(), "{name} is no setting");
        self.values.get(name)
    }

    /// A switch, if something was said of it.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.value(name)?.as_bool()
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_i64()
    }

    /// A text; an empty one is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A list of texts.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.value(name).into_iter().flat_map(values::texts)
    }

    /// A list of addresses.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.list(name).filter_map(|text| text.parse().ok()).collect()
    }

    /// Names with texts.
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        self.value(name).map(strings).unwrap_or_default()
    }

    /// Names with switches.
    pub fn switches(&self, name: &str) -> impl Iterator<Item = (&str, bool)> {
        let map = self.value(name).and_then(Value::as_object).into_iter().flatten();
        map.filter_map(|(name, on)| Some((name.as_str(), on.as_bool()?)))
    }

    /// Names with maps.
    pub fn maps(&self, name: &str) -> impl Iterator<Item = (&str, BTreeMap<String, String>)> {
        let map = self.value(name).and_then(Value::as_object).into_iter().flatten();
        map.map(|(name, inner)| (name.as_str(), strings(inner)))
    }

    /// What is set, for `info` and the event of a reload: each name with its value.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    /// `default-address-pools`: a subnet's text and the length of its parts' prefix.
    pub fn pools(&self) -> Vec<(String, i64)> {
        let list = self.value("default-address-pools").and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|p| Some((p.get("base")?.as_str()?.to_string(), p.get("size")?.as_i64()?))).collect()
    }

    /// `default-ulimits`.
    pub fn ulimits(&self) -> Vec<Ulimit> {
        let map = self.value("default-ulimits").and_then(Value::as_object).into_iter().flatten();
        map.map(|(name, limits)| Ulimit {
            name: name.clone(),
            soft: limits["soft"].as_i64().unwrap_or_default(),
            hard: limits["hard"].as_i64().unwrap_or_default(),
        })
        .collect()
    }

    /// `log-driver` and `log-opts`.
    pub fn log(&self) -> LogConfig {
        let driver = self.text("log-driver").unwrap_or("json-file").to_string();
        LogConfig { driver, options: self.map("log-opts") }
    }

    /// The profile that `seccomp-profile` names, when it is a file.
    pub fn seccomp(&self) -> Option<&str> {
        self.seccomp.as_deref()
    }
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_string()))).collect()
}

#[cfg(test)]
mod tests;
