//! Where messages go: standard error or `--log`, as text or JSON lines.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use sys::clock::Time;

/// The log of one call.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    /// `path` is `--log`, `format` `--log-format`.
    pub(super) fn open(path: Option<&str>, format: Option<&str>, debug: bool) -> Result<Self, String> {
        let json = match format {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(other) => return Err(format!("invalid log-format: {other}")),
        };
        let file = match path {
            None | Some("" | "/dev/stderr") => None,
            Some(path) => Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o644)
                    .open(path)
                    .map_err(|e| format!("open {path}: {e}"))?,
            ),
        };
        Ok(Self { file, json, debug })
    }

    /// The reason for a failure. Callers take the last error of the log as the message; people look at stderr.
    pub(super) fn error(&self, text: &str) {
        self.line("error", text);
        if self.file.is_some() {
            eprint_line(text);
        }
    }

    pub(super) fn warning(&self, text: &str) {
        self.line("warning", text);
    }

    pub(super) fn debug(&self, text: &str) {
        if self.debug {
            self.line("debug", text);
        }
    }

    fn line(&self, level: &str, text: &str) {
        let now = Time::now().rfc3339();
        // To the second, as logrus writes it.
        let time = format!("{}Z", &now[..19]);
        let mut line = String::new();
        if self.json {
            let text = serde_json::to_string(text).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(line, "{{\"level\":{level:?},\"msg\":{text},\"time\":{time:?}}}");
        } else {
            let _ = writeln!(line, "time={time:?} level={level} msg={text:?}");
        }
        match self.file.as_ref() {
            // A full disk must not hide the exit code.
            Some(mut file) => drop(file.write_all(line.as_bytes())),
            None => drop(std::io::stderr().write_all(line.as_bytes())),
        }
    }
}

/// To standard error, which may be closed.
fn eprint_line(text: &str) {
    drop(std::io::stderr().write_all(format!("{text}\n").as_bytes()));
}
