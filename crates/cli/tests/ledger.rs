//! The flag ledger (tests/flags.tsv): every flag has a row, and every row gives what it says.
//!
//! Ours is run in this process against a fake engine; that Docker's CLI gives the same is tested in the package `tests`.

mod support;

use std::path::{Path, PathBuf};

use api::json::Json;
use cli::flags::ROOT;
use cli::grammar::State;
use support::{Answer, Engine, Outcome, Seen, frame, ours};

struct Row {
    command: String,
    flag: String,
    argv: String,
    gives: String,
    shows: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/flags.tsv")).expect("tests/flags.tsv");
    let lines = text.lines().filter(|l| !l.starts_with('#')).skip(1);
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [command, flag, argv, gives, shows] => Row {
                command: command.to_owned(),
                flag: flag.to_owned(),
                argv: argv.to_owned(),
                gives: gives.to_owned(),
                shows: shows.to_owned(),
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
            c => out.last_mut().unwrap().push(c),
        }
    }
    out.iter().map(|w| w.replace("{dir}", folder)).collect()
}

/// A value by its JSON pointer (RFC 6901).
fn at<'a>(json: &'a Json, pointer: &str) -> Option<&'a Json> {
    let mut keys = pointer.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~"));
    keys.try_fold(json, |json, key| json.get(&key))
}

