//! `cp`: files between a container and here.
//!
//! Which name the copy gets follows Docker's rules, which are cp(1)'s made exact: what exists, what is a folder and
//! what ends in `/` or `/.` decides. Reading and writing files is `tree`'s; this file only picks folders and names.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use api::archive_calls::ArchivePutOptions;
use api::stream::ByteStream;
use bytes::{Buf, Bytes};
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tree::Placing;

use crate::error::{Error, io_text};
use crate::grammar::Parsed;
use crate::session::Session;
use crate::stdio::{AsyncIn, AsyncOut};
use crate::units::human_size;

/// Chunks between the thread that reads or writes files and the connection.
const CHUNKS: usize = 4;
const CHUNK_LEN: usize = 64 * 1024;
/// Docker gives up on longer chains of links.
const MAX_LINKS: usize = 10;

const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26 | 1 << 21;

/// One end of a copy that may or may not exist.
struct End {
    path: String,
    exists: bool,
    is_folder: bool,
}

/// `cp`
pub async fn cp(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let (from, to) = (parsed.args[0].as_str(), parsed.args[1].as_str());
    for (word, what) in [(from, "source"), (to, "destination")] {
        if word.is_empty() {
            return Err(Error::failed(format!("{what} can not be empty")));
        }
    }
    match (split(from), split(to)) {
        ((Some(container), source), (None, target)) => {
            from_container(session, parsed, container, source, target).await
        }
        ((None, source), (Some(container), target)) => {
            to_container(session, parsed, container, source, target).await
        }
        ((Some(_), _), (Some(_), _)) => Err(Error::failed("copying between containers is not supported")),
        ((None, _), (None, _)) => Err(Error::failed("must specify at least one container source")),
    }
}

/// `CONTAINER:PATH`, or a path here.
fn split(word: &str) -> (Option<&str>, &str) {
    match word.split_once(':') {
        Some((container, path)) if !word.starts_with('/') && !container.starts_with('.') => {
            (Some(container).filter(|c| !c.is_empty()), path)
        }
        _ => (None, word),
    }
}

async fn from_container(
    session: &Session<'_>,
    parsed: &Parsed,
    container: &str,
    source: &str,
    target: &str,
) -> Result<(), Error> {
    let client = session.client().await?;
    let target = if target == "-" { target.to_owned() } else { local(target)? };
    if target != "-" {
        check_output(Path::new(&target))?;
    }
    let (mut source, mut name) = (source.to_owned(), None);
    if parsed.switch("follow-link")
        && let Ok(stat) = client.archive_stat(container, &source).await
        && stat.mode & GO_SYMLINK != 0
    {
        let asked = base(&source);
        source = like(&stat.link_target, &source);
        name = Some(asked);
    }
    let (stat, mut archive) = client.archive_get(container, &source).await?;
    if target == "-" {
        let out = AsyncOut::new(session.out);
        while let Some(chunk) = archive.next().await? {
            out.write(&chunk).await?;
        }
        return Ok(());
    }
    let first = match base(&source).as_str() {
        "/" => String::new(),
        name => name.to_owned(),
    };
    let name = name.unwrap_or_else(|| first.clone());
    let end = local_target(&target)?;
    let (folder, name) = place_of(&name, stat.mode & GO_DIRECTORY != 0, &end)?;
    let placing = Placing {
        keep_kinds: true,
        keep_owner: true,
        renamed: (name != first).then(|| (first.into_bytes(), name.into_bytes())),
        shown: folder,
        ..Placing::default()
    };
    let count = receive(archive, placing).await?;
    report(session, parsed, count, &target);
    Ok(())
}

/// Unpacks an archive as it comes; its bytes.
async fn receive(mut archive: ByteStream, placing: Placing) -> Result<u64, Error> {
    let opened = open_folder(Path::new(&placing.shown))?;
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let placed = tokio::task::spawn_blocking(move || {
        let mut input = ChunkReader { chunks, current: Bytes::new(), count: 0 };
        tree::place(opened, &mut input, &placing).map(|()| input.count)
    });
    let mut broken = None;
    loop {
        let chunk = match archive.next().await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => break,
            Err(error) => {
                broken = Some(error);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        };
        if sender.send(chunk).await.is_err() || broken.is_some() {
            break;
        }
    }
    drop(sender);
    let placed = placed.await.map_err(|e| Error::failed(e.to_string()))?;
    if let Some(error) = broken {
        return Err(error.into());
    }
    placed.map_err(|e| failed(&e))
}

