//! A new container's empty volumes are filled with what its image has at their places: once, owner and mode included.
//!
//! A file beside the volume's folder says that a copy is under way, so that an interrupted one is begun again by the
//! next container instead of being taken for the user's data.

use super::copy;
use super::local::Borrowed;
use crate::Engine;
use crate::error::{Error, Kind, Result, errno, io};
use crate::mounts::{Kind as MountKind, MountPoint};
use crate::state::Record;
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use std::path::Path;
use sys::root::Root;

/// Beside `_data`: it is being filled.
const FILLING: &str = "filling";

impl Engine {
    /// Fills the empty volumes of a container that is being made; `root` is its root.
    pub(crate) fn fill_volumes(&self, record: &Record, root: &Root) -> Result<()> {
        for point in &record.mounts {
            // As dockerd: with a part of a volume nothing is copied.
            if point.kind == MountKind::Volume && point.copy && point.subpath.is_empty() {
                self.fill_volume(record, root, point)?;
            }
        }
        Ok(())
    }

    fn fill_volume(&self, record: &Record, root: &Root, point: &MountPoint) -> Result<()> {
        let (name, destination) = (point.name.as_str(), point.destination.as_str());
        let source = match root.open(Path::new(destination), OFlags::RDONLY | OFlags::DIRECTORY, 0) {
            Ok(fd) => fd,
            Err(e) if e.errno() == rustix::io::Errno::NOENT.raw_os_error() => return Ok(()),
            Err(e) if e.errno() == rustix::io::Errno::NOTDIR.raw_os_error() => {
                let shown = self.shown_root(&record.id, destination);
                return Err(Error::new(Kind::Internal, format!("source {shown} is not directory")));
            }
            Err(e) => return Err(e.into()),
        };
        let borrowed = Borrowed::new(self, name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = rustix::fs::open(&borrowed.folder, flags, Mode::empty())
            .map_err(errno(format!("open {}", borrowed.folder.display())))?;
        let mark = self.paths().volume(name).join(FILLING);
        if !mark.exists() && !copy::is_empty(&copy::reopen(target.as_fd())?)? {
            return Ok(());
        }
        let mut step = sys::trace::step("fill the volume", "sendfile(2)");
        step.note(format_args!("{name} from {destination}"));
        let empty = copy::is_empty(&copy::reopen(source.as_fd())?)?;
        if !empty {
            std::fs::write(&mark, "").map_err(io(format!("write {}", mark.display())))?;
        }
        let copied = step.check(copy::folder(&source, &target))?;
        let goes_with_it = record.host.auto_remove && point.anonymous;
        if copied && !goes_with_it {
            // Nobody could tell a half of it from the whole after a power loss.
            rustix::fs::syncfs(&target).map_err(errno("syncfs(volume)"))?;
        }
        match std::fs::remove_file(&mark) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(io(format!("remove {}", mark.display()))(e))
            }
            _ => Ok(()),
        }
    }

    /// A path in a container as errors show it: below where its root is mounted.
    pub(crate) fn shown_root(&self, id: &str, path: &str) -> String {
        let root = self.paths().task(id).join("rootfs");
        format!("{}/{}", root.display(), path.trim_start_matches('/'))
    }
}
