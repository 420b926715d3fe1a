//! Devices on the command line: `--device`, `--gpus`, `--device-cgroup-rule` and the block devices' limits.

use std::collections::BTreeMap;

use api::host_config::{DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};

use crate::grammar::{csv, numbers};

/// What `--device` says.
#[derive(Debug, Default, PartialEq)]
pub struct Devices {
    /// Device nodes of the host.
    pub nodes: Vec<DeviceMapping>,
    /// Names of the Container Device Interface: `vendor/class=name`.
    pub qualified: Vec<String>,
}

/// Sorts the values of `--device`.
pub fn devices(given: &[String]) -> Result<Devices, String> {
    let mut out = Devices::default();
    for value in given {
        match is_qualified(value) {
            true => out.qualified.push(value.clone()),
            false => out.nodes.push(node(value)?),
        }
    }
    Ok(out)
}

/// `host[:container][:mode]`
fn node(value: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = value.split(':').collect();
    let mapping = |host: &str, container: &str, mode: &str| DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: container.to_owned(),
        cgroup_permissions: mode.to_owned(),
    };
    const ALL: &str = "rwm";
    let (inside, mapping) = match parts[..] {
        ["", ..] => return Err(format!("bad format for path: {value}")),
        [path] => (path, mapping(&clean(path), &clean(path), ALL)),
        [path, mode] if is_mode(mode) => (path, mapping(&clean(path), &clean(path), mode)),
        [host, path] => (path, mapping(host, &clean(path), ALL)),
        [_, _, mode] if !is_mode(mode) => return Err(format!("bad mode specified: {mode}")),
        // Docker's client takes a mode in the second place for one, even when there is a third.
        [host, path, _] if is_mode(path) => (path, mapping(host, host, path)),
        [host, path, mode] => (path, mapping(host, if path.is_empty() { host } else { path }, mode)),
        _ => return Err(format!("bad format for path: {value}")),
    };
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(mapping)
}

/// Letters of `rwm`, each at most once.
fn is_mode(text: &str) -> bool {
    let once = |c| text.chars().filter(|t| *t == c).count() == 1;
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c) && once(c))
}

/// Go's `path.Clean` of a path that is not empty.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if out.last().is_some_and(|last| *last != "..") => {
                out.pop();
            }
            ".." if rooted => {}
            part => out.push(part),
        }
    }
    match (rooted, out.is_empty()) {
        (true, _) => format!("/{}", out.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => out.join("/"),
    }
}

/// The names of the Container Device Interface's specification.
fn is_qualified(value: &str) -> bool {
    let Some(((vendor, class), name)) =
        value.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name)))
    else {
        return false;
    };
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let made_of = |text: &str, marks: &str| {
        edge(text.chars().next())
            && edge(text.chars().last())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
    };
    let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
    starts(vendor)
        && starts(class)
        && made_of(vendor, "_-.")
        && made_of(class, "_-.")
        && made_of(name, "_-.:")
}

/// `--gpus`: `all`, a number, or `device=…,driver=…,capabilities=…,options=…`.
pub fn gpus(value: &str) -> Result<DeviceRequest, String> {
    let mut out = DeviceRequest {
        capabilities: Some(vec![Some(vec!["gpu".to_owned()])]),
        options: Some(BTreeMap::new()),
        ..DeviceRequest::default()
    };
    let mut seen: Vec<String> = Vec::new();
    for field in csv::fields(value)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        if seen.iter().any(|s| s == key) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_owned());
        let Some(value) = value else {
            seen.push("count".to_owned());
            out.count = count(key)?;
            continue;
        };
        let words = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match key {
            "driver" => value.clone_into(&mut out.driver),
            "count" => out.count = count(value)?,
            "device" => out.device_ids = Some(words()),
            "capabilities" => {
                let mut words = words();
                words.push("gpu".to_owned());
                out.capabilities = Some(vec![Some(words)]);
            }
            "options" => {
                let fields = csv::fields(value).map_err(|e| format!("failed to read gpu options: {e}"))?;
                out.options = Some(super::pairs(&fields, '='));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !seen.iter().any(|s| s == "count") && out.device_ids.is_none() {
        out.count = 1;
    }
    Ok(out)
}

fn count(text: &str) -> Result<isize, String> {
    if text == "all" {
        return Ok(-1);
    }
    let reason = |e| format!("invalid count ({text}): value must be either \"all\" or an integer: {e}");
    numbers::parse_decimal(text).map_err(reason)
}

/// `--device-cgroup-rule`: `type major:minor mode`.
pub fn cgroup_rule(value: &str) -> Result<(), String> {
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = value.split(' ').collect();
    let valid = match parts[..] {
        [kind, numbers, mode] => {
            matches!(kind, "a" | "c" | "b")
                && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&mode.len())
                && mode.bytes().all(|b| b"rwm".contains(&b))
        }
        _ => false,
    };
    if valid { Ok(()) } else { Err(format!("invalid device cgroup format '{value}'")) }
}

