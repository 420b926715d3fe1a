//! Images that the cache does not have, made of its busybox: a zstd layer, an index with an attestation, an index for
//! several platforms.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::upstream::{get, put_blob, put_manifest};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Stores them in the registry behind the hub: `zstd`, `attested` and `multi`, all `latest`.
pub fn store() -> Result<()> {
    let manifest: Value = serde_json::from_slice(&get("/v2/busybox/manifests/latest", DOCKER_MANIFEST)?)?;
    let blob = |descriptor: &Value| -> Result<Vec<u8>> {
        let digest = descriptor["digest"].as_str().context("digest")?;
        get(&format!("/v2/busybox/blobs/{digest}"), "*/*")
    };
    let config = blob(&manifest["config"])?;
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(blob(&manifest["layers"][0])?.as_slice()).read_to_end(&mut tar)?;
    let layer = zstd::encode_all(tar.as_slice(), 3)?;

    let image = document(OCI_MANIFEST, &config, &[(ZSTD_LAYER, &layer)]);
    for repository in ["zstd", "attested", "multi"] {
        put_blob(repository, &digest(&config), &config)?;
        put_blob(repository, &digest(&layer), &layer)?;
    }
    put_manifest("zstd", "latest", OCI_MANIFEST, &image)?;

    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#;
    let empty =
        br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let attestation = document(OCI_MANIFEST, empty, &[("application/vnd.in-toto+json", statement)]);
    put_blob("attested", &digest(statement), statement)?;
    put_blob("attested", &digest(empty), empty)?;
    let mut about = descriptor(OCI_MANIFEST, &attestation, "unknown", "unknown");
    about["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest(&image),
    });
    index("attested", vec![(own(&image), &image), (about, &attestation)])?;

    let foreign = config_for(&config, "s390x")?;
    let other = document(OCI_MANIFEST, &foreign, &[(ZSTD_LAYER, &layer)]);
    put_blob("multi", &digest(&foreign), &foreign)?;
    index("multi", vec![(descriptor(OCI_MANIFEST, &other, "linux", "s390x"), &other), (own(&image), &image)])
}

fn index(repository: &str, manifests: Vec<(Value, &Vec<u8>)>) -> Result<()> {
    for (_, bytes) in &manifests {
        put_manifest(repository, &digest(bytes), OCI_MANIFEST, bytes)?;
    }
    let list: Vec<Value> = manifests.into_iter().map(|(descriptor, _)| descriptor).collect();
    let bytes = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list}).to_string();
    put_manifest(repository, "latest", OCI_INDEX, bytes.as_bytes())
}

fn document(media_type: &str, config: &[u8], layers: &[(&str, &[u8])]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(kind, bytes)| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()}))
        .collect();
    let config = json!({"mediaType": OCI_CONFIG, "digest": digest(config), "size": config.len()});
    json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}

fn own(bytes: &[u8]) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    descriptor(OCI_MANIFEST, bytes, "linux", architecture)
}

fn descriptor(media_type: &str, bytes: &[u8], os: &str, architecture: &str) -> Value {
    json!({
        "mediaType": media_type,
        "digest": digest(bytes),
        "size": bytes.len(),
        "platform": {"os": os, "architecture": architecture},
    })
}

fn config_for(config: &[u8], architecture: &str) -> Result<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(config)?;
    config["architecture"] = architecture.into();
    Ok(config.to_string().into_bytes())
}

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
