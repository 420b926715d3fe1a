//! Who we are to a registry: Basic, or a token from the server that its challenge names.
//!
//! Token protocol of the distribution project (`WWW-Authenticate: Bearer realm=…,service=…,scope=…`): GET with
//! Basic or nobody's name, or a form with an identity token. A token is used until the registry refuses it; then,
//! in the middle of a pull too, the next challenge gets the next one. Several requests that are refused at once ask
//! for one token. Credentials go to the registry itself and to a realm over TLS; to one without only if the
//! registry has none either.

use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Result};
use crate::http::{Answer, Ask, Http};
use crate::payload::Payload;
use crate::resolve::explanation;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, Method, StatusCode, header};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A token of Docker Hub has about 5 kB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;
const MAX_CHALLENGE_BYTES: usize = 8 << 10;
/// What Docker's programs call themselves to a token server.
const CLIENT_ID: &str = "docker";

/// What a person is known by at one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// Its password or access token.
    pub password: String,
    /// A refresh token, instead of both.
    pub identity_token: String,
    /// A token for the registry itself: no server is asked for one.
    pub registry_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?})", self.username)
    }
}

impl Credentials {
    pub(crate) fn basic(&self) -> Option<String> {
        if self.username.is_empty() && self.password.is_empty() {
            return None;
        }
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password))))
    }
}

/// What a challenge asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(HashMap<String, String>),
}

/// The authorization for one repository, shared by all its requests.
#[derive(Debug, Default)]
pub(crate) struct Authorizer {
    credentials: Credentials,
    /// Beyond what a challenge names: `repository:other:pull` for a mount.
    more_scope: Option<String>,
    /// A token to keep is asked for too.
    offline: bool,
    current: Mutex<Option<String>>,
    renewing: tokio::sync::Mutex<()>,
    /// What a token server gave to keep.
    refresh: Mutex<Option<String>>,
}

impl Authorizer {
    pub(crate) fn new(credentials: Credentials) -> Self {
        let current = (!credentials.registry_token.is_empty())
            .then(|| format!("Bearer {}", credentials.registry_token));
        Authorizer { credentials, current: Mutex::new(current), ..Authorizer::default() }
    }

    /// For requests that need another repository too.
    pub(crate) fn with_scope(&self, scope: String) -> Self {
        let more = match &self.more_scope {
            Some(before) => format!("{before} {scope}"),
            None => scope,
        };
        Authorizer { more_scope: Some(more), ..Authorizer::new(self.credentials.clone()) }
    }

    /// For a login: asks for a token that can be kept instead of the password.
    pub(crate) fn for_login(credentials: Credentials) -> Self {
        Authorizer { offline: true, ..Authorizer::new(credentials) }
    }

    /// The header's value to send.
    pub(crate) fn current(&self) -> Option<String> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a token server gave to keep instead of the password.
    pub(crate) fn refresh_token(&self) -> Option<String> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For requests that write to a repository: one token for all of them.
    pub(crate) fn writing(&self, repository: &str) -> Self {
        self.with_scope(format!("repository:{repository}:pull,push"))
    }

