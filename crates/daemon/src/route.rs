//! Which endpoint a method and a path mean.
//!
//! The table below is the whole API of dockerd 28.5. A `*` stands for any text, slashes included: names of images
//! contain them (`/images/registry.local/team/app:1/json`), which is why a router that works segment by segment,
//! as axum's does, cannot serve this API. The first line that fits wins. What this version does not do yet has
//! its name here, so that a client is told what is missing. This file does no work.

use http::Method;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Answers `OK`.
    Ping,
    /// `OPTIONS`: an empty answer.
    Options,
    Version,
    Info,
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerStart,
    ContainerStop,
    ContainerKill,
    ContainerChanges,
    ContainerStats,
    ContainerUpdate,
    ContainerPrune,
    ContainerPause,
    ContainerUnpause,
    ContainerRestart,
    ContainerRename,
    ContainerTop,
    ContainerWait,
    ContainerRemove,
    ContainerAttach,
    ContainerLogs,
    ContainerResize,
    DiskUsage,
    ContainerExport,
    Commit,
    ArchiveGet,
    ArchiveStat,
    ArchivePut,
    Events,
    ExecCreate,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageInspect,
    ImageRemove,
    ImageCreate,
    ImageLoad,
    ImageTag,
    ImageHistory,
    ImageSave,
    ImagePush,
    ImagePrune,
    ImageSearch,
    /// A login.
    Auth,
    Distribution,
    NetworkList,
    NetworkInspect,
    NetworkCreate,
    NetworkRemove,
    NetworkConnect,
    NetworkDisconnect,
    NetworkPrune,
    VolumeList,
    VolumeInspect,
    VolumeCreate,
    VolumeRemove,
    VolumePrune,
    /// Only for volumes of a swarm.
    VolumeUpdate,
    PluginList,
    /// A plugin by name: there are none.
    Plugin,
    /// What needs a swarm: this node is in none.
    Swarm,
    SwarmLeave,
    /// The kernel steps of calls that carried a trace id.
    Trace,
    /// Known, and the work of a later version.
    Later(&'static str),
}

use Endpoint as E;

