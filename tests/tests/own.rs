//! What only Tare has: the built-in image, `--explain`, and a clean way out.

use serde_json::Value;
use tests::sandbox::cgroups;
use tests::{Engine, Output, TestHost};

fn host() -> Option<TestHost> {
    if !Engine::Tare.is_wanted() {
        tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
        return None;
    }
    TestHost::new()
}

/// No registry, no daemon, nothing configured, not even a network beyond `lo`.
#[test]
fn hello_runs_on_a_fresh_machine() {
    let Some(host) = host() else { return };
    host.sh("ip link set eth0 down").ok();
    let output = host.tare(&["run", "--rm", "--memory", "64m", "--pids-limit", "10", "hello"]);
    let text = output.ok();
    for sign in [
        "pid",
        "namespaces",
        "67108864 bytes (64 MiB)",
        "processes     10",
        "capabilities",
        "14 of 41",
        "mounts",
        "--explain",
    ] {
        assert!(text.contains(sign), "{sign:?} is missing\n{output}");
    }
    let first = output.stderr.lines().next();
    assert_eq!(first, Some("Unable to find image 'hello:latest' locally"), "{output}");
    assert_eq!(host.tare(&["ps", "-aq"]).ok(), "");
}

#[test]
fn explain_tells_the_story_as_a_tree() {
    let Some(host) = host() else { return };
    let output = host.tare(&["run", "--rm", "--explain", "-p", "8080:80", "--memory", "64m", "hello"]);
    assert!(output.ok().contains("Hello"));
    for sign in [
        "overlay",
        "pid namespace",
        "mount",
        "cgroup",
        "67108864",
        "veth",
        "nft",
        "seccomp",
        "capabilities",
        "pivot_root",
        "exec",
        "µs",
    ] {
        assert!(output.stderr.contains(sign), "{sign:?} is not in the story\n{output}");
    }
    let silent = host.tare(&["run", "--rm", "hello"]);
    assert_eq!(silent.stderr, "", "a story nobody asked for\n{silent}");
}

#[test]
fn explain_is_json_lines_too() {
    let Some(host) = host() else { return };
    // What is said about a pull is no record.
    host.tare(&["pull", "-q", "hello"]).ok();
    for line in ["tare run --rm --explain=json hello", "TARE_EXPLAIN=json tare run --rm hello"] {
        let output = host.sh(line);
        output.ok();
        let records = records(&output);
        let processes: std::collections::BTreeSet<String> =
            records.iter().map(|record| record["proc"].to_string()).collect();
        assert!(processes.len() >= 3, "the story comes from {processes:?} only");
    }
}

/// The daemon tells the story of a command to the CLI that asked; other commands have one, too.
#[test]
fn explain_works_with_a_daemon_and_for_any_command() {
    let Some(host) = host() else { return };
    host.start_tare_daemon();
    let with_daemon = "DOCKER_HOST=unix:///run/tare/tare.sock tare";
    host.sh(&format!("{with_daemon} pull -q hello")).ok();
    let output = host.sh(&format!("{with_daemon} run --rm --explain=json hello"));
    output.ok();
    let records = records(&output);
    for step in ["veth", "overlay", "seccomp", "exec"] {
        let has = |proc: &str| records.iter().any(|r| r["step"] == step && r["proc"] == proc);
        assert!(has("init") || has("daemon") || has("tare"), "no {step} in the story\n{output}");
    }
    assert_eq!(host.sh(&format!("{with_daemon} run --rm hello")).stderr, "", "a story nobody asked for");
    host.start_registry();
    host.tare(&["run", "-d", "--name", "box", "127.0.0.1:5000/busybox", "sleep", "1000"]).ok();
    let output = host.sh("TARE_EXPLAIN=1 tare exec box true");
    output.exits(0).says("setns").says("exec");
    host.sh("TARE_EXPLAIN=1 tare rm -f box").exits(0).says("µs");
    host.sh("TARE_EXPLAIN= tare ps").exits(0);
    let output = host.sh("tare run --rm --explain=nonsense hello");
    output.exits(125).says("nonsense");
}

/// The JSON lines of a story, each checked.
#[track_caller]
fn records(output: &Output) -> Vec<Value> {
    let parse = |line: &str| {
        let record: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{output}"));
        for key in ["proc", "pid", "step", "call", "start_ns", "ns"] {
            assert!(!record[key].is_null(), "{key} is missing in {record}");
        }
        record
    };
    output.stderr.lines().map(parse).collect()
}

