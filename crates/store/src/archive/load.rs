//! Reading docker-archives and OCI layouts.

use super::{all_or_nothing, unusable};
use crate::content::Ingest;
use crate::error::{Error, Result, io};
use crate::image_view::{encode, host};
use crate::inflate::{Compression, Plain};
use crate::{Labels, Store, Writer};
use oci::{
    Descriptor, Digest, Document, Index, Manifest, Matcher, Platform, Reference, annotation, media_type,
};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Component, Path};
use tree::reader::{Entry, Kind, TarReader};

/// Files of one archive: layers, configurations, documents.
const MAX_FILES: usize = 100_000;
/// As containerd bounds the documents of an archive.
const MAX_JSON_BYTES: u64 = 20 << 20;

/// One loaded image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its name, if the archive has one.
    pub name: Option<Reference>,
    /// Its manifest or index.
    pub target: Descriptor,
    /// It has the platform that was asked for, if one was.
    pub provides: bool,
}

/// What `docker load` prints for it.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "Loaded image: {}", name.familiar()),
            None => write!(f, "Loaded image ID: {}", self.target.digest),
        }
    }
}

/// Loads all images of an archive, in whatever compression.
pub fn load(store: &Store, archive: impl Read, platform: Option<&Platform>) -> Result<Vec<Loaded>> {
    let mut variants = Vec::new();
    let loaded = all_or_nothing(store, |_| {
        let files = Files::read(store, Plain::new(archive)?)?;
        let mut images = match &files.index {
            Some(index) => layout_images(store, index)?,
            None => docker_images(store, &files)?,
        };
        if images.is_empty() {
            return Err(unusable("no images found in the archive"));
        }
        for image in &mut images {
            match platform {
                None => unpack_for_host(store, &image.target)?,
                Some(platform) => variants.extend(unpack_only(store, image, platform)?),
            }
        }
        if !variants.is_empty() {
            // What another image has is not only this one's.
            let known = store.reachable()?.0;
            variants.retain(|digest| !known.contains(digest));
        }
        for image in &images {
            store.name_image(image.name.as_ref(), &image.target, &Labels::new())?;
        }
        Ok(images)
    })?;
    if !variants.is_empty() && store.forget_variants(&variants)? {
        store.gc()?;
    }
    Ok(loaded)
}

/// Unpacks the one variant; the manifests of the others are returned. An image without that variant stays whole.
fn unpack_only(store: &Store, image: &mut Loaded, platform: &Platform) -> Result<Vec<Digest>> {
    let view = match store.view(&image.target, &Matcher::strict(platform)) {
        Ok(view) => view,
        Err(Error::NoPlatform { .. }) => {
            image.provides = false;
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    store.unpack_image(&view)?;
    let others = store.manifests(&image.target)?.into_iter().map(|manifest| manifest.digest);
    Ok(others.filter(|digest| *digest != view.descriptor.digest).collect())
}

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    #[serde(default)]
    config: String,
    #[serde(default, deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciLayout {
    #[serde(default)]
    image_layout_version: String,
}

fn nullable<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(d)?.unwrap_or_default())
}

/// What an archive holds; contents are blobs already.
#[derive(Default)]
struct Files {
    blobs: HashMap<String, Descriptor>,
    links: HashMap<String, String>,
    docker: Option<Vec<DockerImage>>,
    /// Set when the archive is an OCI layout.
    index: Option<Index>,
}

