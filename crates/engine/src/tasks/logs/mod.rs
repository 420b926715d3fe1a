//! Reading a container's json-file log, and following it.
//!
//! The shim writes whole lines, one JSON object each, so that a reader that stops at a line's end
//! is never inside one. A follower waits on inotify for the folder (writes and rotation) and on the
//! container's end; what was written before the end is read before it stops. Lines are handed over
//! while they lie in the reader's buffer: none is allocated.

mod entry;
mod files;
mod options;
#[cfg(test)]
mod tests;

use super::wait::Condition;
use crate::Engine;
use crate::error::{Error, Result, errno, io};
use files::{CHUNK, Files, MAX_LINE, Seen, Source};
use rustix::fs::inotify::{self, WatchFlags};
use std::collections::VecDeque;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use sys::clock::Time;
use tokio::net::unix::pipe;

pub use entry::LogLine;
pub use files::compress as compress_log;
pub use options::{DEFAULT_MAX_FILE, DEFAULT_MAX_SIZE};
pub(crate) use options::{check as check_log, go_size, json_file};

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

impl LogOptions {
    fn wants(&self, line: &LogLine<'_>) -> bool {
        let stream = if line.stderr { self.stderr } else { self.stdout };
        stream && self.since.is_none_or(|since| line.time().is_some_and(|time| time >= since))
    }

    fn look(&self, entry: &[u8], text: &mut Vec<u8>) -> Seen {
        match entry::parse(entry, text) {
            Some(line) if self.wants(&line) => Seen::Wanted,
            Some(line) if files::is_long_before(line.time(), self.since) => Seen::LongBefore,
            _ => Seen::Unwanted,
        }
    }
}

/// Reads the lines one after the other.
#[derive(Debug)]
pub struct LogReader {
    options: LogOptions,
    files: Files,
    /// Files that are still to be read, the oldest first.
    queue: VecDeque<Source>,
    current: Option<Source>,
    /// The current file is not written any more.
    rotated: bool,
    /// Wanted lines that `--tail` leaves out.
    skip: usize,
    buffer: Vec<u8>,
    start: usize,
    text: Vec<u8>,
    beginning_lost: bool,
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
        let files = Files(container.log_path.into());
        let follow = options.follow && container.state.status == crate::Status::Running;
        // Watched before the first read, so that nothing falls in between.
        let (watch, ended) = if follow {
            (Some(watch(&files.0)?), Some(self.end_signal(&container.id)?))
        } else {
            (None, None)
        };
        let mut reader = LogReader::new(files, options)?;
        (reader.watch, reader.ended) = (watch, ended);
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
    fn new(files: Files, options: LogOptions) -> Result<Self> {
        let whole = options.tail.is_none() && options.since.is_none();
        let mut reader = Self {
            beginning_lost: whole && files.0.with_file_name(shim::log::LOST).exists(),
            options,
            files,
            queue: VecDeque::new(),
            current: None,
            rotated: false,
            skip: 0,
            buffer: Vec::new(),
            start: 0,
            text: Vec::new(),
            watch: None,
            ended: None,
            last_look: false,
        };
        reader.open()?;
        Ok(reader)
    }

    /// Whether the whole log was asked for and its beginning was rotated away.
    pub fn beginning_lost(&self) -> bool {
        self.beginning_lost
    }

