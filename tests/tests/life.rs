//! Who may die, and when: a container lives on when its CLI, its terminal or the daemon is gone, and a lost shim is
//! reported, not forgotten.

use std::time::Duration;

use rustix::process::Signal;
use tests::pty::Pty;
use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(
    a_detached_run_returns_at_once,
    a_killed_cli_does_not_end_its_container,
    a_killed_cgroup_does_not_end_a_detached_container,
    a_closed_terminal_does_not_end_a_detached_container,
    detach_and_attach_again,
    keys_and_window_of_a_foreground_terminal,
    much_input_and_output,
    a_slow_reader_stops_nothing,
    many_at_once,
    a_killed_shim_is_reported,
    no_exit_code_is_lost,
    what_is_killed_does_not_run,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const TICKER: &str = "sh -c 'while :; do echo tick; sleep 0.1; done'";

fn a_detached_run_returns_at_once(host: &TestHost, engine: Engine) {
    // `run` of the harness waits until the output is closed, as a shell's $(…) and a pipe do.
    let id = host.sh_with(engine, &format!("id=$($E run -d {BUSYBOX} sleep 1000); echo ${{#id}}"));
    assert_eq!(id.ok(), "64", "{id}");
    let piped = host.sh_with(engine, &format!("$E run -d {BUSYBOX} sleep 1000 | cat"));
    assert_eq!(piped.ok().len(), 64, "{piped}");
    let started =
        host.sh_with(engine, &format!("id=$($E create {BUSYBOX} sleep 1000); $E start $id 2>&1 | cat"));
    assert_eq!(started.ok().len(), 64, "{started}");
    assert_eq!(host.sh_with(engine, "$E ps -q | wc -l").ok(), "3");
}

fn a_killed_cli_does_not_end_its_container(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let cli = host.spawn_with(engine, &format!("exec $E run --name box {BUSYBOX} {TICKER}"));
    cli.wait_for("tick");
    cli.signal(Signal::KILL);
    drop(cli);
    assert_lives(host, engine);
}

fn a_killed_cgroup_does_not_end_a_detached_container(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let session = host.spawn_with(
        engine,
        &format!(
            "for d in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do [ -e $d/cgroup.procs ] && mkdir -p $d/session && \
             echo 0 >$d/session/cgroup.procs; done 2>/dev/null; $E run -d --name box {BUSYBOX} {TICKER}; echo started; sleep 100"
        ),
    );
    session.wait_for("started");
    let kill = "for f in /sys/fs/cgroup/session/cgroup.kill /sys/fs/cgroup/unified/session/cgroup.kill; do \
                [ -e $f ] && echo 1 >$f; done; for p in $(cat /sys/fs/cgroup/*/session/cgroup.procs); do kill -9 $p; done; true";
    host.sh(kill).ok();
    session.finish();
    assert_lives(host, engine);
}

fn a_closed_terminal_does_not_end_a_detached_container(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let line = format!("{} run -d --name box {BUSYBOX} {TICKER}; echo started; exec sleep 100", engine.cli());
    let mut command = host.command(&["sh", "-c", &line]);
    if let Some(docker_host) = engine.docker_host() {
        command.env("DOCKER_HOST", docker_host);
    }
    let pty = Pty::start(command, &line);
    pty.wait_for("started");
    drop(pty);
    assert_lives(host, engine);
}

fn detach_and_attach_again(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let mut pty = host.pty(engine, &["run", "-it", "--name", "box", BUSYBOX, "sh"]);
    pty.send("echo one-$((1 + 1))\n");
    pty.wait_for("one-2");
    pty.send("\x10\x11");
    let (code, shown) = pty.finish();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(state(host, engine, "{{.State.Running}}"), "true");
    let mut pty = host.pty(engine, &["attach", "box"]);
    pty.send("echo two-$((1 + 1)); exit 3\n");
    pty.wait_for("two-2");
    assert_eq!(pty.finish().0, 3);
    assert_eq!(state(host, engine, "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
}

fn keys_and_window_of_a_foreground_terminal(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let mut pty = host.pty(engine, &["run", "-it", "--rm", "--name", "box", BUSYBOX, "sh"]);
    pty.send("tty; cat\n");
    pty.wait_for("/dev/pts/0");
    // ^C ends what runs in the foreground inside, not the shell and not the CLI.
    pty.send("\x03");
    pty.resize(120, 40);
    let seen = wait::until(Duration::from_secs(10), || {
        pty.send("stty size\n");
        std::thread::sleep(Duration::from_millis(100));
        pty.shown().contains("40 120")
    });
    assert!(seen, "{}", pty.shown());
    pty.send("exit 5\n");
    let (code, shown) = pty.finish();
    assert_eq!(code, 5, "{shown}");
    assert_eq!(host.sh_with(engine, "$E ps -aq").ok(), "");
}

fn much_input_and_output(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let line = format!(
        "head -c 20000000 /dev/urandom >/tmp/in; sha256sum </tmp/in; $E run --rm -i {BUSYBOX} sha256sum </tmp/in"
    );
    let sums = host.sh_with(engine, &line);
    let mut lines = sums.ok().lines();
    assert_eq!(lines.next(), lines.next(), "{sums}");
    let line = format!(
        "$E run --name box {BUSYBOX} sh -c 'yes 0123456789 | head -n 500000' | sha256sum; yes 0123456789 | head -n 500000 | sha256sum; $E logs box | sha256sum"
    );
    let sums = host.sh_with(engine, &line);
    let sums: Vec<&str> = sums.ok().lines().collect();
    assert!(sums.len() == 3 && sums[0] == sums[1] && sums[1] == sums[2], "{sums:?}");
}

fn a_slow_reader_stops_nothing(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let writer = "yes 0123456789 | head -n 300000; echo done >/done; exec sleep 1000";
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sh", "-c", writer]).ok();
    // A client that reads nothing: its pipe fills up.
    let stuck = host.spawn_with(engine, "$E logs -f box | sleep 1000");
    let done = || host.cli(engine, &["exec", "box", "cat", "/done"]).stdout == "done\n";
    assert!(wait::until(Duration::from_secs(30), done), "the container is held up by a reader");
    drop(stuck);
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn many_at_once(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "--rm", BUSYBOX, "true"]).ok();
    let before = host.state();
    let line = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do $E run --rm --name box$i {BUSYBOX} sh -c \"echo out-$i; exit $i\" >/tmp/o$i 2>&1; echo $? >>/tmp/o$i & done; wait; cat /tmp/o* | sort -n | tr '\\n' ' '; rm /tmp/o*"
    );
    let out = host.sh_with(engine, &line);
    let mut words: Vec<&str> = out.ok().split_whitespace().collect();
    words.sort_unstable();
    let mut expected: Vec<String> = (1..=12).flat_map(|i| [format!("out-{i}"), i.to_string()]).collect();
    expected.sort_unstable();
    assert_eq!(words, expected, "{out}");
    host.settles_to(&before);
}

/// The streams of a process close a little before it has been reaped: who asks in between must not hear "0".
fn no_exit_code_is_lost(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"]).exits(0);
    for (what, count, line) in [
        ("exec", 40, "$E exec box sh -c 'exit 7'"),
        ("run --rm", 12, "$E run --rm 127.0.0.1:5000/busybox sh -c 'exit 7'"),
    ] {
        let line = format!(
            "for i in $(seq {count}); do timeout 10 {line} >/dev/null 2>>/tmp/said; c=$?; [ $c = 7 ] || echo $c; done"
        );
        let wrong = host.sh_with(engine, &line);
        assert_eq!(wrong.stdout, "", "other exit codes than 7 of {what}; said: {}", host.read("/tmp/said"));
    }
    // Side by side, the shim may be gone before it is asked, and somebody else may clean up first.
    let line = format!(
        "one() {{ $E run --rm {BUSYBOX} sh -c 'exit 7' 2>>/tmp/said; c=$?; [ $c = 7 ] || echo $c; }}; \
         for round in 1 2 3; do for i in $(seq 16); do one & done; wait; done"
    );
    let wrong = host.sh_with(engine, &line);
    assert_eq!(wrong.stdout, "", "side by side; said: {}", host.read("/tmp/said"));
}

fn what_is_killed_does_not_run(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"]).exits(0);
    let line = "for i in 1 2 3 4 5 6; do $E kill box; $E inspect --format '{{.State.Status}} {{.State.ExitCode}}' box; $E start box; done";
    assert_eq!(host.sh_with(engine, line).ok(), ["box\nexited 137\nbox"; 6].join("\n"));
    // A signal that does not end it is not waited for.
    host.cli(engine, &["kill", "-s", "WINCH", "box"]).ok();
    assert_eq!(state(host, engine, "{{.State.Running}}"), "true");
}

fn a_killed_shim_is_reported(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "--rm", BUSYBOX, "true"]).ok();
    let before = host.state();
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"]).ok();
    let id = state(host, engine, "{{.Id}}");
    let pid = state(host, engine, "{{.State.Pid}}");
    // The parent of the container's process.
    let shim = host.sh(&format!("cut -d ' ' -f 4 /proc/{pid}/stat")).ok().to_string();
    assert_ne!(shim, "1", "the container has no shim");
    host.sh(&format!("kill -9 {shim}")).ok();
    let reported =
        wait::until(Duration::from_secs(20), || state(host, engine, "{{.State.Status}}") == "exited");
    assert!(reported, "still {}", state(host, engine, "{{.State.Status}}"));
    assert_eq!(state(host, engine, "{{.State.Running}} {{.State.Pid}}"), "false 0");
    let gone = || !host.path(&format!("/proc/{pid}")).exists();
    assert!(wait::until(Duration::from_secs(10), gone), "the container's process lives on without a shim");
    assert_eq!(state(host, engine, "{{.Id}}"), id);
    host.cli(engine, &["start", "box"]).ok();
    assert_eq!(state(host, engine, "{{.State.Running}}"), "true");
    host.cli(engine, &["rm", "-f", "box"]).ok();
    host.settles_to(&before);
}

