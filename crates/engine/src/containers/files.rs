//! Files into and out of a container: `cp`'s calls, and `export`.
//!
//! Archives are made and unpacked without the container's lock: a client that stops reading or sending holds up
//! nobody. Only for writing to a container that does not run the lock is held, and there what the client sends lies
//! in a file before: unpacking takes as long as the disk does.
//!
//! Texts are dockerd's. This file does not know tar ([`tree`]) nor how a container's tree is put together
//! ([`super::view`]).

use super::view::Access;
use crate::error::{Error, Kind, Result, chain, errno, io};
use crate::{Container, Engine, MountPoint};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, OFlags, Stat, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use sys::root::Root;
use tree::Placing;

/// As the kernel: more links on one path are a loop (MAXSYMLINKS is 40; Go allows 255).
const MAX_LINKS: usize = 255;

/// What a path in a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Its last part as it was asked for.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// `st_mode`.
    pub mode: u32,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Where a link leads in the end.
    pub link_target: String,
}

/// How [`Engine::extract_to`] unpacks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extract {
    /// The files belong to the container's user.
    pub owned_by_user: bool,
    /// A folder may not replace a file, nor the other way round.
    pub keep_kinds: bool,
}

/// Files of a container that were found; writing them is the long part.
#[derive(Debug)]
pub struct Archive {
    folder: OwnedFd,
    /// In that folder; empty for itself.
    name: CString,
    /// What it is called; `None`: only what is in it.
    shown: Option<Vec<u8>>,
    engine: Engine,
    container: Box<Container>,
    event: &'static str,
}

impl Archive {
    /// Writes the tar.
    pub fn write(self, out: impl Write) -> Result<()> {
        tree::pack(self.folder, &self.name, self.shown.as_deref(), out).map_err(|e| plain(e.into()))?;
        self.engine.tell_container(&self.container, self.event, &[]);
        Ok(())
    }
}

impl Engine {
    /// What a path in a container is.
    pub fn stat_path(&self, word: &str, path: &str) -> Result<PathStat> {
        let (_, root) = self.readable(word)?;
        stat_in(&root, word, path)
    }

