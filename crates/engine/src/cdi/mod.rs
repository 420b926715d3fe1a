//! Devices by name, `vendor.com/class=name`: the Container Device Interface's files of the host, and what they make of
//! a container's spec.
//!
//! The folders are read at each use: a start that asks for such a device is rare, and nobody has to watch them.
//! Invariant: a name that two files of the same folder give is nobody's; a later folder's file goes before an earlier
//! one's.

mod file;

use crate::error::{Error, Kind, Result};
use file::{Checked, Edits, Form, Node};
use oci::runtime as spec;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the files lie, in rising order of weight: the administrator's, then what was found at this boot.
pub const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// A vendor's file for a machine with many devices has some 100 kB.
const MAX_FILE: u64 = 4 << 20;
/// More files than that in a folder are not looked at.
const MAX_FILES: usize = 1024;

/// What the host's files say.
#[derive(Debug, Default)]
pub struct Registry {
    files: Vec<(PathBuf, Checked)>,
    /// Qualified name to the place in `files`.
    devices: BTreeMap<String, usize>,
    errors: Vec<(PathBuf, String)>,
}

impl Registry {
    /// Reads the host's folders.
    pub fn load() -> Self {
        Self::load_from(&FOLDERS.map(Path::new))
    }

    /// Qualified names of all devices.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }

    /// Docker's warnings: what is wrong with which file.
    pub fn warnings(&self) -> Vec<String> {
        let one = |(path, why): &(PathBuf, String)| {
            format!("CDI: Error associated with spec file {}: {why}", path.display())
        };
        self.errors.iter().map(one).collect()
    }

    /// Reads folders, the later ones before the earlier.
    pub(crate) fn load_from(folders: &[&Path]) -> Self {
        let mut all = Self::default();
        for folder in folders {
            let first = all.files.len();
            for path in files(folder) {
                match read(&path) {
                    Ok(Some(checked)) => all.files.push((path, checked)),
                    Ok(None) => {}
                    Err(why) => all.errors.push((path, format!("failed to load CDI Spec {why}"))),
                }
            }
            all.index(first);
        }
        all
    }

    /// Enters the devices of one folder's files.
    fn index(&mut self, first: usize) {
        let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, (_, file)) in self.files.iter().enumerate().skip(first) {
            for name in file.devices.keys() {
                found.entry(format!("{}={name}", file.kind)).or_default().push(place);
            }
        }
        for (name, places) in found {
            if let [place] = places[..] {
                self.devices.insert(name, place);
                continue;
            }
            self.devices.remove(&name);
            let paths: Vec<&Path> = places.iter().map(|place| self.files[*place].0.as_path()).collect();
            let why = format!("conflicting device {name:?} (specs {:?}, {:?})", paths[1], paths[0]);
            self.errors.extend(paths.into_iter().map(|path| (path.to_path_buf(), why.clone())));
        }
    }

    /// Changes a container's spec as the named devices ask for it.
    pub(crate) fn inject(&self, names: &[String], spec: &mut spec::Spec) -> Result<()> {
        let failed = |why: String| Error::new(Kind::Internal, format!("CDI device injection failed: {why}"));
        let missing: Vec<&str> =
            names.iter().map(String::as_str).filter(|n| !self.devices.contains_key(*n)).collect();
        if !missing.is_empty() {
            return Err(failed(format!("unresolvable CDI devices {}", missing.join(", "))));
        }
        let mut edits = Edits::default();
        let mut used = BTreeSet::new();
        for name in names {
            let place = self.devices[name.as_str()];
            let file = &self.files[place].1;
            if used.insert(place) {
                edits.append(&file.edits);
            }
            if let Some(own) = name.split_once('=').and_then(|(_, device)| file.devices.get(device)) {
                edits.append(own);
            }
        }
        apply(&edits, spec).map_err(|why| failed(format!("failed to inject devices: {why}")))
    }
}

/// The files of a folder that may be the interface's, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let counts = |path: &PathBuf| path.extension().is_some_and(|e| e == "json" || e == "yaml");
    let mut paths: Vec<PathBuf> =
        entries.flatten().take(MAX_FILES).map(|e| e.path()).filter(counts).collect();
    paths.sort();
    paths
}

