//! What `-v` and `--mount` ask for becomes a [`MountPoint`]: dockerd's rules, with its texts, in its order. Pure
//! but for one look: whether the source of a `--mount` bind exists.

use super::{BindOptions, Kind, MountPoint, MountRequest, VolumeOptions};
use crate::error::{Error, Result};
use std::path::{Component, Path};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
/// Where nothing else is asked for.
pub(super) const DEFAULT_PROPAGATION: &str = "rprivate";

/// Reads `source:target[:mode]`; a source that is no absolute path is a volume's name.
pub(super) fn bind(text: &str, driver: &str) -> Result<MountPoint> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        ["", ..] => return Err(invalid()),
        [target] => ("", target, ""),
        // A target cannot be followed by a mode without a source before it.
        [_, target] if is_mode(target) => return Err(invalid()),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid()),
    };
    if !is_mode(mode) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    let words = || mode.split(',');
    let request = request_of(source, target, mode, driver);
    let mut point = point(&request, false)
        .map_err(|e| Error::invalid(format!("invalid volume specification: '{text}': {}", e.message)))?;
    point.mode = mode.to_string();
    point.idmap = words().any(|word| word == "idmap");
    if point.idmap && point.kind != Kind::Bind {
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': idmap belongs to a folder of the host"
        )));
    }
    // What `-v` names is made when it is missing.
    point.create_source = true;
    Ok(point)
}

fn request_of(source: &str, target: &str, mode: &str, driver: &str) -> MountRequest {
    let words = || mode.split(',');
    let is_bind = source.starts_with('/');
    let no_copy = words().any(|word| word == "nocopy");
    let propagation = words().find(|word| PROPAGATIONS.contains(word));
    let named_driver = !is_bind && !driver.is_empty();
    MountRequest {
        kind: if is_bind { "bind" } else { "volume" }.to_string(),
        source: source.to_string(),
        target: target.to_string(),
        read_only: words().any(|word| word == "ro"),
        volume: (no_copy || named_driver).then(|| VolumeOptions {
            no_copy,
            driver: if is_bind { String::new() } else { driver.to_string() },
            ..VolumeOptions::default()
        }),
        bind: propagation.map(|word| BindOptions { propagation: word.to_string(), ..BindOptions::default() }),
        ..MountRequest::default()
    }
}

/// Whether these are words of a mode, at most one of each sort.
fn is_mode(mode: &str) -> bool {
    const SORTS: [&[&str]; 6] = [
        &["rw", "ro"],
        &["z", "Z"],
        &PROPAGATIONS,
        &["nocopy"],
        &["consistent", "cached", "delegated"],
        // Tare's own.
        &["idmap"],
    ];
    let mut seen = [false; SORTS.len()];
    mode.is_empty()
        || mode.split(',').all(|word| {
            let sort = SORTS.iter().position(|words| words.contains(&word));
            sort.is_some_and(|sort| !std::mem::replace(&mut seen[sort], true))
        })
}

/// Reads `--mount`.
pub(super) fn mount(request: &MountRequest) -> Result<MountPoint> {
    point(request, true)
}

/// The checks of `--mount` that need no host but for a bind's source.
pub(super) fn check(request: &MountRequest, look: bool) -> Result<()> {
    let wrong = |text: String| {
        Err(Error::invalid(format!("invalid mount config for type \"{}\": {text}", request.kind)))
    };
    match problem(request, look) {
        Some(text) => wrong(text),
        None => Ok(()),
    }
}

