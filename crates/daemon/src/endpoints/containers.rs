//! The container endpoints that answer with one body.

use api::container::{
    ContainerCreateRequest, ContainerSummary, CreateResponse, TopResponse, WaitExitError, WaitResponse,
};
use api::filters::Filters;
use api::go::encode_line;
use bytes::Bytes;
use engine::ListFilter;
use engine::tasks::{Condition, StartOptions};
use http::StatusCode;

use crate::call::{Call, go_integer, go_quote, window_size};
use crate::convert::{create, figure, inspect, summary};
use crate::reply::{self, Refusal, Reply};
use crate::route::Endpoint;
use crate::server::Router;

pub(super) async fn list(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let filters = Filters::parse(call.query.get("filters"))?;
    let mut filter = list_filter(&filters)?;
    filter.all = call.query.flag("all");
    if !call.query.get("limit").is_empty() {
        // Docker takes a limit below one for none.
        filter.limit = usize::try_from(go_integer("Atoi", call.query.get("limit"))?).unwrap_or(0);
    }
    for name in ["since", "before"] {
        if !call.query.get(name).is_empty() {
            return Err(Refusal::later(&format!("listing containers {name} another one")));
        }
    }
    let with_sizes = call.query.flag("size");
    let with_manifest = call.since(48);
    let look = move |engine: &engine::Engine| {
        let mut words = engine.image_words();
        let mut list: Vec<ContainerSummary> = Vec::new();
        engine.each_container(&filter, |container| {
            let sizes = with_sizes.then(|| engine.container_sizes(&container.id));
            match sizes.transpose() {
                Ok(sizes) => {
                    list.push(summary::summary(&container, &words.of(&container), sizes, with_manifest));
                }
                // It was removed meanwhile.
                Err(_) if engine.container(&container.id).is_err() => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(list)
    };
    let list = router.block(&call.tracing, look).await?;
    Ok(reply::json(StatusCode::OK, &list))
}

/// Filters by dockerd's names; what the engine cannot answer yet is refused by name.
fn list_filter(filters: &Filters) -> Result<ListFilter, Refusal> {
    let mut filter = ListFilter::default();
    for (name, values) in filters.iter() {
        match name {
            "name" => filter.name = values.to_vec(),
            "id" => filter.id = values.to_vec(),
            "label" => filter.label = values.to_vec(),
            "ancestor" => filter.ancestor = values.to_vec(),
            "volume" => filter.volume = values.to_vec(),
            "network" => filter.network = values.to_vec(),
            "status" => {
                for value in values {
                    check_status(value)?;
                }
                filter.status = values.to_vec();
            }
            "health" => {
                for value in values {
                    check_health(value)?;
                }
                filter.health = values.to_vec();
            }
            "exited" => {
                for value in values {
                    let code = go_integer("Atoi", value).map_err(|e| {
                        Refusal::bad_request(format!("invalid filter 'exited={value}': {}", e.message))
                    })?;
                    filter.exited.push(i32::try_from(code).unwrap_or(i32::MAX));
                }
            }
            "before" | "since" | "is-task" | "publish" | "expose" | "isolation" => {
                return Err(Refusal::later(&format!("the filter {name}")));
            }
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    Ok(filter)
}

fn check_status(word: &str) -> Result<(), Refusal> {
    const WORDS: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
    if WORDS.contains(&word) {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "invalid filter 'status={word}': invalid value for state ({word}): must be one of {}",
        WORDS.join(", ")
    )))
}

fn check_health(word: &str) -> Result<(), Refusal> {
    const WORDS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];
    if WORDS.contains(&word) {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "invalid filter 'health={word}': invalid value for health ({word}): must be one of {}",
        WORDS.join(", ")
    )))
}

pub(super) async fn create(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let request: ContainerCreateRequest = call.json_required().await?;
    let platform = if call.since(41) { call.query.get("platform") } else { "" };
    let wanted = create::create(request, call.query.get("name"), platform, call.version)?;
    let created = router.block(&call.tracing, move |engine| engine.create_container(wanted)).await?;
    let body = CreateResponse { id: created.id, warnings: created.warnings };
    Ok(reply::json(StatusCode::CREATED, &body))
}

pub(super) async fn inspect(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = call.name.clone();
    let with_sizes = call.query.flag("size");
    let look = move |engine: &engine::Engine| {
        let container = engine.container(&name)?;
        let execs = engine.exec_ids(&container.id)?;
        let sizes = with_sizes.then(|| engine.container_sizes(&container.id)).transpose()?;
        Ok((container, execs, sizes))
    };
    let (container, execs, sizes) = router.block(&call.tracing, look).await?;
    let mut body = inspect::inspect(&container, execs, call.since(48));
    if let Some(sizes) = sizes {
        body.size_rw = Some(figure(sizes.written));
        body.size_root_fs = Some(figure(sizes.all));
    }
    Ok(reply::json(StatusCode::OK, &body))
}

