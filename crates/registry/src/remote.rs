//! What a name stands for in its registry, without pulling it (`GET /distribution/{name}/json`).

use crate::Client;
use crate::error::Result;
use oci::{Descriptor, Document, ImageConfig, Platform, Reference, media_type};

/// A name's target and the platforms that it has images for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The manifest or index.
    pub target: Descriptor,
    /// Platforms.
    pub platforms: Vec<Platform>,
}

impl Client {
    /// Asks for it.
    pub async fn remote(&self, reference: &Reference) -> Result<Remote> {
        let repository = self.repository(reference)?;
        let resolved = repository.resolve(reference).await?;
        let mut target = resolved.descriptor;
        let bytes = match resolved.bytes {
            Some(bytes) => bytes,
            None => repository.document(&target).await?,
        };
        let document = Document::decode(&target.media_type, &bytes)?;
        target.media_type = document.media_type().to_owned();
        let platforms = match document {
            Document::Index(index) => {
                let images = index.manifests.into_iter().filter(|m| !m.is_attestation());
                images.filter_map(|m| m.platform).collect()
            }
            Document::Manifest(manifest)
                if media_type::kind(&manifest.config.media_type) == media_type::Kind::Config =>
            {
                let bytes = repository.document(&manifest.config).await?;
                let config: ImageConfig = oci::from_slice("image configuration", &bytes)?;
                vec![config.platform()]
            }
            Document::Manifest(_) => Vec::new(),
        };
        Ok(Remote { target, platforms })
    }
}
