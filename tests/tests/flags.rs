//! The flag ledger against Docker's CLI: what each row says is what Docker's CLI 28.5.2 asks of an engine.
//!
//! It needs neither root nor dockerd: the engine is a recorder. That ours asks the same is tested in `crates/cli`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tests::cache;
use tests::recorder::{Recorder, Request};

/// So many command lines are run at once.
const AT_ONCE: usize = 4;

struct Row {
    command: String,
    flag: String,
    argv: String,
    gives: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/flags.tsv")).expect("tests/flags.tsv");
    let lines = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [command, flag, argv, gives, _] => Row {
                command: command.to_owned(),
                flag: flag.to_owned(),
                argv: argv.to_owned(),
                gives: gives.to_owned(),
            },
            _ => panic!("not five columns: {line}"),
        })
        .collect()
}

/// Words with single quotes, as in the ledger.
fn words(argv: &str, folder: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    for c in argv.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => out.push(String::new()),
            c => out.last_mut().expect("never empty").push(c),
        }
    }
    out.iter().map(|word| word.replace("{dir}", folder)).collect()
}

struct Outcome {
    code: i32,
    out: String,
    err: String,
    seen: Vec<Request>,
}

fn run(docker: &Path, argv: &str) -> (Outcome, String) {
    let recorder = Recorder::start().expect("recorder");
    for (name, text) in [
        ("env", "# comment\nA=1\nB=two words\n"),
        ("labels", "a=1\nskipped\n"),
        ("seccomp.json", "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }\n"),
    ] {
        std::fs::write(recorder.folder().join(name), text).expect(name);
    }
    let folder = recorder.folder().to_str().expect("a plain path").to_owned();
    let mut command = Command::new(docker);
    command.args(["--config", &folder, "-H", &recorder.host()]).args(words(argv, &folder));
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_API_VERSION", "DOCKER_DEFAULT_PLATFORM"] {
        command.env_remove(name);
    }
    let output = tests::command::run(command, argv, b"", tests::command::DEFAULT_LIMIT);
    let seen = recorder.take();
    (Outcome { code: output.code, out: output.stdout, err: output.stderr, seen }, folder)
}

/// Whether an outcome is what one part of a row says.
fn holds(part: &str, folder: &str, outcome: &Outcome) -> bool {
    let seen = &outcome.seen;
    let pair = |pair: &str| seen.iter().any(|request| request.has_pair(pair));
    if part == "(help)" {
        return outcome.code == 0 && outcome.out.starts_with("Usage:");
    }
    if let Some(text) = part.strip_prefix("error: ") {
        return outcome.code != 0 && outcome.err.starts_with(text);
    }
    // What ours refuses Docker's CLI may do in many ways.
    if part.starts_with("refused: ") {
        return true;
    }
    let asked = if part == "(same)" {
        !seen.is_empty()
    } else if let Some(absent) = part.strip_prefix("!?") {
        !pair(absent)
    } else if let Some(present) = part.strip_prefix('?') {
        pair(present)
    } else if let Some((pointer, json)) = part.strip_prefix('/').and(part.split_once('=')) {
        let wanted: Value = serde_json::from_str(&json.replace("{dir}", folder)).expect(part);
        seen.iter().filter_map(|r| r.body.as_ref()).any(|body| body.pointer(pointer) == Some(&wanted))
    } else {
        seen.iter().any(|r| format!("{} {}", r.method, r.path) == part)
    };
    outcome.code == 0 && asked
}

/// Docker's CLI of the reference.
fn docker() -> Option<PathBuf> {
    let path = cache::dir().join("oracle/usr/bin/docker");
    let output = Command::new(&path).arg("--version").output();
    let expected = format!("Docker version {}", cache::ORACLE_VERSION);
    if output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).starts_with(&expected)) {
        return Some(path);
    }
    eprintln!("not compared: {} is not Docker's CLI {}", path.display(), cache::ORACLE_VERSION);
    None
}

#[test]
fn dockers_cli_gives_what_the_ledger_says() {
    let Some(docker) = docker() else { return };
    let rows: Vec<Row> = rows().into_iter().filter(|row| !row.gives.starts_with("refused: ")).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut differences = Vec::new();
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (outcome, folder) = run(&docker, &row.argv);
            for part in row.gives.split(" | ").filter(|part| !holds(part, &folder, &outcome)) {
                let Outcome { code, err, seen, .. } = &outcome;
                differences.push(format!("{}: {part}\n    exit code {code}, {err}\n    {seen:?}", row.argv));
            }
        }
        differences
    };
    let differences: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread of this test")).collect()
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// `docker run --help` shows each flag; the ledger must have a row for it.
#[test]
fn no_flag_of_docker_is_missing() {
    let Some(docker) = docker() else { return };
    let rows = rows();
    let commands: BTreeSet<&str> = rows.iter().map(|row| row.command.as_str()).collect();
    for command in commands {
        let output = Command::new(&docker).args(command.split(' ')).arg("--help").output().expect("docker");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // A flag's line begins with its names; the lines of its text are further in.
        let names = text.lines().filter(|line| line.starts_with("  -") || line.starts_with("      --"));
        for line in names {
            let flag = line.split_whitespace().find(|word| word.starts_with("--")).expect(line);
            let known = rows.iter().any(|row| row.command == command && row.flag == flag);
            assert!(known, "{command} {flag} has no row in tests/flags.tsv");
        }
    }
}
