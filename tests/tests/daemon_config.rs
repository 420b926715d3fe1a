//! The daemon itself: its settings one by one, its sockets, its log, its pid file, and settings that are read again.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::{Engine, TestHost, wait};

const PATIENCE: Duration = Duration::from_secs(60);
const SOCKET: &str = "/run/tare/tare.sock";

fn host_for(engine: Engine) -> Option<TestHost> {
    if !engine.is_wanted() {
        tests::host::skip(&format!("engine {engine:?} is not in TARE_TEST_ENGINES"));
        return None;
    }
    TestHost::new()
}

#[track_caller]
fn eventually(what: &str, check: impl FnMut() -> bool) {
    assert!(wait::until(PATIENCE, check), "{what} in time");
}

fn answers(host: &TestHost, socket: &str) -> bool {
    host.sh(&format!("curl -sf --unix-socket {socket} http://x/_ping")).stdout == "OK"
}

struct Row {
    name: String,
    tries: String,
    outcome: String,
}

fn ledger() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("daemon-config.tsv");
    let text = std::fs::read_to_string(path).expect("tests/daemon-config.tsv");
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [kind, name, tries, outcome] => {
            Row { name: format!("{kind} {name}"), tries: tries.to_owned(), outcome: outcome.to_owned() }
        }
        _ => panic!("not four columns: {line}"),
    })
    .collect()
}

/// Each row is what the program does; each case that a row names is there.
#[test]
fn the_ledger_holds() {
    let rows = ledger();
    assert!(rows.len() >= 263, "{} rows", rows.len());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for row in &rows {
        let Some(proof) = row.outcome.strip_prefix("works: ") else { continue };
        let (file, case) = proof.split_once(": ").unwrap_or_else(|| panic!("{}: {proof}", row.name));
        if file == "flags.tsv" {
            continue;
        }
        let text = std::fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap_or_default();
        assert!(text.contains(&format!("fn {case}(")), "{}: there is no {proof}", row.name);
    }
    let Some(host) = host_for(Engine::Tare) else { return };
    // One line of shell for all: a command for each row would take minutes.
    let mut script = String::new();
    let tried: Vec<&Row> = rows.iter().filter(|row| row.tries != "-").collect();
    for (at, row) in tried.iter().enumerate() {
        let quoted = row.tries.replace('\'', "'\\''");
        let line = match row.tries.starts_with('{') {
            true => format!(
                "printf %s '{quoted}' >/run/row.json; tare daemon --validate --config-file /run/row.json"
            ),
            false => format!("tare daemon --validate '{quoted}'"),
        };
        script.push_str(&format!("echo \"=== {at}\"; {line} 2>&1; echo \"code $?\"\n"));
    }
    host.write("/run/rows.sh", &script);
    let output = host.sh("sh /run/rows.sh");
    let answers: Vec<&str> = output.ok().split("=== ").skip(1).collect();
    assert_eq!(answers.len(), tried.len());
    for (row, answer) in tried.iter().zip(answers) {
        let holds = match row.outcome.strip_prefix("refused: ") {
            Some(text) => answer.contains(text) && answer.contains("code 1"),
            None => answer.contains("code 0"),
        };
        assert!(holds, "{} {}\nsays: {answer}wanted: {}", row.name, row.tries, row.outcome);
    }
}

