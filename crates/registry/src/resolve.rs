//! One repository of one registry: resolving references, fetching documents, opening blobs.
//! Distribution spec, "Pulling manifests" and "Pulling blobs".

use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::http::{Answer, Http};
use http::{Method, StatusCode, header};
use oci::{Descriptor, Digest, MAX_DOCUMENT_BYTES, Reference, media_type};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// A registry's explanation of an error.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// Answers that ask to come again, per request.
const MAX_RETRIES: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// A registry may ask for more patience (Retry-After), but not for more than this.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// What a reference is, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// Its bytes, when the registry had to be asked for them (it gave no digest). They are verified by
    /// nothing but this answer.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// A repository that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    http: Arc<Http>,
    endpoint: Endpoint,
    base: String,
}

impl Repository {
    pub(crate) fn new(http: Arc<Http>, endpoint: Endpoint, path: &str) -> Self {
        Repository { http, endpoint, base: format!("/v2/{path}") }
    }

    /// HEAD the manifest; GET it when the answer lacks digest or length.
    pub(crate) async fn resolve(&self, reference: &Reference) -> Result<Resolved> {
        let object = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => oci::DEFAULT_TAG,
        };
        let path = format!("{}/manifests/{object}", self.base);
        let mut answer = self.ask(&Method::HEAD, &path, &accept_all()).await?;
        // Some registries have no HEAD for manifests.
        if answer.status == StatusCode::METHOD_NOT_ALLOWED {
            answer.chunk().await?;
            answer = self.ask(&Method::GET, &path, &accept_all()).await?;
        } else {
            check(&mut answer, "HEAD", || Error::NotFound(reference.to_string())).await?;
            // A HEAD answer has no body; reading it gives the connection back.
            answer.chunk().await?;
            if let Some(descriptor) = described(&answer, reference)? {
                return Ok(Resolved { descriptor, bytes: None });
            }
            answer = self.ask(&Method::GET, &path, &accept_all()).await?;
        }
        check(&mut answer, "GET", || Error::NotFound(reference.to_string())).await?;
        let media_type = content_type(&answer);
        let bytes = answer.bytes("manifest", MAX_DOCUMENT_BYTES as u64).await?;
        let descriptor = Descriptor::of(media_type, &bytes);
        if let Some(wanted) = reference.digest() {
            verify("manifest", wanted, &bytes)?;
        }
        Ok(Resolved { descriptor, bytes: Some(bytes) })
    }

    /// A manifest, index or configuration, verified.
    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let (place, kind) = match media_type::kind(&descriptor.media_type) {
            media_type::Kind::Index => ("manifests", "index"),
            media_type::Kind::Config => ("blobs", "config"),
            // Also when the registry did not tell the type of what it resolved.
            _ => ("manifests", "manifest"),
        };
        let limit = MAX_DOCUMENT_BYTES as u64;
        if descriptor.size > limit {
            return Err(Error::TooLarge { what: kind.to_owned(), limit });
        }
        let path = format!("{}/{place}/{}", self.base, descriptor.digest);
        let headers = [(header::ACCEPT, format!("{}, */*", descriptor.media_type))];
        let mut tries = 0;
        loop {
            match self.document_once(&path, &headers, kind, limit).await {
                Err(e) if e.is_transient() && tries < MAX_RETRIES => {
                    tokio::time::sleep(delay(tries)).await;
                    tries += 1;
                }
                Err(e) => return Err(e),
                Ok(bytes) => {
                    let (expected, actual) = (descriptor.size, bytes.len() as u64);
                    if actual < expected {
                        return Err(Error::ShortRead { expected, actual });
                    }
                    verify(kind, &descriptor.digest, &bytes)?;
                    return Ok(bytes);
                }
            }
        }
    }

    async fn document_once(
        &self,
        path: &str,
        headers: &[(header::HeaderName, String)],
        kind: &str,
        limit: u64,
    ) -> Result<Vec<u8>> {
        let mut answer = self.ask(&Method::GET, path, headers).await?;
        let url = answer.url.clone();
        check(&mut answer, "GET", || Error::BlobNotFound(url)).await?;
        answer.bytes(kind, limit).await
    }

    /// Opens a blob from `offset` on. The answer may be the whole blob (status 200) nevertheless.
    pub(crate) async fn blob(&self, digest: &Digest, offset: u64) -> Result<Answer> {
        let path = format!("{}/blobs/{digest}", self.base);
        let mut headers = vec![(header::ACCEPT, "*/*".to_owned())];
        if offset > 0 {
            headers.push((header::RANGE, format!("bytes={offset}-")));
        }
        let mut answer = self.ask(&Method::GET, &path, &headers).await?;
        let url = answer.url.clone();
        check(&mut answer, "GET", || Error::BlobNotFound(url)).await?;
        Ok(answer)
    }

    /// Sends a request; an answer that asks to come again is followed up, the same 5xx only once.
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Answer> {
        let mut last = None;
        for tries in 0.. {
            let mut answer = self.http.request(method, &self.endpoint, path, headers).await?;
            let status = answer.status;
            let again = match status.as_u16() {
                408 | 429 => true,
                500 | 503 | 504 => last != Some(status),
                _ => false,
            };
            if !again || tries >= MAX_RETRIES {
                return Ok(answer);
            }
            last = Some(status);
            let wanted = answer.header("retry-after").and_then(|s| s.parse().ok()).map(Duration::from_secs);
            // Read, so that the connection can be used again; a large one is not worth it.
            let _ = answer.bytes("error", MAX_ERROR_BYTES).await;
            tokio::time::sleep(wanted.unwrap_or(delay(tries)).min(MAX_DELAY)).await;
        }
        Err(Error::Worker("request"))
    }
}

