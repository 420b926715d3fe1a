//! Container images made from scratch, in the formats in which they travel: OCI layout, OCI archive and
//! docker-archive. The same input gives the same digests on every machine.
//!
//! OCI image-spec: manifest.md, config.md, layer.md, image-layout.md.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// All that is in our images is as old as this (2024-01-01), for the sake of equal digests.
const EPOCH: u64 = 1_704_067_200;
/// The same as RFC 3339 text.
pub const CREATED: &str = "2024-01-01T00:00:00Z";

/// A media type family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI image-spec 1.1.
    Oci,
    /// Docker Image Manifest Version 2, Schema 2.
    Docker,
}

/// One layer: an uncompressed tar and its gzip.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The tar.
    pub tar: Vec<u8>,
    /// The gzip of the tar.
    pub gzip: Vec<u8>,
}

/// An image: its blobs, and which of them is the top (a manifest or an index).
#[derive(Debug, Clone)]
pub struct Image {
    /// All blobs by digest, the top one included.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Descriptor of the top.
    pub top: Value,
    /// Digests of the manifests, the top first.
    pub manifests: Vec<String>,
    config: Vec<u8>,
    layers: Vec<Layer>,
}

/// Builds the tar of a layer entry by entry.
pub struct LayerBuilder {
    tar: tar::Builder<Vec<u8>>,
}

impl LayerBuilder {
    /// An empty layer.
    pub fn new() -> LayerBuilder {
        LayerBuilder { tar: tar::Builder::new(Vec::new()) }
    }

    /// Adds a folder.
    pub fn dir(mut self, path: &str, mode: u32) -> Result<Self> {
        self.append(path, tar::EntryType::Directory, mode, b"", None)?;
        Ok(self)
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Result<Self> {
        self.append(path, tar::EntryType::Regular, mode, content, None)?;
        Ok(self)
    }

    /// Adds a symbolic link.
    pub fn symlink(mut self, path: &str, target: &str) -> Result<Self> {
        self.append(path, tar::EntryType::Symlink, 0o777, b"", Some(target))?;
        Ok(self)
    }

    /// Adds a hard link to an earlier entry. An unpacker gives the shared inode the mode of the last entry.
    pub fn hardlink(mut self, path: &str, mode: u32, target: &str) -> Result<Self> {
        self.append(path, tar::EntryType::Link, mode, b"", Some(target))?;
        Ok(self)
    }

    /// Adds everything below `root`, sorted, with root as owner.
    pub fn tree(mut self, root: &Path) -> Result<Self> {
        self.walk(root, "")?;
        Ok(self)
    }

    /// Finishes the tar and compresses it.
    pub fn finish(self) -> Result<Layer> {
        let tar = self.tar.into_inner()?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(&tar)?;
        let gzip = encoder.finish()?;
        Ok(Layer { tar, gzip })
    }

    fn walk(&mut self, dir: &Path, inside: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().into_string().ok().context("a file name that is not UTF-8")?;
            let path = format!("{inside}{name}");
            let data = fs::symlink_metadata(entry.path())?;
            let mode = data.permissions().mode() & 0o7777;
            if data.is_dir() {
                self.append(&path, tar::EntryType::Directory, mode, b"", None)?;
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if data.is_symlink() {
                let target = fs::read_link(entry.path())?;
                let target = target.to_str().context("a link target that is not UTF-8")?;
                self.append(&path, tar::EntryType::Symlink, 0o777, b"", Some(target))?;
            } else if data.is_file() {
                self.append(&path, tar::EntryType::Regular, mode, &fs::read(entry.path())?, None)?;
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        mode: u32,
        content: &[u8],
        link: Option<&str>,
    ) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(EPOCH);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        match link {
            Some(target) => self.tar.append_link(&mut header, path, target),
            // Hostile names (`../x`, `/x`) must reach the tar as they are, and the crate's own setter refuses them.
            None if path.starts_with('/') || path.contains("..") => {
                let field = &mut header.as_mut_bytes()[..path.len()];
                field.copy_from_slice(path.as_bytes());
                header.set_cksum();
                self.tar.append(&header, content)
            }
            None => self.tar.append_data(&mut header, path, content),
        }
        .with_context(|| format!("add {path}"))
    }
}

impl std::fmt::Debug for LayerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerBuilder").finish_non_exhaustive()
    }
}

impl Default for LayerBuilder {
    fn default() -> Self {
        LayerBuilder::new()
    }
}