/// Whatever is wrong with the file, nothing starts, and one line says why.
#[test]
fn a_wrong_file_starts_nothing() {
    let Some(host) = host_for(Engine::Tare) else { return };
    for (file, text) in [
        ("{", "invalid JSON: unexpected end of JSON input"),
        (r#"{"nope": 1}"#, "the following directives don't match any configuration option: nope"),
        (r#"{"userns-remap": "default"}"#, "the option userns-remap is not supported: "),
        (
            r#"{"seccomp-profile": "/nosuch"}"#,
            "opening seccomp profile (/nosuch) failed: open /nosuch: no such file",
        ),
    ] {
        host.write("/etc/tare/daemon.json", file);
        for line in ["tare daemon", "tare run --rm hello", "tare system boot"] {
            let output = host.sh(line);
            let first = output.stderr.lines().next().unwrap_or_default();
            assert!(output.code != 0 && first.contains(text), "{output}");
        }
        assert!(!host.path(SOCKET).exists() && !host.path("/var/lib/tare/tare.db").exists());
    }
    host.sh("rm /etc/tare/daemon.json && mkdir /etc/tare/daemon.json").ok();
    assert!(host.sh("tare daemon").both().contains("daemon.json: "));
}

#[test]
fn a_daemon_listens_where_it_is_told() {
    let Some(host) = host_for(Engine::Socket) else { return };
    host.sh("echo tarers:x:777: >> /etc/group; mkdir /run/d").ok();
    let flags = "-H unix:///run/d/a.sock --host unix:///run/d/b.sock -G tarers --pidfile /run/d/x.pid --log-format json -D \
                 --data-root /var/lib/other --exec-root /run/other --experimental --raw-logs --shutdown-timeout 2";
    let daemon = host.spawn(&format!("exec tare daemon {flags}"));
    for socket in ["/run/d/a.sock", "/run/d/b.sock"] {
        eventually(socket, || answers(&host, socket));
        assert_eq!(host.sh(&format!("stat -c '%a %g' {socket}")).ok().trim(), "660 777");
    }
    let info = host.sh("curl -s --unix-socket /run/d/a.sock http://x/info");
    let info: Value = serde_json::from_str(info.ok()).expect("info");
    assert_eq!(info["DockerRootDir"], "/var/lib/other");
    assert_eq!((&info["Debug"], &info["ExperimentalBuild"]), (&true.into(), &true.into()));
    assert!(host.path("/run/other/locks").exists() && !host.path("/run/tare").exists());
    let pid = host.read("/run/d/x.pid");
    assert_eq!(host.sh(&format!("cat /proc/{pid}/comm")).ok().trim(), "tare");
    // Another one finds the file.
    let second =
        host.sh("tare daemon -H unix:///run/d/c.sock --pidfile /run/d/x.pid --data-root /var/lib/other");
    assert!(second.both().contains(&format!("process with PID {pid} is still running")), "{second}");
    host.sh(&format!("kill {pid}")).ok();
    let output = daemon.finish();
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stderr.lines().count() >= 2, "{output}");
    for line in output.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(line["level"].is_string() && line["msg"].is_string() && line["time"].is_string(), "{line}");
    }
    for file in ["/run/d/a.sock", "/run/d/b.sock", "/run/d/x.pid"] {
        assert!(!host.path(file).exists(), "{file} is left");
    }
    let nobodys = host.sh("tare daemon -H unix:///run/d/e.sock -G nosuch");
    assert!(nobodys.both().contains("group nosuch not found"), "{nobodys}");
    assert!(!host.path("/run/d/e.sock").exists());
    let tcp = host.sh("tare daemon -H tcp://127.0.0.1:2375");
    assert!(tcp.both().contains("tcp://127.0.0.1:2375: listening on TCP needs mutual TLS"), "{tcp}");
}

/// As systemd does it: a socket that is bound already, and notices on another.
#[test]
fn a_service_manager_gives_the_socket() {
    let Some(host) = host_for(Engine::Socket) else { return };
    host.write(
        "/run/manager.pl",
        r#"use Socket; use POSIX; $^F = 9; $| = 1;
        socket(my $n, AF_UNIX, SOCK_DGRAM, 0) or die; bind($n, pack_sockaddr_un("/run/notify")) or die;
        my $pid = fork;
        if (!$pid) {
            close $n;
            socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un("/run/given.sock")) or die; listen($s, 9) or die;
            if (fileno($s) != 3) { POSIX::dup2(fileno($s), 3) }
            $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1; $ENV{NOTIFY_SOCKET} = "/run/notify";
            exec @ARGV;
        }
        print "pid $pid\n";
        my $m; while (defined recv($n, $m, 4096, 0)) { print "$m\n"; last if $m =~ /STOPPING/ }
        waitpid($pid, 0); print "code ", $? >> 8, "\n";"#,
    );
    host.write("/etc/tare/daemon.json", "{}");
    let manager = host.spawn("exec perl /run/manager.pl tare daemon -H fd:// --pidfile /run/x.pid");
    manager.wait_for("READY=1");
    assert!(answers(&host, "/run/given.sock"));
    assert!(!host.path(SOCKET).exists());
    host.sh("kill -HUP $(cat /run/x.pid)").ok();
    manager.wait_for("RELOADING=1\nMONOTONIC_USEC=");
    host.sh("kill $(cat /run/x.pid)").ok();
    manager.wait_for("STOPPING=1");
    manager.wait_for("code 0");
    // The manager's socket is the manager's.
    assert!(host.path("/run/given.sock").exists());
    let alone = host.sh("tare daemon -H fd://");
    assert!(alone.both().contains("no sockets found via socket activation"), "{alone}");
}

