//! A container that is being made: everything its request mounts, as mount points, and the volumes behind them.

use super::{Kind, MountPoint, parse};
use crate::config::{ContainerConfig, HostConfig};
use crate::error::{Error, Result};
use crate::volumes::{CreateVolume, LOCAL};
use crate::{Engine, state::Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What creation warns of, as dockerd does.
const IMAGE_WARNING: &str = "Image mount is an experimental feature";

/// A mount point, and the volume that it needs.
struct Wanted {
    point: MountPoint,
    labels: Option<BTreeMap<String, String>>,
    options: Option<BTreeMap<String, String>>,
}

impl From<MountPoint> for Wanted {
    fn from(point: MountPoint) -> Self {
        Self { point, labels: None, options: None }
    }
}

/// Checks what can be checked before anything is looked up.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    for text in &host.binds {
        parse::bind(text, &host.volume_driver)?;
    }
    for request in &host.mounts {
        parse::check(request, true)?;
        let bind = request.bind.clone().unwrap_or_default();
        let conflict = |text: &str| Err(Error::invalid(format!("mount options conflict: {text}")));
        match (bind.read_only_non_recursive, bind.read_only_force_recursive) {
            (true, true) => {
                return conflict("ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive");
            }
            (true, _) if !request.read_only => {
                return conflict("!ReadOnly && BindOptions.ReadOnlyNonRecursive");
            }
            (_, true) if !request.read_only => {
                return conflict("!ReadOnly && BindOptions.ReadOnlyForceRecursive");
            }
            _ => {}
        }
    }
    for text in &host.volumes_from {
        parse::volumes_from(text)?;
    }
    Ok(())
}

impl Engine {
    /// All mount points of a container that is being made, and what to warn of. The caller holds `volumes` when there
    /// may be any.
    pub(crate) fn resolve_mounts(
        &self,
        id: &str,
        config: &ContainerConfig,
        host: &HostConfig,
    ) -> Result<(Vec<MountPoint>, Vec<String>)> {
        let mut warnings = Vec::new();
        let mut points: BTreeMap<String, Wanted> = BTreeMap::new();
        for text in &host.volumes_from {
            for point in self.points_of_other(text)? {
                points.insert(point.destination.clone(), point.into());
            }
        }
        let asked = self.asked(host, &mut warnings)?;
        points.extend(asked.into_iter().map(|wanted| (wanted.point.destination.clone(), wanted)));
        for path in &config.volumes {
            let destination = parse::clean(path);
            if destination == "/" {
                return Err(Error::invalid("invalid specification: destination can't be '/'"));
            }
            if points.contains_key(&destination) || tmpfs_targets(host).any(|target| target == destination) {
                continue;
            }
            let point = MountPoint {
                kind: Kind::Volume,
                destination: destination.clone(),
                driver: host.volume_driver.clone(),
                read_write: true,
                anonymous: true,
                copy: true,
                ..MountPoint::default()
            };
            points.insert(destination, point.into());
        }
        let mut out = Vec::new();
        for (_, wanted) in points {
            out.push(self.with_volume(id, wanted)?);
        }
        Ok((out, warnings))
    }

    /// A container's mount points with the sources that `inspect` shows.
    pub(crate) fn shown_mounts(&self, record: &Record) -> Vec<MountPoint> {
        let shown = |point: &MountPoint| {
            let source = match point.kind {
                Kind::Bind | Kind::Tmpfs => return point.clone(),
                Kind::Volume => self.paths().volume_data(&point.name),
                Kind::Image => self.image_source(&record.id, &point.name),
            };
            MountPoint { source: source.to_string_lossy().into_owned(), ..point.clone() }
        };
        record.mounts.iter().map(shown).collect()
    }

    /// What another container has mounted, for `--volumes-from`.
    fn points_of_other(&self, text: &str) -> Result<Vec<MountPoint>> {
        let (name, writable) = parse::volumes_from(text)?;
        // As dockerd: of a request that names another container, not found is invalid.
        let other = self.state()?.find(name).map_err(|e| Error::invalid(e.message))?;
        let mut points = Vec::new();
        for point in other.mounts {
            if point.kind == Kind::Tmpfs {
                // dockerd takes everything without a source for a volume, and looks for the one without a name.
                return Err(Error::not_found("get: no such volume"));
            }
            points.push(MountPoint {
                read_write: point.read_write && writable,
                mode: String::new(),
                copy: false,
                ..point
            });
        }
        Ok(points)
    }

