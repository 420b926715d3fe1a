//! `commit`: what a container has changed becomes an image.
//!
//! A container that shall stand still meanwhile is frozen by this process, which its task's row names before it is
//! frozen: when the process dies, whoever looks at the container lets it go on.

use super::changes::{GIVEN, lower_view, open_at};
use crate::error::{Error, Result};
use crate::images::store_error;
use crate::{Container, ContainerConfig, Engine, Status};
use oci::{Config, Healthcheck, Reference};

/// What an image is to be made of.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Its name, if any.
    pub name: Option<Reference>,
    /// Who makes it.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// The container stands still meanwhile.
    pub pause: bool,
    /// What is said here goes before the container's own configuration.
    pub config: Option<ContainerConfig>,
}

impl Engine {
    /// Makes an image of a container; returns its id.
    pub fn commit(&self, word: &str, wanted: &Commit) -> Result<String> {
        let container = self.container(word)?;
        let id = container.id.as_str();
        let own = image_config(&container.config);
        let mut config = wanted.config.as_ref().map_or_else(|| own.clone(), image_config);
        for change in &wanted.changes {
            store::apply_change(&mut config, change).map_err(store_error)?;
        }
        let base = self.base_of(&container)?;
        let request = store::Commit {
            base: &base,
            name: wanted.name.as_ref(),
            config: merged(config, own),
            author: &wanted.author,
            comment: &wanted.comment,
            created_by: container.config.cmd.clone().unwrap_or_default().join(" "),
        };
        let frozen = wanted.pause && container.state.status == Status::Running;
        if frozen {
            self.freeze_for_now(&container)?;
        }
        let made = self.store()?.commit(&request, |out| self.write_layer(id, out));
        let made = made.map_err(store_error).map(|target| {
            let image = target.digest.to_string();
            let labels = self.labels_of(&image);
            self.tell_image("create", &image, &image, labels.as_ref());
            let name = wanted.name.as_ref().map(Reference::familiar).unwrap_or_default();
            if !name.is_empty() {
                self.tell_image("tag", &image, &name, labels.as_ref());
            }
            let more = [("comment", wanted.comment.as_str()), ("imageID", &image), ("imageRef", &name)];
            self.tell_container(&container, "commit", &more);
            image
        });
        if frozen {
            self.thaw(&container)?;
        }
        made
    }

    fn write_layer(&self, id: &str, out: &mut dyn std::io::Write) -> store::Result<()> {
        let snapshots = self.store().map_err(carried)?.snapshots();
        let lower = lower_view(&snapshots.parent_dirs(id)?).map_err(carried)?;
        let upper = open_at(rustix::fs::CWD, snapshots.upper_dir(id)?).map_err(carried)?;
        let given = |path: &std::path::Path| path.to_str().is_some_and(|path| GIVEN.contains(&path));
        tree::write_changes(tree::Layer { upper, lower, given: &given }, out)?;
        // Removed meanwhile, it may have been read in part.
        snapshots.parent_dirs(id).map(drop)
    }

    /// The manifest that a container was made of.
    fn base_of(&self, container: &Container) -> Result<oci::Descriptor> {
        if let Some(manifest) = &container.image_manifest {
            return Ok(manifest.clone());
        }
        let image = self.find_image(&container.image_id)?;
        Ok(self.view(&image)?.descriptor)
    }
}

/// An error of the engine on its way through the store.
fn carried(e: Error) -> store::Error {
    store::Error::Io { what: e.message, source: std::io::Error::from(std::io::ErrorKind::Other) }
}

/// What an image keeps of a container's configuration.
fn image_config(from: &ContainerConfig) -> Config {
    Config {
        user: from.user.clone(),
        exposed_ports: from.exposed_ports.clone(),
        env: from.env.clone(),
        entrypoint: from.entrypoint.clone().unwrap_or_default(),
        cmd: from.cmd.clone().unwrap_or_default(),
        volumes: from.volumes.clone(),
        working_dir: from.working_dir.clone(),
        labels: from.labels.clone(),
        stop_signal: from.stop_signal.clone().unwrap_or_default(),
        healthcheck: from.healthcheck.as_ref().map(|health| Healthcheck {
            test: health.test.clone(),
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries,
        }),
        on_build: from.on_build.clone(),
        ..Config::default()
    }
}

/// Docker's merge: what `new` does not say is as in `old`.
fn merged(mut new: Config, old: Config) -> Config {
    let or = |new: &mut String, old: String| {
        if new.is_empty() {
            *new = old;
        }
    };
    or(&mut new.user, old.user);
    or(&mut new.working_dir, old.working_dir);
    or(&mut new.stop_signal, old.stop_signal);
    new.exposed_ports.extend(old.exposed_ports);
    new.volumes.extend(old.volumes);
    for variable in old.env {
        let key = |text: &str| text.split('=').next().unwrap_or_default().to_string();
        if !new.env.iter().any(|own| key(own) == key(&variable)) {
            new.env.push(variable);
        }
    }
    for (key, value) in old.labels {
        new.labels.entry(key).or_insert(value);
    }
    if new.entrypoint.is_empty() {
        if new.cmd.is_empty() {
            new.cmd = old.cmd;
        }
        new.entrypoint = old.entrypoint;
    }
    new.healthcheck = new.healthcheck.or(old.healthcheck);
    new
}

impl Engine {
    /// A container that somebody who is gone had frozen goes on.
    pub(super) fn thaw_forgotten(&self, container: Container) -> Result<Container> {
        self.thaw(&container)?;
        let record = self.state()?.find(&container.id)?;
        let task = self.state()?.task(&record.id)?;
        self.describe(record, task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let config = |text: &str| -> Config { serde_json::from_str(text).unwrap() };
        let old =
            r#"{"User":"1","Env":["A=1","P=x"],"Cmd":["c"],"Labels":{"k":"v"},"ExposedPorts":{"1/tcp":{}}}"#;
        for (new, expected) in [
            ("{}", old.to_string()),
            (
                r#"{"Env":["A=2","B=3"],"Labels":{"k":"w"},"User":"7"}"#,
                r#"{"User":"7","Env":["A=2","B=3","P=x"],"Cmd":["c"],"Labels":{"k":"w"},"ExposedPorts":{"1/tcp":{}}}"#.to_string(),
            ),
            (
                r#"{"Entrypoint":["e"]}"#,
                r#"{"User":"1","Env":["A=1","P=x"],"Entrypoint":["e"],"Labels":{"k":"v"},"ExposedPorts":{"1/tcp":{}}}"#.to_string(),
            ),
        ] {
            assert_eq!(merged(config(new), config(old)), config(&expected), "{new}");
        }
    }
}