/// How long to wait before the next try.
pub(crate) fn delay(tries: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << tries.min(10)).min(MAX_DELAY)
}

/// Turns an answer that is not a success into an error, with the registry's own words if it has any.
async fn check(answer: &mut Answer, method: &'static str, not_found: impl FnOnce() -> Error) -> Result<()> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    match status {
        StatusCode::NOT_FOUND => return Err(not_found()),
        StatusCode::UNAUTHORIZED => {
            let challenge = answer.header("www-authenticate").unwrap_or_default().to_ascii_lowercase();
            return Err(Error::Unauthorized(if challenge.starts_with("bearer") {
                "token authentication is not supported yet"
            } else {
                "authorization failed: no basic auth credentials"
            }));
        }
        _ => {}
    }
    let body = answer.bytes("error", MAX_ERROR_BYTES).await.unwrap_or_default();
    if let Some(message) = explanation(&body) {
        return Err(Error::Registry(message));
    }
    let text = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    Err(Error::Status {
        method,
        url: answer.url.clone(),
        status: text.trim_end().to_owned(),
        code: status.as_u16(),
    })
}

/// The first message of the distribution spec's error body.
fn explanation(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        message: String,
        #[serde(default)]
        detail: serde_json::Value,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let first = body.errors.into_iter().next().filter(|e| !e.message.is_empty())?;
    let message = match first.detail.as_str() {
        Some(detail) => format!("{} - {detail}", first.message),
        None => first.message,
    };
    // It goes to a terminal.
    Some(message.chars().filter(|c| !c.is_control()).take(500).collect())
}

/// The descriptor in a HEAD answer's headers; `None` when digest or length is missing.
fn described(answer: &Answer, reference: &Reference) -> Result<Option<Descriptor>> {
    let length: Option<u64> = answer.header("content-length").and_then(|l| l.parse().ok());
    let digest = match (answer.header("docker-content-digest"), reference.digest()) {
        // What was asked for by digest is that, or will fail its verification.
        (_, Some(wanted)) => wanted.clone(),
        (Some(text), None) => Digest::parse(text).map_err(|_| Error::Header {
            header: "Docker-Content-Digest",
            value: text.chars().take(200).collect(),
        })?,
        (None, None) => return Ok(None),
    };
    let limit = MAX_DOCUMENT_BYTES as u64;
    match length {
        Some(size) if size > limit => Err(Error::TooLarge { what: "manifest".into(), limit }),
        Some(size) => Ok(Some(Descriptor::new(content_type(answer), digest, size))),
        None => Ok(None),
    }
}

fn content_type(answer: &Answer) -> String {
    let text = answer.header("content-type").unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

fn accept_all() -> Vec<(header::HeaderName, String)> {
    vec![(header::ACCEPT, media_type::ACCEPT.join(", "))]
}

fn verify(kind: &'static str, expected: &Digest, bytes: &[u8]) -> Result<()> {
    let mut hasher = oci::Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual == *expected { Ok(()) } else { Err(Error::Digest { kind, expected: expected.clone(), actual }) }
}
