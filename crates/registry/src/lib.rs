//! The registry client: names to manifests, manifests to unpacked images.
//!
//! Speaks the distribution spec over HTTP/1.1, with TLS everywhere but on loopback and to registries that an
//! administrator named; tokens, proxies and client certificates as Docker. Host names are looked up by code of
//! our own: the program is static and must not call getaddrinfo.
//!
//! A pull is one pipeline. Up to three layers download at once, each into its blob; one thread unpacks
//! them in order, reading blobs while they are written. Memory is bounded by the queues between the
//! socket and the disk. What the server says is not believed: sizes are limits, digests are verified.

#![warn(missing_docs)]

mod auth;
mod blob;
mod connect;
mod dns;
mod endpoint;
mod error;
mod http;
mod login;
mod payload;
mod progress;
mod proxy;
mod pull;
mod push;
mod remote;
mod resolve;
mod search;
mod settings;
mod tls;
mod upload;

pub use auth::Credentials;
pub use error::{Error, Kind, Result};
pub use login::LoggedIn;
pub use progress::{Detail, LayerState, Message, Progress, UploadState};
pub use proxy::Proxies;
pub use pull::Pulled;
pub use push::Pushed;
pub use remote::Remote;
pub use resolve::Resolved;
pub use search::Found;
pub use settings::Settings;

use oci::{Platform, Reference};
use std::sync::Arc;
use store::Store;

/// As many tags as `pull -a` takes at most.
const MAX_TAGS: usize = 10_000;

/// A client for all registries.
#[derive(Debug, Clone, Default)]
pub struct Client {
    http: Arc<http::Http>,
    credentials: Credentials,
}

impl Client {
    /// A client that does what an administrator said.
    pub fn new(settings: Settings) -> Self {
        Client { http: Arc::new(http::Http::new(settings)), credentials: Credentials::default() }
    }

    /// The same for one person, known at the registry that is asked.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// The tags of a repository.
    pub async fn tags(&self, repository: &Reference) -> Result<Vec<String>> {
        self.repository(repository)?.tags(MAX_TAGS).await
    }

    /// Asks the registry itself what a reference is: one request when the registry answers with a digest.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved> {
        let reference = reference.clone().or_latest();
        let resolved = match self.repository(&reference) {
            Ok(repository) => repository.resolve(&reference).await,
            Err(e) => Err(e),
        };
        resolved.map_err(|e| Error::Resolve { reference: reference.to_string(), source: Box::new(e) })
    }

    /// Brings the image for `platform` into the store, unpacks it and names it. `progress` is told what
    /// Docker would show, as it happens; the last two are the digest and the status.
    ///
    /// Dropped half-way, what was downloaded stays to be continued and nothing is named.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        store: &Store,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Pulled> {
        pull::pull(self, reference, platform, store, progress).await
    }

    /// The registry's own repository.
    fn repository(&self, reference: &Reference) -> Result<resolve::Repository> {
        let endpoint = endpoint::Endpoint::of(reference, &self.http.settings.insecure)?;
        let authorizer = Arc::new(auth::Authorizer::new(self.credentials.clone()));
        Ok(resolve::Repository::new(self.http.clone(), endpoint, authorizer, reference.path()))
    }

    /// Where to pull from: the mirrors of Docker Hub, which know nobody, then the registry itself.
    fn sources(&self, reference: &Reference) -> Result<Vec<resolve::Repository>> {
        let mut sources = Vec::new();
        if reference.domain() == oci::DEFAULT_DOMAIN {
            for mirror in &self.http.settings.mirrors {
                // The administrator's word was checked when it was read; what is no address is none.
                let Some((endpoint, _)) = endpoint::Endpoint::of_url(mirror, &self.http.settings.insecure)
                else {
                    continue;
                };
                let nobody = Arc::new(auth::Authorizer::default());
                sources.push(resolve::Repository::new(self.http.clone(), endpoint, nobody, reference.path()));
            }
        }
        sources.push(self.repository(reference)?);
        Ok(sources)
    }
}

#[cfg(test)]
mod tests;
