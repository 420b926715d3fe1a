//! The image endpoints.

use std::io::{self, Read};

use api::go::decode;
use api::image::{HistoryItem, ImageDelete, ImageSummary, Platform, PruneReport};
use api::query::Query;
use api::system::Message;
use bytes::{Buf, Bytes};
use engine::images::{ImageInfo, PruneFilter, Removed};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::convert::image;
use crate::convert::moment::moment;
use crate::endpoints::pull;
use crate::reply::{self, CHUNKS_IN_FLIGHT, Refusal, Reply};
use crate::server::Router;

pub(super) async fn list(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let filters = api::filters::Filters::parse(call.query.get("filters"))?;
    let filter = image::Filter::parse(&filters)?;
    if call.since(42) && call.query.flag("shared-size") {
        return Err(Refusal::later("listing images with their shared size"));
    }
    let manifests = call.since(47) && call.query.flag("manifests");
    let work = move |engine: &engine::Engine| {
        let mut found = engine.images()?;
        found.retain(|info| filter.passes(info));
        let with_variants = |info: ImageInfo| {
            let variants = manifests.then(|| engine.variants(&info.target)).transpose()?;
            Ok((filter.narrowed(&info), variants))
        };
        found.into_iter().map(with_variants).collect::<engine::Result<Vec<_>>>()
    };
    let found = router.block(&call.tracing, work).await?;
    let list: Vec<ImageSummary> = found
        .iter()
        .map(|(info, variants)| ImageSummary {
            manifests: variants.as_ref().map(|all| all.iter().map(image::variant).collect()),
            ..image::summary(info, call.version)
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &list))
}

pub(super) async fn inspect(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let manifests = call.since(48) && call.query.flag("manifests");
    if manifests {
        return Err(Refusal::later("inspecting an image with its manifests"));
    }
    if call.since(49) {
        host_only(&call.query, "platform")?;
    }
    let name = call.name.clone();
    let info = router.block(&call.tracing, move |engine| engine.image(&name)).await?;
    Ok(reply::json(StatusCode::OK, &image::inspect(&info, call.version)))
}

pub(super) async fn remove(router: &Router, call: Call) -> Result<Reply, Refusal> {
    if call.name.trim().is_empty() {
        return Err(Refusal::bad_request("image name cannot be blank"));
    }
    let (name, force) = (call.name.clone(), call.query.flag("force"));
    if call.since(50) && call.query.has("platforms") {
        let platforms = call.query.all("platforms").map(platform_from).collect::<Result<Vec<_>, _>>()?;
        let work = move |engine: &engine::Engine| engine.remove_variants(&name, force, &platforms);
        let removed = router.block(&call.tracing, work).await?;
        let lines: Vec<ImageDelete> = removed.into_iter().map(Removed::Deleted).map(removal).collect();
        return Ok(reply::json(StatusCode::OK, &lines));
    }
    let removed = router.block(&call.tracing, move |engine| engine.remove_image(&name, force)).await?;
    let lines: Vec<ImageDelete> = removed.into_iter().map(removal).collect();
    Ok(reply::json(StatusCode::OK, &lines))
}

pub(super) async fn create(router: &Router, call: Call) -> Result<Reply, Refusal> {
    if call.query.get("fromImage").is_empty() {
        import(router, call).await
    } else {
        pull::pull(router, call).await
    }
}

/// What an import's query asks for.
struct ImportQuery {
    name: String,
    message: String,
    changes: Vec<String>,
    platform: Option<oci::Platform>,
}

