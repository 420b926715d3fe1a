//! Events that only the shim sees: the end of an exec, a kill for want of memory, a change of health.
//!
//! What they say of the container is read from the run folder each time: a shim keeps no labels in memory.

use super::{Monitor, read_file};
use crate::config;
use crate::journal::{self, Attributes};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, openat};
use serde::Deserialize;

impl Monitor {
    /// Appends an event of the container to the journal; one that cannot be written is no reason for anything.
    pub(super) fn publish(&self, action: &str, more: &[(&str, &str)]) {
        let mut attributes = self.event_attributes();
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The run folder is one below the run root.
        let Ok(root) = openat(&self.place.run_dir, "..", flags, Mode::empty()) else { return };
        let _ = journal::append_in(root.as_fd(), "container", action, &self.settings.id, &attributes);
    }

    fn event_attributes(&self) -> Attributes {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            event: Attributes,
        }
        let renamed = read_file(&self.place.run_dir, config::EVENT_FILE).ok();
        if let Some(attributes) = renamed.and_then(|json| serde_json::from_slice(&json).ok()) {
            return attributes;
        }
        let head = read_file(&self.place.run_dir, config::FILE).ok();
        head.and_then(|json| serde_json::from_slice::<Head>(&json).ok()).map(|h| h.event).unwrap_or_default()
    }
}
