//! A plan: the writes that turn resources into the kernel's words, and how they are made.
//!
//! It does not know a single file name; `v1` and `v2` make the plans.

use std::borrow::Cow;
use std::io;

use crate::folder::Folder;
use crate::{Controllers, Error, Result};

/// One value to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// Whose file it is; decides the folder on v1.
    pub(crate) controller: Controllers,
    /// File name.
    pub(crate) file: Cow<'static, str>,
    /// Value.
    pub(crate) value: String,
    /// The kernel compares it with others of the plan (period with quota): when refused as invalid, try it once
    /// more after them.
    pub(crate) deferrable: bool,
}

/// All values to write, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Values.
    pub(crate) writes: Vec<Write>,
    /// What will not be done, in words.
    pub(crate) warnings: Vec<String>,
}

/// What a plan may look at before it is made.
pub(crate) trait Facts {
    /// Controllers that the group has.
    fn controllers(&self) -> Controllers;
    /// Reads a file of the group; nothing when it is not there.
    fn read(&self, controller: Controllers, file: &str) -> Option<String>;
    /// Whether the group has the file.
    fn has(&self, controller: Controllers, file: &str) -> bool;

    /// An error by name when a controller is needed that is not there.
    fn require(&self, controller: Controllers, what: &str) -> Result<()> {
        if self.controllers().contains(controller) {
            return Ok(());
        }
        Err(Error::NoController { what: what.to_owned(), controller: controller.name() })
    }
}

impl Plan {
    /// Adds a value.
    pub(crate) fn push(
        &mut self,
        controller: Controllers,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) {
        let (file, value) = (file.into(), value.to_string());
        self.writes.push(Write { controller, file, value, deferrable: false });
    }

    /// Adds a value that may have to wait for later ones.
    pub(crate) fn push_deferrable(
        &mut self,
        controller: Controllers,
        file: &'static str,
        value: impl ToString,
    ) {
        self.push(controller, file, value);
        if let Some(last) = self.writes.last_mut() {
            last.deferrable = true;
        }
    }

    /// Makes the writes in the folders that `find` names.
    pub(crate) fn apply<'a>(&self, find: impl Fn(Controllers) -> Option<&'a Folder>) -> Result<()> {
        let mut deferred = Vec::new();
        for write in &self.writes {
            match write.make(&find) {
                Err(Error::Write { source, .. }) if write.deferrable && is_invalid(&source) => {
                    deferred.push(write);
                }
                other => other?,
            }
        }
        deferred.into_iter().try_for_each(|write| write.make(&find))
    }
}

impl Write {
    fn make<'a>(&self, find: &impl Fn(Controllers) -> Option<&'a Folder>) -> Result<()> {
        match find(self.controller) {
            Some(folder) => folder.write(&self.file, &self.value),
            None => Err(Error::NoController {
                what: self.file.clone().into_owned(),
                controller: self.controller.name(),
            }),
        }
    }
}

fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}
