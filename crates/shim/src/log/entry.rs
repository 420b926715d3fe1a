//! Lines and their JSON form.
//!
//! Docker's copier cuts at newlines and, when a line is longer, after each 16 KiB; all pieces of a line
//! carry the time of the first; only what ended with a newline ends with one in the log; what stands
//! without a newline is written when the stream ends. Strings are escaped as Go's encoding/json does
//! (`<`, `>`, `&`, U+2028, U+2029 too; each invalid byte becomes U+FFFD), times are RFC3339Nano in UTC
//! (trailing zeros of the fraction dropped).

use sys::clock::Time;

/// A longer line is written in pieces of this size (moby's `defaultBufSize`).
pub const MAX_LINE_BYTES: usize = 16 << 10;

/// The stream's name in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where entries go.
pub trait Entries {
    /// Makes room for one more entry (a log rotates here) and says where it is to be appended.
    fn next_entry(&mut self) -> &mut Vec<u8>;
}

/// One stream on its way into the log: what has come since the last newline.
#[derive(Debug)]
pub struct Stream {
    /// What stands between an entry's text and its time.
    middle: Vec<u8>,
    pending: Vec<u8>,
    /// The time of the first piece, while a line that was cut goes on.
    cut_line_time: Option<Time>,
}

impl Stream {
    /// A stream that has said nothing yet. `attrs`, a JSON object or nothing, goes into each entry.
    pub fn new(name: Name, attrs: &str) -> Self {
        let mut middle = match name {
            Name::Stdout => b"\",\"stream\":\"stdout\"".to_vec(),
            Name::Stderr => b"\",\"stream\":\"stderr\"".to_vec(),
        };
        if !attrs.is_empty() {
            middle.extend_from_slice(b",\"attrs\":");
            middle.extend_from_slice(attrs.as_bytes());
        }
        middle.extend_from_slice(b",\"time\":\"");
        Self { middle, pending: Vec::new(), cut_line_time: None }
    }

    /// Takes what was read at `now` and gives the entries that are complete. Each line of a read gets one
    /// nanosecond more than the last, because log shippers drop lines of the same time and text.
    pub fn feed(&mut self, mut data: &[u8], now: Time, entries: &mut impl Entries) {
        let mut stamp = Stamp::new(now);
        while !data.is_empty() {
            let room = MAX_LINE_BYTES - self.pending.len();
            let window = &data[..data.len().min(room)];
            let (line, rest, ended) = match newline(window) {
                Some(at) => (&data[..at], &data[at + 1..], true),
                None if window.len() == room => (window, &data[room..], false),
                None => {
                    self.pending.extend_from_slice(data);
                    break;
                }
            };
            let out = entries.next_entry();
            if self.pending.is_empty() {
                self.encode(out, line, ended, &stamp);
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(line);
                self.encode(out, &whole, ended, &stamp);
            }
            self.cut_line_time = if ended { None } else { Some(self.cut_line_time.unwrap_or(stamp.time)) };
            stamp.advance();
            data = rest;
        }
    }

    /// The stream has ended: what stands without a newline is an entry too.
    pub fn finish(&mut self, now: Time, entries: &mut impl Entries) {
        if !self.pending.is_empty() {
            let line = std::mem::take(&mut self.pending);
            self.encode(entries.next_entry(), &line, false, &Stamp::new(now));
        }
        self.cut_line_time = None;
    }

    fn encode(&self, out: &mut Vec<u8>, line: &[u8], newline: bool, stamp: &Stamp) {
        out.reserve(line.len() + 2 * MAX_FRAME_BYTES);
        out.extend_from_slice(b"{\"log\":\"");
        escape(out, line);
        if newline {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(&self.middle);
        match self.cut_line_time {
            None => stamp.put(out),
            Some(time) => Stamp::new(time).put(out),
        }
        out.extend_from_slice(b"\"}\n");
    }
}

/// What an entry has beside its text, rounded up.
const MAX_FRAME_BYTES: usize = 96;

/// A time and its text, so that the next nanosecond costs no division.
struct Stamp {
    time: Time,
    text: [u8; 30],
}

impl Stamp {
    fn new(time: Time) -> Self {
        Self { time, text: time.rfc3339_fixed() }
    }

    fn advance(&mut self) {
        self.time = Time(self.time.0 + 1);
        // The fraction's nine digits stand before the Z.
        for digit in self.text[20..29].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.text = self.time.rfc3339_fixed();
    }