/// An engine that has everything and whose containers end at once.
fn engine() -> Engine {
    const CONTAINER: &str = r#"{"Id":"c1","Name":"/c1","Config":{"Tty":false,"OpenStdin":true},"HostConfig":{},
        "State":{"Status":"running","Running":true},"NetworkSettings":{}}"#;
    let json = |status: u16, text: &str| Answer::Json(status, text.to_owned());
    Engine::new(move |seen: &Seen| {
        let line = seen.line();
        let line = line.split('?').next().unwrap_or("");
        match line {
            "POST /containers/create" => json(201, r#"{"Id":"c1","Warnings":[]}"#),
            "GET /containers/json" | "GET /images/json" => json(200, "[]"),
            "POST /containers/c1/attach" => Answer::Stream { first: frame(1, b""), echo: false },
            "POST /exec/e1/start" if !seen.body.contains("\"Detach\":true") => {
                Answer::Stream { first: frame(1, b""), echo: false }
            }
            "POST /containers/c1/wait" => json(200, r#"{"StatusCode":0}"#),
            "GET /containers/c1/json" => json(200, CONTAINER),
            "GET /containers/c1/logs" => json(200, ""),
            "POST /containers/c1/exec" => json(201, r#"{"Id":"e1"}"#),
            "GET /exec/e1/json" => json(200, r#"{"ID":"e1","ExitCode":0}"#),
            "GET /info" => json(200, r#"{"ID":"fake","OSType":"linux"}"#),
            "GET /containers/c1/stats" => json(200, "{}"),
            "POST /containers/c1/update" => json(200, "{}"),
            "GET /events" => json(200, ""),
            "GET /version" => json(200, r#"{"Version":"28.5.2","ApiVersion":"1.51"}"#),
            "GET /images/search" | "GET /images/busybox/history" => json(200, "[]"),
            "POST /volumes/create" => json(201, r#"{"Name":"v1"}"#),
            "POST /volumes/prune" => json(200, "{}"),
            "GET /volumes" => json(200, r#"{"Volumes":[]}"#),
            "GET /volumes/v1" => json(200, r#"{"Name":"v1"}"#),
            "POST /networks/create" => json(201, r#"{"Id":"n1"}"#),
            "POST /networks/prune" => json(200, "{}"),
            "GET /networks" => json(200, "[]"),
            "GET /networks/mine" => json(200, r#"{"Name":"mine"}"#),
            "POST /commit" => json(201, r#"{"Id":"sha256:0"}"#),
            "GET /system/df" => json(200, "{}"),
            "PUT /containers/c1/archive" | "GET /containers/c1/export" => json(200, ""),
            "POST /auth" => json(200, r#"{"Status":"Login Succeeded"}"#),
            line if line.starts_with("GET /images/") => json(200, r#"{"Id":"sha256:0"}"#),
            line if line.starts_with("DELETE /images/") => json(200, "[]"),
            line if line.starts_with("POST /images/") => json(200, "{}"),
            _ => json(204, ""),
        }
    })
}

/// Why an outcome is not what one part of a row says.
fn differs(part: &str, folder: &str, outcome: &Outcome, seen: &[Seen]) -> Option<String> {
    let lines: Vec<String> = seen.iter().map(Seen::line).collect();
    let pair = |pair: &str| {
        lines.iter().filter_map(|l| l.split_once('?')).any(|(_, query)| query.split('&').any(|p| p == pair))
    };
    let ok = if part == "(help)" {
        outcome.code == 0 && outcome.out.starts_with("Usage:") && seen.is_empty()
    } else if part == "(same)" {
        outcome.code == 0 && !seen.is_empty()
    } else if let Some(text) = part.strip_prefix("error: ") {
        outcome.code != 0 && outcome.err.starts_with(text)
    } else if let Some(text) = part.strip_prefix("refused: ") {
        outcome.code == 125 && outcome.err == format!("docker: {text}\n") && seen.is_empty()
    } else if let Some(absent) = part.strip_prefix("!?") {
        outcome.code == 0 && !pair(absent)
    } else if let Some(present) = part.strip_prefix('?') {
        outcome.code == 0 && pair(present)
    } else if let Some((pointer, json)) = part.strip_prefix('/').and(part.split_once('=')) {
        let wanted = Json::parse(json.replace("{dir}", folder).as_bytes()).expect(part);
        let bodies = seen.iter().filter_map(|s| Json::parse(s.body.as_bytes()).ok());
        outcome.code == 0 && bodies.into_iter().any(|body| at(&body, pointer) == Some(&wanted))
    } else {
        outcome.code == 0 && lines.iter().any(|l| l.split('?').next() == Some(part))
    };
    (!ok).then(|| format!("{part}\n    {outcome:?}\n    {lines:?}"))
}

#[test]
fn each_row_gives_what_it_says() {
    let engine = engine();
    let host = engine.host();
    let mut differences = Vec::new();
    for row in rows() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("env", "# comment\nA=1\nB=two words\n"),
            ("labels", "a=1\nskipped\n"),
            ("seccomp.json", "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let folder = folder.path().to_str().unwrap();
        let words = words(&row.argv, folder);
        let mut args = vec!["--config", folder, "-H", &host];
        args.extend(words.iter().map(String::as_str));
        let outcome = ours("docker", &args, "");
        let seen = engine.take();
        for part in row.gives.split(" | ") {
            if let Some(text) = differs(part, folder, &outcome, &seen) {
                differences.push(format!("{}: {text}", row.argv));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Flags of ours and, where Docker's list is at hand, of Docker's.
#[test]
fn each_flag_has_a_row() {
    let rows = rows();
    let has = |command: &str, flag: &str| rows.iter().any(|r| r.command == command && r.flag == flag);
    let mut missing = Vec::new();
    let ready = ROOT.commands.iter().filter(|c| c.state == State::Ready && c.commands.is_empty());
    let commands: Vec<&str> = ready.map(|c| c.name).filter(|name| *name != "completion").collect();
    let groups = ["network", "volume"].map(|name| (name, ROOT.find(name).unwrap()));
    let grouped = groups.iter().flat_map(|(group, command)| {
        command.commands.iter().map(move |c| (format!("{group} {}", c.name), c))
    });
    let all: Vec<_> =
        commands.iter().map(|name| ((*name).to_owned(), ROOT.find(name).unwrap())).chain(grouped).collect();
    for (name, command) in &all {
        for flag in command.all_flags().filter(|f| !f.own) {
            if !has(name, &format!("--{}", flag.name)) {
                missing.push(format!("{name} --{}", flag.name));
            }
        }
    }
    let list = ["../shared", "../../shared"].iter().map(|p| root().join(p).join("surface/docker-cli.tsv"));
    match list.into_iter().find(|path| path.exists()) {
        None => {
            eprintln!("not compared with Docker's list: shared/surface/docker-cli.tsv is not on this machine")
        }
        Some(path) => {
            let text = std::fs::read_to_string(path).unwrap();
            for line in text.lines() {
                let columns: Vec<&str> = line.split('\t').collect();
                let [command, "flag", flag, ..] = columns[..] else { continue };
                let Some(command) = command.strip_prefix("docker ") else { continue };
                if all.iter().any(|(name, _)| name == command) && !has(command, flag) {
                    missing.push(format!("{command} {flag}"));
                }
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "no row in tests/flags.tsv: {missing:?}");
    for row in &rows {
        let shown = match row.shows.as_str() {
            "as run" => rows.iter().any(|other| other.command == "run" && other.flag == row.flag),
            text if text.starts_with("refused: ") || text.starts_with("none: ") => true,
            text => text.split_once(": ").is_some_and(|(file, case)| has_case(file, case)),
        };
        assert!(shown, "{} {} is shown by no test: {:?}", row.command, row.flag, row.shows);
    }
}

/// Whether an end-to-end test file has a case of this name.
fn has_case(file: &str, case: &str) -> bool {
    let path = format!("{}/../../tests/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("{case:?}")))
}

/// What our own engine refuses is marked so in the table of flags, and the other way round.
#[test]
fn refusals_are_marked() {
    for row in rows().iter().filter(|r| r.command == "create") {
        let flag = ROOT.find("create").unwrap().all_flags().find(|f| format!("--{}", f.name) == row.flag);
        let Some(flag) = flag else { panic!("{} is not in the table", row.flag) };
        if let Some(field) = row.shows.strip_prefix("refused: ").filter(|_| flag.state == State::Sent) {
            let named = flag.field.split('|').any(|f| f == field) || field.contains("Windows");
            assert!(named, "{}: {field} is not {}", row.flag, flag.field);
        }
        assert!(
            flag.state != State::Ready || !row.shows.starts_with("refused"),
            "{}: {}",
            row.flag,
            row.shows
        );
    }
}
