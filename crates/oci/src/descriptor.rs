//! Descriptors (image-spec descriptor.md): what points to content.

use crate::json::nullable;
use crate::{Digest, Platform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Annotation keys that are read or written here.
pub mod annotation {
    /// The tag in an OCI layout's index.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The full image name in an OCI layout's index, as containerd and Docker write it.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// With `.HOST` behind it: the repositories there that hold the content, as containerd writes it.
    pub const SOURCE: &str = "containerd.io/distribution.source";
    /// Set on a manifest in an index that is no image but an attestation.
    pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
}

/// A reference to content: media type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Other places to download the content from.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free annotations.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform of the manifest pointed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A plain descriptor.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// The descriptor of these bytes.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Descriptor::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// Whether it points to an attestation rather than to an image.
    pub fn is_attestation(&self) -> bool {
        self.annotations.get(annotation::REFERENCE_TYPE).is_some_and(|t| t == "attestation-manifest")
    }
}