    /// RFC3339Nano: without the fraction's trailing zeros, and without its point when nothing is left.
    fn put(&self, out: &mut Vec<u8>) {
        let mut end = 29;
        while self.text[end - 1] == b'0' && end > 20 {
            end -= 1;
        }
        let end = if end == 20 { 19 } else { end };
        out.extend_from_slice(&self.text[..end]);
        out.push(b'Z');
    }
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// A bit in each byte of `word` that is zero (and perhaps in bytes above one: enough to know that there is one).
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Whether one of the eight bytes is special in JSON or in Go's HTML-safe form of it, or no plain ASCII.
/// Eight at a time by hand: this program is built for size, and the compiler leaves loops over bytes as they are.
fn is_special(word: u64) -> bool {
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    // 0x22 and 0x26, 0x3c and 0x3e, differ in one bit each.
    let quote_ampersand = zeros((word | (ONES * 0x04)) ^ (ONES * 0x26));
    let less_greater = zeros((word | (ONES * 0x02)) ^ (ONES * 0x3e));
    let backslash = zeros(word ^ (ONES * 0x5c));
    (control | word | quote_ampersand | less_greater | backslash) & HIGHS != 0
}

fn newline(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    let (words, _) = data.as_chunks::<8>();
    for word in words {
        if zeros(u64::from_ne_bytes(*word) ^ (ONES * 0x0a)) != 0 {
            break;
        }
        at += 8;
    }
    data[at..].iter().position(|&c| c == b'\n').map(|i| at + i)
}

/// How many bytes from the start need no change.
fn plain(data: &[u8]) -> usize {
    let mut at = 0;
    let (words, _) = data.as_chunks::<8>();
    for word in words {
        if is_special(u64::from_ne_bytes(*word)) {
            break;
        }
        at += 8;
    }
    let special = |c: u8| !(0x20..0x80).contains(&c) || matches!(c, b'"' | b'\\' | b'<' | b'>' | b'&');
    at + data[at..].iter().take_while(|&&c| !special(c)).count()
}

fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    while !text.is_empty() {
        let run = plain(text);
        out.extend_from_slice(&text[..run]);
        text = &text[run..];
        let Some(&c) = text.first() else { return };
        let used = match c {
            b'"' | b'\\' => {
                out.extend_from_slice(&[b'\\', c]);
                1
            }
            b'\n' => {
                out.extend_from_slice(b"\\n");
                1
            }
            b'\r' => {
                out.extend_from_slice(b"\\r");
                1
            }
            0x80.. => match rune(text) {
                Some(0xe2) if text[1] == 0x80 && (text[2] == 0xa8 || text[2] == 0xa9) => {
                    out.extend_from_slice(if text[2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                    3
                }
                Some(first) => {
                    let length = width(first);
                    out.extend_from_slice(&text[..length]);
                    length
                }
                None => {
                    out.extend_from_slice(b"\\ufffd");
                    1
                }
            },
            _ => {
                let (high, low) = (HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                1
            }
        };
        text = &text[used..];
    }
}

fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

/// The first byte of a valid multi-byte character (RFC 3629) at the start of `text`; `None` when what
/// stands there is none: then Go replaces one byte and goes on with the next.
fn rune(text: &[u8]) -> Option<u8> {
    let first = text[0];
    let second = match first {
        0xc2..=0xdf | 0xe1..=0xec | 0xee..=0xef | 0xf1..=0xf3 => 0x80..=0xbf,
        0xe0 => 0xa0..=0xbf,
        0xed => 0x80..=0x9f,
        0xf0 => 0x90..=0xbf,
        0xf4 => 0x80..=0x8f,
        _ => return None,
    };
    let rest = text.get(1..width(first))?;
    let valid = second.contains(&rest[0]) && rest[1..].iter().all(|c| (0x80..=0xbf).contains(c));
    valid.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Time = Time(1_700_000_000_123_456_789);

    impl Entries for Vec<u8> {
        fn next_entry(&mut self) -> &mut Vec<u8> {
            self
        }
    }

    fn log(reads: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut stream = Stream::new(Name::Stdout, "");
        for (n, read) in reads.iter().enumerate() {
            stream.feed(read, Time(NOW.0 + n as i64 * 1000), &mut out);
        }
        stream.finish(NOW, &mut out);
        String::from_utf8(out).expect("entries are UTF-8")
    }

    fn texts(log: &str) -> Vec<String> {
        log.lines()
            .map(|l| {
                serde_json::from_str::<serde_json::Value>(l).unwrap()["log"].as_str().unwrap().to_string()
            })
            .collect()
    }

    #[test]
    fn the_line_is_dockers() {
        assert_eq!(
            log(&[b"hello\n"]),
            "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n"
        );
        assert_eq!(
            log(&[b"no end"]),
            "{\"log\":\"no end\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n"
        );
        assert_eq!(log(&[]), "");
        let mut out = Vec::new();
        Stream::new(Name::Stderr, "{\"a\":\"1\"}").feed(b"x\n", NOW, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"1\"},\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n"
        );
    }

    #[test]
    fn times_lose_their_zeros() {
        for (ns, text) in [
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_100_000_000, "2023-11-14T22:13:20.1Z"),
            (1_700_000_000_000_000_100, "2023-11-14T22:13:20.0000001Z"),
        ] {
            let mut out = Vec::new();
            Stamp::new(Time(ns)).put(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn the_next_nanosecond() {
        for (ns, text) in [
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20.000000001Z"),
            (1_700_000_000_000_000_099, "2023-11-14T22:13:20.0000001Z"),
            (1_700_000_000_999_999_999, "2023-11-14T22:13:21Z"),
            (1_703_980_799_999_999_999, "2023-12-31T00:00:00Z"),
        ] {
            let (mut stamp, mut out) = (Stamp::new(Time(ns)), Vec::new());
            stamp.advance();
            stamp.put(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn every_special_byte_is_seen_at_every_place() {
        for c in 0..=255u8 {
            let special = !(0x20..0x80).contains(&c) || b"\"\\<>&".contains(&c);
            for place in 0..24 {
                for around in [b'a', b' ', 0x7f, b'!', b'%', b'=', b'[', b']'] {
                    let mut text = [around; 24];
                    text[place] = c;
                    assert_eq!(plain(&text), if special { place } else { 24 }, "{c:#x} at {place}");
                    assert_eq!(newline(&text), (c == b'\n').then_some(place));
                }
            }
        }
    }

    #[test]
    fn escapes_are_gos() {
        for (bytes, text) in [
            (&b"a\"b\\c"[..], "a\\\"b\\\\c"),
            (b"\r\t\x00\x1b[0m\x7f", "\\r\\u0009\\u0000\\u001b[0m\x7f"),
            (b"<a href=x>&", "\\u003ca href=x\\u003e\\u0026"),
            ("grün € 😀".as_bytes(), "grün € 😀"),
            ("\u{2028}\u{2029}\u{202a}".as_bytes(), "\\u2028\\u2029\u{202a}"),
            (b"\xff\xfe", "\\ufffd\\ufffd"),
            (b"\xe2\x82", "\\ufffd\\ufffd"),
            (b"\xe2\x82x", "\\ufffd\\ufffdx"),
            (b"\xc0\x80\xed\xa0\x80\xf5", "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd"),
            (b"\xf0\x9f\x98", "\\ufffd\\ufffd\\ufffd"),
        ] {
            let mut out = Vec::new();
            escape(&mut out, bytes);
            assert_eq!(String::from_utf8(out).unwrap(), text, "{bytes:?}");
        }
    }

    #[test]
    fn lines_are_cut_at_16_kib() {
        let lengths = |n: usize| -> Vec<usize> {
            let mut line = vec![b'x'; n];
            line.push(b'\n');
            texts(&log(&[&line])).iter().map(String::len).collect()
        };
        assert_eq!(lengths(16_383), [16_384]);
        // The buffer is full before its newline is seen: the newline is an entry of its own.
        assert_eq!(lengths(16_384), [16_384, 1]);
        assert_eq!(lengths(16_385), [16_384, 2]);
        assert_eq!(lengths(40_000), [16_384, 16_384, 40_000 - 2 * 16_384 + 1]);
        assert_eq!(
            texts(&log(&[&[b'x'; 20_000]])).iter().map(String::len).collect::<Vec<_>>(),
            [16_384, 3616]
        );
    }

    #[test]
    fn pieces_of_a_line_share_their_time() {
        let line = [b'x'; 40_000];
        let times: Vec<String> = log(&[&line, b"\nnext\n"])
            .lines()
            .map(|l| {
                serde_json::from_str::<serde_json::Value>(l).unwrap()["time"].as_str().unwrap().to_string()
            })
            .collect();
        assert_eq!(times.len(), 4);
        assert!(times[0] == times[1] && times[1] == times[2] && times[2] != times[3], "{times:?}");
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(data in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'a')], 0..2000), cuts in prop::collection::vec(0usize..2000, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(data.len())).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|w| &data[w[0]..w[1]]).collect();
            let whole = texts(&log(&[&data])).concat();
            prop_assert_eq!(texts(&log(&reads)).concat(), whole.clone());
            let expected: usize = String::from_utf8_lossy(&data).chars().filter(|c| *c == '\n').count();
            prop_assert_eq!(whole.matches('\n').count(), expected);
        }

        #[test]
        fn valid_text_comes_back(text in "\\PC{0,300}") {
            prop_assert_eq!(texts(&log(&[text.as_bytes()])).concat(), text);
        }
    }
}
