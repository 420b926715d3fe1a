//! Where blobs are known to be: a registry's host and the repositories there.
//!
//! Written when a blob was pulled from or pushed to a repository; a push to the same host can then mount it
//! instead of sending it (distribution spec, "Mounting a blob from another repository"). It is a hint: a
//! repository may have lost the blob since. containerd keeps the same as labels of its content
//! (`containerd.io/distribution.source.HOST`), host without port.

use crate::error::{Error, Result};
use crate::{ImageStore, Store};
use oci::Digest;
use std::collections::BTreeMap;

/// Repositories remembered for one blob on one host; what is more is forgotten, oldest name first.
const MAX_REPOSITORIES: usize = 32;

impl Store {
    /// Remembers that these blobs are in a repository.
    pub fn add_source(&self, digests: &[Digest], host: &str, repository: &str) -> Result<()> {
        self.images().database().write(|t| {
            for digest in digests {
                t.execute(
                    "INSERT OR IGNORE INTO blob_sources VALUES (?1, ?2, ?3)",
                    &[digest.as_str().into(), host.into(), repository.into()],
                )?;
            }
            Ok(())
        })
    }

    /// Repositories by host, each list sorted.
    pub fn sources(&self, digest: &Digest) -> Result<BTreeMap<String, Vec<String>>> {
        let sql = "SELECT host, repository FROM blob_sources WHERE digest = ?1 ORDER BY host, repository";
        let rows = self.images().database().read(|t| {
            t.query(sql, &[digest.as_str().into()], |r| Ok::<_, Error>((r.text(0)?, r.text(1)?)))
        })?;
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (host, repository) in rows {
            let repositories = found.entry(host).or_default();
            if repositories.len() < MAX_REPOSITORIES {
                repositories.push(repository);
            }
        }
        Ok(found)
    }

    /// Forgets where blobs are that are not here any more.
    pub(crate) fn forget_sources(images: &ImageStore, gone: &[Digest]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        images.database().write(|t| {
            for digest in gone {
                t.execute("DELETE FROM blob_sources WHERE digest = ?1", &[digest.as_str().into()])?;
            }
            Ok(())
        })
    }
}
