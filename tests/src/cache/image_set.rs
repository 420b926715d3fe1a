//! The images that the tests use, good and bad. Their contents are data here; a test names them.
//!
//! | Name in the registry | What it is |
//! |---|---|
//! | `busybox:latest` | one layer, Docker's media types |
//! | `nginx:1.22` | three layers, an OCI index with an attestation, serves on 80 as Docker's official one |
//! | `layered:latest` | whiteouts, an opaque folder, links, a set-user-ID file, replaced kinds |
//! | `configured:latest` | user, working folder, entry point, environment, ports, labels |
//! | `empty:latest` | neither entry point nor command |
//! | `bad-digest`, `bad-truncated`, `bad-gzip`, `bad-diffid`, `bad-path`, `bad-symlink` | each wrong in one way |

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::image::{Format, Image, Layer, LayerBuilder};
use super::registry_data::RegistryData;

/// What nginx's tree is made of.
pub const NGINX_PACKAGES: [&str; 10] = [
    "nginx-light",
    "dash",
    "coreutils",
    "base-files",
    "base-passwd",
    "sed",
    "grep",
    "procps",
    "hostname",
    "libc-bin",
];

/// What a container image does without.
const UNNEEDED: [&str; 14] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/bin/perl",
    "var/lib/dpkg",
    "var/cache",
];

/// The search path of every image.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PAGE: &str = "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n\
    <h1>Welcome to nginx!</h1>\n</body>\n</html>\n";
const SITE: &str = "server {\n    listen 80;\n    listen [::]:80;\n    server_name localhost;\n    location / {\n        \
    root /usr/share/nginx/html;\n        index index.html;\n    }\n}\n";

/// Builds all images from the unpacked packages in `trees` into `out/images` and `out/registry-data`.
pub fn build(trees: &Path, out: &Path) -> Result<()> {
    let registry = RegistryData::new(&out.join("registry-data"));
    let archives = out.join("images");
    fs::create_dir_all(&archives)?;
    let busybox_layer = busybox_layer(&fs::read(trees.join("busybox/busybox")).context("read busybox")?)?;
    let busybox =
        Image::new(Format::Docker, &json!({"Cmd": ["sh"], "Env": [PATH]}), vec![busybox_layer.clone()])?;
    registry.put("busybox", "latest", &busybox)?;
    fs::write(archives.join("busybox-docker.tar"), busybox.docker_archive("busybox:latest")?)?;
    fs::write(archives.join("busybox-oci.tar"), busybox.oci_archive("docker.io/library/busybox:latest")?)?;
    // For `import`: a plain root file system.
    fs::write(archives.join("busybox-rootfs.tar"), &busybox_layer.tar)?;

    let nginx = nginx(trees, out)?;
    registry.put("nginx", "1.22", &nginx)?;
    fs::write(archives.join("nginx-oci.tar"), nginx.oci_archive("docker.io/library/nginx:1.22")?)?;

    let layered = layered(&busybox_layer)?;
    registry.put("layered", "latest", &layered)?;
    fs::write(archives.join("layered-docker.tar"), layered.docker_archive("layered:latest")?)?;
    registry.put("configured", "latest", &configured(&busybox_layer)?)?;
    registry.put("empty", "latest", &Image::new(Format::Oci, &json!({}), vec![busybox_layer.clone()])?)?;
    bad_images(&registry, &busybox_layer)
}

fn busybox_layer(busybox: &[u8]) -> Result<Layer> {
    let mut layer = LayerBuilder::new();
    for (dir, mode) in
        [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755), ("home", 0o755)]
    {
        layer = layer.dir(dir, mode)?;
    }
    layer = layer
        .file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n")?
        .file("etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:www-data\nnogroup:x:65534:\n")?
        .file("bin/busybox", 0o755, busybox)?;
    for applet in APPLETS.split_whitespace() {
        layer = layer.hardlink(&format!("bin/{applet}"), 0o755, "bin/busybox")?;
    }
    layer.finish()
}

