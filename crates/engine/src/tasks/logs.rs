//! Reading a container's json-file log, and following it.
//!
//! The shim writes whole lines, one JSON object each, so that a reader that stops at a line's end
//! is never inside one. A follower waits on inotify for the folder (writes and rotation) and on the
//! container's end; what was written before the end is read before it stops.

use super::wait::Condition;
use crate::Engine;
use crate::error::{Error, Result, errno, io};
use rustix::fs::inotify;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::clock::Time;
use tokio::net::unix::pipe;

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// A longer line is no line of ours: the shim cuts at 16 KiB of output.
const MAX_LINE: usize = 1 << 20;
/// Rotated files that are looked for.
const MAX_FILES: u32 = 1000;

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Also what comes until the container ends.
    pub follow: bool,
    /// Lines of stdout.
    pub stdout: bool,
    /// Lines of stderr.
    pub stderr: bool,
    /// Only that many from the end.
    pub tail: Option<usize>,
    /// Not before.
    pub since: Option<Time>,
    /// Not after.
    pub until: Option<Time>,
}

/// One line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// From stderr.
    pub stderr: bool,
    /// When it was written.
    pub time: Time,
    /// The bytes, with the newline when it had one.
    pub line: Vec<u8>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    log: std::borrow::Cow<'a, str>,
    stream: &'a str,
    time: &'a str,
}

/// Reads the lines one after the other.
#[derive(Debug)]
pub struct LogReader {
    options: LogOptions,
    path: PathBuf,
    /// Older files that are still to be read, the oldest first.
    older: VecDeque<File>,
    file: Option<File>,
    buffer: Vec<u8>,
    start: usize,
    watch: Option<pipe::Receiver>,
    ended: Option<tokio::sync::oneshot::Receiver<()>>,
    last_look: bool,
}

impl Engine {
    /// Opens a container's log; the second value says whether it has a terminal.
    pub fn logs(&self, word: &str, options: LogOptions) -> Result<(LogReader, bool)> {
        let container = self.container(word)?;
        if container.log_path.is_empty() {
            return Err(Error::new(
                crate::Kind::NotImplemented,
                "configured logging driver does not support reading",
            ));
        }
        let path = PathBuf::from(&container.log_path);
        let follow = options.follow && container.is_running();
        // Watched before the first read, so that nothing falls in between.
        let (watch, ended) =
            if follow { (Some(watch(&path)?), Some(self.end_signal(&container.id)?)) } else { (None, None) };
        let mut reader = LogReader {
            options,
            path,
            older: VecDeque::new(),
            file: None,
            buffer: Vec::new(),
            start: 0,
            watch,
            ended,
            last_look: false,
        };
        reader.open()?;
        Ok((reader, container.config.tty))
    }

    fn end_signal(&self, id: &str) -> Result<tokio::sync::oneshot::Receiver<()>> {
        let wait = self.wait(id, Condition::NotRunning)?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let mut sender = sender;
            tokio::select! {
                _ = wait.finish() => { let _ = sender.send(()); }
                () = sender.closed() => {}
            }
        });
        Ok(receiver)
    }
}

