//! What a hint needs to know beside the error's text, asked of the engine only when the text calls for it.

use std::path::Path;

use api::calls::{ContainerListOptions, ImageListOptions};
use api::{Client, Transport};

use super::{Facts, port, rules};

/// At most so many names are compared with the one that was typed.
const MAX_NAMES: usize = 10_000;

/// Whatever cannot be looked up is left out: a hint is never an error.
pub(crate) async fn gather(text: &str, program: &str, client: Option<Client>) -> Facts {
    let mut facts = Facts { program: program.to_owned(), ..Facts::default() };
    let Some(client) = client else { return facts };
    if let Some((port, protocol)) = port::taken(text) {
        facts.holder = holder(&client, port, protocol).await;
    } else if let Some(kind) = rules::missing_kind(text) {
        facts.names = names(&client, kind).await.unwrap_or_default();
        facts.names.truncate(MAX_NAMES);
    }
    facts
}

async fn holder(client: &Client, port: u16, protocol: &str) -> Option<String> {
    let list = client.container_list(&ContainerListOptions::default()).await.unwrap_or_default();
    let publishes = |c: &&api::container::ContainerSummary| {
        c.ports.iter().any(|p| p.public_port == port && p.protocol == protocol)
    };
    if let Some(container) = list.iter().find(publishes) {
        let name = container.names.first().map_or(container.id.as_str(), |name| name.trim_start_matches('/'));
        return Some(format!("the container {name}"));
    }
    let is_here = client.transport().is_in_process() || matches!(client.transport(), Transport::Unix(_));
    if is_here { port::holder(Path::new("/proc"), port, protocol) } else { None }
}

async fn names(client: &Client, kind: &str) -> Result<Vec<String>, api::Error> {
    Ok(match kind {
        "container" => {
            let all = ContainerListOptions { all: true, ..ContainerListOptions::default() };
            let list = client.container_list(&all).await?;
            list.into_iter()
                .flat_map(|c| c.names)
                .map(|name| name.trim_start_matches('/').to_owned())
                .collect()
        }
        "image" => {
            let list = client.image_list(&ImageListOptions::default()).await?;
            list.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect()
        }
        "network" => {
            let list = client.network_list(&api::filters::Filters::default()).await?;
            list.into_iter().map(|network| network.name).collect()
        }
        _ => {
            let list = client.volume_list(&api::filters::Filters::default()).await?;
            list.volumes.into_iter().map(|volume| volume.name).collect()
        }
    })
}
