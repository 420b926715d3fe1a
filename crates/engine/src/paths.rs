//! Where everything lies, on disk and in the run root.
//!
//! ```text
//! DATA (0710)                            RUN (0711, tmpfs)
//!   tare.db                                run.db
//!   content/ snapshots/  (crate store)     tare.sock        the daemon's socket
//!   volumes/NAME/_data   (0701)            locks/           network, reconcile, ID: OFD locks
//!   containers/ID/       (0700)
//!     ID-json.log[.N[.gz]]  exit.json      ID/  (0700)      config.json, alive, shim.sock
//!     hosts hostname resolv.conf           trace/           --explain records
//!                                          dns/ (0700) names/  read by resolvers, which are nobody's processes
//! ```

use crate::error::{Result, errno, io};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use sys::lock::Lock;

/// The folders of one installation.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The data root.
    pub data: PathBuf,
    /// The run root.
    pub run: PathBuf,
}

impl Paths {
    /// Makes what is missing.
    pub fn create(data: &Path, run: &Path) -> Result<Self> {
        let paths = Self { data: data.to_path_buf(), run: run.to_path_buf() };
        // One look decides the common case: everything is there.
        if !paths.locks().is_dir() || !paths.containers().is_dir() {
            make(data, 0o710)?;
            make(run, 0o711)?;
            for folder in [paths.containers(), paths.locks(), paths.run.join("trace")] {
                make(&folder, 0o700)?;
            }
        }
        Ok(paths)
    }

    /// `DATA/containers`.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// `DATA/containers/ID`.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// The container's json-file log.
    pub fn log(&self, id: &str) -> PathBuf {
        self.container(id).join(format!("{id}-json.log"))
    }

    /// `DATA/volumes`.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// `DATA/volumes/NAME`.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// `DATA/volumes/NAME/_data`.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume(name).join("_data")
    }

    /// `RUN/ID`: the shim's folder.
    pub fn task(&self, id: &str) -> PathBuf {
        self.run.join(id)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("tare.sock")
    }

    /// A file of trace records; `id` is checked by the caller to be a plain token.
    pub fn trace(&self, id: &str) -> PathBuf {
        self.run.join("trace").join(format!("{id}.jsonl"))
    }

    /// What resolvers read. Others do not get past the folder above; a resolver was given this one.
    pub fn names(&self) -> PathBuf {
        self.run.join("dns").join("names")
    }

    /// The same, made if it is missing.
    pub fn make_names(&self) -> Result<PathBuf> {
        let names = self.names();
        if !names.is_dir() {
            make(&self.run.join("dns"), 0o700)?;
            make(&names, 0o755)?;
        }
        Ok(names)
    }

    fn locks(&self) -> PathBuf {
        self.run.join("locks")
    }

    /// Waits for the named lock: a container's id, `network`, or `reconcile`.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        Ok(Lock::exclusive(rustix::fd::AsFd::as_fd(&self.locks_dir()?), name)?)
    }

    /// Waits for the named lock together with others who share it.
    pub fn lock_shared(&self, name: &str) -> Result<Lock> {
        Ok(Lock::shared(rustix::fd::AsFd::as_fd(&self.locks_dir()?), name)?)
    }

    /// The named lock if it is free.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        Ok(Lock::try_exclusive(rustix::fd::AsFd::as_fd(&self.locks_dir()?), name)?)
    }

    /// Forgets a container's lock file; the caller holds the lock.
    pub fn remove_lock(&self, name: &str) {
        // Whoever opened the file before this holds a lock on a dead inode; the record is gone by then.
        let _ = std::fs::remove_file(self.locks().join(name));
    }

    fn locks_dir(&self) -> Result<OwnedFd> {
        let path = self.locks();
        rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(errno(format!("open {}", path.display())))
    }
}

fn make(path: &Path, mode: u32) -> Result<()> {
    let existed = path.is_dir();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(io(format!("mkdir {}", path.display())))?;
    if !existed {
        // The umask took bits from the mode; what a folder's owner chose later stays as it is.
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(io(format!("chmod {}", path.display())))?;
    }
    Ok(())
}
