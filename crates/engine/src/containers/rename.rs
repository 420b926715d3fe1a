//! A container's other name.

use super::names;
use crate::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Gives a container a new name, whether or not it runs.
    pub fn rename_container(&self, word: &str, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if word.is_empty() || name.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let id = self.state()?.find(word)?.id;
        let _lock = self.paths().lock(&id)?;
        let mut record = self.state()?.find(&id)?;
        if record.name == name {
            return Err(Error::invalid("Renaming a container with the same name as its current name"));
        }
        let allocating =
            |e: Error| Error { message: format!("Error when allocating new name: {}", e.message), ..e };
        // dockerd says the name as it keeps it.
        names::check(name).map_err(|_| allocating(names::invalid(&format!("/{name}"))))?;
        record.name = name.to_string();
        self.state()?.rename(&record).map_err(allocating)
    }
}
