//! The container's root: mounts, devices, masks, and the step into it.
//!
//! Order (all but the last step outside of the new root, where the host's /proc is the trusted one):
//! propagation of the copied mount tree → the root's own mounts → the spec's mounts → devices → hooks
//! and console (the caller's) → masked and read-only paths → read-only mounts → pivot_root.
//!
//! Invariants. What the image contains is hostile: every path in it is resolved to a descriptor by
//! [`sys::root::Root`], and mounts, nodes and links are made at that descriptor, never at a path that
//! could be exchanged in between. Mounts are made in the mount namespace that init already has.
//!
//! It does not know images, users or capabilities.

mod cgroupfs;
mod copy;
mod devices;
mod mounts;
pub(crate) mod options;
mod pivot;
mod restrict;
mod sources;

use crate::error::{Error, Kind, Result, What};
use crate::namespaces::Namespaces;
use oci::runtime::{Linux, NamespaceKind, Spec};
use rustix::mount::{MountPropagationFlags, mount_change};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use sys::root::Root;
use sys::trace;

pub(crate) use pivot::enter;
pub(crate) use sources::{Sources, prepare as prepare_sources};

/// A root that is being built.
pub(crate) struct Rootfs<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    /// The root's path outside.
    path: PathBuf,
    root: Root,
    /// Binds that the caller opened before init was cloned, by the index of the mount.
    sources: &'a Sources,
    user_namespace: bool,
    cgroup_namespace: bool,
    /// Mounted writable so that mount points can be made in them; read-only in the end.
    read_only_later: Vec<PathBuf>,
}

/// The absolute path of the spec's root.
pub(crate) fn root_path(spec: &Spec, bundle: &Path) -> Result<PathBuf> {
    let root = spec.root.as_ref().ok_or_else(|| Error::new(Kind::Invalid, "the spec has no root"))?;
    Ok(bundle.join(&root.path))
}

impl<'a> Rootfs<'a> {
    /// Makes the mount tree ours and mounts what the caller gives (an overlay) or the root itself.
    pub(crate) fn prepare(
        spec: &'a Spec,
        bundle: &'a Path,
        own_mounts: &[sys::mount::Mount],
        sources: &'a Sources,
        namespaces: &Namespaces,
    ) -> Result<Self> {
        let path = root_path(spec, bundle)?;
        let wanted = options::propagation(linux(spec).map_or("", |l| &l.rootfs_propagation))?;
        {
            let mut step = trace::step("mount propagation", "mount(2)");
            let flags = wanted.unwrap_or(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC);
            step.note(format_args!("/ {flags:?}"));
            step.check(mount_change("/", flags).what(|| "change the propagation of /"))?;
        }
        if wanted.is_some_and(|flags| flags.contains(MountPropagationFlags::SHARED))
            && let Some(parent) = path.parent()
        {
            // pivot_root wants the parent mount of the new root not shared, and "/" may be that parent.
            bind_itself(parent)?;
        }
        for mount in own_mounts {
            mount_own(mount, &path)?;
        }
        if !own_mounts.iter().any(|mount| mount.target.as_os_str().is_empty()) {
            bind_itself(&path)?;
        }
        let root = Root::open_dir(&path)?;
        Ok(Self {
            spec,
            bundle,
            path,
            root,
            sources,
            user_namespace: namespaces.is_private(NamespaceKind::User),
            cgroup_namespace: namespaces.is_private(NamespaceKind::Cgroup),
            read_only_later: Vec::new(),
        })
    }

    /// The spec's mounts and devices, and the process's folder.
    pub(crate) fn fill(&mut self) -> Result<()> {
        for (index, mount) in self.spec.mounts.iter().enumerate() {
            self.mount(index, mount).map_err(|e| {
                let from = if mount.source.as_os_str().is_empty() {
                    mount.kind.as_ref()
                } else {
                    mount.source.as_path()
                };
                e.context(format!("error mounting {from:?} to rootfs at {:?}", mount.destination))
            })?;
        }
        if self.owns_dev() {
            self.make_devices()?;
        }
        // As runc: a working folder that is missing is made, root's.
        if let Some(process) = &self.spec.process
            && self.root.resolve(&process.cwd).is_err()
        {
            self.root
                .mkdir_all(&process.cwd, 0o755)
                .what(|| format!("make the working folder {:?}", process.cwd))?;
        }
        Ok(())
    }

    /// The last things before the root is entered: what is hidden and what is read-only.
    pub(crate) fn seal(&mut self) -> Result<()> {
        self.restrict_paths()?;
        for path in std::mem::take(&mut self.read_only_later) {
            let mut step = trace::step("read-only mount", "mount_setattr(2)");
            step.note(format_args!("{}", path.display()));
            let fd = self.root.resolve(&path)?;
            step.check(mounts::make_read_only(fd.as_fd(), false))?;
        }
        if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            let mut step = trace::step("read-only root", "mount_setattr(2)");
            step.check(mounts::make_read_only(self.root.as_fd(), false))?;
        }
        Ok(())
    }

    /// The root, for the console's mount point.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Its path outside.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// False when /dev is bound from outside: then nothing is made in it.
    fn owns_dev(&self) -> bool {
        !self.spec.mounts.iter().any(|mount| {
            mount.destination == Path::new("/dev")
                && mount.options.iter().any(|o| o == "bind" || o == "rbind")
        })
    }
}

pub(crate) fn linux(spec: &Spec) -> Option<&Linux> {
    spec.linux.as_ref()
}

fn mount_own(mount: &sys::mount::Mount, root: &Path) -> Result<()> {
    let mut step = trace::step(if mount.kind == "overlay" { "overlay" } else { "root" }, "mount(2)");
    step.note(format_args!("{} {}", mount.kind, mount.options.join(",")));
    if mount.target.as_os_str().is_empty() {
        return step.check(mount.attach(root).what(|| "mount the root"));
    }
    // The root's own content decides where this path leads.
    let base = Root::open_dir(root)?;
    let target = base.resolve(&mount.target).what(|| format!("mount {:?} in the root", mount.target))?;
    step.check(
        mount
            .attach(&sys::root::proc_path(target.as_fd()))
            .what(|| format!("mount {:?} in the root", mount.target)),
    )
}

/// pivot_root wants a mount point whose parent mount is not shared.
fn bind_itself(path: &Path) -> Result<()> {
    let mut step = trace::step("root", "open_tree(2), move_mount(2)");
    step.note(format_args!("{}", path.display()));
    let bound = (|| {
        let tree = sys::mount::open_tree_clone(rustix::fs::CWD, path, true)?;
        sys::mount::attach_detached(tree.as_fd(), path, false)
    })();
    step.check(bound.what(|| format!("bind the root {path:?}")))?;
    // Only with a shared root propagation can the parent be shared: then EINVAL would come from pivot_root.
    mount_change(path, MountPropagationFlags::PRIVATE).what(|| format!("make {path:?} private"))
}
