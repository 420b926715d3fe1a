//! Raw mode of the terminal, undone on every way out.

use std::os::fd::BorrowedFd;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::Error;

/// A terminal in raw mode; dropping it restores what was.
#[derive(Debug)]
pub struct RawMode {
    fd: BorrowedFd<'static>,
    before: Termios,
}

impl RawMode {
    /// Sets raw mode; none if `fd` is no terminal.
    pub fn set(fd: BorrowedFd<'static>) -> Result<Option<RawMode>, Error> {
        let Ok(before) = tcgetattr(fd) else { return Ok(None) };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(fd, OptionalActions::Now, &raw).map_err(|e| {
            let text = crate::error::io_text(&e.into());
            Error::failed(format!(
                "unable to setup input stream: unable to set IO streams as raw terminal: {text}"
            ))
        })?;
        Ok(Some(RawMode { fd, before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Without the terminal there is nothing to restore.
        let _ = tcsetattr(self.fd, OptionalActions::Now, &self.before);
    }
}

/// Looks for the keys that detach in what is typed.
#[derive(Debug)]
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// ctrl-p, ctrl-q
const DEFAULT_KEYS: [u8; 2] = [16, 17];

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys { keys: DEFAULT_KEYS.to_vec(), matched: 0 }
    }
}

impl DetachKeys {
    /// For keys as Docker writes them (`ctrl-p,ctrl-q`); the error names the key that is none.
    pub fn parse(text: &str) -> Result<DetachKeys, String> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let mut keys = Vec::new();
        for key in text.split(',') {
            keys.push(match key.as_bytes() {
                [one] => *one,
                b"DEL" => 127,
                [b'c', b't', b'r', b'l', b'-', c @ (b'@' | b'a'..=b'z' | b'['..=b'_')] => c & 0x1f,
                _ => return Err(format!("Unknown character: '{key}'")),
            });
        }
        Ok(DetachKeys { keys, matched: 0 })
    }

    /// Passes on what was typed but for the keys; true when they were typed to their end.
    pub fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
                continue;
            }
            // Not the keys after all: what was held back goes out.
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if *byte == self.keys[0] {
                self.matched = 1;
            } else {
                out.push(*byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_held_back() {
        for (keys, typed, want, detached) in [
            ("", &[&b"abc"[..]][..], &b"abc"[..], false),
            ("", &[b"a\x10", b"\x11z"], b"a", true),
            ("", &[b"a\x10", b"b"], b"a\x10b", false),
            ("", &[b"\x10\x10\x11"], b"\x10", true),
            ("ctrl-a,a", &[b"x\x01", b"a"], b"x", true),
            ("ctrl-@,DEL", &[b"\x00\x7f"], b"", true),
            ("q", &[b"abq"], b"ab", true),
            ("ctrl-c,q", &[b"\x03\x03q"], b"\x03", true),
        ] {
            let mut filter = DetachKeys::parse(keys).unwrap();
            let mut out = Vec::new();
            let mut got = false;
            for part in typed {
                got = filter.filter(part, &mut out);
                if got {
                    break;
                }
            }
            assert_eq!((out.as_slice(), got), (want, detached), "{keys:?} {typed:?}");
        }
        assert_eq!(DetachKeys::parse("ctrl-ö").unwrap_err(), "Unknown character: 'ctrl-ö'");
        assert!(DetachKeys::parse("ctrl-a,").is_err());
    }
}
