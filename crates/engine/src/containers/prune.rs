//! `container prune`: containers that do not run go.

use crate::error::{Kind, Result};
use crate::{Engine, ListFilter};

/// Which containers may go.
#[derive(Debug, Clone, Default)]
pub struct PruneFilter {
    /// Only those made before this (nanoseconds since the epoch).
    pub until_ns: Option<i64>,
    /// Only with these labels: name and value, or the name alone.
    pub labels: Vec<(String, Option<String>)>,
    /// Only without these.
    pub not_labels: Vec<(String, Option<String>)>,
}

impl Engine {
    /// Removes what may go; returns the ids, and the bytes that they had written.
    pub async fn prune_containers(&self, filter: &PruneFilter) -> Result<(Vec<String>, u64)> {
        let all = ListFilter { all: true, ..ListFilter::default() };
        let (mut removed, mut bytes) = (Vec::new(), 0u64);
        for container in self.list_containers(&all)? {
            let has = |(name, value): &(String, Option<String>)| {
                let have = container.config.labels.get(name);
                have.is_some_and(|have| value.as_ref().is_none_or(|value| value == have))
            };
            let late = filter.until_ns.is_some_and(|until| container.created_ns > until);
            let fits = filter.labels.iter().all(has) && !filter.not_labels.iter().any(has);
            if container.is_active() || late || !fits {
                continue;
            }
            let written = self.container_sizes(&container.id).map_or(0, |sizes| sizes.written);
            match self.remove_container(&container.id, false, false).await {
                Ok(()) => {
                    bytes = bytes.saturating_add(written);
                    removed.push(container.id);
                }
                // It was started, or removed by somebody else.
                Err(e) if matches!(e.kind, Kind::Conflict | Kind::NotFound) => {}
                Err(e) => tracing::warn!(container = container.id, error = %e, "prune left a container"),
            }
        }
        let attributes = [("reclaimed".to_string(), bytes.to_string())].into();
        crate::events::publish(self, "container", "prune", "", &attributes);
        Ok((removed, bytes))
    }
}
