//! Containers on disk, for the command line: one folder each.
//!
//! ```text
//! ROOT/ID/            0700
//!   lock              held (OFD) while create, start or delete change something
//!   state.json        0600, replaced atomically: what `state` answers from
//!   config.json       0600, the spec as it was at create: exec must not see a later one
//!   exec.fifo         0600, there between create and start: init waits at it
//! ```
//!
//! Invariants. The folder's creation is what makes an id unique. `state.json` is there before the first side
//! effect outside of the folder, so that `delete --force` can clean up after a killed `create`. A process
//! is named by pid and start time, never by pid alone.
//!
//! The library's calls do not use this module: the shim keeps its own state.

use crate::error::{Error, Kind, Result, What};
use crate::validate;
use oci::runtime::Spec;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, mknodat, openat, statat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::lock::Lock;
use sys::process::Stat;

pub use oci::runtime::Status;

/// A spec or state larger than this is not read.
pub(crate) const FILE_MAX: u64 = 16 << 20;
const FIFO: &str = "exec.fifo";

/// A folder of containers.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
}

/// What is remembered of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Layout of this file.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// Init's pid; 0 while it is being created.
    pub pid: i32,
    /// Init's start in clock ticks after boot.
    pub start_time: u64,
    /// The bundle's folder.
    pub bundle: PathBuf,
    /// The root outside.
    pub rootfs: PathBuf,
    /// When it was created (RFC 3339).
    pub created: String,
    /// Path of its cgroup below each hierarchy.
    pub cgroup: PathBuf,
    /// Who created it.
    pub owner: u32,
    /// From the spec.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// One container's folder, open.
#[derive(Debug)]
pub struct Container {
    dir: OwnedFd,
    parent: OwnedFd,
    /// What is known of it.
    pub state: State,
}

impl State {
    /// The layout that this version writes and reads.
    pub const VERSION: u32 = 1;
}

impl Root {
    /// The containers below `path`, which is made when the first one is.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// Makes the folder of a new container and writes its first state and its spec.
    pub fn create(&self, state: State, spec: &Spec) -> Result<(Container, Lock)> {
        validate::id(&state.id)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .what(|| format!("mkdir({:?})", self.path))?;
        let parent = self.open()?;
        match mkdirat(&parent, &state.id, Mode::from(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Error::new(Kind::Exists, "container with given ID already exists"));
            }
            Err(e) => return Err(Error::kernel(format!("mkdir({:?})", self.path.join(&state.id)), e)),
        }
        let dir = open_dir(&parent, &state.id)?;
        let lock = Lock::exclusive(dir.as_fd(), "lock")?;
        let container = Container { dir, parent, state };
        sys::durable::write_volatile(container.dir.as_fd(), "config.json", &spec.to_vec(), 0o600)?;
        container.save()?;
        Ok((container, lock))
    }

    /// Opens a container.
    pub fn load(&self, id: &str) -> Result<Container> {
        validate::id(id)?;
        let missing = || Error::new(Kind::NoContainer, "container does not exist");
        let parent = self.open().map_err(|_| missing())?;
        let dir = match openat(&parent, id, DIR_FLAGS, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Err(missing()),
            Err(e) => return Err(Error::kernel(format!("open({:?})", self.path.join(id)), e)),
        };
        let Some(bytes) = read(dir.as_fd(), "state.json")? else { return Err(missing()) };
        let state: State = serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(Kind::Invalid, format!("state of container {id}: {e}")))?;
        if state.version != State::VERSION {
            let text = format!(
                "state of container {id} has version {}, this runtime knows {}",
                state.version,
                State::VERSION
            );
            return Err(Error::new(Kind::Unsupported, text));
        }
        Ok(Container { dir, parent, state })
    }

    /// All containers, by id; what cannot be read is left out.
    pub fn list(&self) -> Result<Vec<Container>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::kernel(format!("opendir({:?})", self.path), e)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut all: Vec<Container> = names.filter_map(|id| self.load(&id).ok()).collect();
        all.sort_by(|a, b| a.state.id.cmp(&b.state.id));
        Ok(all)
    }

    /// Removes the folder of a container whose state was never written.
    pub fn remove_remains(&self, id: &str) -> Result<()> {
        validate::id(id)?;
        match self.open() {
            Ok(parent) => remove_dir(parent.as_fd(), id),
            Err(_) => Ok(()),
        }
    }

    fn open(&self) -> Result<OwnedFd> {
        rustix::fs::open(&self.path, DIR_FLAGS, Mode::empty()).what(|| format!("open({:?})", self.path))
    }
}

impl Container {
    /// Waits for the right to change this container.
    pub fn lock(&self) -> Result<Lock> {
        Ok(Lock::exclusive(self.dir.as_fd(), "lock")?)
    }

    /// Writes the state.
    pub fn save(&self) -> Result<()> {
        self.save_as(&self.state)
    }

    /// Writes a newer state of the same container.
    pub fn save_as(&self, state: &State) -> Result<()> {
        let bytes = serde_json::to_vec(state).map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
        Ok(sys::durable::write(self.dir.as_fd(), "state.json", &bytes, 0o600)?)
    }

    /// The spec as it was at create.
    pub fn spec(&self) -> Result<Spec> {
        let bytes = read(self.dir.as_fd(), "config.json")?.ok_or_else(|| {
            Error::new(Kind::Invalid, format!("container {} has lost its config.json", self.state.id))
        })?;
        Spec::from_slice(&bytes).map_err(|e| Error::new(Kind::Invalid, format!("config.json: {e}")))
    }