impl Image {
    /// An image of one platform. `config` is the `config` member of the image configuration (Cmd, Env, …).
    pub fn new(format: Format, config: &Value, layers: Vec<Layer>) -> Result<Image> {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(&layer.tar)).collect();
        let history: Vec<Value> =
            layers.iter().map(|_| json!({"created": CREATED, "created_by": "tare test images"})).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux", "created": CREATED, "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        }))?;
        Image::with_config(format, config, layers)
    }

    /// An image with exactly this configuration, however wrong.
    pub fn with_config(format: Format, config: Vec<u8>, layers: Vec<Layer>) -> Result<Image> {
        let [manifest_type, config_type, layer_type] = match format {
            Format::Oci => [
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
            Format::Docker => [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
        };
        let mut blobs = BTreeMap::new();
        let layer_descriptors: Vec<Value> =
            layers.iter().map(|layer| add_blob(&mut blobs, layer_type, layer.gzip.clone())).collect();
        let config_descriptor = add_blob(&mut blobs, config_type, config.clone());
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config_descriptor, "layers": layer_descriptors,
        }))?;
        let top = add_blob(&mut blobs, manifest_type, manifest);
        let manifests = vec![digest_of(&top)];
        Ok(Image { blobs, top, manifests, config, layers })
    }

    /// Wraps the image into an index as buildx pushes it: the platform's manifest and an attestation.
    pub fn into_index(mut self) -> Result<Image> {
        let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1","predicate":{}}"#.to_vec();
        let attested = digest_of(&self.top);
        let in_toto = add_blob(&mut self.blobs, "application/vnd.in-toto+json", statement);
        let config = br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = add_blob(&mut self.blobs, "application/vnd.oci.image.config.v1+json", config.to_vec());
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let attestation = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [in_toto],
        }))?;
        let mut attestation = add_blob(&mut self.blobs, manifest_type, attestation);
        let attestation_digest = digest_of(&attestation);
        attestation["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        attestation["annotations"] = json!({
            "vnd.docker.reference.digest": attested, "vnd.docker.reference.type": "attestation-manifest",
        });
        let mut main = self.top.clone();
        main["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let index_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": [main, attestation]});
        self.top = add_blob(&mut self.blobs, index_type, serde_json::to_vec(&index)?);
        self.manifests.insert(0, digest_of(&self.top));
        self.manifests.push(attestation_digest);
        Ok(self)
    }

    /// Digest of the top.
    pub fn digest(&self) -> String {
        digest_of(&self.top)
    }

    /// An OCI layout as a tar, with the image's name in Docker's and containerd's annotations.
    pub fn oci_archive(&self, name: &str) -> Result<Vec<u8>> {
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let mut top = self.top.clone();
        top["annotations"] =
            json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [top],
        });
        let mut tar = LayerBuilder::new()
            .file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?
            .file("index.json", 0o644, &serde_json::to_vec(&index)?)?
            .dir("blobs", 0o755)?
            .dir("blobs/sha256", 0o755)?;
        for (digest, blob) in &self.blobs {
            tar = tar.file(&format!("blobs/{}", digest.replace(':', "/")), 0o644, blob)?;
        }
        Ok(tar.finish()?.tar)
    }

    /// A docker-archive as `docker save` wrote it before the containerd store: layers as plain tars.
    pub fn docker_archive(&self, name: &str) -> Result<Vec<u8>> {
        let config_name = format!("{}.json", hex(&self.config));
        let layer_names: Vec<String> =
            self.layers.iter().map(|layer| format!("{}/layer.tar", hex(&layer.tar))).collect();
        let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": layer_names}]);
        let mut tar = LayerBuilder::new().file(&config_name, 0o644, &self.config)?;
        for (path, layer) in layer_names.iter().zip(&self.layers) {
            let folder = path.trim_end_matches("/layer.tar");
            tar = tar.dir(folder, 0o755)?.file(path, 0o644, &layer.tar)?;
        }
        Ok(tar.file("manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?.finish()?.tar)
    }
}

/// `sha256:` and the hexadecimal digest of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap_or_default().to_string()
}

fn add_blob(blobs: &mut BTreeMap<String, Vec<u8>>, media_type: &str, bytes: Vec<u8>) -> Value {
    let digest = digest(&bytes);
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
    blobs.insert(digest, bytes);
    descriptor
}
