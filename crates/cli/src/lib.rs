//! Commands, output, hints.

pub mod flags;
pub mod grammar;
pub mod template;
pub mod progress;
pub mod table;
pub mod time;
pub mod units;
