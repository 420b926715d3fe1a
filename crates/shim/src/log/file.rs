//! The log's file and its rotation.
//!
//! As Docker: before an entry is written to a file that has reached `max-size`, the file becomes `.1`,
//! `.1` becomes `.2`, and so on; with one file it is removed. Readers hold the old file open.

use crate::log::entry::Entries;
use crate::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Entries are written when this many bytes have come together, or at the end of a batch.
const BATCH_BYTES: usize = 128 << 10;
/// Docker's own mode for the file.
const MODE: u32 = 0o640;

/// The current file of a json-file log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    fd: OwnedFd,
    size: u64,
    max_size: u64,
    max_file: u32,
    batch: Vec<u8>,
    lost_bytes: u64,
    last_error: Option<rustix::io::Errno>,
}

impl LogFile {
    /// Opens or creates the file; new entries go to its end. `max_file` 0 counts as 1.
    pub fn open(path: &Path, max_size: Option<u64>, max_file: u32) -> Result<Self> {
        let err = || Error::io(format!("open({path:?})"));
        let fd = open(path, OFlags::empty()).map_err(err())?;
        let size = rustix::fs::fstat(&fd).map_err(err())?.st_size as u64;
        Ok(Self {
            path: path.to_path_buf(),
            fd,
            size,
            max_size: max_size.unwrap_or(u64::MAX).max(1),
            max_file: max_file.max(1),
            batch: Vec::new(),
            lost_bytes: 0,
            last_error: None,
        })
    }

    /// Writes the batch.
    pub fn flush(&mut self) {
        self.write_batch();
    }

    /// Gives the batch's memory back.
    pub fn shrink(&mut self) {
        self.batch.shrink_to_fit();
    }

    /// What was lost and why, as a sentence; `None` when nothing was.
    pub fn trouble(&self) -> Option<String> {
        let error = self.last_error?;
        Some(format!("log {:?}: {} bytes lost: {error}", self.path, self.lost_bytes))
    }

    fn write_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match sys::durable::write_all(self.fd.as_fd(), &self.batch) {
            Ok(()) => self.size += self.batch.len() as u64,
            Err(e) => {
                // Half an entry would spoil the line after it: take back what was written.
                let _ = rustix::fs::ftruncate(&self.fd, self.size);
                self.lost_bytes += self.batch.len() as u64;
                self.last_error = Some(e);
            }
        }
        self.batch.clear();
    }

    fn rotate(&mut self) {
        let rotated = if self.max_file < 2 { unlink(&self.path) } else { self.rename_all() };
        // Should the renames have failed, the file is emptied all the same: the limit is a promise.
        match rotated.and(open(&self.path, OFlags::TRUNC)) {
            Ok(fd) => {
                self.fd = fd;
                self.size = 0;
            }
            Err(e) => {
                self.last_error = Some(e);
                if rustix::fs::ftruncate(&self.fd, 0).is_ok() {
                    self.size = 0;
                }
            }
        }
    }

    fn rename_all(&self) -> rustix::io::Result<()> {
        for number in (1..self.max_file).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match rustix::fs::rename(&from, self.numbered(number)) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Entries for LogFile {
    fn next_entry(&mut self) -> &mut Vec<u8> {
        if self.batch.len() >= BATCH_BYTES {
            self.write_batch();
        }
        if self.size + self.batch.len() as u64 >= self.max_size {
            self.write_batch();
            // When the batch was lost the file may be below its size again.
            if self.size >= self.max_size {
                self.rotate();
            }
        }
        &mut self.batch
    }
}

fn open(path: &Path, extra: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | extra;
    rustix::fs::open(path, flags, Mode::from(MODE))
}

fn unlink(path: &Path) -> rustix::io::Result<()> {
    match rustix::fs::unlink(path) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| {
                let path = e.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn rotation() {
        for (max_size, max_file, expected) in [
            (None, 0, vec![("log", "1\n2\n3\n4\n5\n6\n7\n")]),
            (Some(4), 1, vec![("log", "7\n")]),
            (Some(4), 2, vec![("log", "7\n"), ("log.1", "5\n6\n")]),
            (Some(4), 3, vec![("log", "7\n"), ("log.1", "5\n6\n"), ("log.2", "3\n4\n")]),
            (Some(4), 9, vec![("log", "7\n"), ("log.1", "5\n6\n"), ("log.2", "3\n4\n"), ("log.3", "1\n2\n")]),
            // The entry that reaches the size is still written whole.
            (Some(3), 2, vec![("log", "7\n"), ("log.1", "5\n6\n")]),
            (Some(1), 3, vec![("log", "7\n"), ("log.1", "6\n"), ("log.2", "5\n")]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for flush_each in [true, false] {
                let dir = dir.path().join(flush_each.to_string());
                std::fs::create_dir(&dir).unwrap();
                let mut file = LogFile::open(&dir.join("log"), max_size, max_file).unwrap();
                for n in 1..=7 {
                    file.next_entry().extend_from_slice(format!("{n}\n").as_bytes());
                    if flush_each {
                        file.flush();
                    }
                }
                file.flush();
                let expected: Vec<_> =
                    expected.iter().map(|(n, t)| ((*n).to_string(), (*t).to_string())).collect();
                assert_eq!(names(&dir), expected, "max_size {max_size:?} max_file {max_file}");
                assert_eq!(file.trouble(), None);
            }
        }
    }

    #[test]
    fn goes_on_at_the_end_of_an_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = LogFile::open(&path, Some(4), 2).unwrap();
        file.next_entry().extend_from_slice(b"new\n");
        file.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("log.1")).unwrap(), "old\n");
    }
}
