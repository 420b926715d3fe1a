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
    /// A push did not send what was asked for.
    Instead(Box<super::Instead>),
}

impl Engine {
    /// Pulls an image; what happens is told to `tell` as it happens.
    pub async fn pull_image(
        &self,
        name: &str,
        platform: Option<&str>,
        credentials: registry::Credentials,
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
        let client = self.registry()?.with_credentials(credentials);
        client
            .pull(&reference, &platform, &store, |p| tell(PullEvent::Progress(p)))
            .await
            .map_err(|error| denied(error, &reference))?;
        let familiar = reference.familiar();
        let labels = self.labels_of(&familiar);
        self.tell_image("pull", &familiar, &reference.familiar_name(), labels.as_ref());
        Ok(())
    }

    /// Pulls every tag of a repository.
    pub async fn pull_all_tags(
        &self,
        repository: &str,
        platform: Option<&str>,
        credentials: registry::Credentials,
        mut tell: impl FnMut(PullEvent) + Send,
    ) -> Result<()> {
        let name = Reference::parse(repository)?.name_only();
        let client = self.registry()?.with_credentials(credentials.clone());
        for tag in client.tags(&name).await.map_err(registry_error)? {
            let one = name.clone().with_tag(&tag)?.to_string();
            self.pull_image(&one, platform, credentials.clone(), &mut tell).await?;
        }
        Ok(())
    }
}

/// A registry does not tell whether what somebody may not read exists; dockerd's text says so.
fn denied(error: registry::Error, reference: &Reference) -> Error {
    if !error.is_insufficient_scope() {
        return registry_error(error);
    }
    Error::not_found(format!(
        "pull access denied for {}, repository does not exist or may require 'docker login'",
        reference.familiar_name()
    ))
}

pub(super) fn registry_error(error: registry::Error) -> Error {
    let kind = match error.kind() {
        registry::Kind::NotFound => Kind::NotFound,
        registry::Kind::Unauthorized => Kind::Unauthorized,
        // As dockerd: a registry that does not answer is no state of this engine.
        registry::Kind::Unavailable | registry::Kind::Internal => Kind::Internal,
        registry::Kind::Unsupported => Kind::NotImplemented,
        registry::Kind::Invalid => Kind::InvalidParameter,
    };
    let class = match &error {
        // containerd's class of error, which dockerd shows here.
        registry::Error::Schema1(_) => "not implemented: ",
        _ => "",
    };
    Error::new(kind, format!("{class}{}", chain(&error)))
}
