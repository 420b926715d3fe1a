//! One repository of one registry: resolving references, fetching documents, opening blobs.
//! Distribution spec, "Pulling manifests" and "Pulling blobs".

use crate::auth::Authorizer;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::http::{Answer, Ask, Http};
use crate::payload::Payload;
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

/// How long one request may wait in all for a registry that asks to come again.
const MAX_WAITING: Duration = Duration::from_secs(30);
/// Tokens that one request may need: the first, and one that expired meanwhile.
const MAX_RENEWALS: u32 = 2;

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
    authorizer: Arc<Authorizer>,
    base: String,
}

impl Repository {
    pub(crate) fn settings(&self) -> &crate::Settings {
        &self.http.settings
    }

    pub(crate) fn new(http: Arc<Http>, endpoint: Endpoint, authorizer: Arc<Authorizer>, path: &str) -> Self {
        Repository { http, endpoint, authorizer, base: format!("/v2/{path}") }
    }

    /// The same, also allowed to read another repository.
    pub(crate) fn reading(&self, other: &str) -> Self {
        let authorizer = self.authorizer.with_scope(format!("repository:{other}:pull"));
        Repository { authorizer: Arc::new(authorizer), ..self.clone() }
    }

    /// The same, to be written to.
    pub(crate) fn writing(&self) -> Self {
        let authorizer = self.authorizer.writing(self.base.trim_start_matches("/v2/"));
        Repository { authorizer: Arc::new(authorizer), ..self.clone() }
    }

    /// The path below which all its requests go.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Host and port of the registry.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The place that a Location header means.
    pub(crate) fn place(&self, location: &str) -> Option<(Endpoint, String)> {
        self.http.resolve(&self.endpoint, location)
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

    /// The tags of the repository, at most `limit` (distribution spec, "Listing Tags").
    pub(crate) async fn tags(&self, limit: usize) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Tags {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut tags: Vec<String> = Vec::new();
        let mut path = format!("{}/tags/list", self.base);
        loop {
            let mut answer = self.ask(&Method::GET, &path, &[]).await?;
            let name = self.base.trim_start_matches("/v2/").to_owned();
            check(&mut answer, "GET", || Error::NotFound(name)).await?;
            let next = next_page(answer.header("link").unwrap_or_default());
            let bytes = answer.bytes("list of tags", MAX_DOCUMENT_BYTES as u64).await?;
            let page: Tags = oci::from_slice("list of tags", &bytes)?;
            tags.extend(page.tags.unwrap_or_default().into_iter().filter(|tag| oci::is_tag(tag)));
            if tags.len() > limit {
                return Err(Error::TooLarge { what: "list of tags".into(), limit: limit as u64 });
            }
            // A page of the same repository, or none.
            match next.filter(|next| next.starts_with(&format!("{}/tags/list?", self.base)) && *next != path)
            {
                Some(next) => path = next,
                None => return Ok(tags),
            }
        }
    }

    /// Sends a request without content.
    pub(crate) async fn ask(
        &self,
        method: &Method,
        path: &str,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Answer> {
        self.send(method, (&self.endpoint, path), headers, &Payload::None).await
    }

    /// Sends a request; an answer that asks for a token or to come again is followed up, the same 5xx only once.
    pub(crate) async fn send(
        &self,
        method: &Method,
        (endpoint, path): (&Endpoint, &str),
        headers: &[(header::HeaderName, String)],
        payload: &Payload,
    ) -> Result<Answer> {
        let mut last = None;
        let (mut tries, mut renewals, mut waited) = (0, 0, Duration::ZERO);
        loop {
            // An upload may go to another host, which is told nothing of us.
            let own = endpoint.authority == self.endpoint.authority;
            let used = self.authorizer.current().filter(|_| own);
            let ask = Ask { method, endpoint, path, headers, authorization: used.as_deref(), payload };
            let mut answer = self.http.request(ask).await?;
            let status = answer.status;
            if status == StatusCode::UNAUTHORIZED && own && !answer.elsewhere && renewals < MAX_RENEWALS {
                renewals += 1;
                self.authorizer.renew(&self.http, &answer, &self.endpoint, used.as_deref()).await?;
                let _ = answer.bytes("error", MAX_ERROR_BYTES).await;
                continue;
            }
            let again = match status.as_u16() {
                408 | 429 => true,
                500 | 503 | 504 => last != Some(status),
                _ => false,
            };
            let wait = answer.header("retry-after").and_then(retry_after).unwrap_or(delay(tries));
            // Longer than a person waits: the registry's refusal is the better answer.
            if !again || tries >= MAX_RETRIES || wait > MAX_DELAY || waited + wait > MAX_WAITING {
                return Ok(answer);
            }
            tries += 1;
            waited += wait;
            last = Some(status);
            // Read, so that the connection can be used again; a large one is not worth it.
            let _ = answer.bytes("error", MAX_ERROR_BYTES).await;
            tokio::time::sleep(wait).await;
        }
    }
}

/// The path in a Link header's `rel="next"` (RFC 8288, as registries write it).
fn next_page(link: &str) -> Option<String> {
    let (target, parameters) = link.split_once('>')?;
    let target = target.trim().strip_prefix('<')?;
    let path = target.find("/v2/").map(|at| target[at..].to_owned())?;
    parameters.contains("next").then_some(path)
}

/// RFC 9110, 10.2.3, in seconds; a date is taken for "later than we wait".
fn retry_after(text: &str) -> Option<Duration> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) if text.contains(':') => Some(Duration::MAX / 4),
        Err(_) => None,
    }
}

/// How long to wait before the next try.
pub(crate) fn delay(tries: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << tries.min(10)).min(MAX_DELAY)
}

/// Turns an answer that is not a success into an error, with the registry's own words if it has any.
pub(crate) async fn check(
    answer: &mut Answer,
    method: &'static str,
    not_found: impl FnOnce() -> Error,
) -> Result<()> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    match status {
        StatusCode::NOT_FOUND => return Err(not_found()),
        StatusCode::UNAUTHORIZED => return Err(Error::Unauthorized("authorization failed".to_owned())),
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
pub(crate) fn explanation(body: &[u8]) -> Option<String> {
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
