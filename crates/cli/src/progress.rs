//! Docker's progress messages (`jsonmessage`) as its CLI shows them.
//!
//! On a terminal each id has a line that is rewritten in place; elsewhere progress is left out and
//! only changes of status are printed. This file does no I/O: it turns messages into text.

use api::system::{Message, Progress};

use crate::units::human_size;

/// Lines kept for ids; a stream with more starts over, so that memory stays bounded.
const MAX_LINES: usize = 10_000;

/// Turns messages into text.
#[derive(Debug)]
pub struct Renderer {
    /// The terminal's width; none if the output is no terminal.
    terminal: Option<usize>,
    lines: Vec<String>,
}

impl Renderer {
    /// For an output; `terminal` is its width if it is a terminal.
    pub fn new(terminal: Option<usize>) -> Renderer {
        Renderer { terminal, lines: Vec::new() }
    }

    /// What to print for a message, or the text of the error that it carries. `now` is Unix time.
    pub fn render(&mut self, message: &Message, now: f64) -> Result<String, String> {
        let mut out = String::new();
        if message.aux.is_some() {
            return Ok(out);
        }
        let has_progress = message.progress_detail.is_some() || !message.progress.is_empty();
        let mut up = None;
        if !message.id.is_empty() && has_progress {
            let known = self.lines.iter().position(|id| *id == message.id);
            let line = known.unwrap_or_else(|| {
                if self.lines.len() >= MAX_LINES {
                    self.lines.clear();
                }
                self.lines.push(message.id.clone());
                if self.terminal.is_some() {
                    out.push('\n');
                }
                self.lines.len() - 1
            });
            up = Some(self.lines.len() - line);
        } else {
            self.lines.clear();
        }
        let by = up.filter(|_| self.terminal.is_some());
        if let Some(by) = by {
            out.push_str(&format!("\x1b[{by}A"));
        }
        let shown = self.line(message, now);
        if let Ok(text) = &shown {
            out.push_str(text);
        }
        if let Some(by) = by {
            out.push_str(&format!("\x1b[{by}B"));
        }
        shown.map(|_| out)
    }

    fn line(&self, message: &Message, now: f64) -> Result<String, String> {
        if let Some(error) = &message.error_detail {
            return Err(error.message.clone());
        }
        let mut out = String::new();
        let mut end = "";
        let bar = |p: &Progress| progress_text(p, self.terminal.unwrap_or(200), now);
        match (&message.progress_detail, self.terminal) {
            (Some(_), Some(_)) if message.stream.is_empty() => {
                out.push_str("\x1b[2K\r");
                end = "\r";
            }
            (Some(progress), _) if !bar(progress).is_empty() => return Ok(out),
            _ => {}
        }
        if message.time_nano != 0 {
            out.push_str(&crate::time::rfc3339_fixed(message.time_nano));
            out.push(' ');
        } else if message.time != 0 {
            out.push_str(&crate::time::rfc3339_fixed(message.time.saturating_mul(1_000_000_000)));
            out.push(' ');
        }
        if !message.id.is_empty() {
            out.push_str(&format!("{}: ", message.id));
        }
        if !message.from.is_empty() {
            out.push_str(&format!("(from {}) ", message.from));
        }
        match &message.progress_detail {
            Some(progress) if self.terminal.is_some() => {
                out.push_str(&format!("{} {}{end}", message.status, bar(progress)));
            }
            _ if !message.progress.is_empty() => {
                out.push_str(&format!("{} {}{end}", message.status, message.progress));
            }
            _ if !message.stream.is_empty() => out.push_str(&format!("{}{end}", message.stream)),
            _ => out.push_str(&format!("{}{end}\n", message.status)),
        }
        Ok(out)
    }
}

