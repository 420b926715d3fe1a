//! The built-in image seen through each flag: what a container says about itself is what was asked for.
//!
//! Only Tare has the image, so there is no reference here; the same flags are compared with the reference's in
//! `differential.rs`. One test host serves a whole door.

use tests::{Engine, Output, TestHost};

/// Runs `body` on a fresh machine, through each of Tare's doors.
fn through(engine: Engine, body: fn(&TestHost, Engine)) {
    if !engine.is_wanted() {
        return tests::host::skip(&format!("engine {engine:?} is not in TARE_TEST_ENGINES"));
    }
    let Some(host) = TestHost::new() else { return };
    host.start(engine);
    body(&host, engine);
}

#[test]
fn says_what_was_asked_for_without_a_daemon() {
    through(Engine::Tare, says_what_was_asked_for);
}

#[test]
fn says_what_was_asked_for_through_the_socket() {
    through(Engine::Socket, says_what_was_asked_for);
}

#[test]
fn is_listed_and_inspected_without_a_daemon() {
    through(Engine::Tare, is_listed_and_inspected);
}

#[test]
fn is_listed_and_inspected_through_the_socket() {
    through(Engine::Socket, is_listed_and_inspected);
}

/// (flags, what must be said, with runs of spaces as one)
const CASES: &[(&[&str], &[&str])] = &[
    (
        &[],
        &[
            "pid 1 (process 1 of its own pid namespace)",
            "user, group 0 / 0",
            "memory no limit",
            "cpu no limit",
            "processes no limit",
            "mask 00000000a80425fb",
            "seccomp 1 filter",
            "no new privs 0",
            "/ overlay rw,",
            "/etc/hosts ",
            "tare run --rm --explain hello",
        ],
    ),
    (&["--memory", "64m"], &["memory 67108864 bytes (64 MiB)"]),
    (&["--memory", "64m", "--memory-swap", "128m"], &["memory 67108864 bytes (64 MiB)"]),
    (&["--cpus", "0.5"], &["cpu 0.50 of a processor's time"]),
    (&["--pids-limit", "33"], &["processes 33"]),
    (&["--pids-limit", "-1"], &["processes no limit"]),
    (&["--cap-drop", "ALL"], &["capabilities 0 of 41 (mask 0000000000000000)"]),
    (&["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"], &["mask 0000000000000400"]),
    (&["--cap-add", "CAP_NET_ADMIN"], &["mask 00000000a80435fb"]),
    (&["--hostname", "box"], &["host name box"]),
    (&["-u", "1000:1001"], &["user, group 1000 / 1001", "mask 0000000000000000"]),
    (&["--read-only"], &["/ overlay ro,", "/dev tmpfs rw,"]),
    (&["--tmpfs", "/scratch:size=1m"], &["/scratch tmpfs rw,"]),
    (&["--read-only", "--tmpfs", "/run"], &["/ overlay ro,", "/run tmpfs rw,"]),
    (&["-v", "/etc/passwd:/data:ro"], &["/data overlay ro,"]),
    (&["-v", "/tmp:/data"], &["/data tmpfs rw,"]),
    (&["--init"], &["/sbin/docker-init "]),
    (&["--privileged"], &["seccomp off", "/sys sysfs rw,"]),
    (&["--entrypoint", "/hello"], &["pid 1 "]),
    (&["-w", "/made/for/this"], &["pid 1 "]),
];

fn says_what_was_asked_for(host: &TestHost, engine: Engine) {
    // The first run makes the image and says so.
    host.cli(engine, &["run", "--rm", "hello"]).exits(0).says("Unable to find image 'hello:latest' locally");
    let before = host.state();
    let mut wrong = String::new();
    for (flags, signs) in CASES {
        let args: Vec<&str> = ["run", "--rm"].iter().chain(*flags).chain(&["hello"]).copied().collect();
        let output = host.cli(engine, &args);
        let said = one_space(&output.stdout);
        let missing: Vec<&&str> = signs.iter().filter(|sign| !said.contains(**sign)).collect();
        if output.code != 0 || !output.stderr.is_empty() || !missing.is_empty() {
            let Output { command, stderr, code, .. } = &output;
            wrong.push_str(&format!("\n$ {command}\nexit code {code}, missing {missing:?}\n{stderr}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let output = host.cli(engine, &["run", "--rm", "--init", "hello"]);
    assert!(!output.ok().contains("(process 1 of"), "the init is not process 1\n{output}");
    networks(host, engine);
    host.settles_to(&before);
}

fn networks(host: &TestHost, engine: Engine) {
    let of_host = host.sh("readlink /proc/self/ns/net").ok().to_string();
    for (network, is_shared) in [("none", false), ("bridge", false), ("host", true)] {
        let output = host.cli(engine, &["run", "--rm", "--network", network, "hello"]);
        assert_eq!(
            output.ok().contains(&of_host),
            is_shared,
            "--network {network}, host {of_host}\n{output}"
        );
    }
}

fn is_listed_and_inspected(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "hello"]).exits(0);
    let flags = ["-w", "/made", "-e", "A=b", "--label", "k=v", "--stop-timeout", "3", "--hostname", "box"];
    let args: Vec<&str> = ["run", "--name", "greeter"].into_iter().chain(flags).chain(["hello"]).collect();
    host.cli(engine, &args).ok();
    let list = "{{.Names}} {{.Image}} {{.State}} {{.Labels}}";
    assert_eq!(host.cli(engine, &["ps", "-a", "--format", list]).ok(), "greeter hello exited k=v");
    assert_eq!(host.cli(engine, &["ps", "-q"]).ok(), "");
    let format = "{{.Name}} {{.Config.Image}} {{.Config.WorkingDir}} {{json .Config.Env}} {{json .Config.Labels}} \
                  {{.Config.StopTimeout}} {{.Config.Hostname}} {{.State.Status}} {{.State.ExitCode}} {{.Path}}";
    let inspected = host.cli(engine, &["inspect", "--format", format, "greeter"]);
    let found = inspected.ok();
    assert!(found.starts_with("/greeter hello /made "), "{inspected}");
    for sign in ["\"A=b\"", "{\"k\":\"v\"}", " 3 box exited 0 /hello"] {
        assert!(found.contains(sign), "{sign}\n{inspected}");
    }
    assert_is_greeting(&host.cli(engine, &["logs", "greeter"]));
    assert_is_greeting(&host.cli(engine, &["start", "-a", "greeter"]));
    assert_eq!(host.cli(engine, &["rm", "greeter"]).ok(), "greeter");
    host.cli(engine, &["rmi", "hello"]).ok();
    assert_eq!(host.cli(engine, &["images", "-q"]).ok(), "");
    // And it is there again when it is asked for.
    assert_is_greeting(&host.cli(engine, &["run", "--rm", "hello"]));
}

#[track_caller]
fn assert_is_greeting(output: &Output) {
    assert!(output.ok().starts_with("Hello from a container."), "{output}");
}

fn one_space(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}
