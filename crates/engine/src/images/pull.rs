//! `pull`: the registry client brings the content, the store unpacks it, a name is given.

use super::Engine;
use crate::error::{Error, Kind, Result, chain};
use oci::{Platform, Reference};

pub use registry::Progress;

/// What a pull says while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum PullEvent {
    /// Of the registry client.
    Progress(Progress),
    /// A line of ours.
    Status(String),
}

impl Engine {
    /// Pulls an image; what happens is told to `tell` as it happens.
    pub async fn pull_image(
        &self,
        name: &str,
        platform: Option<&str>,
        mut tell: impl FnMut(PullEvent) + Send,
    ) -> Result<()> {
        let reference = Reference::parse(name)?;
        let reference = if reference.digest().is_none() { reference.or_latest() } else { reference };
        if self.is_hello(&reference) {
            let id = self.install_hello(&reference)?;
            tell(PullEvent::Status(format!("Digest: {id}")));
            tell(PullEvent::Status("Status: Built-in image, made of the tare-runtime program".to_string()));
            return Ok(());
        }
        let platform = match platform.filter(|p| !p.is_empty()) {
            Some(text) => Platform::parse(text)?,
            None => Platform::host(),
        };
        let store = self.store()?.clone();
        let client = registry::Client::new();
        client
            .pull(&reference, &platform, &store, |p| tell(PullEvent::Progress(p)))
            .await
            .map_err(registry_error)?;
        Ok(())
    }
}

fn registry_error(error: registry::Error) -> Error {
    let kind = match error.kind() {
        registry::Kind::NotFound => Kind::NotFound,
        registry::Kind::Unauthorized => Kind::Unauthorized,
        registry::Kind::Unavailable => Kind::Unavailable,
        registry::Kind::Unsupported => Kind::NotImplemented,
        registry::Kind::Invalid => Kind::InvalidParameter,
        registry::Kind::Internal => Kind::Internal,
    };
    Error::new(kind, chain(&error))
}
