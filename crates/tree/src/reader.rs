//! Reading tar streams that are hostile until shown otherwise.
//!
//! Header fields are decoded by the `tar` crate. The walk over the entries is our own, because that
//! crate reads long names and pax records into memory whatever their size, knows no pax sparse files,
//! and takes data after header-only entries where Go (whose tools compute diff ids) takes none.
//! Formats: POSIX ustar and pax, GNU long names and sparse files (old, and pax 0.0, 0.1, 1.0), V7.
//! Not supported, by name: multi-volume archives and incremental dumps.

mod pax;
mod sparse;

use crate::error::{Error, Result};
use pax::Pax;
use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

/// Number fields of the header (POSIX.1-2017 pax, "ustar Header Block").
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;

/// What everything in a tar is a multiple of.
pub const BLOCK: usize = 512;
/// Long names and pax records of one entry (as Go's archive/tar).
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// xattr(7): what the kernel takes as the name and as the value of one attribute.
const MAX_XATTR_NAME_BYTES: usize = 255;
const MAX_XATTR_VALUE_BYTES: usize = 64 << 10;
/// All attributes of one entry, and what each costs beside its bytes.
const MAX_XATTRS_BYTES: usize = 256 << 10;
const XATTR_OVERHEAD: usize = 64;
/// Extension headers before one entry: each kind once, with slack for global ones.
const MAX_EXTENSIONS: usize = 16;
/// Entries of one archive.
const MAX_ENTRIES: u64 = 5_000_000;
/// Expanded bytes of all files of one archive; holes count, since they would be copied and hashed.
const MAX_CONTENT_BYTES: u64 = 256 << 30;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A second name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A point in time as tar keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Since the epoch.
    pub seconds: i64,
    /// Within the second.
    pub nanos: u32,
}

/// One entry, with its extensions applied.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As it stands there.
    pub path: Vec<u8>,
    /// A link's target.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The lower twelve bits of the mode.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Stamp,
    /// Access time, if there is one.
    pub atime: Option<Stamp>,
    /// Size of the file that the entry makes.
    pub size: u64,
    /// Where the stored bytes belong, ascending; `None`: one after the other.
    pub extents: Option<Vec<Extent>>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A device's numbers.
    pub device: (u32, u32),
}

impl Entry {
    /// The path for messages.
    pub fn display(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }
}

/// A run of stored bytes of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// A walk over the entries of a tar stream.
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    /// Data of the current entry not read yet.
    data: u64,
    /// Zeros after it up to the next block.
    padding: u64,
    entries: u64,
    content: u64,
}

impl<R: Read> TarReader<R> {
    /// A walk from the stream's beginning.
    pub fn new(inner: R) -> Self {
        TarReader { inner, data: 0, padding: 0, entries: 0, content: 0 }
    }

