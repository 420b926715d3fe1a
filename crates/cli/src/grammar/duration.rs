//! Go's `time.ParseDuration`: `1h30m`, `1.5s`, `-20ms`. Error texts are Go's.

use super::numbers::quote;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The largest magnitude: that of `i64::MIN`.
const MOST: u64 = 1 << 63;

/// Nanoseconds.
pub fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = |t: &str| t.len() - t.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (whole, tail) = rest.split_at(digits(rest));
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => tail.split_at(digits(tail)),
            None => ("", tail),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        if name.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let unit = UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, ns)| *ns);
        let unit =
            unit.ok_or_else(|| format!("time: unknown unit {} in duration {}", quote(name), quote(text)))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(unit).and_then(|ns| ns.checked_add(part_of(fraction, unit)));
        total = part.and_then(|ns| total.checked_add(ns)).filter(|ns| *ns <= MOST).ok_or_else(invalid)?;
        rest = tail;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(ns)) => Ok(ns),
        (true, Ok(ns)) => Ok(-ns),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(invalid()),
    }
}

/// A fraction of a unit; digits beyond what 64 bits hold do not count, as in Go.
fn part_of(fraction: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0u64, 1f64);
    for digit in fraction.bytes() {
        let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
        match next.filter(|v| *v < MOST) {
            Some(next) => value = next,
            None => break,
        }
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (text, want) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("5s", Ok(5_000_000_000)),
            ("+5s", Ok(5_000_000_000)),
            ("-.5s", Ok(-500_000_000)),
            ("1.s", Ok(1_000_000_000)),
            ("1h2m3s4ms5us6ns", Ok(3_723_004_005_006)),
            ("1µs", Ok(1_000)),
            ("0.1ns", Ok(0)),
            ("-9223372036854775808ns", Ok(i64::MIN)),
            ("", Err("time: invalid duration \"\"")),
            (".s", Err("time: invalid duration \".s\"")),
            ("x", Err("time: invalid duration \"x\"")),
            ("5", Err("time: missing unit in duration \"5\"")),
            ("1h1", Err("time: missing unit in duration \"1h1\"")),
            ("5x", Err("time: unknown unit \"x\" in duration \"5x\"")),
            ("9223372036854775808ns", Err("time: invalid duration \"9223372036854775808ns\"")),
            ("9999999999h", Err("time: invalid duration \"9999999999h\"")),
        ] {
            assert_eq!(parse(text), want.map_err(str::to_owned), "{text:?}");
        }
    }
}
