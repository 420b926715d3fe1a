//! The container's folders, one in each hierarchy: made, opened, limited, joined.
//!
//! Invariants:
//! - [`Cgroup::create`] yields a group that did not exist before: one that is left over is removed, never reused.
//! - Limits are set before anybody is in the group.
//! - What was made is removed again when a later step fails.
//!
//! It does not know how a group ends (see `kill`) or what it counts (see `stats`, `oom`).

use std::cell::Cell;
use std::path::{Path, PathBuf};

use oci::runtime::Resources;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::apply::Facts;
use crate::devices::DevicePolicy;
use crate::folder::{Folder, remove_tree};
use crate::layout::{Hierarchy, Layout, Version};
use crate::{Controllers, Error, Result, bpf, v1, v2};

/// A container's place in all hierarchies.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    version: Version,
    pub(crate) unified: Option<Folder>,
    pub(crate) legacy: Vec<Folder>,
    warnings: Vec<String>,
}

/// Moves the calling process, which must have one thread, into the group at `path`, which is made if needed. It may
/// be shared: this is how a shim leaves the group of whoever started it.
pub fn escape(layout: &Layout, path: &Path) -> Result<()> {
    Cgroup::ensure(layout, path)?.join_self()
}

impl Cgroup {
    /// Makes the group and sets its limits.
    ///
    /// `path` is the spec's `cgroupsPath`: absolute below each hierarchy's mount point, or relative to the caller's
    /// own group there. Processes in an existing group are an error, an empty one is made anew.
    pub fn create(layout: &Layout, path: &Path, resources: &Resources) -> Result<Self> {
        let folders = hierarchies(layout).map(|h| h.folder(path)).collect::<Result<Vec<_>>>()?;
        let made = Cell::new(0);
        let make = |hierarchy: &Hierarchy, folder: &Path| {
            make_new(hierarchy, folder)?;
            made.set(made.get() + 1);
            Ok(())
        };
        let group = Self::make(layout, path, &folders, resources, make).and_then(|mut group| {
            group.warnings = group.apply(resources, true)?;
            Ok(group)
        });
        if group.is_err() {
            // Only what was made here; that removing it fails would hide why we are doing it.
            for folder in &folders[..made.get()] {
                let _ = rustix::fs::rmdir(folder);
            }
        }
        group
    }

    /// Makes the group where it is not there yet and sets nothing.
    pub fn ensure(layout: &Layout, path: &Path) -> Result<Self> {
        let folders = hierarchies(layout).map(|h| h.folder(path)).collect::<Result<Vec<_>>>()?;
        Self::make(layout, path, &folders, &Resources::default(), make_or_keep)
    }

