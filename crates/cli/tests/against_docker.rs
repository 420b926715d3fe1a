//! Ours and Docker's CLI 28 for the same words: what they print, how they exit, what they send.
//!
//! Neither sees a real engine: the fake one records requests and answers with fixed texts.

mod support;

use std::process::Command;

use cli::flags::{Action, ROOT};
use cli::grammar::help::{self, Show};
use cli::grammar::{Command as Entry, State};
use support::{Answer, Engine, Outcome, docker, ours, theirs};

/// The help of every command, with all of Docker's flags, is Docker's.
#[test]
fn help_is_dockers() {
    let Some(docker) = docker() else { return };
    let compare = |entry: &Entry<Action>, path: &str| {
        let words: Vec<&str> = path.split(' ').skip(1).collect();
        let output = Command::new(&docker).args(words).arg("--help").output().unwrap();
        let ours = help::command(entry, path, help::DEFAULT_WIDTH, Show::Docker);
        assert_eq!(ours, String::from_utf8_lossy(&output.stdout), "{path}");
    };
    let ready = |c: &&&'static Entry<Action>| c.state == State::Ready && c.name != "completion";
    let all: Vec<&'static Entry<Action>> = ROOT.commands.iter().collect();
    for entry in all.iter().filter(ready) {
        // `system` has a command that Docker hides.
        if entry.name != "system" {
            compare(entry, &format!("docker {}", entry.name));
        }
        let subs: Vec<&'static Entry<Action>> = entry.commands.iter().collect();
        for sub in subs.iter().filter(ready) {
            compare(sub, &format!("docker {} {}", entry.name, sub.name));
        }
    }
}

/// Lines that need no engine: mistakes, help, and what is told before an engine is asked.
const LINES: &[&[&str]] = &[
    &[],
    &["-v"],
    &["--version"],
    &["--foo"],
    &["-Z"],
    &["foo"],
    &["foo", "--help"],
    &["foo", "--bar"],
    &["foo", "-D", "x"],
    &["help", "nope"],
    &["container"],
    &["container", "foo"],
    &["container", "--foo"],
    &["container", "--foo", "run"],
    &["image", "foo"],
    &["run"],
    &["run", "-it"],
    &["run", "-it=false"],
    &["run", "--foo"],
    &["run", "--foo=bar", "x"],
    &["run", "-Z", "x"],
    &["run", "-iZ", "x"],
    &["run", "--name"],
    &["run", "-e"],
    &["run", "-ie"],
    &["run", "--"],
    &["run", "---x"],
    &["run", "--=x"],
    &["run", "--cap", "x", "y"],
    &["run", "--no", "x"],
    &["run", "--help=x"],
    &["run", "--help", "--foo"],
    &["run", "--tty=maybe", "x"],
    &["run", "--rm=2", "x"],
    &["run", "--memory=abc", "x"],
    &["run", "--memory=1x", "x"],
    &["run", "--memory=", "x"],
    &["run", "--memory=1.2.3g", "x"],
    &["run", "-m-5", "x"],
    &["run", "--memory-swap", "-2", "x"],
    &["run", "--cpus", "x", "y"],
    &["run", "--cpus", "1/3", "y"],
    &["run", "--cpus", "0.0000000001", "y"],
    &["run", "--stop-timeout=", "x"],
    &["run", "--stop-timeout=1.5", "x"],
    &["run", "--pids-limit", "99999999999999999999", "x"],
    &["run", "-e", "=x", "y"],
    &["run", "--label", " ", "y"],
    &["run", "--label", "a b=c", "y"],
    &["run", "-a", "foo", "x"],
    &["run", "--pull", "foo", "x"],
    &["run", "-p", "a", "x"],
    &["run", "-p", "a:b:c:d", "x"],
    &["run", "-p", "99999:1", "x"],
    &["run", "-p", "80/foo", "x"],
    &["run", "-p", "a=b,c", "x"],
    &["run", "-p", "[::1:80:80", "x"],
    &["run", "-v", ":::", "x"],
    &["run", "-v", "a:b:c:d:e", "x"],
    &["run", "-d", "-a", "stdout", "x"],
    &["run", "-it", "x"],
    &["create", "-p", "a", "x"],
    &["create", "--foo"],
    &["ps", "a"],
    &["ps", "--foo"],
    &["ps", "-n=1", "-qx"],
    &["ps", "--last", "09"],
    &["ps", "-f", "x"],
    &["ps", "--format", "{{.Foo}}"],
    &["ps", "--format", "{{.ID"],
    &["container", "ls", "a"],
    &["images", "a", "b"],
    &["inspect"],
    &["inspect", "--type="],
    &["inspect", "--type=", "x"],
    &["inspect", "--type", "foo", "x"],
    &["inspect", "--format", "{{foo}}", "x"],
    &["exec", "x"],
    &["exec", "-it"],
    &["logs"],
    &["logs", "a", "b"],
    &["attach"],
    &["wait"],
    &["stop"],
    &["stop", "--time", "3"],
    &["stop", "--time", "3", "--timeout", "4", "x"],
    &["kill"],
    &["rm"],
    &["rmi"],
    &["import"],
    &["load", "x"],
    &["version", "x"],
    &["version", "-f", "{{.Foo"],
    &["info", "x"],
    &["pull"],
    &["pull", "UPPER"],
    &["pull", "a b"],
    &["pull", ""],
    &["start"],
    &["start", "-a", "x", "y"],
    &["-l", "bad", "ps"],
    &["-H", "bad://", "ps"],
];

