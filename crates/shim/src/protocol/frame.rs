//! Bytes of the protocol: hello, frame header, and the decoder that gets any split of them.

use super::{MAX_BODY_BYTES, MAX_FRAME_FDS, OLDEST, ProtocolError, VERSION};
use std::collections::VecDeque;
use std::fmt;

const MAGIC: &[u8; 8] = b"tareshim";

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 16;

/// The first bytes of each side: magic, version, oldest version understood, four zero bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The newest version that the sender speaks.
    pub version: u16,
    /// The oldest version that it understands.
    pub oldest: u16,
}

impl Hello {
    /// Length on the wire.
    pub const BYTES: usize = 16;
    /// What this code says.
    pub const OURS: Self = Self { version: VERSION, oldest: OLDEST };

    /// The bytes on the wire.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&self.version.to_le_bytes());
        out[10..12].copy_from_slice(&self.oldest.to_le_bytes());
        out
    }

    /// Reads the bytes on the wire. The last four bytes are reserved and not looked at, so that a later version
    /// may use them.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, ProtocolError> {
        if &bytes[..8] != MAGIC {
            return Err(ProtocolError::Magic);
        }
        let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Ok(Self { version: number(8), oldest: number(10) })
    }

    /// The version to speak with `theirs`: the newest that both understand.
    pub fn negotiate(self, theirs: Self) -> Result<u16, ProtocolError> {
        let version = self.version.min(theirs.version);
        if version < self.oldest || version < theirs.oldest {
            return Err(ProtocolError::Version {
                their_version: theirs.version,
                their_oldest: theirs.oldest,
            });
        }
        Ok(version)
    }
}

/// What a frame's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`super::Request`], with a number chosen by the client.
    Request,
    /// The [`super::Response`] to the request of the same number.
    Response,
    /// An [`super::Event`], number 0.
    Event,
}

/// One frame and the descriptors that came with it (`F` is a descriptor; tests use numbers).
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<F> {
    /// What the body is.
    pub kind: Kind,
    /// The request's number.
    pub id: u32,
    /// JSON.
    pub body: Vec<u8>,
    /// The descriptors that belong to it.
    pub fds: Vec<F>,
}

/// Encodes a frame whose `fds` descriptors will be sent with its first byte.
pub fn encode_frame(kind: Kind, id: u32, body: &[u8], fds: usize) -> Result<Vec<u8>, ProtocolError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ProtocolError::TooLong(body.len() as u64));
    }
    if fds > MAX_FRAME_FDS {
        return Err(ProtocolError::Descriptors);
    }
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.push(match kind {
        Kind::Request => 1,
        Kind::Response => 2,
        Kind::Event => 3,
    });
    out.push(fds as u8);
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(body);
    Ok(out)
}

/// Takes received bytes and descriptors, gives hello and frames. After an error it gives nothing more.
pub struct Decoder<F> {
    bytes: Vec<u8>,
    fds: VecDeque<F>,
    version: Option<u16>,
    broken: bool,
}

impl<F> Default for Decoder<F> {
    fn default() -> Self {
        Self { bytes: Vec::new(), fds: VecDeque::new(), version: None, broken: false }
    }
}

impl<F> fmt::Debug for Decoder<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} bytes, {} fds, version {:?})", self.bytes.len(), self.fds.len(), self.version)
    }
}

impl<F> Decoder<F> {
    /// Adds what one read gave. Refuses more descriptors than any legal sender has under way.
    pub fn push(&mut self, bytes: &[u8], fds: impl IntoIterator<Item = F>) -> Result<(), ProtocolError> {
        self.fds.extend(fds);
        if self.broken {
            self.fds.clear();
        }
        // One frame that waits for its body, and one message of the kernel behind it.
        if self.fds.len() > 2 * MAX_FRAME_FDS {
            return Err(self.fail(ProtocolError::Descriptors));
        }
        if !self.broken {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// The version in use, once the other side's hello has come.
    pub fn version(&self) -> Option<u16> {
        self.version
    }

    /// The next whole frame. `Ok(None)` means that more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<F>>, ProtocolError> {
        if self.broken {
            return Ok(None);
        }
        if !self.hello()? {
            return Ok(None);
        }
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let id = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let count = usize::from(header[9]);
        let kind = match header[8] {
            1 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Event,
            _ => return Err(self.fail(ProtocolError::Header)),
        };
        if header[10..] != [0; 6] {
            return Err(self.fail(ProtocolError::Header));
        }
        if length > MAX_BODY_BYTES {
            return Err(self.fail(ProtocolError::TooLong(length as u64)));
        }
        // The descriptors come with the first byte: whoever has the header has them.
        if count > MAX_FRAME_FDS || count > self.fds.len() {
            return Err(self.fail(ProtocolError::Descriptors));
        }
        if self.bytes.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let body = self.bytes[HEADER_BYTES..HEADER_BYTES + length].to_vec();
        self.consume(HEADER_BYTES + length);
        Ok(Some(Frame { kind, id, body, fds: self.fds.drain(..count).collect() }))
    }

    fn hello(&mut self) -> Result<bool, ProtocolError> {
        if self.version.is_some() {
            return Ok(true);
        }
        let Some(bytes) = self.bytes.first_chunk::<{ Hello::BYTES }>() else { return Ok(false) };
        match Hello::decode(bytes).and_then(|theirs| Hello::OURS.negotiate(theirs)) {
            Ok(version) => self.version = Some(version),
            Err(e) => return Err(self.fail(e)),
        }
        self.consume(Hello::BYTES);
        Ok(true)
    }

    fn consume(&mut self, n: usize) {
        if n == self.bytes.len() {
            // Give the memory back: an idle connection holds nothing.
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..n);
        }
    }

    fn fail(&mut self, e: ProtocolError) -> ProtocolError {
        self.broken = true;
        self.bytes = Vec::new();
        self.fds.clear();
        e
    }
}
