//! What the engine and a shim say to each other, without any I/O.
//!
//! A connection begins with each side's [`Hello`] (16 bytes that never change their form). Frames
//! follow: a 16-byte header, then a JSON body of bounded length. Descriptors travel by SCM_RIGHTS on a
//! frame's first byte; the header says how many belong to it, so that a reader that got several frames
//! in one read still gives each its own. A request has a number, its answer the same one; answers may
//! come in any order (`Wait` is answered when the container ends).
//!
//! Invariants. The decoder never holds more than one frame of the largest size and [`MAX_FRAME_FDS`]
//! descriptors per frame. What it cannot understand ends the connection, never the process.
//!
//! This module knows neither sockets nor processes.

mod frame;
mod message;

pub use frame::{Decoder, Frame, HEADER_BYTES, Hello, Kind, encode_frame};
pub use message::{Event, ExecStdio, Failure, FailureKind, Request, Response, TaskStatus};
pub(crate) use message::{decode, encode};

/// The version that this code speaks.
pub const VERSION: u16 = 1;
/// The oldest version that it understands.
pub const OLDEST: u16 = 1;
/// The largest body of a frame: an exec may carry a whole argument list (ARG_MAX is 2 MiB in sum).
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// The most descriptors of one frame (the kernel's limit for one message is 253).
pub const MAX_FRAME_FDS: usize = 250;

/// How a peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The first bytes are not those of a shim.
    #[error("the other side is not a shim of Tare")]
    Magic,
    /// No version is understood by both.
    #[error(
        "the other side speaks versions {their_oldest} to {their_version}, this one {OLDEST} to {VERSION}"
    )]
    Version {
        /// The newest of the other side.
        their_version: u16,
        /// The oldest of the other side.
        their_oldest: u16,
    },
    /// A header with a kind or reserved bits that this version does not have.
    #[error("a frame header is invalid")]
    Header,
    /// A body above the limit.
    #[error("a frame of {0} bytes is above the limit of {MAX_BODY_BYTES}")]
    TooLong(u64),
    /// More descriptors announced than allowed, or fewer received than announced.
    #[error("a frame's descriptors are missing or too many")]
    Descriptors,
    /// The body is not the JSON that was expected.
    #[error("a frame's body cannot be understood: {0}")]
    Body(String),
}

#[cfg(test)]
mod tests;
