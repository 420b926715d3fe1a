//! `docker save`: images as one tar that is an OCI layout and a docker-archive at once.
//!
//! Blobs go in as they are, so that an image keeps its digests wherever it is loaded. Entries are sorted, owned by
//! root and without times: the same images make the same bytes. Of an index all that is here goes in
//! (attestations too); what is not here is left out, as dockerd does. `manifest.json` names the image that this
//! machine would run.

use crate::error::{Error, Result, io};
use crate::image_view::encode;
use crate::lease::Lease;
use crate::{Image, Store};
use oci::{Descriptor, Digest, Document, Index, Matcher, Reference, annotation};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// Indexes in indexes; nobody nests deeper.
const MAX_DEPTH: usize = 4;

/// One image to save: what it is, and the name it gets in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Manifest or index.
    pub target: Descriptor,
    /// The name, if it goes with one.
    pub name: Option<Reference>,
}

impl From<&Image> for Export {
    fn from(image: &Image) -> Self {
        Export { target: image.target.clone(), name: image.name.clone() }
    }
}

/// An archive that can be written: all of it was found here.
#[derive(Debug)]
pub struct Archive {
    store: Store,
    blobs: BTreeMap<String, (Digest, u64)>,
    index: Vec<u8>,
    docker: Option<Vec<u8>>,
    /// Nothing of it goes before it is written.
    _lease: Lease,
}

/// An entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    pub(crate) fn plan(store: &Store, exports: &[Export], matcher: &Matcher) -> Result<Self> {
        let lease = store.lease()?;
        let mut blobs = BTreeMap::new();
        let mut manifests = Vec::new();
        let mut docker: Vec<(Digest, DockerImage)> = Vec::new();
        for export in exports {
            collect(store, &export.target, 0, &mut blobs)?;
            manifests.push(entry(store, export)?);
            // An image for other machines only is in the layout alone.
            let Ok(view) = store.view(&export.target, matcher) else { continue };
            let tag = export.name.as_ref().filter(|n| n.tag().is_some()).map(Reference::familiar);
            let at = docker.iter().position(|(digest, _)| *digest == view.descriptor.digest);
            let at = at.unwrap_or_else(|| {
                let layers = view.manifest.layers.iter().map(|l| path(&l.digest)).collect();
                let config = path(&view.manifest.config.digest);
                docker.push((view.descriptor.digest, DockerImage { config, repo_tags: None, layers }));
                docker.len() - 1
            });
            docker[at].1.repo_tags = match (docker[at].1.repo_tags.take(), tag) {
                (Some(mut tags), Some(tag)) => {
                    tags.push(tag);
                    Some(tags)
                }
                (tags, tag) => tags.or(tag.map(|t| vec![t])),
            };
        }
        let index = Index {
            schema_version: 2,
            media_type: oci::media_type::OCI_INDEX.into(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        };
        let docker: Vec<DockerImage> = docker.into_iter().map(|(_, image)| image).collect();
        Ok(Archive {
            store: store.clone(),
            blobs,
            index: encode("image index", &index)?,
            docker: (!docker.is_empty()).then(|| encode("manifest.json", &docker)).transpose()?,
            _lease: lease,
        })
    }

    /// Writes the tar.
    pub fn write(self, out: impl Write) -> Result<()> {
        let mut tar = tar::Builder::new(out);
        let mut directories: BTreeSet<String> = BTreeSet::new();
        for name in self.blobs.keys() {
            let parents = name.match_indices('/').map(|(at, _)| name[..=at].to_owned());
            directories.extend(parents);
        }
        // Sorted with the files: a folder comes before what is in it.
        let mut names: Vec<(&str, Option<&(Digest, u64)>)> =
            self.blobs.iter().map(|(name, blob)| (name.as_str(), Some(blob))).collect();
        names.extend(directories.iter().map(|name| (name.as_str(), None)));
        names.sort_by_key(|(name, _)| *name);
        for (name, blob) in names {
            match blob {
                None => add(&mut tar, name, tar::EntryType::Directory, 0o755, 0, &mut std::io::empty())?,
                Some((digest, size)) => {
                    let mut file = self.store.content().reader(digest)?;
                    add(&mut tar, name, tar::EntryType::Regular, 0o444, *size, &mut file)?;
                }
            }
        }
        let layout: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
        let documents = [
            ("index.json", 0o644, Some(self.index.as_slice())),
            ("manifest.json", 0o644, self.docker.as_deref()),
            ("oci-layout", 0o444, Some(layout)),
        ];
        for (name, mode, bytes) in documents {
            if let Some(mut bytes) = bytes {
                add(&mut tar, name, tar::EntryType::Regular, mode, bytes.len() as u64, &mut bytes)?;
            }
        }
        tar.into_inner().and_then(|mut out| out.flush()).map_err(io("cannot write the archive"))
    }
}

fn add(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    size: u64,
    content: &mut dyn std::io::Read,
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, name, content).map_err(io("cannot write the archive"))
}

/// All blobs of a target that are here; its own document must be.
fn collect(
    store: &Store,
    descriptor: &Descriptor,
    depth: usize,
    blobs: &mut BTreeMap<String, (Digest, u64)>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::Limit { what: "depth of image indexes", limit: MAX_DEPTH as u64 });
    }
    let mut insert = |digest: &Digest| -> Result<bool> {
        let size = store.content().size(digest)?;
        if let Some(size) = size {
            blobs.insert(path(digest), (digest.clone(), size));
        }
        Ok(size.is_some())
    };
    if !insert(&descriptor.digest)? {
        // Of another platform; nobody needs it here.
        return if depth > 0 { Ok(()) } else { Err(Error::ContentNotFound(descriptor.digest.clone())) };
    }
    let bytes = store.content().document(&descriptor.digest)?;
    match Document::decode(&descriptor.media_type, &bytes)? {
        Document::Manifest(manifest) => {
            insert(&manifest.config.digest)?;
            for layer in &manifest.layers {
                insert(&layer.digest)?;
            }
        }
        Document::Index(index) => {
            for child in &index.manifests {
                collect(store, child, depth + 1, blobs)?;
            }
        }
    }
    Ok(())
}

/// The image's entry in `index.json`, annotated as containerd does.
fn entry(store: &Store, export: &Export) -> Result<Descriptor> {
    let mut descriptor = export.target.clone();
    for (host, repositories) in store.sources(&descriptor.digest)? {
        let key = format!("{}.{host}", annotation::SOURCE);
        descriptor.annotations.insert(key, repositories.join(","));
    }
    if let Some(name) = &export.name {
        descriptor.annotations.insert(annotation::IMAGE_NAME.into(), name.to_string());
        if let Some(tag) = name.tag() {
            descriptor.annotations.insert(annotation::REF_NAME.into(), tag.into());
        }
    }
    Ok(descriptor)
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
