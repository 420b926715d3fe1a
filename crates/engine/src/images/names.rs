//! `tag`: an image gets another name.

use super::Engine;
use crate::error::{Error, Result};
use oci::{AnyReference, Digest, Reference};
use store::{Image, Labels};

impl Engine {
    /// Gives the image that `word` means the name `target` (`latest` when it has no tag).
    pub fn tag_image(&self, word: &str, target: &Reference) -> Result<()> {
        if target.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        // `sha256:…` would be read as an id ever after.
        if target.familiar_name() == "sha256" {
            return Err(Error::invalid("refusing to create an ambiguous tag using digest algorithm as name"));
        }
        let image = self.find_image(word)?;
        let name = target.clone().or_latest();
        self.store()?.name_image(Some(&name), &image.target, &Labels::new())?;
        let id = image.target.digest.to_string();
        self.tell_image("tag", &id, &name.familiar(), self.labels_of(&id).as_ref());
        Ok(())
    }

    /// The rows of a repository that have a tag, sorted by name.
    pub(super) fn tags_of(&self, repository: &Reference) -> Result<Vec<Image>> {
        let mut rows = self.store()?.images().list()?;
        let same = |n: &Reference| n.name() == repository.name() && n.tag().is_some();
        rows.retain(|row| row.name.as_ref().is_some_and(same));
        rows.sort_by_cached_key(|row| row.name.as_ref().map(ToString::to_string));
        Ok(rows)
    }

    /// The images that words of `save` mean: a bare name is all tags of its repository, an id or a digest the
    /// image without a name.
    pub(super) fn exports(&self, words: &[String]) -> Result<Vec<store::Export>> {
        let mut exports = Vec::new();
        for word in words {
            let parsed = AnyReference::parse(word);
            let found = self.find_image(word);
            let by_id = found.as_ref().is_ok_and(|image| is_id_of(word, &image.target.digest));
            match parsed {
                Ok(AnyReference::Named(name)) if !by_id && name.digest().is_none() => {
                    if name.tag().is_none() {
                        let rows = self.tags_of(&name)?;
                        if !rows.is_empty() {
                            exports.extend(rows.iter().map(store::Export::from));
                            continue;
                        }
                    }
                    exports.push(store::Export { target: found?.target, name: Some(name.or_latest()) });
                }
                _ => exports.push(store::Export { target: found?.target, name: None }),
            }
        }
        Ok(exports)
    }
}

/// Whether a word is an image's id or the beginning of it.
fn is_id_of(word: &str, digest: &Digest) -> bool {
    let hex = word.strip_prefix("sha256:").unwrap_or(word);
    !hex.is_empty() && digest.hex().starts_with(hex)
}