    /// Answers the challenge of a refused request that carried `used`.
    pub(crate) async fn renew(
        &self,
        http: &Arc<Http>,
        refused: &Answer,
        from: &Endpoint,
        used: Option<&str>,
    ) -> Result<()> {
        let _one = self.renewing.lock().await;
        // Somebody else was refused too and has a new one already.
        if self.current().as_deref() != used {
            return Ok(());
        }
        let challenges = challenges(refused);
        let bearer = challenges.iter().find_map(|c| match c {
            Challenge::Bearer(parameters) => Some(parameters),
            Challenge::Basic => None,
        });
        let value = match bearer {
            Some(parameters) => {
                if used.is_some() && parameters.get("error").is_some_and(|e| e == "insufficient_scope") {
                    return Err(Error::Unauthorized(
                        "server message: insufficient_scope: authorization failed".to_owned(),
                    ));
                }
                let secure = refused.url.starts_with("https:");
                format!("Bearer {}", self.token(http, parameters, from, secure).await?)
            }
            None if challenges.contains(&Challenge::Basic) => match self.credentials.basic() {
                Some(basic) if used != Some(basic.as_str()) => basic,
                Some(_) => return Err(Error::Unauthorized("authorization failed".to_owned())),
                None => {
                    return Err(Error::Unauthorized(
                        "authorization failed: no basic auth credentials".to_owned(),
                    ));
                }
            },
            None => return Err(Error::Unauthorized("authorization failed".to_owned())),
        };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    async fn token(
        &self,
        http: &Arc<Http>,
        parameters: &HashMap<String, String>,
        from: &Endpoint,
        secure: bool,
    ) -> Result<String> {
        let realm = parameters.get("realm").map(String::as_str).unwrap_or_default();
        let invalid = || Error::Token {
            how: self.how(),
            why: format!("invalid token auth challenge realm: {realm:?}"),
        };
        let (endpoint, path) = http.resolve(from, realm).ok_or_else(invalid)?;
        let in_clear = endpoint.scheme == Scheme::Http && endpoint.authority != from.authority;
        if in_clear && secure && !endpoint.insecure {
            return Err(Error::Token { how: self.how(), why: format!("the realm {realm:?} is not HTTPS") });
        }
        let mut query: Vec<(&str, String)> = Vec::new();
        if let Some(service) = parameters.get("service") {
            query.push(("service", service.clone()));
        }
        let more = self.more_scope.iter().flat_map(|scopes| scopes.split(' ')).map(str::to_owned);
        let mut scopes: Vec<String> = parameters.get("scope").cloned().into_iter().collect();
        for scope in more {
            // What allows writing allows what the challenge asks for.
            scopes.retain(|asked| !scope.starts_with(&format!("{asked},")) && *asked != scope);
            scopes.push(scope);
        }
        query.extend(scopes.into_iter().map(|scope| ("scope", scope)));
        let mut answer = if self.credentials.identity_token.is_empty() {
            self.get(http, &endpoint, &path, query).await?
        } else {
            self.post(http, &endpoint, &path, query).await?
        };
        if !answer.status.is_success() {
            return Err(self.refused(&mut answer).await);
        }
        let bytes = answer.bytes("token", MAX_TOKEN_BYTES).await?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|e| Error::Token {
            how: self.how(),
            why: format!("unable to decode token response: {e}"),
        })?;
        if !token.refresh_token.is_empty() {
            *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.refresh_token);
        }
        let value = if token.access_token.is_empty() { token.token } else { token.access_token };
        // It becomes a header.
        if value.is_empty() || value.bytes().any(|b| !(0x21..0x7f).contains(&b)) {
            return Err(Error::Token {
                how: self.how(),
                why: "authorization server did not include a token in the response".to_owned(),
            });
        }
        Ok(value)
    }

    async fn get(
        &self,
        http: &Arc<Http>,
        endpoint: &Endpoint,
        path: &str,
        mut query: Vec<(&str, String)>,
    ) -> Result<Answer> {
        if !self.credentials.username.is_empty() {
            query.push(("account", self.credentials.username.clone()));
        }
        if self.offline {
            query.push(("client_id", CLIENT_ID.to_owned()));
            query.push(("offline_token", "true".to_owned()));
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}{}", encode_form(&query));
        let basic = self.credentials.basic();
        let ask = Ask {
            method: &Method::GET,
            endpoint,
            path: &path,
            headers: &[],
            authorization: basic.as_deref(),
            payload: &Payload::None,
        };
        http.request(ask).await.map_err(|e| self.failed(e))
    }

    async fn post(
        &self,
        http: &Arc<Http>,
        endpoint: &Endpoint,
        path: &str,
        mut form: Vec<(&str, String)>,
    ) -> Result<Answer> {
        form.push(("grant_type", "refresh_token".to_owned()));
        form.push(("refresh_token", self.credentials.identity_token.clone()));
        form.push(("client_id", CLIENT_ID.to_owned()));
        let headers: [(HeaderName, String); 1] =
            [(header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
        let payload = Payload::Bytes(encode_form(&form).into_bytes().into());
        let method = &Method::POST;
        let ask = Ask { method, endpoint, path, headers: &headers, authorization: None, payload: &payload };
        http.request(ask).await.map_err(|e| self.failed(e))
    }

    fn how(&self) -> &'static str {
        if self.credentials == Credentials::default() { "anonymous" } else { "oauth" }
    }

    fn failed(&self, source: Error) -> Error {
        Error::Authorize { how: self.how(), source: Box::new(source) }
    }

    async fn refused(&self, answer: &mut Answer) -> Error {
        let status = answer.status;
        let url = answer.url.clone();
        let body = answer.bytes("error", MAX_TOKEN_BYTES).await.unwrap_or_default();
        let text = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let method = if self.credentials.identity_token.is_empty() { "GET" } else { "POST" };
        let source = Error::Status { method, url, status: text.trim_end().to_owned(), code: status.as_u16() };
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Error::Denied { how: self.how(), why: details(&body), source: Box::new(source) };
        }
        self.failed(source)
    }
}

/// What a token server says to a person: `details` as Docker Hub's, or the distribution project's errors.
fn details(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Details {
        details: String,
    }
    let own = serde_json::from_slice::<Details>(body).ok().map(|d| d.details).filter(|d| !d.is_empty());
    let text =
        own.or_else(|| explanation(body)).unwrap_or_else(|| "incorrect username or password".to_owned());
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
}

fn encode_form(pairs: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

/// Percent-encoding for a value in a query (Go's `url.QueryEscape`).
pub(crate) fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The challenges of an answer that are understood.
pub(crate) fn challenges(answer: &Answer) -> Vec<Challenge> {
    let values = answer.headers.get_all(header::WWW_AUTHENTICATE);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|text| text.len() <= MAX_CHALLENGE_BYTES)
        .filter_map(challenge)
        .collect()
}

/// RFC 9110, 11.6.1, one challenge.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = HashMap::new();
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let mut value = String::new();
        let after = after.trim_start();
        rest = if let Some(quoted) = after.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => value.extend(chars.next().map(|(_, c)| c)),
                    c => value.push(c),
                }
            }
            &quoted[end..]
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
            &after[end..]
        };
        parameters.insert(name.trim().to_ascii_lowercase(), value);
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    Some(Challenge::Bearer(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            Some(Challenge::Bearer(pairs.collect()))
        };
        for (text, want) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"",
                bearer(&[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:a/b:pull,push"),
                ]),
            ),
            (
                "bearer Realm=plain, error=invalid_token",
                bearer(&[("realm", "plain"), ("error", "invalid_token")]),
            ),
            ("Bearer realm=\"a\\\"b", bearer(&[("realm", "a\"b")])),
            ("Bearer", bearer(&[])),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(challenge(text), want, "{text}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        let pairs = [("scope", "repository:a/b:pull,push".to_owned()), ("service", "x y&z".to_owned())];
        assert_eq!(encode_form(&pairs), "scope=repository%3Aa%2Fb%3Apull%2Cpush&service=x+y%26z");
    }
}
