//! Ping, version, info.

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA};

use crate::call::Call;
use crate::convert::system;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) fn ping(is_head: bool) -> Reply {
    let mut answer =
        if is_head { reply::empty(StatusCode::OK) } else { reply::text(StatusCode::OK, "OK".into()) };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // No Builder-Version yet: it would promise a builder.
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    answer
}

pub(super) fn version(router: &Router) -> Result<Reply, Refusal> {
    let kernel = rustix::system::uname();
    let body = system::version(
        &router.engine().options().version,
        &kernel.release().to_string_lossy(),
        router.oldest(),
    );
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) async fn info(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let info = router.block(&call.tracing, engine::Engine::info).await?;
    let settings = router.engine().settings();
    let body = system::info(&info, &settings, &router.engine().options().version, call.version);
    Ok(reply::json(StatusCode::OK, &body))
}
