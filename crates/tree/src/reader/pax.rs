//! Pax extended headers (POSIX.1-2017 pax, "pax Extended Header"): `length key=value\n` records.

use super::{Extent, Stamp, broken};
use crate::error::Result;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one entry that mean something here.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Stamp>,
    pub(super) atime: Option<Stamp>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// GNU.sparse.name: the real path of a sparse file.
    pub(super) sparse_name: Option<Vec<u8>>,
    /// GNU.sparse.realsize or GNU.sparse.size.
    pub(super) sparse_size: Option<u64>,
    /// GNU.sparse.major and minor are 1 and 0: the map stands before the data.
    pub(super) sparse_in_data: bool,
    /// The map of formats 0.0 and 0.1.
    pub(super) sparse_map: Option<Vec<Extent>>,
}

impl Pax {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut pax = Pax::default();
        let mut half = None;
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| broken("bad pax record"))?;
            pax.set(key, value, &mut half)?;
            bytes = rest;
        }
        Ok(pax)
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Pax::default()
    }

    pub(super) fn take_path(&mut self) -> Option<Vec<u8>> {
        self.sparse_name.take().or_else(|| self.path.take())
    }

    fn set(&mut self, key: &[u8], value: &[u8], half: &mut Option<u64>) -> Result<()> {
        let bad = || broken(format!("bad pax record {:?}", String::from_utf8_lossy(key)));
        let number = || parse_number(value).ok_or_else(bad);
        let text = || -> Result<Option<Vec<u8>>> {
            // A path with a NUL names two different files to two readers.
            if value.contains(&0) { Err(bad()) } else { Ok((!value.is_empty()).then(|| value.to_vec())) }
        };
        match key {
            b"path" => self.path = text()?,
            b"linkpath" => self.linkpath = text()?,
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(parse_stamp(value).ok_or_else(bad)?),
            b"atime" => self.atime = Some(parse_stamp(value).ok_or_else(bad)?),
            b"GNU.sparse.name" => self.sparse_name = text()?,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse_size = Some(number()?),
            b"GNU.sparse.major" => self.sparse_in_data = number()? == 1,
            b"GNU.sparse.minor" if number()? != 0 => return Err(bad()),
            b"GNU.sparse.map" => {
                let numbers = value.split(|b| *b == b',').map(parse_number).collect::<Option<Vec<_>>>();
                let numbers = numbers.filter(|n| n.len() % 2 == 0).ok_or_else(bad)?;
                let pairs = numbers.chunks_exact(2);
                self.sparse_map = Some(pairs.map(|p| Extent { offset: p[0], length: p[1] }).collect());
            }
            b"GNU.sparse.offset" => *half = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = half.take().ok_or_else(bad)?;
                let extent = Extent { offset, length: number()? };
                self.sparse_map.get_or_insert_default().push(extent);
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    if name.is_empty() || name.contains(&0) {
                        return Err(bad());
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits the first record off.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(parse_number(&bytes[..blank])?).ok()?;
    if length <= blank + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return None;
    }
    let body = &bytes[blank + 1..length - 1];
    let equals = body.iter().position(|b| *b == b'=')?;
    (equals > 0).then(|| (&body[..equals], &body[equals + 1..], &bytes[length..]))
}

pub(super) fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Decimal seconds with a fraction, possibly negative.
fn parse_stamp(text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    if negative && nanos > 0 {
        // -1.25 s is two seconds before plus three quarters.
        return Some(Stamp { seconds: seconds.checked_sub(1)?, nanos: 1_000_000_000 - nanos });
    }
    Some(Stamp { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(key: &str, value: &str) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        format!("{length} {key}={value}\n").into_bytes()
    }

    #[test]
    fn records() {
        let cases: &[(&[u8], bool)] = &[
            (b"", true),
            (b"13 path=a/b/c\n", false),
            (b"14 path=a/b/c\n", true),
            (b"999999999999999999999 path=x\n", false),
            (b"6 a=b\n", true),
            (b"5 =b\n\n", false),
            (b"0 a=b\n", false),
            (b"11 size=x12\n", false),
            (b"6 ab=\nx", false),
            (b"no length", false),
        ];
        for (bytes, ok) in cases {
            assert_eq!(Pax::parse(bytes).is_ok(), *ok, "{:?}", String::from_utf8_lossy(bytes));
        }
        let mut nul = line("path", "a\0b");
        assert!(Pax::parse(&nul).is_err());
        nul = line("SCHILY.xattr.user.x", "a\0b");
        assert_eq!(Pax::parse(&nul).unwrap().xattrs, [(b"user.x".to_vec(), b"a\0b".to_vec())]);
    }

    #[test]
    fn stamps() {
        let cases = [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.1234567891", Some((1, 123_456_789))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-7", Some((-7, 0))),
            ("1.x", None),
            ("", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in cases {
            let got = parse_stamp(text.as_bytes()).map(|s| (s.seconds, s.nanos));
            assert_eq!(got, want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::parse(&bytes);
        }

        #[test]
        fn written_then_read(path in "[a-z/]{1,40}", uid in any::<u32>()) {
            let mut bytes = line("path", &path);
            bytes.extend(line("uid", &uid.to_string()));
            let pax = Pax::parse(&bytes).unwrap();
            prop_assert_eq!(pax.path, Some(path.into_bytes()));
            prop_assert_eq!(pax.uid, Some(u64::from(uid)));
        }
    }
}
