//! What only Tare has: the built-in image, `--explain`, and a clean way out.

use tests::{Engine, TestHost};

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
    assert_eq!(output.stderr, "", "{output}");
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
    for line in ["tare run --rm --explain=json hello", "TARE_EXPLAIN=json tare run --rm hello"] {
        let output = host.sh(line);
        output.ok();
        let records: Vec<serde_json::Value> = output
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        for record in &records {
            for key in ["proc", "pid", "step", "call", "start_ns", "ns"] {
                assert!(!record[key].is_null(), "{key} is missing in {record}");
            }
        }
        let processes: std::collections::BTreeSet<String> =
            records.iter().map(|record| record["proc"].to_string()).collect();
        assert!(processes.len() >= 3, "the story comes from {processes:?} only");
    }
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
    let plan = host.tare(&["system", "uninstall", "--dry-run"]);
    for sign in ["/var/lib/tare", "/run/tare", "tare0"] {
        assert!(plan.both().contains(sign), "{sign} is not in the plan\n{plan}");
    }
    assert_eq!(host.tare(&["ps", "-q"]).ok().len(), 12, "the dry run was not dry");
    let output = host.tare(&["system", "uninstall", "--force"]);
    if output.code != 0 {
        // Running containers are not ended without being asked.
        assert!(output.both().contains("web") || output.both().contains("running"), "{output}");
        host.tare(&["rm", "-f", "web"]).ok();
        host.tare(&["system", "uninstall", "--force"]).ok();
    }
    assert!(host.read("/var/lib/tare/tare.db").is_empty(), "the database is left");
    assert_eq!(host.sh("ls -A /var/lib/tare /run/tare 2>/dev/null | grep -v :").stdout.trim(), "");
    host.settles_to(&with_registry);
    assert_eq!(host.sh(network).stdout, network_before);
    assert!(before.of_kind("veth").len() == 1);
}
