//! Docker's framing of several streams in one (`stdcopy`): attach and logs of containers without a terminal.
//!
//! Each frame is 8 bytes (the stream, three zeros, the length in big endian) and its payload (Engine API,
//! *ContainerAttach*, "Stream format"). This file does no I/O.

/// Bytes before each payload.
pub const HEADER_LEN: usize = 8;

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Echoed input; Docker's clients write it to standard output.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// An error of the engine: its text ends the stream.
    System = 3,
}

impl Stream {
    fn from_byte(byte: u8) -> Option<Stream> {
        match byte {
            0 => Some(Stream::Stdin),
            1 => Some(Stream::Stdout),
            2 => Some(Stream::Stderr),
            3 => Some(Stream::System),
            _ => None,
        }
    }
}

/// The header of a frame of `len` bytes.
pub fn header(stream: Stream, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// A header that names no stream, as Docker's `StdCopy` reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Unrecognized input header: {0}")]
pub struct UnknownStream(
    /// The first byte of the header.
    pub u8,
);

/// Takes frames apart. Payload is handed on as it comes: nothing but a header is ever kept.
#[derive(Debug, Clone, Default)]
pub struct Demux {
    header: [u8; HEADER_LEN],
    have: usize,
    current: Option<(Stream, u32)>,
}

impl Demux {
    /// At the start of a stream.
    pub fn new() -> Demux {
        Demux::default()
    }

    /// Whether the bytes so far end between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.current.is_none() && self.have == 0
    }

    /// Takes the next piece of payload off the front of `input`; `None` when more input is needed.
    ///
    /// A frame may come in several pieces; empty frames yield none.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(Stream, &'a [u8])>, UnknownStream> {
        loop {
            if let Some((stream, left)) = self.current {
                if left > 0 {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let take = input.len().min(left as usize);
                    let (piece, rest) = input.split_at(take);
                    *input = rest;
                    self.current = Some((stream, left - take as u32));
                    return Ok(Some((stream, piece)));
                }
                self.current = None;
            }
            let take = input.len().min(HEADER_LEN - self.have);
            let (piece, rest) = input.split_at(take);
            self.header[self.have..self.have + take].copy_from_slice(piece);
            self.have += take;
            *input = rest;
            if self.have < HEADER_LEN {
                return Ok(None);
            }
            self.have = 0;
            let [kind, _, _, _, a, b, c, d] = self.header;
            let stream = Stream::from_byte(kind).ok_or(UnknownStream(kind))?;
            self.current = Some((stream, u32::from_be_bytes([a, b, c, d])));
            if self.current.is_some_and(|(_, len)| len == 0) {
                self.current = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_stream() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Stdin), Just(Stream::Stdout), Just(Stream::Stderr), Just(Stream::System)]
    }

    proptest! {
        /// However the bytes are cut, each stream's bytes come out whole and in order.
        #[test]
        fn cuts_do_not_matter(
            frames in prop::collection::vec((any_stream(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cuts in prop::collection::vec(1usize..50, 1..60),
        ) {
            let mut wire = Vec::new();
            for (stream, payload) in &frames {
                wire.extend_from_slice(&header(*stream, payload.len() as u32));
                wire.extend_from_slice(payload);
            }
            let mut demux = Demux::new();
            let mut got: Vec<(Stream, u8)> = Vec::new();
            let mut rest = wire.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut piece, after) = rest.split_at(rest.len().min(*cut));
                rest = after;
                while let Some((stream, bytes)) = demux.next(&mut piece).unwrap() {
                    prop_assert!(!bytes.is_empty());
                    got.extend(bytes.iter().map(|b| (stream, *b)));
                }
                prop_assert!(piece.is_empty());
            }
            let expected: Vec<_> =
                frames.iter().flat_map(|(stream, bytes)| bytes.iter().map(|b| (*stream, *b))).collect();
            prop_assert_eq!(got, expected);
            prop_assert!(demux.is_between_frames());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut demux = Demux::new();
            let mut input = bytes.as_slice();
            while let Ok(Some((_, piece))) = demux.next(&mut input) {
                prop_assert!(!piece.is_empty());
            }
        }
    }

    #[test]
    fn unknown_streams_are_errors() {
        let mut input: &[u8] = b"hello, world";
        let error = Demux::new().next(&mut input).unwrap_err();
        assert_eq!(error.to_string(), "Unrecognized input header: 104");
    }
}
