//! What everything occupies: `system df`.
//!
//! Of images the figures are in the database and in the sizes of blobs; only what containers and volumes have
//! written themselves is looked at file by file, and only when it is asked for.

use crate::containers::Sizes;
use crate::error::Result;
use crate::images::ImageInfo;
use crate::volumes::{Volume, VolumeFilter};
use crate::{Container, Engine, ListFilter};
use std::collections::{HashMap, HashSet};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsageOf {
    /// Images.
    pub images: bool,
    /// Containers.
    pub containers: bool,
    /// Volumes.
    pub volumes: bool,
}

/// An image, and what of its unpacked layers others have too.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: ImageInfo,
    /// Bytes.
    pub shared: u64,
}

/// A volume, what it holds, and how many containers have it.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Bytes.
    pub size: u64,
    /// Containers.
    pub users: usize,
}

/// What everything occupies; nothing of what was not asked for.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// All blobs and unpacked layers.
    pub layers_size: u64,
    /// Newest first.
    pub images: Option<Vec<ImageUsage>>,
    /// Newest first, with the word for their image.
    pub containers: Option<Vec<(Container, String, Sizes)>>,
    /// By name.
    pub volumes: Option<Vec<VolumeUsage>>,
}

impl Engine {
    /// Adds it all up.
    pub fn usage(&self, of: UsageOf) -> Result<Usage> {
        let mut usage = Usage::default();
        if of.images {
            let store = self.store()?;
            usage.layers_size =
                store.content().total_size()?.saturating_add(store.snapshots().committed_size()?);
            usage.images = Some(self.image_usage()?);
        }
        if of.containers {
            usage.containers = Some(self.container_usage()?);
        }
        if of.volumes {
            let users = self.volume_users()?;
            let volumes =
                self.list_volumes(&VolumeFilter::default())?.into_iter().map(|volume| VolumeUsage {
                    size: self.volume_bytes(&volume.name),
                    users: users.get(&volume.name).map_or(0, Vec::len),
                    volume,
                });
            usage.volumes = Some(volumes.collect());
        }
        Ok(usage)
    }

    fn image_usage(&self) -> Result<Vec<ImageUsage>> {
        let store = self.store()?;
        let images = self.images()?;
        let mut chains = Vec::with_capacity(images.len());
        let mut count: HashMap<oci::ChainId, u32> = HashMap::new();
        for image in &images {
            let views = store.views(&image.target)?;
            let own: HashSet<oci::ChainId> = views.into_iter().flat_map(|view| view.chain).collect();
            for chain in &own {
                *count.entry(chain.clone()).or_default() += 1;
            }
            chains.push(own);
        }
        let mut found = Vec::with_capacity(images.len());
        for (image, own) in images.into_iter().zip(chains) {
            let mut shared = 0u64;
            for chain in own.iter().filter(|chain| count.get(*chain).is_some_and(|n| *n > 1)) {
                shared = shared.saturating_add(store.snapshots().usage(chain)?.map_or(0, |usage| usage.size));
            }
            found.push(ImageUsage { image, shared });
        }
        Ok(found)
    }

    fn container_usage(&self) -> Result<Vec<(Container, String, Sizes)>> {
        let all = self.list_containers(&ListFilter { all: true, ..ListFilter::default() })?;
        let mut words = self.image_words();
        let mut found = Vec::with_capacity(all.len());
        for container in all {
            let word = words.of(&container);
            match self.container_sizes(&container.id) {
                Ok(sizes) => found.push((container, word, sizes)),
                // It was removed meanwhile.
                Err(_) if self.container(&container.id).is_err() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
