//! The registry client: names to manifests, manifests to unpacked images.
//!
//! Speaks the distribution spec's pull half over HTTP/1.1. Registries on loopback (and those named as
//! insecure) are spoken to in plain HTTP, as Docker does; HTTPS is not here yet and is refused by name.
//! Host names are looked up in /etc/hosts only: the program is static and must not call getaddrinfo.
//!
//! A pull is one pipeline. Up to three layers download at once, each into its blob; one thread unpacks
//! them in order, reading blobs while they are written. Memory is bounded by the queues between the
//! socket and the disk. What the server says is not believed: sizes are limits, digests are verified.

#![warn(missing_docs)]

mod blob;
mod endpoint;
mod error;
mod http;
mod progress;
mod pull;
mod resolve;

pub use error::{Error, Kind, Result};
pub use progress::{Detail, LayerState, Message, Progress};
pub use pull::Pulled;
pub use resolve::Resolved;

use oci::{Platform, Reference};
use std::sync::Arc;
use store::Store;

/// A client for all registries.
#[derive(Debug, Clone, Default)]
pub struct Client {
    insecure: Arc<Vec<String>>,
    http: Arc<http::Http>,
}

impl Client {
    /// A client that speaks plain HTTP to registries on loopback only.
    pub fn new() -> Self {
        Client::default()
    }

    /// The same, with plain HTTP to these registries too (`host`, `host:port`), as dockerd's
    /// `insecure-registries`.
    #[must_use]
    pub fn with_insecure(mut self, registries: Vec<String>) -> Self {
        self.insecure = Arc::new(registries);
        self
    }

    /// Asks the registry what a reference is: one request when the registry answers with a digest.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved> {
        let reference = reference.clone().or_latest();
        let repository = self.repository(&reference);
        let resolved = match repository {
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

    fn repository(&self, reference: &Reference) -> Result<resolve::Repository> {
        let endpoint = endpoint::Endpoint::of(reference, &self.insecure)?;
        Ok(resolve::Repository::new(self.http.clone(), endpoint, reference.path()))
    }
}

#[cfg(test)]
mod tests;
