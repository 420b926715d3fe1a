//! Between Docker's bodies and the engine's own types, both ways. Nothing here decides, except that what the
//! engine does not do is refused by the name of its field.

pub(crate) mod create;
mod host;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod moment;
mod mount;
pub(crate) mod stats;
pub(crate) mod summary;
pub(crate) mod system;
pub(crate) mod words;

use api::image::{Descriptor, Platform};

/// A size in the API's form.
pub(crate) fn figure(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A content descriptor in the API's form.
pub(crate) fn descriptor(from: &oci::Descriptor) -> Descriptor {
    let some = |present: bool| present.then_some(());
    Descriptor {
        media_type: from.media_type.clone(),
        digest: from.digest.to_string(),
        size: figure(from.size),
        urls: some(!from.urls.is_empty()).map(|()| from.urls.clone()),
        annotations: some(!from.annotations.is_empty()).map(|()| from.annotations.clone()),
        data: None,
        platform: from.platform.as_ref().map(platform),
        artifact_type: from.artifact_type.clone().unwrap_or_default(),
    }
}

pub(crate) fn platform(from: &oci::Platform) -> Platform {
    Platform {
        architecture: from.architecture.clone(),
        os: from.os.clone(),
        os_version: from.os_version.clone(),
        os_features: (!from.os_features.is_empty()).then(|| from.os_features.clone()),
        variant: from.variant.clone(),
    }
}
