//! The built-in image `hello`: one layer that holds our own static program.
//!
//! It is a real image in the store, made when it is first asked for and absent; what it runs is
//! `tare-runtime` under the name `hello`, which prints what it sees from inside.

use super::Engine;
use crate::error::{Result, io};
use oci::{Config, ImageConfig, Platform, Reference};
use std::io::Cursor;
use store::{Labels, LayerBuilder};

/// Its name.
pub const NAME: &str = "hello";

impl Engine {
    /// Whether a name means the built-in image.
    pub fn is_hello(&self, name: &Reference) -> bool {
        name.familiar_name() == NAME
            && name.digest().is_none()
            && name.tag().is_none_or(|t| t == oci::DEFAULT_TAG)
    }

    /// Makes the built-in image; returns its id.
    pub(super) fn install_hello(&self, name: &Reference) -> Result<String> {
        let program = &self.options().runtime_program;
        let bytes = std::fs::read(program).map_err(io(format!("read {}", program.display())))?;
        let platform = Platform::host();
        let config = ImageConfig {
            // Fixed, so that the same program makes the same image on every machine.
            created: Some("1970-01-01T00:00:00Z".to_string()),
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            config: Config {
                entrypoint: vec!["/hello".to_string()],
                working_dir: "/".to_string(),
                env: vec!["PATH=/".to_string()],
                ..Config::default()
            },
            ..ImageConfig::default()
        };
        let mut layer = LayerBuilder::new();
        layer.file("hello", 0o755, &bytes).map_err(super::store_error)?;
        // What Docker mounts over must exist, or be made at each start.
        layer.directory("etc", 0o755).map_err(super::store_error)?;
        let tar = layer.finish().map_err(super::store_error)?;
        let target = self
            .store()?
            .install_image(name, config, [Cursor::new(tar)], &Labels::new())
            .map_err(super::store_error)?;
        Ok(target.digest.to_string())
    }
}