fn import_query(call: &Call) -> Result<ImportQuery, Refusal> {
    let source = call.query.get("fromSrc").to_owned();
    if source != "-" {
        return Err(Refusal::later("importing from a URL"));
    }
    let platform = match call.query.get("platform") {
        text if call.since(32) && !text.is_empty() => Some(
            oci::Platform::parse(text)
                .map_err(|e| Refusal::bad_request(format!("{}: invalid argument", engine::Error::from(e))))?,
        ),
        _ => None,
    };
    let (repo, tag) = (call.query.get("repo"), call.query.get("tag"));
    let name = if repo.is_empty() || tag.is_empty() { repo.to_owned() } else { format!("{repo}:{tag}") };
    if !name.is_empty() {
        oci::Reference::parse(&name).map_err(|error| Refusal::from(engine::Error::from(error)))?;
    }
    let message = match call.query.get("message") {
        "" => format!("Imported from {source}"),
        text => text.to_owned(),
    };
    let changes = call.query.all("changes").map(str::to_owned).collect();
    Ok(ImportQuery { name, message, changes, platform })
}

async fn import(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let ImportQuery { name, message, changes, platform } = match import_query(&call) {
        Ok(query) => query,
        Err(refusal) => {
            call.pass_over_body().await;
            return Err(refusal);
        }
    };
    let body = upload(&mut call);
    let work = move |engine: &engine::Engine| {
        engine.import_image(body, Some(name.as_str()).filter(|n| !n.is_empty()), &message, &changes, platform)
    };
    let id = router.on_thread(&call.tracing, work).await?;
    let (sender, answer) = reply::stream("application/json");
    // The channel holds more than one line, so this does not wait.
    let _ = sender.send(reply::status_line("", id)).await;
    Ok(answer)
}

pub(super) async fn load(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    if call.since(48) && call.query.all("platform").count() > 1 {
        return Err(Refusal::bad_request("multiple platform parameters not supported"));
    }
    let platform = if call.since(48) { platform_of(&call.query)? } else { None };
    let body = upload(&mut call);
    let router = router.clone();
    let (sender, answer) = reply::stream("application/json");
    // dockerd answers 200 before it looks at the archive; errors are messages.
    tokio::spawn(async move {
        let loaded =
            router.on_thread(&call.tracing, move |engine| engine.load_images(body, platform.as_ref())).await;
        match loaded {
            Ok(lines) => {
                for line in lines {
                    let message = Message { stream: format!("{}\n", line.trim_end()), ..Message::default() };
                    if sender.send(reply::message_line(&message)).await.is_err() {
                        return;
                    }
                }
            }
            Err(refusal) => drop(sender.send(reply::error_line(&refusal.message)).await),
        }
    });
    Ok(answer)
}

pub(super) async fn tag(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let (repo, tag) = (call.query.get("repo"), call.query.get("tag"));
    if repo.is_empty() {
        // dockerd takes this for "nothing to do".
        return Ok(reply::empty(StatusCode::OK));
    }
    let target = repository_tag(repo, tag)?;
    let name = call.name.clone();
    router.block(&call.tracing, move |engine| engine.tag_image(&name, &target)).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// A name of its two parts as queries have them.
pub(super) fn repository_tag(repo: &str, tag: &str) -> Result<oci::Reference, Refusal> {
    let target = oci::Reference::parse(repo).map_err(engine::Error::from)?;
    if tag.is_empty() {
        return Ok(target);
    }
    if !oci::is_tag(tag) {
        return Err(Refusal::bad_request("invalid tag format"));
    }
    Ok(target.name_only().with_tag(tag).map_err(engine::Error::from)?)
}

pub(super) async fn history(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let platform = if call.since(48) { platform_of(&call.query)? } else { None };
    let name = call.name.clone();
    let steps =
        router.block(&call.tracing, move |engine| engine.image_history(&name, platform.as_ref())).await?;
    let items: Vec<HistoryItem> = steps
        .into_iter()
        .map(|step| HistoryItem {
            comment: step.comment,
            created: step.created,
            created_by: step.created_by,
            id: step.id,
            size: i64::try_from(step.size).unwrap_or(i64::MAX),
            tags: (!step.tags.is_empty()).then_some(step.tags),
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &items))
}

pub(super) async fn prune(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let filters = api::filters::Filters::parse(call.query.get("filters"))?;
    let filter = prune_filter(&filters)?;
    let (removed, bytes) = router.block(&call.tracing, move |engine| engine.prune_images(&filter)).await?;
    let report = PruneReport {
        images_deleted: (!removed.is_empty()).then(|| removed.into_iter().map(removal).collect()),
        space_reclaimed: i64::try_from(bytes).unwrap_or(i64::MAX),
    };
    Ok(reply::json(StatusCode::OK, &report))
}

fn prune_filter(filters: &api::filters::Filters) -> Result<PruneFilter, Refusal> {
    let mut filter = PruneFilter::default();
    let label = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    for (name, values) in filters.iter() {
        let bad = || Refusal::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" ")));
        match name {
            "dangling" => {
                filter.all = match values {
                    [one] if matches!(one.as_str(), "1" | "true") => false,
                    [one] if matches!(one.as_str(), "0" | "false") => true,
                    _ => return Err(bad()),
                }
            }
            "label" => filter.labels = values.iter().map(label).collect(),
            "label!" => filter.not_labels = values.iter().map(label).collect(),
            "until" => {
                let [text] = values else { return Err(bad()) };
                filter.until_ns = Some(moment(text).ok_or_else(|| {
                    Refusal::bad_request(format!("failed to parse value as time or duration: \"{text}\""))
                })?);
            }
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    Ok(filter)
}