    /// `-v` and `--mount`, none of them twice.
    fn asked(&self, host: &HostConfig, warnings: &mut Vec<String>) -> Result<Vec<Wanted>> {
        let mut taken = BTreeSet::new();
        let mut out: Vec<Wanted> = Vec::new();
        let duplicate = |target: &str| Error::invalid(format!("Duplicate mount point: {target}"));
        for text in &host.binds {
            let mut point = parse::bind(text, &host.volume_driver)?;
            self.check_data_root(&mut point)?;
            if tmpfs_targets(host).any(|target| target == point.destination)
                || !taken.insert(point.destination.clone())
            {
                return Err(duplicate(&point.destination));
            }
            label(&mut point);
            out.push(point.into());
        }
        for request in &host.mounts {
            let mut point = parse::mount(request)?;
            self.check_data_root(&mut point)?;
            if !taken.insert(point.destination.clone()) {
                return Err(duplicate(&request.target));
            }
            if point.kind == Kind::Image {
                warnings.push(IMAGE_WARNING.to_string());
                let image = self.resolve_image(&point.name)?;
                point.chain = image.config.chain().pop().map(|chain| chain.to_string());
            }
            label(&mut point);
            let volume = request.volume.clone().unwrap_or_default();
            out.push(Wanted { point, labels: volume.labels, options: volume.driver_options });
        }
        Ok(out)
    }

    /// A bind of the data root, or of what contains it, must not keep its mounts alive: it is a slave unless its
    /// propagation was chosen.
    fn check_data_root(&self, point: &mut MountPoint) -> Result<()> {
        let root = &self.paths().data;
        let near = Path::new(&point.source).starts_with(root) || root.starts_with(&point.source);
        if point.kind != Kind::Bind || !near {
            return Ok(());
        }
        if !point.asked_propagation {
            point.propagation = "rslave".to_string();
            return Ok(());
        }
        if matches!(point.propagation.as_str(), "rslave" | "rshared") {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon root: {root:?}, bind mount source: {:?}, propagation: {:?}",
            point.source, point.propagation
        )))
    }

    /// Makes the volume of a mount point.
    fn with_volume(&self, id: &str, wanted: Wanted) -> Result<MountPoint> {
        let Wanted { mut point, labels, options } = wanted;
        // One of another container is there, and stays what it is.
        if point.kind != Kind::Volume || (point.anonymous && !point.name.is_empty()) {
            return Ok(point);
        }
        let request =
            CreateVolume { name: point.name.clone(), driver: point.driver.clone(), labels, options };
        let volume = self.ensure_volume(request, point.anonymous.then_some(id))?;
        point.name = volume.name;
        point.driver = LOCAL.to_string();
        Ok(point)
    }
}

/// As dockerd: a volume that the client asked for shows SELinux's mode for what is shared.
fn label(point: &mut MountPoint) {
    if point.kind == Kind::Volume && point.mode.is_empty() {
        point.mode = "z".to_string();
    }
}

fn tmpfs_targets(host: &HostConfig) -> impl Iterator<Item = String> {
    host.tmpfs.keys().map(|target| parse::clean(target))
}

impl Record {
    /// The volumes that the container has.
    pub(crate) fn volume_names(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter(|p| p.kind == Kind::Volume).map(|p| p.name.as_str())
    }

    /// Those that go with it when that is asked for.
    pub(crate) fn anonymous_volumes(&self) -> Vec<String> {
        let anonymous = self.mounts.iter().filter(|p| p.kind == Kind::Volume && p.anonymous);
        anonymous.map(|p| p.name.clone()).collect()
    }

    /// The images that it mounts, with the snapshots that keep them.
    pub(crate) fn image_points(&self) -> impl Iterator<Item = (String, &MountPoint)> {
        let images = self.mounts.iter().enumerate().filter(|(_, point)| point.kind == Kind::Image);
        images.map(|(index, point)| (super::image_snapshot(&self.id, index), point))
    }

    /// The keys of those snapshots.
    pub(crate) fn image_snapshots(&self) -> Vec<String> {
        self.image_points().map(|(key, _)| key).collect()
    }

    /// Whether making it may make or use volumes.
    pub(crate) fn wants_volumes(config: &ContainerConfig, host: &HostConfig) -> bool {
        !config.volumes.is_empty()
            || !host.volumes_from.is_empty()
            || !host.mounts.is_empty()
            || host.binds.iter().any(|bind| !bind.starts_with('/'))
    }
}
