//! Query strings as Go's `net/url` writes and reads them, and Docker's words for yes and no.
//!
//! This file does not know which parameters exist.

use std::fmt::Write as _;

/// The parameters of a query, in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// Why a query cannot be read, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("invalid URL escape {0:?}")]
    Escape(String),
    /// A `;`, which once separated pairs.
    #[error("invalid semicolon separator in query")]
    Semicolon,
}

impl Query {
    /// An empty query.
    pub fn new() -> Query {
        Query::default()
    }

    /// Reads the part of a URL after `?`.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        let mut query = Query::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if part.contains(';') {
                return Err(QueryError::Semicolon);
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            query.pairs.push((unescape(key, true)?, unescape(value, true)?));
        }
        Ok(query)
    }

    /// Adds a parameter.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Query {
        self.pairs.push((key.to_owned(), value.into()));
        self
    }

    /// Adds a parameter unless its value is empty.
    pub fn set_text(self, key: &str, value: &str) -> Query {
        if value.is_empty() { self } else { self.set(key, value) }
    }

    /// Adds a parameter with the value `1`, if `value`.
    pub fn set_flag(self, key: &str, value: bool) -> Query {
        if value { self.set(key, "1") } else { self }
    }

    /// The first value of `key`; empty when it is absent.
    pub fn get(&self, key: &str) -> &str {
        self.pairs.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// All values of `key`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether `key` is given at all.
    pub fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(name, _)| name == key)
    }

    /// Docker's boolean: absent, empty, `0`, `no`, `false` and `none` are no, all else is yes.
    pub fn flag(&self, key: &str) -> bool {
        !matches!(self.get(key).trim().to_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// [`Query::flag`], with the answer for an absent key.
    pub fn flag_or(&self, key: &str, default: bool) -> bool {
        if self.has(key) { self.flag(key) } else { default }
    }

    /// `?` and the encoded pairs; nothing when there are none.
    pub fn to_suffix(&self) -> String {
        let mut out = String::new();
        for (i, (key, value)) in self.pairs.iter().enumerate() {
            out.push(if i == 0 { '?' } else { '&' });
            escape(key, true, &mut out);
            out.push('=');
            escape(value, true, &mut out);
        }
        out
    }
}

/// Escapes one segment (or a name with slashes, which stay) for a URL's path.
pub fn escape_path(text: &str) -> String {
    let mut out = String::new();
    escape(text, false, &mut out);
    out
}

/// The path of a URL without its escapes.
pub fn unescape_path(text: &str) -> Result<String, QueryError> {
    unescape(text, false)
}

fn escape(text: &str, query: bool, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b'/' | b':' | b'@' | b'$' | b'&' | b'+' | b'=' if !query => out.push(char::from(byte)),
            b' ' if query => out.push('+'),
            // Writing to a String cannot fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
}

fn unescape(text: &str, query: bool) -> Result<String, QueryError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    let end = (at + 3).min(bytes.len());
                    return Err(QueryError::Escape(String::from_utf8_lossy(&bytes[at..end]).into_owned()));
                };
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            b'+' if query => {
                out.push(b' ');
                at += 1;
            }
            other => {
                out.push(other);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_go_does() {
        let query = Query::parse("a=1&b=x+y%2Fz&a=2&c&&d=").unwrap();
        assert_eq!(query.get("a"), "1");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), "x y/z");
        assert!(query.has("c") && query.has("d") && !query.has("e"));
        assert_eq!(Query::parse("a=%zz").unwrap_err().to_string(), "invalid URL escape \"%zz\"");
        assert_eq!(Query::parse("a=%f").unwrap_err().to_string(), "invalid URL escape \"%f\"");
        assert_eq!(Query::parse("a;b").unwrap_err().to_string(), "invalid semicolon separator in query");
    }

    #[test]
    fn words_for_yes_and_no() {
        for (word, expected) in [
            ("", false),
            ("0", false),
            ("no", false),
            ("FALSE", false),
            (" none ", false),
            ("1", true),
            ("true", true),
            ("yes", true),
            ("2", true),
            ("off", true),
        ] {
            let query = Query::new().set("x", word);
            assert_eq!(query.flag("x"), expected, "{word:?}");
        }
        assert!(Query::new().flag_or("x", true));
        assert!(!Query::new().set("x", "0").flag_or("x", true));
    }

    proptest! {
        #[test]
        fn round_trips(pairs in prop::collection::vec((".*", ".*"), 0..5)) {
            let mut query = Query::new();
            for (key, value) in &pairs {
                query = query.set(key, value.clone());
            }
            let text = query.to_suffix();
            let back = Query::parse(text.strip_prefix('?').unwrap_or("")).unwrap();
            // A pair with neither name nor value is written as "=", which still is one.
            prop_assert_eq!(back, query);
        }

        #[test]
        fn paths_round_trip(text in ".*") {
            prop_assert_eq!(unescape_path(&escape_path(&text)).unwrap(), text);
        }
    }
}