impl Files {
    fn read(store: &Store, archive: impl Read) -> Result<Self> {
        let mut files = Files::default();
        let mut layout: Option<OciLayout> = None;
        let mut index: Option<Index> = None;
        let mut tar = TarReader::new(archive);
        while let Some(entry) = tar.next_entry()? {
            let name = clean(&entry.path);
            match entry.kind {
                Kind::Symlink | Kind::HardLink => {
                    let base = if entry.kind == Kind::Symlink { parent(&name) } else { "" };
                    let target = clean(format!("{base}/{}", String::from_utf8_lossy(&entry.link)).as_bytes());
                    files.links.insert(name, target);
                }
                Kind::File => match name.as_str() {
                    "oci-layout" => {
                        let found = json("oci-layout", &mut tar);
                        layout = Some(found.map_err(|e| cut_document("oci layout", &entry, e))?);
                    }
                    "index.json" => index = Some(json("index.json", &mut tar)?),
                    "manifest.json" => {
                        let found = json("manifest.json", &mut tar);
                        files.docker = Some(found.map_err(|e| cut_document("manifest", &entry, e))?);
                    }
                    _ if is_legacy(&name) => {}
                    _ => {
                        let blob = ingest(store, &name, entry.size, &mut tar);
                        let blob = blob.map_err(|e| wrap(&name, &entry, tar.unread(), e))?;
                        files.blobs.insert(name, blob);
                    }
                },
                _ => {}
            }
            if files.blobs.len() + files.links.len() > MAX_FILES {
                return Err(Error::Limit { what: "number of files in the archive", limit: MAX_FILES as u64 });
            }
        }
        if let Some(layout) = layout.filter(|l| !l.image_layout_version.is_empty()) {
            if layout.image_layout_version != "1.0.0" {
                return Err(unusable(format!("unsupported OCI version {}", layout.image_layout_version)));
            }
            let missing = || unusable("missing index.json in OCI layout 1.0.0");
            files.index = Some(index.ok_or_else(missing)?);
        } else if files.docker.is_none() {
            return Err(unusable("unrecognized image format"));
        }
        Ok(files)
    }

    fn get(&self, name: &str) -> Option<&Descriptor> {
        let name = clean(name.as_bytes());
        self.blobs.get(&name).or_else(|| self.blobs.get(self.links.get(&name)?))
    }
}

/// Stores one file as a blob.
fn ingest<R: Read>(store: &Store, name: &str, size: u64, tar: &mut TarReader<R>) -> Result<Descriptor> {
    let named = name.strip_prefix("blobs/").map(|rest| rest.replacen('/', ":", 1));
    let expected = named.and_then(|d| Digest::parse(&d).ok());
    let writer = match &expected {
        Some(digest) => match store.content().ingest(digest, size)? {
            Ingest::Exists => {
                tar.skip_data()?;
                return Ok(Descriptor::new("", digest.clone(), size));
            }
            Ingest::Writer(writer) if writer.offset() == 0 => *writer,
            // Half of it is here from a pull, or another process is at it: a second copy is simplest.
            Ingest::Writer(_) | Ingest::Busy { .. } => store.content().writer()?,
        },
        None => store.content().writer()?,
    };
    let (digest, size) = fill(writer, tar, expected.as_ref())?;
    Ok(Descriptor::new("", digest, size))
}

fn fill<R: Read>(
    mut writer: Writer,
    tar: &mut TarReader<R>,
    expected: Option<&Digest>,
) -> Result<(Digest, u64)> {
    // An archive is read again from its beginning: a partial blob would only be in the way.
    writer.discard();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match tar.read_data(&mut buffer)? {
            0 => return writer.commit(expected),
            n => writer.write_all(&buffer[..n]).map_err(io("cannot write blob"))?,
        }
    }
}

fn layout_images(store: &Store, index: &Index) -> Result<Vec<Loaded>> {
    let mut images = Vec::new();
    for descriptor in index.manifests.iter().filter(|d| !d.is_attestation()) {
        let named = descriptor.annotations.get(annotation::IMAGE_NAME);
        let named = named.or_else(|| descriptor.annotations.get(annotation::REF_NAME));
        // A name that is none ("v1.0 beta") leaves the image with its id only.
        let name = named.and_then(|n| Reference::parse(n).ok()).map(Reference::or_latest);
        let bytes = store.content().document(&descriptor.digest)?;
        let document = Document::decode(&descriptor.media_type, &bytes)?;
        let target = Descriptor::new(document.media_type(), descriptor.digest.clone(), bytes.len() as u64);
        images.push(Loaded { name, target, provides: true });
    }
    Ok(images)
}

