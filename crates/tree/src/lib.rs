//! Files of a tree to and from tar archives: layers, `cp`, `export`, `commit`.
//!
//! Both sides are hostile. A tree that is not ours (a container's root) may hold links to anywhere and change while
//! it is read: every name is opened relative to an open directory or resolved by the kernel within the tree
//! ([`sys::root::Root`]), and never joined to a path of the host. An archive may hold anything: what is kept of it in
//! memory is bounded in bytes. This crate knows no container, no image, no digest and no compression.

pub mod attributes;
mod changes;
mod error;
mod pack;
mod place;
pub mod reader;
mod walk;
mod writer;

pub use attributes::Attributes;
pub use changes::{Layer, write_changes};
pub use error::{Error, Result};
pub use pack::pack;
pub use place::{Placing, clean, place};
pub use writer::{Head, TarWriter, Type};
