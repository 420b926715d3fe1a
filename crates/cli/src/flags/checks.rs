//! Checks of single flag values that Docker's CLI makes while it parses.
//!
//! What is read for the request anyway is read here too, and the result dropped.

use crate::create::{addresses, devices, limits, mounts, networks};
use crate::grammar;

/// `-e`: a name must not be empty; a name without a value is looked up later.
pub fn env(value: &str) -> Result<(), String> {
    if value.is_empty() || value.starts_with('=') {
        return Err(format!("invalid environment variable: {value}"));
    }
    Ok(())
}

/// `--label`: the key must not be empty nor contain blanks.
pub fn label(value: &str) -> Result<(), String> {
    let key = value.split('=').next().unwrap_or("").trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{value}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

/// `-a`: the name of a stream, in any case.
pub fn attach(value: &str) -> Result<(), String> {
    match value.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// `--explain`: how the story is told.
pub fn explain(value: &str) -> Result<(), String> {
    match value {
        "tree" | "json" => Ok(()),
        _ => Err("must be tree or json".to_owned()),
    }
}

/// `--add-host`
pub fn extra_host(value: &str) -> Result<(), String> {
    addresses::extra_host(value).map(drop)
}

/// `--dns`
pub fn dns(value: &str) -> Result<(), String> {
    addresses::dns(value).map(drop)
}

/// `--dns-search`
pub fn dns_search(value: &str) -> Result<(), String> {
    addresses::dns_search(value).map(drop)
}

/// `--link`
pub fn link(value: &str) -> Result<(), String> {
    addresses::link(value)
}

/// `--blkio-weight-device`
pub fn weight_device(value: &str) -> Result<(), String> {
    devices::weight(value).map(drop)
}

/// `--device-read-bps`, `--device-write-bps`
pub fn bytes_per_second(value: &str) -> Result<(), String> {
    devices::bytes_per_second(value).map(drop)
}

/// `--device-read-iops`, `--device-write-iops`
pub fn operations_per_second(value: &str) -> Result<(), String> {
    devices::operations_per_second(value).map(drop)
}

/// `--device-cgroup-rule`
pub fn device_cgroup_rule(value: &str) -> Result<(), String> {
    devices::cgroup_rule(value)
}

/// `--gpus`
pub fn gpus(value: &str) -> Result<(), String> {
    devices::gpus(value).map(drop)
}

/// `--mount`
pub fn mount(value: &str) -> Result<(), String> {
    mounts::is_mount(value)
}

/// `--network`
pub fn network(value: &str) -> Result<(), String> {
    networks::is_network(value)
}

/// `--sysctl`
pub fn sysctl(value: &str) -> Result<(), String> {
    limits::sysctl(value)
}

/// `--ulimit`
pub fn ulimit(value: &str) -> Result<(), String> {
    limits::ulimit(value).map(drop)
}

/// A duration of Go.
pub fn duration(value: &str) -> Result<(), String> {
    grammar::duration::parse(value).map(drop)
}
