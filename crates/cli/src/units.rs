//! Sizes and times as people read them, in the words of docker/go-units.

use crate::template::significant;

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// `1.09kB`: powers of 1000, so many significant digits.
pub fn human_size(bytes: i64, precision: usize) -> String {
    let (value, unit) = scaled(bytes as f64, 1000.0, &DECIMAL);
    format!("{}{unit}", significant(value, precision))
}

/// `15.6GiB`: powers of 1024, four significant digits.
pub fn binary_size(bytes: i64) -> String {
    let (value, unit) = scaled(bytes as f64, 1024.0, &BINARY);
    format!("{}{unit}", significant(value, 4))
}

/// `About a minute`, `3 hours`, `2 weeks`.
pub fn human_duration(seconds: f64) -> String {
    let whole = seconds as i64;
    let minutes = (seconds / 60.0) as i64;
    let hours = (seconds / 3600.0 + 0.5) as i64;
    match () {
        () if whole < 1 => "Less than a second".to_owned(),
        () if whole == 1 => "1 second".to_owned(),
        () if whole < 60 => format!("{whole} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", (seconds / 3600.0) as i64 / 24 / 365),
    }
}

fn scaled<'a>(mut value: f64, base: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut at = 0;
    while value >= base && at + 1 < units.len() {
        value /= base;
        at += 1;
    }
    (value, units[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, precision, want) in [
            (0, 3, "0B"),
            (1, 3, "1B"),
            (999, 3, "999B"),
            (1000, 4, "1kB"),
            (1024, 4, "1.024kB"),
            (1090, 3, "1.09kB"),
            (1_000_000, 4, "1MB"),
            (1_048_576, 4, "1.049MB"),
            (142_000_000, 3, "142MB"),
            (999_600, 3, "1e+03kB"),
            (2 * 1_000_000_000, 4, "2GB"),
            (3_420_000_000_000, 4, "3.42TB"),
            (-1, 3, "-1B"),
        ] {
            assert_eq!(human_size(bytes, precision), want, "{bytes}");
        }
        assert_eq!(binary_size(16_768_532_480), "15.62GiB");
        assert_eq!(binary_size(0), "0B");
        assert_eq!(binary_size(1024), "1KiB");
    }

    #[test]
    fn durations() {
        let (minute, hour, day) = (60.0, 3600.0, 86400.0);
        for (seconds, want) in [
            (0.45, "Less than a second"),
            (1.0, "1 second"),
            (45.0, "45 seconds"),
            (59.9, "59 seconds"),
            (minute, "About a minute"),
            (3.0 * minute + 40.0, "3 minutes"),
            (hour - 1.0, "59 minutes"),
            (hour, "About an hour"),
            (1.4 * hour, "About an hour"),
            (1.5 * hour, "2 hours"),
            (47.0 * hour, "47 hours"),
            (2.0 * day, "2 days"),
            (13.0 * day, "13 days"),
            (2.0 * 7.0 * day, "2 weeks"),
            (5.0 * 7.0 * day, "5 weeks"),
            (2.0 * 30.0 * day, "2 months"),
            (23.0 * 30.0 * day, "23 months"),
            (2.0 * 365.0 * day, "2 years"),
            (-5.0, "Less than a second"),
        ] {
            assert_eq!(human_duration(seconds), want, "{seconds}");
        }
    }
}
