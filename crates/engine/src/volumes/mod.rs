//! Volumes: folders with a name that outlive containers.
//!
//! Invariants. A volume is its row in `tare.db`; the folder `DATA/volumes/NAME/_data` is made when it is missing and
//! means nothing without the row. A volume with an owner goes with that container: an anonymous one of a container
//! that is being made, or that is removed with its volumes. So whatever a crash interrupts is finished by reconcile.
//!
//! Locks, taken after a container's and before the databases': `volumes`, shared by whoever makes a container with
//! volumes until its record is written, exclusive for removing any; then `volume-names` for making one; then
//! `volume-mounts` for mounting and unmounting what a driver's options describe.
//!
//! Volumes of the driver `local` are all there are. This module does not know what mounts them into containers.

mod copy;
mod fill;
mod local;
mod prune;
mod rows;

use crate::Engine;
use crate::error::{Error, Result, io};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::clock::Time;

pub(crate) use local::mount_here;
pub use prune::Prune;
pub(crate) use rows::{MIGRATION, doom, keep};

/// The label by which `prune` knows that nobody gave the volume its name.
const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// The only driver.
pub(crate) const LOCAL: &str = "local";
/// Folders on their way to the trash start so, which no volume's name does.
const DOOMED: &str = ".doomed-";

/// What a volume is asked to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateVolume {
    /// Its name; a random one when empty.
    pub name: String,
    /// Its driver; `local` when empty.
    pub driver: String,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The driver's options: `type`, `device`, `o`.
    pub options: Option<BTreeMap<String, String>>,
}

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The driver's options.
    pub options: Option<BTreeMap<String, String>>,
    /// Where its files are.
    pub mountpoint: PathBuf,
}

/// Which volumes `list` returns; all conditions must hold, an empty list is no condition.
#[derive(Debug, Clone, Default)]
pub struct VolumeFilter {
    /// Whether no container uses it.
    pub dangling: Option<bool>,
    /// Part of the name, `^` and `$` for its ends.
    pub names: Vec<String>,
    /// `key` or `key=value`: all of them.
    pub labels: Vec<String>,
    /// The driver.
    pub drivers: Vec<String>,
}

/// A volume as it is kept, under its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    created_ns: i64,
    labels: Option<BTreeMap<String, String>>,
    options: Option<BTreeMap<String, String>>,
}

impl Engine {
    /// Makes a volume; one of that name that is there already is what is asked for, whatever it is like.
    pub fn create_volume(&self, wanted: CreateVolume) -> Result<Volume> {
        let _kept = self.paths().lock_shared("volumes")?;
        self.ensure_volume(wanted, None)
    }

    /// The same for a caller who holds `volumes`; a volume that is made so goes with its owner.
    pub(crate) fn ensure_volume(&self, wanted: CreateVolume, owner: Option<&str>) -> Result<Volume> {
        let CreateVolume { mut name, driver, mut labels, options } = wanted;
        let anonymous = name.is_empty();
        if anonymous {
            name = crate::containers::new_id()?;
            labels.get_or_insert_default().insert(ANONYMOUS.to_string(), String::new());
        }
        let context = |e: Error| Error { message: format!("create {name}: {}", e.message), ..e };
        if !matches!(driver.as_str(), "" | LOCAL) {
            let text = format!("error looking up volume plugin {driver}: plugin \"{driver}\" not found");
            return Err(context(Error::not_found(text)));
        }
        let _alone = self.paths().lock("volume-names")?;
        if let Some(row) = self.state()?.volume(&name)? {
            self.volume_folder(&name)?;
            return Ok(self.volume_of(name, row));
        }
        if !anonymous {
            local::check_name(&name).map_err(context)?;
        }
        let options = options.filter(|options| !options.is_empty());
        local::check_options(options.as_ref()).map_err(context)?;
        // A folder without a row is what a crash has left of another volume.
        self.discard_volume_folder(&name)?;
        let row = Row { created_ns: Time::now().0, labels, options };
        self.state()?.insert_volume(&name, owner, &row)?;
        self.volume_folder(&name)?;
        self.tell_volume(&name, "create", &[]);
        Ok(self.volume_of(name, row))
    }

