//! Times as Go prints them, in the local time zone.
//!
//! The zone comes from `TZ` or `/etc/localtime` (TZif, RFC 8536, with the rule in its footer),
//! read here because a static program must not ask the C library for it.

use std::path::{Path, PathBuf};

use crate::grammar::duration;

/// A zone file is smaller than this.
const MAX_ZONE_BYTES: u64 = 256 * 1024;

const DAY: i64 = 86_400;

/// A time zone: what to add to UTC, and what it is called, at a time.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    /// From this time on, the kind of local time with this index.
    transitions: Vec<(i64, usize)>,
    kinds: Vec<(i64, String)>,
    rule: Option<Rule>,
}

/// The rule for times after the last transition (POSIX TZ).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    standard: (i64, String),
    summer: Option<Summer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Summer {
    kind: (i64, String),
    from: Change,
    to: Change,
}

/// A day of the year and a second of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    day: Day,
    second: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// Month, week (5 is the last), weekday.
    Month(i64, i64, i64),
    /// 1 to 365, February 29 not counted.
    Julian(i64),
    /// 0 to 365.
    Zero(i64),
}

impl Zone {
    /// The zone of this machine; UTC when it cannot be read.
    pub fn local() -> Zone {
        let path = match std::env::var("TZ") {
            Ok(name) if name.is_empty() => return Zone::default(),
            Ok(name) => {
                let name = name.trim_start_matches(':').to_owned();
                if name.contains("..") {
                    return Zone::default();
                }
                Path::new("/usr/share/zoneinfo").join(name)
            }
            Err(_) => PathBuf::from("/etc/localtime"),
        };
        let small = std::fs::metadata(&path).is_ok_and(|m| m.len() <= MAX_ZONE_BYTES);
        small.then(|| std::fs::read(&path).ok()).flatten().and_then(|b| Zone::parse(&b)).unwrap_or_default()
    }

    /// Reads a TZif file, version 2 or later.
    pub fn parse(bytes: &[u8]) -> Option<Zone> {
        let first = Header::read(bytes)?;
        if bytes[4] < b'2' {
            return None;
        }
        let data = bytes.get(44 + first.data_len(4)..)?;
        let header = Header::read(data)?;
        let body = data.get(44..44 + header.data_len(8))?;
        let footer = std::str::from_utf8(data.get(44 + header.data_len(8)..)?).ok()?.trim_matches('\n');
        let (times, rest) = body.split_at(header.times * 8);
        let (indexes, rest) = rest.split_at(header.times);
        let (types, rest) = rest.split_at(header.types * 6);
        let names = rest.get(..header.chars)?;
        let mut kinds = Vec::new();
        for kind in types.chunks_exact(6) {
            let offset = i32::from_be_bytes(kind[..4].try_into().ok()?);
            let name = names.get(usize::from(kind[5])..)?;
            let end = name.iter().position(|b| *b == 0)?;
            kinds.push((i64::from(offset), String::from_utf8_lossy(&name[..end]).into_owned()));
        }
        let mut transitions = Vec::new();
        for (time, index) in times.chunks_exact(8).zip(indexes) {
            let index = usize::from(*index);
            kinds.get(index)?;
            transitions.push((i64::from_be_bytes(time.try_into().ok()?), index));
        }
        Some(Zone { transitions, kinds, rule: parse_rule(footer) })
    }

    /// Seconds east of UTC and the zone's abbreviation at a Unix time.
    pub fn at(&self, time: i64) -> (i64, &str) {
        let after = self.transitions.partition_point(|(from, _)| *from <= time);
        if after == self.transitions.len()
            && let Some(rule) = &self.rule
        {
            let kind = rule.at(time);
            return (kind.0, &kind.1);
        }
        let index = if after == 0 { 0 } else { self.transitions[after - 1].1 };
        self.kinds.get(index).map_or((0, "UTC"), |(offset, name)| (*offset, name))
    }
}

/// Go's `time.Time.String()`: `2006-01-02 15:04:05 -0700 MST`.
pub fn go_string(time: i64, zone: &Zone) -> String {
    let (offset, name) = zone.at(time);
    let (date, clock) = parts(time + offset);
    format!("{date} {clock} {} {name}", offset_text(offset, ""))
}

/// RFC 3339 with whole seconds.
pub fn rfc3339(time: i64, zone: &Zone) -> String {
    let (offset, _) = zone.at(time);
    let (date, clock) = parts(time + offset);
    let zone = if offset == 0 { "Z".to_owned() } else { offset_text(offset, ":") };
    format!("{date}T{clock}{zone}")
}