fn problem(request: &MountRequest, look: bool) -> Option<String> {
    let target = &request.target;
    if target.is_empty() {
        return Some("field Target must not be empty".to_string());
    }
    if clean(target) == "/" {
        return Some("invalid specification: destination can't be '/'".to_string());
    }
    if !target.starts_with('/') {
        return Some(format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    match request.kind.as_str() {
        "bind" => bind_problem(request, look),
        "volume" => volume_problem(request),
        "tmpfs" => extra(request, &["BindOptions", "VolumeOptions", "ImageOptions"])
            .or_else(|| {
                (!request.source.is_empty()).then(|| "field Source must not be specified".to_string())
            })
            .or_else(|| tmpfs_options(request).err()),
        "image" => {
            let subpath = request.image_subpath.as_deref().unwrap_or_default();
            extra(request, &["BindOptions", "VolumeOptions", "TmpfsOptions"])
                .or_else(|| request.source.is_empty().then(|| "field Source must not be empty".to_string()))
                .or_else(|| (!is_local(subpath)).then(wrong_subpath))
        }
        _ => Some("mount type unknown".to_string()),
    }
}

fn bind_problem(request: &MountRequest, look: bool) -> Option<String> {
    let source = &request.source;
    if source.is_empty() {
        return Some("field Source must not be empty".to_string());
    }
    let options = request.bind.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
        return Some(format!("invalid propagation mode: {}", options.propagation));
    }
    if let Some(text) = extra(request, &["VolumeOptions", "ImageOptions"]) {
        return Some(text);
    }
    if !source.starts_with('/') {
        return Some(format!("invalid mount path: '{source}' mount path must be absolute"));
    }
    match std::fs::metadata(source) {
        Err(e) if look && e.kind() == std::io::ErrorKind::NotFound && !options.create_mountpoint => {
            Some(format!("bind source path does not exist: {source}"))
        }
        Err(e) if look && e.kind() != std::io::ErrorKind::NotFound => Some(format!("stat {source}: {e}")),
        _ => None,
    }
}

fn volume_problem(request: &MountRequest) -> Option<String> {
    let anonymous = request.source.is_empty();
    let subpath = request.volume.as_ref().map_or("", |volume| volume.subpath.as_str());
    if let Some(text) = extra(request, &["BindOptions", "ImageOptions"]) {
        return Some(text);
    }
    if !subpath.is_empty() && anonymous {
        return Some("must not set Subpath when using anonymous volumes".to_string());
    }
    if !is_local(subpath) {
        return Some(wrong_subpath());
    }
    (request.read_only && anonymous)
        .then(|| "must not set ReadOnly mode when using anonymous volumes".to_string())
}

fn wrong_subpath() -> String {
    "subpath must be a relative path within the volume".to_string()
}

fn extra(request: &MountRequest, fields: &[&str]) -> Option<String> {
    let given = |field: &str| match field {
        "BindOptions" => request.bind.is_some(),
        "VolumeOptions" => request.volume.is_some(),
        "TmpfsOptions" => request.tmpfs.is_some(),
        _ => request.image_subpath.is_some(),
    };
    let field = fields.iter().find(|field| given(field))?;
    Some(format!("field {field} must not be specified"))
}

/// The options of a tmpfs as mount(8) has them.
pub(super) fn tmpfs_options(request: &MountRequest) -> std::result::Result<String, String> {
    let mut words = Vec::new();
    if request.read_only {
        words.push("ro".to_string());
    }
    let Some(options) = &request.tmpfs else { return Ok(words.join(",")) };
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    if options.size_bytes != 0 {
        let units = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10), ("", 1)];
        let (unit, divisor) =
            units.into_iter().find(|(_, divisor)| options.size_bytes % divisor == 0).unwrap_or(("", 1));
        words.push(format!("size={}{unit}", options.size_bytes / divisor));
    }
    for option in &options.options {
        match &option[..] {
            [word] if word == "exec" || word == "noexec" => words.push(word.clone()),
            [word, value] if word == "exec" || word == "noexec" => words.push(format!("{word}={value}")),
            [word] | [word, _] => return Err(format!("invalid option: {word:?}")),
            _ => return Err("invalid option array length".to_string()),
        }
    }
    Ok(words.join(","))
}

fn point(request: &MountRequest, look: bool) -> Result<MountPoint> {
    check(request, look)?;
    let volume = request.volume.clone().unwrap_or_default();
    let bind = request.bind.clone().unwrap_or_default();
    let mut point = MountPoint {
        destination: clean(&request.target),
        read_write: !request.read_only,
        ..MountPoint::default()
    };
    match request.kind.as_str() {
        "volume" => {
            point.kind = Kind::Volume;
            point.name.clone_from(&request.source);
            point.driver.clone_from(&volume.driver);
            point.copy = !volume.no_copy;
            point.subpath = volume.subpath;
            point.anonymous = request.source.is_empty();
        }
        "tmpfs" => {
            point.kind = Kind::Tmpfs;
            point.tmpfs = tmpfs_options(request).map_err(Error::invalid)?;
        }
        "image" => {
            point.kind = Kind::Image;
            point.name.clone_from(&request.source);
            point.propagation = DEFAULT_PROPAGATION.to_string();
            point.subpath = request.image_subpath.clone().unwrap_or_default();
            point.read_write = false;
        }
        _ => {
            point.kind = Kind::Bind;
            point.source = clean(&request.source);
            point.propagation = match bind.propagation.as_str() {
                "" => DEFAULT_PROPAGATION.to_string(),
                word => word.to_string(),
            };
            point.asked_propagation = !bind.propagation.is_empty();
            point.non_recursive = bind.non_recursive;
            point.read_only_non_recursive = bind.read_only_non_recursive;
            point.read_only_force_recursive = bind.read_only_force_recursive;
            point.create_source = bind.create_mountpoint;
        }
    }
    Ok(point)
}

/// Reads `name[:mode]` of `--volumes-from`; whether writing is allowed.
pub(super) fn volumes_from(text: &str) -> Result<(&str, bool)> {
    if text.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
    let harmless = |word: &str| PROPAGATIONS.contains(&word) || matches!(word, "nocopy" | "idmap");
    if !is_mode(mode) || mode.split(',').any(harmless) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    Ok((name, !mode.split(',').any(|word| word == "ro")))
}