/// `--blkio-weight-device`: `path:weight`.
pub fn weight(value: &str) -> Result<WeightDevice, String> {
    let (path, weight) = block_device(value)?;
    let invalid = || format!("invalid weight for device: {value}");
    let weight = numbers::parse_digits(weight).and_then(|w| u16::try_from(w).ok()).ok_or_else(invalid)?;
    if weight != 0 && !(10..=1000).contains(&weight) {
        return Err(invalid());
    }
    Ok(WeightDevice { path, weight })
}

/// `--device-read-bps`, `--device-write-bps`: `path:rate`, the rate with a unit.
pub fn bytes_per_second(value: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = block_device(value)?;
    match numbers::parse_bytes(rate).ok().and_then(|rate| u64::try_from(rate).ok()) {
        Some(rate) => Ok(ThrottleDevice { path, rate }),
        None => Err(format!(
            "invalid rate for device: {value}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )),
    }
}

/// `--device-read-iops`, `--device-write-iops`: `path:rate`.
pub fn operations_per_second(value: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = block_device(value)?;
    match numbers::parse_digits(rate) {
        Some(rate) => Ok(ThrottleDevice { path, rate }),
        None => Err(format!(
            "invalid rate for device: {value}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )),
    }
}

fn block_device(value: &str) -> Result<(String, &str), String> {
    let (path, rest) = value
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {value}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {value}"));
    }
    Ok((path.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        for (text, want) in [
            ("/dev/fuse", "/dev/fuse /dev/fuse rwm"),
            ("/dev/../a", "/a /a rwm"),
            ("/dev/a:r", "/dev/a /dev/a r"),
            ("/dev/a:/dev/./b", "/dev/a /dev/b rwm"),
            ("/dev/a:/b:rw", "/dev/a /b rw"),
            ("a", "! a is not an absolute path"),
            ("", "! bad format for path: "),
            ("/dev/a:", "!  is not an absolute path"),
            ("/dev/a:/b:rrw", "! bad mode specified: rrw"),
            ("/dev/a:/b:r:w", "! bad format for path: /dev/a:/b:r:w"),
        ] {
            let got = match node(text) {
                Ok(d) => format!("{} {} {}", d.path_on_host, d.path_in_container, d.cgroup_permissions),
                Err(e) => format!("! {e}"),
            };
            assert_eq!(got, want, "{text}");
        }
        for (text, want) in [
            ("vendor.com/class=name", true),
            ("nvidia.com/gpu=all", true),
            ("v/c=0:1", true),
            ("1v/c=d", false),
            ("/dev/a=b", false),
            ("v/c=", false),
            ("v/c", false),
        ] {
            assert_eq!(is_qualified(text), want, "{text}");
        }
    }

    #[test]
    fn rules() {
        for (text, want) in [
            ("c 1:3 rwm", true),
            ("a *:* r", true),
            ("b 8:* mw", true),
            ("x 1:3 r", false),
            ("c 1 r", false),
            ("c 1:3 x", false),
            ("c 1:3 rwmr", false),
            ("c  1:3 r", false),
        ] {
            assert_eq!(cgroup_rule(text).is_ok(), want, "{text}");
        }
    }
}
