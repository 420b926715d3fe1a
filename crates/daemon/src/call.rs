//! A request as an endpoint sees it: version, name, query, headers and a bounded body.
//!
//! Invariants: a JSON body is at most [`MAX_JSON_LEN`] long and must arrive within [`BODY_PATIENCE`]. Texts of
//! refusals are dockerd's (`api/server/httputils`). This file does not know any endpoint.

use std::time::Duration;

use api::ApiVersion;
use api::go::{Go, decode_json};
use api::json::{Json, SyntaxError};
use api::query::Query;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, UPGRADE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::hangup::Hangup;
use crate::reply::Refusal;
use crate::trace::Tracing;

/// The longest JSON body. The largest real ones, with an environment of many kilobytes, stay below one MiB.
pub(crate) const MAX_JSON_LEN: usize = 8 * 1024 * 1024;
/// How long a client may take to send a JSON body.
pub(crate) const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// A request that was found in the table of endpoints.
#[derive(Debug)]
pub(crate) struct Call {
    /// The API version it asks for; ours if it asks for none.
    pub version: ApiVersion,
    /// The name in the path, unescaped.
    pub name: String,
    /// Its parameters.
    pub query: Query,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, until somebody takes it.
    pub body: Option<Incoming>,
    /// The connection itself, if the client asks to take it over.
    pub upgrade: Option<OnUpgrade>,
    /// Tells when the client has gone.
    pub hangup: Hangup,
    /// Where kernel steps are recorded, if the client asks for that.
    pub tracing: Tracing,
    /// Whether waits have limits: not where client and engine are one process and time has no driver.
    pub impatient: bool,
}

impl Call {
    /// Whether the client speaks API 1.`minor` or newer.
    pub(crate) fn since(&self, minor: u32) -> bool {
        self.version >= ApiVersion::v1(minor)
    }

    /// Whether the client asks to take over the connection (`Upgrade: tcp`).
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.headers.contains_key(UPGRADE)
    }

    /// The JSON body; the type's zero value when there is none.
    pub(crate) async fn json_or_default<T: Go>(&mut self) -> Result<T, Refusal> {
        self.check_content_type()?;
        if self.has_no_body() {
            return Ok(T::default());
        }
        self.json().await
    }

    /// The JSON body, which must be there.
    pub(crate) async fn json_required<T: Go>(&mut self) -> Result<T, Refusal> {
        self.check_content_type()?;
        self.json().await
    }

    /// Takes a body that says nothing (Docker's client sends one with a push). An answer that comes before the
    /// request was read to its end closes the connection, and the client may see only that.
    pub(crate) async fn pass_over_body(&mut self) {
        // What is too long or too slow loses its connection, as it would have.
        let _ = self.collect().await;
    }

    /// Docker's check that a start has no body: seven bytes cannot hold a JSON object with a member.
    pub(crate) fn has_real_body(&self) -> bool {
        self.body_len().is_none_or(|len| len > 7)
    }

    fn has_no_body(&self) -> bool {
        self.body_len() == Some(0)
    }

    /// The length of the body, if the client tells it in advance.
    fn body_len(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), |body| body.size_hint().exact())
    }

    async fn json<T: Go>(&mut self) -> Result<T, Refusal> {
        let text = self.collect().await?;
        let invalid = |why: &dyn std::fmt::Display| Refusal::bad_request(format!("invalid JSON: {why}"));
        let (value, used) = match Json::parse_prefix(&text) {
            Err(SyntaxError::Empty) => return Err(invalid(&"got EOF while reading request body")),
            other => other.map_err(|e| invalid(&e))?,
        };
        let decoded = decode_json(value).map_err(|e| invalid(&e))?;
        // Go's Decoder.More: a closing bracket is no further content to it.
        let more = text[used..].iter().find(|b| !b.is_ascii_whitespace());
        if more.is_some_and(|b| !matches!(b, b']' | b'}')) {
            return Err(Refusal::bad_request("unexpected content after JSON"));
        }
        Ok(decoded)
    }

    async fn collect(&mut self) -> Result<Bytes, Refusal> {
        let Some(mut body) = self.body.take() else { return Ok(Bytes::new()) };
        if !self.impatient {
            return read_all(&mut body).await;
        }
        match tokio::time::timeout(BODY_PATIENCE, read_all(&mut body)).await {
            Ok(result) => result,
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the request body did not arrive within {} seconds", BODY_PATIENCE.as_secs()),
            )),
        }
    }

    fn check_content_type(&self) -> Result<(), Refusal> {
        let given = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let given = String::from_utf8_lossy(given);
        if given.is_empty() && self.has_no_body() {
            return Ok(());
        }
        let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/json" => Ok(()),
            "" => Err(Refusal::bad_request(format!(
                "malformed Content-Type header ({given}): mime: no media type"
            ))),
            _ => Err(Refusal::bad_request(format!(
                "unsupported Content-Type header ({given}): must be 'application/json'"
            ))),
        }
    }
}

async fn read_all(body: &mut Incoming) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|e| Refusal::bad_request(format!("invalid JSON: the request body broke off: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > MAX_JSON_LEN {
                return Err(Refusal::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the request body is larger than {MAX_JSON_LEN} bytes"),
                ));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// Go's `strconv.Atoi` for a parameter; dockerd does not class its error, so that it becomes a 500.
pub(crate) fn go_integer(function: &str, text: &str) -> Result<i64, Refusal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let shaped = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let why = if shaped { "value out of range" } else { "invalid syntax" };
    let parsed = if shaped { text.parse().ok() } else { None };
    parsed.ok_or_else(|| Refusal::internal(format!("strconv.{function}: parsing {}: {why}", go_quote(text))))
}

/// Docker's unsigned parameters of a window size.
pub(crate) fn window_size(query: &Query, key: &str, what: &str) -> Result<u16, Refusal> {
    let text = query.get(key);
    let refuse = |why: &str| Refusal::bad_request(format!("invalid resize {what} {}: {why}", go_quote(text)));
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("invalid syntax"));
    }
    let size: u32 = text.parse().map_err(|_| refuse("value out of range"))?;
    // The kernel's winsize has 16 bits.
    Ok(u16::try_from(size).unwrap_or(u16::MAX))
}

/// Go's `%q`, for text that a client sent.
pub(crate) fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_fail_in_gos_words() {
        assert_eq!(go_integer("Atoi", "-12").unwrap(), -12);
        assert_eq!(go_integer("Atoi", "+12").unwrap(), 12);
        for (text, expected) in [
            ("x", "strconv.Atoi: parsing \"x\": invalid syntax"),
            ("1.5", "strconv.Atoi: parsing \"1.5\": invalid syntax"),
            ("99999999999999999999", "strconv.Atoi: parsing \"99999999999999999999\": value out of range"),
            ("-", "strconv.Atoi: parsing \"-\": invalid syntax"),
        ] {
            assert_eq!(go_integer("Atoi", text).unwrap_err().message, expected);
        }
    }

    #[test]
    fn window_sizes() {
        for (text, expected) in [
            ("24", Ok(24)),
            ("70000", Ok(u16::MAX)),
            ("x", Err("invalid resize height \"x\": invalid syntax")),
            ("", Err("invalid resize height \"\": invalid syntax")),
            ("-1", Err("invalid resize height \"-1\": value out of range")),
            ("5000000000", Err("invalid resize height \"5000000000\": value out of range")),
        ] {
            let got = window_size(&Query::new().set("h", text), "h", "height");
            assert_eq!(got.map_err(|e| e.message), expected.map_err(str::to_owned), "{text}");
        }
    }
}