const TABLE: &[(&str, &str, Endpoint)] = &[
    ("OPTIONS", "/*", E::Options),
    ("GET", "/_ping", E::Ping),
    ("HEAD", "/_ping", E::Ping),
    ("GET", "/version", E::Version),
    ("GET", "/info", E::Info),
    ("GET", "/tare/trace/*", E::Trace),
    // Containers.
    ("GET", "/containers/json", E::ContainerList),
    ("POST", "/containers/create", E::ContainerCreate),
    ("POST", "/containers/prune", E::ContainerPrune),
    ("GET", "/containers/*/json", E::ContainerInspect),
    ("GET", "/containers/*/logs", E::ContainerLogs),
    ("GET", "/containers/*/top", E::ContainerTop),
    ("GET", "/containers/*/stats", E::ContainerStats),
    ("GET", "/containers/*/changes", E::ContainerChanges),
    ("GET", "/containers/*/export", E::ContainerExport),
    ("GET", "/containers/*/attach/ws", E::Later("attaching through a web socket")),
    ("GET", "/containers/*/archive", E::ArchiveGet),
    ("HEAD", "/containers/*/archive", E::ArchiveStat),
    ("PUT", "/containers/*/archive", E::ArchivePut),
    ("POST", "/containers/*/start", E::ContainerStart),
    ("POST", "/containers/*/stop", E::ContainerStop),
    ("POST", "/containers/*/kill", E::ContainerKill),
    ("POST", "/containers/*/wait", E::ContainerWait),
    ("POST", "/containers/*/attach", E::ContainerAttach),
    ("POST", "/containers/*/resize", E::ContainerResize),
    ("POST", "/containers/*/exec", E::ExecCreate),
    ("POST", "/containers/*/restart", E::ContainerRestart),
    ("POST", "/containers/*/pause", E::ContainerPause),
    ("POST", "/containers/*/unpause", E::ContainerUnpause),
    ("POST", "/containers/*/rename", E::ContainerRename),
    ("POST", "/containers/*/update", E::ContainerUpdate),
    ("GET", "/containers/*/checkpoints", E::Later("checkpoints")),
    ("POST", "/containers/*/checkpoints", E::Later("checkpoints")),
    ("DELETE", "/containers/*/checkpoints/*", E::Later("checkpoints")),
    ("DELETE", "/containers/*", E::ContainerRemove),
    ("POST", "/commit", E::Commit),
    // Execs.
    ("GET", "/exec/*/json", E::ExecInspect),
    ("POST", "/exec/*/start", E::ExecStart),
    ("POST", "/exec/*/resize", E::ExecResize),
    // Images.
    ("GET", "/images/json", E::ImageList),
    ("GET", "/images/search", E::ImageSearch),
    ("GET", "/images/get", E::ImageSave),
    ("GET", "/images/*/get", E::ImageSave),
    ("GET", "/images/*/history", E::ImageHistory),
    ("GET", "/images/*/json", E::ImageInspect),
    ("POST", "/images/create", E::ImageCreate),
    ("POST", "/images/load", E::ImageLoad),
    ("POST", "/images/prune", E::ImagePrune),
    ("POST", "/images/*/push", E::ImagePush),
    ("POST", "/images/*/tag", E::ImageTag),
    ("DELETE", "/images/*", E::ImageRemove),
    ("GET", "/distribution/*/json", E::Distribution),
    // Builds.
    ("POST", "/build", E::Later("building images")),
    ("POST", "/build/prune", E::Later("pruning the build cache")),
    ("POST", "/build/cancel", E::Later("cancelling a build")),
    ("POST", "/session", E::Later("build sessions")),
    ("POST", "/grpc", E::Later("build sessions")),
    // Networks and volumes.
    ("GET", "/networks", E::NetworkList),
    ("GET", "/networks/", E::NetworkList),
    ("GET", "/networks/*", E::NetworkInspect),
    ("POST", "/networks/create", E::NetworkCreate),
    ("POST", "/networks/prune", E::NetworkPrune),
    ("POST", "/networks/*/connect", E::NetworkConnect),
    ("POST", "/networks/*/disconnect", E::NetworkDisconnect),
    ("DELETE", "/networks/*", E::NetworkRemove),
    ("GET", "/volumes", E::VolumeList),
    ("GET", "/volumes/*", E::VolumeInspect),
    ("POST", "/volumes/create", E::VolumeCreate),
    ("POST", "/volumes/prune", E::VolumePrune),
    ("PUT", "/volumes/*", E::VolumeUpdate),
    ("DELETE", "/volumes/*", E::VolumeRemove),
    // System.
    ("GET", "/events", E::Events),
    ("GET", "/system/df", E::DiskUsage),
    ("POST", "/auth", E::Auth),
    // Plugins.
    ("GET", "/plugins", E::PluginList),
    ("GET", "/plugins/privileges", E::Later("plugins")),
    ("GET", "/plugins/*/json", E::Plugin),
    ("DELETE", "/plugins/*", E::Plugin),
    ("POST", "/plugins/pull", E::Later("plugins")),
    ("POST", "/plugins/create", E::Later("plugins")),
    ("POST", "/plugins/*/enable", E::Plugin),
    ("POST", "/plugins/*/disable", E::Plugin),
    ("POST", "/plugins/*/push", E::Plugin),
    ("POST", "/plugins/*/set", E::Plugin),
    ("POST", "/plugins/*/upgrade", E::Plugin),
    // Swarm.
    ("POST", "/swarm/init", E::Later("swarm")),
    ("POST", "/swarm/join", E::Later("swarm")),
    ("POST", "/swarm/leave", E::SwarmLeave),
    ("GET", "/swarm", E::Swarm),
    ("GET", "/swarm/unlockkey", E::Swarm),
    ("POST", "/swarm/update", E::Swarm),
    ("POST", "/swarm/unlock", E::Swarm),
    ("GET", "/services", E::Swarm),
    ("GET", "/services/*", E::Swarm),
    ("POST", "/services/create", E::Swarm),
    ("POST", "/services/*/update", E::Swarm),
    ("DELETE", "/services/*", E::Swarm),
    ("GET", "/nodes", E::Swarm),
    ("GET", "/nodes/*", E::Swarm),
    ("DELETE", "/nodes/*", E::Swarm),
    ("POST", "/nodes/*/update", E::Swarm),
    ("GET", "/tasks", E::Swarm),
    ("GET", "/tasks/*", E::Swarm),
    ("GET", "/secrets", E::Swarm),
    ("POST", "/secrets/create", E::Swarm),
    ("DELETE", "/secrets/*", E::Swarm),
    ("GET", "/secrets/*", E::Swarm),
    ("POST", "/secrets/*/update", E::Swarm),
    ("GET", "/configs", E::Swarm),
    ("POST", "/configs/create", E::Swarm),
    ("DELETE", "/configs/*", E::Swarm),
    ("GET", "/configs/*", E::Swarm),
    ("POST", "/configs/*/update", E::Swarm),
];

