//! Content digests (image-spec descriptor.md "Digests") and the two identities derived from them.
//!
//! A `Digest` is always valid: registered algorithm, lower case hex of the right length. It may
//! therefore be used as a file name and in a URL as it is. `DiffId` (digest of an uncompressed layer)
//! and `ChainId` (digest of a stack of them) are types of their own, so that they cannot be mixed up.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fmt;
use std::str::FromStr;

/// The registered digest algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256, the one in use.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512].into_iter().find(|a| a.name() == name)
    }
}

/// A content digest, `sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Parses `algorithm:hex` with go-digest's rules and messages.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, hex) = text.split_once(':').unwrap_or(("", ""));
        if name.is_empty() || hex.is_empty() {
            return Err(Error::DigestFormat);
        }
        let Some(algorithm) = Algorithm::from_name(name) else {
            return Err(if is_generic_digest(text) { Error::DigestAlgorithm } else { Error::DigestFormat });
        };
        if hex.len() != algorithm.hex_len() {
            return Err(Error::DigestLength);
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::DigestFormat);
        }
        Ok(Digest(text.to_owned()))
    }

    /// The SHA-256 digest of these bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::from_name(self.0.split(':').next().unwrap_or_default()).unwrap_or(Algorithm::Sha256)
    }

    /// What stands after the colon.
    pub fn hex(&self) -> &str {
        &self.0[self.algorithm().name().len() + 1..]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Computes a digest from bytes that come piece by piece.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// An empty hasher.
    pub fn new(algorithm: Algorithm) -> Self {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(h) => h.update(bytes),
            State::Sha384(h) => h.update(bytes),
            State::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(h) => encode(Algorithm::Sha256, &h.finalize()),
            State::Sha384(h) => encode(Algorithm::Sha384, &h.finalize()),
            State::Sha512(h) => encode(Algorithm::Sha512, &h.finalize()),
        }
    }
}

fn encode(algorithm: Algorithm, sum: &[u8]) -> Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(algorithm.name().len() + 1 + sum.len() * 2);
    text.push_str(algorithm.name());
    text.push(':');
    for byte in sum {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Digest(text)
}

/// image-spec descriptor.md: `algorithm ::= component ([+._-] component)*`, with 32 or more hex
/// digits as go-digest has it.
fn is_generic_digest(text: &str) -> bool {
    let Some((name, hex)) = text.split_once(':') else { return false };
    hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) && is_algorithm(name)
}

/// Whether this is an algorithm's name by the grammar, known or not.
pub(crate) fn is_algorithm(name: &str) -> bool {
    name.split(['-', '_', '+', '.']).all(|part| {
        part.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Digest::parse(s)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(s: String) -> Result<Self> {
        Digest::parse(&s)
    }
}

impl From<Digest> for String {
    fn from(d: Digest) -> String {
        d.0
    }
}

/// The digest of an uncompressed layer tar (image-spec config.md "Layer DiffID").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a stack of layers (image-spec config.md "Layer ChainID").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// `ChainID(L0) = DiffID(L0)`, `ChainID(L0|…|Ln) = Digest(ChainID(L0|…|Ln-1) + " " + DiffID(Ln))`.
    pub fn of(parent: Option<&ChainId>, diff: &DiffId) -> Self {
        match parent {
            None => ChainId(diff.0.clone()),
            Some(parent) => ChainId(Digest::sha256(format!("{} {}", parent.0, diff.0).as_bytes())),
        }
    }

    /// The chain ids of a stack of layers, lowest first.
    pub fn chain(diffs: &[DiffId]) -> Vec<ChainId> {
        let mut chain: Vec<ChainId> = Vec::with_capacity(diffs.len());
        for diff in diffs {
            let next = ChainId::of(chain.last(), diff);
            chain.push(next);
        }
        chain
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZERO: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parsing() {
        let sha256 = format!("sha256:{ZERO}");
        let cases: &[(&str, &str)] = &[
            (&sha256, "ok"),
            ("", "invalid checksum digest format"),
            ("sha256", "invalid checksum digest format"),
            ("sha256:", "invalid checksum digest format"),
            (":abc", "invalid checksum digest format"),
            ("sha256:abc", "invalid checksum digest length"),
            (&sha256.to_uppercase(), "unsupported digest algorithm"),
            (&format!("sha256:{}", ZERO.to_uppercase()), "invalid checksum digest format"),
            (&format!("sha256:{}/..", &ZERO[3..]), "invalid checksum digest format"),
            (&format!("md5:{}", &ZERO[..32]), "unsupported digest algorithm"),
            (&format!("-md5:{}", &ZERO[..32]), "invalid checksum digest format"),
            (&format!("multihash+base58:{ZERO}"), "unsupported digest algorithm"),
            (&format!("sha512:{ZERO}{ZERO}"), "ok"),
            (&format!("sha512:{ZERO}"), "invalid checksum digest length"),
            (&format!("sha256:{ZERO}0"), "invalid checksum digest length"),
        ];
        for (input, want) in cases {
            let got = Digest::parse(input).map_or_else(|e| e.to_string(), |_| "ok".to_owned());
            assert_eq!(&got, want, "{input}");
        }
    }

    #[test]
    fn sums() {
        assert_eq!(Digest::sha256(b"").hex(), ZERO);
        let mut h = Hasher::new(Algorithm::Sha512);
        h.update(b"a");
        h.update(b"bc");
        assert!(h.finish().as_str().starts_with("sha512:ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn chain_ids() {
        // The worked form of config.md: a one-layer chain is the diff id itself.
        let a = DiffId(Digest::sha256(b"a"));
        let b = DiffId(Digest::sha256(b"b"));
        let chain = ChainId::chain(&[a.clone(), b.clone()]);
        assert_eq!(chain[0].0, a.0);
        assert_eq!(chain[1].0, Digest::sha256(format!("{a} {b}").as_bytes()));
    }

    proptest! {
        #[test]
        fn never_panics(s in "\\PC{0,200}") {
            if let Ok(d) = Digest::parse(&s) { prop_assert_eq!(d.to_string(), s); }
        }

        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let cut = cut.min(bytes.len());
            let mut h = Hasher::new(Algorithm::Sha256);
            h.update(&bytes[..cut]);
            h.update(&bytes[cut..]);
            prop_assert_eq!(h.finish(), Digest::sha256(&bytes));
        }
    }
}