/// Applets of Debian's busybox-static that a test or a person at a shell needs.
const APPLETS: &str = "sh ash awk basename cat chgrp chmod chown cmp cp cut date dd df dirname dmesg du echo egrep env expr false fgrep \
    find free grep gunzip gzip head hexdump hostname httpd id ifconfig ip kill killall link ln logger ls md5sum mkdir mkfifo mknod mktemp mount \
    mv nc nproc nslookup od paste pgrep pidof ping pivot_root ps pwd readlink realpath reset rm rmdir route sed seq setsid sha256sum sleep \
    sort split stat stty su sync sysctl tac tail tar tee test time timeout touch tr true truncate tty umount uname uniq unlink uptime usleep \
    vi watch wc wget which whoami xargs yes";

fn nginx(trees: &Path, work: &Path) -> Result<Image> {
    let base = trees.join("base");
    furnish(&base)?;
    let server = trees.join("nginx");
    for unneeded in ["usr/share/doc", "usr/share/man", "usr/share/lintian"] {
        let _ = fs::remove_dir_all(server.join(unneeded));
    }
    let config = work.join("nginx-config");
    write_nginx_config(&server, &config)?;
    let layers = [&base, &server, &config].map(|tree| LayerBuilder::new().tree(tree)?.finish());
    let layers = layers.into_iter().collect::<Result<Vec<_>>>()?;
    let config = json!({
        "Cmd": ["nginx", "-g", "daemon off;"], "Env": [PATH, "NGINX_VERSION=1.22.1"],
        "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
        "Labels": {"maintainer": "tare test images"},
    });
    Image::new(Format::Oci, &config, layers)?.into_index()
}

/// Makes a root file system of unpacked packages: without what a container image does without, and with what their
/// scripts would have made.
pub fn furnish(tree: &Path) -> Result<()> {
    for unneeded in UNNEEDED {
        let path = tree.join(unneeded);
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
    }
    // base-passwd's maintainer script would copy these.
    for name in ["passwd", "group"] {
        fs::copy(tree.join(format!("usr/share/base-passwd/{name}.master")), tree.join("etc").join(name))?;
    }
    let shell = tree.join("bin/sh");
    if fs::symlink_metadata(&shell).is_err() {
        symlink("dash", &shell)?;
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).context("/tmp of an image")
}

/// The layer that makes Debian's nginx behave as Docker's official image: one site, logs to stdout and stderr.
fn write_nginx_config(server: &Path, out: &Path) -> Result<()> {
    for dir in ["etc/nginx/conf.d", "usr/share/nginx/html", "var/log/nginx", "var/lib/nginx"] {
        fs::create_dir_all(out.join(dir))?;
    }
    let main = fs::read_to_string(server.join("etc/nginx/nginx.conf")).context("read nginx.conf")?;
    let kept: Vec<&str> = main
        .lines()
        .filter(|line| !line.contains("sites-enabled") && !line.contains("modules-enabled"))
        .collect();
    fs::write(out.join("etc/nginx/nginx.conf"), kept.join("\n") + "\n")?;
    fs::write(out.join("etc/nginx/conf.d/default.conf"), SITE)?;
    fs::write(out.join("usr/share/nginx/html/index.html"), PAGE)?;
    symlink("/dev/stdout", out.join("var/log/nginx/access.log"))?;
    symlink("/dev/stderr", out.join("var/log/nginx/error.log"))?;
    Ok(())
}

