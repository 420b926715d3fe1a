//! What moves between this engine and registries beside a pull: push, search, login, and a look at a name.

use api::filters::Filters;
use api::image::{AuthenticateOk, DistributionInspect, Platform, SearchResult};
use api::image_calls::decode_registry_auth;
use api::system::AuthConfig;
use engine::images::{Credentials, SearchFilter};
use http::{HeaderValue, StatusCode};

use crate::call::{Call, go_integer};
use crate::convert::descriptor;
use crate::endpoints::images::platform_of;
use crate::endpoints::progress::{self, Told};
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

/// `POST /images/{name}/push`
pub(super) async fn push(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let mut name = oci::Reference::parse(&call.name).map_err(engine::Error::from)?;
    let tag = call.query.get("tag");
    if !tag.is_empty() {
        name = name.with_tag(tag).map_err(engine::Error::from)?;
    }
    let platform = if call.since(46) { platform_of(&call.query)? } else { None };
    let who = credentials(&call);
    let told = Told::default();
    let (engine, tracing) = (router.engine().clone(), call.tracing.clone());
    let work = tokio::spawn({
        let told = told.clone();
        async move {
            let tell = |event| told.add(&event);
            let result = tracing.run_async(engine.push_images(&name, platform.as_ref(), who, tell)).await;
            told.end();
            result
        }
    });
    progress::answer(told, work).await
}

/// `GET /images/search`
pub(super) async fn search(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let limit = match call.query.get("limit") {
        "" => 0,
        text => go_integer("Atoi", text).map_err(|r| Refusal::bad_request(r.message))?,
    };
    let filters = Filters::parse(call.query.get("filters"))?;
    let filter = search_filter(&filters)?;
    let term = call.query.get("term").to_owned();
    let who = credentials(&call);
    let found = router.engine().search_images(&term, limit, filter, &who).await?;
    let results: Vec<SearchResult> = found
        .into_iter()
        .map(|one| SearchResult {
            star_count: isize::try_from(one.star_count).unwrap_or(isize::MAX),
            is_official: one.is_official,
            name: one.name,
            is_automated: one.is_automated,
            description: one.description,
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &results))
}

fn search_filter(filters: &Filters) -> Result<SearchFilter, Refusal> {
    let mut filter = SearchFilter::default();
    for (name, values) in filters.iter() {
        let bad = || Refusal::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" ")));
        let boolean = || match values {
            [one] if matches!(one.as_str(), "1" | "true") => Ok(Some(true)),
            [one] if matches!(one.as_str(), "0" | "false") => Ok(Some(false)),
            _ => Err(bad()),
        };
        match name {
            "is-official" => filter.official = boolean()?,
            "is-automated" => filter.automated = boolean()?,
            "stars" => {
                for value in values {
                    let stars = go_integer("Atoi", value).map_err(|r| {
                        Refusal::bad_request(format!("invalid filter 'stars={value}': {}", r.message))
                    })?;
                    filter.stars = filter.stars.max(stars);
                }
            }
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    Ok(filter)
}

/// `POST /auth`
pub(super) async fn login(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let auth: AuthConfig = call.json_required().await?;
    let server = auth.server_address.clone();
    let identity_token = router.engine().log_in(&server, &who(auth)).await?;
    Ok(reply::json(StatusCode::OK, &AuthenticateOk { identity_token, status: "Login Succeeded".to_owned() }))
}

/// `GET /distribution/{name}/json`
pub(super) async fn distribution(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = oci::Reference::parse(&call.name).map_err(engine::Error::from)?;
    let remote = router.engine().resolve_remote(&name, credentials(&call)).await?;
    let platforms = remote.platforms.iter().map(|p| Platform {
        architecture: p.architecture.clone(),
        os: p.os.clone(),
        os_version: p.os_version.clone(),
        os_features: (!p.os_features.is_empty()).then(|| p.os_features.clone()),
        variant: p.variant.clone(),
    });
    let found =
        DistributionInspect { descriptor: descriptor(&remote.target), platforms: Some(platforms.collect()) };
    Ok(reply::json(StatusCode::OK, &found))
}

/// Who the client says that it is to the registry.
pub(super) fn credentials(call: &Call) -> Credentials {
    let header = call.headers.get("x-registry-auth").map(HeaderValue::to_str);
    who(header.and_then(Result::ok).map(decode_registry_auth).unwrap_or_default())
}

fn who(auth: AuthConfig) -> Credentials {
    let mut credentials = Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    };
    if credentials.username.is_empty()
        && let Some((username, password)) = api::image_calls::decode_basic(&auth.auth)
    {
        (credentials.username, credentials.password) = (username, password);
    }
    credentials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_a_search() {
        for (text, want) in [
            (r#"{"stars":["3","5"]}"#, Ok(5)),
            (
                r#"{"stars":["x"]}"#,
                Err("invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax"),
            ),
            (r#"{"is-official":["maybe"]}"#, Err("invalid filter 'is-official=[maybe]'")),
            (r#"{"is-official":["true"]}"#, Ok(0)),
            (r#"{"bad":["1"]}"#, Err("invalid filter 'bad'")),
        ] {
            let got = search_filter(&Filters::parse(text).unwrap());
            assert_eq!(got.map(|f| f.stars).map_err(|r| r.message), want.map_err(str::to_owned), "{text}");
        }
    }
}
