//! Files in and out of containers: `/containers/{id}/archive` and `/export`.

use api::container::{ContainerConfig, IdResponse};
use api::stats::PathStat as Shown;
use engine::containers::{Archive, Commit, Extract, PathStat};
use http::StatusCode;
use http::header::HeaderValue;

use crate::call::Call;
use crate::convert::{create, words};
use crate::endpoints::images::{repository_tag, upload};
use crate::endpoints::save::Download;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

/// `HEAD`: what is there.
pub(super) async fn stat(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let path = path_of(&call)?;
    let name = call.name.clone();
    let stat = router.on_thread(&call.tracing, move |engine| engine.stat_path(&name, &path)).await?;
    let mut answer = reply::empty(StatusCode::OK);
    add_stat(&mut answer, &stat);
    Ok(answer)
}

/// `GET`: what is there, as a tar.
pub(super) async fn get(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let path = path_of(&call)?;
    let name = call.name.clone();
    let find = move |engine: &engine::Engine| engine.archive_path(&name, &path);
    let (stat, archive) = router.on_thread(&call.tracing, find).await?;
    let mut answer = send(router, call, archive, "application/x-tar");
    add_stat(&mut answer, &stat);
    Ok(answer)
}

/// `PUT`: a tar is unpacked.
pub(super) async fn put(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let path = path_of(&call)?;
    let how = Extract {
        owned_by_user: call.query.flag("copyUIDGID"),
        keep_kinds: call.query.flag("noOverwriteDirNonDir"),
    };
    let (name, body) = (call.name.clone(), upload(&mut call));
    let work = move |engine: &engine::Engine| engine.extract_to(&name, &path, how, body);
    router.on_thread(&call.tracing, work).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /containers/{id}/export`.
pub(super) async fn export(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = call.name.clone();
    let archive = router.on_thread(&call.tracing, move |engine| engine.export_container(&name)).await?;
    Ok(send(router, call, archive, "application/octet-stream"))
}

/// `POST /commit`
pub(super) async fn commit(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    // Nothing, and `null`, are no configuration.
    let config: Option<ContainerConfig> = call.json_or_default().await?;
    let word = call.query.get("container").to_owned();
    if word.is_empty() {
        return Err(Refusal::bad_request("invalid name or ID supplied: \"\""));
    }
    let name = match call.query.get("repo") {
        "" => None,
        repo => Some(repository_tag(repo, call.query.get("tag"))?.or_latest()),
    };
    let wanted = Commit {
        name,
        author: call.query.get("author").to_owned(),
        comment: call.query.get("comment").to_owned(),
        changes: call.query.all("changes").map(str::to_owned).collect(),
        // dockerd's default.
        pause: call.query.get("pause").is_empty() || call.query.flag("pause"),
        config: config.map(create::config),
    };
    let id = router.on_thread(&call.tracing, move |engine| engine.commit(&word, &wanted)).await?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

/// Answers at once and writes the archive as fast as the client takes it.
fn send(router: &Router, call: Call, archive: Archive, kind: &'static str) -> Reply {
    let (sender, answer) = reply::stream(kind);
    let router = router.clone();
    tokio::spawn(async move {
        let download = Download::new(sender);
        let written = router.on_thread(&call.tracing, move |_| archive.write(download)).await;
        if let Err(refusal) = written {
            // The head is out. Without its end mark the archive is seen to be cut off.
            tracing::warn!(
                error = refusal.message,
                "an archive of a container's files was not sent to its end"
            );
        }
    });
    answer
}

fn path_of(call: &Call) -> Result<String, Refusal> {
    match call.query.get("path") {
        // dockerd's words, blank or not.
        "" => Err(Refusal::bad_request("bad parameter: pathcannot be empty")),
        path => Ok(path.to_owned()),
    }
}

fn add_stat(answer: &mut Reply, stat: &PathStat) {
    let body = Shown {
        name: stat.name.clone(),
        size: stat.size,
        mode: words::go_mode(stat.mode),
        mtime: engine::Time(stat.mtime_ns).rfc3339(),
        link_target: stat.link_target.clone(),
    };
    if let Ok(value) = HeaderValue::from_str(&body.to_header()) {
        answer.headers_mut().insert(api::archive_calls::PATH_STAT, value);
    }
}