fn layered(base: &Layer) -> Result<Image> {
    let second = LayerBuilder::new()
        .dir("data", 0o755)?
        .file("data/kept", 0o644, b"kept\n")?
        .file("data/removed", 0o644, b"removed\n")?
        .file("data/replaced", 0o644, b"old\n")?
        .dir("data/opaque", 0o755)?
        .file("data/opaque/below", 0o644, b"below\n")?
        .dir("data/becomes-file", 0o755)?
        .file("data/becomes-file/inner", 0o644, b"inner\n")?
        .file("data/becomes-folder", 0o644, b"file\n")?
        .symlink("data/link", "kept")?
        .hardlink("data/hard", 0o644, "data/kept")?
        .file("data/setuid", 0o4755, b"#!/bin/sh\n")?
        .finish()?;
    let third = LayerBuilder::new()
        .dir("data", 0o750)?
        .file("data/.wh.removed", 0o644, b"")?
        .file("data/replaced", 0o600, b"new\n")?
        .dir("data/opaque", 0o755)?
        .file("data/opaque/.wh..wh..opq", 0o644, b"")?
        .file("data/opaque/above", 0o644, b"above\n")?
        .file("data/becomes-file", 0o644, b"now a file\n")?
        .dir("data/becomes-folder", 0o755)?
        .file("data/becomes-folder/inner", 0o644, b"inner\n")?
        .symlink("data/link", "replaced")?
        .finish()?;
    Image::new(Format::Oci, &json!({"Cmd": ["sh"], "Env": [PATH]}), vec![base.clone(), second, third])
}

fn configured(base: &Layer) -> Result<Image> {
    let config = json!({
        "User": "www-data", "WorkingDir": "/srv/app", "Entrypoint": ["/bin/echo", "entry"], "Cmd": ["default"],
        "Env": [PATH, "GREETING=hello", "EMPTY="], "Labels": {"one": "1", "two": "2"},
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}}, "StopSignal": "SIGINT",
    });
    Image::new(Format::Oci, &config, vec![base.clone()])
}

fn bad_images(registry: &RegistryData, base: &Layer) -> Result<()> {
    let config = json!({"Cmd": ["sh"], "Env": [PATH]});
    let marked = |mark: &str| LayerBuilder::new().file("mark", 0o644, mark.as_bytes())?.finish();
    let with_layer = |layer: Layer| Image::new(Format::Oci, &config, vec![base.clone(), layer]);

    let layer = marked("bad-digest")?;
    let digest = super::image::digest(&layer.gzip);
    let mut wrong = layer.gzip.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 0xff;
    registry.put("bad-digest", "latest", &with_layer(layer)?)?;
    registry.falsify(&digest, &wrong)?;

    let layer = marked("bad-truncated")?;
    let digest = super::image::digest(&layer.gzip);
    let half = layer.gzip[..layer.gzip.len() / 2].to_vec();
    registry.put("bad-truncated", "latest", &with_layer(layer)?)?;
    registry.falsify(&digest, &half)?;

    // The digest is right, the gzip stream ends too early.
    let mut layer = marked("bad-gzip")?;
    layer.gzip.truncate(layer.gzip.len() / 2);
    registry.put("bad-gzip", "latest", &with_layer(layer)?)?;

    let layer = marked("bad-diffid")?;
    let mut image_config: Value = json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [super::image::digest(&base.tar), super::image::digest(&layer.tar)]},
    });
    image_config["rootfs"]["diff_ids"][1] = json!(super::image::digest(b"something else"));
    let image =
        Image::with_config(Format::Oci, serde_json::to_vec(&image_config)?, vec![base.clone(), layer])?;
    registry.put("bad-diffid", "latest", &image)?;

    let escape = LayerBuilder::new()
        .file("../../../../../../../../../../tmp/escaped-by-dots", 0o644, b"x")?
        .file("/tmp/escaped-absolute", 0o644, b"x")?
        .finish()?;
    registry.put("bad-path", "latest", &with_layer(escape)?)?;
    let through_link = LayerBuilder::new()
        .symlink("out", "/../../../../../../../tmp")?
        .file("out/escaped-by-link", 0o644, b"x")?
        .finish()?;
    registry.put("bad-symlink", "latest", &with_layer(through_link)?)
}
