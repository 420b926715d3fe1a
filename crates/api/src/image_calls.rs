//! The calls that name, move and look for images: tag, push, save, history, prune, search and login.
//!
//! As in [`crate::calls`], one method for each; credentials travel in `X-Registry-Auth`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::Error;
use crate::client::{Call, Client};
use crate::filters::Filters;
use crate::go::encode;
use crate::image::{AuthenticateOk, HistoryItem, Platform, PruneReport, SearchResult};
use crate::query::{Query, escape_path};
use crate::stream::{ByteStream, Messages};
use crate::system::AuthConfig;

/// What [`Client::image_push`] pushes.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// The repository, in its full or familiar form.
    pub name: String,
    /// The tag; empty for all tags.
    pub tag: String,
    /// Only this platform's image.
    pub platform: Option<Platform>,
    /// Credentials; empty ones are sent too, as dockerd wants the header.
    pub auth: AuthConfig,
}

/// What [`Client::image_search`] looks for.
#[derive(Debug, Clone, Default)]
pub struct SearchOptions {
    /// The word.
    pub term: String,
    /// The most results; 0 for the engine's choice.
    pub limit: i64,
    /// Only those that match.
    pub filters: Filters,
    /// Credentials.
    pub auth: AuthConfig,
}

/// The value of `X-Registry-Auth`.
pub fn registry_auth(auth: &AuthConfig) -> String {
    URL_SAFE.encode(encode(auth))
}

/// The opposite of [`registry_auth`]. As with dockerd, what is none is nobody.
pub fn decode_registry_auth(header: &str) -> AuthConfig {
    let bytes = URL_SAFE.decode(header).or_else(|_| URL_SAFE_NO_PAD.decode(header)).unwrap_or_default();
    crate::go::decode(&bytes).unwrap_or_default()
}

/// What `config.json` keeps in `auth`, and a `Basic` authorization sends.
pub fn encode_basic(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

/// The opposite of [`encode_basic`]; none for what it did not make.
pub fn decode_basic(text: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (username, password) = plain.split_once(':')?;
    // Old clients padded it with NULs.
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

impl Client {
    /// `POST /images/{name}/tag`
    pub async fn image_tag(&self, source: &str, repository: &str, tag: &str) -> Result<(), Error> {
        let path = image(source, "/tag");
        self.order(Call::post(&path).query(Query::new().set("repo", repository).set_text("tag", tag))).await
    }

    /// `GET /images/{name}/history`
    pub async fn image_history(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryItem>, Error> {
        let path = image(name, "/history");
        let platform = platform.map(encode).unwrap_or_default();
        self.fetch(Call::get(&path).query(Query::new().set_text("platform", &platform))).await
    }

    /// `GET /images/get`: the archive.
    pub async fn image_save(
        &self,
        names: &[String],
        platform: Option<&Platform>,
    ) -> Result<ByteStream, Error> {
        let mut query = Query::new();
        for name in names {
            query = query.set("names", name.clone());
        }
        let platform = platform.map(encode).unwrap_or_default();
        self.send(Call::get("/images/get").query(query.set_text("platform", &platform))).await
    }

    /// `POST /images/{name}/push`: progress. An error in the stream is a message with `error_detail`.
    pub async fn image_push(&self, options: &PushOptions) -> Result<Messages, Error> {
        let path = image(&options.name, "/push");
        let platform = options.platform.as_ref().map(encode).unwrap_or_default();
        let query = Query::new().set_text("platform", &platform).set_text("tag", &options.tag);
        let call = Call::post(&path).query(query);
        let call = call.header("x-registry-auth", &registry_auth(&options.auth))?;
        Ok(Messages::new(self.send(call).await?))
    }

    /// `POST /images/prune`
    pub async fn image_prune(&self, filters: &Filters) -> Result<PruneReport, Error> {
        let query = Query::new().set_text("filters", &filters.to_param());
        self.fetch(Call::post("/images/prune").query(query)).await
    }

    /// `GET /images/search`
    pub async fn image_search(&self, options: &SearchOptions) -> Result<Vec<SearchResult>, Error> {
        let limit = if options.limit == 0 { String::new() } else { options.limit.to_string() };
        let query = Query::new()
            .set_text("filters", &options.filters.to_param())
            .set_text("limit", &limit)
            .set("term", options.term.clone());
        let call = Call::get("/images/search").query(query);
        self.fetch(call.header("x-registry-auth", &registry_auth(&options.auth))?).await
    }

    /// `POST /auth`: whether a registry takes these credentials.
    pub async fn registry_login(&self, auth: &AuthConfig) -> Result<AuthenticateOk, Error> {
        self.fetch(Call::post("/auth").json(auth)).await
    }
}

fn image(name: &str, rest: &str) -> String {
    format!("/images/{}{rest}", escape_path(name))
}
