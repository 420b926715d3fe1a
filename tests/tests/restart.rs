//! Restart policies, with a daemon and without: who runs again, who is left alone, and what starts with the machine.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(
    policies_decide_who_runs_again,
    a_foreground_run_ends_with_the_first_run,
    stop_and_kill_end_it,
    a_restarting_container_is_neither_running_nor_ended,
    a_killed_process_is_started_again_with_its_port,
    a_start_that_fails_is_not_repeated,
    a_new_daemon_starts_what_the_policies_say,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const KILL_SHIMS: &str = "kill -9 $(grep -lx tare-shim /proc/[0-9]*/comm | cut -d / -f 3)";
const PATIENCE: Duration = Duration::from_secs(20);

fn policies_decide_who_runs_again(host: &TestHost, engine: Engine) {
    for (name, policy, code, expected) in [
        ("no", "no", 3, "exited 3 0 no/0"),
        ("thrice", "on-failure:2", 4, "exited 4 2 on-failure/2"),
        ("well", "on-failure", 0, "exited 0 0 on-failure/0"),
    ] {
        let exit = format!("echo run; exit {code}");
        host.cli(engine, &["run", "-d", "--name", name, "--restart", policy, BUSYBOX, "sh", "-c", &exit])
            .ok();
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{.HostConfig.RestartPolicy.Name}}/{{.HostConfig.RestartPolicy.MaximumRetryCount}}";
        let ended = || inspect(host, engine, name, format) == expected;
        assert!(wait::until(PATIENCE, ended), "{policy}: {}", inspect(host, engine, name, format));
        let runs = expected.split(' ').nth(2).and_then(|n| n.parse::<usize>().ok()).unwrap() + 1;
        assert_eq!(host.cli(engine, &["logs", name]).ok().lines().count(), runs, "{policy}");
    }
    for policy in ["always", "unless-stopped", "on-failure"] {
        host.cli(engine, &["run", "-d", "--name", policy, "--restart", policy, BUSYBOX, "false"]).ok();
        let again = || inspect(host, engine, policy, "{{.RestartCount}}").parse::<u32>().unwrap_or(0) >= 3;
        assert!(wait::until(PATIENCE, again), "{policy}");
    }
    host.sh_with(engine, "$E rm -f $($E ps -aq)").ok();
}

fn a_foreground_run_ends_with_the_first_run(host: &TestHost, engine: Engine) {
    let run = host.cli(
        engine,
        &["run", "--name", "box", "--restart", "always", BUSYBOX, "sh", "-c", "echo out; sleep 0.2; exit 3"],
    );
    assert_eq!((run.code, run.stdout.as_str()), (3, "out\n"), "{run}");
    assert_ne!(inspect(host, engine, "box", "{{.State.Status}}"), "exited");
    // The next end counts for who waits now.
    assert_eq!(host.cli(engine, &["wait", "box"]).ok(), "3");
    let followed = host.sh_with(engine, "timeout 30 $E logs -f --tail 0 box >/dev/null; echo $?");
    assert_eq!(followed.ok(), "0");
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn stop_and_kill_end_it(host: &TestHost, engine: Engine) {
    let before = prepared(host, engine);
    for end in [&["stop", "-t", "1"][..], &["kill"]] {
        // While it waits, and while it runs.
        for command in ["exit 3", "sleep 1000"] {
            host.cli(
                engine,
                &["run", "-d", "--name", "box", "--restart", "always", BUSYBOX, "sh", "-c", command],
            )
            .ok();
            if command == "exit 3" {
                becomes(host, engine, "box", "{{.State.Restarting}}", "true");
            }
            host.cli(engine, &[end, &["box"]].concat()).ok();
            becomes(host, engine, "box", "{{.State.Running}} {{.State.Status}}", "false exited");
            let count = inspect(host, engine, "box", "{{.RestartCount}}");
            std::thread::sleep(Duration::from_millis(300));
            let now = inspect(host, engine, "box", "{{.State.Status}} {{.RestartCount}}");
            assert_eq!(now, format!("exited {count}"), "{end:?} {command}");
            // By hand it starts, and counts anew.
            host.cli(engine, &["start", "box"]).ok();
            let count = inspect(host, engine, "box", "{{.RestartCount}}");
            assert!(count == "0" || command == "exit 3", "{count}");
            host.cli(engine, &["rm", "-f", "box"]).ok();
        }
    }
    assert_eq!(host.cli(engine, &["ps", "-aq"]).ok(), "");
    if engine.is_tare() {
        host.settles_to(&before);
    }
}

fn a_restarting_container_is_neither_running_nor_ended(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "box", "--restart", "always", BUSYBOX, "sh", "-c", "exit 7"])
        .ok();
    // By then it waits for a second and more.
    let many = || inspect(host, engine, "box", "{{.RestartCount}}").parse::<u32>().unwrap_or(0) >= 5;
    assert!(wait::until(PATIENCE, many));
    becomes(host, engine, "box", "{{.State.Restarting}}", "true");
    let id = inspect(host, engine, "box", "{{.Id}}");
    assert_eq!(
        inspect(host, engine, "box", "{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}} {{.State.Dead}}"),
        "true 0 7 false"
    );
    let shown = host.cli(engine, &["ps", "--format", "{{.Status}}|{{.State}}|{{.Ports}}"]);
    assert!(shown.ok().starts_with("Restarting (7) ") && shown.ok().ends_with("|restarting|"), "{shown}");
    assert_eq!(host.cli(engine, &["ps", "-q", "--filter", "status=running"]).ok(), "");
    let restarting = format!("Container {id} is restarting, wait until the container is running");
    for (args, text) in [
        (&["exec", "box", "true"][..], restarting.as_str()),
        (&["attach", "box"], "You cannot attach to a restarting container, wait until it is running"),
        (
            &["rm", "box"],
            "cannot remove container \"box\": container is restarting: stop the container before removing or force remove",
        ),
    ] {
        let said = host.cli(engine, args);
        assert!(said.code == 1 && said.stderr.contains(text), "{said}");
    }
    // It is as good as started.
    host.cli(engine, &["start", "box"]).ok();
    host.cli(engine, &["rm", "-f", "box"]).ok();
    assert_eq!(host.cli(engine, &["ps", "-aq"]).ok(), "");
}