/// RFC 3339 with nine digits of a second, in the local zone.
pub fn rfc3339_fixed(nanos: i64) -> String {
    let time = nanos.div_euclid(1_000_000_000);
    let zone = Zone::local();
    let (offset, _) = zone.at(time);
    let (date, clock) = parts(time + offset);
    let fraction = nanos.rem_euclid(1_000_000_000);
    let zone = if offset == 0 { "Z".to_owned() } else { offset_text(offset, ":") };
    format!("{date}T{clock}.{fraction:09}{zone}")
}

/// Go's `time.ANSIC` of an RFC 3339 text (`Mon Jan _2 15:04:05 2006`); the text itself if it is none.
pub fn ansic(text: &str) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Some((y, m, d, clock)) = rfc3339_parts(text) else { return text.to_owned() };
    let weekday = DAYS[days_from_civil(y, m, d).rem_euclid(7) as usize];
    format!("{weekday} {} {d:2} {clock} {y}", MONTHS[(m - 1) as usize])
}

/// Go's `time.Duration.String()` of whole seconds.
pub fn go_duration(seconds: i64) -> String {
    let (sign, s) = if seconds < 0 { ("-", -seconds) } else { ("", seconds) };
    match s {
        0..60 => format!("{sign}{s}s"),
        60..3600 => format!("{sign}{}m{}s", s / 60, s % 60),
        _ => format!("{sign}{}h{}m{}s", s / 3600, s / 60 % 60, s % 60),
    }
}

/// A time for the API's `since` and `until`, as Docker's client makes it of what a person wrote:
/// Unix seconds stay, a Go duration counts back from `now`, a date or time is local.
pub fn timestamp(text: &str, now: f64, zone: &Zone) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if let Some(back) = parse_go_duration(text) {
        return Ok(((now - back).floor() as i64).to_string());
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    let unreadable = || format!("failed to parse value as time or duration: {text:?}");
    let (date, rest) = text.split_once('T').map_or((text, None), |(d, r)| (d, Some(r)));
    let mut fields = date.splitn(3, '-').map(|f| f.parse::<i64>().ok());
    let (Some(Some(y)), Some(Some(m)), Some(Some(d))) = (fields.next(), fields.next(), fields.next()) else {
        return Err(unreadable());
    };
    if !(1..=12).contains(&m) || !(1..=31).contains(&d) {
        return Err(unreadable());
    }
    let (clock, offset) = split_offset(rest.unwrap_or("")).ok_or_else(unreadable)?;
    let (seconds, nanos) = parse_clock(clock).ok_or_else(unreadable)?;
    let local = days_from_civil(y, m, d) * DAY + seconds;
    let time = local - offset.unwrap_or_else(|| zone.at(local).0);
    Ok(format!("{time}.{nanos:09}"))
}

fn split_offset(text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, Some(0)));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, None)) };
    let (h, m) = text[at + 1..].split_once(':')?;
    let offset = h.parse::<i64>().ok()? * 3600 + m.parse::<i64>().ok()? * 60;
    Some((&text[..at], Some(if text.as_bytes()[at] == b'-' { -offset } else { offset })))
}

/// Seconds of the day and nanoseconds of `15`, `15:04`, `15:04:05` or `15:04:05.9`.
fn parse_clock(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut seconds = 0;
    let limits = [24, 60, 61];
    let fields: Vec<&str> = if whole.is_empty() { Vec::new() } else { whole.split(':').collect() };
    if fields.len() > 3 {
        return None;
    }
    for (at, unit) in [3600, 60, 1].into_iter().enumerate() {
        let value: i64 = fields.get(at).map_or(Some(0), |f| f.parse().ok())?;
        if value < 0 || value >= limits[at] {
            return None;
        }
        seconds += value * unit;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some((seconds, digits.parse().ok()?))
}

/// Seconds of a Go duration (`1h30m`, `42m`, `1.5s`, `300ms`).
pub fn parse_go_duration(text: &str) -> Option<f64> {
    duration::parse(text).ok().map(|ns| ns as f64 / 1e9)
}

/// The Unix time in seconds.
pub fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |d| d.as_secs_f64())
}

fn rfc3339_parts(text: &str) -> Option<(i64, i64, i64, &str)> {
    let (date, rest) = text.split_once('T')?;
    let mut fields = date.splitn(3, '-').map(|f| f.parse::<i64>().ok());
    let (y, m, d) = (fields.next()??, fields.next()??, fields.next()??);
    let clock = rest.get(..8)?;
    let valid = (1..=12).contains(&m) && (1..=31).contains(&d) && parse_clock(clock).is_some();
    valid.then_some((y, m, d, clock))
}

