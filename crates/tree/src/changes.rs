//! What a container has written on top of its image becomes an image's layer.
//!
//! The upper directory of its overlay is read as it lies: a device 0:0 hides a name and an opaque directory hides
//! what is below it (Documentation/filesystems/overlayfs.rst); in a layer both are said by `.wh.` names (image-spec,
//! layer.md). What was made only so that something could be mounted there is no change.

use crate::error::{Result, errno};
use crate::pack::{Links, Packer, head_of};
use crate::walk::{Found, Walk};
use crate::writer::{Head, TarWriter, Type};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Stat, statat};
use std::ffi::CStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A container's own layer and what is below it.
pub struct Layer<'a> {
    /// The upper directory.
    pub upper: OwnedFd,
    /// The layers below as one tree; `None`: there are none.
    pub lower: Option<OwnedFd>,
    /// Where a start makes what a mount needs (absolute paths): empty, and not in the layers below, it is no change.
    pub given: &'a dyn Fn(&Path) -> bool,
}

impl std::fmt::Debug for Layer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layer")
    }
}

/// Writes the layer as a tar.
pub fn write_changes<W: Write>(layer: Layer<'_>, out: W) -> Result<W> {
    let mut packer = Packer { tar: TarWriter::new(out), links: Links::default() };
    let lower = layer.lower;
    // Folders on the way to a change are written before it, and only then.
    let mut pending: Vec<(PathBuf, Stat)> = Vec::new();
    let mut walk = Walk::new(layer.upper)?;
    while let Some(found) = walk.next()? {
        let absolute = Path::new("/").join(&found.path);
        let below = lower.as_ref().and_then(|lower| below(lower, &found.path));
        pending.retain(|(folder, _)| found.path.starts_with(folder));
        let kind = FileType::from_raw_mode(found.stat.st_mode);
        if kind == FileType::CharacterDevice && found.stat.st_rdev == 0 {
            if below.is_some() {
                write_folders(&mut packer, &mut pending)?;
                hide(&mut packer, &found.path, found.name.to_bytes())?;
            }
            continue;
        }
        let made_for_a_mount = below.is_none() && (layer.given)(&absolute);
        if kind == FileType::Directory {
            if !walk.enter(&found)? {
                continue;
            }
            pending.push((found.path.clone(), found.stat));
            if made_for_a_mount || below.as_ref().is_some_and(|b| same_folder(b, &found.stat)) {
                // Only what is in it can be a change.
                if is_opaque(&found) {
                    write_folders(&mut packer, &mut pending)?;
                    hide(&mut packer, &found.path.join("x"), b".wh..opq")?;
                }
                continue;
            }
            write_folders(&mut packer, &mut pending)?;
            if below.is_some() && is_opaque(&found) {
                hide(&mut packer, &found.path.join("x"), b".wh..opq")?;
            }
            continue;
        }
        if made_for_a_mount && found.stat.st_size == 0 {
            continue;
        }
        write_folders(&mut packer, &mut pending)?;
        packer.add(found.folder.as_fd(), &found.name, &found.stat, found.path.as_os_str().as_bytes())?;
    }
    packer.tar.finish()
}

fn write_folders<W: Write>(packer: &mut Packer<W>, pending: &mut Vec<(PathBuf, Stat)>) -> Result<()> {
    for (path, stat) in pending.drain(..) {
        let name = [path.as_os_str().as_bytes(), b"/"].concat();
        packer.tar.bare(&Head { kind: Type::Directory, ..head_of(&stat, &name) })?;
    }
    Ok(())
}

/// A whiteout beside `path`.
fn hide<W: Write>(packer: &mut Packer<W>, path: &Path, name: &[u8]) -> Result<()> {
    let marked = [b".wh.", name].concat();
    let path = path.with_file_name(std::ffi::OsStr::from_bytes(&marked));
    packer.tar.bare(&Head {
        path: path.as_os_str().as_bytes(),
        link: b"",
        kind: Type::File,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: 0,
        size: 0,
        device: (0, 0),
        xattrs: &[],
    })
}

/// What the layers below have at a path, without following a link on the way.
fn below(lower: &OwnedFd, path: &Path) -> Option<Stat> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat2(lower, parent, flags, Mode::empty(), resolve).ok()?;
    statat(&parent, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// Whether a folder is in the upper directory only for what is in it. Its time counts no more than in `diff`.
fn same_folder(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)
}

fn is_opaque(found: &Found) -> bool {
    let open = |name: &CStr| {
        rustix::fs::openat(&*found.folder, name, crate::walk::FOLDER, rustix::fs::Mode::empty())
            .map_err(errno("cannot open a folder"))
    };
    let mut value = [0; 4];
    let length = |fd: OwnedFd| rustix::fs::fgetxattr(&fd, "trusted.overlay.opaque", &mut value[..]).ok();
    open(&found.name).ok().and_then(length).is_some_and(|n| value.get(..n) == Some(b"y"))
}
