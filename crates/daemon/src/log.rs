//! What the daemon says of itself, on stderr: one line for each event, as text or as JSON, in dockerd's form.
//!
//! It is a subscriber of its own for `tracing`: two forms and a level need no crate. Spans are not written.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use engine::{Settings, Time};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// The most that is said: 0 nothing, 1 errors, … 5 all.
static LEVEL: AtomicU8 = AtomicU8::new(3);
static JSON: AtomicBool = AtomicBool::new(false);

/// Crates whose talk is about bytes, not about containers.
const FOREIGN: [&str; 5] = ["hyper", "rustls", "mio", "tokio", "want"];

/// Begins to write; what the settings say holds until [`set`] is called again.
pub(crate) fn begin(settings: &Settings) {
    set(settings);
    // Somebody else's subscriber, in a test, is as good.
    let _ = tracing::subscriber::set_global_default(Log);
}

/// Takes level and form from the settings.
pub(crate) fn set(settings: &Settings) {
    let word = settings.text("log-level").unwrap_or("info").to_lowercase();
    let level = match word.as_str() {
        "trace" => 5,
        _ if settings.switch("debug") == Some(true) => 4,
        "debug" => 4,
        "warn" => 2,
        "error" => 1,
        "fatal" | "panic" => 0,
        _ => 3,
    };
    LEVEL.store(level, Ordering::Relaxed);
    JSON.store(settings.text("log-format") == Some("json"), Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

struct Log;

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let foreign = FOREIGN.iter().any(|name| metadata.target().starts_with(name));
        metadata.is_event() && !foreign && number(metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let word = match *event.metadata().level() {
            Level::WARN => "warning".to_owned(),
            level => level.to_string().to_lowercase(),
        };
        let time = Time::now().rfc3339();
        let line = line(&time, &word, &fields, JSON.load(Ordering::Relaxed));
        // One write, so that lines of threads do not mix; nobody is left to tell when it fails.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format!("{value:?}"));
    }
}

impl Fields {
    fn take(&mut self, name: &'static str, value: String) {
        match name {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

fn line(time: &str, level: &str, fields: &Fields, json: bool) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    if json {
        let _ = write!(line, "{{\"level\":{},\"msg\":{}", quoted(level), quoted(&fields.message));
        for (name, value) in &fields.others {
            let _ = write!(line, ",{}:{}", quoted(name), quoted(value));
        }
        let _ = writeln!(line, ",\"time\":{}}}", quoted(time));
        return line;
    }
    let _ = write!(line, "time={} level={level} msg={}", quoted(time), quoted(&fields.message));
    for (name, value) in &fields.others {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
        match !value.is_empty() && value.chars().all(plain) {
            true => drop(write!(line, " {name}={value}")),
            false => drop(write!(line, " {name}={}", quoted(value))),
        }
    }
    line.push('\n');
    line
}

/// In quotes, with JSON's escapes (RFC 8259, section 7), which Go's `%q` reads as well.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let fields = Fields {
            message: "API \"listens\"".into(),
            others: vec![("socket", "/run/a".into()), ("why", "a\nb".into()), ("none", String::new())],
        };
        assert_eq!(
            line("T", "info", &fields, false),
            "time=\"T\" level=info msg=\"API \\\"listens\\\"\" socket=/run/a why=\"a\\nb\" none=\"\"\n"
        );
        assert_eq!(
            line("T", "info", &fields, true),
            "{\"level\":\"info\",\"msg\":\"API \\\"listens\\\"\",\"socket\":\"/run/a\",\"why\":\"a\\nb\",\"none\":\"\",\"time\":\"T\"}\n"
        );
    }
}
