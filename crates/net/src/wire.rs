//! Netlink messages as bytes: a batch that is built, attributes that are read.
//!
//! One encoder serves rtnetlink, nf_tables and ctnetlink, whose messages differ only in numbers.
//! Invariants: lengths are filled in when a message or nest is closed; everything is padded to four
//! bytes; reading never panics and ends at the first attribute that does not fit.

use crate::{Error, Result};
use std::fmt;
use sys::netlink::{HEADER_LEN, Message, Outcome, Refusal, Socket};

pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// A bound on what a dump may make us keep, so that a huge table cannot exhaust memory.
const MAX_DUMP: usize = 1_000_000;
/// How often an interrupted dump is repeated.
const DUMP_ATTEMPTS: u32 = 16;

const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Messages for one send(2), each with a label for errors.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where the messages begin, and what they are called when one is refused.
    messages: Vec<(usize, Label)>,
    /// The message whose answer ends the exchange; the last one when none was asked.
    asked: Option<usize>,
}

/// What a message does, formatted only when it fails.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    request: &'static str,
    object: String,
}

/// An open nest, to be given back to [`Batch::end`].
#[derive(Debug)]
#[must_use = "an open nest must be ended"]
pub(crate) struct Nest(usize);

impl Batch {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(512), messages: Vec::new(), asked: None }
    }

    /// Begins a message; `fixed` is the family's own header (ifinfomsg, nfgenmsg, …).
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        request: &'static str,
        object: impl fmt::Display,
    ) -> &mut Self {
        self.close();
        self.messages.push((self.bytes.len(), Label { request, object: object.to_string() }));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.raw(fixed)
    }

    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        // Callers pass names, addresses and bounded lists; a nest splits before it outgrows a u16.
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(&value[..usize::from(length) - 4])
    }

    /// A NUL-terminated string.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// A number in host order (rtnetlink).
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// A number in network order (nf_tables, ctnetlink).
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Opens a nested attribute.
    pub(crate) fn nest(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.attr(kind | NLA_F_NESTED, &[]);
        Nest(at)
    }

    pub(crate) fn end(&mut self, nest: Nest) -> &mut Self {
        let length = u16::try_from(self.bytes.len() - nest.0).unwrap_or(u16::MAX);
        self.bytes[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Bytes as they are, padded: a fixed header inside a nest.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// How long the open nest is.
    pub(crate) fn nest_len(&self, nest: &Nest) -> usize {
        self.bytes.len() - nest.0
    }

    /// Adds flags to the last message so far and makes its answer the one that is waited for.
    pub(crate) fn ask_last(&mut self, flags: u16) {
        if let Some((at, _)) = self.messages.last() {
            self.bytes[at + 6] |= flags.to_ne_bytes()[0];
            self.bytes[at + 7] |= flags.to_ne_bytes()[1];
            self.asked = Some(self.messages.len() - 1);
        }
    }

    /// Sends everything and waits for the answer to the last message, which must ask for one
    /// (`NLM_F_ACK` or a dump). Answers other than acknowledgements go to `each`.
    pub(crate) fn send(mut self, socket: &mut Socket, each: impl FnMut(Message<'_>)) -> Result<()> {
        self.exchange(socket, each).map(drop)
    }

    /// Sends a dump again when what it shows changed while it was read. Returns what `parse` makes
    /// of the messages, at most [`MAX_DUMP`] of them.
    pub(crate) fn dump<T>(
        mut self,
        socket: &mut Socket,
        parse: impl Fn(Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            found.clear();
            let complete = self.exchange(socket, |message| {
                if found.len() < MAX_DUMP {
                    found.extend(parse(message));
                }
            })?;
            if complete {
                break;
            }
        }
        // On a machine that never rests the last attempt must do: each shows what did not change.
        Ok(found)
    }

    fn exchange(&mut self, socket: &mut Socket, each: impl FnMut(Message<'_>)) -> Result<bool> {
        self.close();
        let Ok(count) = u32::try_from(self.messages.len()) else {
            return Err(Error::Answer("a batch of that many messages"));
        };
        if count == 0 {
            return Ok(true);
        }
        let first = socket.reserve(count);
        for ((at, _), number) in self.messages.iter().zip(first..) {
            self.bytes[at + 8..at + 12].copy_from_slice(&number.to_ne_bytes());
        }
        let asked = self.asked.and_then(|i| u32::try_from(i).ok()).unwrap_or(count - 1);
        match socket.exchange(&self.bytes, first, first + asked, each)? {
            Outcome::Complete => Ok(true),
            Outcome::Interrupted => Ok(false),
            Outcome::Refused(refusal) => Err(self.explain(first, &refusal)),
        }
    }

    fn explain(&self, first: u32, refusal: &Refusal) -> Error {
        let index = refusal.sequence.wrapping_sub(first) as usize;
        let mut what = match self.messages.get(index) {
            Some((_, label)) if label.object.is_empty() => label.request.to_owned(),
            Some((_, label)) => format!("{} {}", label.request, label.object),
            None => "netlink".to_owned(),
        };
        if let Some(text) = &refusal.text {
            what.push_str(" (");
            what.push_str(text.trim_end_matches('.'));
            what.push(')');
        }
        Error::kernel(what, std::io::Error::from_raw_os_error(refusal.errno))
    }

    /// Fills in the length of the message that is open.
    fn close(&mut self) {
        if let Some((at, _)) = self.messages.last() {
            let length = u32::try_from(self.bytes.len() - at).unwrap_or(u32::MAX);
            self.bytes[*at..at + 4].copy_from_slice(&length.to_ne_bytes());
        }
    }

    #[cfg(test)]
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.close();
        self.bytes
    }
}

// The header is what sys strips from an answer; both must agree on its length.
const _: () = assert!(HEADER_LEN == 16);

/// The attributes in `bytes`, as (type without flags, value).
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & NLA_TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of that type.
pub(crate) fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// A string attribute up to its NUL.
pub(crate) fn as_text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub(crate) fn as_u32(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

pub(crate) fn as_be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

pub(crate) fn as_be64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.get(..8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut batch = Batch::new();
        batch.message(16, NLM_F_ACK, &[0; 16], "RTM_NEWLINK", "x").text(3, "tare0");
        let nest = batch.nest(18);
        batch.u32(1, 7).be32(2, 7).attr(3, b"abc");
        batch.end(nest);
        let bytes = batch.bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(as_u32(&bytes).unwrap() as usize, bytes.len());
        let body = &bytes[HEADER_LEN + 16..];
        assert_eq!(as_text(find(body, 3).unwrap()), "tare0");
        let inner = find(body, 18).unwrap();
        assert_eq!(as_u32(find(inner, 1).unwrap()), Some(7));
        assert_eq!(as_be32(find(inner, 2).unwrap()), Some(7));
        assert_eq!(find(inner, 3).unwrap(), b"abc");
    }

    #[test]
    fn broken_attributes_end_the_iteration() {
        for bytes in [&[0u8; 3][..], &[0; 64], &[3, 0, 1, 0], &[255, 255, 1, 0, 0], &[4, 0, 1, 0, 9]] {
            assert!(attributes(bytes).count() <= 1, "{bytes:?}");
        }
    }
}
