//! Docker's Engine API, version 1.51: its bodies as types and a client for it.
//!
//! * [`go`] and [`json`] give Go's JSON rules, on which Docker's clients rely; [`container`], [`host_config`],
//!   [`image`], [`network`], [`volume`] and [`system`] are the bodies.
//! * [`Client`] speaks to an engine over a [`Transport`]: a unix socket, TCP, or a pipe in memory. Its calls are
//!   in [`calls`].
//! * [`stdcopy`], [`query`] and [`filters`] are the small formats beside JSON, for both sides.
//!
//! This crate does not know the engine, the router, the environment or the terminal.

pub mod archive_calls;
pub mod calls;
pub mod container;
pub mod event;
pub mod event_calls;
pub mod filters;
pub mod go;
pub mod host_config;
pub mod image;
pub mod image_calls;
pub mod json;
pub mod life_calls;
pub mod network;
pub mod query;
pub mod stats;
pub mod stdcopy;
pub mod stream;
pub mod system;
pub mod transport;
pub mod usage;
pub mod version;
pub mod volume;

mod client;
mod error;

pub use client::{Client, MAX_ANSWER_LEN, Ping};
pub use error::Error;
pub use transport::Transport;
pub use version::ApiVersion;
