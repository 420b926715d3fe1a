//! Media types of images (image-spec media-types.md and Docker's schema 2), and what they tell.

/// OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI empty descriptor, used by artifacts.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI layer, plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest, schema 1: recognised only to be refused by name.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's signed manifest, schema 1: recognised only to be refused by name.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer, plain tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer, zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// All that a client can make use of when it asks for a manifest.
pub const ACCEPT: &[&str] = &[DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX, "*/*"];

/// What a descriptor points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A list of manifests.
    Index,
    /// A manifest.
    Manifest,
    /// An image configuration.
    Config,
    /// A layer that can be unpacked.
    Layer,
    /// A schema 1 manifest, which nothing supports any more.
    Schema1,
    /// Anything else.
    Other,
}

/// What this media type denotes. Parameters (`; charset=…`) are ignored.
pub fn kind(media_type: &str) -> Kind {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    match bare {
        OCI_INDEX | DOCKER_INDEX => Kind::Index,
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        OCI_CONFIG | DOCKER_CONFIG => Kind::Config,
        DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED => Kind::Schema1,
        _ if is_layer(bare) => Kind::Layer,
        _ => Kind::Other,
    }
}

/// Layers, distributable or not, whatever their compression (which is read from the bytes).
fn is_layer(bare: &str) -> bool {
    let base = bare.split('+').next().unwrap_or_default();
    matches!(base, OCI_LAYER | "application/vnd.oci.image.layer.nondistributable.v1.tar")
        || matches!(bare, DOCKER_LAYER | DOCKER_LAYER_GZIP | DOCKER_LAYER_ZSTD)
        || bare.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let cases = [
            (OCI_INDEX, Kind::Index),
            (DOCKER_MANIFEST, Kind::Manifest),
            ("application/vnd.oci.image.manifest.v1+json; charset=utf-8", Kind::Manifest),
            (DOCKER_SCHEMA1_SIGNED, Kind::Schema1),
            (OCI_LAYER_ZSTD, Kind::Layer),
            (DOCKER_LAYER_GZIP, Kind::Layer),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Kind::Layer),
            ("application/vnd.in-toto+json", Kind::Other),
            ("", Kind::Other),
        ];
        for (text, want) in cases {
            assert_eq!(kind(text), want, "{text}");
        }
    }
}
