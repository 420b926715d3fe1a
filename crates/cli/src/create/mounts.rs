//! `--mount`: one line of `key=value` fields for each mount.
//!
//! Docker's client knows the keys and which of them belong to which type of mount; what a type means, and
//! whether there is such a type, is the engine's business.

use api::host_config::{BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions};

use super::volumes::absolute;
use crate::grammar::{csv, numbers};

/// Said when a mount is written in the old way.
const OLD_NON_RECURSIVE: &str = "bind-nonrecursive is deprecated, use bind-recursive=disabled instead";

/// A mount, and what to warn of; `folder` is where relative sources start.
pub fn parse(value: &str, folder: &str) -> Result<(Mount, Vec<&'static str>), String> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    let mut warnings = Vec::new();
    for field in csv::fields(value)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match value {
            None => switch(&mut mount, &key, &field)?,
            Some(value) => {
                if key == "bind-nonrecursive" {
                    warnings.push(OLD_NON_RECURSIVE);
                }
                set(&mut mount, &key, value, &field, folder)?;
            }
        }
    }
    check(&mount)?;
    Ok((mount, warnings))
}

/// For the check while flags are parsed.
pub fn is_mount(value: &str) -> Result<(), String> {
    parse(value, "/").map(drop)
}

/// A field without a value.
fn switch(mount: &mut Mount, key: &str, field: &str) -> Result<(), String> {
    match key {
        "readonly" | "ro" => mount.read_only = true,
        "volume-nocopy" => volume(mount).no_copy = true,
        "bind-nonrecursive" => bind(mount).non_recursive = true,
        _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn set(mount: &mut Mount, key: &str, value: &str, field: &str, folder: &str) -> Result<(), String> {
    let invalid = || format!("invalid value for {key}: {value}");
    let boolean = || numbers::parse_bool(value).map_err(|_| invalid());
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" if value.starts_with('.') => mount.source = absolute(folder, value),
        "source" | "src" => value.clone_into(&mut mount.source),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "readonly" | "ro" => mount.read_only = boolean()?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_lowercase(),
        "bind-nonrecursive" => bind(mount).non_recursive = boolean()?,
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).non_recursive = true,
            "writable" => bind(mount).read_only_non_recursive = true,
            "readonly" => bind(mount).read_only_force_recursive = true,
            _ => {
                return Err(format!(
                    "{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
                    invalid()
                ));
            }
        },
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-nocopy" => volume(mount).no_copy = boolean()?,
        "volume-label" => put(volume(mount).labels.get_or_insert_default(), value),
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => put(driver(mount).options.get_or_insert_default(), value),
        "image-subpath" => {
            let options = mount.image_options.get_or_insert_with(ImageOptions::default);
            value.clone_into(&mut options.subpath);
        }
        "tmpfs-size" => tmpfs(mount).size_bytes = numbers::parse_bytes(value).map_err(|_| invalid())?,
        "tmpfs-mode" => tmpfs(mount).mode = octal(value).ok_or_else(invalid)?,
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// What Docker's client checks of the whole.
fn check(mount: &Mount) -> Result<(), String> {
    let kind = mount.kind.as_str();
    if kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (given, wanted) in [
        (mount.volume_options.is_some(), "volume"),
        (mount.image_options.is_some(), "image"),
        (mount.bind_options.is_some(), "bind"),
        (mount.tmpfs_options.is_some(), "tmpfs"),
    ] {
        if given && kind != wanted {
            return Err(format!("cannot mix '{wanted}-*' options with mount type '{kind}'"));
        }
    }
    let Some(bind) = &mount.bind_options else { return Ok(()) };
    let needs = |option: &str, other: &str| {
        Err(format!("option 'bind-recursive={option}' requires '{other}' to be specified in conjunction"))
    };
    match () {
        () if bind.read_only_non_recursive && !mount.read_only => needs("writable", "readonly"),
        () if bind.read_only_force_recursive && !mount.read_only => needs("readonly", "readonly"),
        () if bind.read_only_force_recursive && bind.propagation != "rprivate" => {
            needs("readonly", "bind-propagation=rprivate")
        }
        () => Ok(()),
    }
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_with(BindOptions::default)
}

/// Docker's client sends an empty driver with any option of a volume.
fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_with(|| VolumeOptions {
        driver_config: Some(Driver::default()),
        ..VolumeOptions::default()
    })
}

fn driver(mount: &mut Mount) -> &mut Driver {
    volume(mount).driver_config.get_or_insert_with(Driver::default)
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default)
}

fn put(map: &mut std::collections::BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        map.insert(key.to_owned(), value.to_owned());
    }
}

/// Digits to the base of eight and nothing else.
fn octal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, want) in [
            ("target=/a", r#"{"Type":"volume","Target":"/a"}"#),
            (
                "type=bind,src=./x,dst=/a,ro",
                r#"{"Type":"bind","Source":"/home/me/x","Target":"/a","ReadOnly":true}"#,
            ),
            (
                "TYPE=Bind,source=/x,destination=/a,bind-propagation=RSHARED,readonly=false",
                r#"{"Type":"bind","Source":"/x","Target":"/a","BindOptions":{"Propagation":"rshared"}}"#,
            ),
            (
                "dst=/a,volume-nocopy,volume-label=a=b,volume-opt=o=x",
                r#"{"Type":"volume","Target":"/a","VolumeOptions":{"NoCopy":true,"Labels":{"a":"b"},"DriverConfig":{"Options":{"o":"x"}}}}"#,
            ),
            (
                "type=tmpfs,dst=/a,tmpfs-size=1m,tmpfs-mode=1777",
                r#"{"Type":"tmpfs","Target":"/a","TmpfsOptions":{"SizeBytes":1048576,"Mode":1023}}"#,
            ),
            (
                "type=image,src=i,dst=/a,image-subpath=p",
                r#"{"Type":"image","Source":"i","Target":"/a","ImageOptions":{"Subpath":"p"}}"#,
            ),
            ("type=bind", "! target is required"),
            ("type=,dst=/a", "! type is required"),
            ("foo", "! invalid field 'foo' must be a key=value pair"),
            ("a=b", "! unexpected key 'a' in 'a=b'"),
            ("type=bind,dst=/a,volume-nocopy", "! cannot mix 'volume-*' options with mount type 'bind'"),
            ("dst=/a,tmpfs-mode=9", "! invalid value for tmpfs-mode: 9"),
            ("dst=/a,ro=x", "! invalid value for ro: x"),
        ] {
            let got = parse(text, "/home/me").map_or_else(|e| format!("! {e}"), |(m, _)| api::go::encode(&m));
            assert_eq!(got, want, "{text}");
        }
    }
}