#[test]
fn lines_without_an_engine() {
    let Some(docker) = docker() else { return };
    let mut differences = Vec::new();
    for line in LINES {
        let mut args = vec!["-H", "unix:///nonexistent/engine.sock"];
        if line.first() == Some(&"-H") || line.is_empty() {
            args.clear();
        }
        args.extend_from_slice(line);
        let (mut want, mut got) = (theirs(&docker, &args, ""), ours("docker", &args, ""));
        // Docker's own list of commands is longer.
        for outcome in [&mut want, &mut got] {
            outcome.err = same_ports(&outcome.err);
            // Whichever of 28 it is.
            if outcome.out.starts_with("Docker version 28.") {
                outcome.out.truncate("Docker version 28".len());
            }
            for text in [&mut outcome.out, &mut outcome.err] {
                if let Some(end) = text.find("ommands:\n") {
                    text.truncate(end);
                }
                *text = text.trim_end_matches(['C', '\n']).trim_end_matches("Common ").trim_end().to_owned();
            }
        }
        if want != got {
            differences.push(format!("{line:?}\n docker {want:?}\n ours   {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Lines of `create` whose request is compared: the beginning of the flag ledger.
const BODIES: &[&[&str]] = &[
    &["busybox"],
    &["busybox", "echo", "-n", "--", "hi"],
    &["--name", "web", "nginx:1.22"],
    &["--name", "a", "--name", "b", "nginx"],
    &["-it", "busybox", "sh"],
    &["-ti", "busybox"],
    &["-i=false", "-t=true", "busybox"],
    &["--tty=false", "-i", "busybox"],
    &["-i", "-a", "stdin", "busybox"],
    &["-a", "STDOUT", "-a", "stderr", "busybox"],
    &["-e", "A=1", "busybox"],
    &["-eA=1", "busybox"],
    &["-e=A=1", "busybox"],
    &["-e", "A=", "busybox"],
    &["-e", "TARE_SURELY_UNSET", "busybox"],
    &["-e", "A=x=y", "busybox"],
    &["--env", "PATH", "busybox"],
    &["-v", "/a:/b", "busybox"],
    &["-v", "/a:/b:ro", "busybox"],
    &["-v", "./x:/b", "busybox"],
    &["-v", "vol:/b", "busybox"],
    &["-v", "/anon", "busybox"],
    &["-v/a:/b:ro,z", "busybox"],
    &["-w", "/tmp", "busybox"],
    &["-w/tmp", "busybox"],
    &["-u", "1000:1000", "busybox"],
    &["-p", "80", "nginx"],
    &["-p", "8080:80", "nginx"],
    &["-p8080:80/udp", "nginx"],
    &["-p", "127.0.0.1:8080:80", "nginx"],
    &["-p", "[::1]:8080:80", "nginx"],
    &["-p", "127.0.0.1::80", "nginx"],
    &["-p", "80", "-p", "8080:80", "-p", "53:53/udp", "nginx"],
    &["-p", "8000-8002:80-82", "nginx"],
    &["-p", "8000-8010:80", "nginx"],
    &["-p", "published=8080,target=80", "nginx"],
    &["--network", "none", "busybox"],
    &["--network", "host", "busybox"],
    &["--net", "host", "busybox"],
    &["--network=bridge", "busybox"],
    &["--network", "mine", "busybox"],
    &["--memory", "256m", "busybox"],
    &["-m", "1.5g", "--memory-swap", "-1", "busybox"],
    &["-m256m", "--memory-swap=512MiB", "busybox"],
    &["--cpus", "1.5", "busybox"],
    &["--cpus=.25", "busybox"],
    &["--pids-limit", "10", "busybox"],
    &["--pids-limit", "-1", "busybox"],
    &["--pids-limit", "0x10", "busybox"],
    &["--cap-add", "ALL", "--cap-drop", "net_raw", "busybox"],
    &["--cap-add", "sys_admin", "--cap-add", "CAP_CHOWN", "--cap-add", "chown", "busybox"],
    &["--read-only", "busybox"],
    &["--read-only=false", "busybox"],
    &["--tmpfs", "/run", "--tmpfs", "/tmp:size=64m,mode=1777", "busybox"],
    &["--entrypoint", "sh", "busybox", "-c", "x"],
    &["--entrypoint", "", "busybox", "x"],
    &["--entrypoint=", "busybox"],
    &["--hostname", "h", "busybox"],
    &["-h", "h", "busybox"],
    &["-l", "a=b", "--label", "c", "--label", "a=d", "busybox"],
    &["--init", "busybox"],
    &["--init=false", "busybox"],
    &["--stop-timeout", "30", "busybox"],
    &["--stop-timeout", "-1", "busybox"],
    &["--privileged", "busybox"],
    &["--rm", "busybox"],
    &["--rm", "--rm=false", "busybox"],
    &["--restart", "no", "busybox"],
    &["--disable-content-trust", "busybox"],
    &["--", "busybox", "--rm"],
];

fn refusing() -> Engine {
    Engine::new(|_| Answer::Json(500, r#"{"message":"recorded"}"#.to_owned()))
}

#[test]
fn create_requests() {
    let Some(docker) = docker() else { return };
    let engine = refusing();
    let host = engine.host();
    let mut differences = Vec::new();
    for words in BODIES {
        for command in ["create", "run"] {
            let mut args = vec!["-H", &host, command];
            if command == "run" && !words.contains(&"-a") {
                args.push("-d");
            }
            args.extend_from_slice(words);
            let want = (theirs(&docker, &args, ""), engine.take());
            let got = (ours("docker", &args, ""), engine.take());
            let shown = |(outcome, seen): (Outcome, Vec<support::Seen>)| {
                let requests: Vec<String> =
                    seen.iter().map(|s| format!("{} {}", s.line(), s.body.trim_end())).collect();
                (outcome, requests)
            };
            let (want, got) = (shown(want), shown(got));
            if want != got {
                differences.push(format!("{args:?}\n docker {want:?}\n ours   {got:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Requests of the other commands.
const REQUESTS: &[&[&str]] = &[
    &["ps"],
    &["ps", "-a", "-q"],
    &["ps", "-l"],
    &["ps", "-n", "3", "-s"],
    &["ps", "-l", "-n", "3"],
    &["ps", "--size=false", "--format", "{{.Size}}"],
    &["ps", "--format", "{{.Size}}"],
    &["ps", "-f", "status=running", "-f", "name=x", "--filter", " Label = a=b "],
    &["images"],
    &["images", "-a", "foo", "-f", "dangling=true"],
    &["start", "a", "b"],
    &["stop", "a"],
    &["stop", "-t", "3", "-s", "KILL", "a"],
    &["stop", "--time=-1", "a"],
    &["kill", "a"],
    &["kill", "-s", "9", "a"],
    &["rm", "a"],
    &["rm", "-f", "-v", "/a"],
    &["rm", "/"],
    &["wait", "a"],
    &["logs", "a"],
    &["inspect", "a"],
    &["inspect", "-s", "--type", "container", "a"],
    &["inspect", "--type", "image", "a/b:c"],
    &["container", "inspect", "a", "b"],
    &["image", "inspect", "a"],
    &["exec", "a", "b"],
    &["attach", "a"],
    &["start", "-ai", "a"],
    &["pull", "busybox"],
    &["pull", "-q", "host:5000/a/b:c"],
    &["pull", "busybox@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    &["rmi", "a"],
    &["rmi", "-f", "--no-prune", "a", "b"],
    &["info"],
    &["info", "-f", "{{.ClientInfo.Debug}}"],
    &["info", "-f", "{{.NCPU}}"],
    &["load"],
    &["load", "-q"],
    &["import", "-"],
    &["import", "-m", "msg", "-c", "CMD x", "-c", "ENV a=b", "http://h/x.tar", "repo:tag"],
    &["import", "/nonexistent"],
    &["import", "-", "UPPER"],
];

#[test]
fn other_requests() {
    let Some(docker) = docker() else { return };
    let engine = refusing();
    let host = engine.host();
    let mut differences = Vec::new();
    for words in REQUESTS {
        let mut args = vec!["-H", &host];
        args.extend_from_slice(words);
        let mut want = (theirs(&docker, &args, ""), engine.take());
        let mut got = (ours("docker", &args, ""), engine.take());
        // The client's own lines of `info` name its version and plugins.
        if words == &["info"] {
            for outcome in [&mut want.0, &mut got.0] {
                outcome.out = outcome.out.split("Server:").nth(1).unwrap_or("").to_owned();
            }
        }
        // Docker's client waits beside its other requests, ours after them, and it names the condition.
        let shown = |seen: &[support::Seen]| {
            let lines = seen.iter().map(support::Seen::line);
            lines.filter(|l| !l.contains("/wait")).collect::<Vec<_>>()
        };
        if want.0 != got.0 || shown(&want.1) != shown(&got.1) {
            differences.push(format!(
                "{words:?}\n docker {:?} {:?}\n ours   {:?} {:?}",
                want.0,
                shown(&want.1),
                got.0,
                shown(&got.1)
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Lines of a file of command lines: words with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => out.push(String::new()),
            c => out.last_mut().unwrap().push(c),
        }
    }
    out
}

/// Debian builds Docker's CLI with an older go-connections, whose texts begin with capital letters.
fn same_ports(text: &str) -> String {
    [
        ("Invalid ", "invalid "),
        ("No port", "no port"),
        ("ip address", "IP address"),
        ("Empty string specified for ports.", "empty string specified for ports"),
        ("specified for the Port", "specified for port"),
        // Its reason for an address that is none.
        ("IP address a:b: address a:b:: too many colons in address", "IP address: a:b"),
        (
            "IP address fe80::1%eth0: address fe80::1%eth0:: too many colons in address",
            "IP address: fe80::1%eth0",
        ),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    .replace("invalid --security-opt", "Invalid --security-opt")
}

/// What both do with a line: outcome and requests.
fn compare(docker: &std::path::Path, engine: &Engine, line: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let host = engine.host();
    let words = words(line);
    let mut args = vec!["--config", folder.path().to_str().unwrap(), "-H", &host];
    args.extend(words.iter().map(String::as_str));
    let shown = |outcome: Outcome, seen: Vec<support::Seen>| {
        let body =
            |s: &support::Seen| api::json::Json::parse(s.body.as_bytes()).unwrap_or_default().to_string();
        let requests: Vec<String> = seen.iter().map(|s| format!("{} {}", s.line(), body(s))).collect();
        (outcome.code, outcome.out, same_ports(&outcome.err), requests)
    };
    let want = shown(theirs(docker, &args, ""), engine.take());
    let got = shown(ours("docker", &args, ""), engine.take());
    (want != got).then(|| format!("{line}\n docker {want:?}\n ours   {got:?}"))
}

#[test]
fn command_lines() {
    const AT_ONCE: usize = 4;
    let Some(docker) = docker() else { return };
    let text = include_str!("command-lines.txt");
    let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let engine = refusing();
        let mut differences = Vec::new();
        while let Some(line) = lines.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            differences.extend(compare(&docker, &engine, line));
        }
        differences
    };
    let differences: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
