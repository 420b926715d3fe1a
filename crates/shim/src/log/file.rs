//! The log's file and its rotation.
//!
//! As Docker: before an entry is written to a file that has reached `max-size`, the file becomes `.1`,
//! `.1` becomes `.2`, and so on; with one file it is removed. Readers hold the old file open. Once lines were
//! dropped for good, the file [`LOST`] beside the log says so.

use crate::log::compress::{Compressor, SUFFIX};
use crate::log::entry::Entries;
use crate::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use sys::process::Ended;

/// Entries are written when this many bytes have come together, or at the end of a batch.
const BATCH_BYTES: usize = 128 << 10;
/// Docker's own mode for the file.
pub(super) const MODE: u32 = 0o640;
/// The name of an empty file in the log's folder: the log's beginning was rotated away.
pub const LOST: &str = "log-lost";

/// When the file is rotated, and how much is kept.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Bytes at which a file is rotated; `None`: never.
    pub max_size: Option<u64>,
    /// Files that are kept, the current one included; 0 counts as 1.
    pub max_file: u32,
    /// The filter that compresses a rotated file; empty for none.
    pub compress: Vec<String>,
}

/// The current file of a json-file log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    fd: OwnedFd,
    size: u64,
    max_size: u64,
    max_file: u32,
    compressor: Option<Compressor>,
    /// It is known that [`LOST`] exists.
    told_lost: bool,
    batch: Vec<u8>,
    lost_bytes: u64,
    last_error: Option<rustix::io::Errno>,
}

