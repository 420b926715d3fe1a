//! The files of a log: the current one, rotated ones, compressed ones.
//!
//! The shim renames and compresses while they are looked at. Invariant of what is opened: each entry once, in
//! order. A file is known by its inode; the compressed form of a file carries the inode's number in its header.
//! Of a number's two forms the plain one counts; one number may be missing (a shim that was killed in between).

use super::entry;
use crate::error::{Error, Kind, Result, io};
use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::clock::Time;

/// How much is read at once.
pub(super) const CHUNK: usize = 128 << 10;
/// A longer line is no line of ours: the shim cuts at 16 KiB of output.
pub(super) const MAX_LINE: usize = 1 << 20;
/// How often the set of files is looked at again because it has changed meanwhile.
const ATTEMPTS: u32 = 20;
/// Clocks are set back, and the pieces of a long line carry the time of the first: so much of a log may stand
/// after what is later.
const SLACK_NS: i64 = 60_000_000_000;

/// One open file.
pub(super) enum Source {
    Plain(File),
    Packed { inode: Option<u64>, last: Option<Time>, decoder: Box<MultiGzDecoder<BufReader<File>>> },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Plain(_)) { "Plain" } else { "Packed" })
    }
}

/// What stands in a compressed file's header; the first field is dockerd's.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    last_time: Option<String>,
    inode: Option<u64>,
}

/// Compresses a rotated log: `tare internal compress-log`, started by a shim.
pub fn compress(mut source: File, target: File) -> Result<()> {
    let inode = source.metadata().map_err(io("stat the log"))?.ino();
    let last_time = last_line(&mut source)?.and_then(|line| entry::time_of(&line)).map(Time::rfc3339);
    source.rewind().map_err(io("seek in the log"))?;
    let header = crate::state::encode(&Header { last_time, inode: Some(inode) })?;
    let mut encoder = GzBuilder::new().extra(header).write(target, Compression::default());
    std::io::copy(&mut source, &mut encoder).map_err(io("compress the log"))?;
    let mut target = encoder.finish().map_err(io("compress the log"))?;
    // The plain file goes when this one has its name.
    target.flush().and_then(|()| target.sync_all()).map_err(io("fsync the compressed log"))
}

/// The last line of a file, if it is not too long.
fn last_line(file: &mut File) -> Result<Option<Vec<u8>>> {
    let size = file.metadata().map_err(io("stat the log"))?.len();
    let from = size.saturating_sub(CHUNK as u64);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from)).map_err(io("seek in the log"))?;
    file.take(CHUNK as u64).read_to_end(&mut tail).map_err(io("read the log"))?;
    Ok(tail.split_inclusive(|b| *b == b'\n').next_back().map(<[u8]>::to_vec))
}

impl Source {
    pub(super) fn packed(file: File) -> Self {
        let decoder = Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, file)));
        let header: Header = decoder
            .header()
            .and_then(|header| header.extra())
            .and_then(|extra| serde_json::from_slice(extra).ok())
            .unwrap_or_default();
        let last = header.last_time.as_deref().and_then(Time::parse);
        Self::Packed { inode: header.inode, last, decoder }
    }

    /// Reads on; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let result = match self {
            Self::Plain(file) => file.read(buffer),
            Self::Packed { decoder, .. } => decoder.read(buffer),
        };
        result.map_err(io("read the log"))
    }

    /// Whether this file, perhaps compressed since, is `other`.
    fn is(&self, other: &File) -> Result<bool> {
        let id = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).map_err(io("stat the log"));
        Ok(match self {
            Self::Plain(file) => id(file)? == id(other)?,
            Self::Packed { inode, .. } => *inode == Some(id(other)?.1),
        })
    }

    /// The first line's time.
    fn first_time(&mut self) -> Result<Option<Time>> {
        let Self::Plain(file) = self else { return Ok(None) };
        Ok(line_at(file, 0)?.and_then(|(_, line)| entry::time_of(&line)))
    }
}

/// The log's files by their names.
#[derive(Debug)]
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    /// All there are, newest first.
    pub(super) fn all(&self) -> Result<Vec<Source>> {
        self.newer_than(None)
    }

    /// Those that are newer than `known`, newest first. The shim may rotate at any moment: if it did, once more.
    pub(super) fn newer_than(&self, known: Option<&File>) -> Result<Vec<Source>> {
        let mut attempt = 1;
        loop {
            let found = self.collect(known)?;
            let same = match (found.first(), self.current()?) {
                (Some(source), Some(now)) => source.is(&now)?,
                (None, _) => true,
                (Some(_), None) => false,
            };
            if same || attempt == ATTEMPTS {
                return Ok(found);
            }
            attempt += 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn collect(&self, known: Option<&File>) -> Result<Vec<Source>> {
        let mut found = Vec::new();
        let mut missing = 0;
        for number in 0.. {
            let Some(source) = self.numbered(number)? else {
                missing += 1;
                if missing > 1 {
                    break;
                }
                continue;
            };
            missing = 0;
            if let Some(known) = known
                && source.is(known)?
            {
                break;
            }
            found.push(source);
        }
        Ok(found)
    }

    /// The file that is written now.
    pub(super) fn current(&self) -> Result<Option<File>> {
        open(&self.0)
    }

    /// Whether `file` is not written any more.
    pub(super) fn is_rotated(&self, file: &File) -> Result<bool> {
        let id = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).map_err(io("stat the log"));
        Ok(match self.current()? {
            Some(current) => id(&current)? != id(file)?,
            None => false,
        })
    }

    fn numbered(&self, number: u32) -> Result<Option<Source>> {
        if number == 0 {
            return Ok(self.current()?.map(Source::Plain));
        }
        let with = |suffix: &str| {
            let mut name = self.0.as_os_str().to_os_string();
            name.push(format!(".{number}{suffix}"));
            PathBuf::from(name)
        };
        // The shim gives the compressed form its name before it takes the plain one's away.
        match open(&with(""))? {
            Some(file) => Ok(Some(Source::Plain(file))),
            None => Ok(open(&with(".gz"))?.map(Source::packed)),
        }
    }
}

