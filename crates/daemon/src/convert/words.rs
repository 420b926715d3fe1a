//! Times, sizes and durations as dockerd words them (`docker/go-units`, `jsonmessage`).

use api::system::Progress;
use engine::Time;

/// Go's zero time.
pub(crate) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

const SECOND_NS: i64 = 1_000_000_000;

/// A time of the engine; 0 is none.
pub(crate) fn time(ns: i64) -> String {
    if ns == 0 { ZERO_TIME.to_owned() } else { Time(ns).rfc3339() }
}

/// Go's `fs.FileMode` of a `st_mode`.
pub(crate) fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => 1 << 26 | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let bits = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let set = bits.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go).sum::<u32>();
    kind | set | mode & 0o777
}

/// A duration from one time to another, roughly: `About an hour`.
pub(crate) fn duration(from_ns: i64, to_ns: i64) -> String {
    let seconds = (to_ns.saturating_sub(from_ns) / SECOND_NS).max(0);
    let minutes = seconds / 60;
    // Hours are rounded, all else is cut.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// The text of a progress bar, as dockerd puts it beside the figures.
pub(crate) fn progress(detail: &Progress) -> String {
    /// The bar's length.
    const WIDTH: usize = 50;
    if detail.current <= 0 && detail.total <= 0 {
        return String::new();
    }
    if detail.total <= 0 {
        return match detail.units.as_str() {
            "" => format!("{:>8}", size(detail.current)),
            units => format!("{} {units}", detail.current),
        };
    }
    let share = (detail.current.max(0) as f64 / detail.total as f64 * 100.0) as usize / 2;
    let full = share.min(WIDTH);
    let bar = format!("[{}>{}] ", "=".repeat(full), " ".repeat(WIDTH - full));
    let figures = match detail.units.as_str() {
        _ if detail.hide_counts => String::new(),
        "" if detail.current > detail.total => format!("{:>8}", size(detail.current)),
        "" => format!("{:>8}/{}", size(detail.current), size(detail.total)),
        units if detail.current > detail.total => format!("{} {units}", detail.current),
        units => format!("{}/{} {units}", detail.current, detail.total),
    };
    bar + &figures
}

/// Decimal units with four significant digits: `1.049MB`.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes.max(0) as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", four_digits(value), UNITS[unit])
}

/// Go's `%.4g` for numbers from 0 to 9999.
fn four_digits(value: f64) -> String {
    let before_point = if value < 10.0 {
        1
    } else if value < 100.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.*}", 4 - before_point);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() { "0".to_owned() } else { text.to_owned() }
}

/// Program and arguments on one line, as a container list shows them.
pub(crate) fn command(argv: &[String]) -> String {
    let mut words = argv.iter();
    let mut line = words.next().cloned().unwrap_or_default();
    for word in words {
        line.push(' ');
        if word.contains(' ') {
            line.push_str(&format!("'{word}'"));
        } else {
            line.push_str(word);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (3600 + 1800, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(duration(0, seconds * SECOND_NS), expected, "{seconds}");
        }
    }

    #[test]
    fn progress_bars() {
        let detail = |current, total, units: &str| Progress {
            current,
            total,
            units: units.to_owned(),
            ..Progress::default()
        };
        for (detail, expected) in [
            (detail(0, 0, ""), ""),
            (detail(1, 0, "s"), "1 s"),
            (
                detail(1_048_576, 18_859_281, ""),
                "[==>                                                ]  1.049MB/18.86MB",
            ),
            (
                detail(10_485_760, 18_859_281, ""),
                "[===========================>                       ]  10.49MB/18.86MB",
            ),
            (detail(32, 32, ""), "[==================================================>]      32B/32B"),
        ] {
            assert_eq!(progress(&detail), expected);
        }
        assert_eq!(progress(&Progress { hide_counts: true, ..Progress::default() }), "");
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (100_000, "100kB"),
            (12_345_678, "12.35MB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn commands() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(command(&words(&["sh", "-c", "exit 3"])), "sh -c 'exit 3'");
        assert_eq!(command(&[]), "");
    }
}