    /// Opens an existing group. Hierarchies in which it is missing are passed over.
    pub fn open(layout: &Layout, path: &Path) -> Result<Self> {
        let mut group = Self::empty(layout, path);
        let mut missing = None;
        for (hierarchy, unified) in with_version(layout) {
            match Folder::open(hierarchy.folder(path)?, hierarchy.controllers, unified) {
                Ok(folder) => group.add(folder),
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    missing = Some(source);
                }
                Err(e) => return Err(e),
            }
        }
        match missing {
            Some(source) if group.unified.is_none() && group.legacy.is_empty() => {
                Err(Error::Io { op: "open cgroup", path: path.to_owned(), source })
            }
            _ => Ok(group),
        }
    }

    /// The path that the group was made or opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which versions the group lives in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What could not be set as asked when the group was made, in words.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The v2 folder, for CLONE_INTO_CGROUP. In the hybrid layout it is there, too, but the child must still
    /// [`join_rest`](Self::join_rest).
    pub fn dir_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Whether a child that was cloned into [`dir_fd`](Self::dir_fd) has hierarchies left to join.
    pub fn needs_join(&self) -> bool {
        !self.legacy.is_empty()
    }

    /// Moves the calling process, which must have one thread, into the group in all hierarchies.
    pub fn join_self(&self) -> Result<()> {
        if let Some(unified) = &self.unified {
            unified.write("cgroup.procs", "0")?;
        }
        self.join_rest()
    }

    /// Moves the calling process, which must have one thread, into the group in the v1 hierarchies.
    ///
    /// `0` into `tasks` is the one way in that takes no lock on all the threads of the system: with a pid, or into
    /// `cgroup.procs`, the kernel waits for a grace period.
    pub fn join_rest(&self) -> Result<()> {
        self.legacy.iter().try_for_each(|folder| folder.write("tasks", "0"))
    }

    /// Changes limits; what is absent stays. Returns what could not be set as asked, in words.
    pub fn set(&self, resources: &Resources) -> Result<Vec<String>> {
        if self.version == Version::V2 && !resources.devices.is_empty() {
            return Err(Error::Unsupported("changing device rules of an existing cgroup v2".into()));
        }
        self.apply(resources, false)
    }

    /// The pids in the group and in groups below it.
    pub fn pids(&self) -> Result<Vec<i32>> {
        self.main_folder()?.pids()
    }

    /// The folder that has this controller.
    pub(crate) fn folder(&self, controller: Controllers) -> Option<&Folder> {
        match &self.unified {
            Some(unified) if self.version == Version::V2 => {
                unified.controllers.contains(controller).then_some(unified)
            }
            _ => self.legacy.iter().find(|f| !controller.is_empty() && f.controllers.contains(controller)),
        }
    }

    /// A folder that all processes of the group are in.
    pub(crate) fn main_folder(&self) -> Result<&Folder> {
        self.unified.as_ref().or(self.legacy.first()).ok_or(Error::NotMounted)
    }

    /// All folders.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.unified.iter().chain(&self.legacy)
    }

    fn empty(layout: &Layout, path: &Path) -> Self {
        let version = layout.version();
        Self { path: path.to_owned(), version, unified: None, legacy: Vec::new(), warnings: Vec::new() }
    }

    fn add(&mut self, mut folder: Folder) {
        if folder.unified {
            if self.version == Version::V2 {
                let list = folder.read("cgroup.controllers").unwrap_or_default();
                folder.controllers = Controllers::from_list(&list);
            }
            self.unified = Some(folder);
        } else {
            self.legacy.push(folder);
        }
    }

    fn make(
        layout: &Layout,
        path: &Path,
        folders: &[PathBuf],
        resources: &Resources,
        make: impl Fn(&Hierarchy, &Path) -> Result<()>,
    ) -> Result<Self> {
        let mut group = Self::empty(layout, path);
        for ((hierarchy, unified), folder) in with_version(layout).zip(folders) {
            make(hierarchy, folder)?;
            if unified && group.version == Version::V2 {
                enable(hierarchy, folder, v2::wanted(resources))?;
            }
            let opened = Folder::open(folder.clone(), hierarchy.controllers, unified)?;
            if opened.controllers.contains(Controllers::CPUSET) {
                inherit_cpuset(&opened)?;
            }
            group.add(opened);
        }
        Ok(group)
    }

    fn apply(&self, resources: &Resources, fresh: bool) -> Result<Vec<String>> {
        let v2 = self.version == Version::V2;
        let mut plan = if v2 { v2::plan(resources, self)? } else { v1::plan(resources, fresh, self)? };
        if fresh || !resources.devices.is_empty() {
            let policy = DevicePolicy::of_container(&resources.devices)?;
            if v2 {
                self.attach_device_program(&policy)?;
            } else {
                plan.writes.extend(v1::plan_devices(&policy, fresh).writes);
            }
        }
        let limit = resources.memory.as_ref().and_then(|m| m.limit);
        plan.apply(|controller| self.folder(controller)).map_err(|e| self.explain(e, limit))?;
        Ok(plan.warnings)
    }

    /// EBUSY on a memory limit means that more is in use and cannot be reclaimed.
    fn explain(&self, error: Error, limit: Option<i64>) -> Error {
        match (error, limit, self.folder(Controllers::MEMORY)) {
            (Error::Write { source, path, .. }, Some(limit), Some(folder))
                if path.ends_with("memory.limit_in_bytes")
                    && source.raw_os_error() == Some(Errno::BUSY.raw_os_error()) =>
            {
                let usage = folder.read_number("memory.usage_in_bytes").unwrap_or(0);
                let peak = folder.read_number("memory.max_usage_in_bytes").unwrap_or(usage);
                Error::MemoryInUse { limit, usage, peak, source: Some(source) }
            }
            (error, ..) => error,
        }
    }

    fn attach_device_program(&self, policy: &DevicePolicy) -> Result<()> {
        let Some(folder) = &self.unified else { return Ok(()) };
        if policy.default_allow && policy.exceptions.is_empty() {
            return Ok(());
        }
        let program = bpf::device_program(policy);
        let mut step = sys::trace::step("device filter", "bpf(2)");
        step.note(format_args!("{} instructions on {}", program.len(), folder.path.display()));
        let loaded = sys::bpf::load_device_program(&program)
            .and_then(|fd| sys::bpf::attach_device_program(folder.as_fd(), &fd));
        step.check(loaded).map_err(|source| Error::DeviceFilter { path: folder.path.clone(), source })
    }
}

impl Facts for Cgroup {
    fn controllers(&self) -> Controllers {
        self.folders().fold(Controllers::NONE, |all, f| all.with(f.controllers))
    }

    fn read(&self, controller: Controllers, file: &str) -> Option<String> {
        self.folder(controller)?.read(file).ok()
    }

    fn has(&self, controller: Controllers, file: &str) -> bool {
        self.folder(controller).is_some_and(|f| f.has(file))
    }
}

fn hierarchies(layout: &Layout) -> impl Iterator<Item = &Hierarchy> {
    layout.unified.iter().chain(&layout.legacy)
}

