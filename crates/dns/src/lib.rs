//! The resolver of a container on user-defined networks: Docker's 127.0.0.11.
//!
//! ```text
//! container ── 127.0.0.11:53, redirected ──▶ serve ── Server ──▶ names of the container's networks
//!                                               └──────────────▶ upstream servers, all at once
//! ```
//!
//! Nouns. A *client* is a program in the container. The *view* is a container's file, the *names* those of its
//! networks ([`names`]); the engine writes both and replaces them whole. An *upstream* is a server that is asked
//! what nobody on the networks is called, from the container's network namespace or the host's. An *attempt*
//! is one upstream asked once for one query.
//!
//! [`wire`] and [`Server`] do no I/O: bytes and the time in, bytes and wishes out. [`serve`] is the loop
//! around them over sockets that it was given.
//!
//! Invariants. Every client's message is answered within [`server::LIMIT_NS`] or dropped as what is no query;
//! whatever is received is bounded and checked; nothing that is asked of an internal network leaves it.
//!
//! This crate does not know containers, namespaces, or who confines the process that it runs in.

pub mod files;
pub mod names;
pub mod serve;
pub mod server;
pub mod wire;

pub use server::Server;
