//! What an attached client has yet to take: whole frames, bounded.
//!
//! Invariants. Never more than [`LIMIT`] bytes and the frame that crossed it. Nothing is cut inside a
//! frame, even when the client is given up: what it has begun to read it gets to the end of the frame.
//!
//! It does not know sockets or what the frames mean.

use std::collections::VecDeque;

/// Above this many bytes the ring is full: the source must wait or the client be given up.
pub const LIMIT: usize = 256 << 10;
/// Memory kept when the ring is empty.
const KEEP: usize = 0;

/// Frames on their way to one client.
#[derive(Debug, Default)]
pub struct Ring {
    bytes: VecDeque<u8>,
    /// Bytes left of each frame, the first one perhaps begun.
    frames: VecDeque<usize>,
    /// The first frame has been sent in part.
    begun: bool,
}

impl Ring {
    /// No byte is waiting.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The client must take something before more is read for it.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= LIMIT
    }

    /// Adds one frame (its pieces one after the other), of which the first `sent` bytes have gone already.
    pub fn push(&mut self, pieces: &[&[u8]], mut sent: usize) {
        let before = self.bytes.len();
        let begun = sent > 0;
        for piece in pieces {
            let skip = sent.min(piece.len());
            sent -= skip;
            self.bytes.extend(&piece[skip..]);
        }
        let added = self.bytes.len() - before;
        if added > 0 {
            if self.frames.is_empty() {
                self.begun = begun;
            }
            self.frames.push_back(added);
        }
    }

    /// The waiting bytes, in two pieces.
    pub fn pieces(&self) -> (&[u8], &[u8]) {
        self.bytes.as_slices()
    }

    /// `n` bytes were taken.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.bytes.len());
        self.bytes.drain(..n);
        let mut left = n;
        while left > 0 {
            let Some(first) = self.frames.front_mut() else { break };
            let step = left.min(*first);
            *first -= step;
            left -= step;
            self.begun = *first > 0;
            if !self.begun {
                self.frames.pop_front();
            }
        }
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEEP);
            self.frames.shrink_to(KEEP);
        }
    }

    /// Gives the client up: forgets all frames that it has not begun to read and ends with `notice`.
    pub fn cut(&mut self, notice: &[u8]) {
        let keep = if self.begun { self.frames.front().copied().unwrap_or(0) } else { 0 };
        self.bytes.truncate(keep);
        self.frames.truncate(usize::from(keep > 0));
        self.push(&[notice], 0);
        self.bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(ring: &Ring) -> Vec<u8> {
        let (a, b) = ring.pieces();
        [a, b].concat()
    }

    #[test]
    fn a_cut_keeps_the_begun_frame() {
        for (sent, taken, expected) in [
            (0, 0, "notice"),      // nothing begun
            (2, 0, "ame1notice"),  // the direct write went half way: "fr" is gone
            (0, 3, "me1notice"),   // begun from the ring
            (0, 6, "notice"),      // exactly at a border
            (0, 7, "rame2notice"), // begun the second
            (0, 12, "notice"),     // all taken
        ] {
            let mut ring = Ring::default();
            ring.push(&[b"fr", b"ame1"], sent);
            ring.push(&[b"frame2"], 0);
            ring.consume(taken);
            ring.cut(b"notice");
            let expected = if sent == 2 { "ame1notice" } else { expected };
            assert_eq!(String::from_utf8(content(&ring)).unwrap(), expected, "sent {sent} taken {taken}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..300), 0usize..400), 0..60)) {
            let mut ring = Ring::default();
            let (mut put, mut got) = (Vec::new(), Vec::new());
            for (frame, take) in steps {
                put.extend_from_slice(&frame);
                ring.push(&[&frame], 0);
                let now = content(&ring);
                let take = take.min(now.len());
                got.extend_from_slice(&now[..take]);
                ring.consume(take);
                prop_assert_eq!(ring.frames.iter().sum::<usize>(), ring.len());
            }
            got.extend_from_slice(&content(&ring));
            prop_assert_eq!(put, got);
        }
    }
}
