//! The volume endpoints.

use std::collections::BTreeMap;

use api::filters::Filters;
use api::volume::{Volume, VolumeCreate, VolumeList, VolumePruneReport};
use engine::volumes::{CreateVolume, Prune, VolumeFilter};
use http::StatusCode;

use super::NOT_A_MANAGER;
use crate::call::Call;
use crate::convert::words;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) async fn create(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let VolumeCreate { cluster_volume_spec, driver, driver_opts, labels, name } =
        call.json_or_default().await?;
    if cluster_volume_spec.is_some() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NOT_A_MANAGER));
    }
    let some = |map: Option<BTreeMap<String, String>>| map.filter(|map| !map.is_empty());
    let wanted = CreateVolume { name, driver, labels: some(labels), options: some(driver_opts) };
    let made = router.block(&call.tracing, move |engine| engine.create_volume(wanted)).await?;
    Ok(reply::json(StatusCode::CREATED, &body(made)))
}

pub(super) async fn list(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let filters = Filters::parse(call.query.get("filters"))?;
    let mut filter = VolumeFilter::default();
    for (name, values) in filters.iter() {
        match name {
            "name" => filter.names = values.to_vec(),
            "label" => filter.labels = values.to_vec(),
            "driver" => filter.drivers = values.to_vec(),
            "dangling" => filter.dangling = Some(one_boolean(name, values)?),
            other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
        }
    }
    let found = router.block(&call.tracing, move |engine| engine.list_volumes(&filter)).await?;
    let volumes = found.into_iter().map(body).collect();
    Ok(reply::json(StatusCode::OK, &VolumeList { volumes, warnings: None }))
}

/// dockerd's reading of a filter that is a switch.
fn one_boolean(name: &str, values: &[String]) -> Result<bool, Refusal> {
    match values {
        [one] if matches!(one.as_str(), "1" | "true") => Ok(true),
        [one] if matches!(one.as_str(), "0" | "false") => Ok(false),
        _ => Err(Refusal::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" ")))),
    }
}

pub(super) async fn inspect(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let name = call.name.clone();
    let found = router.block(&call.tracing, move |engine| engine.volume(&name)).await?;
    Ok(reply::json(StatusCode::OK, &body(found)))
}

pub(super) async fn remove(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let (name, force) = (call.name.clone(), call.query.flag("force"));
    router.block(&call.tracing, move |engine| engine.remove_volume(&name, force)).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// Only volumes of a swarm can be changed.
pub(super) fn update() -> Result<Reply, Refusal> {
    let text = "volume update only valid for cluster volumes, but swarm is unavailable";
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
}

pub(super) async fn prune(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    call.pass_over_body().await;
    let mut filters = Filters::parse(call.query.get("filters"))?;
    if !call.since(42) {
        // Older clients mean every volume.
        filters.add("all", "true");
    }
    let filter = prune_filter(&filters)?;
    let (names, bytes) = router.block(&call.tracing, move |engine| engine.prune_volumes(&filter)).await?;
    let report = VolumePruneReport { volumes_deleted: Some(names), space_reclaimed: bytes };
    Ok(reply::json(StatusCode::OK, &report))
}

fn prune_filter(filters: &Filters) -> Result<Prune, Refusal> {
    let mut filter = Prune::default();
    for (name, values) in filters.iter() {
        let wrong = |why: String| Refusal::bad_request(format!("invalid filter '{name}{why}"));
        match name {
            "label" => filter.labels = values.to_vec(),
            "label!" => filter.not_labels = values.to_vec(),
            "all" => {
                filter.all = match values {
                    [one] => match one.as_str() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => {
                            return Err(wrong(format!(
                                "': strconv.ParseBool: parsing {one:?}: invalid syntax"
                            )));
                        }
                    },
                    [] => false,
                    _ => {
                        return Err(wrong(format!("=[{}]': only one value is expected", values.join(" "))));
                    }
                }
            }
            _ => return Err(wrong("'".to_owned())),
        }
    }
    Ok(filter)
}

pub(super) fn body(volume: engine::volumes::Volume) -> Volume {
    Volume {
        // dockerd's times of volumes have whole seconds.
        created_at: words::time(volume.created_ns - volume.created_ns.rem_euclid(1_000_000_000)),
        driver: "local".to_owned(),
        labels: volume.labels,
        mountpoint: volume.mountpoint.to_string_lossy().into_owned(),
        name: volume.name,
        options: volume.options,
        scope: "local".to_owned(),
        ..Volume::default()
    }
}