    /// What it does right now.
    pub fn status(&self) -> Status {
        if self.state.pid == 0 {
            // Between mkdir and the first pid; a creator that is dead leaves the lock free.
            let creating = sys::lock::is_held(self.dir.as_fd(), "lock").unwrap_or(false);
            return if creating { Status::Creating } else { Status::Stopped };
        }
        match Stat::read(&self.state.pid.to_string()) {
            Ok(stat) if stat.start_time == self.state.start_time && !matches!(stat.state, 'Z' | 'X') => {
                if self.has_fifo() {
                    Status::Created
                } else {
                    Status::Running
                }
            }
            _ => Status::Stopped,
        }
    }

    /// A pidfd of init, if it lives.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        let stopped = || Error::new(Kind::State, "container not running");
        let pidfd = sys::process::pidfd(self.state.pid).map_err(|_| stopped())?;
        // Only after the open: the pid cannot change hands any more.
        match self.status() {
            Status::Stopped => Err(stopped()),
            _ => Ok(pidfd),
        }
    }

    /// Makes the fifo at which init waits; returns it open for both directions, so that neither opening it nor
    /// the lack of a writer is an event.
    pub fn make_fifo(&self) -> Result<OwnedFd> {
        mknodat(&self.dir, FIFO, FileType::Fifo, Mode::from(0o600), 0).what(|| "mkfifo(exec.fifo)")?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.dir, FIFO, flags, Mode::empty()).what(|| "open(exec.fifo)")
    }

    /// Lets init pass its gate; false when it is dead: nobody has the fifo open then (fifo(7): ENXIO).
    pub fn open_gate(&self) -> Result<bool> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.dir, FIFO, flags, Mode::empty()) {
            Err(Errno::NXIO) => Ok(false),
            Err(e) => Err(e).what(|| "open exec fifo"),
            Ok(fifo) => {
                sys::durable::write_all(fifo.as_fd(), b"0").what(|| "write exec fifo")?;
                Ok(true)
            }
        }
    }

    /// The gate is open for good.
    pub fn remove_fifo(&self) -> Result<()> {
        unlinkat(&self.dir, FIFO, AtFlags::empty()).what(|| "unlink(exec.fifo)")
    }

    /// Removes the container's folder.
    pub fn remove(&self) -> Result<()> {
        remove_dir(self.parent.as_fd(), &self.state.id)
    }

    fn has_fifo(&self) -> bool {
        statat(&self.dir, FIFO, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_dir(at: &OwnedFd, name: &str) -> Result<OwnedFd> {
    openat(at, name, DIR_FLAGS, Mode::empty()).what(|| format!("open({name:?})"))
}

fn read(dir: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    let fd = match openat(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(Error::kernel(format!("open({name:?})"), e)),
    };
    let mut bytes = Vec::new();
    File::from(fd).take(FILE_MAX).read_to_end(&mut bytes).what(|| format!("read({name:?})"))?;
    Ok(Some(bytes))
}

/// The folder holds files only.
fn remove_dir(parent: BorrowedFd<'_>, id: &str) -> Result<()> {
    let dir = match openat(parent, id, DIR_FLAGS, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(Error::kernel(format!("open({id:?})"), e)),
    };
    for entry in rustix::fs::Dir::read_from(&dir).what(|| format!("opendir({id:?})"))? {
        let entry = entry.what(|| format!("getdents({id:?})"))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            unlinkat(&dir, name, AtFlags::empty()).what(|| format!("unlink({name:?})"))?;
        }
    }
    unlinkat(parent, id, AtFlags::REMOVEDIR).what(|| format!("rmdir({id:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str) -> State {
        State {
            version: State::VERSION,
            id: id.into(),
            pid: 0,
            start_time: 0,
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-24T00:00:00Z".into(),
            cgroup: format!("/{id}").into(),
            owner: 0,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_container_from_birth_to_removal() {
        let path = std::env::temp_dir().join(format!("tare-state-{}", std::process::id()));
        let root = Root::new(&path);
        assert!(root.list().unwrap().is_empty());
        assert_eq!(root.load("a").unwrap_err().to_string(), "container does not exist");
        let spec = Spec { hostname: "h".into(), ..Spec::default() };
        let (mut container, lock) = root.create(state("a"), &spec).unwrap();
        assert_eq!(root.create(state("a"), &spec).unwrap_err().kind(), Kind::Exists);
        assert_eq!(root.load("a").unwrap().status(), Status::Creating);
        drop(lock);
        assert_eq!(root.load("a").unwrap().status(), Status::Stopped, "its creator died");

        container.state.pid = std::process::id() as i32;
        container.state.start_time = Stat::read("self").unwrap().start_time;
        drop(container.make_fifo().unwrap());
        container.save().unwrap();
        let loaded = root.load("a").unwrap();
        assert_eq!((loaded.status(), &loaded.state), (Status::Created, &container.state));
        assert_eq!(loaded.spec().unwrap(), spec);
        loaded.remove_fifo().unwrap();
        assert_eq!(loaded.status(), Status::Running);
        container.state.start_time += 1;
        assert_eq!(container.status(), Status::Stopped, "the pid is somebody else's");
        assert_eq!(container.pidfd().unwrap_err().to_string(), "container not running");
        assert_eq!(root.list().unwrap().len(), 1);
        container.remove().unwrap();
        root.remove_remains("a").unwrap();
        assert!(root.list().unwrap().is_empty());
        std::fs::remove_dir(path).unwrap();
    }
}
