//! What is mounted where: /proc/self/mountinfo and /proc/self/cgroup, read once.
//!
//! Invariants: [`Layout::parse`] is pure; each hierarchy is listed once, at its first mount point. A path of a group
//! is absolute below the mount point, or relative to the caller's own group in each hierarchy, which may differ from
//! hierarchy to hierarchy.
//!
//! It does not know whether a hierarchy may be written.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::{Controllers, Error, Result};

/// Which versions of cgroup are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree with all controllers.
    V2,
    /// Controllers in v1 trees, and a v2 tree beside them.
    Hybrid,
    /// v1 trees only.
    V1,
}

/// One tree of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Controllers bound to it when it was mounted (v1); empty for v2 and for named hierarchies.
    pub controllers: Controllers,
    /// `systemd` and the like (v1).
    pub name: Option<String>,
    /// The caller's group, below the mount point.
    pub own: PathBuf,
}

/// What is mounted where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The v2 tree.
    pub unified: Option<Hierarchy>,
    /// The v1 trees.
    pub legacy: Vec<Hierarchy>,
}

impl Layout {
    /// Reads the layout of the system at `root`: `/`, or a tree that looks like one.
    pub fn detect(root: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = root.join("proc/self").join(name);
            std::fs::read(&path).map_err(|source| Error::Io { op: "read", path, source })
        };
        Self::parse(&read("mountinfo")?, &read("cgroup")?, root)
    }

    /// The layout that the two files describe (proc_pid_mountinfo(5), cgroups(7)).
    pub fn parse(mountinfo: &[u8], own: &[u8], root: &Path) -> Result<Self> {
        let own: Vec<Own<'_>> = own.split(|&b| b == b'\n').filter_map(Own::parse).collect();
        let mut layout = Self { unified: None, legacy: Vec::new() };
        for mount in mountinfo.split(|&b| b == b'\n').filter_map(MountLine::parse) {
            layout.add(&mount, &own, root);
        }
        if layout.unified.is_none() && layout.legacy.is_empty() {
            return Err(Error::NotMounted);
        }
        Ok(layout)
    }

    /// Which versions are in use.
    pub fn version(&self) -> Version {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => Version::V2,
            (Some(_), false) => Version::Hybrid,
            (None, _) => Version::V1,
        }
    }

    fn add(&mut self, mount: &MountLine<'_>, own: &[Own<'_>], root: &Path) {
        let below_root = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let mut hierarchy = Hierarchy {
            mount: below_root(&mount.point),
            controllers: Controllers::NONE,
            name: None,
            own: PathBuf::from("/"),
        };
        if mount.kind == b"cgroup2" {
            if self.unified.as_ref().is_none_or(|h| h.mount == hierarchy.mount) {
                hierarchy.own = own_path(own.iter().find(|o| o.list.is_empty()), mount);
                self.unified = Some(hierarchy);
            }
            return;
        }
        let options = String::from_utf8_lossy(mount.super_options);
        hierarchy.controllers = Controllers::from_list(&options);
        hierarchy.name = options.split(',').find_map(|o| o.strip_prefix("name=")).map(str::to_owned);
        let same = |h: &Hierarchy| h.controllers == hierarchy.controllers && h.name == hierarchy.name;
        let seen = self.legacy.iter().position(same);
        hierarchy.own = own_path(own.iter().find(|o| o.is_of(&hierarchy)), mount);
        match seen {
            // Mounted over the former one, which nobody reaches any more.
            Some(at) if self.legacy[at].mount == hierarchy.mount => self.legacy[at] = hierarchy,
            Some(_) => {}
            None => self.legacy.push(hierarchy),
        }
    }
}

impl Hierarchy {
    /// The folder of a group: an absolute path lies below the mount point, a relative one below the caller's group.
    pub fn folder(&self, path: &Path) -> Result<PathBuf> {
        let mut folder = self.mount.clone();
        if !path.is_absolute() {
            folder.extend(normal_components(&self.own)?);
        }
        let wanted = normal_components(path)?;
        if wanted.is_empty() {
            return Err(Error::Path(path.to_owned()));
        }
        folder.extend(wanted);
        Ok(folder)
    }
}

/// The components of a path that must not climb.
fn normal_components(path: &Path) -> Result<Vec<&OsStr>> {
    let mut components = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => components.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(Error::Path(path.to_owned())),
        }
    }
    Ok(components)
}

/// A line of /proc/self/cgroup: `ID:LIST:PATH`.
struct Own<'a> {
    list: &'a str,
    path: &'a [u8],
}

impl<'a> Own<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |&b| b == b':');
        let (_, list, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { list: std::str::from_utf8(list).ok()?, path })
    }

    fn is_of(&self, hierarchy: &Hierarchy) -> bool {
        match &hierarchy.name {
            Some(name) => self.list.split(',').any(|l| l.strip_prefix("name=") == Some(name)),
            None => !self.list.is_empty() && Controllers::from_list(self.list) == hierarchy.controllers,
        }
    }
}

/// The caller's group below the mount point. A mount may show only part of the tree (its root field).
fn own_path(own: Option<&Own<'_>>, mount: &MountLine<'_>) -> PathBuf {
    let Some(own) = own else { return PathBuf::from("/") };
    let path = Path::new(OsStr::from_bytes(own.path));
    // From inside a cgroup namespace both are relative to its root; `/..` means that the caller or the mount is
    // outside, and then the mount point is the only place that can be named.
    match path.strip_prefix(&mount.root) {
        Ok(rest) if !path.starts_with("/..") => Path::new("/").join(rest),
        _ => PathBuf::from("/"),
    }
}

/// The fields of a mountinfo line that matter here.
struct MountLine<'a> {
    root: PathBuf,
    point: PathBuf,
    kind: &'a [u8],
    super_options: &'a [u8],
}

impl<'a> MountLine<'a> {
    /// The line, if it is a cgroup mount.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let separator = line.windows(3).position(|w| w == b" - ")?;
        let mut after = line[separator + 3..].split(|&b| b == b' ');
        let kind = after.next().filter(|k| *k == b"cgroup" || *k == b"cgroup2")?;
        let super_options = after.nth(1)?;
        let mut before = line[..separator].split(|&b| b == b' ');
        let root = unescape(before.nth(3)?);
        let point = unescape(before.next()?);
        Some(Self { root, point, kind, super_options })
    }
}

/// Blank, tab, newline and backslash are written as `\040` and so on.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|o| first == b'\\' && o.iter().all(|b| (b'0'..=b'7').contains(b)));
        match octal {
            Some(o) => {
                let value = o.iter().fold(0u32, |v, b| v * 8 + u32::from(b - b'0'));
                bytes.push(value as u8);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests;
