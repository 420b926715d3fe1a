//! Making a small layer in memory, the same bytes each time: owner root, times zero.

use crate::error::{Result, io};
use std::io::Write;

/// Builds the tar of a layer.
pub struct LayerBuilder {
    tar: tar::Builder<Vec<u8>>,
}

impl std::fmt::Debug for LayerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayerBuilder")
    }
}

impl Default for LayerBuilder {
    fn default() -> Self {
        LayerBuilder::new()
    }
}

impl LayerBuilder {
    /// An empty layer.
    pub fn new() -> Self {
        LayerBuilder { tar: tar::Builder::new(Vec::new()) }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<&mut Self> {
        self.add(&format!("{}/", path.trim_end_matches('/')), tar::EntryType::Directory, mode, &[])
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<&mut Self> {
        self.add(path, tar::EntryType::Regular, mode, content)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self> {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        self.tar.append_link(&mut header, path, target).map_err(io(format!("cannot add {path}")))?;
        Ok(self)
    }

    /// The tar.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut bytes = self.tar.into_inner().map_err(io("cannot finish the layer"))?;
        bytes.flush().map_err(io("cannot finish the layer"))?;
        Ok(bytes)
    }

    fn add(&mut self, path: &str, kind: tar::EntryType, mode: u32, content: &[u8]) -> Result<&mut Self> {
        let mut header = header(kind, mode, content.len() as u64);
        self.tar.append_data(&mut header, path, content).map_err(io(format!("cannot add {path}")))?;
        Ok(self)
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