fn offset_text(offset: i64, colon: &str) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

/// Date and clock of a local time.
fn parts(local: i64) -> (String, String) {
    let (y, m, d) = civil_from_days(local.div_euclid(DAY));
    let s = local.rem_euclid(DAY);
    (format!("{y:04}-{m:02}-{d:02}"), format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60))
}

/// Days since 1970 of a date in the Gregorian calendar: years begin in March, so that the leap day
/// is the last of its year.
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year = y.rem_euclid(400);
    let day = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let in_era = days.rem_euclid(146_097);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let day = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let m = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(m <= 2), m, day - (153 * month + 2) / 5 + 1)
}

/// The counts of a TZif header.
struct Header {
    ut: usize,
    std: usize,
    leaps: usize,
    times: usize,
    types: usize,
    chars: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Header> {
        if bytes.get(..4)? != b"TZif" {
            return None;
        }
        let count = |at: usize| {
            let four: [u8; 4] = bytes.get(20 + at * 4..24 + at * 4)?.try_into().ok()?;
            usize::try_from(u32::from_be_bytes(four)).ok().filter(|n| *n < 100_000)
        };
        bytes.get(..44)?;
        Some(Header {
            ut: count(0)?,
            std: count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            types: count(4)?,
            chars: count(5)?,
        })
    }

    fn data_len(&self, time: usize) -> usize {
        self.times * (time + 1) + self.types * 6 + self.chars + self.leaps * (time + 4) + self.std + self.ut
    }
}

impl Rule {
    fn at(&self, time: i64) -> &(i64, String) {
        let Some(summer) = &self.summer else { return &self.standard };
        let (y, ..) = civil_from_days((time + self.standard.0).div_euclid(DAY));
        let from = summer.from.in_year(y) - self.standard.0;
        let to = summer.to.in_year(y) - summer.kind.0;
        let inside = if from < to { (from..to).contains(&time) } else { !(to..from).contains(&time) };
        if inside { &summer.kind } else { &self.standard }
    }
}

impl Change {
    fn in_year(self, y: i64) -> i64 {
        let new_year = days_from_civil(y, 1, 1);
        let leap = days_from_civil(y, 3, 1) - new_year == 60;
        let day = match self.day {
            Day::Zero(n) => new_year + n,
            Day::Julian(n) => new_year + n - 1 + i64::from(leap && n >= 60),
            Day::Month(m, week, weekday) => {
                let first = days_from_civil(y, m, 1);
                let next = if m == 12 { days_from_civil(y + 1, 1, 1) } else { days_from_civil(y, m + 1, 1) };
                // 1970-01-01 was a Thursday.
                let mut day = first + (weekday - (first + 4)).rem_euclid(7) + (week - 1) * 7;
                while day >= next {
                    day -= 7;
                }
                day
            }
        };
        day * DAY + self.second
    }
}

/// `CET-1CEST,M3.5.0,M10.5.0/3`
fn parse_rule(text: &str) -> Option<Rule> {
    let mut rest = text;
    let name = rule_name(&mut rest)?;
    let offset = -rule_time(&mut rest)?;
    if rest.is_empty() {
        return Some(Rule { standard: (offset, name), summer: None });
    }
    let summer_name = rule_name(&mut rest)?;
    let summer_offset = if rest.starts_with(',') { offset + 3600 } else { -rule_time(&mut rest)? };
    let from = rule_change(&mut rest)?;
    let to = rule_change(&mut rest)?;
    let summer = Summer { kind: (summer_offset, summer_name), from, to };
    Some(Rule { standard: (offset, name), summer: Some(summer) })
}

fn rule_name(rest: &mut &str) -> Option<String> {
    if let Some(quoted) = rest.strip_prefix('<') {
        let (name, tail) = quoted.split_once('>')?;
        *rest = tail;
        return Some(name.to_owned());
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (name, tail) = rest.split_at(end);
    *rest = tail;
    (!name.is_empty()).then(|| name.to_owned())
}

fn rule_number(rest: &mut &str) -> Option<i64> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    *rest = tail;
    digits.parse().ok().filter(|n| *n < 10_000)
}

fn rule_time(rest: &mut &str) -> Option<i64> {
    let negative = rest.starts_with('-');
    *rest = rest.trim_start_matches(['-', '+']);
    let mut seconds = rule_number(rest)? * 3600;
    for unit in [60, 1] {
        if let Some(tail) = rest.strip_prefix(':') {
            *rest = tail;
            seconds += rule_number(rest)? * unit;
        }
    }
    Some(if negative { -seconds } else { seconds })
}

