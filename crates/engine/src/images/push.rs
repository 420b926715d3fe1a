//! `push`, `search`, `login` and what a registry says of a name: the registry client with an engine's policy.

use super::history::not_provided;
use super::pull::{PullEvent, registry_error};
use super::{Engine, Progress, store_error};
use crate::error::{Error, Kind, Result, chain};
use oci::{Descriptor, Matcher, Platform, Reference};
use registry::Credentials;
use store::Image;

pub use registry::Found;

/// The fewest and most results of a search, and how many without a wish (dockerd's).
const SEARCH_LIMITS: std::ops::RangeInclusive<i64> = 1..=100;
const SEARCH_DEFAULT: u32 = 25;

/// An image was pushed instead of the index that has it, because the rest of it is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// The index.
    pub index: Descriptor,
    /// What was pushed.
    pub manifest: Descriptor,
}

/// Which results of a search are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct SearchFilter {
    /// Only official ones, or only others.
    pub official: Option<bool>,
    /// Only those that the hub builds, or only others.
    pub automated: Option<bool>,
    /// At least so many stars.
    pub stars: i64,
}

impl Engine {
    /// Pushes one tag, or without one all tags of the repository.
    pub async fn push_images(
        &self,
        name: &Reference,
        platform: Option<&Platform>,
        credentials: Credentials,
        mut tell: impl FnMut(PullEvent) + Send,
    ) -> Result<()> {
        tell(PullEvent::Progress(Progress::PushesTo(name.name())));
        let images = match (name.tag(), name.digest()) {
            (None, None) => self.tags_of(name)?,
            _ => self.store()?.images().get(name)?.into_iter().collect(),
        };
        if images.is_empty() {
            return Err(if name.is_name_only() {
                Error::not_found(format!("An image does not exist locally with the tag: {}", name.familiar()))
            } else {
                Error::not_found(format!("tag does not exist: {}", name.familiar()))
            });
        }
        let client = self.registry()?.with_credentials(credentials);
        for image in images {
            self.push_one(&client, &image, platform, &mut tell).await?;
            if let Some(name) = &image.name {
                let familiar = name.familiar();
                let labels = self.labels_of(&familiar);
                self.tell_image("push", &familiar, &name.familiar_name(), labels.as_ref());
            }
        }
        Ok(())
    }

    async fn push_one(
        &self,
        client: &registry::Client,
        image: &Image,
        platform: Option<&Platform>,
        tell: &mut (impl FnMut(PullEvent) + Send),
    ) -> Result<()> {
        let store = self.store()?.clone();
        let Some(name) = &image.name else { return Ok(()) };
        let of = |matcher: &Matcher| store.view(&image.target, matcher).map(|view| view.descriptor);
        let target = match platform {
            None => image.target.clone(),
            Some(platform) => {
                of(&Matcher::strict(platform)).map_err(|_| not_provided(&name.familiar(), platform))?
            }
        };
        let pushed = client.push(name, &target, &store, |p| tell(PullEvent::Progress(p))).await;
        let missing = matches!(&pushed, Err(registry::Error::Store(store::Error::ContentNotFound(_))));
        if !missing || platform.is_some() {
            return pushed.map(drop).map_err(push_error);
        }
        // An index is rarely here with all its platforms: then its image for this machine goes, as with dockerd.
        let manifest = of(&Matcher::only(&Platform::host())).map_err(store_error)?;
        if manifest.digest == target.digest {
            return pushed.map(drop).map_err(push_error);
        }
        client.push(name, &manifest, &store, |p| tell(PullEvent::Progress(p))).await.map_err(push_error)?;
        tell(PullEvent::Instead(Box::new(Instead { index: target, manifest })));
        Ok(())
    }

    /// Names in a registry's index.
    pub async fn search_images(
        &self,
        term: &str,
        limit: i64,
        filter: SearchFilter,
        credentials: &Credentials,
    ) -> Result<Vec<Found>> {
        if limit != 0 && !SEARCH_LIMITS.contains(&limit) {
            return Err(Error::invalid(format!("limit {limit} is outside the range of [1, 100]")));
        }
        if term.contains("://") {
            return Err(Error::invalid(format!(
                "invalid repository name: repository name ({term}) should not have a scheme"
            )));
        }
        let limit = u32::try_from(limit).ok().filter(|l| *l > 0).unwrap_or(SEARCH_DEFAULT);
        let mut found = self.registry()?.search(term, limit, credentials).await.map_err(plain_error)?;
        found.retain(|one| {
            filter.official.is_none_or(|wanted| wanted == one.is_official)
                && filter.automated.is_none_or(|wanted| wanted == one.is_automated)
                && one.star_count >= filter.stars
        });
        Ok(found)
    }

    /// Shows credentials to a registry; returns a token to keep instead of the password, or nothing.
    pub async fn log_in(&self, server: &str, credentials: &Credentials) -> Result<String> {
        let logged_in = self.registry()?.login(server, credentials).await.map_err(plain_error)?;
        Ok(logged_in.identity_token)
    }

    /// What a name stands for in its registry.
    pub async fn resolve_remote(
        &self,
        name: &Reference,
        credentials: Credentials,
    ) -> Result<registry::Remote> {
        let client = self.registry()?.with_credentials(credentials);
        client.remote(&name.clone().or_latest()).await.map_err(registry_error)
    }

    /// The client for all registries.
    pub(super) fn registry(&self) -> Result<registry::Client> {
        Ok(registry::Client::new(self.registry_settings()))
    }
}

fn push_error(error: registry::Error) -> Error {
    match error {
        registry::Error::Unauthorized(why) => Error::new(
            Kind::Unauthorized,
            format!("push access denied, repository does not exist or may require authorization: {why}"),
        ),
        other => registry_error(other),
    }
}

/// dockerd classes what its login and search meet only where the registry refuses somebody.
fn plain_error(error: registry::Error) -> Error {
    let kind = match error.kind() {
        registry::Kind::Unauthorized => Kind::Unauthorized,
        _ => Kind::Internal,
    };
    Error::new(kind, chain(&error))
}