    /// One volume.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        match self.state()?.volume(name)? {
            Some(row) => Ok(self.volume_of(name.to_string(), row)),
            None => Err(no_such(name)),
        }
    }

    /// The volumes that pass the filter, by name.
    pub fn list_volumes(&self, filter: &VolumeFilter) -> Result<Vec<Volume>> {
        let users = if filter.dangling.is_some() { self.volume_users()? } else { HashMap::new() };
        let mut found = Vec::new();
        for (name, row) in self.state()?.volumes()? {
            let volume = self.volume_of(name, row);
            if filter.passes(&volume, users.contains_key(&volume.name)) {
                found.push(volume);
            }
        }
        Ok(found)
    }

    /// Removes a volume that no container has; with `force` one that is not there is no error.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let _alone = self.paths().lock("volumes")?;
        if self.state()?.volume(name)?.is_none() {
            return if force { Ok(()) } else { Err(no_such(name)) };
        }
        match self.volume_users()?.remove(name) {
            Some(users) => {
                Err(Error::conflict(format!("remove {name}: volume is in use - [{}]", users.join(" "))))
            }
            None => self.delete_volume(name),
        }
    }

    /// Removes those of these anonymous volumes that nobody else uses; their container's record is gone.
    pub(crate) fn release_volumes(&self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let _alone = self.paths().lock("volumes")?;
        let users = self.volume_users()?;
        for name in names {
            if users.contains_key(name) {
                self.state()?.disown_volume(name)?;
            } else {
                self.delete_volume(name)?;
            }
        }
        Ok(())
    }

    /// Finishes what a crash has interrupted; the caller knows that nobody makes a container right now.
    pub(crate) fn reconcile_volumes(&self) -> Result<usize> {
        let root = self.paths().volumes();
        if !root.is_dir() {
            return Ok(0);
        }
        let _alone = self.paths().lock("volumes")?;
        let mut removed = 0;
        let (users, state) = (self.volume_users()?, self.state()?);
        for (name, owner) in state.owned_volumes()? {
            if !users.contains_key(&name) && state.find(&owner).is_err() {
                self.delete_volume(&name)?;
                removed += 1;
            }
        }
        for entry in std::fs::read_dir(&root).map_err(io("read volumes/"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(DOOMED) {
                remove_tree(&entry.path())?;
            } else if state.volume(&name)?.is_none() {
                self.discard_volume_folder(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// What a volume's files hold.
    pub(crate) fn volume_bytes(&self, name: &str) -> u64 {
        copy::content_bytes(&self.paths().volume_data(name))
    }

    /// Each volume that containers have, with their ids.
    pub(crate) fn volume_users(&self) -> Result<HashMap<String, Vec<String>>> {
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for record in self.state()?.containers()? {
            for name in record.volume_names() {
                let ids = users.entry(name.to_string()).or_default();
                if ids.last() != Some(&record.id) {
                    ids.push(record.id.clone());
                }
            }
        }
        Ok(users)
    }

    /// The row goes first: a folder without one is nobody's.
    fn delete_volume(&self, name: &str) -> Result<()> {
        local::unmount_all(&self.paths().volume_data(name))?;
        local::check_no_mounts(&self.paths().volume(name), name)?;
        self.state()?.delete_volume(name)?;
        self.tell_volume(name, "destroy", &[]);
        self.discard_volume_folder(name)
    }

    /// An event of a volume.
    pub(crate) fn tell_volume(&self, name: &str, action: &str, more: &[(&str, &str)]) {
        let all = more.iter().chain(&[("driver", LOCAL)]);
        let attributes = all.map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect();
        crate::events::publish(self, "volume", action, name, &attributes);
    }

    fn discard_volume_folder(&self, name: &str) -> Result<()> {
        let folder = self.paths().volume(name);
        local::check_no_mounts(&folder, name)?;
        let doomed = self.paths().volumes().join(format!("{DOOMED}{}", crate::containers::new_id()?));
        match std::fs::rename(&folder, &doomed) {
            Ok(()) => remove_tree(&doomed),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io(format!("rename {}", folder.display()))(e)),
        }
    }

    /// Where a volume's files are, made when it is missing.
    pub(crate) fn volume_folder(&self, name: &str) -> Result<PathBuf> {
        let data = self.paths().volume_data(name);
        if data.is_dir() {
            return Ok(data);
        }
        for (folder, mode) in
            [(self.paths().volumes(), 0o701), (self.paths().volume(name), 0o701), (data.clone(), 0o755)]
        {
            make_folder(&folder, mode)?;
        }
        Ok(data)
    }

    fn volume_of(&self, name: String, row: Row) -> Volume {
        let mountpoint = self.paths().volume_data(&name);
        Volume { name, created_ns: row.created_ns, labels: row.labels, options: row.options, mountpoint }
    }
}

impl Volume {
    /// Whether nobody gave it its name.
    pub fn is_anonymous(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }

    /// Whether it has a label: `key` or `key=value`.
    fn has_label(&self, wanted: &str) -> bool {
        let labels = self.labels.as_ref();
        match wanted.split_once('=') {
            Some((key, value)) => labels.and_then(|l| l.get(key)).is_some_and(|have| have == value),
            None => labels.is_some_and(|l| l.contains_key(wanted)),
        }
    }
}

impl VolumeFilter {
    fn passes(&self, volume: &Volume, used: bool) -> bool {
        self.dangling.is_none_or(|dangling| dangling != used)
            && (self.names.is_empty()
                || self.names.iter().any(|name| crate::name_pattern::matches(name, &volume.name)))
            && (self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == LOCAL))
            && self.labels.iter().all(|label| volume.has_label(label))
    }
}

fn no_such(name: &str) -> Error {
    Error::not_found(if name.is_empty() {
        "get: no such volume".to_string()
    } else {
        format!("get {name}: no such volume")
    })
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        // The umask took bits from the mode.
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
    .map_err(io(format!("mkdir {}", path.display())))
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(io(format!("remove {}", path.display()))(e))
        }
        _ => Ok(()),
    }
}
