//! What values of settings are taken: dockerd's checks in its order and with its texts, then ours. Pure.

use super::keys::{Key, Kind, keys};
use super::{Settings, values};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Features that dockerd has, and what they may be here.
const FEATURES: [(&str, Option<bool>, &str); 6] = [
    ("cdi", None, ""),
    ("containerd-snapshotter", Some(true), "the image store is always of that kind"),
    ("buildkit", Some(true), "there is no other builder"),
    ("containerd-migration", Some(false), "there are no images of graph drivers"),
    ("embedded-containerd", Some(false), "there is no containerd"),
    ("time-namespaces", Some(false), "containers have the host's clock"),
];

/// dockerd's checks of the whole.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    if let Some(level) = settings.text("log-level")
        && !matches!(
            level.to_lowercase().as_str(),
            "panic" | "fatal" | "error" | "warn" | "info" | "debug" | "trace"
        )
    {
        return Err(format!("invalid logging level: {level}"));
    }
    if let Some(format) = settings.text("log-format")
        && !matches!(format, "text" | "json")
    {
        return Err(format!("invalid log format: {format}"));
    }
    for name in ["dns-search", "labels", "hosts", "registry-mirrors"] {
        settings.list(name).try_for_each(|text| element(name, text))?;
        if name == "dns-search" {
            host_gateways(settings)?;
        }
    }
    for (name, what) in [
        ("mtu", "default MTU"),
        ("max-concurrent-downloads", "max concurrent downloads"),
        ("max-concurrent-uploads", "max concurrent uploads"),
        ("max-download-attempts", "max download attempts"),
    ] {
        if let Some(number) = settings.number(name).filter(|n| *n < 0) {
            return Err(format!("invalid {what}: {number}"));
        }
    }
    settings.list("exec-opts").try_for_each(exec_option)?;
    match settings.text("default-ipc-mode") {
        None | Some("private" | "shareable") => {}
        Some(mode @ ("none" | "host")) => {
            return Err(format!(
                "IPC mode \"{mode}\" is not supported as default value; use \"shareable\" or \"private\""
            ));
        }
        Some(mode) => {
            return Err(format!(
                "default IPC mode setting ({mode}) is invalid; use \"shareable\" or \"private\""
            ));
        }
    }
    match settings.text("default-cgroupns-mode") {
        None | Some("private" | "host") => {}
        Some(mode) => {
            return Err(format!("invalid default cgroup namespace ({mode}): use \"host\" or \"private\""));
        }
    }
    labels(settings)?;
    refused(settings)
}

/// The check of one element of a list, which dockerd does for a flag at once.
pub(super) fn element(name: &str, text: &str) -> Result<(), String> {
    match name {
        "dns-search" => domain(text),
        "labels" if !text.contains('=') => Err(format!("bad attribute format: {text}")),
        "hosts" => bind_address(text),
        "registry-mirrors" => mirror(text),
        _ => Ok(()),
    }
}

fn domain(text: &str) -> Result<(), String> {
    let trimmed = text.trim();
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(label.chars().next())
            && edge(label.chars().last())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let plain = trimmed.strip_suffix('.').unwrap_or(trimmed);
    if trimmed == "." || (plain.split('.').all(label) && plain.contains(|c: char| c.is_ascii_alphabetic())) {
        return Ok(());
    }
    Err(format!("{text} is not a valid domain"))
}

fn bind_address(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some(("unix" | "tcp" | "fd", _)) | None => Ok(()),
        Some((proto, _)) => Err(format!("invalid bind address ({text}): unsupported proto '{proto}'")),
    }
}

fn mirror(text: &str) -> Result<(), String> {
    let failed = |why: String| Err(format!("invalid mirror: {why}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        return failed(format!(
            "no scheme specified for mirror {text:?}: must use either 'https://' or 'http://'"
        ));
    };
    if !matches!(scheme, "http" | "https") {
        return failed(format!(
            "unsupported scheme {scheme:?} in {text:?}: must use either 'https://' or 'http://'"
        ));
    }
    if rest.contains(['?', '#']) {
        return failed(format!("query or fragment at end of the URI {text:?}"));
    }
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return failed(format!("username/password not allowed in URI {text:?}"));
    }
    Ok(())
}

fn host_gateways(settings: &Settings) -> Result<(), String> {
    let all: Vec<IpAddr> = settings.addresses("host-gateway-ips");
    for (is_v4, word) in [(true, "IPv4"), (false, "IPv6")] {
        if all.iter().filter(|a| a.is_ipv4() == is_v4).count() > 1 {
            return Err(format!("only one {word} host gateway IP address can be specified"));
        }
    }
    Ok(())
}

