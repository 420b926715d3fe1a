//! `save`: images go out as one archive.

use super::history::not_provided;
use super::{Engine, store_error};
use crate::error::{Error, Kind, Result};
use oci::{Matcher, Platform};
use std::io::Write;

/// An archive whose images were found; writing it is the long part.
#[derive(Debug)]
pub struct Saved {
    archive: store::Archive,
    engine: Engine,
    ids: Vec<String>,
}

impl Saved {
    /// Writes the tar.
    pub fn write(self, out: impl Write) -> Result<()> {
        self.archive.write(out).map_err(store_error)?;
        for id in &self.ids {
            self.engine.tell_image("save", id, id, self.engine.labels_of(id).as_ref());
        }
        Ok(())
    }
}

impl Engine {
    /// Finds all that `save` is asked for; with a platform, only that one's image of each.
    pub fn save_images(&self, words: &[String], platform: Option<&Platform>) -> Result<Saved> {
        let store = self.store()?;
        let mut exports = self.exports(words)?;
        let ids: Vec<String> = exports.iter().map(|e| e.target.digest.to_string()).collect();
        if let Some(platform) = platform {
            let matcher = Matcher::strict(platform);
            for export in &mut exports {
                let view = store.view(&export.target, &matcher).map_err(|_| {
                    let digest = || export.target.digest.to_string();
                    let shown = export.name.as_ref().map_or_else(digest, oci::Reference::familiar);
                    let Error { message, .. } = not_provided(&shown, platform);
                    Error::new(Kind::NotFound, format!("no suitable export target found: {message}"))
                })?;
                export.target = view.descriptor;
            }
        }
        let matcher = Matcher::only(&platform.cloned().unwrap_or_else(Platform::host));
        let archive = store.save(&exports, &matcher).map_err(store_error)?;
        Ok(Saved { archive, engine: self.clone(), ids })
    }
}
