//! The IPC namespace of a container and its `/dev/shm`, which go together.
//!
//! What others may share lies in the run folder of the container that gives it (`shm`, a tmpfs of this machine's mount
//! namespace), as long as its task; what nobody shares is mounted by the runtime. Invariant: whoever removes a task's
//! run folder has unmounted it ([`detach`]).

use crate::config::HostConfig;
use crate::error::{Error, Kind, Result, errno, io};
use crate::state::Record;
use crate::{Engine, Status};
use rustix::mount::{MountFlags, UnmountFlags};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A container that joins one that joins one …: longer chains are a circle.
const MAX_CHAIN: usize = 64;
/// `/dev/shm` unless asked otherwise.
pub(crate) const SHM_BYTES: i64 = 64 << 20;

/// What a container takes from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedIpc {
    /// The namespace's file, unless it is the container's own.
    pub namespace: Option<PathBuf>,
    /// The folder that becomes `/dev/shm`.
    pub shm: PathBuf,
}

impl Engine {
    /// What the container shares, or gives to share. Mounts the latter.
    pub(crate) fn shared_ipc(&self, record: &Record) -> Result<Option<SharedIpc>> {
        let mode = record.host.namespaces.ipc.as_str();
        if mode == "shareable" {
            let run_dir = self.paths().task(&record.id);
            return mount_shm(&run_dir, &record.host).map(|shm| Some(SharedIpc { namespace: None, shm }));
        }
        let Some(word) = mode.strip_prefix("container:") else { return Ok(None) };
        let failed = |mut e: Error| {
            e.message = format!("failed to join IPC namespace: {}", e.message);
            e
        };
        let donor = self.container(word).map_err(failed)?;
        if !donor.is_active() {
            let text = format!("container {} is not running", donor.id);
            return Err(failed(Error::new(Kind::Conflict, text)));
        }
        if donor.state.status == Status::Restarting {
            let text = format!("container {} is restarting, wait until the container is running", donor.id);
            return Err(failed(Error::new(Kind::Conflict, text)));
        }
        let namespace = Some(PathBuf::from(format!("/proc/{}/ns/ipc", donor.state.pid)));
        let shm = self.shm_of(&donor.id, &donor.host.namespaces.ipc)?.ok_or_else(|| {
            failed(Error::invalid(format!(
                "container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                donor.id
            )))
        })?;
        Ok(Some(SharedIpc { namespace, shm }))
    }

    /// Where a running container's `/dev/shm` lies on the host, if others may have it.
    fn shm_of(&self, id: &str, mode: &str) -> Result<Option<PathBuf>> {
        let (mut id, mut mode) = (id.to_string(), mode.to_string());
        for _ in 0..MAX_CHAIN {
            match mode.as_str() {
                "host" => return Ok(Some(PathBuf::from("/dev/shm"))),
                "shareable" => {
                    let run_dir = self.paths().task(&id);
                    let shm = run_dir.join("shm");
                    // Nothing but a mount: an empty folder is what a process of another mount namespace sees.
                    let device = |path: &Path| path.symlink_metadata().ok().map(|meta| meta.dev());
                    let mounted = device(&shm).is_some() && device(&shm) != device(&run_dir);
                    return Ok(mounted.then_some(shm));
                }
                other => {
                    let Some(word) = other.strip_prefix("container:") else { return Ok(None) };
                    let Ok(donor) = self.state()?.find(word) else { return Ok(None) };
                    (id, mode) = (donor.id, donor.host.namespaces.ipc);
                }
            }
        }
        Ok(None)
    }
}

fn mount_shm(run_dir: &Path, host: &HostConfig) -> Result<PathBuf> {
    let shm = run_dir.join("shm");
    // What a start that was killed has left.
    detach(run_dir)?;
    std::fs::create_dir_all(&shm).map_err(io(format!("mkdir {}", shm.display())))?;
    let size = if host.shm_size > 0 { host.shm_size } else { SHM_BYTES };
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let data = std::ffi::CString::new(format!("mode=1777,size={size}")).unwrap_or_default();
    rustix::mount::mount("shm", &shm, "tmpfs", flags, data.as_c_str())
        .map_err(errno(format!("mount {}", shm.display())))?;
    Ok(shm)
}

/// Takes a task's shared memory off its run folder; containers that have it keep it.
pub(crate) fn detach(run_dir: &Path) -> Result<()> {
    use rustix::io::Errno;
    let shm = run_dir.join("shm");
    match rustix::mount::unmount(&shm, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Not there, or not a mount.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => Ok(()),
        // A process without the right to mount has not mounted it either.
        Err(Errno::PERM) => Ok(()),
        Err(e) => Err(errno(format!("umount {}", shm.display()))(e)),
    }
}
