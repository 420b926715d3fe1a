//! Content, images and snapshots: what an image is on this machine, from compressed blob to mount.
//!
//! Nouns first. A *blob* is content named by its digest. An *image* is a name for a manifest or an
//! index; its id is that document's digest. A *layer* is a tar; unpacked on top of its parents it is a
//! committed *snapshot*, named by its `ChainId` and shared by all images that contain it. An *active*
//! snapshot is the writable directory of one container, named by the caller's key.
//!
//! ```text
//! DATA/content/                 an OCI image layout, readable by other tools
//!   oci-layout, index.json      derived export, never read back
//!   blobs/sha256/<hex>          verified and synced before the name appears
//!   ingest/sha256-<hex>         a download under way: OFD lock = its owner lives; kept to be resumed
//!   ingest/anonymous-<n>-<pid>  the same for content whose digest is not known yet
//!   gc.lock                     shared: a `Lease`; exclusive: the collector
//! DATA/snapshots/               0700
//!   <n>/fs                      a committed snapshot; <n> is its row in tare.db
//!   active/<key>/{fs,work}      an active snapshot; row in tare.db, or in run.db when volatile
//!   unpacking/<chain hex>/fs    a layer being unpacked; its name is the intent
//!   unpacking/<chain hex>.lock  OFD lock: the unpacker lives; others wait
//!   trash/<n>                   renamed away, deleted later
//! ```
//!
//! Rules. A name (blob, snapshot row, image row) appears only when what it names is complete and on
//! disk. The collector runs only when no process holds a lease; whoever relies on content that no image
//! row names yet holds one, so that a killed pull leaves only files that the collector recognises.
//! The store does not know what a container is, and it never talks to a network.

#![warn(missing_docs)]

mod archive;
mod content;
mod error;
mod extract;
mod gc;
mod image_view;
mod images;
mod inflate;
mod layer_builder;
mod lease;
mod schema;
mod snapshots;
mod sources;
#[cfg(test)]
mod tar_tests;
#[cfg(test)]
mod testing;
mod unpack;

pub use archive::{Archive, Commit, Export, Import, Loaded, apply_change};
pub use content::{ContentStore, Follow, Ingest, Writer};
pub use error::{Error, Result};
pub use gc::Collected;
pub use image_view::{ImageSize, ImageView};
pub use images::{Image, ImageStore, Labels, Put};
pub use inflate::{Compression, decompressed};
pub use layer_builder::LayerBuilder;
pub use lease::Lease;
pub use schema::{MIGRATIONS, RUN_MIGRATIONS};
pub use snapshots::{Snapshots, Usage};
pub use unpack::{Layer, Slot, Unpacking};

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The store of one data root.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    content: ContentStore,
    images: ImageStore,
    snapshots: Snapshots,
}

impl Store {
    /// Opens (and makes) the store below `data_root`. `durable` is `tare.db`, opened with
    /// [`MIGRATIONS`]; `run` is `run.db`, opened with [`RUN_MIGRATIONS`].
    pub fn open(data_root: &Path, durable: Arc<db::Database>, run: Arc<db::Database>) -> Result<Self> {
        refuse_special_characters(data_root)?;
        let content = ContentStore::open(&data_root.join("content"))?;
        let images = ImageStore::new(durable.clone());
        let snapshots = Snapshots::open(&data_root.join("snapshots"), durable, run)?;
        Ok(Store(Arc::new(Inner { content, images, snapshots })))
    }

    /// Blobs.
    pub fn content(&self) -> &ContentStore {
        &self.0.content
    }

    /// Image names.
    pub fn images(&self) -> &ImageStore {
        &self.0.images
    }

    /// Directory trees.
    pub fn snapshots(&self) -> &Snapshots {
        &self.0.snapshots
    }

    /// Loads all images of a `docker save` or OCI layout archive, plain, gzip or zstd. A `Loaded`
    /// prints as Docker's line.
    /// With a platform, only that one's variants stay.
    pub fn load(&self, archive: impl Read, platform: Option<&oci::Platform>) -> Result<Vec<Loaded>> {
        archive::load(self, archive, platform)
    }

    /// Prepares an archive of these images; `matcher` tells which platform a docker-archive's reader gets.
    pub fn save(&self, images: &[Export], matcher: &oci::Matcher) -> Result<Archive> {
        Archive::plan(self, images, matcher)
    }

    /// Makes an image of one tar; returns its id.
    pub fn import(&self, tar: impl Read, wanted: &Import<'_>) -> Result<oci::Digest> {
        Ok(archive::import(self, tar, wanted)?.digest)
    }

    /// Makes an image of a container's changes, which `write` writes as a tar; returns what it is.
    pub fn commit(
        &self,
        wanted: &Commit<'_>,
        write: impl FnOnce(&mut dyn std::io::Write) -> Result<()>,
    ) -> Result<oci::Descriptor> {
        archive::commit(self, wanted, write)
    }

    /// Keeps the collector away while content is used that no image names yet. Waits while it runs.
    pub fn lease(&self) -> Result<Lease> {
        Lease::take(self.content().root())
    }
}

/// overlayfs splits its options at `,` and `:` and takes `\` as an escape; such a data root would
/// mount other directories than meant.
fn refuse_special_characters(data_root: &Path) -> Result<()> {
    let text = data_root.to_string_lossy();
    match text.chars().find(|c| matches!(c, ',' | ':' | '\\' | '"') || c.is_control()) {
        Some(found) => Err(Error::DataRoot { path: PathBuf::from(data_root), found }),
        None => Ok(()),
    }
}