/// The endpoint of a path without its version, and the text its first `*` stands for. `None` for a path or a
/// method that does not exist, which Docker does not tell apart.
pub(crate) fn find<'p>(method: &Method, path: &'p str) -> Option<(Endpoint, &'p str)> {
    TABLE
        .iter()
        .filter(|(verb, _, _)| *verb == method.as_str())
        .find_map(|(_, pattern, endpoint)| fit(pattern, path).map(|name| (*endpoint, name)))
}

fn fit<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = pattern.split_once('*') else {
        return (pattern == path).then_some("");
    };
    let rest = path.strip_prefix(before)?;
    match after.split_once('*') {
        None => rest.strip_suffix(after),
        // Two stars: the second takes the last segment.
        Some((between, "")) => {
            let (name, last) = rest.rsplit_once(between)?;
            (!last.is_empty()).then_some(name)
        }
        Some(_) => None,
    }
}

/// A path split into `1.51` of `/v1.51/…`, if it has one, and the rest.
pub(crate) fn split_version(path: &str) -> (Option<&str>, &str) {
    let Some(after) = path.strip_prefix("/v") else { return (None, path) };
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    let (version, rest) = after.split_at(end);
    if version.is_empty() || !rest.starts_with('/') { (None, path) } else { (Some(version), rest) }
}

/// The shortest form of a path, if it is not in it: Docker redirects to that.
pub(crate) fn cleaned(path: &str) -> Option<String> {
    let clean = |part: &str| !matches!(part, "" | "." | "..");
    let inner = path.strip_prefix('/')?;
    let without_end = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() || without_end.split('/').all(clean) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in inner.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    Some(format!("/{}{end}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_are_found() {
        for (method, path, expected) in [
            (
                "GET",
                "/images/127.0.0.1:5000/team/app:1/json",
                Some((E::ImageInspect, "127.0.0.1:5000/team/app:1")),
            ),
            ("GET", "/images/json", Some((E::ImageList, ""))),
            ("GET", "/images/json/json", Some((E::ImageInspect, "json"))),
            ("DELETE", "/images/a/b/c", Some((E::ImageRemove, "a/b/c"))),
            ("POST", "/images/create", Some((E::ImageCreate, ""))),
            ("GET", "/containers/json", Some((E::ContainerList, ""))),
            ("GET", "/containers/web/json", Some((E::ContainerInspect, "web"))),
            ("POST", "/containers/web/start", Some((E::ContainerStart, "web"))),
            ("DELETE", "/containers/web/checkpoints/c1", Some((E::Later("checkpoints"), "web"))),
            ("DELETE", "/containers/web", Some((E::ContainerRemove, "web"))),
            ("POST", "/exec/0123/start", Some((E::ExecStart, "0123"))),
            ("OPTIONS", "/anything/at/all", Some((E::Options, "anything/at/all"))),
            ("HEAD", "/_ping", Some((E::Ping, ""))),
            ("GET", "/services/x/logs", Some((E::Swarm, "x/logs"))),
            ("PUT", "/version", None),
            ("GET", "/versions", None),
            ("GET", "/", None),
            ("GET", "", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(find(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn versions_are_split_off() {
        for (path, expected) in [
            ("/v1.51/info", (Some("1.51"), "/info")),
            ("/v1/info", (Some("1"), "/info")),
            ("/v1.0.5/info", (Some("1.0.5"), "/info")),
            ("/vx/info", (None, "/vx/info")),
            ("/version", (None, "/version")),
            ("/v1.51", (None, "/v1.51")),
            ("/volumes", (None, "/volumes")),
            ("/v/info", (None, "/v/info")),
        ] {
            assert_eq!(split_version(path), expected, "{path}");
        }
    }

    #[test]
    fn unclean_paths_are_redirected() {
        for (path, expected) in [
            ("/v1.51/info", None),
            ("/networks/", None),
            ("/", None),
            ("/v1.51//info", Some("/v1.51/info")),
            ("/containers//json", Some("/containers/json")),
            ("/a/./b/../c", Some("/a/c")),
            ("/../../etc", Some("/etc")),
            ("//", Some("/")),
            ("/a//", Some("/a/")),
        ] {
            assert_eq!(cleaned(path).as_deref(), expected, "{path}");
        }
    }

    /// Every endpoint of the reference has its line, and no two lines are the same.
    #[test]
    fn the_table_is_without_doubles() {
        for (i, (method, pattern, _)) in TABLE.iter().enumerate() {
            let twin = TABLE[..i].iter().find(|(m, p, _)| m == method && p == pattern);
            assert_eq!(twin, None, "{method} {pattern}");
        }
    }
}
