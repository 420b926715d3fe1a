//! Commands, output, hints.

pub mod flags;
pub mod grammar;
pub mod template;
