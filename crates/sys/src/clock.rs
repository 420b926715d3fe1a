//! Clocks: wall time for display, boot time for timers, and RFC 3339 text with nanoseconds.
//!
//! Docker writes times as Go's `RFC3339Nano` in UTC; log lines carry all nine digits.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point in wall-clock time, in nanoseconds since the epoch (years 1970 to 2262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

impl Time {
    /// The wall clock now.
    pub fn now() -> Self {
        Self(nanos(clock_gettime(ClockId::Realtime)))
    }

    /// Go's zero time, as Docker prints it for "never".
    pub const ZERO_TEXT: &'static str = "0001-01-01T00:00:00Z";

    /// `2026-11-24T03:41:12.000000005Z`: always nine digits, as json-file logs have it.
    pub fn rfc3339_fixed(self) -> [u8; 30] {
        let mut out = *b"0000-00-00T00:00:00.000000000Z";
        let seconds = self.0.div_euclid(1_000_000_000);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let second_of_day = seconds.rem_euclid(86_400);
        put(&mut out[0..4], year as u64);
        put(&mut out[5..7], month);
        put(&mut out[8..10], day);
        put(&mut out[11..13], (second_of_day / 3600) as u64);
        put(&mut out[14..16], (second_of_day / 60 % 60) as u64);
        put(&mut out[17..19], (second_of_day % 60) as u64);
        put(&mut out[20..29], self.0.rem_euclid(1_000_000_000) as u64);
        out
    }

    /// Go's RFC3339Nano: trailing zeros of the fraction are dropped.
    pub fn rfc3339(self) -> String {
        let fixed = self.rfc3339_fixed();
        let text = String::from_utf8_lossy(&fixed[..29]);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        // A whole second must keep its own zeros: "…:10." is cut at the dot only.
        let keep = text.len().max(19);
        format!("{}Z", String::from_utf8_lossy(&fixed[..keep]))
    }

    /// Reads RFC 3339 with any offset and up to nine digits of fraction.
    pub fn parse(text: &str) -> Option<Self> {
        let b = text.as_bytes();
        if b.len() < 20
            || b[4] != b'-'
            || b[7] != b'-'
            || (b[10] | 0x20) != b't'
            || b[13] != b':'
            || b[16] != b':'
        {
            return None;
        }
        let number = |r: std::ops::Range<usize>| -> Option<i64> {
            b[r].iter().try_fold(0, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut at = 19;
        let mut fraction = 0;
        if b[at] == b'.' {
            let digits = b[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            fraction = number(at + 1..at + 1 + digits)? * 10_i64.pow(9 - digits as u32);
            at += 1 + digits;
        }
        let offset = match b.get(at)? {
            b'Z' | b'z' if b.len() == at + 1 => 0,
            sign @ (b'+' | b'-') if b.len() == at + 6 && b[at + 3] == b':' => {
                let s = number(at + 1..at + 3)? * 3600 + number(at + 4..at + 6)? * 60;
                if *sign == b'+' { s } else { -s }
            }
            _ => return None,
        };
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        seconds.checked_mul(1_000_000_000)?.checked_add(fraction).map(Self)
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }
}

/// Nanoseconds since boot, suspend included: the clock for timers.
pub fn boottime_ns() -> u64 {
    nanos(clock_gettime(ClockId::Boottime)) as u64
}

/// Nanoseconds of CLOCK_MONOTONIC: the same in all processes, for measuring.
pub fn monotonic_ns() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic)) as u64
}

/// The kernel's id of this boot (36 characters).
pub fn boot_id() -> crate::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|e| crate::Error::new(format!("read({path})"), e))?;
    Ok(text.trim().to_string())
}

fn nanos(t: Timespec) -> i64 {
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}

fn put(out: &mut [u8], mut value: u64) {
    for c in out.iter_mut().rev() {
        *c = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Days since the epoch to (year, month, day) of the proleptic Gregorian calendar, counted in
/// 400-year eras that begin on 1 March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u64, day as u64)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_000_000_000, "1970-01-01T00:00:01Z"),
            (10_000_000_000, "1970-01-01T00:00:10Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (1_795_492_472_123_456_789, "2026-11-24T03:54:32.123456789Z"),
            (1_795_492_472_120_000_000, "2026-11-24T03:54:32.12Z"),
        ] {
            assert_eq!(Time(ns).rfc3339(), text);
            assert_eq!(Time::parse(text), Some(Time(ns)), "{text}");
        }
        assert_eq!(Time::parse("2026-11-24T04:54:32+01:00"), Time::parse("2026-11-24T03:54:32Z"));
        for bad in [
            "",
            "2026-11-24",
            "2026-13-24T03:54:32Z",
            "2026-11-24T03:54:32",
            "2026-11-24T03:54:32.Z",
            "2026-11-24T03:54:32Zx",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }
}
