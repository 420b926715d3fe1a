//! Reading the journal: what it holds, and what comes.
//!
//! A file is read on by its descriptor until it is gone from the folder, so that a record that was written
//! while the file was renamed is seen, and nothing is seen twice. Torn records are skipped.

use super::{Event, EventFilter};
use crate::Engine;
use crate::error::{Error, Result, errno, io};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::WatchFlags;
use rustix::fs::{Mode, OFlags};
use shim::journal;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;
use sys::clock::Time;
use tokio::net::unix::pipe;

/// How much one read takes.
const READ_BYTES: usize = 64 << 10;
/// A longer unfinished record is none of ours.
const MAX_UNFINISHED: usize = 2 * journal::MAX_RECORD_BYTES;

/// A reader of events.
#[derive(Debug)]
pub struct EventReader {
    folder: OwnedFd,
    /// Oldest first.
    files: Vec<Source>,
    filter: EventFilter,
    since: Option<i64>,
    until: Option<i64>,
    watch: pipe::Receiver,
    /// The end was reached.
    over: bool,
}

/// A file of the journal that is read on.
#[derive(Debug)]
struct Source {
    inode: u64,
    file: File,
    at: u64,
    /// The beginning of a record whose end has not come.
    unfinished: Vec<u8>,
}

impl Engine {
    /// Reads events from `since` on, or from now on when neither is given; until `until`, or for ever.
    pub fn events(
        &self,
        filter: EventFilter,
        since: Option<Time>,
        until: Option<Time>,
    ) -> Result<EventReader> {
        let path = self.paths().run.join(journal::FOLDER);
        match std::fs::DirBuilder::new().create(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(io(format!("mkdir {}", path.display()))(e));
            }
            _ => {}
        }
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        // Before the first look, so that nothing in between is missed.
        let watch = crate::tasks::watch_folder(&path, changes)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(errno(format!("open {}", path.display())))?;
        let (since, until) = (since.map(|t| t.0), until.map(|t| t.0));
        let mut reader = EventReader { folder, files: Vec::new(), filter, since, until, watch, over: false };
        reader.look()?;
        if reader.since.is_none() && reader.until.is_none() {
            for source in &mut reader.files {
                source.at = source.file.metadata().map_err(io("fstat(journal)"))?.size();
            }
        }
        Ok(reader)
    }
}

impl EventReader {
    /// Waits for events; `None`: there will be none any more.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>> {
        loop {
            if self.over {
                return Ok(None);
            }
            let left = self.until.map(|until| until.saturating_sub(Time::now().0));
            let last = left.is_some_and(|left| left <= 0);
            let found = self.read()?;
            self.over = last;
            if !found.is_empty() {
                return Ok(Some(found));
            }
            if last {
                continue;
            }
            let end = async {
                match left {
                    Some(left) => tokio::time::sleep(Duration::from_nanos(left as u64)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = self.watch.readable() => {
                    ready.map_err(io("epoll_wait(inotify)"))?;
                    let mut notes = [0u8; 4096];
                    while self.watch.try_read(&mut notes).is_ok_and(|n| n > 0) {}
                }
                () = end => {}
            }
        }
    }

    /// What is new and wanted, in the order of time.
    fn read(&mut self) -> Result<Vec<Event>> {
        let present = self.look()?;
        let mut found = Vec::new();
        let (filter, since, until) = (&self.filter, self.since, self.until);
        for source in &mut self.files {
            source.read(&mut |record| {
                let event = Event {
                    ns: record.ns,
                    kind: record.kind.into_owned(),
                    action: record.action.into_owned(),
                    id: record.id.into_owned(),
                    attributes: record.attributes.into_owned(),
                };
                let in_time = since.is_none_or(|s| event.ns >= s) && until.is_none_or(|u| event.ns <= u);
                if in_time && filter.includes(&event) {
                    found.push(event);
                }
            })?;
        }
        self.files.retain(|source| present.contains(&source.inode));
        found.sort_by_key(|event| event.ns);
        Ok(found)
    }

    /// Opens the files that are not open yet; the inodes of all there are.
    fn look(&mut self) -> Result<Vec<u64>> {
        let numbers = journal::rotated(&self.folder).map_err(|e| Error::internal("read the journal", &e))?;
        let names = numbers.iter().map(|n| format!("{}.{n}", journal::CURRENT));
        let mut present = Vec::new();
        for name in names.chain([journal::CURRENT.to_string()]) {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = match rustix::fs::openat(&self.folder, &name, flags, Mode::empty()) {
                Ok(fd) => File::from(fd),
                // Rotated away in between: what it has become was or will be seen under its number.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(e) => return Err(errno(format!("open {name}"))(e)),
            };
            let inode = file.metadata().map_err(io("fstat(journal)"))?.ino();
            present.push(inode);
            if !self.files.iter().any(|s| s.inode == inode) {
                self.files.push(Source { inode, file, at: 0, unfinished: Vec::new() });
            }
        }
        Ok(present)
    }
}

impl Source {
    /// Gives what was written since the last time.
    fn read(&mut self, take: &mut impl FnMut(journal::Record<'static>)) -> Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let n = self.file.read_at(&mut buffer, self.at).map_err(io("read the journal"))?;
            if n == 0 {
                return Ok(());
            }
            self.at += n as u64;
            let mut rest = &buffer[..n];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                self.unfinished.extend_from_slice(&rest[..end]);
                if !self.unfinished.is_empty() {
                    journal::decode(&self.unfinished).into_iter().for_each(&mut *take);
                    self.unfinished.clear();
                }
                rest = &rest[end + 1..];
            }
            if self.unfinished.len() + rest.len() <= MAX_UNFINISHED {
                self.unfinished.extend_from_slice(rest);
            }
        }
    }
}
