//! Volumes over the lives of containers: what stays, what goes, and what a crash leaves.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(data_stays, anonymous_volumes_go, the_images_volumes, shared_by_two);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

fn names(host: &TestHost, engine: Engine) -> String {
    host.cli(engine, &["volume", "ls", "-q"]).ok().to_string()
}

/// As a database keeps its data: over `rm` and a new run, with the owner it gave it.
fn data_stays(host: &TestHost, engine: Engine) {
    let write = "echo kept >/data/f; chown 999:999 /data/f; chmod 600 /data/f";
    host.cli(engine, &["run", "--name", "one", "-v", "keep:/data", BUSYBOX, "sh", "-c", write]).ok();
    host.cli(engine, &["rm", "-v", "one"]).ok();
    let read = "cat /data/f; stat -c '%u %a' /data/f";
    let again = host.cli(engine, &["run", "--rm", "-v", "keep:/data", BUSYBOX, "sh", "-c", read]);
    assert_eq!(again.ok(), "kept\n999 600");
    assert_eq!(names(host, engine), "keep");
    let path = host.cli(engine, &["volume", "inspect", "--format", "{{.Mountpoint}}", "keep"]);
    assert!(path.ok().ends_with("/volumes/keep/_data"), "{path}");
    assert_eq!(host.sh(&format!("cat {}/f", path.ok())).ok(), "kept");
    host.cli(engine, &["volume", "rm", "keep"]).ok();
    assert_eq!(host.sh(&format!("ls {}", path.ok())).code, 2);
    let fresh = host.cli(engine, &["run", "--rm", "-v", "keep:/data", BUSYBOX, "ls", "-A", "/data"]);
    assert_eq!(fresh.ok(), "");
}

fn anonymous_volumes_go(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "--rm", "-v", "/data", BUSYBOX, "true"]).ok();
    assert!(tests::wait::until(std::time::Duration::from_secs(5), || names(host, engine).is_empty()));
    host.cli(engine, &["run", "--name", "stays", "-v", "/data", BUSYBOX, "true"]).ok();
    host.cli(engine, &["rm", "stays"]).ok();
    assert_eq!(names(host, engine).len(), 64);
    host.cli(
        engine,
        &["run", "-d", "--name", "goes", "-v", "/data", "-v", "named:/x", BUSYBOX, "sleep", "99"],
    )
    .ok();
    assert_eq!(names(host, engine).lines().count(), 3);
    host.cli(engine, &["rm", "-fv", "goes"]).ok();
    assert_eq!(names(host, engine).lines().count(), 2);
    let pruned = host.cli(engine, &["volume", "prune", "-f"]);
    assert!(pruned.ok().starts_with("Deleted Volumes:\n"), "{pruned}");
    assert_eq!(names(host, engine), "named");
}

/// `VOLUME` of an image: a folder of its own for each container, filled from the image.
fn the_images_volumes(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let make = format!(
        "$E create --name base {BUSYBOX} true >/dev/null; mkdir -p /tmp/w/data /tmp/w/bin; echo image >/tmp/w/data/f; chown 33 /tmp/w/data; \
         cp $(command -v busybox) /tmp/w/bin/cat; tar -C /tmp/w -c . | $E import -c 'VOLUME /data' - with:1 >/dev/null; $E rm base"
    );
    host.sh_with(engine, &make).ok();
    let first = host.cli(engine, &["run", "--name", "one", "with:1", "/bin/cat", "/data/f"]);
    assert_eq!(first.ok(), "image");
    let shown = host.cli(
        engine,
        &[
            "inspect",
            "--format",
            "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}} [{{.Mode}}]{{end}}",
            "one",
        ],
    );
    assert_eq!(shown.ok(), "volume /data true []");
    let source = host.cli(engine, &["inspect", "--format", "{{(index .Mounts 0).Source}}", "one"]);
    assert_eq!(host.sh(&format!("stat -c %u {}", source.ok())).ok(), "33");
    let tmpfs = host.cli(engine, &["run", "--rm", "--tmpfs", "/data", "with:1", "/bin/cat", "/proc/mounts"]);
    assert!(tmpfs.ok().contains("tmpfs /data tmpfs"), "{tmpfs}");
    host.cli(engine, &["rm", "-v", "one"]).ok();
    assert_eq!(names(host, engine), "");
}

fn shared_by_two(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "one", "-v", "both:/a", BUSYBOX, "sleep", "99"]).ok();
    host.cli(engine, &["run", "--rm", "-v", "both:/b", BUSYBOX, "sh", "-c", "echo hi >/b/f"]).ok();
    assert_eq!(host.cli(engine, &["exec", "one", "cat", "/a/f"]).ok(), "hi");
    host.cli(engine, &["volume", "rm", "both"]).exits(1).says("remove both: volume is in use - [");
    host.cli(engine, &["rm", "-f", "one"]).ok();
    assert_eq!(host.cli(engine, &["volume", "rm", "both"]).ok(), "both");
}