fn a_killed_process_is_started_again_with_its_port(host: &TestHost, engine: Engine) {
    let publish = ["run", "-d", "--name", "box", "--restart", "unless-stopped", "-p", "8080:80"];
    host.cli(engine, &[&publish, &["127.0.0.1:5000/nginx:1.22"][..]].concat()).ok();
    let answers =
        || host.sh("curl -sS --max-time 3 http://127.0.0.1:8080/ 2>/dev/null").stdout.contains("Welcome");
    assert!(wait::until(PATIENCE, answers));
    let pid = inspect(host, engine, "box", "{{.State.Pid}}");
    host.sh(&format!("kill -9 {pid}")).ok();
    becomes(
        host,
        engine,
        "box",
        "{{.RestartCount}} {{.State.Running}} {{.State.Restarting}}",
        "1 true false",
    );
    assert_ne!(inspect(host, engine, "box", "{{.State.Pid}}"), pid);
    assert!(wait::until(PATIENCE, answers));
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn a_start_that_fails_is_not_repeated(host: &TestHost, engine: Engine) {
    let failed = host.cli(engine, &["run", "-d", "--name", "box", "--restart", "always", BUSYBOX, "nothing"]);
    assert_eq!(failed.code, 127, "{failed}");
    std::thread::sleep(Duration::from_millis(300));
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
    assert_eq!(inspect(host, engine, "box", format), "created 127 0");
}

/// Without a daemon, `system boot` is what a daemon's start is.
fn a_new_daemon_starts_what_the_policies_say(host: &TestHost, engine: Engine) {
    for (name, policy) in [("never", "no"), ("always", "always"), ("stopped", "unless-stopped")] {
        host.cli(engine, &["run", "-d", "--name", name, "--restart", policy, BUSYBOX, "sleep", "1000"]).ok();
    }
    host.cli(engine, &["stop", "-t", "0", "never", "always", "stopped"]).ok();
    if engine == Engine::Tare {
        host.cli(engine, &["system", "boot"]).ok();
    } else {
        host.kill_last_server();
        host.sh("rm -f /var/run/docker.pid").ok();
        host.start(engine);
    }
    becomes(host, engine, "always", "{{.State.Running}}", "true");
    assert_eq!(inspect(host, engine, "stopped", "{{.State.Status}}"), "exited");
    assert_eq!(inspect(host, engine, "never", "{{.State.Status}}"), "exited");
}

/// The shim that keeps the time is killed: whoever looks next starts the container.
#[test]
fn a_restart_that_nobody_keeps_is_made_up_for() {
    if !Engine::Tare.is_wanted() {
        return tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    let engine = Engine::Tare;
    host.cli(
        engine,
        &["run", "-d", "--name", "box", "--restart", "always", BUSYBOX, "sh", "-c", "sleep 0.1; exit 1"],
    )
    .ok();
    let many = || inspect(&host, engine, "box", "{{.RestartCount}}").parse::<u32>().unwrap_or(0) >= 4;
    assert!(wait::until(PATIENCE, many));
    becomes(&host, engine, "box", "{{.State.Restarting}}", "true");
    let count = inspect(&host, engine, "box", "{{.RestartCount}}");
    host.sh(KILL_SHIMS).ok();
    let more = || inspect(&host, engine, "box", "{{.RestartCount}}") != count;
    assert!(wait::until(PATIENCE, more), "it is not started any more");
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn prepared(host: &TestHost, engine: Engine) -> tests::state::State {
    host.cli(engine, &["run", "--rm", BUSYBOX, "true"]).ok();
    host.state()
}

#[track_caller]
fn becomes(host: &TestHost, engine: Engine, name: &str, format: &str, expected: &str) {
    let as_expected = || inspect(host, engine, name, format) == expected;
    assert!(
        wait::until(PATIENCE, as_expected),
        "{format} is {}, not {expected}",
        inspect(host, engine, name, format)
    );
}

#[track_caller]
fn inspect(host: &TestHost, engine: Engine, name: &str, format: &str) -> String {
    host.cli(engine, &["inspect", "--format", format, name]).ok().to_string()
}
