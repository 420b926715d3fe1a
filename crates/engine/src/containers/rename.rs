//! A container's other name.

use super::names;
use crate::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Gives a container a new name, whether or not it runs.
    pub fn rename_container(&self, word: &str, name: &str) -> Result<()> {
        if word.is_empty() || name.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let name = name.strip_prefix('/').unwrap_or(name);
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
        let old = std::mem::replace(&mut record.name, name.to_string());
        self.state()?.rename(&record).map_err(allocating)?;
        // Events of its shim say the new name from now on; a shim that is not there needs none.
        let attributes = crate::events::of_container(&record.name, &record.config);
        let path = self.paths().task(&id).join(shim::config::EVENT_FILE);
        if path.parent().is_some_and(std::path::Path::is_dir) {
            let text = crate::state::encode(&attributes)?;
            std::fs::write(&path, text).map_err(crate::error::io("write the name for events"))?;
        }
        if let Some(task) = self.state()?.task(&id)? {
            self.tell_resolvers(&record, &task)?;
        }
        self.tell(&record, "rename", &[("oldName", &format!("/{old}"))]);
        Ok(())
    }
}