/// `None` for what is no file.
fn read(path: &Path) -> std::result::Result<Option<Checked>, String> {
    let failed = |e: std::io::Error| format!("failed to read CDI Spec {path:?}: {e}");
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Ok(None);
    }
    if meta.len() > MAX_FILE {
        return Err(format!("failed to read CDI Spec {path:?}: more than {MAX_FILE} bytes"));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).map_err(failed)?;
    let parsed = |why: String| match why.starts_with("failed") {
        true => format!("failed to parse CDI Spec {path:?}: {why}"),
        false => why,
    };
    let form = if path.extension().is_some_and(|e| e == "yaml") { Form::Yaml } else { Form::Json };
    file::check(&text, form).map(Some).map_err(parsed)
}

fn apply(edits: &Edits, spec: &mut spec::Spec) -> std::result::Result<(), String> {
    let linux = spec.linux.get_or_insert_default();
    for node in &edits.device_nodes {
        let device = device(node)?;
        if matches!(device.kind.as_str(), "b" | "c" | "u") {
            let kind = if device.kind == "b" { spec::DeviceKind::Block } else { spec::DeviceKind::Char };
            let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
            linux.resources.get_or_insert_default().devices.push(spec::DeviceRule {
                allow: true,
                kind: Some(kind),
                major: Some(device.major),
                minor: Some(device.minor),
                access: access.to_string(),
            });
        }
        linux.devices.retain(|known| known.path != device.path);
        linux.devices.push(device);
    }
    if let Some(rdt) = &edits.intel_rdt {
        linux.intel_rdt = Some(spec::IntelRdt {
            clos_id: rdt.clos_id.clone(),
            l3_cache_schema: rdt.l3_cache_schema.clone(),
            mem_bw_schema: rdt.mem_bw_schema.clone(),
            enable_monitoring: rdt.enable_cmt || rdt.enable_mbm,
            ..spec::IntelRdt::default()
        });
    }
    if let Some(process) = &mut spec.process {
        crate::spec::merge_env(&mut process.env, &edits.env);
        let groups = &mut process.user.additional_gids;
        for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
            if !groups.contains(gid) {
                groups.push(*gid);
            }
        }
    }
    mounts(edits, &mut spec.mounts);
    hooks(edits, spec);
    Ok(())
}

/// A mount takes the place of another on the same path; what lies below another comes after it.
fn mounts(edits: &Edits, mounts: &mut Vec<spec::Mount>) {
    for mount in &edits.mounts {
        let destination = PathBuf::from(&mount.container_path);
        mounts.retain(|known| known.destination != destination);
        mounts.push(spec::Mount {
            destination,
            kind: mount.kind.clone(),
            source: PathBuf::from(&mount.host_path),
            options: mount.options.clone(),
            ..spec::Mount::default()
        });
    }
    if !edits.mounts.is_empty() {
        mounts.sort_by_key(|mount| mount.destination.components().count());
    }
}

fn hooks(edits: &Edits, spec: &mut spec::Spec) {
    for hook in &edits.hooks {
        let all = spec.hooks.get_or_insert_default();
        let list = match hook.hook_name.as_str() {
            "prestart" => &mut all.prestart,
            "createRuntime" => &mut all.create_runtime,
            "createContainer" => &mut all.create_container,
            "startContainer" => &mut all.start_container,
            "poststart" => &mut all.poststart,
            _ => &mut all.poststop,
        };
        list.push(spec::Hook {
            path: PathBuf::from(&hook.path),
            args: hook.args.clone(),
            env: hook.env.clone(),
            timeout: hook.timeout,
        });
    }
}

