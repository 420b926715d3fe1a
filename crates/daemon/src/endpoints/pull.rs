//! `POST /images/create?fromImage=`: a pull and its progress.

use api::query::Query;
use http::StatusCode;

use crate::call::Call;
use crate::endpoints::progress::{self, Told};
use crate::endpoints::push::credentials;
use crate::reply::{Refusal, Reply};
use crate::server::Router;

pub(super) async fn pull(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let name = pulled_name(&call.query)?;
    let platform = Some(call.query.get("platform")).filter(|p| !p.is_empty() && call.since(32));
    let platform = platform.map(str::to_owned);
    let all = is_bare(&name);
    let who = credentials(&call);
    let told = Told::default();
    let (engine, tracing) = (router.engine().clone(), call.tracing.clone());
    let work = tokio::spawn({
        let told = told.clone();
        async move {
            let tell = |event| told.add(&event);
            let platform = platform.as_deref();
            let result = if all {
                tracing.run_async(engine.pull_all_tags(&name, platform, who, tell)).await
            } else {
                tracing.run_async(engine.pull_image(&name, platform, who, tell)).await
            };
            told.end();
            result
        }
    });
    progress::answer(told, work).await
}

/// Whether a name has neither tag nor digest: that means all tags, except of the built-in image, which has one.
fn is_bare(name: &str) -> bool {
    oci::Reference::parse(name).is_ok_and(|r| r.is_name_only() && r.familiar_name() != engine::images::HELLO)
}

/// `fromImage` with `tag`, which may also be a digest.
fn pulled_name(query: &Query) -> Result<String, Refusal> {
    // "pull -a" of old clients sends a trailing colon.
    let image = query.get("fromImage");
    let image = image.strip_suffix(':').unwrap_or(image);
    let invalid = |error: oci::Error| Refusal::from(engine::Error::from(error));
    let reference = oci::Reference::parse(image).map_err(invalid)?;
    if reference.familiar_name() == "scratch" {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "'scratch' is a reserved name"));
    }
    let tag = query.get("tag");
    if tag.is_empty() {
        return Ok(image.to_owned());
    }
    let name = reference.name();
    let full =
        if oci::Digest::parse(tag).is_ok() { format!("{name}@{tag}") } else { format!("{name}:{tag}") };
    oci::Reference::parse(&full).map_err(invalid)?;
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulled_names() {
        for (image, tag, expected) in [
            ("busybox", "1.36", Ok("docker.io/library/busybox:1.36")),
            ("busybox", "", Ok("busybox")),
            ("busybox:", "", Ok("busybox")),
            ("127.0.0.1:5000/a/b", "latest", Ok("127.0.0.1:5000/a/b:latest")),
            ("Foo", "", Err("invalid reference format: repository name (library/Foo) must be lowercase")),
            ("scratch", "", Err("'scratch' is a reserved name")),
        ] {
            let query = Query::new().set("fromImage", image).set("tag", tag);
            let got = pulled_name(&query).map_err(|refusal| refusal.message);
            assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{image} {tag}");
        }
    }
}