fn with_version(layout: &Layout) -> impl Iterator<Item = (&Hierarchy, bool)> {
    layout.unified.iter().map(|h| (h, true)).chain(layout.legacy.iter().map(|h| (h, false)))
}

/// Makes a folder that was not there; a left-over one without processes is removed first.
fn make_new(hierarchy: &Hierarchy, folder: &Path) -> Result<()> {
    let mut step = sys::trace::step("cgroup", "mkdir(2)");
    step.note(format_args!("{}", folder.display()));
    let made = match mkdir(folder) {
        Err(Errno::NOENT) => {
            make_parents(hierarchy, folder)?;
            mkdir(folder)
        }
        Err(Errno::EXIST) => {
            match remove_tree(folder) {
                Err(Errno::BUSY) => return Err(not_empty(folder)),
                Err(e) => return Err(io("rmdir", folder, e)),
                Ok(()) => {}
            }
            mkdir(folder)
        }
        other => other,
    };
    step.check(made).map_err(|e| io("mkdir", folder, e))
}

fn make_or_keep(hierarchy: &Hierarchy, folder: &Path) -> Result<()> {
    match mkdir(folder) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            make_parents(hierarchy, folder)?;
            match mkdir(folder) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(e) => Err(io("mkdir", folder, e)),
            }
        }
        Err(e) => Err(io("mkdir", folder, e)),
    }
}

fn not_empty(path: &Path) -> Error {
    let pids = Folder::open(path.to_owned(), Controllers::NONE, false).and_then(|f| f.pids());
    Error::NotEmpty { path: path.to_owned(), count: pids.map_or(0, |p| p.len()) }
}

/// Makes the groups between the hierarchy's mount point and the folder. Others may be doing the same.
fn make_parents(hierarchy: &Hierarchy, folder: &Path) -> Result<()> {
    let mut missing: Vec<&Path> = Vec::new();
    for parent in
        folder.ancestors().skip(1).take_while(|p| p.starts_with(&hierarchy.mount) && *p != hierarchy.mount)
    {
        missing.push(parent);
    }
    for parent in missing.into_iter().rev() {
        match mkdir(parent) {
            Ok(()) if hierarchy.controllers.contains(Controllers::CPUSET) => {
                let opened = Folder::open(parent.to_owned(), hierarchy.controllers, false)?;
                inherit_cpuset(&opened)?;
                // Groups that are made in it from now on get its CPUs and nodes from the kernel.
                opened.write("cgroup.clone_children", "1")?;
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(io("mkdir", parent, e)),
        }
    }
    Ok(())
}

/// A fresh v1 cpuset has neither CPUs nor nodes and can hold nobody: it gets its parent's.
fn inherit_cpuset(folder: &Folder) -> Result<()> {
    let lacks = |file: &str| folder.read(file).is_ok_and(|text| text.trim().is_empty());
    if !lacks("cpuset.cpus") && !lacks("cpuset.mems") {
        return Ok(());
    }
    let Some(parent) = folder.path.parent() else { return Ok(()) };
    let parent = Folder::open(parent.to_owned(), folder.controllers, false)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if lacks(file) {
            let text = parent.read(file)?;
            if text.trim().is_empty() {
                // The parent was made by somebody who left it empty.
                inherit_cpuset(&parent)?;
            }
            folder.write(file, parent.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Enables controllers for the folder in the groups above it. One look is enough once the parent has them.
fn enable(hierarchy: &Hierarchy, folder: &Path, wanted: Controllers) -> Result<()> {
    let Some(parent) = folder.parent() else { return Ok(()) };
    let enabled = |group: &Folder| group.read("cgroup.subtree_control").map(|l| Controllers::from_list(&l));
    if enabled(&Folder::open(parent.to_owned(), Controllers::NONE, true)?)?.contains(wanted) {
        return Ok(());
    }
    let mut above: Vec<&Path> = parent.ancestors().take_while(|p| p.starts_with(&hierarchy.mount)).collect();
    above.reverse();
    for path in above {
        let group = Folder::open(path.to_owned(), Controllers::NONE, true)?;
        let available = Controllers::from_list(&group.read("cgroup.controllers")?);
        let missing = available.common(wanted).without(enabled(&group)?);
        if !missing.is_empty() {
            let value = missing.names().map(|n| format!("+{n}")).collect::<Vec<_>>().join(" ");
            // A group with processes of its own cannot hand controllers down (EBUSY). Whether that matters is
            // seen when a limit needs one: then it is an error by the controller's name.
            let _ = group.write("cgroup.subtree_control", &value);
        }
    }
    Ok(())
}

fn mkdir(path: &Path) -> rustix::io::Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
}

fn io(op: &'static str, path: &Path, source: Errno) -> Error {
    Error::Io { op, path: path.to_owned(), source: source.into() }
}