fn removal(line: Removed) -> ImageDelete {
    match line {
        Removed::Untagged(untagged) => ImageDelete { untagged, ..ImageDelete::default() },
        Removed::Deleted(deleted) => ImageDelete { deleted, ..ImageDelete::default() },
    }
}

/// `platform` as JSON, if it is given.
pub(super) fn platform_of(query: &Query) -> Result<Option<oci::Platform>, Refusal> {
    match query.get("platform") {
        "" => Ok(None),
        text => platform_from(text).map(Some),
    }
}

fn platform_from(text: &str) -> Result<oci::Platform, Refusal> {
    let given: Platform = decode(text.as_bytes())
        .map_err(|error| Refusal::bad_request(format!("failed to parse platform: {error}")))?;
    if given.os.is_empty() || given.architecture.is_empty() {
        return Err(Refusal::bad_request("both OS and Architecture must be provided"));
    }
    let platform = oci::Platform {
        os: given.os,
        architecture: given.architecture,
        variant: given.variant,
        os_version: given.os_version,
        os_features: given.os_features.unwrap_or_default(),
    };
    Ok(platform.normalised())
}

/// A JSON platform that must be this host's; others are the work of a later version.
fn host_only(query: &Query, key: &str) -> Result<(), Refusal> {
    let text = query.get(key);
    if text.is_empty() {
        return Ok(());
    }
    let platform: Platform = decode(text.as_bytes())
        .map_err(|error| Refusal::bad_request(format!("failed to parse platform: {error}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Refusal::bad_request("both OS and Architecture must be provided"));
    }
    let host = oci::Platform::host();
    if (platform.os.as_str(), platform.architecture.as_str())
        == (host.os.as_str(), host.architecture.as_str())
    {
        return Ok(());
    }
    Err(Refusal::later(&format!("the platform {}/{}", platform.os, platform.architecture)))
}

/// A request's body for code that blocks: a bounded queue is all that waits between the two.
/// The request's body, for code that blocks.
pub(super) fn upload(call: &mut Call) -> Upload {
    let (sender, chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    if let Some(body) = call.body.take() {
        tokio::spawn(send_body(body, sender));
    }
    Upload { chunks, current: Bytes::new() }
}

async fn send_body(mut body: Incoming, sender: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let chunk = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) if !data.is_empty() => Ok(data),
            Ok(_) => continue,
            // Go's word for a body that breaks off.
            Err(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF")),
        };
        let ended = chunk.is_err();
        if sender.send(chunk).await.is_err() || ended {
            return;
        }
    }
}

#[derive(Debug)]
pub(super) struct Upload {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let len = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..len]);
        Ok(len)
    }
}
