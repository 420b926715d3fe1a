//! One line of a json-file log.
//!
//! Almost all lines are as the shim and dockerd write them, and those are taken apart by hand: a `logs` of a
//! hundred megabytes is a million of them. Whatever looks otherwise goes through a JSON parser.

use memchr::{memchr2, memrchr};
use serde::Deserialize;
use std::borrow::Cow;
use sys::clock::Time;

/// One entry of a log: a line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// From stderr.
    pub stderr: bool,
    /// The bytes, with the newline when it had one.
    pub line: &'a [u8],
    /// When it was written, as text (RFC 3339).
    time: Cow<'a, str>,
    /// A JSON object, or nothing.
    attrs: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Any<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: Option<serde_json::Value>,
}

impl LogLine<'_> {
    /// When it was written; `None` for a text that is no time.
    pub fn time(&self) -> Option<Time> {
        Time::parse(&self.time)
    }

    /// What the log's options put into each entry, sorted by name.
    pub fn attributes(&self) -> std::collections::BTreeMap<String, String> {
        serde_json::from_str(&self.attrs).unwrap_or_default()
    }
}

/// Takes an entry apart; its text is put into `text`. `None` when it is none, as after a disk that was full.
pub(super) fn parse<'a>(entry: &'a [u8], text: &'a mut Vec<u8>) -> Option<LogLine<'a>> {
    text.clear();
    if let Some((stderr, attrs, time)) = known(entry, text) {
        return Some(LogLine { stderr, line: text, time: time.into(), attrs: attrs.into() });
    }
    text.clear();
    let any: Any<'a> = serde_json::from_slice(entry).ok()?;
    text.extend_from_slice(any.log.as_bytes());
    let attrs = any.attrs.map_or(String::new(), |attrs| attrs.to_string());
    Some(LogLine { stderr: any.stream == "stderr", line: text, time: any.time, attrs: attrs.into() })
}

/// Only the time, for searches.
pub(super) fn time_of(entry: &[u8]) -> Option<Time> {
    parse(entry, &mut Vec::new())?.time()
}

/// `{"log":"…","stream":"stdout","time":"…"}`, perhaps with `"attrs":{…}` before the time, and nothing else.
fn known<'a>(entry: &'a [u8], text: &mut Vec<u8>) -> Option<(bool, &'a str, &'a str)> {
    let rest = unescape(entry.strip_prefix(b"{\"log\":\"")?, text)?;
    let (stderr, rest) = if let Some(rest) = rest.strip_prefix(b",\"stream\":\"stdout\",") {
        (false, rest)
    } else {
        (true, rest.strip_prefix(b",\"stream\":\"stderr\",")?)
    };
    let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
    let (attrs, time) = match rest.strip_prefix(b"\"time\":\"") {
        Some(time) => (&b""[..], time),
        None => {
            // A time holds no comma, so that the last one stands before it.
            let at = memrchr(b',', rest)?;
            (rest[..at].strip_prefix(b"\"attrs\":")?, rest[at..].strip_prefix(b",\"time\":\"")?)
        }
    };
    let time = time.strip_suffix(b"\"}")?;
    if time.contains(&b'"') || time.contains(&b'\\') {
        return None;
    }
    Some((stderr, std::str::from_utf8(attrs).ok()?, std::str::from_utf8(time).ok()?))
}

/// Copies a JSON string without its escapes; what comes after its closing quote.
fn unescape<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr2(b'"', b'\\', rest)?;
        text.extend_from_slice(&rest[..at]);
        if rest[at] == b'"' {
            return Some(&rest[at + 1..]);
        }
        let plain = match rest.get(at + 1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            c @ (b'"' | b'\\' | b'/') => *c,
            b'u' => {
                rest = unicode(&rest[at + 2..], text)?;
                continue;
            }
            _ => return None,
        };
        text.push(plain);
        rest = &rest[at + 2..];
    }
}

/// The four digits after `\u`, and those of the second half of a pair.
fn unicode<'a>(rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    let four = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits.get(..4)?).ok()?, 16).ok();
    let first = four(rest)?;
    let mut rest = &rest[4..];
    let code = match first {
        0xd800..=0xdbff => {
            let second = four(rest.strip_prefix(b"\\u")?).filter(|c| (0xdc00..=0xdfff).contains(c))?;
            rest = &rest[6..];
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        }
        code => code,
    };
    let mut utf8 = [0; 4];
    text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: &str = "2026-11-24T08:25:06.851284811Z";

    #[test]
    fn known_and_other_forms() {
        for (entry, stderr, line, attrs) in [
            (r#"{"log":"x\n","stream":"stdout","time":"T"}"#, false, "x\n", ""),
            (r#"{"log":"","stream":"stderr","time":"T"}"#, true, "", ""),
            (r#"{"log":"a\"b\\c\u003c\r\t","stream":"stdout","time":"T"}"#, false, "a\"b\\c<\r\t", ""),
            (r#"{"log":"\ud83d\ude00\u20ac😀","stream":"stdout","time":"T"}"#, false, "😀€😀", ""),
            (
                r#"{"log":"x","stream":"stdout","attrs":{"a":"1","b":"x,\"y"},"time":"T"}"#,
                false,
                "x",
                r#"{"a":"1","b":"x,\"y"}"#,
            ),
            // Not the shim's form.
            (r#"{"stream":"stderr", "log":"x", "time":"T"}"#, true, "x", ""),
            (r#"{"log":"x","stream":"stdout","time":"T","more":1}"#, false, "x", ""),
            (r#"{"log":"x","time":"T"}"#, false, "x", ""),
        ] {
            let entry = entry.replace('T', TIME) + "\n";
            let mut text = Vec::new();
            let got = parse(entry.as_bytes(), &mut text).unwrap();
            assert_eq!((got.stderr, String::from_utf8_lossy(got.line).as_ref()), (stderr, line), "{entry}");
            assert_eq!(got.attrs, attrs, "{entry}");
            assert_eq!(got.time(), Time::parse(TIME), "{entry}");
        }
        for bad in [
            "",
            "\n",
            "{",
            "{\"log\":\"x",
            "null",
            "{\"log\":\"\\ud83d\",\"stream\":\"stdout\",\"time\":\"T\"}",
        ] {
            assert_eq!(parse(bad.as_bytes(), &mut Vec::new()), None, "{bad}");
        }
    }

    proptest! {
        /// The short way and the parser agree on what a JSON encoder writes.
        #[test]
        fn both_ways_agree(line in "(\\PC|[\\n\"\\\\\u{0}-\u{1f}]){0,80}", stderr: bool) {
            let stream = if stderr { "stderr" } else { "stdout" };
            let entry = format!("{{\"log\":{},\"stream\":\"{stream}\",\"time\":\"{TIME}\"}}\n", serde_json::to_string(&line).unwrap());
            let mut text = Vec::new();
            let (got, attrs, time) = known(entry.as_bytes(), &mut text).unwrap();
            prop_assert_eq!((got, attrs, time), (stderr, "", TIME));
            prop_assert_eq!(text, line.as_bytes());
        }

        #[test]
        fn any_bytes_are_survived(entry in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut whole = b"{\"log\":\"".to_vec();
            whole.extend_from_slice(&entry);
            let _ = parse(&whole, &mut Vec::new());
            let _ = parse(&entry, &mut Vec::new());
        }
    }
}
