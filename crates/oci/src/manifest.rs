//! Manifests and indexes (image-spec manifest.md, image-index.md), and telling them apart.
//!
//! Docker's schema 2 documents have the same shape and share the types.

use crate::json::{from_slice, nullable};
use crate::media_type::{self, Kind};
use crate::{Descriptor, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An image manifest: a configuration and layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own media type; older documents lack it.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The kind of artifact, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index: manifests for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own media type; older documents lack it.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The kind of artifact, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub enum Document {
    /// A manifest.
    Manifest(Manifest),
    /// An index.
    Index(Index),
}

/// The fields by which documents are told apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default, deserialize_with = "nullable")]
    schema_version: u32,
    #[serde(default, deserialize_with = "nullable")]
    media_type: String,
    #[serde(default, deserialize_with = "nullable")]
    manifests: Vec<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "nullable")]
    layers: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Decodes a manifest or index. `declared` is the media type that a descriptor or a Content-Type
    /// header gave, "" when none did.
    ///
    /// A document that has both layers and manifests, or says to be another type than declared, is
    /// refused: two readers could see different images in it (image-spec CVE-2021-41190).
    pub fn decode(declared: &str, bytes: &[u8]) -> Result<Self> {
        let probe: Probe = from_slice("manifest", bytes)?;
        let declared = match media_type::kind(declared) {
            Kind::Other if !declared.is_empty() && !is_generic(declared) => {
                return Err(Error::Unsupported { what: "manifest media type", found: declared.to_owned() });
            }
            kind => kind,
        };
        let own = media_type::kind(&probe.media_type);
        if declared == Kind::Schema1 || own == Kind::Schema1 || probe.schema_version == 1 {
            return Err(Error::Unsupported { what: "manifest", found: "Docker schema 1".to_owned() });
        }
        if probe.schema_version != 2 {
            let found = probe.schema_version.to_string();
            return Err(Error::Unsupported { what: "manifest schema version", found });
        }
        let index_like = !probe.manifests.is_empty();
        let manifest_like = probe.config.is_some() || !probe.layers.is_empty();
        let contradiction = (own != Kind::Other && declared != Kind::Other && own != declared)
            || (index_like && manifest_like);
        if contradiction {
            return Err(Error::Unsupported { what: "manifest", found: "ambiguous document".to_owned() });
        }
        let kind = if own == Kind::Other { declared } else { own };
        let index = match kind {
            Kind::Index => true,
            Kind::Manifest => false,
            Kind::Other => index_like || !manifest_like,
            _ => return Err(Error::Unsupported { what: "manifest media type", found: probe.media_type }),
        };
        Ok(if index {
            Document::Index(from_slice("image index", bytes)?)
        } else {
            Document::Manifest(from_slice("image manifest", bytes)?)
        })
    }

    /// The media type to record for it: its own, or the one its shape implies.
    pub fn media_type(&self) -> &str {
        match self {
            Document::Manifest(m) if m.media_type.is_empty() => media_type::OCI_MANIFEST,
            Document::Manifest(m) => &m.media_type,
            Document::Index(i) if i.media_type.is_empty() => media_type::OCI_INDEX,
            Document::Index(i) => &i.media_type,
        }
    }
}

/// Media types of servers that do not know what they serve.
fn is_generic(media_type: &str) -> bool {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    matches!(bare, "application/json" | "application/octet-stream" | "text/plain" | "binary/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

    fn decode(declared: &str, text: &str) -> String {
        match Document::decode(declared, text.as_bytes()) {
            Ok(Document::Manifest(m)) => format!("manifest {}", m.layers.len()),
            Ok(Document::Index(i)) => format!("index {}", i.manifests.len()),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn telling_apart() {
        let d = format!(r#"{{"mediaType":"m","digest":"sha256:{}","size":3}}"#, "a".repeat(64));
        let manifest = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d},{d}],"annotations":null}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{d}]}}"#);
        let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":null}}"#);
        let both = format!(r#"{{"schemaVersion":2,"config":{d},"manifests":[{d}]}}"#);
        let cases = [
            ("", manifest.as_str(), "manifest 2"),
            (DOCKER_MANIFEST, &manifest, "manifest 2"),
            ("application/json", &manifest, "manifest 2"),
            ("", &index, "index 1"),
            ("", &typed, "index 0"),
            (OCI_MANIFEST, &typed, "unsupported manifest: ambiguous document"),
            ("", &both, "unsupported manifest: ambiguous document"),
            (OCI_MANIFEST, &index, "cannot decode image manifest"),
            ("", r#"{"schemaVersion":1,"fsLayers":[]}"#, "unsupported manifest: Docker schema 1"),
            ("", r#"{"schemaVersion":3}"#, "unsupported manifest schema version: 3"),
            ("text/html", "{}", "unsupported manifest media type: text/html"),
            ("", "nonsense", "cannot decode manifest"),
            ("", "{}", "unsupported manifest schema version: 0"),
        ];
        for (declared, text, want) in cases {
            assert_eq!(decode(declared, text), want, "{declared} {text}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let huge = vec![b' '; crate::MAX_DOCUMENT_BYTES + 1];
        assert!(matches!(Document::decode("", &huge), Err(Error::DocumentTooLarge { .. })));
    }

    #[test]
    fn a_bad_digest_is_refused() {
        let text = r#"{"schemaVersion":2,"config":{"digest":"sha256:../../etc","size":1}}"#;
        assert_eq!(decode("", text), "cannot decode image manifest");
    }
}
