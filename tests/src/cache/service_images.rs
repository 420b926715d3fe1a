//! Images of two services that keep data, from Debian's packages: `redis` and `postgres`, each one layer, with the
//! paths and the volumes of Docker's official images.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::debian::{self, Suite};
use super::image::{Format, Image, LayerBuilder};
use super::image_set::{PATH, furnish};
use super::registry_data::RegistryData;

/// What each image has beside its service.
const BASE: [&str; 7] = ["base-files", "base-passwd", "coreutils", "dash", "grep", "libc-bin", "sed"];
/// Of packages that a service depends on; postgres does without its compiler of queries.
const UNNEEDED: [&str; 12] = [
    "usr/lib/llvm-14",
    "usr/lib/systemd",
    "usr/lib/x86_64-linux-gnu/dri",
    "usr/share/i18n",
    "usr/share/icons",
    "usr/share/postgresql-common",
    "usr/share/zoneinfo",
    "usr/share/mime",
    "usr/include",
    "usr/lib/udev",
    "lib/systemd",
    "lib/udev",
];
/// As the official image's: makes the database at the first start.
const ENTRYPOINT: &str = "#!/bin/sh\nset -e\nif [ ! -s \"$PGDATA/PG_VERSION\" ]; then\n    \
    initdb --username=postgres --auth=trust --encoding=UTF8 --locale=C >/dev/null\n    \
    echo 'host all all all trust' >>\"$PGDATA/pg_hba.conf\"\nfi\nexec \"$@\"\n";

/// Builds both and stores them as `redis:latest` and `postgres:latest`.
pub fn build(suite: &str, work: &Path, registry: &RegistryData) -> Result<()> {
    let tree = tree(suite, &["redis-server"], &work.join("redis"))?;
    let layer = LayerBuilder::new().tree(&tree)?.dir("data", 0o1777)?.finish()?;
    let config = json!({
        "Cmd": ["redis-server", "--protected-mode", "no"], "Env": [PATH], "WorkingDir": "/data",
        "ExposedPorts": {"6379/tcp": {}}, "Volumes": {"/data": {}},
    });
    registry.put("redis", "latest", &Image::new(Format::Oci, &config, vec![layer])?)?;

    let tree = self::tree(suite, &["postgresql"], &work.join("postgres"))?;
    let versions = tree.join("usr/lib/postgresql");
    let version = fs::read_dir(&versions)?.flatten().next().context("no version of PostgreSQL")?;
    let programs = format!("/usr/lib/postgresql/{}/bin", version.file_name().display());
    let script = tree.join("usr/bin/docker-entrypoint.sh");
    fs::write(&script, ENTRYPOINT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let passwd = tree.join("etc/passwd");
    let users = fs::read_to_string(&passwd)? + "postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh\n";
    fs::write(&passwd, users)?;
    let groups = fs::read_to_string(tree.join("etc/group"))? + "postgres:x:999:\n";
    fs::write(tree.join("etc/group"), groups)?;
    // The database's own folder belongs to whoever makes it: layers of ours have one owner, root.
    let layer = LayerBuilder::new().tree(&tree)?;
    let layer = layer.dir("var/lib/postgresql/data", 0o1777)?.dir("var/run/postgresql", 0o1777)?.finish()?;
    let config = json!({
        "User": "postgres", "Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["postgres", "-c", "listen_addresses=*"],
        "Env": [format!("{PATH}:{programs}"), "PGDATA=/var/lib/postgresql/data/pgdata"],
        "ExposedPorts": {"5432/tcp": {}}, "Volumes": {"/var/lib/postgresql/data": {}}, "StopSignal": "SIGINT",
    });
    registry.put("postgres", "latest", &Image::new(Format::Oci, &config, vec![layer])?)
}

fn tree(suite: &str, packages: &[&str], work: &Path) -> Result<std::path::PathBuf> {
    let suite = Suite::open(suite, work)?;
    let tree = work.join("tree");
    debian::unpack(&suite.download_with_dependencies(&[packages, &BASE].concat())?, &tree)?;
    for unneeded in UNNEEDED {
        let _ = fs::remove_dir_all(tree.join(unneeded));
    }
    let libraries = fs::read_dir(tree.join("usr/lib/x86_64-linux-gnu"))?.flatten();
    for library in libraries.filter(|l| l.file_name().to_string_lossy().starts_with("libLLVM")) {
        fs::remove_file(library.path())?;
    }
    furnish(&tree)?;
    Ok(tree)
}
