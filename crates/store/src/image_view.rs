//! What an image's target means on one platform: manifest, configuration, layers.

use crate::error::{Error, Result};
use crate::{Labels, Put, Store};
use oci::{
    ChainId, Descriptor, Digest, Document, ImageConfig, Index, Manifest, Matcher, Platform, Reference,
};
use std::collections::HashSet;
use std::io::{Read, Write};

/// An index may point to indexes (image-spec image-index.md); nobody nests deeper.
const MAX_INDEX_DEPTH: usize = 4;

/// The documents of one image on one platform, read and verified.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// What the image's name points to; its digest is the image id.
    pub target: Descriptor,
    /// The manifest chosen: the target itself, or one of its manifests.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
    /// Chain ids of the layers, lowest first.
    pub chain: Vec<ChainId>,
}

/// What an image occupies, by kind of content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// The index, if it has one.
    pub index: u64,
    /// Manifests, configurations and layers of all platforms that are here.
    pub blobs: u64,
    /// The unpacked layers, in blocks of the file system.
    pub unpacked: u64,
}

impl ImageView {
    /// The chain id to prepare a container's snapshot on.
    pub fn top(&self) -> Option<&ChainId> {
        self.chain.last()
    }

    /// Size of the configuration and of the layers as they were downloaded.
    pub fn blob_size(&self) -> u64 {
        let layers = self.manifest.layers.iter().map(|l| l.size);
        layers.fold(self.descriptor.size.saturating_add(self.manifest.config.size), u64::saturating_add)
    }
}

impl Store {
    /// Reads the image that a target is for the best of these platforms whose content is here.
    pub fn view(&self, target: &Descriptor, matcher: &Matcher) -> Result<ImageView> {
        let mut best: Option<(usize, ImageView)> = None;
        for descriptor in self.manifests(target)? {
            let Ok((manifest, config)) = self.image_documents(&descriptor) else { continue };
            let Some(rank) = matcher.rank(&config.platform()) else { continue };
            if best.as_ref().is_none_or(|(r, _)| rank < *r) {
                let chain = config.chain();
                best =
                    Some((rank, ImageView { target: target.clone(), descriptor, manifest, config, chain }));
            }
        }
        best.map(|(_, view)| view).ok_or_else(|| Error::NoPlatform {
            platform: matcher.first().to_string(),
            digest: target.digest.clone(),
        })
    }

    /// All images of a target whose content is here, whatever their platform.
    pub fn views(&self, target: &Descriptor) -> Result<Vec<ImageView>> {
        let mut all = Vec::new();
        for descriptor in self.manifests(target)? {
            if let Ok((manifest, config)) = self.image_documents(&descriptor) {
                let chain = config.chain();
                all.push(ImageView { target: target.clone(), descriptor, manifest, config, chain });
            }
        }
        Ok(all)
    }

    /// What a target names, whether it is here or not: itself, or the manifests of its index, attestations too.
    pub fn variants(&self, target: &Descriptor) -> Result<Vec<Descriptor>> {
        match self.content().size(&target.digest)? {
            Some(_) => Ok(self.index(target)?.map_or_else(|| vec![target.clone()], |index| index.manifests)),
            None => Ok(vec![target.clone()]),
        }
    }

