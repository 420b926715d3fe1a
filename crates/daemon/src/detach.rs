//! The keys that detach a client from a terminal (Docker's `detachKeys`, by default ctrl-p ctrl-q).
//!
//! The sequence is looked for in what the client types; bytes that may begin it are held back until it is clear
//! that they do not. This file does no I/O.

use crate::reply::Refusal;

const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Looks for the sequence.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// By Docker's words: `ctrl-p,ctrl-q`, `a,b`, …; empty text is the default.
    pub(crate) fn parse(text: &str) -> Result<DetachKeys, Refusal> {
        let keys = if text.is_empty() {
            DEFAULT.to_vec()
        } else {
            let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
            keys.ok_or_else(|| Refusal::bad_request(format!("Invalid detach keys ({text}) provided")))?
        };
        Ok(DetachKeys { keys, matched: 0 })
    }

    /// Takes what was typed and appends what the container shall get to `out`. True: detach.
    pub(crate) fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed.iter().copied() {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(byte == self.keys[0]);
            if self.matched == 0 {
                out.push(byte);
            }
        }
        false
    }
}

fn key(word: &str) -> Option<u8> {
    if let [byte] = word.as_bytes() {
        return Some(*byte);
    }
    let name = word.strip_prefix("ctrl-")?;
    match name.as_bytes() {
        // ctrl-@ is 0, ctrl-a 1, …, ctrl-_ 31.
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [symbol @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(symbol - b'@'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_found_and_nothing_else_is_lost() {
        for (keys, typed, passed, detached) in [
            ("", &[b"ab\x10\x11".as_slice()][..], b"ab".as_slice(), true),
            ("", &[b"\x10", b"\x11"], b"", true),
            ("", &[b"\x10x\x11"], b"\x10x\x11", false),
            ("", &[b"\x10\x10\x11"], b"\x10", true),
            ("", &[b"a\x10"], b"a", false),
            ("a,b", &[b"xaby"], b"x", true),
            ("ctrl-\\", &[b"x\x1c"], b"x", true),
        ] {
            let mut matcher = DetachKeys::parse(keys).unwrap();
            let mut out = Vec::new();
            let found = typed.iter().any(|piece| matcher.filter(piece, &mut out));
            assert_eq!((out.as_slice(), found), (passed, detached), "{keys:?} {typed:?}");
        }
        for text in ["ctrl-", "ctrl-A", "ab", "a,,b", "shift-a", ","] {
            let refusal = DetachKeys::parse(text).unwrap_err();
            assert_eq!(refusal.message, format!("Invalid detach keys ({text}) provided"));
        }
    }
}
