//! A point in time as Docker's filters name it: how long ago, seconds since the epoch, or a date.

use engine::Time;

const SECOND_NS: f64 = 1e9;

/// `10m`, `1h30m`; `1700000000.5`; `2024-01-02`, `2024-01-02T15:04`, RFC 3339. Dates without a zone are UTC.
pub(crate) fn moment(text: &str) -> Option<i64> {
    if let Some(ago) = go_duration_ns(text) {
        return Some(Time::now().0.saturating_sub(ago));
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        // Whole nanoseconds are beyond a double from 2**53 on: what is lost is below a microsecond.
        return text.parse::<f64>().ok().map(|seconds| (seconds * SECOND_NS) as i64);
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        13 => format!("{text}:00:00Z"),
        16 => format!("{text}:00Z"),
        _ if text.ends_with('Z') || text.get(19..).is_some_and(|zone| zone.contains(['+', '-'])) => {
            text.to_owned()
        }
        _ => format!("{text}Z"),
    };
    Time::parse(&full).map(|time| time.0)
}

/// Go's `time.ParseDuration`, in nanoseconds.
fn go_duration_ns(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => SECOND_NS,
            "m" => 60.0 * SECOND_NS,
            "h" => 3600.0 * SECOND_NS,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    Some((sign * total) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, want) in [
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("1700000000.5", Some(1_700_000_000_500_000_000)),
            ("2024-01-02", Some(1_704_153_600_000_000_000)),
            ("2024-01-02T15:04", Some(1_704_207_840_000_000_000)),
            ("2024-01-02T15:04:05Z", Some(1_704_207_845_000_000_000)),
            ("2024-01-02T15:04:05", Some(1_704_207_845_000_000_000)),
            ("2024-01-02T16:04:05+01:00", Some(1_704_207_845_000_000_000)),
            ("zz", None),
            ("", None),
            ("5x", None),
        ] {
            assert_eq!(moment(text), want, "{text}");
        }
        for (text, want) in
            [("10m", Some(600)), ("1h30m", Some(5400)), ("-2s", Some(-2)), ("1.5h", Some(5400)), ("3", None)]
        {
            assert_eq!(go_duration_ns(text).map(|ns| ns / 1_000_000_000), want, "{text}");
        }
    }
}
