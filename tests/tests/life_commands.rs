//! pause, update, stats and prune: what holds, changes, measures and removes containers.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(
    what_is_paused_stands_still,
    limits_change_while_it_runs,
    a_policy_that_comes_later_counts,
    use_is_measured,
    what_does_not_run_is_pruned,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const PATIENCE: Duration = Duration::from_secs(20);

fn what_is_paused_stands_still(host: &TestHost, engine: Engine) {
    let ticker = "while :; do echo tick; sleep 0.05; done";
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sh", "-c", ticker]).ok();
    let id = inspect(host, engine, "{{.Id}}");
    assert_eq!(host.cli(engine, &["pause", "box"]).ok(), "box");
    assert_eq!(
        inspect(host, engine, "{{.State.Status}} {{.State.Running}} {{.State.Paused}}"),
        "paused true true"
    );
    let shown = host.cli(engine, &["ps", "--format", "{{.Status}}", "--filter", "status=paused"]);
    assert!(shown.ok().ends_with(" (Paused)"), "{shown}");
    let lines = || host.cli(engine, &["logs", "box"]).ok().lines().count();
    let before = lines();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(lines(), before);
    for (args, text) in [
        (&["pause", "box"][..], format!("Container {id} is already paused")),
        (&["exec", "box", "true"], "Container box is paused, unpause the container before exec".to_owned()),
        (&["pause", "nosuch"], "No such container: nosuch".to_owned()),
        (&["unpause", "nosuch"], "No such container: nosuch".to_owned()),
    ] {
        let refused = host.cli(engine, args);
        let expected = format!("Error response from daemon: {text}");
        assert!(refused.code == 1 && refused.stderr.trim_end() == expected, "{refused}");
    }
    assert_eq!(host.cli(engine, &["unpause", "box"]).ok(), "box");
    assert!(wait::until(PATIENCE, || lines() > before));
    let refused = host.cli(engine, &["unpause", "box"]);
    assert_eq!(
        refused.stderr.trim_end(),
        format!("Error response from daemon: Container {id} is not paused")
    );
    // Ending what is paused.
    for end in [&["stop", "-t", "1", "box"][..], &["kill", "box"], &["rm", "-f", "box"]] {
        host.cli(engine, &["start", "box"]).ok();
        host.cli(engine, &["pause", "box"]).ok();
        host.cli(engine, end).ok();
        let gone = || {
            let found = host.cli(engine, &["inspect", "-f", "{{.State.Status}}", "box"]);
            found.code != 0 || found.ok() == "exited"
        };
        assert!(wait::until(PATIENCE, gone), "{end:?}");
    }
}

