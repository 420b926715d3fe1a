//! `GET /system/df`.

use api::image::ImageSummary;
use api::usage::DiskUsage;
use api::volume::{Volume, VolumeUsage};
use engine::UsageOf;
use http::StatusCode;

use crate::call::Call;
use crate::convert::{figure, image, summary};
use crate::endpoints::volumes;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) async fn df(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let all = UsageOf { images: true, containers: true, volumes: true };
    let (mut of, mut builds) = (all, true);
    // Older clients ask for everything, whatever they say.
    if call.since(42) && call.query.all("type").next().is_some() {
        (of, builds) = (UsageOf::default(), false);
        for kind in call.query.all("type") {
            match kind {
                "image" => of.images = true,
                "container" => of.containers = true,
                "volume" => of.volumes = true,
                "build-cache" => builds = true,
                other => return Err(Refusal::bad_request(format!("unknown object type: {other}"))),
            }
        }
    }
    let usage = router.block(&call.tracing, move |engine| engine.usage(of)).await?;
    let images = usage.images.map(|images| {
        let one = |used: &engine::ImageUsage| ImageSummary {
            containers: figure(used.image.containers as u64),
            shared_size: figure(used.shared),
            ..image::summary(&used.image, call.version)
        };
        images.iter().map(one).collect()
    });
    let with_manifest = false;
    let containers = usage.containers.map(|found| {
        let one = |(container, word, sizes): &(engine::Container, String, engine::containers::Sizes)| {
            summary::summary(container, word, Some(*sizes), with_manifest)
        };
        found.iter().map(one).collect()
    });
    let volumes = usage.volumes.map(|found| {
        let one = |used: engine::VolumeUsage| Volume {
            usage_data: Some(VolumeUsage { ref_count: figure(used.users as u64), size: figure(used.size) }),
            ..volumes::body(used.volume)
        };
        found.into_iter().map(one).collect()
    });
    let body = DiskUsage {
        layers_size: figure(usage.layers_size),
        images,
        containers,
        volumes,
        build_cache: builds.then(Vec::new),
    };
    Ok(reply::json(StatusCode::OK, &body))
}