#[test]
fn uninstall_leaves_nothing() {
    let Some(host) = host() else { return };
    let before = host.state();
    let network = "nft list tables; ip -o link | cut -d : -f 2 | cut -d @ -f 1; sysctl -a 2>/dev/null | grep -E 'ip_forward|route_localnet' | grep -v tare";
    let network_before = host.sh(network).stdout;
    host.start_registry();
    let with_registry = host.state();
    host.tare(&["run", "-d", "--name", "web", "-p", "8080:80", "127.0.0.1:5000/nginx:1.22"]).ok();
    // Running containers are not ended without being asked.
    host.tare(&["system", "uninstall", "--force"]).exits(1).says("web");
    let plan = host.tare(&["system", "uninstall", "--dry-run"]);
    assert!(plan.ok().contains("1 container is running"), "{plan}");
    assert_eq!(host.tare(&["ps", "-q"]).ok().len(), 12, "a container that ran is gone");
    host.tare(&["stop", "web"]).ok();
    let plan = host.tare(&["system", "uninstall", "--dry-run"]);
    for sign in ["table inet tare", "bridge tare0", "/tare-shim", "/run/tare", "/var/lib/tare"] {
        assert!(plan.ok().contains(sign), "{sign} is not in the plan\n{plan}");
    }
    assert_eq!(host.tare(&["ps", "-aq"]).ok().len(), 12, "the dry run was not dry");
    // Nobody at a terminal, and not told to go ahead.
    host.tare(&["system", "uninstall"]).exits(1).says("--force");
    host.tare(&["system", "uninstall", "--force"]).ok();
    for hierarchy in cgroups::hierarchies().unwrap_or_default() {
        let left = cgroups::below(&hierarchy.path.join(host.name()));
        assert!(left.is_empty(), "cgroups are left: {left:?}");
    }
    assert!(host.read("/var/lib/tare/tare.db").is_empty(), "the database is left");
    assert_eq!(host.sh("ls -A /var/lib/tare /run/tare 2>/dev/null | grep -v :").stdout.trim(), "");
    host.settles_to(&with_registry);
    assert_eq!(host.sh(network).stdout, network_before);
    assert!(before.of_kind("veth").len() == 1);
}

/// `-v SRC:DST:idmap`: what root writes in the container is the folder's owner's outside.
#[test]
fn ownership_by_the_kernel() {
    let Some(host) = host() else { return };
    host.start_registry();
    host.sh("mkdir -p /tmp/mine; echo mine >/tmp/mine/f; chown -R 1000:1001 /tmp/mine").ok();
    let line = "stat -c '%u %g' /m /m/f; echo new >/m/new; chown 1000:1001 /m/f";
    let bind = ["-v", "/tmp/mine:/m:idmap", "127.0.0.1:5000/busybox", "sh", "-c", line];
    let seen = host.tare(&[&["run", "--rm"], &bind[..]].concat());
    assert_eq!(seen.ok(), "0 0\n0 0");
    // Owner and root have changed places, and so has what is given away.
    assert_eq!(host.sh("stat -c '%u %g' /tmp/mine/new /tmp/mine/f").ok(), "1000 1001\n0 0");
    let refused =
        host.tare(&["run", "--rm", "-v", "/proc:/m:idmap,ro", "-u", "5", "127.0.0.1:5000/busybox", "true"]);
    refused.exits(125).says("mount_setattr(");
}

/// A volume whose container was never finished, and a folder that is nobody's: both go, and what is named stays.
#[test]
fn what_a_crash_leaves_of_volumes_goes() {
    let Some(host) = host() else { return };
    host.start_registry();
    host.tare(&["volume", "create", "named"]).ok();
    host.tare(&[
        "run",
        "-d",
        "--rm",
        "--name",
        "gone",
        "-v",
        "/data",
        "-v",
        "named:/n",
        "127.0.0.1:5000/busybox",
        "sleep",
        "99",
    ])
    .ok();
    assert_eq!(host.tare(&["volume", "ls", "-q"]).ok().lines().count(), 2);
    // The boot ends: what lay in the run root is gone with all that ran.
    host.sh("pkill -9 sleep; sleep 0.2; mkdir -p /var/lib/tare/volumes/nobodys/_data; rm -rf /run/tare/*")
        .ok();
    host.start_tare_daemon();
    let left = || host.cli(Engine::Socket, &["volume", "ls", "-q"]).ok().to_string();
    assert!(tests::wait::until(std::time::Duration::from_secs(10), || left() == "named"), "{}", left());
    assert_eq!(host.sh("ls /var/lib/tare/volumes").ok(), "named");
}
