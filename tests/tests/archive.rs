//! What a container has made of its files: `diff`.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(changes_are_listed, hostile_trees_show_nothing_outside,);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";

fn changes_are_listed(host: &TestHost, engine: Engine) {
    let script = "echo x >/new; rm /bin/ls; mkdir -p /a/b; echo y >>/etc/passwd; ln -s x /link; touch /tmp/x; chmod 700 /home";
    host.cli(engine, &["run", "--name", "box", "-v", "/tmp:/data", BUSYBOX, "sh", "-c", script]).ok();
    let changes = || sorted(host.cli(engine, &["diff", "box"]).ok());
    let expected = [
        "A /a",
        "A /a/b",
        "A /data",
        "A /link",
        "A /new",
        "A /tmp/x",
        "C /bin",
        "C /etc",
        "C /etc/passwd",
        "C /home",
        "C /tmp",
        "D /bin/ls",
    ];
    assert_eq!(changes(), expected);
    host.cli(engine, &["create", "--name", "fresh", BUSYBOX]).ok();
    host.cli(engine, &["run", "-d", "--name", "runs", BUSYBOX, "sleep", "1000"]).ok();
    for name in ["fresh", "runs"] {
        assert_eq!(host.cli(engine, &["container", "diff", name]).ok(), "", "{name}");
    }
    host.cli(engine, &["exec", "runs", "sh", "-c", "rm -rf /etc; mkdir /etc; echo 1 >/etc/mine"]);
    let own = sorted(host.cli(engine, &["diff", "runs"]).ok());
    assert!(own.iter().any(|line| line == "A /etc/mine"), "{own:?}");
    let missing = host.cli(engine, &["diff", "nosuch"]);
    assert_eq!(
        (missing.code, missing.stderr.trim_end()),
        (1, "Error response from daemon: No such container: nosuch")
    );
    if let Some(socket) = engine.docker_host().and_then(|h| h.strip_prefix("unix://")) {
        let get = |name: &str| {
            host.sh(&format!("curl -s --unix-socket {socket} http://x/v1.51/containers/{name}/changes"))
                .ok()
                .to_owned()
        };
        assert_eq!(get("fresh"), "null");
        assert!(get("box").contains(r#"{"Path":"/bin/ls","Kind":2}"#), "{}", get("box"));
    }
    host.cli(engine, &["rm", "-f", "box", "fresh", "runs"]).ok();
}

fn hostile_trees_show_nothing_outside(host: &TestHost, engine: Engine) {
    host.sh("mkdir -p /tmp/outside && touch /tmp/outside/secret").ok();
    let script = "ln -s /tmp/outside /dir; ln -s / /root2; while :; do mkdir /flip; touch /flip/in; rm -r /flip; ln -s /tmp/outside /flip; rm /flip; done";
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sh", "-c", script]).ok();
    for _ in 0..20 {
        // It may fail while the tree changes under it; it never looks elsewhere.
        let changes = host.cli(engine, &["diff", "box"]);
        assert!(!changes.stdout.contains("secret"), "{changes}");
    }
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
