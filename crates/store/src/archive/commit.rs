//! A container's changes on top of its image become an image: `docker commit`.

use super::all_or_nothing;
use super::import::Hashed;
use crate::error::{Error, Result, io};
use crate::unpack::Layer;
use crate::{Labels, Store};
use oci::{Algorithm, Config, Descriptor, DiffId, Hasher, History, Reference, media_type};
use std::io::Write;
use sys::clock::Time;

/// An archive without entries: its two blocks of zeros.
const EMPTY_TAR_BYTES: u64 = 1024;

/// What the image is to be.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// The manifest that the container was made of.
    pub base: &'a Descriptor,
    /// Its name, if any.
    pub name: Option<&'a Reference>,
    /// The whole configuration.
    pub config: Config,
    /// Who made it.
    pub author: &'a str,
    /// A remark.
    pub comment: &'a str,
    /// The container's command.
    pub created_by: String,
}

/// Makes the image; `write` writes its new layer as a tar.
pub fn commit(
    store: &Store,
    wanted: &Commit<'_>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Descriptor> {
    all_or_nothing(store, |_| {
        let (manifest, mut config) = store.image_documents(wanted.base)?;
        let mut layers = manifest.layers;
        let created = Time::now().rfc3339();
        let layer = store_layer(store, write)?;
        config.created = Some(created.clone());
        wanted.author.clone_into(&mut config.author);
        config.config = wanted.config.clone();
        // Both are in the history, where Docker looks for them.
        (config.comment, config.docker_version) = (String::new(), String::new());
        config.history.push(History {
            created: Some(created),
            created_by: wanted.created_by.clone(),
            author: wanted.author.to_owned(),
            comment: wanted.comment.to_owned(),
            empty_layer: layer.is_none(),
        });
        if let Some((descriptor, diff)) = layer {
            layers.push(descriptor);
            config.rootfs.diff_ids.push(diff);
        }
        let mut unpacking = store.unpacking()?;
        for (layer, diff) in layers.iter().zip(&config.rootfs.diff_ids) {
            // What is unpacked is checked against the diff id: the layer reads back as it was written.
            if let Layer::Absent(slot) = unpacking.next(diff)? {
                slot.unpack(store.content().follow(&layer.digest)?)?;
            }
        }
        unpacking.commit()?;
        let target = store.put_image(&config, layers)?;
        store.name_image(wanted.name, &target, &Labels::new())?;
        Ok(target)
    })
}

/// The layer in gzip; `None` when there is nothing in it.
fn store_layer(
    store: &Store,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Option<(Descriptor, DiffId)>> {
    let writer = store.content().writer()?;
    let gzip = flate2::write::GzEncoder::new(writer, flate2::Compression::default());
    let mut hashed = Hashed { inner: gzip, hasher: Hasher::new(Algorithm::Sha256), bytes: 0 };
    write(&mut hashed)?;
    let Hashed { inner, hasher, bytes } = hashed;
    if bytes == EMPTY_TAR_BYTES {
        return Ok(None);
    }
    let writer = inner.finish().map_err(io("cannot write blob"))?;
    let (digest, size) = writer.commit(None)?;
    Ok(Some((Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size), DiffId(hasher.finish()))))
}

/// Applies a Dockerfile instruction to a configuration, as `--change` does.
pub fn apply_change(config: &mut Config, instruction: &str) -> Result<(), Error> {
    super::changes::apply(config, instruction)
}