fn settings_are_read_again(engine: Engine) {
    let Some(host) = host_for(engine) else { return };
    let file = match engine {
        Engine::Docker => format!("{}/dockerd.json", tests::sandbox::OWN_DIR),
        _ => "/etc/tare/daemon.json".to_owned(),
    };
    let settings = |more: &str| {
        format!(r#"{{"features": {{"containerd-snapshotter": true}}, "pidfile": "/run/x.pid", {more}}}"#)
    };
    host.start_with(engine, &settings(r#""labels": ["a=b"], "mtu": 1400"#));
    let info = |template: &str| host.cli(engine, &["info", "-f", template]).stdout.trim().to_owned();
    assert_eq!(info("{{json .Labels}} {{.Debug}}"), r#"["a=b"] false"#);
    let reload = |text: &str| {
        host.write(&file, text);
        host.sh("kill -HUP $(cat /run/x.pid)").ok();
    };
    reload(&settings(
        r#""labels": ["c=d"], "debug": true, "max-concurrent-downloads": 1, "shutdown-timeout": 3, "mtu": 1300"#,
    ));
    eventually("labels", || info("{{json .Labels}} {{.Debug}}") == r#"["c=d"] true"#);
    let told = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=reload",
        "--format",
        "{{json .Actor}}",
    ];
    let mut actor = Value::Null;
    eventually("the event", || {
        actor = serde_json::from_str(host.cli(engine, &told).stdout.trim()).unwrap_or_default();
        actor.is_object()
    });
    assert_eq!(actor["ID"], info("{{.ID}}"));
    let attributes = actor["Attributes"].as_object().expect("attributes");
    let names: Vec<&str> = attributes.keys().map(String::as_str).collect();
    assert_eq!(
        names.join(" "),
        "debug default-cgroupns-mode default-ipc-mode default-runtime default-shm-size features insecure-registries labels live-restore max-concurrent-downloads max-concurrent-uploads max-download-attempts name registry-mirrors runtimes shutdown-timeout"
    );
    for (name, value) in [
        ("labels", r#"["c=d"]"#),
        ("debug", "true"),
        ("max-concurrent-downloads", "1"),
        ("max-concurrent-uploads", "5"),
        ("shutdown-timeout", "3"),
        ("features", "map[containerd-snapshotter:true]"),
        ("insecure-registries", "[]"),
        ("default-shm-size", "67108864"),
    ] {
        assert_eq!(attributes[name], value, "{name}");
    }
    // What is wrong changes nothing, and the daemon goes on.
    reload(r#"{"nope": 1}"#);
    reload(&settings(r#""labels": ["e=f"]"#));
    eventually("labels", || info("{{json .Labels}} {{.Debug}}") == r#"["e=f"] true"#);
    let log = match engine {
        Engine::Docker => "dockerd.log",
        _ => "tare-daemon.log",
    };
    let log = host.read(&format!("{}/{log}", tests::sandbox::OWN_DIR));
    assert!(log.contains("Error reloading configuration") || log.contains("e=f"), "{log}");
}

mod reload {
    use super::*;

    #[test]
    fn docker() {
        settings_are_read_again(Engine::Docker);
    }

    #[test]
    fn socket() {
        settings_are_read_again(Engine::Socket);
    }
}

/// DOCKER_MIN_API_VERSION closes the door to older clients.
#[test]
fn old_versions_can_be_refused() {
    let Some(host) = host_for(Engine::Socket) else { return };
    let wrong = host.sh("DOCKER_MIN_API_VERSION=1.99 tare daemon");
    assert!(
        wrong.both().contains("invalid DOCKER_MIN_API_VERSION: maximum supported API version is 1.51: 1.99")
    );
    let _daemon = host.spawn("DOCKER_MIN_API_VERSION=1.44 exec tare daemon");
    eventually("the daemon", || answers(&host, SOCKET));
    let get = |path: &str| host.sh(&format!("curl -s --unix-socket {SOCKET} http://x{path}")).stdout;
    assert!(
        get("/v1.43/info").contains("client version 1.43 is too old. Minimum supported API version is 1.44")
    );
    assert!(get("/v1.44/version").contains(r#""MinAPIVersion":"1.44""#));
}

#[test]
fn the_init_program_is_chosen() {
    let Some(host) = host_for(Engine::Tare) else { return };
    host.start_registry();
    host.write("/run/my-init", "#!/bin/sh\necho \"own init: $*\"\n");
    host.sh("chmod +x /run/my-init").ok();
    host.write("/etc/tare/daemon.json", r#"{"init-path": "/run/my-init"}"#);
    let said = host.tare(&["run", "--rm", "--init", "127.0.0.1:5000/busybox", "true"]);
    assert_eq!(said.ok().trim(), "own init: -- true");
}