    /// The next entry; what was not read of the one before is skipped. `None` at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        if !self.skip_rest()? {
            return Ok(None);
        }
        let mut pax = Pax::default();
        let mut long_name = None;
        let mut long_link = None;
        for _ in 0..MAX_EXTENSIONS {
            let Some(header) = self.header()? else {
                if pax.is_empty() && long_name.is_none() && long_link.is_none() {
                    return Ok(None);
                }
                return Err(Error::Truncated);
            };
            let size = number(&header, SIZE, header.entry_size()).map_err(|_| Error::Header)?;
            match header.entry_type().as_byte() {
                b'x' => pax = Pax::parse(&self.extension(&header, size)?)?,
                // Global records carry comments (git archive); nothing in them changes an entry here.
                b'g' => drop(self.extension(&header, size)?),
                b'L' => long_name = Some(until_nul(self.extension(&header, size)?)),
                b'K' => long_link = Some(until_nul(self.extension(&header, size)?)),
                _ => return self.entry(&header, size, pax, long_name, long_link).map(Some),
            }
        }
        Err(broken("too many extension headers"))
    }

    /// Reads data of the current entry; 0 at its end.
    pub fn read_data(&mut self, buf: &mut [u8]) -> Result<usize> {
        let n = buf.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        if n == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buf[..n]).map_err(stream)?;
        if n == 0 {
            return Err(Error::Truncated);
        }
        self.data -= n as u64;
        Ok(n)
    }

    /// Stored bytes of the current entry that were not read.
    pub fn unread(&self) -> u64 {
        self.data
    }

    /// Reads the whole data of the current entry, if it is not larger than `limit`.
    pub fn read_all(&mut self, what: &'static str, limit: u64) -> Result<Vec<u8>> {
        if self.data > limit {
            return Err(Error::Limit { what, limit });
        }
        let mut bytes = vec![0; usize::try_from(self.data).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_data(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    /// What is left of the stream after the archive's end.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn entry(
        &mut self,
        header: &tar::Header,
        size: u64,
        mut pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Error::Limit { what: "number of tar entries", limit: MAX_ENTRIES });
        }
        let path = pax.take_path().or(long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.linkpath.take().or(long_link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().map_or_else(Vec::new, Cow::into_owned));
        let type_byte = header.entry_type().as_byte();
        let kind = kind(type_byte, &path)?;
        let stored = if kind == Kind::File { pax.size.unwrap_or(size) } else { 0 };
        self.data = stored;
        self.padding = (BLOCK as u64 - stored % BLOCK as u64) % BLOCK as u64;
        let (size, extents) = match self.sparse(type_byte, header, &pax)? {
            Some((size, extents)) => (size, Some(extents)),
            None => (stored, None),
        };
        self.content = self.content.saturating_add(size);
        if self.content > MAX_CONTENT_BYTES {
            return Err(Error::Limit { what: "size of the unpacked archive", limit: MAX_CONTENT_BYTES });
        }
        let id = |pax: Option<u64>, field: std::io::Result<u64>, what| {
            let id = pax.map_or_else(|| field.map_err(|_| broken(what)), Ok)?;
            // The all-ones id means "unchanged" to chown(2).
            u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| broken(what))
        };
        let device = |n: std::io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
        Ok(Entry {
            kind,
            mode: number(header, MODE, header.mode()).map_err(|_| Error::Header)? & 0o7777,
            uid: id(pax.uid, number(header, UID, header.uid()), "bad uid")?,
            gid: id(pax.gid, number(header, GID, header.gid()), "bad gid")?,
            mtime: match pax.mtime {
                Some(stamp) => stamp,
                None => Stamp {
                    seconds: number(header, MTIME, header.mtime()).map_err(|_| Error::Header)?.cast_signed(),
                    nanos: 0,
                },
            },
            atime: pax.atime,
            size,
            extents,
            xattrs: checked(&path, std::mem::take(&mut pax.xattrs))?,
            device: (device(header.device_major()), device(header.device_minor())),
            path,
            link,
        })
    }

    /// The next header; `None` at the end mark or at the end of the stream.
    fn header(&mut self) -> Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        // The sum counts its own field as blanks; some old tars summed signed bytes.
        let counted = |i: usize| if (148..156).contains(&i) { b' ' } else { bytes[i] };
        let unsigned: u32 = (0..BLOCK).map(|i| u32::from(counted(i))).sum();
        let signed: i32 = (0..BLOCK).map(|i| i32::from(counted(i).cast_signed())).sum();
        match header.cksum() {
            Ok(sum) if sum == unsigned || i64::from(sum) == i64::from(signed) => Ok(Some(header)),
            _ => Err(Error::Header),
        }
    }

    /// The data of an extension header.
    fn extension(&mut self, header: &tar::Header, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION_BYTES {
            // Its own name is that of the entry below a folder, or says that a long one follows.
            let entry = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let what = "the tar extension header".to_owned();
            return Err(Error::EntryLimit { entry, what, limit: MAX_EXTENSION_BYTES });
        }
        self.data = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let bytes = self.read_all("size of a tar extension header", MAX_EXTENSION_BYTES)?;
        self.skip_rest()?;
        Ok(bytes)
    }

    /// Passes over the rest of the entry's data.
    pub fn skip_data(&mut self) -> Result<()> {
        let mut scratch = [0; 32 << 10];
        while self.read_data(&mut scratch)? > 0 {}
        Ok(())
    }

    /// Passes over the rest of the entry and its padding. A stream that ends within the padding ends with
    /// this entry, as Go reads it: false.
    fn skip_rest(&mut self) -> Result<bool> {
        self.skip_data()?;
        let mut scratch = [0; BLOCK];
        self.data = std::mem::take(&mut self.padding);
        while self.data > 0 {
            match self.read_data(&mut scratch) {
                Err(Error::Truncated) => {
                    self.data = 0;
                    return Ok(false);
                }
                other => other.map(drop)?,
            }
        }
        Ok(true)
    }

    /// Fills a block; false at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]).map_err(stream)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(Error::Truncated),
                n => filled += n,
            }
        }
        Ok(true)
    }
}

/// The attributes of an entry, if there are not too many of them.
fn checked(path: &[u8], xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let too_large = |what: String, limit: usize| {
        let entry = String::from_utf8_lossy(path).into_owned();
        Err(Error::EntryLimit { entry, what, limit: limit as u64 })
    };
    let mut sum = 0;
    for (name, value) in &xattrs {
        // Cut: the message is one line, whatever the name is.
        let shown = || String::from_utf8_lossy(&name[..name.len().min(40)]).into_owned();
        if name.len() > MAX_XATTR_NAME_BYTES {
            return too_large(format!("the name of xattr {:?}", shown()), MAX_XATTR_NAME_BYTES);
        }
        if value.len() > MAX_XATTR_VALUE_BYTES {
            return too_large(format!("the value of xattr {:?}", shown()), MAX_XATTR_VALUE_BYTES);
        }
        sum += name.len() + value.len() + XATTR_OVERHEAD;
    }
    if sum > MAX_XATTRS_BYTES {
        return too_large("the sum of its xattrs".to_owned(), MAX_XATTRS_BYTES);
    }
    Ok(xattrs)
}

/// A broken archive.
pub fn broken(reason: impl Into<String>) -> Error {
    Error::Broken { reason: reason.into() }
}

/// Errors of the stream below keep their own message: it is about a download or a decompressor.
fn stream(e: std::io::Error) -> Error {
    Error::Stream(e)
}

fn kind(type_byte: u8, path: &[u8]) -> Result<Kind> {
    Ok(match type_byte {
        // V7 marks a directory by its name.
        0 | b'0' if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => {
            let name = String::from_utf8_lossy(path);
            return Err(broken(format!("entry {name:?} has unsupported type {:?}", char::from(other))));
        }
    })
}

/// A number field that is blank means 0, as Go reads it.
fn number<T: Default>(
    header: &tar::Header,
    field: Range<usize>,
    value: std::io::Result<T>,
) -> std::io::Result<T> {
    let blank = || header.as_bytes()[field].iter().all(|b| matches!(b, 0 | b' '));
    value.or_else(|e| if blank() { Ok(T::default()) } else { Err(e) })
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}
