//! Mount propagation, both ways, before and after the start; read-only below; ownership by the kernel.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(propagation, refusals, read_only_below);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

/// A file system that is shared, with one below it.
const SOURCE: &str = "mkdir -p /tmp/p; mount -t tmpfs p /tmp/p; mount --make-shared /tmp/p; mkdir /tmp/p/early /tmp/p/late /tmp/p/back; \
    mount -t tmpfs early /tmp/p/early; echo early >/tmp/p/early/f";

fn propagation(host: &TestHost, engine: Engine) {
    for (word, late, back) in [
        ("private", false, false),
        ("rprivate", false, false),
        ("slave", true, false),
        ("rslave", true, false),
        ("shared", true, true),
        ("rshared", true, true),
    ] {
        host.sh(SOURCE).ok();
        let bind = format!("/tmp/p:/m:{word}");
        let run =
            ["run", "-d", "--name", "mmm", "--cap-add", "SYS_ADMIN", "-v", &bind, BUSYBOX, "sleep", "99"];
        host.cli(engine, &run).ok();
        // What was mounted before is there with each of them.
        assert_eq!(host.cli(engine, &["exec", "mmm", "cat", "/m/early/f"]).ok(), "early", "{word}");
        host.sh("mount -t tmpfs late /tmp/p/late; echo late >/tmp/p/late/f").ok();
        let seen = host.cli(engine, &["exec", "mmm", "cat", "/m/late/f"]);
        assert_eq!(seen.code == 0, late, "{word}: {seen}");
        let inside = "mount -t tmpfs back /m/back && echo back >/m/back/f";
        host.cli(engine, &["exec", "--privileged", "mmm", "sh", "-c", inside]).ok();
        assert_eq!(host.sh("cat /tmp/p/back/f").code == 0, back, "{word}");
        host.cli(engine, &["rm", "-f", "mmm"]).ok();
        host.sh("umount -R /tmp/p").ok();
    }
}

fn refusals(host: &TestHost, engine: Engine) {
    host.sh("mkdir -p /tmp/q; mount -t tmpfs q /tmp/q; mount --make-private /tmp/q").ok();
    for (word, text) in [
        ("rshared", "path /tmp/q is mounted on /tmp/q but it is not a shared mount"),
        ("rslave", "path /tmp/q is mounted on /tmp/q but it is not a shared or slave mount"),
    ] {
        let bind = format!("/tmp/q:/m:{word}");
        host.cli(engine, &["run", "--rm", "-v", &bind, BUSYBOX, "true"]).exits(125).says(text);
    }
}

fn read_only_below(host: &TestHost, engine: Engine) {
    host.sh(SOURCE).ok();
    let base = "type=bind,src=/tmp/p,dst=/m,readonly";
    for (more, below) in [
        ("", false),
        (",bind-recursive=writable", true),
        (",bind-recursive=readonly,bind-propagation=rprivate", false),
    ] {
        let mount = format!("{base}{more}");
        let touch = |path: &str| {
            host.cli(engine, &["run", "--rm", "--mount", &mount, BUSYBOX, "touch", path]).code == 0
        };
        assert!(!touch("/m/x"), "{more}");
        assert_eq!(touch("/m/early/x"), below, "{more}");
    }
    let alone = format!("{base},bind-recursive=disabled");
    let listed = host.cli(engine, &["run", "--rm", "--mount", &alone, BUSYBOX, "ls", "/m/early"]);
    assert_eq!(listed.ok(), "");
}
