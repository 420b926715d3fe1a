//! A tar of a root file system becomes an image of one layer.

use super::all_or_nothing;
use super::changes::apply;
use crate::error::{Result, io};
use crate::image_view::copy;
use crate::inflate::{Compression, Inflated, Plain};
use crate::unpack::Layer;
use crate::{Labels, Store};
use oci::{Algorithm, Descriptor, DiffId, Hasher, History, ImageConfig, Platform, Reference, media_type};
use std::io::{self as stdio, Cursor, Read, Write};
use sys::clock::Time;

/// What an imported image is to be.
#[derive(Debug, Clone, Default)]
pub struct Import<'a> {
    /// Its name, if any.
    pub name: Option<&'a Reference>,
    /// The comment of its history.
    pub message: &'a str,
    /// Dockerfile instructions that change its configuration.
    pub changes: &'a [String],
    /// Its platform; this machine's by default.
    pub platform: Option<Platform>,
}

/// Imports a tar: gzip and zstd are kept as they are, any other becomes gzip, as Docker does.
pub fn import(store: &Store, tar: impl Read, options: &Import<'_>) -> Result<Descriptor> {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let created = Time::now().rfc3339();
    let mut config = ImageConfig {
        created: Some(created.clone()),
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        ..ImageConfig::default()
    };
    for change in options.changes {
        apply(&mut config.config, change)?;
    }
    let comment = options.message.to_owned();
    config.history.push(History { created: Some(created), comment, ..History::default() });
    all_or_nothing(store, |_| {
        let (layer, diff) = store_layer(store, tar)?;
        let mut unpacking = store.unpacking()?;
        if let Layer::Absent(slot) = unpacking.next(&diff)? {
            slot.unpack(store.content().follow(&layer.digest)?)?;
        }
        unpacking.commit()?;
        config.rootfs.diff_ids.push(diff);
        let target = store.put_image(&config, vec![layer])?;
        store.name_image(options.name, &target, &Labels::new())?;
        Ok(target)
    })
}

fn store_layer(store: &Store, mut tar: impl Read) -> Result<(Descriptor, DiffId)> {
    let mut first = Vec::new();
    tar.by_ref().take(6).read_to_end(&mut first).map_err(io("cannot read the archive"))?;
    let compression = Compression::detect(&first);
    let mut whole = Cursor::new(first).chain(tar);
    let media_type = match compression {
        Compression::None => return compress(store, whole),
        // The specification of images does not know them.
        Compression::Bzip2 | Compression::Xz => return compress(store, Plain::new(whole)?),
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
    };
    let mut writer = store.content().writer()?;
    copy(&mut whole, &mut writer)?;
    let (digest, size) = writer.commit(None)?;
    let (diff, _) = Inflated::start(store.content().follow(&digest)?).finish()?;
    Ok((Descriptor::new(media_type, digest, size), diff))
}

fn compress(store: &Store, tar: impl Read) -> Result<(Descriptor, DiffId)> {
    let mut hashed = Hashed { inner: tar, hasher: Hasher::new(Algorithm::Sha256), bytes: 0 };
    let writer = store.content().writer()?;
    let mut gzip = flate2::write::GzEncoder::new(writer, flate2::Compression::default());
    copy(&mut hashed, &mut gzip)?;
    let writer = gzip.finish().map_err(io("cannot write blob"))?;
    let (digest, size) = writer.commit(None)?;
    let diff = DiffId(hashed.hasher.finish());
    Ok((Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size), diff))
}

/// What is read or written is hashed on the way.
pub(super) struct Hashed<I> {
    pub(super) inner: I,
    pub(super) hasher: Hasher,
    pub(super) bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> stdio::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> stdio::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> stdio::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}