/// The bar, the numbers and the time left.
pub fn progress_text(progress: &Progress, width: usize, now: f64) -> String {
    const BAR: i64 = 50;
    let (current, total) = (progress.current, progress.total);
    let bytes = progress.units.is_empty();
    if current <= 0 && total <= 0 {
        return String::new();
    }
    let size = |n: i64| human_size(n, 4);
    if total <= 0 {
        return if bytes { format!("{:>8}", size(current)) } else { format!("{current} {}", progress.units) };
    }
    let done = (((current as f64 / total as f64) * 100.0) as i64 / 2).min(BAR);
    let bar = if width > 110 {
        let filled = "=".repeat(usize::try_from(done).unwrap_or(0));
        let empty = " ".repeat(usize::try_from(BAR - done).unwrap_or(0));
        format!("[{filled}>{empty}] ")
    } else {
        String::new()
    };
    let numbers = match (progress.hide_counts, bytes, current > total) {
        (true, ..) => String::new(),
        (false, true, true) => format!("{:>8}", size(current)),
        (false, true, false) => format!("{:>8}/{}", size(current), size(total)),
        (false, false, true) => format!("{current} {}", progress.units),
        (false, false, false) => format!("{current}/{total} {}", progress.units),
    };
    let mut left = String::new();
    if width > 50 && current > 0 && progress.start > 0 && done < BAR {
        // Go divides whole nanoseconds by the count first; so does this.
        let elapsed = ((now - progress.start as f64) * 1e9) as i64;
        let seconds = ((elapsed / current) as f64 * (total - current) as f64 / 1e9).round();
        left = format!(" {}", crate::time::go_duration(seconds as i64));
    }
    format!("{bar}{numbers}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        api::go::decode(text.as_bytes()).unwrap()
    }

    fn progress(current: i64, total: i64, start: i64, units: &str) -> Progress {
        Progress { current, total, start, units: units.to_owned(), ..Progress::default() }
    }

    #[test]
    fn bars() {
        for (progress, width, want) in [
            (progress(0, 0, 0, ""), 200, ""),
            (progress(1, 0, 0, ""), 200, "      1B"),
            (
                progress(20, 100, 0, ""),
                200,
                "[==========>                                        ]      20B/100B",
            ),
            (
                progress(50, 100, 0, ""),
                200,
                "[=========================>                         ]      50B/100B",
            ),
            (
                progress(100, 100, 0, ""),
                200,
                "[==================================================>]     100B/100B",
            ),
            (progress(50, 40, 0, ""), 200, "[==================================================>]      50B"),
            (progress(50, 100, 0, ""), 100, "     50B/100B"),
            (
                progress(50, 100, 0, "units"),
                200,
                "[=========================>                         ] 50/100 units",
            ),
            (progress(50, 0, 0, "units"), 200, "50 units"),
            (progress(20, 100, 1000, ""), 100, "     20B/100B 4s"),
            (progress(1_500_000, 3_000_000, 0, ""), 100, "   1.5MB/3MB"),
        ] {
            assert_eq!(progress_text(&progress, width, 1001.0), want);
        }
    }

    const PULL: &[&str] = &[
        r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a1"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"b2"}"#,
        r#"{"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"a1"}"#,
        r#"{"status":"Download complete","progressDetail":{},"id":"a1"}"#,
        r#"{"status":"Pull complete","progressDetail":{},"id":"b2"}"#,
        r#"{"status":"Digest: sha256:00"}"#,
        r#"{"aux":{"ID":"x"}}"#,
        r#"{"status":"Status: Downloaded newer image for busybox:latest"}"#,
    ];

    fn all(terminal: Option<usize>) -> String {
        let mut renderer = Renderer::new(terminal);
        PULL.iter().map(|m| renderer.render(&message(m), 0.0).unwrap()).collect()
    }

    #[test]
    fn plain_output_has_no_bars() {
        assert_eq!(
            all(None),
            "latest: Pulling from library/busybox\na1: Pulling fs layer\nb2: Pulling fs layer\n\
             a1: Download complete\nb2: Pull complete\nDigest: sha256:00\n\
             Status: Downloaded newer image for busybox:latest\n"
        );
    }

    #[test]
    fn terminal_output_rewrites_lines() {
        assert_eq!(
            all(Some(80)),
            "latest: Pulling from library/busybox\n\
             \n\x1b[1A\x1b[2K\ra1: Pulling fs layer \r\x1b[1B\
             \n\x1b[1A\x1b[2K\rb2: Pulling fs layer \r\x1b[1B\
             \x1b[2A\x1b[2K\ra1: Downloading      50B/100B\r\x1b[2B\
             \x1b[2A\x1b[2K\ra1: Download complete \r\x1b[2B\
             \x1b[1A\x1b[2K\rb2: Pull complete \r\x1b[1B\
             Digest: sha256:00\n\
             Status: Downloaded newer image for busybox:latest\n"
        );
    }

    #[test]
    fn errors_end_the_stream() {
        let text = r#"{"errorDetail":{"code":1,"message":"boom"},"error":"boom"}"#;
        assert_eq!(Renderer::new(None).render(&message(text), 0.0), Err("boom".to_owned()));
    }
}