impl LogFile {
    /// Opens or creates the file; new entries go to its end.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        let err = || Error::io(format!("open({path:?})"));
        let fd = open(path, OFlags::empty()).map_err(err())?;
        let mut size = rustix::fs::fstat(&fd).map_err(err())?.st_size as u64;
        if ends_within_a_line(path, size) && sys::durable::write_all(fd.as_fd(), b"\n").is_ok() {
            size += 1;
        }
        let max_file = limits.max_file.max(1);
        let compresses = !limits.compress.is_empty() && max_file > 1;
        Ok(Self {
            path: path.to_path_buf(),
            fd,
            size,
            max_size: limits.max_size.unwrap_or(u64::MAX).max(1),
            max_file,
            compressor: compresses.then(|| Compressor::new(path, limits.compress, max_file)),
            told_lost: false,
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

    /// A child of the shim has ended; false when it is not the log's.
    pub fn claim(&mut self, pid: i32, ended: Ended) -> bool {
        self.compressor.as_mut().is_some_and(|compressor| compressor.claim(pid, ended))
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
        let rotated = if self.max_file < 2 { self.drop_oldest("") } else { self.rename_all() };
        // Should the renames have failed, the file is emptied all the same: the limit is a promise.
        match rotated.and_then(|()| open(&self.path, OFlags::TRUNC)) {
            Ok(fd) => {
                self.fd = fd;
                self.size = 0;
                if let Some(compressor) = &mut self.compressor {
                    compressor.rotated();
                }
            }
            Err(e) => {
                self.last_error = Some(e);
                if rustix::fs::ftruncate(&self.fd, 0).is_ok() {
                    self.size = 0;
                    self.tell_lost();
                }
            }
        }
    }

    /// The oldest goes, each other one gets the next number, the current one last: a shim that is killed in
    /// between leaves a gap in the numbers, which readers pass over.
    fn rename_all(&mut self) -> rustix::io::Result<()> {
        let suffixes: &[&str] = if self.compressor.is_some() { &["", SUFFIX] } else { &[""] };
        for suffix in suffixes {
            self.drop_oldest(suffix)?;
        }
        for number in (2..self.max_file).rev() {
            for suffix in suffixes {
                let from = numbered(&self.path, number - 1, suffix);
                absent_is_fine(rustix::fs::rename(&from, numbered(&self.path, number, suffix)))?;
            }
        }
        absent_is_fine(rustix::fs::rename(&self.path, numbered(&self.path, 1, ""))).map(drop)
    }

    fn drop_oldest(&mut self, suffix: &str) -> rustix::io::Result<()> {
        let oldest = match self.max_file {
            1 => self.path.clone(),
            n => numbered(&self.path, n - 1, suffix),
        };
        if absent_is_fine(rustix::fs::unlink(oldest))? {
            self.tell_lost();
        }
        Ok(())
    }

    fn tell_lost(&mut self) {
        if !self.told_lost {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            // A full disk keeps it from being told, not from being true: the next rotation tries again.
            self.told_lost =
                rustix::fs::open(self.path.with_file_name(LOST), flags, Mode::from(MODE)).is_ok();
        }
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

/// A shim that was killed within a write leaves half an entry, which would spoil the next one.
fn ends_within_a_line(path: &Path, size: u64) -> bool {
    let mut last = [0u8];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    size > 0
        && rustix::fs::open(path, flags, Mode::empty())
            .and_then(|fd| rustix::io::pread(&fd, &mut last[..], size - 1))
            .is_ok_and(|n| n == 1 && last[0] != b'\n')
}

/// `LOG.N` or `LOG.N.gz`.
pub(super) fn numbered(log: &Path, number: u32, suffix: &str) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(format!(".{number}{suffix}"));
    name.into()
}

/// Whether it was there.
fn absent_is_fine(result: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn limits(max_size: Option<u64>, max_file: u32) -> Limits {
        Limits { max_size, max_file, compress: Vec::new() }
    }

    fn files(dir: &Path) -> BTreeMap<String, String> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|e| {
                let path = e.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    fn write(file: &mut LogFile, n: u32, flush: bool) {
        file.next_entry().extend_from_slice(format!("{n}\n").as_bytes());
        if flush {
            file.flush();
        }
    }

    #[test]
    fn rotation() {
        for (max_size, max_file, lost, expected) in [
            (None, 0, false, vec![("log", "1\n2\n3\n4\n5\n6\n7\n")]),
            (Some(4), 1, true, vec![("log", "7\n")]),
            (Some(4), 2, true, vec![("log", "7\n"), ("log.1", "5\n6\n")]),
            (Some(4), 3, true, vec![("log", "7\n"), ("log.1", "5\n6\n"), ("log.2", "3\n4\n")]),
            (
                Some(4),
                4,
                false,
                vec![("log", "7\n"), ("log.1", "5\n6\n"), ("log.2", "3\n4\n"), ("log.3", "1\n2\n")],
            ),
            // The entry that reaches the size is still written whole.
            (Some(3), 2, true, vec![("log", "7\n"), ("log.1", "5\n6\n")]),
            (Some(1), 3, true, vec![("log", "7\n"), ("log.1", "6\n"), ("log.2", "5\n")]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for flush_each in [true, false] {
                let dir = dir.path().join(flush_each.to_string());
                std::fs::create_dir(&dir).unwrap();
                let mut file = LogFile::open(&dir.join("log"), limits(max_size, max_file)).unwrap();
                (1..=7).for_each(|n| write(&mut file, n, flush_each));
                file.flush();
                let lost = lost.then_some((LOST, ""));
                let expected: BTreeMap<String, String> = expected
                    .iter()
                    .copied()
                    .chain(lost)
                    .map(|(n, t)| (n.to_string(), t.to_string()))
                    .collect();
                assert_eq!(files(&dir), expected, "max_size {max_size:?} max_file {max_file}");
                assert_eq!(file.trouble(), None);
            }
        }
    }

    #[test]
    fn goes_on_at_the_end_of_an_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut file = LogFile::open(&path, limits(Some(4), 2)).unwrap();
        file.next_entry().extend_from_slice(b"new\n");
        file.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("log.1")).unwrap(), "old\n");
        std::fs::write(&path, "half").unwrap();
        let mut file = LogFile::open(&path, limits(None, 1)).unwrap();
        file.next_entry().extend_from_slice(b"new\n");
        file.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half\nnew\n");
    }

    /// What is in the files from the oldest to the newest, of each number the plain one if there is one.
    fn read_all(files: &BTreeMap<String, String>, max_file: u32) -> String {
        let mut all = String::new();
        for number in (1..max_file).rev() {
            let plain = files.get(&format!("log.{number}"));
            all += plain.or_else(|| files.get(&format!("log.{number}.gz"))).map_or("", String::as_str);
        }
        all + &files["log"]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write,
        /// The child has copied all it had to.
        ChildEnds,
        /// It was killed.
        ChildDies,
        /// The shim was killed, and another one goes on.
        ShimDies,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Write),
            3 => Just(Step::ChildEnds),
            1 => Just(Step::ChildDies),
            1 => Just(Step::ShimDies)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Whenever a child ends, is killed, or the shim is: the files hold the latest lines without a gap.
        #[test]
        fn compression_loses_nothing(steps in prop::collection::vec(step(), 1..40), max_file in 2u32..5) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            // What a real one is to a reader, `cat` is to this test.
            let command = vec!["/bin/cat".to_string()];
            let limits = Limits { max_size: Some(4), max_file, compress: command };
            let mut file = LogFile::open(&path, limits.clone()).unwrap();
            let mut written = Vec::new();
            for step in steps {
                match step {
                    Step::Write => {
                        let n = written.len() as u32 % 10;
                        written.push(n);
                        write(&mut file, n, true);
                    }
                    Step::ChildEnds | Step::ChildDies => {
                        let Some(child) = file.compressor.as_ref().and_then(Compressor::child) else { continue };
                        let ended = sys::process::wait(child.1).unwrap();
                        let told = if matches!(step, Step::ChildDies) { Ended::Signal(9) } else { ended };
                        let pid = child.0;
                        prop_assert!(file.claim(pid, told));
                    }
                    Step::ShimDies => {
                        // Nothing of it runs on: its memory is just gone.
                        if let Some(child) = file.compressor.as_ref().and_then(Compressor::child) {
                            sys::process::wait(child.1).unwrap();
                        }
                        std::mem::forget(file);
                        file = LogFile::open(&path, limits.clone()).unwrap();
                    }
                }
                let expected: String = written.iter().map(|n| format!("{n}\n")).collect();
                let files = files(dir.path());
                let kept = read_all(&files, max_file);
                prop_assert!(expected.ends_with(&kept), "{files:?} of {written:?}");
                prop_assert!(kept.len() == expected.len() || files.contains_key(LOST));
                let full = (max_file as usize - 1) * 4;
                prop_assert!(kept.len() >= expected.len().min(full), "{files:?} of {written:?}");
            }
            drop(file);
            prop_assert!(!files(dir.path()).contains_key(".compressing"));
        }
    }
}
