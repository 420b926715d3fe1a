//! Writes images straight into a docker-registry's storage folder, so that no registry has to run for it.
//!
//! The layout is that of distribution's file system driver: blobs by digest, and per repository links from
//! tags, revisions and layers to digests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::image::Image;

/// A storage folder.
#[derive(Debug)]
pub struct RegistryData {
    root: PathBuf,
}

impl RegistryData {
    /// The storage below `dir`, which is created.
    pub fn new(dir: &Path) -> RegistryData {
        RegistryData { root: dir.join("docker/registry/v2") }
    }

    /// Stores `image` as `name:tag`.
    pub fn put(&self, name: &str, tag: &str, image: &Image) -> Result<()> {
        let repository = self.root.join("repositories").join(name);
        for (digest, bytes) in &image.blobs {
            write(&self.blob_path(digest), bytes)?;
            let kind = if image.manifests.contains(digest) { "_manifests/revisions" } else { "_layers" };
            link(&repository.join(kind), digest)?;
        }
        let tag = repository.join("_manifests/tags").join(tag);
        link(&tag.join("index"), &image.digest())?;
        write(&tag.join("current/link"), image.digest().as_bytes())
    }

    /// Replaces the bytes of a blob without changing its name: what a broken or hostile registry serves.
    pub fn falsify(&self, digest: &str, bytes: &[u8]) -> Result<()> {
        write(&self.blob_path(digest), bytes)
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = hex_of(digest);
        self.root.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

fn link(folder: &Path, digest: &str) -> Result<()> {
    write(&folder.join("sha256").join(hex_of(digest)).join("link"), digest.as_bytes())
}

fn hex_of(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().context("a path without a folder")?;
    fs::create_dir_all(parent)?;
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
