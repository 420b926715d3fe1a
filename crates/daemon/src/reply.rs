//! Answers: their bodies, Docker's headers, and the only table from the engine's errors to HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use api::go::{Go, encode, encode_line};
use api::system::{ErrorResponse, Message, MessageError};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// How many chunks of a streamed answer may wait for a slow client.
pub(crate) const CHUNKS_IN_FLIGHT: usize = 4;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// Whole.
    Full(Option<Bytes>),
    /// As it comes.
    Stream(mpsc::Receiver<Bytes>),
}

/// An answer.
pub(crate) type Reply = Response<ReplyBody>;

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = match &mut *self {
            ReplyBody::Full(bytes) => Poll::Ready(bytes.take()),
            ReplyBody::Stream(receiver) => receiver.poll_recv(cx),
        };
        chunk.map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ReplyBody::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            ReplyBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// A refusal: what the client is told instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn later(what: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not supported yet"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// The table: dockerd's `httpstatus`.
impl From<engine::Error> for Refusal {
    fn from(error: engine::Error) -> Refusal {
        let status = match error.kind {
            engine::Kind::NotFound => StatusCode::NOT_FOUND,
            engine::Kind::Conflict => StatusCode::CONFLICT,
            engine::Kind::InvalidParameter => StatusCode::BAD_REQUEST,
            engine::Kind::NotModified => StatusCode::NOT_MODIFIED,
            engine::Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            engine::Kind::Forbidden => StatusCode::FORBIDDEN,
            engine::Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            engine::Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            engine::Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal { status, message: error.message }
    }
}

impl From<api::query::QueryError> for Refusal {
    fn from(error: api::query::QueryError) -> Refusal {
        Refusal::bad_request(error.to_string())
    }
}

impl From<api::filters::InvalidFilters> for Refusal {
    fn from(error: api::filters::InvalidFilters) -> Refusal {
        Refusal::bad_request(error.to_string())
    }
}

/// The answer to a refused request. A 304 has no body (RFC 9110, 15.4.5).
pub(crate) fn refused(refusal: &Refusal) -> Reply {
    if refusal.status == StatusCode::NOT_MODIFIED {
        return empty(StatusCode::NOT_MODIFIED);
    }
    json(refusal.status, &ErrorResponse { message: refusal.message.clone() })
}

/// Bare text, which clients older than API 1.24 expect of an error.
pub(crate) fn plain_error(refusal: &Refusal) -> Reply {
    let mut reply = text(refusal.status, format!("{}\n", refusal.message));
    reply.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    reply
}

pub(crate) fn text(status: StatusCode, text: String) -> Reply {
    with(status, "text/plain; charset=utf-8", ReplyBody::Full(Some(Bytes::from(text))))
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::Full(None));
    *reply.status_mut() = status;
    reply
}

/// JSON with the newline that Go's encoder adds.
pub(crate) fn json<T: Go>(status: StatusCode, body: &T) -> Reply {
    with(status, "application/json", ReplyBody::Full(Some(Bytes::from(encode_line(body)))))
}

/// An answer whose headers go out at once and whose chunks come from the channel.
pub(crate) fn stream(content_type: &'static str) -> (mpsc::Sender<Bytes>, Reply) {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    (sender, with(StatusCode::OK, content_type, ReplyBody::Stream(receiver)))
}

fn with(status: StatusCode, content_type: &'static str, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A message of a progress stream as dockerd writes it: HTML characters escaped (these messages, unlike all other
/// JSON, go through Go's default encoder) and ended by CR LF.
pub(crate) fn message_line(message: &Message) -> Bytes {
    let mut out = escaped(message);
    out.extend_from_slice(b"\r\n");
    Bytes::from(out)
}

/// JSON as Go's default encoder writes it: HTML characters are escaped.
pub(crate) fn escaped<T: Go>(body: &T) -> Vec<u8> {
    let plain = encode(body);
    let mut out = Vec::with_capacity(plain.len() + 2);
    for byte in plain.bytes() {
        match byte {
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            b'&' => out.extend_from_slice(b"\\u0026"),
            other => out.push(other),
        }
    }
    out
}

/// The message that ends a stream with an error.
pub(crate) fn error_line(error: &str) -> Bytes {
    message_line(&Message {
        error: error.to_owned(),
        error_detail: Some(MessageError { code: 0, message: error.to_owned() }),
        ..Message::default()
    })
}

/// A message with nothing but a status, and the id of what it is about if there is one.
pub(crate) fn status_line(id: &str, status: impl Into<String>) -> Bytes {
    message_line(&Message { id: id.to_owned(), status: status.into(), ..Message::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_lines_with_escaped_html() {
        assert_eq!(
            status_line("1", "a <b> & c"),
            "{\"status\":\"a \\u003cb\\u003e \\u0026 c\",\"id\":\"1\"}\r\n"
        );
        assert_eq!(
            error_line("unexpected EOF"),
            "{\"errorDetail\":{\"message\":\"unexpected EOF\"},\"error\":\"unexpected EOF\"}\r\n"
        );
    }

    #[test]
    fn every_kind_has_its_status() {
        use engine::Kind;
        for (kind, status) in [
            (Kind::NotFound, 404),
            (Kind::Conflict, 409),
            (Kind::InvalidParameter, 400),
            (Kind::NotModified, 304),
            (Kind::Unauthorized, 401),
            (Kind::Forbidden, 403),
            (Kind::Unavailable, 503),
            (Kind::NotImplemented, 501),
            (Kind::Internal, 500),
        ] {
            assert_eq!(Refusal::from(engine::Error::new(kind, "x")).status.as_u16(), status, "{kind:?}");
        }
    }
}
