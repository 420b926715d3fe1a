//! The variants of an image: what each platform's manifest occupies, and removing single ones.

use super::history::not_provided;
use super::store_error;
use crate::Engine;
use crate::error::{Error, Kind, Result};
use oci::{Descriptor, Matcher, Platform};

/// One manifest of an image, here or not.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Where it is named.
    pub descriptor: Descriptor,
    /// It is here.
    pub available: bool,
    /// Bytes of its blobs.
    pub content: u64,
    /// Bytes of its unpacked layers.
    pub unpacked: u64,
    /// By its configuration, else as its descriptor says.
    pub platform: Platform,
    /// The containers of it, by id.
    pub containers: Vec<String>,
}

impl Engine {
    /// The variants of the image with this target.
    pub fn variants(&self, target: &Descriptor) -> Result<Vec<Variant>> {
        let store = self.store()?;
        let views = store.views(target)?;
        let records = self.state()?.containers()?;
        let one = |descriptor: Descriptor| {
            let view = views.iter().find(|view| view.descriptor.digest == descriptor.digest);
            let size = match view {
                Some(_) => store.image_size(&descriptor)?,
                None => store::ImageSize::default(),
            };
            let attestation = descriptor.is_attestation();
            let blob = if attestation { store.content().size(&descriptor.digest)? } else { None };
            let platform = view.map(|view| view.config.platform());
            let uses = |record: &&crate::state::Record| {
                view.is_some()
                    && record.image_manifest.as_ref().is_some_and(|m| m.digest == descriptor.digest)
            };
            Ok(Variant {
                available: view.is_some() || blob.is_some(),
                content: size.blobs.saturating_add(blob.unwrap_or(0)),
                unpacked: size.unpacked,
                platform: platform.or_else(|| descriptor.platform.clone()).unwrap_or_default(),
                containers: records.iter().filter(uses).map(|record| record.id.clone()).collect(),
                descriptor,
            })
        };
        store.variants(target)?.into_iter().map(one).collect()
    }

    /// Removes the content of single platforms' variants; the names stay. Returns the manifests' digests.
    pub fn remove_variants(&self, word: &str, force: bool, platforms: &[Platform]) -> Result<Vec<String>> {
        if !force {
            return Err(Error::conflict(
                "Content will be removed from all images referencing this variant. Use \u{2014}-force to force delete.",
            ));
        }
        let image = self.find_image(word)?;
        let store = self.store()?;
        let mut gone = Vec::new();
        for platform in platforms {
            let view = store.view(&image.target, &Matcher::strict(platform)).map_err(|_| {
                let shown = image.name.as_ref().map_or_else(|| word.to_string(), oci::Reference::familiar);
                let nothing = store.views(&image.target).is_ok_and(|views| views.is_empty());
                let why = match nothing {
                    true => {
                        format!("image with reference {shown} was found but does not provide any platform")
                    }
                    false => not_provided(&shown, platform).message,
                };
                let digest = &image.target.digest;
                Error::not_found(format!("failed to delete platform {platform} for image {digest}: {why}"))
            })?;
            gone.push(view.descriptor.digest);
        }
        if !store.forget_variants(&gone).map_err(store_error)? {
            return Err(Error::new(Kind::Conflict, "images are being pulled, loaded or pushed: try again"));
        }
        store.gc()?;
        self.empty_trash();
        Ok(gone.iter().map(ToString::to_string).collect())
    }
}
