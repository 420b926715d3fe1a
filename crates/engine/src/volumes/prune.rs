//! `volume prune`: what no container uses goes.

use super::Volume;
use crate::Engine;
use crate::error::Result;

/// Which volumes may go.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Also those that somebody named.
    pub all: bool,
    /// Only with all of these labels: `key` or `key=value`.
    pub labels: Vec<String>,
    /// Only without any of these.
    pub not_labels: Vec<String>,
}

impl Engine {
    /// Removes what may go; returns the names, and the bytes that they held.
    pub fn prune_volumes(&self, filter: &Prune) -> Result<(Vec<String>, u64)> {
        let _alone = self.paths().lock("volumes")?;
        let users = self.volume_users()?;
        let (mut names, mut bytes) = (Vec::new(), 0u64);
        for (name, row) in self.state()?.volumes()? {
            let volume = self.volume_of(name, row);
            if users.contains_key(&volume.name) || !filter.may_go(&volume) {
                continue;
            }
            let held = super::copy::content_bytes(&volume.mountpoint);
            self.delete_volume(&volume.name)?;
            bytes = bytes.saturating_add(held);
            names.push(volume.name);
        }
        let attributes = [("reclaimed".to_string(), bytes.to_string())].into();
        crate::events::publish(self, "volume", "prune", "", &attributes);
        Ok((names, bytes))
    }
}

impl Prune {
    /// As dockerd: what is mounted from elsewhere stays, whatever is asked for.
    fn may_go(&self, volume: &Volume) -> bool {
        volume.options.is_none()
            && (self.all || volume.is_anonymous())
            && self.labels.iter().all(|label| volume.has_label(label))
            && !self.not_labels.iter().any(|label| volume.has_label(label))
    }
}