    /// The manifests of a target that are here: itself, or those of its index. No attestations.
    pub fn manifests(&self, target: &Descriptor) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut pending = vec![(target.clone(), 0)];
        while let Some((descriptor, depth)) = pending.pop() {
            if descriptor.is_attestation()
                || !seen.insert(descriptor.digest.clone())
                || self.content().size(&descriptor.digest)?.is_none()
            {
                continue;
            }
            match self.index(&descriptor)? {
                Some(index) if depth < MAX_INDEX_DEPTH => {
                    pending.extend(index.manifests.into_iter().rev().map(|d| (d, depth + 1)));
                }
                Some(_) => {
                    return Err(Error::Limit {
                        what: "depth of image indexes",
                        limit: MAX_INDEX_DEPTH as u64,
                    });
                }
                None => found.push(descriptor),
            }
        }
        Ok(found)
    }

    /// The index that a descriptor points to; `None` when it is a manifest.
    pub fn index(&self, descriptor: &Descriptor) -> Result<Option<Index>> {
        match self.decode(descriptor)? {
            Document::Index(index) => Ok(Some(index)),
            Document::Manifest(_) => Ok(None),
        }
    }

    /// What an image occupies; what it shares with others counts fully.
    pub fn image_size(&self, target: &Descriptor) -> Result<ImageSize> {
        let mut size = ImageSize::default();
        let mut seen = HashSet::new();
        let mut blob = |digest: &Digest| -> Result<u64> {
            if seen.insert(digest.clone()) { Ok(self.content().size(digest)?.unwrap_or(0)) } else { Ok(0) }
        };
        let mut chains = HashSet::new();
        for view in self.views(target)? {
            size.blobs += blob(&view.descriptor.digest)? + blob(&view.manifest.config.digest)?;
            for layer in &view.manifest.layers {
                size.blobs = size.blobs.saturating_add(blob(&layer.digest)?);
            }
            for chain in view.chain {
                if let Some(usage) = self.snapshots().usage(&chain)? {
                    size.unpacked =
                        size.unpacked.saturating_add(if chains.insert(chain) { usage.size } else { 0 });
                }
            }
        }
        // Counted already when it is the manifest.
        size.index = blob(&target.digest)?;
        Ok(size)
    }

    /// Adds an image made of these layers (plain tars, lowest first), unpacks and names it. The same
    /// input makes the same image id. `config.rootfs` is filled in.
    pub fn install_image<R: Read>(
        &self,
        name: &Reference,
        mut config: ImageConfig,
        layers: impl IntoIterator<Item = R>,
        labels: &Labels,
    ) -> Result<Descriptor> {
        let _lease = self.lease()?;
        let mut descriptors = Vec::new();
        config.rootfs = oci::RootFs::default();
        for mut layer in layers {
            let mut writer = self.content().writer()?;
            copy(&mut layer, &mut writer)?;
            let (digest, size) = writer.commit(None)?;
            config.rootfs.diff_ids.push(oci::DiffId(digest.clone()));
            descriptors.push(Descriptor::new(oci::media_type::OCI_LAYER, digest, size));
        }
        let target = self.put_image(&config, descriptors)?;
        self.unpack_image(&self.view(&target, &Matcher::only(&config.platform()))?)?;
        self.name_image(Some(name), &target, labels)?;
        Ok(target)
    }

    /// Names an image whose content is complete, and exports the index.
    pub fn name_image(&self, name: Option<&Reference>, target: &Descriptor, labels: &Labels) -> Result<Put> {
        let put = self.images().put(name, target, labels)?;
        if !put.unchanged {
            self.export_index()?;
        }
        Ok(put)
    }

    /// Writes configuration and manifest of an OCI image with these layers.
    pub(crate) fn put_image(&self, config: &ImageConfig, layers: Vec<Descriptor>) -> Result<Descriptor> {
        let config =
            self.content().put(oci::media_type::OCI_CONFIG, &encode("image configuration", config)?)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: oci::media_type::OCI_MANIFEST.into(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Labels::new(),
        };
        self.content().put(oci::media_type::OCI_MANIFEST, &encode("image manifest", &manifest)?)
    }

    /// Reads the manifest and the configuration that a descriptor leads to.
    pub(crate) fn image_documents(&self, descriptor: &Descriptor) -> Result<(Manifest, ImageConfig)> {
        let Document::Manifest(manifest) = self.decode(descriptor)? else {
            let found = descriptor.media_type.clone();
            return Err(oci::Error::Unsupported { what: "manifest media type", found }.into());
        };
        let config: ImageConfig =
            oci::from_slice("image configuration", &self.content().document(&manifest.config.digest)?)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(Error::LayerCount { layers, diff_ids });
        }
        Ok((manifest, config))
    }

    fn decode(&self, descriptor: &Descriptor) -> Result<Document> {
        let bytes = self.content().document(&descriptor.digest)?;
        Ok(Document::decode(&descriptor.media_type, &bytes)?)
    }
}

/// The platform that this machine runs best.
pub(crate) fn host() -> Matcher {
    Matcher::only(&Platform::host())
}

pub(crate) fn encode<T: serde::Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value).map_err(|source| oci::Error::Json { what, source })?)
}

pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            // A decompressor's error says more than that something could not be read.
            Err(e) => return Err(e.downcast().unwrap_or_else(crate::error::io("cannot read the archive"))),
        };
        to.write_all(&buffer[..n]).map_err(crate::error::io("cannot write blob"))?;
        total += n as u64;
    }
}