/// The node with what the file leaves to the host.
fn device(node: &Node) -> std::result::Result<spec::Device, String> {
    let mut device = spec::Device {
        path: PathBuf::from(&node.path),
        kind: node.kind.clone(),
        major: node.major,
        minor: node.minor,
        file_mode: node.file_mode,
        uid: node.uid,
        gid: node.gid,
    };
    if node.kind == "p" || (!node.kind.is_empty() && node.major != 0) {
        return Ok(device);
    }
    let host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let meta = std::fs::metadata(host).map_err(|e| {
        let errno = rustix::io::Errno::from_io_error(&e);
        let why = errno.map_or_else(|| e.to_string(), crate::machine::go_text);
        format!("failed to stat CDI host device {host:?}: {why}")
    })?;
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        kind if kind.is_fifo() => "p",
        _ => return Err(format!("failed to stat CDI host device {host:?}: not a device node")),
    };
    if !node.kind.is_empty() && node.kind.replace('u', "c") != kind {
        return Err(format!(
            "CDI device ({:?}, {host:?}), host type mismatch ({}, {kind})",
            node.path, node.kind
        ));
    }
    device.kind = kind.to_string();
    if kind != "p" {
        device.major = i64::from(rustix::fs::major(meta.rdev()));
        device.minor = i64::from(rustix::fs::minor(meta.rdev()));
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"cdiVersion":"0.7.0","kind":"v.com/c","containerEdits":{"env":["ALL=1"]},"devices":[
        {"name":"a","containerEdits":{"env":["A=1"],"deviceNodes":[{"path":"/dev/n","hostPath":"/dev/null","permissions":"rw"}],
         "mounts":[{"hostPath":"/etc/passwd","containerPath":"/p","options":["ro","bind"]}],
         "hooks":[{"hookName":"createRuntime","path":"/bin/true"}],"additionalGids":[0,7]}},
        {"name":"gone","containerEdits":{"deviceNodes":[{"path":"/dev/gone"}]}}]}"#;

    fn blank() -> spec::Spec {
        spec::Spec { process: Some(spec::Process::default()), ..spec::Spec::default() }
    }

    #[test]
    fn a_device_changes_the_spec() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("v.json"), FILE).unwrap();
        std::fs::write(folder.path().join("not.txt"), "junk").unwrap();
        let registry = Registry::load_from(&[folder.path()]);
        assert_eq!(registry.names().collect::<Vec<_>>(), ["v.com/c=a", "v.com/c=gone"]);
        assert!(registry.warnings().is_empty());
        let mut spec = blank();
        registry.inject(&["v.com/c=a".into(), "v.com/c=a".into()], &mut spec).unwrap();
        let linux = spec.linux.as_ref().unwrap();
        assert_eq!(linux.devices.len(), 1);
        assert_eq!((linux.devices[0].major, linux.devices[0].minor), (1, 3));
        assert_eq!(linux.resources.as_ref().unwrap().devices[0].access, "rw");
        let process = spec.process.as_ref().unwrap();
        assert_eq!(
            (&process.env[..], &process.user.additional_gids[..]),
            (&["ALL=1".to_string(), "A=1".into()][..], &[7][..])
        );
        assert_eq!(spec.mounts.len(), 1);
        assert_eq!(spec.hooks.unwrap().create_runtime.len(), 2);
        let gone = registry.inject(&["v.com/c=gone".into()], &mut blank()).unwrap_err();
        assert_eq!(
            gone.message,
            "CDI device injection failed: failed to inject devices: failed to stat CDI host device \"/dev/gone\": no such file or directory"
        );
    }

    #[test]
    fn two_files_of_a_folder_cancel_each_other_and_a_later_folder_wins() {
        let (low, high) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(low.path().join("a.json"), FILE).unwrap();
        std::fs::write(high.path().join("b.json"), FILE.replace("ALL=1", "ALL=2")).unwrap();
        let folders = [low.path(), high.path()];
        let names = ["v.com/c=a".to_string()];
        let mut spec = blank();
        Registry::load_from(&folders).inject(&names, &mut spec).unwrap();
        assert!(spec.process.unwrap().env.contains(&"ALL=2".to_string()));
        std::fs::write(high.path().join("c.json"), FILE).unwrap();
        let registry = Registry::load_from(&folders);
        let refused = registry.inject(&["v.com/c=a".into(), "x".into()], &mut blank()).unwrap_err();
        assert_eq!(refused.message, "CDI device injection failed: unresolvable CDI devices v.com/c=a, x");
        assert_eq!(registry.warnings().len(), 4);
    }

    #[test]
    fn a_file_in_yaml_is_read_and_a_wrong_one_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let good = "cdiVersion: \"0.6.0\"\nkind: v.com/c\ndevices:\n- name: a\n  containerEdits:\n    env:\n    - FROM=yaml\n";
        std::fs::write(folder.path().join("good.yaml"), good).unwrap();
        std::fs::write(folder.path().join("bad.yaml"), "kind: [").unwrap();
        std::fs::write(folder.path().join("bad.json"), "[]").unwrap();
        let registry = Registry::load_from(&[folder.path()]);
        let mut spec = blank();
        registry.inject(&["v.com/c=a".into()], &mut spec).unwrap();
        assert!(spec.process.unwrap().env.contains(&"FROM=yaml".to_string()));
        let warnings = registry.warnings();
        assert!(warnings.len() == 2 && warnings.iter().all(|w| w.lines().count() == 1), "{warnings:?}");
    }
}
