//! Commands, output, hints.

pub mod flags;
pub mod grammar;
pub mod template;
pub mod progress;
pub mod table;
pub mod time;
pub mod units;
pub mod config;
pub mod create;
pub mod endpoint;
mod error;
pub mod stdio;

pub use error::Error;
