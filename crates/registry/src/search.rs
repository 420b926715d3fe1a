//! `search`: a registry's index of names (the first protocol's `/v1/search`, which Docker Hub still answers).

use crate::Client;
use crate::auth::{Credentials, escape};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Result};
use crate::http::Ask;
use crate::payload::Payload;
use http::Method;
use serde::Deserialize;

const HUB_INDEX: &str = "index.docker.io";
/// A hundred results with long descriptions.
const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// Texts go to a terminal.
const MAX_TEXT_CHARS: usize = 1000;

/// One repository found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it says of itself.
    #[serde(default)]
    pub description: String,
    /// How many like it.
    #[serde(default)]
    pub star_count: i64,
    /// Docker's own.
    #[serde(default)]
    pub is_official: bool,
    /// Built by the hub.
    #[serde(default)]
    pub is_automated: bool,
}

impl Client {
    /// Asks for names with `term` in them: `HOST/word` asks another registry than Docker Hub.
    pub async fn search(&self, term: &str, limit: u32, credentials: &Credentials) -> Result<Vec<Found>> {
        #[derive(Deserialize)]
        struct Results {
            #[serde(default)]
            results: Option<Vec<Found>>,
        }
        let (host, word) = split(term);
        let endpoint = Endpoint::new(host, Scheme::Registry, &self.http.settings.insecure)?;
        let mut path = "/v1/search?q=".to_owned();
        escape(word, &mut path);
        path.push_str(&format!("&n={limit}"));
        let headers = [(http::HeaderName::from_static("x-docker-token"), "true".to_owned())];
        let authorization = credentials.basic();
        let ask = Ask {
            method: &Method::GET,
            endpoint: &endpoint,
            path: &path,
            headers: &headers,
            authorization: authorization.as_deref(),
            payload: &Payload::None,
        };
        let mut answer = self.http.request(ask).await.map_err(Error::bare)?;
        if !answer.status.is_success() {
            return Err(Error::Search(answer.status.as_u16()));
        }
        let bytes = answer.bytes("search results", MAX_ANSWER_BYTES).await?;
        let found: Results = oci::from_slice("search results", &bytes)?;
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect();
        let found = found.results.unwrap_or_default().into_iter().take(limit as usize);
        Ok(found
            .map(|one| Found { name: clean(&one.name), description: clean(&one.description), ..one })
            .collect())
    }
}

/// Registry and word; Docker Hub's own names lose their `library/`.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, word)) if host.contains(['.', ':']) || host == "localhost" => {
            if matches!(host, "docker.io" | "index.docker.io") { (HUB_INDEX, word) } else { (host, word) }
        }
        _ => (HUB_INDEX, term.strip_prefix("library/").unwrap_or(term)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms() {
        for (term, want) in [
            ("busybox", (HUB_INDEX, "busybox")),
            ("library/busybox", (HUB_INDEX, "busybox")),
            ("team/app", (HUB_INDEX, "team/app")),
            ("127.0.0.1:5000/foo", ("127.0.0.1:5000", "foo")),
            ("docker.io/foo", (HUB_INDEX, "foo")),
        ] {
            assert_eq!(split(term), want);
        }
    }
}
