//! One small process per container: it holds the container's streams, its log, its exit code and its ports.
//!
//! Nouns. The *shim* is a process that the engine starts with [`client::launch`]; the container's
//! processes are its children. A *connection* is a stream socket that carries [`protocol`] frames: the
//! one it was born with, or one to `RUN/ID/shim.sock`. The *run folder* (`RUN/ID`, tmpfs) holds
//! `config.json`, `alive` (locked for the shim's whole life) and the socket; the *data folder*
//! (`containers/ID` in the data root) holds the log and, after the end, `exit.json`.
//!
//! Invariants. A shim is alive exactly as long as it holds the lock on `alive`. It is single-threaded
//! and never blocks on anything but its one `epoll_wait`. It holds no policy: what happens after an
//! exit is decided by whoever runs `exited()`. Every queue and wait has a named limit.
//!
//! This crate does not know images, snapshots, networks, restart policies or Docker's API.

pub mod client;
pub mod config;
mod error;
pub mod exit;
pub mod log;
pub mod protocol;
pub mod ring;

pub use error::{Error, Result};
