//! One function per endpoint: takes a [`Call`](crate::call::Call) apart, calls the engine, puts its answer into
//! Docker's words. No endpoint decides anything.

mod attach;
mod containers;
mod events;
mod exec;
mod files;
mod images;
mod life;
mod logs;
mod networks;
mod progress;
mod pull;
mod push;
mod save;
mod system;
mod usage;
mod volumes;

use http::StatusCode;

use crate::call::Call;
use crate::reply::{self, Refusal, Reply};
use crate::route::Endpoint as E;
use crate::server::Router;
use crate::trace;

const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// Does what the endpoint is for.
pub(crate) async fn handle(
    router: &Router,
    endpoint: E,
    call: Call,
    is_head: bool,
) -> Result<Reply, Refusal> {
    match endpoint {
        E::Ping => Ok(system::ping(is_head)),
        E::Options => Ok(reply::empty(StatusCode::OK)),
        E::Version => system::version(router),
        E::Info => system::info(router, call).await,
        E::DiskUsage => usage::df(router, call).await,
        E::ContainerList => containers::list(router, call).await,
        E::ContainerCreate => containers::create(router, call).await,
        E::ContainerInspect => containers::inspect(router, call).await,
        E::ContainerStart => containers::start(router, call).await,
        E::ContainerStop => containers::stop(router, call).await,
        E::ContainerRestart => containers::restart(router, call).await,
        E::ContainerRename => containers::rename(router, call).await,
        E::ContainerTop => containers::top(router, call).await,
        E::ContainerChanges | E::ContainerStats | E::ContainerUpdate | E::ContainerPrune => {
            life::handle(router, endpoint, call).await
        }
        E::ContainerPause | E::ContainerUnpause => containers::pause(router, call, endpoint).await,
        E::ContainerKill => containers::kill(router, call).await,
        E::ContainerWait => containers::wait(router, call).await,
        E::ContainerRemove => containers::remove(router, call).await,
        E::ContainerResize => containers::resize(router, call).await,
        E::ContainerAttach => attach::attach(router, call).await,
        E::ContainerExport | E::Commit | E::ArchiveGet | E::ArchiveStat | E::ArchivePut => {
            container_files(router, endpoint, call).await
        }
        E::ContainerLogs => logs::logs(router, call).await,
        E::Events => events::events(router, call).await,
        E::ExecCreate | E::ExecStart | E::ExecResize | E::ExecInspect => execs(router, endpoint, call).await,
        E::ImageList => images::list(router, call).await,
        E::ImageInspect => images::inspect(router, call).await,
        E::ImageRemove => images::remove(router, call).await,
        E::ImageCreate => images::create(router, call).await,
        E::ImageLoad => images::load(router, call).await,
        E::ImageTag => images::tag(router, call).await,
        E::ImageHistory => images::history(router, call).await,
        E::ImagePush => push::push(router, call).await,
        E::ImagePrune => images::prune(router, call).await,
        E::ImageSearch => push::search(router, call).await,
        E::Auth => push::login(router, call).await,
        E::Distribution => push::distribution(router, call).await,
        E::ImageSave => save::save(router, call).await,
        E::NetworkList
        | E::NetworkInspect
        | E::NetworkCreate
        | E::NetworkRemove
        | E::NetworkConnect
        | E::NetworkDisconnect
        | E::NetworkPrune => network(router, endpoint, call).await,
        E::VolumeList
        | E::VolumeInspect
        | E::VolumeCreate
        | E::VolumeRemove
        | E::VolumePrune
        | E::VolumeUpdate => volume(router, endpoint, call).await,
        E::PluginList | E::Plugin | E::Swarm | E::SwarmLeave => absent(endpoint, &call.name),
        E::Trace => {
            let follow = call.query.flag("follow");
            trace::serve(router.engine(), router.stories(), &call.name, follow, call.hangup)
        }
        E::Later(what) => Err(Refusal::later(what)),
    }
}

async fn execs(router: &Router, endpoint: E, call: Call) -> Result<Reply, Refusal> {
    match endpoint {
        E::ExecCreate => exec::create(router, call).await,
        E::ExecStart => exec::start(router, call).await,
        E::ExecResize => exec::resize(router, call).await,
        E::ExecInspect => exec::inspect(router, call).await,
        _ => Err(Refusal::internal("no endpoint of this room")),
    }
}

async fn container_files(router: &Router, endpoint: E, call: Call) -> Result<Reply, Refusal> {
    match endpoint {
        E::ContainerExport => files::export(router, call).await,
        E::Commit => files::commit(router, call).await,
        E::ArchiveGet => files::get(router, call).await,
        E::ArchiveStat => files::stat(router, call).await,
        E::ArchivePut => files::put(router, call).await,
        _ => Err(Refusal::internal("no endpoint of this room")),
    }
}

async fn network(router: &Router, endpoint: E, call: Call) -> Result<Reply, Refusal> {
    match endpoint {
        E::NetworkList => networks::list(router, call).await,
        E::NetworkInspect => networks::inspect(router, call).await,
        E::NetworkCreate => networks::create(router, call).await,
        E::NetworkRemove => networks::remove(router, call).await,
        E::NetworkConnect => networks::connect(router, call).await,
        E::NetworkDisconnect => networks::disconnect(router, call).await,
        E::NetworkPrune => networks::prune(router, call).await,
        _ => Err(Refusal::internal("no endpoint of this room")),
    }
}

async fn volume(router: &Router, endpoint: E, call: Call) -> Result<Reply, Refusal> {
    match endpoint {
        E::VolumeList => volumes::list(router, call).await,
        E::VolumeInspect => volumes::inspect(router, call).await,
        E::VolumeCreate => volumes::create(router, call).await,
        E::VolumeRemove => volumes::remove(router, call).await,
        E::VolumePrune => volumes::prune(router, call).await,
        E::VolumeUpdate => volumes::update(),
        _ => Err(Refusal::internal("no endpoint of this room")),
    }
}

/// What an engine without plugins and without a swarm says.
fn absent(endpoint: E, name: &str) -> Result<Reply, Refusal> {
    match endpoint {
        E::PluginList => Ok(reply::json(StatusCode::OK, &Vec::<api::json::Json>::new())),
        E::Plugin => Err(no_plugin(name)),
        E::Swarm => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NOT_A_MANAGER)),
        E::SwarmLeave => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm"))
        }
        _ => Err(Refusal::internal("no endpoint of this room")),
    }
}

fn no_plugin(name: &str) -> Refusal {
    let message = format!("plugin {} not found", crate::call::go_quote(name));
    Refusal::new(StatusCode::NOT_FOUND, message)
}
