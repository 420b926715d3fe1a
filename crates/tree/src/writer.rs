//! Writing tar streams: POSIX ustar headers, with pax records (POSIX.1-2017 pax) for what does not fit in them.
//!
//! The bytes are those of Go's archive/tar in its PAX format, which Docker writes. A file that shrinks while it is
//! read is filled up with zeros, as its header has promised its size; what it grows by is left out.

use crate::error::{Result, io};
use crate::reader::BLOCK;
use std::io::{self as stdio, Read, Write};

const COPY_BUFFER: usize = 128 << 10;
/// The largest numbers of the header's octal fields.
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
const NAME_BYTES: usize = 100;

/// What an entry is; the byte of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A regular file.
    File = b'0' as isize,
    /// A second name of an earlier entry.
    HardLink = b'1' as isize,
    /// A symbolic link.
    Symlink = b'2' as isize,
    /// A character device.
    CharDevice = b'3' as isize,
    /// A block device.
    BlockDevice = b'4' as isize,
    /// A folder.
    Directory = b'5' as isize,
    /// A named pipe.
    Fifo = b'6' as isize,
}

/// An entry's header.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// Its name; a folder's ends in a slash.
    pub path: &'a [u8],
    /// A link's target.
    pub link: &'a [u8],
    /// What it is.
    pub kind: Type,
    /// The lower twelve bits of the mode.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// Of the data that follows.
    pub size: u64,
    /// A device's numbers.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// A tar that is being written.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// A tar from its beginning.
    pub fn new(out: W) -> Self {
        TarWriter { out, buffer: vec![0; COPY_BUFFER] }
    }

    /// Writes an entry that has no data.
    pub fn bare(&mut self, head: &Head<'_>) -> Result<()> {
        self.head(head)
    }

    /// Writes an entry with its data: `head.size` bytes.
    pub fn file(&mut self, head: &Head<'_>, data: &mut impl Read) -> Result<()> {
        self.head(head)?;
        let mut left = head.size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = match data.read(&mut self.buffer[..want]) {
                Ok(0) => {
                    self.buffer[..want].fill(0);
                    want
                }
                Ok(n) => n,
                Err(e) if e.kind() == stdio::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io(format!("cannot read {}", shown(head.path)))(e)),
            };
            self.out.write_all(&self.buffer[..got]).map_err(io("cannot write the archive"))?;
            left -= got as u64;
        }
        self.pad(head.size)
    }

    /// Writes the end mark and returns what is below.
    pub fn finish(mut self) -> Result<W> {
        let end = self.out.write_all(&[0; 2 * BLOCK]).and_then(|()| self.out.flush());
        end.map_err(io("cannot write the archive"))?;
        Ok(self.out)
    }

    fn head(&mut self, head: &Head<'_>) -> Result<()> {
        let records = records(head);
        if !records.is_empty() {
            let name = extension_name(head.path);
            let block = header(&Head {
                path: &name,
                link: b"",
                kind: Type::File,
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: 0,
                size: records.len() as u64,
                device: (0, 0),
                xattrs: &[],
            });
            let block = with_type(block, b'x');
            self.out.write_all(&block).map_err(io("cannot write the archive"))?;
            self.out.write_all(&records).map_err(io("cannot write the archive"))?;
            self.pad(records.len() as u64)?;
        }
        self.out.write_all(&header(head)).map_err(io("cannot write the archive"))
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        let padding = (BLOCK - used) % BLOCK;
        self.out.write_all(&[0; BLOCK][..padding]).map_err(io("cannot write the archive"))
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The pax records for what the header cannot say, sorted by their keys.
fn records(head: &Head<'_>) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: Vec<u8>| records.push((key.as_bytes().to_vec(), value));
    let fits = |text: &[u8]| text.len() <= NAME_BYTES && text.is_ascii();
    if !fits(head.path) {
        add("path", head.path.to_vec());
    }
    if !fits(head.link) {
        add("linkpath", head.link.to_vec());
    }
    for (key, number, limit) in [
        ("uid", u64::from(head.uid), MAX_OCTAL_7),
        ("gid", u64::from(head.gid), MAX_OCTAL_7),
        ("size", head.size, MAX_OCTAL_11),
    ] {
        if number > limit {
            add(key, number.to_string().into_bytes());
        }
    }
    if u64::try_from(head.mtime).is_ok_and(|t| t <= MAX_OCTAL_11) {
    } else {
        add("mtime", head.mtime.to_string().into_bytes());
    }
    for (name, value) in head.xattrs {
        records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone()));
    }
    records.sort();
    let mut bytes = Vec::new();
    for (key, value) in records {
        bytes.extend(record(&key, &value));
    }
    bytes
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// The name of an entry's extension header, as Go has it.
fn extension_name(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let at = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let mut name = [&path[..at], b"PaxHeaders.0/", &path[at..]].concat();
    name.retain(u8::is_ascii);
    name.truncate(NAME_BYTES);
    name
}