fn docker_images(store: &Store, files: &Files) -> Result<Vec<Loaded>> {
    let mut images = Vec::new();
    for image in files.docker.iter().flatten() {
        let config = files.get(&image.config);
        let config = config.ok_or_else(|| unusable(format!("image config {:?} not found", image.config)))?;
        let mut layers = Vec::new();
        for name in &image.layers {
            let layer = files.get(name).ok_or_else(|| unusable(format!("layer {name:?} not found")))?;
            layers.push(Descriptor::new(layer_type(store, layer)?, layer.digest.clone(), layer.size));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::DOCKER_MANIFEST.into(),
            artifact_type: None,
            config: Descriptor::new(media_type::DOCKER_CONFIG, config.digest.clone(), config.size),
            layers,
            subject: None,
            annotations: Labels::new(),
        };
        let bytes = encode("image manifest", &manifest)?;
        let target = store.content().put(media_type::DOCKER_MANIFEST, &bytes)?;
        // Read back: configuration and number of layers are verified by it.
        store.image_documents(&target)?;
        if image.repo_tags.is_empty() {
            images.push(Loaded { name: None, target, provides: true });
            continue;
        }
        for tag in &image.repo_tags {
            let name =
                Reference::parse(tag).map_err(|e| unusable(format!("normalize image ref {tag:?}: {e}")))?;
            images.push(Loaded { name: Some(name.or_latest()), target: target.clone(), provides: true });
        }
    }
    Ok(images)
}

/// containerd calls everything that is compressed gzip here; the bytes tell when it is unpacked.
fn layer_type(store: &Store, layer: &Descriptor) -> Result<&'static str> {
    let mut first = Vec::new();
    let file = store.content().reader(&layer.digest)?;
    file.take(10).read_to_end(&mut first).map_err(io("cannot read layer"))?;
    Ok(match Compression::detect(&first) {
        Compression::None => media_type::DOCKER_LAYER,
        _ => media_type::DOCKER_LAYER_GZIP,
    })
}

/// Images for other platforms are kept without being unpacked.
fn unpack_for_host(store: &Store, target: &Descriptor) -> Result<()> {
    match store.view(target, &host()) {
        Ok(view) => store.unpack_image(&view),
        Err(Error::NoPlatform { .. }) if !store.views(target)?.is_empty() => Ok(()),
        // Nothing of it can be used: say why.
        Err(_) => match store.manifests(target)?.first() {
            Some(manifest) => store.image_documents(manifest).map(drop),
            None => Err(Error::ContentNotFound(target.digest.clone())),
        },
    }
}

fn json<T: serde::de::DeserializeOwned, R: Read>(what: &'static str, tar: &mut TarReader<R>) -> Result<T> {
    let bytes = tar.read_all("size of a document in the archive", MAX_JSON_BYTES)?;
    Ok(serde_json::from_slice(&bytes).map_err(|source| oci::Error::Json { what, source })?)
}

/// Names the document in which the archive ends, in containerd's words.
fn cut_document(what: &str, entry: &Entry, e: Error) -> Error {
    match e {
        Error::Truncated => unusable(format!("untar {what} {:?}: unexpected EOF", entry.display())),
        other => other,
    }
}

/// Names the file of an archive whose content cannot be stored; `unread` is what was not read of it.
fn wrap(name: &str, entry: &Entry, unread: u64, e: Error) -> Error {
    match e {
        Error::Truncated => unusable(format!(
            "failed to ingest {:?}: short read: expected {} bytes but got {}: unexpected EOF",
            entry.display(),
            entry.size,
            entry.size.saturating_sub(unread),
        )),
        Error::DigestMismatch { expected, actual } => {
            unusable(format!("{name}: digest mismatch: expected {expected}, got {actual}"))
        }
        other => other,
    }
}

/// Files of the legacy form that carry nothing the configuration does not.
fn is_legacy(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or_default();
    name == "repositories" || (name.contains('/') && matches!(base, "json" | "VERSION"))
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// A name within the archive; it names no file of this machine.
fn clean(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(text.as_ref()).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}
