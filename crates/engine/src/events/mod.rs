//! Events: what happened to containers, images and the rest, for whoever watches.
//!
//! They are written to the journal of the run root ([`shim::journal`]) by the process that causes them, shims
//! included, and read from there: nothing is passed from process to process. That one cannot be written is no
//! reason for what happened to fail.

mod filter;
mod reader;

use crate::state::Record;
use crate::{Container, ContainerConfig, Engine};

pub use filter::EventFilter;
pub use reader::EventReader;
pub use shim::journal::Attributes;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since the epoch.
    pub ns: i64,
    /// `container`, `image`, `network`, `volume`, `daemon`.
    pub kind: String,
    /// `start`, `exec_create: sh`, …
    pub action: String,
    /// Whom it happened to.
    pub id: String,
    /// What else is known.
    pub attributes: Attributes,
}

/// Tells that something happens now: `kind` is Docker's type, `id` whom it happens to.
pub fn publish(engine: &Engine, kind: &str, action: &str, id: &str, attributes: &Attributes) {
    if let Err(e) = shim::journal::append(&engine.paths().run, kind, action, id, attributes) {
        tracing::warn!(kind, action, id, error = crate::error::chain(&e), "an event was not recorded");
    }
}

/// What every event of a container says: its labels, its image, its name.
pub(crate) fn of_container(name: &str, config: &ContainerConfig) -> Attributes {
    let mut attributes = config.labels.clone();
    if !config.image.is_empty() {
        attributes.insert("image".to_string(), config.image.clone());
    }
    attributes.insert("name".to_string(), name.to_string());
    attributes
}

impl Engine {
    /// An event of a container, with what is particular to it.
    pub(crate) fn tell(&self, record: &Record, action: &str, more: &[(&str, &str)]) {
        self.tell_of(&record.id, &record.name, &record.config, action, more);
    }

    /// The same for a container as the doors see it.
    pub(crate) fn tell_container(&self, container: &Container, action: &str, more: &[(&str, &str)]) {
        self.tell_of(&container.id, &container.name, &container.config, action, more);
    }

    fn tell_of(&self, id: &str, name: &str, config: &ContainerConfig, action: &str, more: &[(&str, &str)]) {
        let mut attributes = of_container(name, config);
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())));
        publish(self, "container", action, id, &attributes);
    }

    /// An event of an image: `name` is what it was called by, labels are those of its configuration.
    pub(crate) fn tell_image(&self, action: &str, id: &str, name: &str, labels: Option<&Attributes>) {
        let mut attributes = labels.cloned().unwrap_or_default();
        attributes.insert("name".to_string(), name.to_string());
        publish(self, "image", action, id, &attributes);
    }

    /// A client at a terminal has left a container, or an exec in it, by its keys.
    pub fn note_detach(&self, word: &str, exec: Option<&str>) {
        let Ok(container) = self.container(word) else { return };
        match exec {
            None => self.tell_container(&container, "detach", &[]),
            Some(exec) => self.tell_container(&container, "exec_detach", &[("execID", exec)]),
        }
    }
}
