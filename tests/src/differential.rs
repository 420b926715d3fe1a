//! The same command lines on the reference and on Tare, compared word for word.
//!
//! A case is a list of shell lines in which `$E` is the CLI. Each line's standard output, standard error and
//! exit code must be equal after [`normalise`] has taken out what differs between any two runs of the *same*
//! engine: container ids, times, and the column widths that follow from them.

use std::time::Duration;

use crate::command::Output;
use crate::engine::Engine;
use crate::{TestHost, host};

/// A named list of shell lines.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name in reports.
    pub name: &'static str,
    /// What is typed, line by line.
    pub lines: &'static [&'static str],
    /// Where Tare means to differ.
    pub deliberate: &'static [Deliberate],
}

/// A text of the reference in whose place Tare has another one, on purpose.
#[derive(Debug, Clone, Copy)]
pub struct Deliberate {
    /// What the reference writes.
    pub reference: &'static str,
    /// What Tare writes there.
    pub ours: &'static str,
    /// The reason.
    pub why: &'static str,
}

impl Case {
    /// A case in which everything is to be equal.
    pub const fn new(name: &'static str, lines: &'static [&'static str]) -> Case {
        Case { name, lines, deliberate: &[] }
    }

    /// The same with texts that differ for a reason.
    pub const fn but(mut self, deliberate: &'static [Deliberate]) -> Case {
        self.deliberate = deliberate;
        self
    }
}

/// Where Tare is installed under the name `docker`, so that it says `docker` where Docker's CLI does.
const AS_DOCKER: &str = "/run/testhost/as-docker/docker";

/// A line that has not ended by then never will.
const LINE_LIMIT: Duration = Duration::from_secs(20);

/// Runs all cases on the reference and through both of Tare's doors, side by side, and fails with all differences.
///
/// With `TARE_TEST_ENGINES=docker` the reference is compared with itself: what differs then is the case's fault.
#[track_caller]
pub fn compare(cases: &'static [Case]) {
    let mut doors: Vec<Engine> =
        [Engine::Socket, Engine::Tare].into_iter().filter(|e| e.is_wanted()).collect();
    if doors.is_empty() {
        doors.push(Engine::Docker);
    }
    let run_all = move |engine: Engine| -> Option<Vec<Vec<Output>>> {
        let host = prepared(engine)?;
        Some(cases.iter().map(|case| run_case(&host, engine, case)).collect())
    };
    let report = std::thread::scope(|scope| {
        let reference = scope.spawn(move || run_all(Engine::Docker));
        let ours: Vec<_> =
            doors.into_iter().map(|engine| (engine, scope.spawn(move || run_all(engine)))).collect();
        let expected = reference.join().expect("the reference's run")?;
        let mut report = String::new();
        for (engine, thread) in ours {
            match thread.join() {
                Ok(found) => report.push_str(&differences(engine, cases, &expected, &found?)),
                Err(_) => report.push_str(&format!("\n{engine:?} could not run all cases; see above\n")),
            }
        }
        Some(report)
    });
    let report = report.unwrap_or_default();
    assert!(report.is_empty(), "different from the reference:\n{report}");
}

fn differences(engine: Engine, cases: &[Case], expected: &[Vec<Output>], found: &[Vec<Output>]) -> String {
    let mut report = String::new();
    for ((case, expected), found) in cases.iter().zip(expected).zip(found) {
        for (expected, found) in expected.iter().zip(found) {
            if let Some(text) = difference(expected, found, case.deliberate) {
                report.push_str(&format!("\n=== {engine:?}, {}: {}\n{text}", case.name, expected.command));
            }
        }
    }
    report
}

/// `text` without what differs between two runs of one engine.
pub fn normalise(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(normalise_line).collect();
    // Layers are downloaded side by side: their lines come in any order.
    let is_layer = |line: &String| {
        let (id, rest) = line.split_once(": ").unwrap_or_default();
        id.len() == 12 && is_hex(id) && rest.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let mut from = 0;
    while let Some(start) = lines[from..].iter().position(is_layer).map(|offset| from + offset) {
        let count = lines[start..].iter().take_while(|line| is_layer(line)).count();
        lines[start..start + count].sort();
        from = start + count;
    }
    lines.join("\n")
}

fn prepared(engine: Engine) -> Option<TestHost> {
    let mut host = TestHost::new()?;
    // The reference has no hints.
    host.set_variable("TARE_HINTS", "0");
    host.start_registry();
    host.start(engine);
    host.sh(
        "mkdir -p /run/testhost/as-docker && ln -s /run/testhost/bin/tare /run/testhost/as-docker/docker",
    )
    .ok();
    for image in ["busybox", "nginx:1.22", "configured", "layered", "empty"] {
        host.cli(engine, &["pull", "--quiet", &format!("{}/{image}", host::REGISTRY)]).ok();
    }
    Some(host)
}

fn run_case(host: &TestHost, engine: Engine, case: &Case) -> Vec<Output> {
    let cli = if engine == Engine::Tare { AS_DOCKER } else { "docker" };
    let outputs = case
        .lines
        .iter()
        .map(|line| {
            let line = line.replace("$R", host::REGISTRY);
            let ended = host.sh_within(engine, &format!("E={cli}; {line}"), LINE_LIMIT);
            // One line that hangs is one difference, not the end of all cases.
            let mut output = ended.unwrap_or_else(|mut output| {
                output.stderr.push_str("(did not end)\n");
                output
            });
            output.command = line;
            output
        })
        .collect();
    // The next case starts with no container and with the images of `prepared`.
    let _ = host.sh_within(engine, &format!("{cli} ps -aq | xargs -r {cli} rm -f >/dev/null"), LINE_LIMIT);
    outputs
}

fn difference(expected: &Output, found: &Output, deliberate: &[Deliberate]) -> Option<String> {
    let mut text = String::new();
    let streams = [("stdout", &expected.stdout, &found.stdout), ("stderr", &expected.stderr, &found.stderr)];
    for (name, expected, found) in streams {
        let (mut expected, found) = (normalise(expected), normalise(found));
        for one in deliberate {
            if found.contains(one.ours) {
                expected = expected.replace(one.reference, one.ours);
            }
        }
        if expected != found {
            text.push_str(&diff_lines(name, &expected, &found));
        }
    }
    if expected.code != found.code {
        text.push_str(&format!("exit code: expected {}, found {}\n", expected.code, found.code));
    }
    (!text.is_empty()).then_some(text)
}

/// The lines from the first to the last that differ.
fn diff_lines(name: &str, expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let head = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let (expected, found) = (&expected[head..], &found[head..]);
    let tail = expected.iter().rev().zip(found.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = format!("{name} from line {}:\n", head + 1);
    for line in &expected[..expected.len() - tail] {
        text.push_str(&format!("  expected  {line}\n"));
    }
    for line in &found[..found.len() - tail] {
        text.push_str(&format!("  found     {line}\n"));
    }
    text
}

fn normalise_line(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in split_keeping_separators(line) {
        words.push(normalise_word(&word));
    }
    let text = merge_ages(&words.concat());
    collapse_spaces(&text)
}

/// Words of letters, digits and what timestamps are made of; each separator is a piece of its own.
fn split_keeping_separators(line: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in line.chars() {
        let is_word = c.is_ascii_alphanumeric() || ":.+-_".contains(c);
        match pieces.last_mut() {
            Some(last) if in_word && is_word => last.push(c),
            _ => pieces.push(c.to_string()),
        }
        in_word = is_word;
    }
    pieces
}

fn normalise_word(word: &str) -> String {
    let bare = word.trim_end_matches(['.', ':']);
    let rest = &word[bare.len()..];
    // An image's digest is the same on each engine: it stays.
    if bare.len() == 64 && is_hex(bare) {
        return format!("<id>{rest}");
    }
    if is_timestamp(bare) {
        return format!("<time>{rest}");
    }
    word.to_string()
}

fn is_hex(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// RFC 3339: `2026-11-24T04:07:53.486182836Z`.
fn is_timestamp(word: &str) -> bool {
    let bytes = word.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    bytes.len() >= 20
        && bytes[4] == b'-'
        && bytes[10] == b'T'
        && [0, 5, 8, 11, 14, 17].iter().all(|&at| digit(at))
}

/// `Up 3 seconds`, `Less than a second ago`, `2 minutes ago` and the like become `<age>`.
fn merge_ages(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut out: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let length = age_length(&words[at..]);
        out.push(if length > 0 { "<age>" } else { words[at] });
        at += length.max(1);
    }
    out.join(" ")
}

fn age_length(words: &[&str]) -> usize {
    let is_unit = |word: Option<&&str>| {
        word.is_some_and(|word| ["second", "minute", "hour", "seconds", "minutes", "hours"].contains(word))
    };
    let quantity = match words {
        ["Less", "than", "a", ..] => 3,
        ["About", "a" | "an", ..] => 2,
        [number, ..] if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) => 1,
        _ => return 0,
    };
    if is_unit(words.get(quantity)) { quantity + 1 } else { 0 }
}

/// Column widths follow from ids and ages, so only the gap counts.
fn collapse_spaces(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim_end().chars() {
        if c != ' ' || !out.ends_with("   ") {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_two_runs_is_taken_out() {
        let id = "0123456789abcdef".repeat(4);
        let cases = [
            (format!("started {id}."), "started <id>."),
            (format!("Digest: sha256:{id}"), &format!("Digest: sha256:{id}")),
            ("at 2026-11-24T04:07:53.486182836Z end".into(), "at <time> end"),
            ("web   Up 3 seconds      0.0.0.0:80".into(), "web   Up <age>   0.0.0.0:80"),
            ("web   Up Less than a second   x".into(), "web   Up <age>   x"),
            ("Exited (0) 2 minutes ago".into(), "Exited (0) <age> ago"),
            ("3 containers".into(), "3 containers"),
            (
                "bbbbbbbbbbbb: Pull complete\naaaaaaaaaaaa: Pull complete\nStatus: ok".into(),
                "aaaaaaaaaaaa: Pull complete\nbbbbbbbbbbbb: Pull complete\nStatus: ok",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(normalise(&text), expected);
        }
    }

    #[test]
    fn a_difference_is_reported_with_its_lines() {
        let output = |stdout: &str, code| Output {
            command: "x".into(),
            stdout: stdout.into(),
            stderr: String::new(),
            hints: String::new(),
            code,
        };
        assert_eq!(difference(&output("a\n", 0), &output("a\n", 0), &[]), None);
        let text = difference(&output("a\nb\nc\n", 0), &output("a\nx\nc\n", 1), &[]).expect("a difference");
        assert_eq!(
            text,
            "stdout from line 2:\n  expected  b\n  found     x\nexit code: expected 0, found 1\n"
        );
        let meant = [Deliberate { reference: "b", ours: "x", why: "of the test" }];
        assert_eq!(difference(&output("b\n", 0), &output("x\n", 0), &meant), None);
    }
}
