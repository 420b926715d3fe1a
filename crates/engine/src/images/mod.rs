//! Images: names for content in the store, found as Docker's CLI names them.

mod hello;
mod history;
mod names;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod variants;

pub use hello::NAME as HELLO;
pub use history::Step;
pub use prune::PruneFilter;
pub use pull::{Progress, PullEvent};
pub use push::{Found, Instead, SearchFilter};
pub use registry::{Credentials, Remote};
pub use remove::Removed;
pub use save::Saved;
pub use variants::Variant;

use crate::Engine;
use crate::error::{Error, Kind, Result, chain};
use oci::{AnyReference, Digest, ImageConfig, Matcher, Platform, Reference};
use std::collections::BTreeMap;
use std::io::Read;
use store::{Image, ImageView};

/// An image that a container can be made of.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// `sha256:…` of the manifest or index.
    pub id: String,
    /// The configuration for this platform.
    pub config: ImageConfig,
    /// The manifest for this platform.
    pub manifest: oci::Descriptor,
}

/// An image as the doors see it.
#[derive(Debug, Clone)]
pub struct ImageInfo {
    /// `sha256:…` of the manifest or index.
    pub id: String,
    /// All its names, `name:tag` or (when it was pulled by digest) `name@sha256:…`, familiar form, sorted by
    /// their full form.
    pub tags: Vec<String>,
    /// `name@sha256:…` for each repository that it has a name in, in the same order.
    pub digests: Vec<String>,
    /// What the names point to.
    pub target: oci::Descriptor,
    /// Nanoseconds since the epoch, by its configuration; 0 = unknown.
    pub created_ns: i64,
    /// When its name was last given.
    pub tagged_ns: i64,
    /// Bytes of blobs and unpacked layers; Docker's list does not count the index.
    pub size: u64,
    /// Bytes of blobs alone, the index among them.
    pub content_size: u64,
    /// How many containers were made of it.
    pub containers: usize,
    /// The configuration of this platform's image; `None` when only others are here.
    pub config: Option<ImageConfig>,
    /// Digests of its layers, uncompressed.
    pub layers: Vec<String>,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
}

/// What `ps` shows as the image of each container of a list.
#[derive(Debug)]
pub struct ImageWords<'a> {
    engine: &'a Engine,
    known: BTreeMap<String, Option<String>>,
}

impl ImageWords<'_> {
    /// The word that the container was made with, or its image's id when that word means another image now.
    pub fn of(&mut self, container: &crate::Container) -> String {
        let word = &container.config.image;
        if !self.known.contains_key(word) {
            self.known.insert(word.clone(), self.engine.image_id(word).ok());
        }
        let same = self.known.get(word).and_then(Option::as_ref) == Some(&container.image_id);
        if same { word.clone() } else { container.image_id.clone() }
    }
}

impl Engine {
    /// The image for a container; the built-in one is made when it is asked for and absent.
    pub fn resolve_image(&self, word: &str) -> Result<ResolvedImage> {
        let image = self.find_image(word)?;
        let view = self.view(&image)?;
        let platform = view.config.platform();
        Ok(ResolvedImage {
            id: view.target.digest.to_string(),
            config: view.config,
            manifest: with_platform(view.descriptor, &view.target, platform),
        })
    }

    /// The id of the image that a name, an id or a prefix of one means.
    pub fn image_id(&self, word: &str) -> Result<String> {
        Ok(self.find_image(word)?.target.digest.to_string())
    }

