//! `login`: whether a registry takes somebody's credentials.

use crate::Client;
use crate::auth::{Authorizer, Credentials};
use crate::endpoint::{Endpoint, HUB, Scheme};
use crate::error::{Error, Result};
use crate::http::{Ask, Http};
use crate::payload::Payload;
use crate::resolve::explanation;
use http::{Method, StatusCode};
use std::sync::Arc;

const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// What registries that say nothing are taken to mean.
const WRONG: &str = "incorrect username or password";

/// What a login gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoggedIn {
    /// A token to keep instead of the password, if the registry gives one.
    pub identity_token: String,
}

impl Client {
    /// Shows the credentials to the registry at `server` (a host, or an address as Docker stores it).
    pub async fn login(&self, server: &str, credentials: &Credentials) -> Result<LoggedIn> {
        let host = server.trim_start_matches("https://").trim_start_matches("http://");
        let host = host.split('/').next().unwrap_or(host);
        let host = if matches!(host, "" | "index.docker.io" | "docker.io") { HUB } else { host };
        let endpoint = Endpoint::new(host, Scheme::Registry, &self.http.settings.insecure)?;
        let authorizer = Authorizer::for_login(credentials.clone());
        let path = "/v2/";
        let first = call(&self.http, &endpoint, path, None).await?;
        if first.status.is_success() {
            // It asks nobody who they are.
            return Ok(LoggedIn::default());
        }
        let url = first.url.clone();
        let refused = |why: String| Error::Login { url: url.clone(), why };
        if first.status != StatusCode::UNAUTHORIZED {
            return Err(refused(format!("unexpected status: {}", first.status)));
        }
        match authorizer.renew(&self.http, &first, &endpoint, None).await {
            Ok(()) => {}
            Err(Error::Denied { why, .. }) => return Err(refused(format!("unauthorized: {why}"))),
            Err(Error::Unauthorized(_)) => return Err(refused(format!("unauthorized: {WRONG}"))),
            Err(e) => return Err(e),
        }
        let mut second = call(&self.http, &endpoint, path, authorizer.current().as_deref()).await?;
        if second.status.is_success() {
            return Ok(LoggedIn { identity_token: authorizer.refresh_token().unwrap_or_default() });
        }
        let body = second.bytes("error", MAX_ANSWER_BYTES).await.unwrap_or_default();
        let why = explanation(&body).unwrap_or_else(|| WRONG.to_owned());
        Err(refused(format!("unauthorized: {why}")))
    }
}

/// One request, with errors as Go's HTTP client words them.
async fn call(
    http: &Arc<Http>,
    endpoint: &Endpoint,
    path: &str,
    authorization: Option<&str>,
) -> Result<crate::http::Answer> {
    let ask =
        Ask { method: &Method::GET, endpoint, path, headers: &[], authorization, payload: &Payload::None };
    http.request(ask).await.map_err(Error::bare)
}