/// kill -9 of the daemon: dockerd kills its containers when it comes back, so this is Tare's own promise.
#[test]
fn a_killed_daemon_ends_no_container() {
    if !Engine::Socket.is_wanted() {
        return tests::host::skip("engine Socket is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    host.start_tare_daemon();
    host.cli(
        Engine::Socket,
        &[
            "run",
            "-d",
            "--name",
            "box",
            "-p",
            "8080:80",
            BUSYBOX,
            "sh",
            "-c",
            "while :; do echo tick; sleep 0.1; done",
        ],
    )
    .ok();
    let pid = state(&host, Engine::Socket, "{{.State.Pid}}");
    host.kill_last_server();
    // Without a daemon, then with a new one.
    for engine in [Engine::Tare, Engine::Socket] {
        host.start(engine);
        assert_eq!(state(&host, engine, "{{.State.Pid}} {{.State.Running}}"), format!("{pid} true"));
        assert_lives(&host, engine);
    }
    host.cli(Engine::Socket, &["stop", "-t", "0", "box"]).ok();
    assert_eq!(state(&host, Engine::Tare, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
}

/// The container `box` runs, and its log grows.
#[track_caller]
fn assert_lives(host: &TestHost, engine: Engine) {
    let count = || host.sh_with(engine, "$E logs box | wc -l").ok().parse::<u32>().unwrap_or(0);
    let first = count();
    assert!(
        wait::until(Duration::from_secs(10), || count() > first + 2),
        "the log does not grow beyond {first} lines"
    );
    assert_eq!(state(host, engine, "{{.State.Running}}"), "true");
}

#[track_caller]
fn state(host: &TestHost, engine: Engine, format: &str) -> String {
    host.cli(engine, &["inspect", "--format", format, "box"]).ok().to_string()
}