fn limits_change_while_it_runs(host: &TestHost, engine: Engine) {
    let case = "update flags";
    host.cli(engine, &["run", "-d", "--name", "box", "--memory", "64m", BUSYBOX, "sleep", "1000"]).ok();
    let id = inspect(host, engine, "{{.Id}}");
    let update = |args: &[&str]| host.cli(engine, &[&["update"], args, &["box"]].concat());
    for args in [
        &["--memory", "32m", "--memory-swap", "96m", "--memory-reservation", "16m"][..],
        &["--cpus", "1.5", "-c", "300", "--pids-limit", "50"],
        &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
    ] {
        assert_eq!(update(args).ok(), "box", "{case} {args:?}");
    }
    let format = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.MemoryReservation}} {{.NanoCpus}} {{.CpuShares}} {{.PidsLimit}} {{.CpusetCpus}} {{.CpusetMems}}{{end}}";
    assert_eq!(inspect(host, engine, format), "33554432 100663296 16777216 1500000000 300 50 0 0");
    let seen = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpuset/cpuset.cpus";
    assert_eq!(host.cli(engine, &["exec", "box", "sh", "-c", seen]).ok(), "33554432\n50\n150000\n300\n0");
    for (args, text) in [
        (&["--cpu-period", "50000"][..], format!("Cannot update container {id}: Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")),
        (&["--cpu-quota", "50000"], format!("Cannot update container {id}: Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")),
        (&["--cpuset-cpus", "77"], "Requested CPUs are not available - requested 77, available: 0-1".to_owned()),
        (&["--restart", "foo"], "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'".to_owned()),
        (&["--memory", "1k"], "Minimum memory limit allowed is 6MB".to_owned()),
        (&["--cpus", "1000"], "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available".to_owned()),
    ] {
        let refused = update(args);
        let expected = format!("Error response from daemon: {text}");
        assert!(refused.code == 1 && refused.stderr.trim_end() == expected, "{refused}");
    }
    let none = update(&[]);
    assert!(
        none.code == 1
            && none.stderr.trim_end() == "you must provide one or more flags when using this command",
        "{none}"
    );
    host.cli(engine, &["stop", "-t", "0", "box"]).ok();
    assert_eq!(update(&["--memory", "48m"]).ok(), "box");
    host.cli(engine, &["start", "box"]).ok();
    let limit = ["exec", "box", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    assert_eq!(host.cli(engine, &limit).ok(), "50331648");
    host.cli(engine, &["rm", "-f", "box"]).ok();
    host.cli(engine, &["run", "-d", "--rm", "--name", "box", BUSYBOX, "sleep", "1000"]).ok();
    let id = inspect(host, engine, "{{.Id}}");
    let refused = update(&["--restart", "always"]);
    let text = format!(
        "Error response from daemon: Cannot update container {id}: Restart policy cannot be updated because AutoRemove is enabled for the container"
    );
    assert_eq!(refused.stderr.trim_end(), text);
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn a_policy_that_comes_later_counts(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sh", "-c", "sleep 2; exit 3"]).ok();
    host.cli(engine, &["update", "--restart", "on-failure:1", "box"]).ok();
    let again =
        || inspect(host, engine, "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}") == "1 exited 3";
    assert!(wait::until(PATIENCE, again), "{}", inspect(host, engine, "{{json .State}} {{.RestartCount}}"));
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn use_is_measured(host: &TestHost, engine: Engine) {
    let case = "stats flags";
    host.cli(
        engine,
        &["run", "-d", "--name", "box", "--memory", "64m", BUSYBOX, "sh", "-c", "while :; do :; done"],
    )
    .ok();
    host.cli(engine, &["create", "--name", "idle", BUSYBOX, "true"]).ok();
    let stats = |args: &[&str]| host.cli(engine, &[&["stats", "--no-stream"], args].concat()).ok().to_owned();
    let id = inspect(host, engine, "{{.Id}}");
    let table = stats(&[]);
    let head = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O";
    assert!(table.starts_with(head) && table.lines().count() == 2, "{case} {table}");
    assert!(table.lines().nth(1).is_some_and(|row| row.starts_with(&id[..12])), "{table}");
    let cpu = stats(&["--format", "{{.CPUPerc}}", "box"]);
    assert!(cpu.trim_end_matches('%').parse::<f64>().unwrap() > 20.0, "{cpu}");
    let memory = stats(&["--format", "{{.MemUsage}}", "box"]);
    assert!(memory.ends_with(" / 64MiB") && !memory.starts_with("0B"), "{memory}");
    assert_eq!(stats(&["--format", "{{.Container}} {{.Name}} {{.PIDs}}", "box"]), "box box 1");
    assert!(stats(&["--no-trunc", "--format", "{{.ID}}", "box"]) == id);
    let all = stats(&["-a", "--format", "{{.Name}} {{.MemUsage}} {{.CPUPerc}}"]);
    assert!(all.starts_with("idle 0B / 0B 0.00%\nbox "), "{all}");
    let json = stats(&["--format", "json", "idle"]);
    assert!(
        json.starts_with(r#"{"BlockIO":"0B / 0B","CPUPerc":"0.00%","Container":"idle","ID":""#),
        "{json}"
    );
    let missing = host.cli(engine, &["stats", "--no-stream", "nosuch"]);
    assert_eq!(
        (missing.code, missing.stderr.trim_end()),
        (1, "Error response from daemon: No such container: nosuch")
    );
    let live = host.spawn_with(engine, "exec $E stats --format '{{.Name}}|{{.CPUPerc}}' box");
    let moved = || {
        live.stdout().split("box|").any(|rest| rest.chars().next().is_some_and(|c| ('1'..='9').contains(&c)))
    };
    assert!(wait::until(PATIENCE, moved), "{}", live.stdout());
    drop(live);
    if let Some(socket) = engine.docker_host().and_then(|h| h.strip_prefix("unix://")) {
        let get = |query: &str| {
            host.sh(&format!("curl -s --unix-socket {socket} 'http://x/v1.51/containers/box/stats?{query}'"))
                .ok()
                .to_owned()
        };
        assert_eq!(get("one-shot=1"), r#"{"message":"cannot have stream=true and one-shot=true"}"#);
        let shot = get("stream=0&one-shot=1");
        assert!(
            shot.starts_with(r#"{"read":"20"#)
                && shot
                    .contains(r#""preread":"0001-01-01T00:00:00Z","pids_stats":{"current":1},"blkio_stats""#),
            "{shot}"
        );
        let both = get("stream=0");
        assert!(
            both.starts_with(r#"{"name":"/box","id":""#)
                && both.contains(r#""networks":{"eth0":{"rx_bytes":"#),
            "{both}"
        );
    }
    host.cli(engine, &["rm", "-f", "box", "idle"]).ok();
}

fn what_does_not_run_is_pruned(host: &TestHost, engine: Engine) {
    let case = "prune flags";
    host.cli(engine, &["run", "-d", "--name", "runs", BUSYBOX, "sleep", "1000"]).ok();
    host.cli(engine, &["run", "--name", "old", "--label", "a=b", BUSYBOX, "true"]).ok();
    host.cli(engine, &["run", "--name", "wrote", BUSYBOX, "sh", "-c", "echo hi >/x"]).ok();
    let names = || host.cli(engine, &["ps", "-a", "--format", "{{.Names}}"]).ok().to_owned();
    let prune = |args: &[&str]| host.cli(engine, &[&["container", "prune", "-f"], args].concat());
    assert_eq!(prune(&["--filter", "until=1h"]).ok(), "Total reclaimed space: 0B", "{case}");
    assert_eq!(
        prune(&["--filter", "foo=bar"]).stderr.trim_end(),
        "Error response from daemon: invalid filter 'foo'"
    );
    assert_eq!(
        prune(&["--filter", "until=abc"]).stderr.trim_end(),
        "Error response from daemon: failed to parse value as time or duration: \"abc\""
    );
    let no = host.sh_with(engine, "echo n | $E container prune");
    assert_eq!(
        no.ok(),
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
    );
    assert_eq!(names(), "wrote\nold\nruns");
    let id = host.cli(engine, &["inspect", "-f", "{{.Id}}", "old"]).ok().to_owned();
    let pruned = prune(&["--filter", "label=a=b"]);
    assert_eq!(pruned.ok(), format!("Deleted Containers:\n{id}\n\nTotal reclaimed space: 0B"));
    let rest = prune(&["--filter", "label!=a"]);
    assert!(rest.ok().ends_with("Total reclaimed space: 4.096kB"), "{rest}");
    assert_eq!(names(), "runs");
    host.cli(engine, &["rm", "-f", "runs"]).ok();
}

fn inspect(host: &TestHost, engine: Engine, format: &str) -> String {
    host.cli(engine, &["inspect", "-f", format, "box"]).ok().trim_end().to_owned()
}
