//! The calls that measure and change what runs: stats, update, prune.

use crate::Error;
use crate::client::{Call, Client};
use crate::filters::Filters;
use crate::query::{Query, escape_path};
use crate::stats::{ContainersPruneReport, FilesystemChange, UpdateConfig, UpdateResponse};
use crate::stream::Messages;

impl Client {
    /// `GET /containers/{id}/stats`: messages of the form [`StatsResponse`](crate::stats::StatsResponse), one
    /// a second, or with `stream` off a single one.
    pub async fn container_stats(&self, id: &str, stream: bool) -> Result<Messages, Error> {
        let path = format!("/containers/{}/stats", escape_path(id));
        let query = Query::new().set("stream", if stream { "1" } else { "0" });
        Ok(Messages::new(self.send(Call::get(&path).query(query)).await?))
    }

    /// `POST /containers/{id}/update`: the engine's warnings.
    pub async fn container_update(&self, id: &str, config: &UpdateConfig) -> Result<Vec<String>, Error> {
        let path = format!("/containers/{}/update", escape_path(id));
        let response: UpdateResponse = self.fetch(Call::post(&path).json(config)).await?;
        Ok(response.warnings.unwrap_or_default())
    }

    /// `GET /containers/{id}/changes`
    pub async fn container_changes(&self, id: &str) -> Result<Vec<FilesystemChange>, Error> {
        let path = format!("/containers/{}/changes", escape_path(id));
        let found: Option<Vec<FilesystemChange>> = self.fetch(Call::get(&path)).await?;
        Ok(found.unwrap_or_default())
    }

    /// `POST /containers/prune`
    pub async fn container_prune(&self, filters: &Filters) -> Result<ContainersPruneReport, Error> {
        let query = Query::new().set_text("filters", &filters.to_param());
        self.fetch(Call::post("/containers/prune").query(query)).await
    }
}