    /// Hands over the next lines that the options let through, some at least; false at the end.
    pub async fn next(&mut self, take: &mut (dyn FnMut(&LogLine<'_>) + Send)) -> Result<bool> {
        loop {
            match self.take_lines(take)? {
                Taken::Some => return Ok(true),
                Taken::Last => return Ok(false),
                Taken::None => {}
            }
            if self.fill()? {
                // There may be much that nobody wants.
                tokio::task::yield_now().await;
                continue;
            }
            if self.next_file()? {
                continue;
            }
            if self.watch.is_none() || self.last_look {
                return Ok(false);
            }
            self.wait_for_more().await?;
        }
    }

    fn open(&mut self) -> Result<()> {
        let mut files = self.files.all()?;
        if let Some(tail) = self.options.tail {
            files = self.cut(files, tail)?;
        } else if let Some(since) = self.options.since {
            files::skip_older(&mut files, since)?;
        }
        files.reverse();
        self.queue = files.into();
        self.current = self.queue.pop_front();
        Ok(())
    }

    /// Keeps the files, newest first, that hold the last `tail` wanted lines, and places the
    /// oldest kept one at the first of them.
    fn cut(&mut self, files: Vec<Source>, tail: usize) -> Result<Vec<Source>> {
        let mut kept = Vec::new();
        let mut left = tail;
        for mut source in files {
            if left == 0 {
                if kept.is_empty()
                    && let Source::Plain(file) = &mut source
                {
                    file.seek(SeekFrom::End(0)).map_err(io("seek in the log"))?;
                    kept.push(source);
                }
                break;
            }
            match &mut source {
                Source::Plain(file) => {
                    let (options, text) = (&self.options, &mut self.text);
                    let (position, found) =
                        files::tail_position(file, left, |entry| options.look(entry, text))?;
                    file.seek(SeekFrom::Start(position)).map_err(io("seek in the log"))?;
                    left -= found;
                }
                Source::Packed { decoder, .. } => {
                    // It can only be read from its beginning: once to count, and then again.
                    let mut file = decoder.get_ref().get_ref().try_clone().map_err(io("dup the log"))?;
                    let found = self.count(&mut source)?;
                    self.skip = found.saturating_sub(left);
                    left = left.saturating_sub(found);
                    file.rewind().map_err(io("seek in the log"))?;
                    source = Source::packed(file);
                }
            }
            kept.push(source);
        }
        Ok(kept)
    }

    /// How many wanted lines a file has.
    fn count(&mut self, source: &mut Source) -> Result<usize> {
        let (mut buffer, mut used, mut found) = (Vec::new(), 0, 0);
        loop {
            while let Some(end) = memchr::memchr(b'\n', &buffer[used..]) {
                let seen = self.options.look(&buffer[used..=used + end], &mut self.text);
                found += usize::from(seen == Seen::Wanted);
                used += end + 1;
            }
            if read_chunk(source, &mut buffer, &mut used)? == 0 {
                return Ok(found);
            }
        }
    }

    fn take_lines(&mut self, take: &mut (dyn FnMut(&LogLine<'_>) + Send)) -> Result<Taken> {
        let mut taken = Taken::None;
        while let Some(length) = memchr::memchr(b'\n', &self.buffer[self.start..]) {
            let end = self.start + length + 1;
            // A line that cannot be read (a disk that was full) is passed over.
            if let Some(line) = entry::parse(&self.buffer[self.start..end], &mut self.text) {
                if self.options.until.is_some_and(|until| line.time().is_some_and(|time| time > until)) {
                    return Ok(Taken::Last);
                }
                if self.options.wants(&line) {
                    if self.skip > 0 {
                        self.skip -= 1;
                    } else {
                        take(&line);
                        taken = Taken::Some;
                    }
                }
            }
            self.start = end;
        }
        if self.buffer.len() - self.start > MAX_LINE {
            return Err(files::too_long());
        }
        Ok(taken)
    }

    /// Reads on in the current file; false at its end.
    fn fill(&mut self) -> Result<bool> {
        let Some(source) = &mut self.current else { return Ok(false) };
        Ok(read_chunk(source, &mut self.buffer, &mut self.start)? > 0)
    }

    /// Goes on to the file after the current one, or to the rest of the current one, when it has been rotated
    /// since its end was seen.
    fn next_file(&mut self) -> Result<bool> {
        if self.queue.is_empty() && !self.rotated {
            match &self.current {
                Some(Source::Plain(file)) => {
                    // What was written between the last look and the rotation is read before the next file is.
                    self.rotated = self.files.is_rotated(file)?;
                    return Ok(self.rotated);
                }
                Some(Source::Packed { .. }) => return Ok(false),
                None => {}
            }
        }
        if self.queue.is_empty() {
            let known = match &self.current {
                Some(Source::Plain(file)) => Some(file),
                _ => None,
            };
            let mut newer = self.files.newer_than(known)?;
            newer.reverse();
            self.queue = newer.into();
        }
        let Some(next) = self.queue.pop_front() else { return Ok(false) };
        self.current = Some(next);
        self.rotated = false;
        // Half a line at a file's end: its shim was killed.
        self.buffer.clear();
        self.start = 0;
        Ok(true)
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
                drain(watch);
                Ok(())
            }
        }
    }
}

/// What a look at the buffer gave.
enum Taken {
    /// Nothing that is wanted.
    None,
    Some,
    /// What comes now is later than is wanted.
    Last,
}

/// Reads behind what is left of `buffer` from `used` on; 0 at the end.
fn read_chunk(source: &mut Source, buffer: &mut Vec<u8>, used: &mut usize) -> Result<usize> {
    buffer.drain(..std::mem::take(used));
    let kept = buffer.len();
    buffer.resize(kept + CHUNK, 0);
    let got = source.read(&mut buffer[kept..])?;
    buffer.truncate(kept + got);
    Ok(got)
}

/// Writes and rotation.
fn watch(path: &Path) -> Result<pipe::Receiver> {
    let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    watch_folder(path.parent().unwrap_or(Path::new("/")), events)
}

/// An inotify descriptor reads like a pipe, which is the form that tokio takes a plain descriptor in.
pub(crate) fn watch_folder(folder: &Path, events: WatchFlags) -> Result<pipe::Receiver> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .map_err(errno("inotify_init1()"))?;
    inotify::add_watch(&fd, folder, events)
        .map_err(errno(format!("inotify_add_watch({})", folder.display())))?;
    pipe::Receiver::from_owned_fd_unchecked(fd).map_err(io("epoll_ctl(inotify)"))
}

/// What happened does not matter, only that something did.
pub(super) fn drain(watch: &pipe::Receiver) {
    let mut events = [0u8; 4096];
    while watch.try_read(&mut events).is_ok_and(|n| n > 0) {}
}