impl LogReader {
    /// The next line that the options let through; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            while let Some(line) = self.take_line()? {
                if self.options.until.is_some_and(|until| line.time > until) {
                    return Ok(None);
                }
                if self.wanted(&line) {
                    return Ok(Some(line));
                }
            }
            if self.fill()? {
                continue;
            }
            if let Some(next) = self.next_file()? {
                self.file = Some(next);
                continue;
            }
            if self.watch.is_none() || self.last_look {
                return Ok(None);
            }
            self.wait_for_more().await?;
        }
    }

    fn wanted(&self, line: &LogLine) -> bool {
        let stream = if line.stderr { self.options.stderr } else { self.options.stdout };
        stream && self.options.since.is_none_or(|since| line.time >= since)
    }

    fn open(&mut self) -> Result<()> {
        let mut files = Vec::new();
        files.extend(open(&self.path)?);
        for n in 1..MAX_FILES {
            let mut name = self.path.as_os_str().to_os_string();
            name.push(format!(".{n}"));
            match open(Path::new(&name))? {
                Some(file) => files.push(file),
                None => break,
            }
        }
        if let Some(tail) = self.options.tail {
            files = self.cut(files, tail)?;
        }
        files.reverse();
        self.older = files.into();
        self.file = self.older.pop_front();
        Ok(())
    }

    /// Keeps the files, newest first, that hold the last `tail` wanted lines, and places the
    /// oldest kept one at the first of them.
    fn cut(&self, files: Vec<File>, tail: usize) -> Result<Vec<File>> {
        let mut kept = Vec::new();
        let mut left = tail;
        for mut file in files {
            let size = file.metadata().map_err(io("stat the log"))?.len();
            if left == 0 {
                if kept.is_empty() {
                    file.seek(SeekFrom::End(0)).map_err(io("seek in the log"))?;
                    kept.push(file);
                }
                break;
            }
            let (position, found) = self.tail_position(&mut file, size, left)?;
            file.seek(SeekFrom::Start(position)).map_err(io("seek in the log"))?;
            kept.push(file);
            left -= found;
        }
        Ok(kept)
    }

    /// Where the last `count` wanted lines of a file begin, and how many there are.
    fn tail_position(&self, file: &mut File, size: u64, count: usize) -> Result<(u64, usize)> {
        let mut at = size;
        let mut carried: Vec<u8> = Vec::new();
        let mut found = 0;
        while at > 0 {
            let step = at.min(CHUNK as u64);
            at -= step;
            let mut chunk = vec![0; step as usize];
            file.seek(SeekFrom::Start(at)).map_err(io("seek in the log"))?;
            file.read_exact(&mut chunk).map_err(io("read the log"))?;
            chunk.extend_from_slice(&carried);
            let mut end = chunk.len();
            // A line is whole once the newline before it is in view, or the file's beginning.
            while let Some(newline) = chunk[..end.saturating_sub(1)].iter().rposition(|b| *b == b'\n') {
                if parse(&chunk[newline + 1..end]).is_some_and(|line| self.wanted(&line)) {
                    found += 1;
                    if found == count {
                        return Ok((at + newline as u64 + 1, found));
                    }
                }
                end = newline + 1;
            }
            carried = chunk[..end].to_vec();
            if carried.len() > MAX_LINE {
                return Err(Error::new(
                    crate::Kind::Internal,
                    format!("{} holds a line of more than {MAX_LINE} bytes", self.path.display()),
                ));
            }
        }
        if parse(&carried).is_some_and(|line| self.wanted(&line)) {
            found += 1;
        }
        Ok((0, found))
    }

    fn take_line(&mut self) -> Result<Option<LogLine>> {
        loop {
            let rest = &self.buffer[self.start..];
            let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                if rest.len() > MAX_LINE {
                    let text = format!("{} holds a line of more than {MAX_LINE} bytes", self.path.display());
                    return Err(Error::new(crate::Kind::Internal, text));
                }
                return Ok(None);
            };
            let line = parse(&rest[..=end]);
            self.start += end + 1;
            // A line that cannot be read (a disk that was full) is passed over.
            if line.is_some() {
                return Ok(line);
            }
        }
    }

    /// Reads on in the current file; false at its end.
    fn fill(&mut self) -> Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        self.buffer.drain(..self.start);
        self.start = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + CHUNK, 0);
        let got = file.read(&mut self.buffer[kept..]).map_err(io("read the log"))?;
        self.buffer.truncate(kept + got);
        Ok(got > 0)
    }

    /// The file after the current one: a newer rotated one, or the one that has taken its name.
    fn next_file(&mut self) -> Result<Option<File>> {
        if let Some(next) = self.older.pop_front() {
            return Ok(Some(next));
        }
        let Some(newest) = open(&self.path)? else { return Ok(None) };
        let id = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).map_err(io("stat the log"));
        match &self.file {
            Some(file) if id(file)? == id(&newest)? => Ok(None),
            _ => Ok(Some(newest)),
        }
    }

    async fn wait_for_more(&mut self) -> Result<()> {
        let (Some(watch), Some(ended)) = (&mut self.watch, &mut self.ended) else { return Ok(()) };
        tokio::select! {
            _ = ended => {
                self.last_look = true;
                Ok(())
            }
            ready = watch.readable() => {
                ready.map_err(io("epoll_wait(inotify)"))?;
                // What happened does not matter, only that something did.
                let mut events = [0u8; 4096];
                while watch.try_read(&mut events).is_ok_and(|n| n > 0) {}
                Ok(())
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<LogLine> {
    let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
    Some(LogLine {
        stderr: entry.stream == "stderr",
        time: Time::parse(entry.time)?,
        line: entry.log.as_bytes().to_vec(),
    })
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(format!("open {}", path.display()))(e)),
    }
}

/// An inotify descriptor reads like a pipe, which is the form that tokio takes a plain descriptor in.
fn watch(path: &Path) -> Result<pipe::Receiver> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .map_err(errno("inotify_init1()"))?;
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    let folder = path.parent().unwrap_or(Path::new("/"));
    inotify::add_watch(&fd, folder, events)
        .map_err(errno(format!("inotify_add_watch({})", folder.display())))?;
    pipe::Receiver::from_owned_fd_unchecked(fd).map_err(io("epoll_ctl(inotify)"))
}