fn rule_change(rest: &mut &str) -> Option<Change> {
    *rest = rest.strip_prefix(',')?;
    let day = if let Some(tail) = rest.strip_prefix('M') {
        *rest = tail;
        let month = rule_number(rest)?;
        *rest = rest.strip_prefix('.')?;
        let week = rule_number(rest)?;
        *rest = rest.strip_prefix('.')?;
        let weekday = rule_number(rest)?;
        if !(1..=12).contains(&month) || !(1..=5).contains(&week) || weekday > 6 {
            return None;
        }
        Day::Month(month, week, weekday)
    } else if let Some(tail) = rest.strip_prefix('J') {
        *rest = tail;
        Day::Julian(rule_number(rest)?)
    } else {
        Day::Zero(rule_number(rest)?)
    };
    let second = match rest.strip_prefix('/') {
        Some(tail) => {
            *rest = tail;
            rule_time(rest)?
        }
        None => 2 * 3600,
    };
    Some(Change { day, second })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruled(text: &str) -> Zone {
        Zone { rule: parse_rule(text), ..Zone::default() }
    }

    #[test]
    fn go_strings() {
        let utc = Zone::default();
        let berlin = ruled("CET-1CEST,M3.5.0,M10.5.0/3");
        let ny = ruled("EST5EDT,M3.2.0,M11.1.0");
        let kolkata = ruled("IST-5:30");
        for (time, zone, want) in [
            (0, &utc, "1970-01-01 00:00:00 +0000 UTC"),
            (1_700_000_000, &utc, "2023-11-14 22:13:20 +0000 UTC"),
            (-1, &utc, "1969-12-31 23:59:59 +0000 UTC"),
            (1_709_210_096, &utc, "2024-02-29 12:34:56 +0000 UTC"),
            (1_700_000_000, &berlin, "2023-11-14 23:13:20 +0100 CET"),
            (1_688_000_000, &berlin, "2023-06-29 02:53:20 +0200 CEST"),
            (1_679_792_399, &berlin, "2023-03-26 01:59:59 +0100 CET"),
            (1_679_792_400, &berlin, "2023-03-26 03:00:00 +0200 CEST"),
            (1_698_541_199, &berlin, "2023-10-29 02:59:59 +0200 CEST"),
            (1_698_541_200, &berlin, "2023-10-29 02:00:00 +0100 CET"),
            (1_688_000_000, &ny, "2023-06-28 20:53:20 -0400 EDT"),
            (1_700_000_000, &kolkata, "2023-11-15 03:43:20 +0530 IST"),
        ] {
            assert_eq!(go_string(time, zone), want);
        }
    }

    #[test]
    fn durations_and_dates() {
        for (text, want) in [
            ("2025-05-30T12:07:14.000000000+00:00", "Fri May 30 12:07:14 2025"),
            ("2024-01-05T01:02:03Z", "Fri Jan  5 01:02:03 2024"),
            ("library-import", "library-import"),
            ("", ""),
        ] {
            assert_eq!(ansic(text), want);
        }
        for (seconds, want) in [(0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h0m0s"), (7325, "2h2m5s")] {
            assert_eq!(go_duration(seconds), want);
        }
        for (text, want) in [
            ("42m", Some(2520.0)),
            ("1h30m", Some(5400.0)),
            ("1.5s", Some(1.5)),
            ("300ms", Some(0.3)),
            ("-1s", Some(-1.0)),
            ("0", Some(0.0)),
            ("10", None),
            ("", None),
            ("5x", None),
        ] {
            assert_eq!(parse_go_duration(text), want, "{text}");
        }
    }

    #[test]
    fn timestamps_of_logs() {
        let utc = Zone::default();
        for (text, want) in [
            ("", Ok("")),
            ("1136073600", Ok("1136073600")),
            ("1136073600.000000001", Ok("1136073600.000000001")),
            ("10s", Ok("990")),
            ("2006-01-02", Ok("1136160000.000000000")),
            ("2006-01-02T15", Ok("1136214000.000000000")),
            ("2006-01-02T15:04", Ok("1136214240.000000000")),
            ("2006-01-02T15:04:05", Ok("1136214245.000000000")),
            ("2006-01-02T15:04:05.5Z", Ok("1136214245.500000000")),
            ("2006-01-02T15:04:05+07:00", Ok("1136189045.000000000")),
        ] {
            assert_eq!(
                timestamp(text, 1000.0, &utc),
                want.map(str::to_owned).map_err(|e: &str| e.to_owned()),
                "{text}"
            );
        }
        assert!(timestamp("yesterday", 0.0, &utc).is_err());
    }
}