    /// A path of a container with all that is in it.
    pub fn archive_path(&self, word: &str, path: &str) -> Result<(PathStat, Archive)> {
        let (container, root) = self.readable(word)?;
        let stat = stat_in(&root, word, path)?;
        let absolute = absolute(path);
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            root.open(path, flags, 0).map_err(|e| missing(&e, word, path.to_string_lossy().as_ref()))
        };
        let is_folder = stat.mode & 0o170_000 == 0o040_000;
        let (folder, name, shown) = if is_folder {
            let shown = if stat.name == "/" { String::new() } else { stat.name.clone() };
            (open(&absolute)?, OsString::new(), shown)
        } else {
            let parent = absolute.parent().unwrap_or(Path::new("/"));
            // The way there may be links, which lead somewhere inside.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let parent = root.open(parent, flags, 0).map_err(|e| missing(&e, word, path))?;
            let name = absolute.file_name().unwrap_or_default().to_os_string();
            (parent, name, stat.name.clone())
        };
        let name = CString::new(name.into_vec()).map_err(|_| no_file(word, path))?;
        let (engine, shown) = (self.clone(), Some(shown.into_bytes()));
        let container = Box::new(container);
        Ok((stat, Archive { folder, name, shown, engine, container, event: "archive-path" }))
    }

    /// A container's root, without what is mounted into it.
    pub fn export_container(&self, word: &str) -> Result<Archive> {
        let container = self.container(word)?;
        let root = self.bare_root(&container)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = root.open(Path::new("."), flags, 0)?;
        let (engine, container) = (self.clone(), Box::new(container));
        Ok(Archive { folder, name: CString::default(), shown: None, engine, container, event: "export" })
    }

    /// Unpacks a tar into a folder of a container.
    pub fn extract_to(&self, word: &str, path: &str, how: Extract, mut content: impl Read) -> Result<()> {
        let container = self.container(word)?;
        if container.is_running() {
            let root = self.files_of(&container, Access::Write)?;
            self.place(&container, &root, word, path, how, content)?;
        } else {
            // What can be told at once is told before anything is read.
            let (_, root) = self.readable(word)?;
            destination(&container, &root, word, path)?;
            let mut spool = self.spool(&container.id)?;
            std::io::copy(&mut content, &mut spool).map_err(received)?;
            spool.rewind().map_err(io("read what was received"))?;
            let _lock = self.paths().lock(&container.id)?;
            let container = self.container(&container.id)?;
            let root = self.files_of(&container, Access::Write)?;
            self.place(&container, &root, word, path, how, spool)?;
        }
        self.tell_container(&container, "extract-to-dir", &[]);
        Ok(())
    }

    fn place(
        &self,
        container: &Container,
        root: &Root,
        word: &str,
        path: &str,
        how: Extract,
        content: impl Read,
    ) -> Result<()> {
        let (folder, shown) = destination(container, root, word, path)?;
        let user = container.config.user.as_str();
        let owner = if how.owned_by_user && !user.is_empty() {
            let user = super::resolve_user_in(root, user, &[]).map_err(|e| lookup_failed(user, e))?;
            Some((user.uid, user.gid))
        } else {
            None
        };
        let shown = shown.to_string_lossy().into_owned();
        let placing = Placing { owner, keep_kinds: how.keep_kinds, shown, ..Placing::default() };
        let content = store::decompressed(content).map_err(plain)?;
        tree::place(folder, content, &placing).map_err(|e| plain(e.into()))
    }

    /// A container and its files for reading.
    fn readable(&self, word: &str) -> Result<(Container, Root)> {
        let container = self.container(word)?;
        if container.is_running() {
            let root = self.files_of(&container, Access::Read)?;
            return Ok((container, root));
        }
        // Mount points are made while nobody starts it; what is read then needs no lock.
        let _lock = self.paths().lock(&container.id)?;
        let container = self.container(&container.id)?;
        let root = self.files_of(&container, Access::Read)?;
        Ok((container, root))
    }

    /// A file for what a client sends, which has no name.
    fn spool(&self, id: &str) -> Result<std::fs::File> {
        let path = self.paths().container(id).join(format!(".received-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(io(format!("create {}", path.display())))?;
        std::fs::remove_file(&path).map_err(io(format!("remove {}", path.display())))?;
        Ok(file)
    }
}

/// The folder that an archive goes to, and its path in the container.
fn destination(container: &Container, root: &Root, word: &str, path: &str) -> Result<(OwnedFd, PathBuf)> {
    let absolute = absolute(path);
    let fd = root.resolve(&absolute).map_err(|e| missing(&e, word, path))?;
    if sys::root::file_type(fd.as_fd())? != rustix::fs::FileType::Directory {
        return Err(Error::invalid("extraction point is not a directory"));
    }
    let resolved = followed(root, &absolute);
    let inside = |point: &&MountPoint| resolved.starts_with(&point.destination);
    // The innermost one counts.
    match container.mounts.iter().filter(inside).max_by_key(|point| point.destination.len()) {
        Some(point) if !point.read_write => {
            return Err(Error::invalid("mounted volume is marked read-only"));
        }
        Some(point) if point.idmap => {
            return Err(Error::unsupported("copying into a mount with the option idmap"));
        }
        Some(_) => {}
        None if container.host.read_only => {
            return Err(Error::invalid("container rootfs is marked read-only"));
        }
        None => {}
    }
    Ok((fd, resolved))
}

fn stat_in(root: &Root, word: &str, path: &str) -> Result<PathStat> {
    let absolute = absolute(path);
    let fd = root.resolve_no_follow(&absolute).map_err(|e| missing(&e, word, path))?;
    let stat: Stat = rustix::fs::fstat(&fd).map_err(errno("fstat"))?;
    let link_target = match stat.st_mode & 0o170_000 {
        0o120_000 => followed(root, &absolute).to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(PathStat {
        name: base_name(&absolute),
        size: stat.st_size,
        mode: stat.st_mode,
        mtime_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos),
        link_target,
    })
}

/// Go's `filepath.Join("/", path)`; a last `.` or `/` stays.
fn absolute(path: &str) -> PathBuf {
    let mut clean = crate::mounts::clean(&format!("/{path}"));
    if clean != "/" {
        if path.ends_with("/.") || path == "." {
            clean.push_str("/.");
        } else if path.ends_with('/') {
            clean.push('/');
        }
    }
    PathBuf::from(clean)
}

/// Go's `filepath.Base`.
fn base_name(absolute: &Path) -> String {
    let text = absolute.to_string_lossy();
    match text.trim_end_matches('/').rsplit_once('/') {
        Some((_, name)) => name.to_string(),
        None => "/".to_string(),
    }
}

/// The path that is left when all links of `path` are followed within the root, as far as there is something.
fn followed(root: &Root, path: &Path) -> PathBuf {
    let mut done = PathBuf::from("/");
    let mut todo: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let folder = root.open(&done, OFlags::PATH | OFlags::DIRECTORY, 0);
        let target = folder.ok().and_then(|folder| {
            let stat = statat(&folder, &part, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            (stat.st_mode & 0o170_000 == 0o120_000).then(|| readlinkat(&folder, &part, Vec::new()).ok())?
        });
        match target {
            Some(target) if links < MAX_LINKS => {
                links += 1;
                let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                todo.extend(parts(target));
            }
            _ => done.push(part),
        }
    }
    done
}

/// A path's parts, the first at the end.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(part).collect()
}

