//! After a boot: what should run runs, in the order in which it depends on each other, and nothing stale is left.

use std::time::Duration;

use tests::state::State;
use tests::{Engine, TestHost, on_each_engine, power, wait};

on_each_engine!(policies_say_who_runs, what_others_need_starts_first, the_world_around_them_is_back);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const PATIENCE: Duration = Duration::from_secs(60);
const SERVER: &str = "mkdir -p /w; hostname >/w/index.html; exec httpd -f -h /w";

fn policies_say_who_runs(host: &TestHost, engine: Engine) {
    let before = prepared(host, engine);
    for (name, policy, command) in [
        ("none", "no", "sleep 1000"),
        ("always", "always", "sleep 1000"),
        ("kept", "unless-stopped", "sleep 1000"),
        ("stopped", "unless-stopped", "sleep 1000"),
        ("stopped-always", "always", "sleep 1000"),
        ("failing", "on-failure", "sleep 1000"),
        ("done", "on-failure", "true"),
    ] {
        let run = ["run", "-d", "--name", name, "--restart", policy, "-P", "--expose", "80", BUSYBOX];
        host.cli(engine, &[&run[..], &command.split(' ').collect::<Vec<_>>()].concat()).ok();
    }
    host.cli(engine, &["create", "--name", "never", "--restart", "always", BUSYBOX, "sleep", "1000"]).ok();
    host.cli(engine, &["run", "-d", "--rm", "--name", "gone", BUSYBOX, "sleep", "1000"]).ok();
    host.cli(engine, &["stop", "-t", "0", "stopped", "stopped-always"]).ok();
    becomes(host, engine, "done", "{{.State.Status}}", "exited");
    power::lose(host, engine);

    power::restore(host, engine);
    for name in ["always", "kept", "stopped-always", "failing"] {
        becomes(host, engine, name, "{{.State.Status}} {{.State.ExitCode}}", "running 0");
        assert_eq!(host.cli(engine, &["exec", name, "echo", name]).ok(), name);
    }
    assert_eq!(inspect(host, engine, "none", "{{.State.Status}} {{.State.ExitCode}}"), "exited 255");
    assert_eq!(inspect(host, engine, "stopped", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert_eq!(inspect(host, engine, "done", "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
    assert_eq!(inspect(host, engine, "never", "{{.State.Status}}"), "created");
    let gone = || !host.cli(engine, &["ps", "-a", "--format", "{{.Names}}"]).ok().contains("gone");
    assert!(wait::until(PATIENCE, gone), "what was to be removed at its end is there");
    if engine == Engine::Tare {
        assert_eq!(host.tare(&["system", "boot"]).ok(), "", "a second time there is something to do");
    }
    leaves_nothing(host, engine, &before);
}

/// The one whose memory another shares was made first, and its name is the last.
fn what_others_need_starts_first(host: &TestHost, engine: Engine) {
    let before = prepared(host, engine);
    let always = |args: &[&str]| {
        host.cli(engine, &[&["run", "-d", "--restart", "always"], args].concat()).ok();
    };
    always(&[
        "--name",
        "base",
        "--ipc",
        "shareable",
        BUSYBOX,
        "sh",
        "-c",
        "echo mine >/dev/shm/f; sleep 1000",
    ]);
    always(&["--name", "beside", "--ipc", "container:base", BUSYBOX, "sleep", "1000"]);
    always(&[
        "--name",
        "other",
        "--ipc",
        "container:base",
        "--pid",
        "container:beside",
        BUSYBOX,
        "sleep",
        "1000",
    ]);
    host.cli(engine, &["rename", "base", "zzz"]).ok();
    let reaches = |name: &str| host.cli(engine, &["exec", name, "cat", "/dev/shm/f"]).stdout == "mine\n";
    // dockerd starts all at once, and what came too early stays where it is.
    let rounds = if engine == Engine::Docker { 0 } else { 2 };
    for _ in 0..rounds {
        power::lose(host, engine);
        power::restore(host, engine);
        for name in ["zzz", "beside", "other"] {
            becomes(host, engine, name, "{{.State.Running}}", "true");
            assert!(wait::until(PATIENCE, || reaches(name)), "{name}");
        }
    }
    leaves_nothing(host, engine, &before);
}

/// A network somebody made, with a fixed address; a published port; a volume that is a file system of its own; a
/// container that belongs to several networks.
fn the_world_around_them_is_back(host: &TestHost, engine: Engine) {
    let before = prepared(host, engine);
    for line in [
        "$E network create --subnet 10.77.0.0/24 front",
        "$E network create back",
        "$E volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m small",
    ] {
        host.sh_with(engine, line).ok();
    }
    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "--restart",
        "unless-stopped",
        "--network",
        "front",
        "--ip",
        "10.77.0.9",
        "-p",
        "8080:80",
        "-v",
        "small:/s",
        "-v",
        "data:/data",
        BUSYBOX,
        "sh",
        "-c",
        SERVER,
    ];
    host.cli(engine, &run).ok();
    host.cli(engine, &["network", "connect", "back", "web"]).ok();
    host.cli(engine, &["exec", "web", "sh", "-c", "echo kept >/data/f; sync"]).ok();
    let networks =
        inspect(host, engine, "web", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}");
    power::lose(host, engine);
    power::restore(host, engine);
    becomes(host, engine, "web", "{{.State.Running}}", "true");
    let answers = || host.sh("curl -s -m 3 http://127.0.0.1:8080/").code == 0;
    assert!(wait::until(PATIENCE, answers), "{}", host.cli(engine, &["port", "web"]));
    assert!(host.neighbour("curl -s -m 3 http://192.0.2.10:8080/").code == 0);
    let address = inspect(host, engine, "web", "{{.NetworkSettings.Networks.front.IPAddress}}");
    assert_eq!(address, "10.77.0.9");
    let now = inspect(host, engine, "web", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}");
    assert_eq!(now, networks);
    let inside = host.cli(
        engine,
        &["exec", "web", "sh", "-c", "cat /data/f; ls -A /s; stat -f -c %T /s; ip -o -4 addr | grep -c eth"],
    );
    assert_eq!(inside.ok(), "kept\ntmpfs\n2");
    leaves_nothing(host, engine, &before);
}

/// The host's state after a first container, which makes the folders and the table that stay.
fn prepared(host: &TestHost, engine: Engine) -> State {
    let run = |network: &str| format!("$E run --rm --network {network} -p 8080:80 -v /data {BUSYBOX} true");
    let (default, first) = (run("bridge"), run("first"));
    let line = format!("{default} && $E network create first && {first} && $E network rm first");
    host.sh_with(engine, &line).ok();
    host.state()
}

/// When all is removed the host is as it was before the first boot, of whatever boot a thing came.
#[track_caller]
fn leaves_nothing(host: &TestHost, engine: Engine, before: &State) {
    host.sh_with(engine, "$E rm -f -v $($E ps -aq)").ok();
    host.sh_with(engine, "$E network prune -f; $E volume rm $($E volume ls -q); true").ok();
    if engine.is_tare() {
        // A daemon is another process now, and each kind of work has a lock of its own, which stays.
        let stays = |line: &String| line.contains("tare daemon") || line.contains("/run/tare/locks/");
        let mut left = Vec::new();
        let settled = wait::until(PATIENCE, || {
            left = host.state().minus(before).into_iter().filter(|line| !stays(line)).collect();
            left.is_empty()
        });
        assert!(settled, "left behind:\n{}", left.join("\n"));
    }
}

#[track_caller]
fn becomes(host: &TestHost, engine: Engine, name: &str, format: &str, expected: &str) {
    let as_expected = || inspect(host, engine, name, format) == expected;
    let is_so = wait::until(PATIENCE, as_expected);
    assert!(
        is_so,
        "{name}: {format} is not {expected}, but {}",
        inspect(host, engine, name, "{{json .State}}")
    );
}

#[track_caller]
fn inspect(host: &TestHost, engine: Engine, name: &str, format: &str) -> String {
    host.cli(engine, &["inspect", "--format", format, name]).ok().to_string()
}
