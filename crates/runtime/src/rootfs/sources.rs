//! Bind sources that the caller opens before init is cloned: idmapped ones (only the caller has the rights
//! and knows pids in its own /proc); those that the caller was given; and, for a container with a user namespace, all of them (its root may
//! not be allowed to walk there).

use super::mounts::open_source;
use super::options::Options;
use crate::error::{Error, Kind, Result, What};
use crate::namespaces::{self, Namespaces};
use oci::runtime::{IdMapping, Mount, NamespaceKind, Spec};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::process::{Child, ForkOptions, SingleThread};
use sys::trace;

/// Detached trees by the index of their mount in the spec.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<(usize, OwnedFd)>);

impl Sources {
    pub(super) fn get(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(i, _)| *i == index).map(|(_, fd)| fd.as_fd())
    }
}

/// Opens what init could not open itself.
pub(crate) fn prepare(
    spec: &Spec,
    bundle: &Path,
    namespaces: &Namespaces,
    trees: Vec<(usize, OwnedFd)>,
    proof: SingleThread,
) -> Result<Sources> {
    let user = namespaces.is_private(NamespaceKind::User);
    let mut sources = Sources(trees);
    for (index, mount) in spec.mounts.iter().enumerate() {
        if sources.get(index).is_some() {
            continue;
        }
        let mapped =
            !mount.uid_mappings.is_empty() || mount.options.iter().any(|o| o == "idmap" || o == "ridmap");
        if !mapped && !user {
            continue;
        }
        let options = Options::parse(&mount.options)?;
        let Some(recursive) = options.bind else {
            if mapped {
                let text =
                    format!("idmapped mount {:?}: only bind mounts can be idmapped", mount.destination);
                return Err(Error::new(Kind::Unsupported, text));
            }
            continue;
        };
        let context = |e: Error| {
            e.context(format!("error mounting {:?} to rootfs at {:?}", mount.source, mount.destination))
        };
        let tree = open_source(bundle, mount, recursive).map_err(context)?;
        if mapped {
            idmap(&tree, spec, mount, options.idmap == Some(true), proof).map_err(context)?;
        }
        sources.0.push((index, tree));
    }
    Ok(sources)
}

fn idmap(tree: &OwnedFd, spec: &Spec, mount: &Mount, recursive: bool, proof: SingleThread) -> Result<()> {
    let linux = spec.linux.as_ref();
    let (uids, gids) = if mount.uid_mappings.is_empty() {
        // config.md: without mappings of its own, the container's.
        (linux.map_or(&[][..], |l| &l.uid_mappings), linux.map_or(&[][..], |l| &l.gid_mappings))
    } else {
        (&mount.uid_mappings[..], &mount.gid_mappings[..])
    };
    if uids.is_empty() || gids.is_empty() {
        return Err(Error::new(Kind::Invalid, "an idmapped mount needs uid and gid mappings"));
    }
    let mut step = trace::step("idmapped mount", "mount_setattr(2)");
    let namespace = mapping_namespace(uids, gids, proof)?;
    step.check(sys::mount::mount_setattr(tree.as_fd(), c"", true, recursive, 0, 0, Some(namespace.as_fd())))?;
    Ok(())
}

/// A user namespace that exists only for its maps.
fn mapping_namespace(uids: &[IdMapping], gids: &[IdMapping], proof: SingleThread) -> Result<OwnedFd> {
    let options = ForkOptions { namespaces: namespaces::flag(NamespaceKind::User), ..ForkOptions::default() };
    let (hold, released) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).what(|| "pipe2()")?;
    let mut released = Some(released);
    let child = sys::process::fork(proof, &options, || {
        drop(released.take());
        // Until the other end is closed, at the latest by the caller's death.
        i32::from(rustix::io::read(&hold, &mut [0; 1]).is_err())
    })?;
    let namespace = with_maps(&child, uids, gids);
    drop(released);
    let _ = sys::process::wait(child.pidfd.as_fd());
    namespace
}

fn with_maps(child: &Child, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    crate::create::write_map(child.pid, "uid_map", uids)?;
    crate::create::write_map(child.pid, "gid_map", gids)?;
    Ok(sys::namespace::open(Path::new(&format!("/proc/{}/ns/user", child.pid)))?)
}
