//! `history`: an image's steps, newest first.

use super::{Engine, store_error};
use crate::error::{Error, Kind, Result};
use oci::{Matcher, Platform, Reference};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image's id for the newest step, `<missing>` for the others: they are images nowhere.
    pub id: String,
    /// Seconds since the epoch; 0 = unknown.
    pub created: i64,
    /// The command.
    pub created_by: String,
    /// All names of the image, for the newest step.
    pub tags: Vec<String>,
    /// Bytes of the layer as it is unpacked.
    pub size: u64,
    /// A remark.
    pub comment: String,
}

impl Engine {
    /// The steps of an image, for a platform if one is asked for.
    pub fn image_history(&self, word: &str, platform: Option<&Platform>) -> Result<Vec<Step>> {
        let image = self.find_image(word)?;
        let store = self.store()?;
        let matcher = platform.map_or_else(|| Matcher::only(&Platform::host()), Matcher::strict);
        let view = store.view(&image.target, &matcher).map_err(|e| match (e, platform) {
            (store::Error::NoPlatform { .. }, Some(platform)) => not_provided(word, platform),
            (e, _) => store_error(e),
        })?;
        let mut sizes = view.chain.iter().map(|chain| store.snapshots().usage(chain));
        let mut steps = Vec::with_capacity(view.config.history.len());
        for history in &view.config.history {
            let size = if history.empty_layer {
                0
            } else {
                let usage = sizes
                    .next()
                    .ok_or_else(|| Error::new(Kind::Internal, "unable to find the size of the layer"))?;
                usage.map_err(store_error)?.map_or(0, |usage| usage.size)
            };
            let created = history.created.as_deref().and_then(sys::clock::Time::parse);
            steps.push(Step {
                id: "<missing>".to_owned(),
                created: created.map_or(0, |t| t.0.div_euclid(1_000_000_000)),
                created_by: history.created_by.clone(),
                tags: Vec::new(),
                size,
                comment: history.comment.clone(),
            });
        }
        steps.reverse();
        if let Some(newest) = steps.first_mut() {
            newest.id = image.target.digest.to_string();
            let rows = store.images().by_digest(&image.target.digest)?;
            newest.tags = rows.iter().filter_map(|row| row.name.as_ref()).map(Reference::familiar).collect();
        }
        Ok(steps)
    }
}

/// dockerd's text for an image that is here, but not for the platform that was asked for.
pub(super) fn not_provided(word: &str, platform: &Platform) -> Error {
    Error::not_found(format!(
        "image with reference {word} was found but does not provide the specified platform ({platform})"
    ))
}