fn missing(e: &sys::Error, word: &str, path: &str) -> Error {
    match Errno::from_raw_os_error(e.errno()) {
        Errno::NOENT => no_file(word, path),
        code => Error::new(Kind::Internal, format!("lstat {}: {code}", absolute(path).display())),
    }
}

fn no_file(word: &str, path: &str) -> Error {
    Error::not_found(format!("Could not find the file {path} in container {word}"))
}

fn lookup_failed(user: &str, e: Error) -> Error {
    let why = e.message.rsplit(": ").next().unwrap_or_default().to_string();
    Error::invalid(format!("failed to look up user {user:?} in container: {why}"))
}

/// What broke off while it was received.
fn received(e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::new(Kind::Internal, "unexpected EOF"),
        _ => Error::new(Kind::Internal, format!("write what was received: {e}")),
    }
}

/// The store's error in one line.
fn plain(e: store::Error) -> Error {
    Error::new(Kind::Internal, chain(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_gos() {
        for (path, expected, base) in [
            ("a/b", "/a/b", "b"),
            ("/a/b/", "/a/b/", "b"),
            ("/a/b/.", "/a/b/.", "."),
            ("/", "/", "/"),
            (".", "/", "/"),
            ("/../../etc", "/etc", "etc"),
            ("a//b/../c", "/a/c", "c"),
        ] {
            let got = absolute(path);
            assert_eq!((got.as_os_str(), base_name(&got).as_str()), (OsStr::new(expected), base), "{path}");
        }
    }

    #[test]
    fn links_are_followed_inside() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join("d/e")).unwrap();
        for (name, target) in [
            ("abs", "/d"),
            ("up", "../../../d"),
            ("dang", "nowhere"),
            ("loop", "loop"),
            ("d/back", "../abs/e"),
        ] {
            std::os::unix::fs::symlink(target, base.path().join(name)).unwrap();
        }
        let root = Root::open_dir(base.path()).unwrap();
        for (path, expected) in [
            ("/d", "/d"),
            ("/abs/e", "/d/e"),
            ("/up/e", "/d/e"),
            ("/dang", "/nowhere"),
            ("/d/back", "/d/e"),
            ("/nope/x", "/nope/x"),
            ("/loop", "/loop"),
        ] {
            assert_eq!(followed(&root, Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