fn header(head: &Head<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[..NAME_BYTES], head.path);
    octal(&mut block[100..108], u64::from(head.mode & 0o7777));
    octal(&mut block[108..116], Some(u64::from(head.uid)).filter(|n| *n <= MAX_OCTAL_7).unwrap_or(0));
    octal(&mut block[116..124], Some(u64::from(head.gid)).filter(|n| *n <= MAX_OCTAL_7).unwrap_or(0));
    octal(&mut block[124..136], Some(head.size).filter(|n| *n <= MAX_OCTAL_11).unwrap_or(0));
    let mtime = u64::try_from(head.mtime).ok().filter(|t| *t <= MAX_OCTAL_11);
    octal(&mut block[136..148], mtime.unwrap_or(0));
    put(&mut block[157..257], head.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], u64::from(head.device.0));
    octal(&mut block[337..345], u64::from(head.device.1));
    with_type(block, head.kind as u8)
}

/// Sets the type and, with it, the sum.
fn with_type(mut block: [u8; BLOCK], kind: u8) -> [u8; BLOCK] {
    block[156] = kind;
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// As much of a text as has room; what has none is in a record, whose readers do not look here.
fn put(field: &mut [u8], text: &[u8]) {
    let ascii: Vec<u8> = text.iter().copied().filter(u8::is_ascii).take(field.len()).collect();
    field[..ascii.len()].copy_from_slice(&ascii);
}

/// Octal digits and a NUL.
fn octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    let digits = format!("{number:0width$o}");
    field[..width].copy_from_slice(&digits.as_bytes()[digits.len() - width..]);
    field[width] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{Kind, TarReader};

    /// What is written is read back the same, whatever fits in a header or does not.
    #[test]
    fn entries_are_read_back() {
        let long = "d/".repeat(90) + "é";
        let xattrs = vec![(b"security.capability".to_vec(), vec![0, 1, b'\n', b'=', 255])];
        let head = |path, kind, size| Head {
            path,
            link: b"",
            kind,
            mode: 0o4755,
            uid: 1000,
            gid: 2,
            mtime: 1_700_000_000,
            size,
            device: (0, 0),
            xattrs: &[],
        };
        let heads = [
            head(b"a/", Type::Directory, 0),
            head(b"a/f", Type::File, 5),
            Head { link: b"a/f", ..head(b"hard", Type::HardLink, 0) },
            Head { link: long.as_bytes(), ..head(b"soft", Type::Symlink, 0) },
            Head { device: (8, 300), ..head(b"disk", Type::BlockDevice, 0) },
            Head { uid: 3_000_000_000, gid: 2_097_152, mtime: -5, ..head(long.as_bytes(), Type::File, 600) },
            Head { xattrs: &xattrs, ..head(b"cap", Type::File, 0) },
        ];
        let mut writer = TarWriter::new(Vec::new());
        for head in &heads {
            // The file is shorter than its header says: zeros follow.
            writer.file(head, &mut &b"hello"[..]).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut reader = TarReader::new(&bytes[..]);
        for head in &heads {
            let entry = reader.next_entry().unwrap().unwrap();
            assert_eq!((entry.path.as_slice(), entry.link.as_slice()), (head.path, head.link));
            assert_eq!(
                (entry.mode, entry.uid, entry.gid, entry.size),
                (head.mode, head.uid, head.gid, head.size)
            );
            assert_eq!((entry.mtime.seconds, entry.device), (head.mtime, head.device));
            assert_eq!(entry.xattrs, head.xattrs);
            if entry.kind == Kind::File && head.size > 0 {
                let data = reader.read_all("file", 1000).unwrap();
                assert_eq!((&data[..5], data.len() as u64), (&b"hello"[..], head.size));
                assert!(data[5..].iter().all(|b| *b == 0));
            }
        }
        assert!(reader.next_entry().unwrap().is_none());
    }
}