    /// The image's id that each word means, looked up once.
    pub fn image_words(&self) -> ImageWords<'_> {
        ImageWords { engine: self, known: BTreeMap::new() }
    }

    /// All images, newest first. One entry per id.
    pub fn images(&self) -> Result<Vec<ImageInfo>> {
        let mut by_id: BTreeMap<String, Vec<Image>> = BTreeMap::new();
        for image in self.store()?.images().list()? {
            by_id.entry(image.target.digest.to_string()).or_default().push(image);
        }
        let sorted = |mut rows: Vec<Image>| {
            rows.sort_by_cached_key(|row| row.name.as_ref().map(ToString::to_string));
            rows
        };
        let mut all =
            by_id.into_values().map(|rows| self.image_info(&sorted(rows))).collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| b.created_ns.cmp(&a.created_ns).then_with(|| a.id.cmp(&b.id)));
        Ok(all)
    }

    /// One image in full.
    pub fn image(&self, word: &str) -> Result<ImageInfo> {
        let found = self.find_image(word)?;
        self.image_info(&self.store()?.images().by_digest(&found.target.digest)?)
    }

    /// Loads a `docker save` or OCI layout archive, or one platform's variants of it; returns Docker's lines.
    pub fn load_images(&self, archive: impl Read, platform: Option<&Platform>) -> Result<Vec<String>> {
        let loaded = self.store()?.load(archive, platform).map_err(store_error)?;
        for image in &loaded {
            let id = image.target.digest.to_string();
            self.tell_image("load", &id, &id, self.labels_of(&id).as_ref());
        }
        if let (Some(platform), Some(other)) = (platform, loaded.iter().find(|image| !image.provides)) {
            let name =
                other.name.as_ref().map_or_else(|| other.target.digest.to_string(), Reference::familiar);
            let text =
                format!("image {name} was loaded, but doesn't provide the requested platform ({platform})");
            return Err(Error::not_found(text));
        }
        Ok(loaded.iter().map(ToString::to_string).collect())
    }

    /// Makes an image of one tar; returns its id.
    pub fn import_image(
        &self,
        tar: impl Read,
        name: Option<&str>,
        message: &str,
        changes: &[String],
        platform: Option<Platform>,
    ) -> Result<String> {
        let name =
            name.filter(|n| !n.is_empty()).map(Reference::parse).transpose()?.map(Reference::or_latest);
        let wanted = store::Import { name: name.as_ref(), message, changes, platform };
        let id = self.store()?.import(tar, &wanted).map_err(store_error)?;
        let id = id.to_string();
        if let Some(name) = &name {
            self.tell_image("tag", &id, &name.familiar(), self.labels_of(&id).as_ref());
        }
        self.tell_image("import", &id, &id, self.labels_of(&id).as_ref());
        Ok(id)
    }

    /// The labels of an image's configuration, which its events carry.
    pub(crate) fn labels_of(&self, word: &str) -> Option<BTreeMap<String, String>> {
        let image = self.find_image(word).ok()?;
        Some(self.view(&image).ok()?.config.config.labels)
    }

    /// Finds a row by name, by digest, or by a prefix of the id, in Docker's order.
    pub(crate) fn find_image(&self, word: &str) -> Result<Image> {
        let images = self.store()?.images();
        let missing = || Error::not_found(format!("No such image: {}", shown(word)));
        if word.is_empty() {
            return Err(Error::invalid("invalid reference format"));
        }
        let first = |rows: Vec<Image>| rows.into_iter().next();
        if let Ok(digest) = Digest::parse(word) {
            return first(images.by_digest(&digest)?).ok_or_else(missing);
        }
        let prefix = word.strip_prefix("sha256:").unwrap_or(word);
        let hex = !prefix.is_empty()
            && prefix.len() <= 64
            && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        // A name goes before a prefix of an id, except for a whole id.
        if !(hex && prefix.len() == 64)
            && let Ok(AnyReference::Named(name)) = AnyReference::parse(word)
            && let Some(image) = self.by_name(&name)?
        {
            return Ok(image);
        }
        if !hex {
            // The grammar's error, if there is one, says more than "no such image".
            if !word.starts_with("sha256:") {
                Reference::parse(word)?;
            }
            return Err(missing());
        }
        let found = images.by_prefix(prefix)?;
        let mut ids: Vec<&Digest> = found.iter().map(|i| &i.target.digest).collect();
        ids.dedup();
        if ids.len() > 1 {
            return Err(Error::invalid(format!("ambiguous reference: {word}")));
        }
        first(found).ok_or_else(missing)
    }

    fn by_name(&self, name: &Reference) -> Result<Option<Image>> {
        let images = self.store()?.images();
        let Some(digest) = name.digest() else { return Ok(images.get(&name.clone().or_latest())?) };
        let same_repository = |i: &Image| i.name.as_ref().is_some_and(|n| n.name() == name.name());
        Ok(images.by_digest(digest)?.into_iter().find(same_repository))
    }

    pub(crate) fn view(&self, image: &Image) -> Result<ImageView> {
        self.store()?.view(&image.target, &Matcher::only(&Platform::host())).map_err(store_error)
    }

    fn image_info(&self, rows: &[Image]) -> Result<ImageInfo> {
        let first = rows.first().ok_or_else(|| Error::not_found("No such image"))?;
        let store = self.store()?;
        let view = self.view(first).ok();
        let size = store.image_size(&first.target)?;
        let mut tags = Vec::new();
        let mut digests = Vec::new();
        for name in rows.iter().filter_map(|r| r.name.as_ref()) {
            tags.push(name.familiar());
            let digest = format!("{}@{}", name.familiar_name(), first.target.digest);
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
        let config = view.map(|v| v.config);
        let created = config.as_ref().and_then(|c| c.created.as_deref()).and_then(sys::clock::Time::parse);
        Ok(ImageInfo {
            id: first.target.digest.to_string(),
            tags,
            digests,
            created_ns: created.map_or(0, |t| t.0),
            tagged_ns: rows.iter().map(|r| r.updated.0).max().unwrap_or(0),
            size: size.blobs.saturating_add(size.unpacked),
            content_size: size.blobs.saturating_add(size.index),
            containers: self
                .state()?
                .containers()?
                .iter()
                .filter(|c| c.image_id == first.target.digest.as_str())
                .count(),
            layers: config.iter().flat_map(|c| &c.rootfs.diff_ids).map(|d| d.0.to_string()).collect(),
            labels: config.as_ref().map(|c| c.config.labels.clone()).unwrap_or_default(),
            config,
            target: first.target.clone(),
        })
    }
}

/// Docker shows the platform of a manifest that was reached through its config too.
fn with_platform(
    mut manifest: oci::Descriptor,
    target: &oci::Descriptor,
    platform: Platform,
) -> oci::Descriptor {
    if manifest.digest == target.digest && manifest.platform.is_none() {
        manifest.platform = Some(platform);
    }
    manifest
}

/// Docker names a missing image with its tag, in the form that was typed.
fn shown(word: &str) -> String {
    match AnyReference::parse(word) {
        Ok(AnyReference::Named(name)) => name.or_latest().familiar(),
        _ => word.to_string(),
    }
}

/// A store's error by kind: what the input did is the client's fault, the rest is ours.
pub(crate) fn store_error(error: store::Error) -> Error {
    use store::Error as E;
    let kind = match &error {
        E::ContentNotFound(_) | E::SnapshotNotFound(_) | E::NoPlatform { .. } => Kind::NotFound,
        E::Io { .. } | E::Sys(_) | E::Database(_) | E::DataRoot { .. } | E::SnapshotExists(_) => {
            Kind::Internal
        }
        _ => Kind::InvalidParameter,
    };
    Error::new(kind, chain(&error))
}
