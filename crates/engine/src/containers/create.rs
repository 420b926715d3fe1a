//! Making a container: the image's configuration merged in, a snapshot, a folder, a record.
//!
//! The record goes last, so that a container that is seen is whole; whatever a failure leaves is
//! taken back here, and what a crash leaves is found by reconcile (a folder or an active snapshot
//! without a record).

use super::names;
use crate::config::{ContainerConfig, CreateContainer, Health};
use crate::error::{Error, Kind, Result, errno, io};
use crate::spec::users::{self, ResolvedUser};
use crate::state::{LastRun, Record};
use crate::{Engine, spec};
use oci::ChainId;
use rustix::fs::{Mode, OFlags};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use sys::clock::Time;
use sys::root::Root;

/// How often a made-up name may be taken before the error is told.
const NAME_ATTEMPTS: u32 = 20;

/// What creation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The id.
    pub id: String,
    /// Docker's warnings.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes a container. [`Kind::NotFound`] with Docker's text when the image is not here.
    pub fn create_container(&self, request: CreateContainer) -> Result<Created> {
        let CreateContainer { name, mut config, mut host, networks } = request;
        if let Some(name) = &name {
            names::check(name)?;
        }
        super::check::config(&config, &host)?;
        self.fill_host(&mut host, self.cgroup_layout()?.version() == cgroup::Version::V2);
        let machine = self.machine(&host)?;
        let mut warnings = spec::validate(&mut host, &machine)?;
        super::check::host(&host)?;
        for mode in [&mut host.namespaces.pid, &mut host.namespaces.ipc] {
            if let Some(other) = mode.strip_prefix("container:") {
                // As dockerd: of a request that names another container, not found is invalid; it is kept by its id.
                let found = self.state()?.find(other).map_err(|e| Error::invalid(e.message))?;
                *mode = format!("container:{}", found.id);
            }
        }
        if let Some(found) = host.network.joined().and_then(|word| self.state().ok()?.find(word).ok()) {
            // One that is not there yet may be when this one starts.
            host.network = crate::NetworkMode::Container(format!("container:{}", found.id));
        }
        host.links = self.resolve_links(&host.network, std::mem::take(&mut host.links))?;
        if host.namespaces.uts == "host" && !config.hostname.is_empty() {
            return Err(Error::invalid("conflicting options: hostname and the UTS mode"));
        }
        super::check::labels(&host, crate::machine::has_selinux())?;
        super::check::working_dir(&mut config)?;
        config.healthcheck.as_ref().map_or(Ok(()), super::health::check)?;
        if host.network == crate::NetworkMode::Host && !host.port_bindings.is_empty() {
            warnings.push("Published ports are discarded when using host network mode".to_string());
        }
        let image = self.resolve_image(&config.image)?;
        let mut config = merge(config, &image.config.config);
        if config.entrypoint.as_ref().is_none_or(Vec::is_empty)
            && config.cmd.as_ref().is_none_or(Vec::is_empty)
        {
            return Err(Error::invalid("no command specified"));
        }
        let id = new_id()?;
        let hosts_name = host.network == crate::NetworkMode::Host || host.namespaces.uts == "host";
        if config.hostname.is_empty() && !hosts_name {
            config.hostname = id[..12].to_string();
        }
        let chain = image.config.chain().pop();
        let mut record = Record {
            name: name.clone().unwrap_or_default(),
            created_ns: Time::now().0,
            image_id: image.id.clone(),
            architecture: image.config.architecture.clone(),
            image_manifest: Some(image.manifest),
            chain: chain.as_ref().map(ToString::to_string),
            last: LastRun::default(),
            networks,
            mounts: Vec::new(),
            id,
            config,
            host,
        };
        let _making = self.paths().lock_shared("creating")?;
        match self.make(&mut record, chain.as_ref(), name.is_none()) {
            Ok(more) => warnings.extend(more),
            Err(e) => {
                // What kept it from being made is what the client must know.
                let _ = self.remove_parts(&record, true);
                return Err(e);
            }
        }
        self.tell(&record, "create", &[]);
        Ok(Created { id: record.id, warnings })
    }

    /// Everything of a container, the record last; no volume of it can go meanwhile.
    fn make(&self, record: &mut Record, chain: Option<&ChainId>, unnamed: bool) -> Result<Vec<String>> {
        let wants_volumes = Record::wants_volumes(&record.config, &record.host);
        let _volumes = if wants_volumes { Some(self.paths().lock_shared("volumes")?) } else { None };
        let (points, warnings) = self.resolve_mounts(&record.id, &record.config, &record.host)?;
        record.mounts = points;
        self.make_parts(record, chain)?;
        self.fill(record)?;
        self.insert_named(record, unnamed)?;
        Ok(warnings)
    }

    /// What its volumes get from its image, and what keeps the images that it mounts.
    fn fill(&self, record: &Record) -> Result<()> {
        for (key, point) in record.image_points() {
            let chain = point.chain.as_deref().map(oci::Digest::parse).transpose()?.map(ChainId);
            self.store()?.snapshots().prepare(&key, chain.as_ref(), record.host.auto_remove)?;
        }
        if record.volume_names().next().is_none() {
            return Ok(());
        }
        let mounts = self.store()?.snapshots().mounts(&record.id)?;
        let root = Root::from_fd(crate::mounts::tree_of(&mounts, &self.paths().run, Path::new("/"), "")?);
        self.check_volume_places(record, &root)?;
        self.fill_volumes(record, &root)
    }

    /// As dockerd: an image's volume is a folder.
    fn check_volume_places(&self, record: &Record, root: &Root) -> Result<()> {
        for path in &record.config.volumes {
            let Ok(found) = root.resolve(Path::new(path)) else { continue };
            if sys::root::file_type(std::os::fd::AsFd::as_fd(&found))? != rustix::fs::FileType::Directory {
                let shown = self.shown_root(&record.id, path);
                let text = format!("cannot mount volume over existing file, file exists {shown}");
                return Err(Error::new(Kind::Internal, text));
            }
        }
        Ok(())
    }

    fn make_parts(&self, record: &Record, chain: Option<&ChainId>) -> Result<()> {
        let mut step = sys::trace::step("snapshot", "mkdir(2)");
        let snapshots = self.store()?.snapshots();
        step.check(snapshots.prepare(&record.id, chain, record.host.auto_remove))?;
        drop(step);
        let folder = self.paths().container(&record.id);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(io(format!("mkdir {}", folder.display())))
            .and_then(|()| dockerenv(&snapshots.upper_dir(&record.id)?))
    }

    fn insert_named(&self, record: &mut Record, generated: bool) -> Result<()> {
        if !generated {
            return self.state()?.insert(record);
        }
        for attempt in 0..NAME_ATTEMPTS {
            record.name = names::generate(random()?, attempt);
            match self.state()?.insert(record) {
                Err(e) if e.kind == Kind::Conflict => {}
                other => return other,
            }
        }
        Err(Error::new(Kind::Internal, "no free name was found for the container"))
    }

    /// Whom a container's process runs as, by the files of its own root. The layers are looked
    /// through from above; only when a link stands in the way is the root mounted (detached).
    pub(crate) fn resolve_user(
        &self,
        user: &str,
        groups: &[String],
        mounts: &[sys::mount::Mount],
    ) -> Result<ResolvedUser> {
        let overlay =
            mounts.first().ok_or_else(|| Error::new(Kind::Internal, "the container has no root"))?;
        let (passwd, group) =
            match (layered_file(overlay, "etc/passwd")?, layered_file(overlay, "etc/group")?) {
                (Some(passwd), Some(group)) => (passwd, group),
                _ => user_files(&Root::from_fd(detached_root(overlay)?))?,
            };
        let mut resolved = users::resolve(user, &passwd, &group)?;
        resolved.groups.extend(users::resolve_groups(groups, &group)?);
        Ok(resolved)
    }
}

