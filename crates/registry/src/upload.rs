//! One blob's way from the store to a registry (distribution spec, "Pushing a blob").
//!
//! In this order: is it there already; can it be mounted from a repository of the same registry that is known to
//! have it; else it is sent in one PUT, or, to a registry that finds that too large, in chunks. The store's file is
//! what is sent, and the registry verifies the digest that it was named by.

use crate::auth::escape;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::payload::{Part, Payload};
use crate::resolve::{Repository, check, delay};
use http::{HeaderName, Method, StatusCode, header};
use oci::{Descriptor, Digest};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Uploads of one blob that may break before the push does.
const MAX_TRIES: u32 = 5;
/// A chunk, unless the registry wants larger ones; that too is bounded.
const CHUNK_LEN: u64 = 8 << 20;
const MAX_CHUNK_LEN: u64 = 1 << 30;

/// How a blob came to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Exists,
    Mounted(String),
    Uploaded,
}

/// A blob to upload.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) descriptor: Descriptor,
    pub(crate) file: PathBuf,
    /// Repositories of this registry that have it.
    pub(crate) sources: Vec<String>,
    /// Bytes on their way.
    pub(crate) sent: Arc<AtomicU64>,
}

impl Upload {
    pub(crate) async fn run(&self, repository: &Repository) -> Result<Outcome> {
        if exists(repository, &self.descriptor.digest).await? {
            return Ok(Outcome::Exists);
        }
        let mut tries = 0;
        let mut chunked = false;
        loop {
            let place = match self.mount(repository).await? {
                Begun::Mounted(from) => return Ok(Outcome::Mounted(from)),
                Begun::Place(place) => place,
            };
            let sent = if chunked {
                self.send_chunks(repository, place).await
            } else {
                self.send_whole(repository, &place).await
            };
            match sent {
                Ok(()) => return Ok(Outcome::Uploaded),
                Err(Error::Status { code: 413, .. }) if !chunked => chunked = true,
                Err(e) if e.is_transient() && tries < MAX_TRIES => {
                    tokio::time::sleep(delay(tries)).await;
                    tries += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Begins an upload; it may end here, when another repository has the blob.
    async fn mount(&self, repository: &Repository) -> Result<Begun> {
        let uploads = format!("{}/blobs/uploads/", repository.base());
        let target = repository.base().trim_start_matches("/v2/");
        if let Some(from) = candidate(target, &self.sources) {
            let mut path = format!("{uploads}?mount=");
            escape(self.descriptor.digest.as_str(), &mut path);
            path.push_str("&from=");
            escape(from, &mut path);
            // Whoever may not read that repository sends the blob: no failure of the mount ends a push.
            if let Ok(mut answer) = repository.reading(from).ask(&Method::POST, &path, &empty()).await {
                let place = answer.header("location").and_then(|l| repository.place(l));
                let status = answer.status;
                let _ = answer.chunk().await;
                match (status, place) {
                    (StatusCode::CREATED, _) => return Ok(Begun::Mounted(from.to_owned())),
                    (StatusCode::ACCEPTED, Some(place)) => return Ok(Begun::Place(place)),
                    _ => {}
                }
            }
        }
        let mut answer = repository.ask(&Method::POST, &uploads, &empty()).await?;
        check(&mut answer, "POST", || Error::NotFound(target.to_owned())).await?;
        let place = location(repository, answer.header("location"))?;
        answer.chunk().await?;
        Ok(Begun::Place(place))
    }

    async fn send_whole(&self, repository: &Repository, (endpoint, path): &(Endpoint, String)) -> Result<()> {
        let path = with_digest(path, &self.descriptor.digest);
        let payload = Payload::File(self.part(0, self.descriptor.size));
        let mut answer = repository.send(&Method::PUT, (endpoint, &path), &octets(), &payload).await?;
        done(&mut answer, "PUT").await
    }

    async fn send_chunks(&self, repository: &Repository, mut place: (Endpoint, String)) -> Result<()> {
        let mut offset = 0;
        let mut len = CHUNK_LEN;
        while offset < self.descriptor.size {
            let end = (offset + len).min(self.descriptor.size);
            let mut headers = octets().to_vec();
            headers.push((header::CONTENT_RANGE, format!("{offset}-{}", end - 1)));
            let payload = Payload::File(self.part(offset, end - offset));
            let mut answer =
                repository.send(&Method::PATCH, (&place.0, &place.1), &headers, &payload).await?;
            let least = answer.header("oci-chunk-min-length").and_then(|l| l.parse::<u64>().ok());
            len = least.unwrap_or(len).clamp(CHUNK_LEN, MAX_CHUNK_LEN);
            let next = answer.header("location").map(str::to_owned);
            done(&mut answer, "PATCH").await?;
            place = location(repository, next.as_deref())?;
            offset = end;
        }
        let path = with_digest(&place.1, &self.descriptor.digest);
        let payload = Payload::Bytes(bytes::Bytes::new());
        let mut answer = repository.send(&Method::PUT, (&place.0, &path), &octets(), &payload).await?;
        done(&mut answer, "PUT").await
    }

    fn part(&self, offset: u64, len: u64) -> Part {
        Part { path: self.file.clone(), offset, len, sent: self.sent.clone() }
    }
}

enum Begun {
    Mounted(String),
    Place((Endpoint, String)),
}

/// Writes a manifest or index under a tag or its digest, unless that stands for it already: then nothing is
/// written, and nobody needs leave to write.
pub(crate) async fn put_manifest(
    repository: &Repository,
    object: &str,
    document: &Descriptor,
    bytes: Vec<u8>,
) -> Result<()> {
    let path = format!("{}/manifests/{object}", repository.base());
    let accept = [(header::ACCEPT, format!("{}, */*", document.media_type))];
    let mut answer = repository.ask(&Method::HEAD, &path, &accept).await?;
    let there = answer.header("docker-content-digest") == Some(document.digest.as_str());
    let there = there && answer.status.is_success();
    // A HEAD answer has no body; reading it gives the connection back.
    let _ = answer.chunk().await;
    if there {
        return Ok(());
    }
    let headers = [(header::CONTENT_TYPE, document.media_type.clone())];
    let payload = Payload::Bytes(bytes.into());
    let mut answer =
        repository.send(&Method::PUT, (repository.endpoint(), &path), &headers, &payload).await?;
    done(&mut answer, "PUT").await
}

async fn exists(repository: &Repository, digest: &Digest) -> Result<bool> {
    let path = format!("{}/blobs/{digest}", repository.base());
    let mut answer = repository.ask(&Method::HEAD, &path, &[]).await?;
    if answer.status == StatusCode::NOT_FOUND {
        let _ = answer.chunk().await;
        return Ok(false);
    }
    check(&mut answer, "HEAD", || Error::NotFound(digest.to_string())).await?;
    answer.chunk().await?;
    Ok(true)
}

async fn done(answer: &mut crate::http::Answer, method: &'static str) -> Result<()> {
    let url = answer.url.clone();
    if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
        let code = answer.status.as_u16();
        return Err(Error::Status { method, url, status: "413 Payload Too Large".to_owned(), code });
    }
    check(answer, method, || Error::Upload(format!("{url}: not found"))).await?;
    answer.chunk().await.map(drop)
}

fn location(repository: &Repository, header: Option<&str>) -> Result<(Endpoint, String)> {
    let header = header.ok_or_else(|| Error::Upload("the registry named no upload location".to_owned()))?;
    repository
        .place(header)
        .ok_or_else(|| Error::Header { header: "Location", value: header.chars().take(200).collect() })
}

fn with_digest(path: &str, digest: &Digest) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut path = format!("{path}{separator}digest=");
    escape(digest.as_str(), &mut path);
    path
}

fn empty() -> [(HeaderName, String); 1] {
    [(header::CONTENT_LENGTH, "0".to_owned())]
}

fn octets() -> [(HeaderName, String); 1] {
    [(header::CONTENT_TYPE, "application/octet-stream".to_owned())]
}

/// The repository to mount from: the one whose path has most of its beginning in common with the target's, the last
/// of equals, as containerd chooses.
fn candidate<'a>(target: &str, sources: &'a [String]) -> Option<&'a str> {
    let common = |source: &str| target.split('/').zip(source.split('/')).take_while(|(a, b)| a == b).count();
    sources.iter().map(String::as_str).filter(|source| *source != target).max_by_key(|source| common(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_come_from_the_nearest_repository() {
        for (target, sources, want) in [
            ("copy", &["busybox"][..], Some("busybox")),
            ("bb", &["busybox", "copy"], Some("copy")),
            ("team/app", &["team/base", "zoo/app"], Some("team/base")),
            ("copy", &["copy"], None),
            ("copy", &[], None),
        ] {
            let sources: Vec<String> = sources.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(candidate(target, &sources), want, "{target}");
        }
    }

    #[test]
    fn digests_are_appended() {
        let digest = Digest::sha256(b"");
        let hex = digest.hex();
        for (path, want) in [
            ("/up", format!("/up?digest=sha256%3A{hex}")),
            ("/up?a=b", format!("/up?a=b&digest=sha256%3A{hex}")),
        ] {
            assert_eq!(with_digest(path, &digest), want);
        }
    }
}
