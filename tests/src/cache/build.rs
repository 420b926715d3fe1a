//! Builds the cache, in under three minutes, from Debian's packages only.
//!
//! Four stages, each with a stamp of its own in `versions.json`: the software, the images made from it, the
//! virtual machine's disk that holds both, and images of services, which are added last. A stage is built beside the old one and moved into place, under a lock,
//! so that test runs never see a half.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::debian::{self, Suite};
use super::registry_data::RegistryData;
use super::{ORACLE_VERSION, image_set, service_images, vm_image};

/// Raised when what [`build_software`] makes changes.
const SOFTWARE: u32 = 1;
/// Raised when the images change.
const IMAGES: u32 = 2;
/// Raised when what the virtual machine boots changes.
const VM: u32 = 1;
/// Raised when the images of services change.
const SERVICES: u32 = 1;

/// The content of `versions.json`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Versions {
    software: u32,
    images: u32,
    /// It holds parts of the other stages, so their numbers are in it.
    #[serde(default)]
    vm: String,
    #[serde(default)]
    services: u32,
    oracle: String,
    packages: Vec<String>,
}

/// Makes the cache complete in `dir`; does nothing when it is already. Says each step through `say`.
pub fn ensure(dir: &Path, say: &dyn Fn(&str)) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let lock = fs::File::create(dir.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive).context("lock the cache")?;
    let stamp = dir.join("versions.json");
    let mut versions: Versions =
        fs::read(&stamp).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let vm = format!("{VM} of software {SOFTWARE}, images {IMAGES}");
    let base = versions.software == SOFTWARE && versions.images == IMAGES && versions.vm == vm;
    if base && versions.services == SERVICES {
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    let work = dir.join("work");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    if versions.software != SOFTWARE {
        versions = build_software(dir, &work, say)?;
    }
    if versions.images != IMAGES {
        say("test cache: images");
        image_set::build(&dir.join("trees"), &work)?;
        for part in ["images", "registry-data"] {
            replace(&work.join(part), &dir.join(part))?;
        }
        versions.images = IMAGES;
        versions.services = 0;
    }
    if versions.vm != vm {
        say("test cache: Debian 12's kernel and a disk for the virtual machine");
        vm_image::build(dir, &work, &work.join("vm"))?;
        replace(&work.join("vm"), &dir.join("vm"))?;
        versions.vm = vm;
    }
    if versions.services != SERVICES {
        say("test cache: redis, postgres");
        service_images::build(&codename()?, &work, &RegistryData::new(&dir.join("registry-data")))?;
        versions.services = SERVICES;
    }
    fs::remove_dir_all(&work)?;
    fs::write(&stamp, serde_json::to_vec_pretty(&versions)?).context("write versions.json")
}

fn build_software(dir: &Path, work: &Path, say: &dyn Fn(&str)) -> Result<Versions> {
    let mut packages = Vec::new();
    let mut note = |debs: &[PathBuf]| packages.extend(debs.iter().filter_map(|deb| file_name(deb)));

    say("test cache: dockerd (Debian sid)");
    let sid = Suite::open("sid", work)?;
    let oracle = work.join("oracle");
    let debs = sid.download(&["docker.io", "docker-cli", "containerd", "tini-static"])?;
    debian::unpack(&debs, &oracle)?;
    note(&debs);
    let version = oracle_version(&oracle.join("usr/sbin/dockerd"))?;

    say("test cache: docker-registry, runc, busybox, nginx");
    let own = Suite::open(&codename()?, work)?;
    let tools = work.join("tools");
    let debs = own.download(&["docker-registry", "runc", "busybox-static"])?;
    debian::unpack(&debs, &tools)?;
    note(&debs);
    let trees = work.join("trees");
    let debs = own.download_with_dependencies(&image_set::NGINX_PACKAGES)?;
    note(&debs);
    let (nginx, base): (Vec<_>, Vec<_>) =
        debs.into_iter().partition(|deb| file_name(deb).is_some_and(|name| name.contains("nginx")));
    debian::unpack(&base, &trees.join("base"))?;
    debian::unpack(&nginx, &trees.join("nginx"))?;
    fs::create_dir_all(trees.join("busybox"))?;
    fs::copy(tools.join("bin/busybox"), trees.join("busybox/busybox")).context("copy busybox")?;

    for part in ["oracle", "tools", "trees"] {
        replace(&work.join(part), &dir.join(part))?;
    }
    Ok(Versions { software: SOFTWARE, oracle: version, packages, ..Versions::default() })
}

/// The oracle's version; another than the reference's is refused.
fn oracle_version(dockerd: &Path) -> Result<String> {
    let output = Command::new(dockerd).arg("--version").output().context("execute the oracle's dockerd")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    ensure!(
        text.contains(&format!("version {ORACLE_VERSION}")),
        "the oracle must be dockerd {ORACLE_VERSION}, but Debian has: {text}"
    );
    Ok(text)
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_string).context("/etc/os-release has no VERSION_CODENAME")
}

fn replace(new: &Path, old: &Path) -> Result<()> {
    if old.exists() {
        fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
    }
    fs::rename(new, old).with_context(|| format!("move {} to {}", new.display(), old.display()))
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_string())
}