async fn to_container(
    session: &Session<'_>,
    parsed: &Parsed,
    container: &str,
    source: &str,
    target: &str,
) -> Result<(), Error> {
    let client = session.client().await?;
    let source = if source == "-" { source.to_owned() } else { local(source)? };
    let mut end = End { path: target.to_owned(), exists: false, is_folder: false };
    let mut stat = client.archive_stat(container, target).await.ok();
    if let Some(link) = stat.take_if(|stat| stat.mode & GO_SYMLINK != 0) {
        end.path = link.link_target;
        stat = Some(client.archive_stat(container, &end.path).await?);
    }
    if let Some(stat) = stat {
        if stat.mode & GO_DEVICE != 0 {
            return Err(Error::failed(format!(
                "destination \"{container}:{target}\" must be a directory or a regular file: got a device"
            )));
        }
        (end.exists, end.is_folder) = (true, stat.mode & GO_DIRECTORY != 0);
    }
    let options =
        ArchivePutOptions { no_overwrite_dir_non_dir: true, copy_uid_gid: parsed.switch("archive") };
    if source == "-" {
        if !end.is_folder {
            return Err(Error::failed(format!("destination \"{container}:{target}\" must be a directory")));
        }
        return Ok(client.archive_put(container, &end.path, options, AsyncIn::new(session.stdin)).await?);
    }
    let found = Source::find(&source, parsed.switch("follow-link"))?;
    let (folder, name) = place_of(&found.shown, found.is_folder, &end)?;
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let packed = tokio::task::spawn_blocking(move || {
        let mut out = ChunkWriter { sender, buffer: Vec::with_capacity(CHUNK_LEN), count: 0 };
        let packed = tree::pack(found.folder, &found.name, Some(name.as_bytes()), &mut out);
        if let Err(error) = &packed {
            // The request must not look complete.
            let _ = out.sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        packed.map(|()| out.count)
    });
    let body = ChunkBody { chunks, current: Bytes::new() };
    let put = client.archive_put(container, &folder, options, body).await;
    let packed = packed.await.map_err(|e| Error::failed(e.to_string()))?;
    match (put, packed) {
        // What the engine says counts: the sending then broke off for it.
        (Err(error @ api::Error::Engine { .. }), _) => Err(error.into()),
        (_, Err(error)) => Err(failed(&error)),
        (Err(error), Ok(_)) => Err(error.into()),
        (Ok(()), Ok(count)) => {
            report(session, parsed, count, &format!("{container}:{}", end.path));
            Ok(())
        }
    }
}

/// Docker's checks of where the copy shall go.
fn check_output(path: &Path) -> Result<(), Error> {
    let clean = cleaned(&path.to_string_lossy());
    let folder = Path::new(&clean).parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        return Err(Error::failed(format!("invalid output path: directory {folder:?} does not exist")));
    }
    let kind = std::fs::metadata(path).map(|meta| meta.file_type());
    if kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device()) {
        return Err(Error::failed(format!(
            "invalid output path: {path:?} must be a directory or a regular file: got a device"
        )));
    }
    Ok(())
}

/// The folder that the archive goes to, and what the copy is called there.
fn place_of(name: &str, is_folder: bool, end: &End) -> Result<(String, String), Error> {
    match () {
        () if end.exists && end.is_folder => Ok((end.path.clone(), name.to_owned())),
        () if end.exists && is_folder => Err(Error::failed("cannot copy directory")),
        () if !end.exists && !is_folder && asserts_folder(&end.path) => {
            Err(Error::failed("no such directory"))
        }
        () => {
            let clean = cleaned(&end.path);
            let folder = match clean.rsplit_once('/') {
                None => ".".to_owned(),
                Some(("", _)) => "/".to_owned(),
                Some((folder, _)) => folder.to_owned(),
            };
            Ok((folder, base(&clean)))
        }
    }
}

/// What is copied from here.
struct Source {
    folder: OwnedFd,
    /// In that folder; empty for itself.
    name: CString,
    shown: String,
    is_folder: bool,
}

impl Source {
    fn find(path: &str, follow: bool) -> Result<Source, Error> {
        let lstat =
            |path: &Path, e: io::Error| Error::failed(format!("lstat {}: {}", path.display(), io_text(&e)));
        let mut resolved = PathBuf::from(path);
        if follow {
            let whole = std::fs::canonicalize(path).map_err(|e| lstat(Path::new(path), e))?;
            resolved = PathBuf::from(like(&whole.to_string_lossy(), path));
        }
        let meta = std::fs::symlink_metadata(&resolved).map_err(|e| lstat(&resolved, e))?;
        let shown = base(path);
        let shown = if shown == "/" { String::new() } else { shown };
        if meta.is_dir() {
            let folder = open_folder(&resolved)?;
            return Ok(Source { folder, name: CString::default(), shown, is_folder: true });
        }
        let folder = open_folder(resolved.parent().unwrap_or(Path::new("/")))?;
        let name = resolved.file_name().unwrap_or_default().as_bytes();
        let name =
            CString::new(name).map_err(|_| Error::failed(format!("lstat {path}: invalid argument")))?;
        Ok(Source { folder, name, shown, is_folder: false })
    }
}

/// The end of a copy to here, links followed.
fn local_target(path: &str) -> Result<End, Error> {
    let lstat =
        |path: &Path, e: io::Error| Error::failed(format!("lstat {}: {}", path.display(), io_text(&e)));
    let mut at = PathBuf::from(path);
    for _ in 0..=MAX_LINKS {
        let meta = match std::fs::symlink_metadata(&at) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let clean = cleaned(&at.to_string_lossy());
                let parent = Path::new(&clean).parent().unwrap_or(Path::new("/"));
                let meta = std::fs::metadata(parent).map_err(|e| lstat(parent, e))?;
                if !meta.is_dir() {
                    return Err(Error::failed("not a directory"));
                }
                let path = at.to_string_lossy().into_owned();
                return Ok(End { path, exists: false, is_folder: false });
            }
            Err(e) => return Err(lstat(&at, e)),
        };
        if !meta.is_symlink() {
            let path = at.to_string_lossy().into_owned();
            return Ok(End { path, exists: true, is_folder: meta.is_dir() });
        }
        let target = std::fs::read_link(&at).map_err(|e| lstat(&at, e))?;
        at = at.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(Error::failed(format!("too many levels of symbolic links in {path}")))
}

fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| Error::failed(format!("open {}: {}", path.display(), io_text(&e.into()))))
}

/// An absolute path; `/` and `/.` at its end stay.
fn local(path: &str) -> Result<String, Error> {
    let mut whole = OsString::new();
    if !path.starts_with('/') {
        let here = std::env::current_dir().map_err(|e| Error::io("getwd", e))?;
        whole.push(here);
        whole.push("/");
    }
    whole.push(OsStr::from_bytes(path.as_bytes()));
    let whole = String::from_utf8_lossy(&whole.into_vec()).into_owned();
    Ok(like(&cleaned(&whole), path))
}

/// A path that ends in `/` or `/.` as `example` does.
fn like(path: &str, example: &str) -> String {
    let mut path = cleaned(path);
    if (example.ends_with("/.") || example == ".") && base(&path) != "." {
        path.push_str(if path.ends_with('/') { "." } else { "/." });
    } else if example.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}

fn asserts_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

/// Go's `filepath.Clean`.
fn cleaned(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The last part of a path; `.` of one that ends in it.
fn base(path: &str) -> String {
    if path.ends_with("/.") || path == "." {
        return ".".to_owned();
    }
    let path = cleaned(path);
    match path.rsplit_once('/') {
        Some(("", "")) => "/".to_owned(),
        Some((_, name)) => name.to_owned(),
        None => path,
    }
}

fn failed(error: &tree::Error) -> Error {
    Error::failed(crate::error::chain(error))
}

/// What Docker tells a person; a script is told nothing.
fn report(session: &Session<'_>, parsed: &Parsed, bytes: u64, target: &str) {
    let quiet = if parsed.changed("quiet") { parsed.switch("quiet") } else { !session.err.is_terminal() };
    if !quiet {
        let size = human_size(i64::try_from(bytes).unwrap_or(i64::MAX), 3);
        session.err.note(&format!("Successfully copied {size} to {target}"));
    }
}

type Chunk = io::Result<Bytes>;

/// What comes over the connection, for code that blocks.
struct ChunkReader {
    chunks: mpsc::Receiver<Chunk>,
    current: Bytes,
    count: u64,
}

impl Read for ChunkReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let n = self.current.len().min(buf.len());
        self.current.copy_to_slice(&mut buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

/// What blocking code writes, for the connection.
struct ChunkWriter {
    sender: mpsc::Sender<Chunk>,
    buffer: Vec<u8>,
    count: u64,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_LEN - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_LEN {
            self.flush()?;
        }
        self.count += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_LEN));
        self.sender.blocking_send(Ok(full.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A request's body made of chunks.
struct ChunkBody {
    chunks: mpsc::Receiver<Chunk>,
    current: Bytes,
}

impl AsyncRead for ChunkBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match std::task::ready!(self.chunks.poll_recv(cx)) {
                Some(chunk) => self.current = chunk?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.current.len().min(buf.remaining());
        buf.put_slice(&self.current.split_to(n));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split() {
        for (word, expected) in [
            ("box:/a", (Some("box"), "/a")),
            ("box:", (Some("box"), "")),
            ("/a:b", (None, "/a:b")),
            ("./a:b", (None, "./a:b")),
            ("a", (None, "a")),
            ("-", (None, "-")),
        ] {
            assert_eq!(split(word), expected, "{word}");
        }
    }

    /// (name, is it a folder, target, exists, is a folder) → folder and name there.
    #[test]
    fn names_are_dockers() {
        for (name, is_folder, target, exists, target_is_folder, expected) in [
            ("a", false, "/t", true, true, Ok(("/t", "a"))),
            ("d", true, "/t/", true, true, Ok(("/t/", "d"))),
            (".", true, "/t", true, true, Ok(("/t", "."))),
            ("d", true, "/t", true, false, Err("cannot copy directory")),
            ("a", false, "/t/f", true, false, Ok(("/t", "f"))),
            ("d", true, "/t/new", false, false, Ok(("/t", "new"))),
            (".", true, "/t/new/", false, false, Ok(("/t", "new"))),
            ("a", false, "/t/new/", false, false, Err("no such directory")),
            ("a", false, "/new", false, false, Ok(("/", "new"))),
            ("a", false, "new", false, false, Ok((".", "new"))),
        ] {
            let end = End { path: target.to_owned(), exists, is_folder: target_is_folder };
            let got = place_of(name, is_folder, &end).map_err(|e| e.to_string());
            let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).map_err(str::to_owned);
            assert_eq!(got, expected, "{name} to {target}");
        }
    }
}