/// Go's `path.Clean`, which a relative path of an image's volume passes through, too.
pub(crate) fn clean(text: &str) -> String {
    let rooted = text.starts_with('/');
    let mut out: Vec<&str> = Vec::new();
    for part in text.split('/') {
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
        (false, true) => ".".to_string(),
        (false, false) => out.join("/"),
    }
}

/// Go's `filepath.IsLocal`; nothing is local, too.
fn is_local(path: &str) -> bool {
    if path.starts_with('/') {
        return false;
    }
    let mut depth = 0usize;
    Path::new(path).components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::ParentDir if depth > 0 => {
            depth -= 1;
            true
        }
        Component::CurDir => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_and_volumes() {
        for (text, expected) in [
            ("/a:/b", Ok("bind /a /b rw rprivate")),
            ("/a:/b/../c/:ro", Ok("bind /a /c ro rprivate")),
            ("/a:/b:ro,rslave", Ok("bind /a /b ro rslave")),
            ("/a:/b:z", Ok("bind /a /b rw rprivate")),
            ("data:/b", Ok("volume data /b rw ")),
            ("data:/b:ro,nocopy", Ok("volume data /b ro ")),
            (
                "/a:b",
                Err(
                    "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
                ),
            ),
            (
                "/a:/",
                Err(
                    "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
                ),
            ),
            ("/a:/b:nope", Err("invalid mode: nope")),
            ("/a:/b:ro,rw", Err("invalid mode: ro,rw")),
            ("/a:/b:ro:x", Err("invalid volume specification: '/a:/b:ro:x'")),
            ("/a:ro", Err("invalid volume specification: '/a:ro'")),
            (":/a", Err("invalid volume specification: ':/a'")),
            (
                "aa:/x:rshared",
                Err(
                    "invalid volume specification: 'aa:/x:rshared': invalid mount config for type \"volume\": field BindOptions must not be specified",
                ),
            ),
            (
                "/a:/x:nocopy",
                Err(
                    "invalid volume specification: '/a:/x:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
                ),
            ),
            (
                "aa:/x:idmap",
                Err("invalid volume specification: 'aa:/x:idmap': idmap belongs to a folder of the host"),
            ),
        ] {
            let got = bind(text, "").map(|p| {
                let source = if p.kind == Kind::Bind { &p.source } else { &p.name };
                let access = if p.read_write { "rw" } else { "ro" };
                format!("{} {source} {} {access} {}", p.kind.as_str(), p.destination, p.propagation)
            });
            assert_eq!(got.as_deref().map_err(|e| e.message.as_str()), expected, "{text}");
        }
    }

    #[test]
    fn mounts() {
        let request = |kind: &str, source: &str, target: &str| MountRequest {
            kind: kind.into(),
            source: source.into(),
            target: target.into(),
            ..MountRequest::default()
        };
        let sub = |path: &str| MountRequest {
            volume: Some(VolumeOptions { subpath: path.into(), ..VolumeOptions::default() }),
            ..request("volume", "aa", "/x")
        };
        for (wanted, text) in [
            (request("bind", "/nosuch", "/x"), "bind source path does not exist: /nosuch"),
            (request("bind", "nosuch", "/x"), "invalid mount path: 'nosuch' mount path must be absolute"),
            (request("bind", "", "/x"), "field Source must not be empty"),
            (request("nope", "", "/x"), "mount type unknown"),
            (request("tmpfs", "/tmp", "/x"), "field Source must not be specified"),
            (request("volume", "aa", ""), "field Target must not be empty"),
            (sub("/sub"), "subpath must be a relative path within the volume"),
            (sub("a/../../b"), "subpath must be a relative path within the volume"),
            (request("image", "", "/x"), "field Source must not be empty"),
        ] {
            let expected = format!("invalid mount config for type \"{}\": {text}", wanted.kind);
            assert_eq!(mount(&wanted).unwrap_err().message, expected);
        }
        assert_eq!(mount(&sub("a/../b")).unwrap().subpath, "a/../b");
    }

    #[test]
    fn from_other_containers() {
        for (text, expected) in [
            ("c1", Ok(("c1", true))),
            ("c1:ro", Ok(("c1", false))),
            ("c1:z", Ok(("c1", true))),
            ("", Err("volumes-from specification cannot be an empty string")),
            ("c1:foo", Err("invalid mode: foo")),
            ("a:b:c", Err("invalid mode: b:c")),
            ("c1:nocopy", Err("invalid mode: nocopy")),
        ] {
            assert_eq!(volumes_from(text).map_err(|e| e.message), expected.map_err(String::from), "{text}");
        }
    }
}