/// Leaves out what is older than `since` (and a little more than that is kept): whole files, and of the oldest
/// one that is kept its beginning. `files` are newest first.
pub(super) fn skip_older(files: &mut Vec<Source>, since: Time) -> Result<()> {
    let from = Time(since.0.saturating_sub(SLACK_NS));
    for at in 0..files.len() {
        match &files[at] {
            Source::Packed { last: Some(last), .. } if *last < from => {
                files.truncate(at);
                break;
            }
            _ => {}
        }
        if files[at].first_time()?.is_some_and(|time| time < from) {
            files.truncate(at + 1);
            break;
        }
    }
    // To look at their first lines has moved them.
    let oldest = files.len().saturating_sub(1);
    for (at, source) in files.iter_mut().enumerate() {
        if let Source::Plain(file) = source {
            let position = if at == oldest { search(file, from)? } else { 0 };
            file.seek(SeekFrom::Start(position)).map_err(io("seek in the log"))?;
        }
    }
    Ok(())
}

/// Whether an entry is so much older that nothing wanted stands before it.
pub(super) fn is_long_before(time: Option<Time>, since: Option<Time>) -> bool {
    match (time, since) {
        (Some(time), Some(since)) => time.0 < since.0.saturating_sub(SLACK_NS),
        _ => false,
    }
}

/// A line's beginning with nothing of `from` or later before it.
fn search(file: &mut File, from: Time) -> Result<u64> {
    let (mut low, mut high) = (0, file.metadata().map_err(io("stat the log"))?.len());
    while high - low > CHUNK as u64 {
        let middle = low + (high - low) / 2;
        match line_at(file, middle)? {
            Some((start, line)) if start < high && entry::time_of(&line).is_some_and(|t| t < from) => {
                low = start;
            }
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first whole line that begins at `at` or later, and where.
fn line_at(file: &mut File, at: u64) -> Result<Option<(u64, Vec<u8>)>> {
    let from = at.saturating_sub(1);
    file.seek(SeekFrom::Start(from)).map_err(io("seek in the log"))?;
    let mut buffer = Vec::new();
    let mut start = if at == 0 { Some(0) } else { None };
    loop {
        let had = buffer.len();
        let got = (&mut *file).take(4096).read_to_end(&mut buffer).map_err(io("read the log"))?;
        let mut seen = had;
        while let Some(newline) = memchr::memchr(b'\n', &buffer[seen..]).map(|n| seen + n) {
            if let Some(start) = start {
                return Ok(Some((from + start as u64, buffer[start..=newline].to_vec())));
            }
            start = Some(newline + 1);
            seen = newline + 1;
        }
        if got == 0 || buffer.len() > 2 * MAX_LINE {
            return Ok(None);
        }
    }
}

/// Where the last `count` wanted lines of a file begin, and how many there are. It is read from its end.
pub(super) fn tail_position(
    file: &mut File,
    count: usize,
    mut wanted: impl FnMut(&[u8]) -> Seen,
) -> Result<(u64, usize)> {
    let mut at = file.metadata().map_err(io("stat the log"))?.len();
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
        while let Some(newline) = memchr::memrchr(b'\n', &chunk[..end.saturating_sub(1)]) {
            match wanted(&chunk[newline + 1..end]) {
                Seen::Wanted => found += 1,
                Seen::Unwanted => {}
                Seen::LongBefore => return Ok((at + end as u64, found)),
            }
            if found == count {
                return Ok((at + newline as u64 + 1, found));
            }
            end = newline + 1;
        }
        chunk.truncate(end);
        carried = chunk;
        if carried.len() > MAX_LINE {
            return Err(too_long());
        }
    }
    found += usize::from(matches!(wanted(&carried), Seen::Wanted));
    Ok((0, found))
}

/// What a line is to a `--tail`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Wanted,
    Unwanted,
    /// Nothing before it is wanted.
    LongBefore,
}

pub(super) fn too_long() -> Error {
    Error::new(Kind::Internal, format!("the log holds a line of more than {MAX_LINE} bytes"))
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(format!("open {}", path.display()))(e)),
    }
}
