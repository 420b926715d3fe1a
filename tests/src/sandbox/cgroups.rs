//! The cgroups of a test host: one group of its name in each hierarchy of the machine.
//!
//! The host unshares its cgroup namespace inside them and mounts the hierarchies anew, so that it sees
//! only its own subtree, on v1 too. Touches no group that it did not make.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait;

/// A mounted cgroup hierarchy.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub path: PathBuf,
    /// Version 1 or 2.
    pub version: u8,
    /// The mount options that select it: controllers or `name=…` (version 1 only).
    pub select: String,
}

/// The hierarchies that are mounted here, as `/proc/self/mounts` tells.
pub fn hierarchies() -> Result<Vec<Hierarchy>> {
    Ok(parse_mounts(&fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?))
}

/// Makes the group `name` in each hierarchy.
pub fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.path.join(name);
        fs::create_dir(&group).with_context(|| format!("create {}", group.display()))?;
        // A new v1 cpuset is empty and takes no process (cgroup-v1/cpusets.rst, 1.2).
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if hierarchy.version == 1 && group.join(file).exists() {
                let value = fs::read(hierarchy.path.join(file))?;
                fs::write(group.join(file), value).with_context(|| format!("set {file}"))?;
            }
        }
        // Beside v1 hierarchies the unified one is the machine's own business, and has hardly a controller left.
        if hierarchy.path == Path::new("/sys/fs/cgroup") {
            enable_controllers(&hierarchy.path)?;
        }
    }
    Ok(())
}

/// Moves the calling process into the group `name` of each hierarchy.
pub fn join(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let procs = hierarchy.path.join(name).join("cgroup.procs");
        fs::write(&procs, "0").with_context(|| format!("write 0 to {}", procs.display()))?;
    }
    Ok(())
}

/// Kills what is left in the group `name` and removes it with all groups below it.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.path.join(name);
        if hierarchy.version == 2 {
            let _ = fs::write(group.join("cgroup.kill"), "1");
        }
        let gone = wait::until(Duration::from_secs(10), || remove_tree(&group).is_ok());
        if !gone {
            let left = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            bail!("cgroup {} cannot be removed; processes in it: {left:?}", group.display());
        }
    }
    Ok(())
}

/// The groups below `root`, as paths relative to it.
pub fn below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for child in child_dirs(&dir) {
            if let Ok(relative) = child.strip_prefix(root) {
                found.push(relative.display().to_string());
            }
            open.push(child);
        }
    }
    found.sort();
    found
}

fn parse_mounts(text: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, path, kind, options, ..] = fields[..] else { continue };
        let version = match kind {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => continue,
        };
        let ordinary = ["rw", "relatime", "nosuid", "nodev", "noexec", "noatime"];
        let select: Vec<&str> = options.split(',').filter(|option| !ordinary.contains(option)).collect();
        let select = if version == 1 { select.join(",") } else { String::new() };
        if found.iter().all(|other| other.path != Path::new(path)) {
            found.push(Hierarchy { path: path.into(), version, select });
        }
    }
    found
}

/// On a plain v2 machine the groups below get the controllers that the parent hands down.
fn enable_controllers(root: &Path) -> Result<()> {
    let available = fs::read_to_string(root.join("cgroup.controllers"))?;
    for controller in available.split_whitespace() {
        // One at a time: a controller that the kernel refuses must not hide the others.
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    Ok(())
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    for child in child_dirs(group) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn child_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_dir).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_in_each_layout() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n\
            cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,name=systemd 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n";
        let found = parse_mounts(hybrid);
        let short: Vec<_> = found.iter().map(|h| (h.version, h.select.as_str())).collect();
        assert_eq!(short, [(1, "cpu,cpuacct"), (1, "name=systemd"), (2, "")]);
        let plain = parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate,memory_recursiveprot 0 0\n");
        assert_eq!(plain.len(), 1);
        assert_eq!(plain[0].path, Path::new("/sys/fs/cgroup"));
    }
}