fn exec_option(text: &str) -> Result<(), String> {
    let invalid = |why: String| Err(format!("invalid exec-opt ({text}): {why}"));
    let (name, value) = text.split_once('=').unwrap_or_default();
    match (name.trim().to_lowercase().as_str(), value.trim()) {
        ("", _) | (_, "") => invalid("must be formatted 'opt=value'".into()),
        ("native.cgroupdriver", "cgroupfs") => Ok(()),
        ("native.cgroupdriver", "systemd") => {
            Err("the option native.cgroupdriver=systemd is not supported yet".into())
        }
        ("native.cgroupdriver", other) => Err(format!("option native.cgroupdriver={other} not supported")),
        ("isolation", _) => invalid("option 'isolation' is only supported on windows".into()),
        (name, _) => invalid(format!("unknown option: '{name}'")),
    }
}

fn labels(settings: &Settings) -> Result<(), String> {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for label in settings.list("labels") {
        let Some((name, value)) = label.split_once('=') else { continue };
        match known.insert(name, value) {
            Some(before) if before != value => {
                return Err(format!("conflict labels for {name}={value} and {name}={before}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What this engine cannot do is refused by its name.
fn refused(settings: &Settings) -> Result<(), String> {
    for key in keys().iter().filter(|key| !key.why_not.is_empty()) {
        if settings.value(key.name).is_some_and(|value| !is_default(key, value)) {
            return Err(format!("the option {} is not supported: {}", key.name, key.why_not));
        }
    }
    if let Some(runtime) = settings.text("default-runtime").filter(|name| *name != "runc") {
        return Err(format!("specified default runtime '{runtime}' does not exist"));
    }
    if let Some(driver) = settings.text("storage-driver")
        && !matches!(driver, "overlay2" | "overlayfs")
    {
        return Err(format!("the storage driver {driver} is not supported: overlayfs is the only one"));
    }
    if settings.switch("live-restore") == Some(false) {
        return Err("live-restore=false is not supported: containers go on when the daemon ends".into());
    }
    for (name, on) in settings.switches("features") {
        let known = FEATURES.iter().find(|(known, _, _)| *known == name);
        match known {
            Some((_, None, _)) => {}
            Some((_, Some(only), _)) if *only == on => {}
            Some((_, _, why)) => return Err(format!("the feature {name}={on} is not supported: {why}")),
            None if on => return Err(format!("the feature {name} is not supported: nothing is known of it")),
            None => {}
        }
    }
    networks(settings)?;
    ulimits(settings)?;
    crate::tasks::check_log(&settings.log()).map_err(|e| e.message)
}

fn networks(settings: &Settings) -> Result<(), String> {
    let subnet = |name: &str| match settings.text(name) {
        None => Ok(None),
        Some(text) => text
            .split_once('/')
            .and_then(|(a, p)| Some((a.parse::<std::net::Ipv4Addr>().ok()?, p.parse().ok()?)))
            .and_then(|(address, prefix)| {
                net::Subnet::containing(address, prefix).map(|s| Some((address, s)))
            })
            .ok_or_else(|| format!("invalid {name}: {text} is not an IPv4 address with its prefix")),
    };
    let (bridge, range) = (subnet("bip")?, subnet("fixed-cidr")?);
    if let (Some((_, bridge)), Some((start, range))) = (bridge, range)
        && !(bridge.contains(start) && bridge.prefix() <= range.prefix())
    {
        return Err(format!("invalid fixed-cidr: {range} is not within {bridge}, the subnet of bip"));
    }
    if let Some((own, bridge)) = bridge
        && bridge.prefix() < 31
        && (own == bridge.base() || own == bridge.last())
    {
        return Err(format!("invalid bip: {own} is not the address of a host in {bridge}"));
    }
    for (base, size) in settings.pools() {
        let prefix = base.rsplit_once('/').and_then(|(_, p)| p.parse::<i64>().ok()).unwrap_or_default();
        if base.contains(':') {
            return Err(format!("invalid default-address-pools: {base} is not IPv4"));
        }
        if size < prefix || size > 30 {
            return Err(format!(
                "invalid default-address-pools: networks of size {size} are no parts of {base}"
            ));
        }
    }
    match settings.maps("default-network-opts").find(|(driver, _)| *driver != "bridge") {
        Some((driver, _)) => {
            Err(format!("invalid default-network-opts: there is no network driver {driver:?}"))
        }
        None => Ok(()),
    }
}

fn ulimits(settings: &Settings) -> Result<(), String> {
    const NAMES: &str =
        "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack";
    for limit in settings.ulimits() {
        if !NAMES.split(' ').any(|name| name == limit.name) {
            return Err(format!("invalid default-ulimits: invalid ulimit type: {}", limit.name));
        }
        if limit.hard != -1 && (limit.soft > limit.hard || limit.soft == -1) {
            return Err(format!(
                "invalid default-ulimits: ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            ));
        }
    }
    Ok(())
}

fn is_default(key: &Key, value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        other => {
            let text = values::shown(other);
            text == key.default || (key.kind == Kind::Text && text.is_empty())
        }
    }
}
