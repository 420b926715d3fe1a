//! The journal of events: `RUN/events/journal`, appended to by whoever causes an event.
//!
//! Invariants. A record is one `write` to a file that was opened with O_APPEND, begins and ends with a line
//! feed and holds none between: what a writer that was killed has left behind spoils no record but its own.
//! A file that has grown beyond [`MAX_FILE_BYTES`] gets the next number (`journal.7`), and all but the newest
//! [`KEPT_FILES`] of those are removed; only the rotation takes a lock. Nothing is synced: events end with the boot.
//!
//! It knows neither what events there are nor who reads them.

use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use sys::lock::Lock;

/// The folder in the run root.
pub const FOLDER: &str = "events";
/// The file that is written.
pub const CURRENT: &str = "journal";
/// The name of its lock.
const LOCK: &str = "lock";
/// A larger file is rotated.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// So many rotated files are kept.
pub const KEPT_FILES: usize = 3;
/// The longest record: a container may have megabytes of labels, which are left out then.
pub const MAX_RECORD_BYTES: usize = 256 << 10;

/// What belongs to an event beside its name, by key.
pub type Attributes = BTreeMap<String, String>;

/// An event as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Nanoseconds since the epoch.
    pub ns: i64,
    /// `container`, `image`, …
    pub kind: Cow<'a, str>,
    /// `start`, …
    pub action: Cow<'a, str>,
    /// Whom it happened to.
    pub id: Cow<'a, str>,
    /// What else is known.
    #[serde(default)]
    pub attributes: Cow<'a, Attributes>,
}

/// Appends an event that happens now.
pub fn append(run_root: &Path, kind: &str, action: &str, id: &str, attributes: &Attributes) -> Result<()> {
    let run = crate::monitor::open_dir(run_root)?;
    append_in(run.as_fd(), kind, action, id, attributes)
}

/// The same, with the run root as a descriptor.
pub fn append_in(
    run_root: BorrowedFd<'_>,
    kind: &str,
    action: &str,
    id: &str,
    attributes: &Attributes,
) -> Result<()> {
    let ns = sys::clock::Time::now().0;
    let cow = Cow::Borrowed;
    let mut record = Record {
        ns,
        kind: cow(kind),
        action: cow(action),
        id: cow(id),
        attributes: Cow::Borrowed(attributes),
    };
    let mut bytes = encode(&record)?;
    if bytes.len() > MAX_RECORD_BYTES {
        // What is short says most: the name, the image, a code.
        let mut few = attributes.clone();
        few.retain(|key, value| key.len() + value.len() <= 1024);
        let kept: Attributes = few.into_iter().take(64).collect();
        record.attributes = Cow::Owned(kept);
        record.action = action.chars().take(1024).collect();
        bytes = encode(&record)?;
    }
    write(run_root, &bytes)
}

/// The record of a line; `None` for one that was torn.
pub fn decode(line: &[u8]) -> Option<Record<'static>> {
    serde_json::from_slice(line).ok()
}

fn encode(record: &Record<'_>) -> Result<Vec<u8>> {
    let mut bytes = vec![b'\n'];
    serde_json::to_writer(&mut bytes, record)
        .map_err(|source| Error::File { path: CURRENT.to_string(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write(run_root: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o600);
    let path = format!("{FOLDER}/{CURRENT}");
    let file = match openat(run_root, &path, flags, mode) {
        Err(Errno::NOENT) => {
            match mkdirat(run_root, FOLDER, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::io("mkdirat(events)")(e)),
            }
            openat(run_root, &path, flags, mode)
        }
        other => other,
    }
    .map_err(Error::io("openat(journal)"))?;
    rustix::io::write(&file, bytes).map_err(Error::io("write(journal)"))?;
    let size = fstat(&file).map_err(Error::io("fstat(journal)"))?.st_size;
    if u64::try_from(size).unwrap_or(0) > MAX_FILE_BYTES { rotate(run_root) } else { Ok(()) }
}

fn rotate(run_root: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(run_root, FOLDER, flags, Mode::empty()).map_err(Error::io("openat(events)"))?;
    // Whoever holds it does this work.
    let Some(_lock) = Lock::try_exclusive(folder.as_fd(), LOCK)? else { return Ok(()) };
    let size = rustix::fs::statat(&folder, CURRENT, AtFlags::SYMLINK_NOFOLLOW).map_or(0, |s| s.st_size);
    if u64::try_from(size).unwrap_or(0) <= MAX_FILE_BYTES {
        return Ok(());
    }
    let numbers = rotated(&folder)?;
    let next = numbers.last().map_or(1, |n| n + 1);
    renameat(&folder, CURRENT, &folder, format!("{CURRENT}.{next}"))
        .map_err(Error::io("renameat(journal)"))?;
    for old in numbers.iter().rev().skip(KEPT_FILES - 1) {
        let _ = unlinkat(&folder, format!("{CURRENT}.{old}"), AtFlags::empty());
    }
    Ok(())
}

/// The numbers of the rotated files, oldest first.
pub fn rotated(folder: &OwnedFd) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder).map_err(Error::io("getdents(events)"))? {
        let entry = entry.map_err(Error::io("getdents(events)"))?;
        let name = entry.file_name().to_str().unwrap_or_default();
        if let Some(n) = name.strip_prefix(CURRENT).and_then(|n| n.strip_prefix('.')) {
            numbers.extend(n.parse::<u64>());
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn records(root: &Path) -> Vec<String> {
        let folder = crate::monitor::open_dir(&root.join(FOLDER)).unwrap();
        let mut names: Vec<String> =
            rotated(&folder).unwrap().iter().map(|n| format!("{CURRENT}.{n}")).collect();
        names.push(CURRENT.to_string());
        let mut found = Vec::new();
        for name in names {
            let bytes = std::fs::read(root.join(FOLDER).join(name)).unwrap_or_default();
            found.extend(bytes.split(|b| *b == b'\n').filter_map(decode).map(|r| r.action.into_owned()));
        }
        found
    }

    #[test]
    fn a_torn_record_spoils_no_other() {
        let root = tempfile::tempdir().unwrap();
        let none = Attributes::new();
        append(root.path(), "container", "start", "c1", &none).unwrap();
        let path = root.path().join(FOLDER).join(CURRENT);
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"\n{\"ns\":1,\"kind\":\"conta").unwrap();
        append(root.path(), "container", "die", "c1", &none).unwrap();
        assert_eq!(records(root.path()), ["start", "die"]);
    }

    #[test]
    fn the_journal_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        let attributes: Attributes = [("filler".to_string(), "x".repeat(60_000))].into();
        for n in 0..200 {
            append(root.path(), "container", &n.to_string(), "c1", &attributes).unwrap();
        }
        let found = records(root.path());
        assert!(found.len() > 40 && found.len() < 100, "{}", found.len());
        assert_eq!(found.last().unwrap(), "199");
        let ordered =
            found.windows(2).all(|w| w[0].parse::<u32>().unwrap() + 1 == w[1].parse::<u32>().unwrap());
        assert!(ordered, "{found:?}");
        let huge: Attributes =
            [("name".to_string(), "c1".to_string()), ("big".to_string(), "x".repeat(1 << 20))].into();
        append(root.path(), "container", "huge", "c1", &huge).unwrap();
        let bytes = std::fs::read(root.path().join(FOLDER).join(CURRENT)).unwrap();
        let last = bytes.rsplit(|b| *b == b'\n').find_map(decode).unwrap();
        assert_eq!((last.action.as_ref(), last.attributes.len()), ("huge", 1));
    }
}