pub(super) async fn start(router: &Router, call: Call) -> Result<Reply, Refusal> {
    if call.has_real_body() {
        return Err(Refusal::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    for name in ["checkpoint", "checkpoint-dir"] {
        if !call.query.get(name).is_empty() {
            return Err(Refusal::later("starting from a checkpoint"));
        }
    }
    let name = call.name.clone();
    let options = StartOptions { supervise: router.engine().options().long_lived };
    router.block(&call.tracing, move |engine| engine.start(&name, options)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn stop(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let signal = if call.since(42) { call.query.get("signal") } else { "" };
    let timeout = match call.query.get("t") {
        "" => None,
        text => Some(go_integer("Atoi", text)?),
    };
    let stop = router.engine().stop(&call.name, Some(signal).filter(|s| !s.is_empty()), timeout);
    call.tracing.run_async(stop).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn restart(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let signal = if call.since(42) { call.query.get("signal") } else { "" };
    let timeout = match call.query.get("t") {
        "" => None,
        text => Some(go_integer("Atoi", text)?),
    };
    let options = StartOptions { supervise: router.engine().options().long_lived };
    let signal = Some(signal).filter(|s| !s.is_empty());
    let restarted =
        call.tracing.run_async(router.engine().restart_container(&call.name, signal, timeout, options)).await;
    restarted.map_err(|error| match error.kind {
        engine::Kind::NotFound => Refusal::from(error),
        _ => Refusal::from(engine::Error {
            message: format!("Cannot restart container {}: {}", call.name, error.message),
            ..error
        }),
    })?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn pause(router: &Router, call: Call, endpoint: Endpoint) -> Result<Reply, Refusal> {
    let pause = endpoint == Endpoint::ContainerPause;
    let name = call.name.clone();
    let work = move |engine: &engine::Engine| if pause { engine.pause(&name) } else { engine.unpause(&name) };
    router.block(&call.tracing, work).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn rename(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let (name, new) = (call.name.clone(), call.query.get("name").to_owned());
    router.block(&call.tracing, move |engine| engine.rename_container(&name, &new)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn top(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let (name, options) = (call.name.clone(), call.query.get("ps_args").to_owned());
    let found = router.block(&call.tracing, move |engine| engine.top(&name, &options)).await?;
    Ok(reply::json(StatusCode::OK, &TopResponse { processes: found.rows, titles: found.titles }))
}

pub(super) async fn kill(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let killed = call.tracing.run_async(router.engine().kill(&call.name, call.query.get("signal"))).await;
    let prefix = format!("cannot kill container: {}: ", call.name);
    killed.map_err(Refusal::from).map_err(|refusal| match refusal.message.starts_with(&prefix) {
        true => refusal,
        false => Refusal::new(refusal.status, format!("{prefix}{}", refusal.message)),
    })?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn wait(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let condition = match call.query.get("condition") {
        "" | "not-running" => Condition::NotRunning,
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        other => return Err(Refusal::bad_request(format!("invalid condition: {}", go_quote(other)))),
    };
    let name = call.name.clone();
    let waiting = router.block(&call.tracing, move |engine| engine.wait(&name, condition)).await?;
    // The headers go out now: a client starts the container when it has seen that the engine waits.
    let (sender, answer) = reply::stream("application/json");
    tokio::spawn(async move {
        let end = tokio::select! {
            end = call.tracing.run_async(waiting.finish()) => end,
            () = sender.closed() => return,
        };
        let failed =
            |message: String| WaitResponse { error: Some(WaitExitError { message }), status_code: -1 };
        let body = match end {
            Ok(result) => WaitResponse {
                error: result.error.map(|message| WaitExitError { message }),
                status_code: result.exit_code.into(),
            },
            Err(error) => failed(error.message),
        };
        // A client that has gone needs no answer.
        let _ = sender.send(Bytes::from(encode_line(&body))).await;
    });
    Ok(answer)
}

pub(super) async fn remove(router: &Router, call: Call) -> Result<Reply, Refusal> {
    if call.query.flag("link") {
        let name = call.name.clone();
        router.block(&call.tracing, move |engine| engine.remove_link(&name)).await?;
        return Ok(reply::empty(StatusCode::NO_CONTENT));
    }
    let (force, volumes) = (call.query.flag("force"), call.query.flag("v"));
    let remove = router.engine().remove_container(&call.name, force, volumes);
    call.tracing.run_async(remove).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn resize(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let rows = window_size(&call.query, "h", "height")?;
    let columns = window_size(&call.query, "w", "width")?;
    let name = call.name.clone();
    router.block(&call.tracing, move |engine| engine.resize(&name, columns, rows)).await?;
    Ok(reply::empty(StatusCode::OK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_refused_in_dockers_words() {
        for (text, expected) in [
            (r#"{"foo":["x"]}"#, "invalid filter 'foo'"),
            (
                r#"{"status":["x"]}"#,
                "invalid filter 'status=x': invalid value for state (x): must be one of created, running, paused, restarting, removing, exited, dead",
            ),
            (
                r#"{"health":["foo"]}"#,
                "invalid filter 'health=foo': invalid value for health (foo): must be one of none, starting, healthy, unhealthy",
            ),
            (r#"{"exited":["x"]}"#, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ] {
            let refusal = list_filter(&Filters::parse(text).unwrap()).unwrap_err();
            assert_eq!(refusal.message, expected);
        }
        let filters = Filters::parse(r#"{"status":["exited"],"exited":["3"],"label":["a=b"]}"#).unwrap();
        let filter = list_filter(&filters).unwrap();
        assert_eq!(
            (filter.status, filter.exited, filter.label),
            (vec!["exited".into()], vec![3], vec!["a=b".into()])
        );
    }
}
