//! The endpoints that measure and change what runs: stats, update, prune.

use std::time::Duration;

use api::filters::Filters;
use api::go::encode_line;
use api::stats::{ContainersPruneReport, FilesystemChange, StatsResponse, UpdateConfig, UpdateResponse};
use bytes::Bytes;
use engine::containers::{Change, PruneFilter, Update};
use engine::tasks::Sample;
use engine::{Engine, Limits};
use http::StatusCode;

use crate::call::Call;
use crate::convert::{create, moment, stats as convert};
use crate::reply::{self, Refusal, Reply};
use crate::route::Endpoint;
use crate::server::Router;

/// Between two messages, and between the two samples of one.
const INTERVAL: Duration = Duration::from_secs(1);

/// Those of these endpoints.
pub(super) async fn handle(router: &Router, endpoint: Endpoint, call: Call) -> Result<Reply, Refusal> {
    match endpoint {
        Endpoint::ContainerChanges => changes(router, call).await,
        Endpoint::ContainerUpdate => update(router, call).await,
        Endpoint::ContainerPrune => prune(router, call).await,
        _ => stats(router, call).await,
    }
}

async fn stats(router: &Router, call: Call) -> Result<Reply, Refusal> {
    // What is not said is on, as in dockerd.
    let stream = !call.query.has("stream") || call.query.flag("stream");
    let one_shot = call.query.flag("one-shot");
    if stream && one_shot {
        return Err(Refusal::bad_request("cannot have stream=true and one-shot=true"));
    }
    let look = |name: String| move |engine: &Engine| engine.sample(&name);
    let (container, mut sample) = router.block(&call.tracing, look(call.name.clone())).await?;
    if one_shot {
        return Ok(reply::json(StatusCode::OK, &convert::stats(sample.as_ref(), None)));
    }
    let (name, id) = (format!("/{}", container.name), container.id);
    let named = move |now: Option<&Sample>, before: Option<&Sample>| StatsResponse {
        name: name.clone(),
        id: id.clone(),
        ..convert::stats(now, before)
    };
    if !stream {
        let before = sample;
        if before.is_some() {
            tokio::time::sleep(INTERVAL).await;
        }
        sample = router.block(&call.tracing, look(container_id(&named))).await.map_or(None, |found| found.1);
        return Ok(reply::json(StatusCode::OK, &named(sample.as_ref(), before.as_ref())));
    }
    let (sender, answer) = reply::stream("application/json");
    let (router, tracing) = (router.clone(), call.tracing.clone());
    tokio::spawn(async move {
        let mut before: Option<Sample> = None;
        loop {
            let line = encode_line(&named(sample.as_ref(), before.as_ref()));
            if sender.send(Bytes::from(line)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = sender.closed() => return,
            }
            before = sample.take();
            match router.block(&tracing, look(container_id(&named))).await {
                Ok((_, now)) => sample = now,
                // It is gone.
                Err(_) => return,
            }
        }
    });
    Ok(answer)
}

/// The id that messages carry: the name may be another container's by then.
fn container_id(named: &impl Fn(Option<&Sample>, Option<&Sample>) -> StatsResponse) -> String {
    named(None, None).id
}

async fn update(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let wanted: UpdateConfig = call.json_required().await?;
    create::check_restart(&wanted.restart_policy)?;
    let devices = [
        ("BlkioWeightDevice", wanted.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty())),
        ("BlkioDeviceReadBps", wanted.blkio_device_read_bps.as_ref().is_some_and(|list| !list.is_empty())),
        ("BlkioDeviceWriteBps", wanted.blkio_device_write_bps.as_ref().is_some_and(|list| !list.is_empty())),
        ("BlkioDeviceReadIOps", wanted.blkio_device_read_iops.as_ref().is_some_and(|list| !list.is_empty())),
        (
            "BlkioDeviceWriteIOps",
            wanted.blkio_device_write_iops.as_ref().is_some_and(|list| !list.is_empty()),
        ),
    ];
    if let Some((field, _)) = devices.iter().find(|(_, given)| *given) {
        return Err(Refusal::later(&format!("changing {field}")));
    }
    let policy = wanted.restart_policy;
    let update = Update {
        memory: wanted.memory,
        memory_swap: wanted.memory_swap,
        nano_cpus: wanted.nano_cpus,
        pids_limit: wanted.pids_limit.filter(|limit| *limit != 0),
        limits: Limits {
            cpu_shares: wanted.cpu_shares,
            cpu_period: wanted.cpu_period,
            cpu_quota: wanted.cpu_quota,
            cpu_realtime_period: wanted.cpu_realtime_period,
            cpu_realtime_runtime: wanted.cpu_realtime_runtime,
            cpuset_cpus: wanted.cpuset_cpus,
            cpuset_mems: wanted.cpuset_mems,
            memory_reservation: wanted.memory_reservation,
            blkio_weight: wanted.blkio_weight,
            ..Limits::default()
        },
        restart: (!policy.name.is_empty()).then_some(engine::RestartPolicy {
            name: policy.name,
            maximum_retry_count: policy.maximum_retry_count as i64,
        }),
    };
    let name = call.name.clone();
    let warnings = router.block(&call.tracing, move |engine| engine.update_container(&name, update)).await?;
    let body = UpdateResponse { warnings: (!warnings.is_empty()).then_some(warnings) };
    Ok(reply::json(StatusCode::OK, &body))
}

async fn changes(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = call.name.clone();
    let found = router.block(&call.tracing, move |engine| engine.container_changes(&name)).await?;
    let one = |change: Change| FilesystemChange { path: change.path, kind: change.kind as isize };
    let body: Vec<FilesystemChange> = found.into_iter().map(one).collect();
    // dockerd's list of no changes is nil.
    Ok(reply::json(StatusCode::OK, &Some(body).filter(|list| !list.is_empty())))
}

async fn prune(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let filters = Filters::parse(call.query.get("filters"))?;
    let mut filter = PruneFilter::default();
    let label = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    for (name, values) in filters.iter() {
        match name {
            "label" => filter.labels = values.iter().map(label).collect(),
            "label!" => filter.not_labels = values.iter().map(label).collect(),
            "until" => {
                let [text] = values else {
                    return Err(Refusal::bad_request("more than one until filter specified"));
                };
                filter.until_ns = Some(moment::moment(text).ok_or_else(|| {
                    Refusal::bad_request(format!("failed to parse value as time or duration: \"{text}\""))
                })?);
            }
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    let (removed, bytes) = call.tracing.run_async(router.engine().prune_containers(&filter)).await?;
    let report =
        ContainersPruneReport { deleted: (!removed.is_empty()).then_some(removed), reclaimed: bytes };
    Ok(reply::json(StatusCode::OK, &report))
}
