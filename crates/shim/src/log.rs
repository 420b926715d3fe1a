//! The json-file log, byte for byte as Docker 28.5 writes it.
//!
//! A [`Stream`] cuts what one of the container's streams says into entries, a [`LogFile`] holds the
//! current file and rotates it. Entries of one read are put together in memory and written with one call.
//!
//! Invariants. An entry is one JSON object on a line of its own and is never cut: what could not be
//! written whole is taken back. A full disk loses lines and is counted; it never stops the container.
//!
//! Rotated files are compressed by a child, one at a time ([`compress`]): the loop never waits for it.
//!
//! It does not know where the bytes come from, nor who reads the file.

mod compress;
mod entry;
mod file;

pub use entry::{Entries, MAX_LINE_BYTES, Name, Stream};
pub use file::{LOST, Limits, LogFile};
