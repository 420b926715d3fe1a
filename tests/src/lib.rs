//! What the end-to-end tests stand on: test hosts, engines to compare, and the cache of foreign
//! software and images.
//!
//! A [`TestHost`] is a whole private machine in namespaces: the tests run the real programs in it as
//! a person would type them, and nothing of the real host is touched. This crate knows programs by
//! their command lines only; it does not link any of Tare's own crates, so that a test can never pass
//! by sharing a mistake with the code that it tests.

pub mod cache;
pub mod command;
pub mod differential;
pub mod engine;
pub mod host;
pub mod hub;
pub mod power;
pub mod pty;
pub mod recorder;
pub mod sandbox;
pub mod state;
pub mod vm;
pub mod wait;

pub use command::Output;
pub use engine::Engine;
pub use host::TestHost;