/// Looks a user up in a root's own files; `groups` are those that the container's processes have beside.
pub(crate) fn resolve_user_in(root: &Root, user: &str, groups: &[String]) -> Result<ResolvedUser> {
    let (passwd, group) = user_files(root)?;
    let mut resolved = users::resolve(user, &passwd, &group)?;
    resolved.groups.extend(users::resolve_groups(groups, &group)?);
    Ok(resolved)
}

/// passwd and group of a root.
fn user_files(root: &Root) -> Result<(String, String)> {
    let read = |path: &str| match root.open(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK, 0) {
        Ok(fd) => bounded(fd, path),
        // A root without these files is normal.
        Err(e)
            if e.errno() == rustix::io::Errno::NOENT.raw_os_error()
                || e.errno() == rustix::io::Errno::NOTDIR.raw_os_error() =>
        {
            Ok(String::new())
        }
        Err(e) => Err(e.into()),
    };
    Ok((read("etc/passwd")?, read("etc/group")?))
}

/// A new id: 64 hexadecimal digits, never all decimal in its short form (so that the short form is
/// no number where a host name is expected).
pub(crate) fn new_id() -> Result<String> {
    loop {
        let mut bytes = [0u8; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(errno("getrandom()"))?;
        let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        if id[..12].bytes().any(|b| !b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

fn random() -> Result<u64> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(errno("getrandom()"))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The client's wishes over the image's configuration, by Docker's rules.
fn merge(mut config: ContainerConfig, image: &oci::Config) -> ContainerConfig {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    config.exposed_ports.extend(image.exposed_ports.iter().cloned());
    config.volumes.extend(image.volumes.iter().cloned());
    let mut env = image.env.clone();
    for entry in &config.env {
        let name = entry.split('=').next().unwrap_or_default();
        env.retain(|e| e.split('=').next() != Some(name));
        env.push(entry.clone());
    }
    // The client's come first in Docker's list, then the image's others.
    let (own, others): (Vec<String>, Vec<String>) = env.into_iter().partition(|e| config.env.contains(e));
    config.env = own.into_iter().chain(others).collect();
    // An entry point of the client's own drops the image's command.
    if config.entrypoint.is_none() {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = Some(image.cmd.clone());
        }
        config.entrypoint = (!image.entrypoint.is_empty()).then(|| image.entrypoint.clone());
    } else if config.entrypoint.as_ref().is_some_and(|e| e.is_empty() || e == &[String::new()]) {
        config.entrypoint = None;
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if config.stop_signal.as_ref().is_none_or(String::is_empty) {
        config.stop_signal = (!image.stop_signal.is_empty()).then(|| image.stop_signal.clone());
    }
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    config.on_build.clone_from(&image.on_build);
    let of_image = image.healthcheck.as_ref().map(|h| Health {
        test: h.test.clone(),
        interval: h.interval,
        timeout: h.timeout,
        start_period: h.start_period,
        start_interval: h.start_interval,
        retries: h.retries,
    });
    config.healthcheck = super::health::merge(config.healthcheck.take(), of_image);
    config
}

/// `/.dockerenv`, by which programs tell that they are in a container.
fn dockerenv(upper: &Path) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(upper.join(".dockerenv"), flags, Mode::from(0o755))
        .map(drop)
        .map_err(errno("create /.dockerenv"))
}

/// A file of an overlay's topmost layer that has it. `None`: only a mount can tell (a link, or an
/// opaque folder, stands in the way). An absent file is empty.
fn layered_file(overlay: &sys::mount::Mount, path: &str) -> Result<Option<String>> {
    use rustix::fs::ResolveFlags;
    for layer in layers(overlay) {
        let dir = rustix::fs::open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(errno(format!("open {layer}")))?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&dir, path, flags, Mode::empty(), resolve) {
            Ok(fd) => return bounded(fd, path).map(Some),
            Err(rustix::io::Errno::NOENT) if plain_folder(&dir)? => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(String::new()))
}

/// Whether a layer's `etc` says nothing about the layers below: it is absent, or a folder that is
/// not opaque.
fn plain_folder(layer: &rustix::fd::OwnedFd) -> Result<bool> {
    match rustix::fs::openat(
        layer,
        "etc",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(etc) => Ok(rustix::fs::fgetxattr(&etc, "trusted.overlay.opaque", &mut [0u8; 4][..]).is_err()),
        Err(rustix::io::Errno::NOENT) => Ok(true),
        Err(_) => Ok(false),
    }
}

/// The folders of an overlay, the upper one first.
fn layers(overlay: &sys::mount::Mount) -> impl Iterator<Item = &str> {
    let option = |name: &'static str| overlay.options.iter().filter_map(move |o| o.strip_prefix(name));
    option("upperdir=").chain(option("lowerdir=").flat_map(|dirs| dirs.split(':'))).filter(|d| !d.is_empty())
}

/// The same root as a mount that nobody else sees, read-only.
fn detached_root(overlay: &sys::mount::Mount) -> Result<rustix::fd::OwnedFd> {
    let lower: Vec<&str> = layers(overlay).collect();
    let (source, kind) = (sys::mount::Source::Name("overlay".to_string()), "overlay".to_string());
    let options = vec![format!("lowerdir={}", lower.join(":")), "ro".to_string()];
    Ok(sys::mount::Mount { source, target: "".into(), kind, options }.detach()?)
}

fn bounded(fd: rustix::fd::OwnedFd, path: &str) -> Result<String> {
    let kind = sys::root::file_type(std::os::fd::AsFd::as_fd(&fd))?;
    if kind != rustix::fs::FileType::RegularFile {
        return Err(Error::invalid(format!("/{path} of the container is not a file")));
    }
    let mut content = Vec::new();
    std::fs::File::from(fd)
        .take(users::MAX_FILE_BYTES)
        .read_to_end(&mut content)
        .map_err(io(format!("read /{path}")))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
