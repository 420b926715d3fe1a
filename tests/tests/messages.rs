//! Every message of `docs/messages.tsv`, on the reference and on Tare, word for word and with its exit code.
//!
//! A group is a list of command lines for one host, in the order of the file; each engine runs each group on a
//! host of its own, and all differences are reported at once, in the file's own form.

use std::fmt::Write as _;
use std::time::Duration;

use tests::{Engine, TestHost, host, on_each_engine};

const FILE: &str = include_str!("../../docs/messages.tsv");

/// Where Tare is installed under the name `docker`, so that it says `docker` where Docker's CLI does.
const AS_DOCKER: &str = "/run/testhost/as-docker/docker";

/// A line that has not ended by then never will.
const LINE_LIMIT: Duration = Duration::from_secs(60);

/// As many messages as were promised, set-ups not counted.
const MIN_MESSAGES: usize = 180;

on_each_engine!(lookup, state, images, run, limits, options, mounts, volumes, ports, networks, grammar);

fn lookup(host: &TestHost, engine: Engine) {
    group(host, engine, "lookup");
}

fn state(host: &TestHost, engine: Engine) {
    group(host, engine, "state");
}

fn images(host: &TestHost, engine: Engine) {
    group(host, engine, "images");
}

fn run(host: &TestHost, engine: Engine) {
    group(host, engine, "run");
}

fn limits(host: &TestHost, engine: Engine) {
    group(host, engine, "limits");
}

fn options(host: &TestHost, engine: Engine) {
    group(host, engine, "options");
}

fn mounts(host: &TestHost, engine: Engine) {
    group(host, engine, "mounts");
}

fn volumes(host: &TestHost, engine: Engine) {
    group(host, engine, "volumes");
}

fn ports(host: &TestHost, engine: Engine) {
    group(host, engine, "ports");
}

fn networks(host: &TestHost, engine: Engine) {
    group(host, engine, "networks");
}

fn grammar(host: &TestHost, engine: Engine) {
    group(host, engine, "grammar");
}

/// One line of the file.
struct Row<'a> {
    group: &'a str,
    line: &'a str,
    /// None: a set-up, which must succeed (or, with "?", may fail).
    exit: Option<i32>,
    text: String,
    /// Tare's own text, where it differs on purpose.
    ours: Option<String>,
}

fn rows() -> Vec<Row<'static>> {
    let lines = FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [group, line, exit, rest @ ..] = &fields[..] else {
                panic!("a row has 3 to 5 columns: {line}")
            };
            let exit = match *exit {
                "-" => None,
                code => Some(code.parse().unwrap_or_else(|_| panic!("an exit code: {line}"))),
            };
            let text = rest.first().map_or(String::new(), |text| unescape(text));
            Row { group, line, exit, text, ours: rest.get(1).map(|text| unescape(text)) }
        })
        .collect()
}

fn group(host: &TestHost, engine: Engine, name: &str) {
    host.sh(
        "mkdir -p /run/testhost/as-docker && ln -s /run/testhost/bin/tare /run/testhost/as-docker/docker",
    )
    .ok();
    let cli = if engine == Engine::Tare { AS_DOCKER } else { "docker" };
    for image in ["busybox", "nginx:1.22", "empty"] {
        host.cli(engine, &["pull", "--quiet", &format!("{}/{image}", host::REGISTRY)]).ok();
    }
    let mut report = String::new();
    for row in rows().iter().filter(|row| row.group == name) {
        let typed = format!("cd /tmp; E={cli}; R={}; {}", host::REGISTRY, row.line);
        let output = match host.sh_within(engine, &typed, LINE_LIMIT) {
            Ok(output) => output,
            Err(output) => {
                let _ = writeln!(report, "{}: did not end: {output}", row.line);
                continue;
            }
        };
        let Some(exit) = row.exit else {
            output.ok();
            continue;
        };
        let ours = row.ours.as_ref().filter(|_| engine.is_tare());
        let said = output.stderr.replace(host::REGISTRY, "$R");
        let said = said.trim_end_matches('\n');
        let fits = matches(&row.text, said) || ours.is_some_and(|ours| matches(ours, said));
        if output.code != exit || !fits {
            let _ = writeln!(
                report,
                "  {}\n    expected {exit}\t{}\n    found    {}\t{}",
                row.line,
                escape(ours.unwrap_or(&row.text)),
                output.code,
                escape(said)
            );
        }
    }
    assert!(report.is_empty(), "other messages than docs/messages.tsv has:\n{report}");
}

/// Whether `text` is what the pattern says: `{id}`, `{short}`, `{name}`, `{data}` and `{any}` stand for what differs.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('{') else { return pattern == text };
    let Some(text) = text.strip_prefix(before) else { return false };
    let hex = |count: usize| {
        let is_id = text.len() >= count && text.bytes().take(count).all(|b| b.is_ascii_hexdigit());
        is_id.then_some(count)
    };
    let Some((word, rest)) = rest.split_once('}') else { return text.strip_prefix('{') == Some(rest) };
    let fixed = match word {
        "id" => hex(64),
        "short" => hex(12),
        "name" => text.find(|c: char| !c.is_ascii_lowercase() && c != '_'),
        "data" => {
            ["/var/lib/docker", "/var/lib/tare"].iter().find(|p| text.starts_with(**p)).map(|p| p.len())
        }
        "any" => {
            let line = text.find('\n').unwrap_or(text.len());
            return (0..=line).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]));
        }
        // A brace of the message itself.
        _ => return text.strip_prefix('{').is_some_and(|text| matches(&format!("{word}}}{rest}"), text)),
    };
    fixed.is_some_and(|length| matches(rest, &text[length..]))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some(other)) => out.push(other),
            (other, _) => out.push(other),
        }
    }
    out
}

#[test]
fn patterns_match_what_they_say() {
    let id = "0123456789abcdef".repeat(4);
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("c {id} x", &format!("c {id} x"), true),
        ("c {short} x", "c 0123456789ab x", true),
        ("c {short} x", "c 0123456789a x", false),
        ("on {name} (", "on silly_walk (", true),
        ("in {data}/x", "in /var/lib/tare/x", true),
        ("a {any} b", "a what ever b", true),
        ("a {any} b", "a what\never b", false),
        ("a {x} b", "a {x} b", true),
        ("{\"id\":1}", "{\"id\":1}", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn the_file_is_in_order() {
    let rows = rows();
    let groups = [
        "lookup", "state", "images", "run", "limits", "options", "mounts", "volumes", "ports", "networks",
        "grammar",
    ];
    let mut seen = std::collections::HashSet::new();
    for row in &rows {
        assert!(groups.contains(&row.group), "no test runs the group {}", row.group);
        assert!(row.exit.is_none() || seen.insert((row.group, row.line)), "twice: {}", row.line);
        assert_eq!(unescape(&escape(&row.text)), row.text);
        assert!(row.ours.as_ref() != Some(&row.text), "differs in nothing: {}", row.line);
    }
    let messages = rows.iter().filter(|row| row.exit.is_some()).count();
    assert!(messages >= MIN_MESSAGES, "{messages} messages");
}
