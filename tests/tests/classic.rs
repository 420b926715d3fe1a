//! The classic: a web server with a published port and a memory limit, from pull to removal, as a person would do it.

use std::time::Duration;

use tests::{Engine, Output, TestHost, on_each_engine, wait};

on_each_engine!(
    run_nginx_from_the_registry,
    its_whole_life_leaves_nothing,
    memory_limit_kills,
    a_terminal_in_it
);

const IMAGE: &str = "127.0.0.1:5000/nginx:1.22";
const RUN: [&str; 11] =
    ["run", "-d", "--name", "web", "-p", "8080:80", "--memory", "256m", "--memory-swap", "256m", IMAGE];

fn run_nginx_from_the_registry(host: &TestHost, engine: Engine) {
    let output = host.cli(engine, &RUN);
    assert_is_id(&output);
    for text in [
        "Unable to find image '127.0.0.1:5000/nginx:1.22' locally\n",
        "1.22: Pulling from nginx\n",
        "Digest: sha256:",
        "Status: Downloaded newer image for 127.0.0.1:5000/nginx:1.22\n",
    ] {
        output.says(text);
    }
    for family in ["-4", "-6"] {
        assert!(fetch(host, family, "http://localhost:8080/").contains("Welcome to nginx!"));
    }
    let pid = inspect(host, engine, "{{.State.Pid}}");
    assert_eq!(private_namespaces(host, &pid), expected_namespaces(host));
    let id = inspect(host, engine, "{{.Id}}");
    // Read from inside: /proc names groups as the reader's cgroup namespace sees them.
    let groups = host.sh(&format!("cat /proc/{pid}/cgroup")).ok().to_string();
    assert!(groups.lines().all(|line| line.ends_with(&id) || line.ends_with(":/")), "{groups}");
    assert_eq!(memory_limit(host, &groups), "268435456");
}

fn its_whole_life_leaves_nothing(host: &TestHost, engine: Engine) {
    // The first container makes the bridge, the table and folders that stay.
    host.cli(engine, &["run", "--rm", "-p", "8080:80", IMAGE, "true"]).ok();
    let before = host.state();
    assert_is_id(&host.cli(engine, &RUN));
    fetch(host, "-4", "http://localhost:8080/");
    let follower = host.spawn_with(engine, "exec $E logs -f web");
    follower.wait_for("GET / HTTP/1.1");
    fetch(host, "-4", "http://localhost:8080/while-following");
    follower.wait_for("/while-following");
    host.cli(engine, &["exec", "web", "sh", "-c", "echo kept >/data-of-mine"]).ok();
    assert_eq!(host.cli(engine, &["stop", "web"]).ok(), "web");
    // nginx ends by itself on SIGQUIT; after the time limit it would have been killed: 137.
    assert_eq!(inspect(host, engine, "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
    follower.finish().exits(0);
    let mut left = Vec::new();
    let gone = wait::until(Duration::from_secs(5), || {
        left = host.state().minus(&before);
        !left.iter().any(|line| line.starts_with("process"))
    });
    assert!(gone, "a stopped container has processes: {left:?}");
    host.cli(engine, &["start", "web"]).ok();
    assert_eq!(host.cli(engine, &["exec", "web", "cat", "/data-of-mine"]).ok(), "kept");
    assert!(fetch(host, "-4", "http://localhost:8080/").contains("Welcome to nginx!"));
    assert_eq!(host.cli(engine, &["rm", "-f", "web"]).ok(), "web");
    host.settles_to(&before);
}

fn memory_limit_kills(host: &TestHost, engine: Engine) {
    host.cli(engine, &RUN).exits(0);
    let eater = host.cli(engine, &["exec", "web", "sh", "-c", "head -c 300m /dev/zero | tail; exit $?"]);
    assert_ne!(eater.code, 0, "300 MB were eaten\n{eater}");
    let oom = || inspect(host, engine, "{{.State.OOMKilled}}") == "true";
    assert!(wait::until(Duration::from_secs(5), oom), "OOMKilled is not reported");
    // The main process itself.
    let line = "$E run --name eater --memory 32m --memory-swap 32m 127.0.0.1:5000/busybox tail /dev/zero";
    host.sh_with(engine, line).exits(137);
    let state =
        host.cli(engine, &["inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "eater"]);
    assert_eq!(state.ok(), "true 137");
}

fn a_terminal_in_it(host: &TestHost, engine: Engine) {
    host.cli(engine, &RUN).exits(0);
    let mut pty = host.pty(engine, &["exec", "-it", "web", "sh"]);
    pty.send("echo sum-$((20 + 3)); stty size\n");
    pty.wait_for("sum-23");
    pty.wait_for("24 80");
    pty.resize(101, 33);
    // The new size travels through the engine: ask until it has arrived.
    let seen = wait::until(Duration::from_secs(10), || {
        pty.send("stty size\n");
        std::thread::sleep(Duration::from_millis(100));
        pty.shown().contains("33 101")
    });
    assert!(seen, "{}", pty.shown());
    pty.send("exit 4\n");
    let (code, shown) = pty.finish();
    assert_eq!(code, 4, "{shown}");
}

#[track_caller]
fn assert_is_id(output: &Output) {
    let id = output.ok();
    assert!(id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit()), "not an id\n{output}");
}

#[track_caller]
fn inspect(host: &TestHost, engine: Engine, format: &str) -> String {
    host.cli(engine, &["inspect", "--format", format, "web"]).ok().to_string()
}

#[track_caller]
fn fetch(host: &TestHost, family: &str, url: &str) -> String {
    let line = format!(
        "curl {family} -sS --retry 40 --retry-delay 0 --retry-all-errors --retry-max-time 20 --max-time 5 {url}"
    );
    host.sh(&line).ok().to_string()
}

/// The kinds of namespace in which the process differs from the host.
fn private_namespaces(host: &TestHost, pid: &str) -> Vec<&'static str> {
    let inode = |pid: &str, kind: &str| std::fs::read_link(host.path(&format!("/proc/{pid}/ns/{kind}"))).ok();
    let kinds = ["mnt", "pid", "net", "uts", "ipc", "cgroup", "user", "time"];
    kinds
        .into_iter()
        .filter(|kind| inode(pid, kind).is_some() && inode(pid, kind) != inode("1", kind))
        .collect()
}

/// dockerd gives a private cgroup namespace on version 2 only; the reference's own run checks this list.
fn expected_namespaces(host: &TestHost) -> Vec<&'static str> {
    let plain_v2 = host.path("/sys/fs/cgroup/cgroup.controllers").exists();
    let kinds = ["mnt", "pid", "net", "uts", "ipc"];
    kinds.into_iter().chain(plain_v2.then_some("cgroup")).collect()
}

fn memory_limit(host: &TestHost, groups: &str) -> String {
    let v1 = groups.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
    let file = match v1 {
        Some(path) => format!("/sys/fs/cgroup/memory{path}/memory.memsw.limit_in_bytes"),
        None => {
            let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
            format!("/sys/fs/cgroup{path}/memory.max")
        }
    };
    host.read(&file).trim().to_string()
}
