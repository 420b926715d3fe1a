//! The Dockerfile instruction HEALTHCHECK, as a change of a configuration.

use super::unusable;
use crate::error::Result;
use oci::Healthcheck;

/// What stands behind the keyword.
pub(super) fn parse(rest: &str) -> Result<Healthcheck> {
    let mut health = Healthcheck::default();
    let mut rest = rest.trim();
    while let Some(option) = rest.strip_prefix("--") {
        let (word, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        set(&mut health, word)?;
        rest = after.trim_start();
    }
    let (kind, args) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let args = args.trim();
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
    health.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if args.is_empty() => words(&["NONE"]),
        "NONE" => return Err(unusable("HEALTHCHECK NONE takes no arguments")),
        "CMD" if args.is_empty() => return Err(unusable("Missing command after HEALTHCHECK CMD")),
        "CMD" => match serde_json::from_str::<Vec<String>>(args) {
            Ok(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
            Err(_) => words(&["CMD-SHELL", args]),
        },
        other => return Err(unusable(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    };
    Ok(health)
}

fn set(health: &mut Healthcheck, option: &str) -> Result<()> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let time = || {
        duration_ns(value).ok_or_else(|| unusable(format!("time: invalid duration {value:?}"))).and_then(
            |ns| {
                if ns != 0 && ns < 1_000_000 {
                    return Err(unusable(format!("Interval {option:?} cannot be less than 1ms")));
                }
                Ok(ns)
            },
        )
    };
    match name {
        "interval" => health.interval = time()?,
        "timeout" => health.timeout = time()?,
        "start-period" => health.start_period = time()?,
        "start-interval" => health.start_interval = time()?,
        "retries" => {
            health.retries =
                value.parse().ok().filter(|n| *n >= 0).ok_or_else(|| {
                    unusable(format!("--retries cannot be negative or no number ({value})"))
                })?;
        }
        other => return Err(unusable(format!("unknown flag: --{other}"))),
    }
    Ok(())
}

/// Go's `time.ParseDuration` without a sign: `1m30s`.
fn duration_ns(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions() {
        for (text, expected) in [
            ("NONE", Ok("NONE 0 0 0")),
            ("CMD true a", Ok("CMD-SHELL|true a 0 0 0")),
            ("--interval=1h --timeout=1m30s --retries=4 CMD [\"a\", \"b\"]", Ok("CMD|a|b 3600 90 4")),
            ("CMD", Err("Missing command after HEALTHCHECK CMD")),
            ("NONE x", Err("HEALTHCHECK NONE takes no arguments")),
            ("FOO x", Err("Unknown type \"FOO\" in HEALTHCHECK (try CMD)")),
            ("--what=1 CMD x", Err("unknown flag: --what")),
            ("--interval=x CMD x", Err("time: invalid duration \"x\"")),
        ] {
            let second = 1_000_000_000;
            let got = parse(text).map(|h| {
                format!("{} {} {} {}", h.test.join("|"), h.interval / second, h.timeout / second, h.retries)
            });
            match expected {
                Ok(expected) => assert_eq!(got.unwrap(), expected),
                Err(expected) => assert!(got.unwrap_err().to_string().contains(expected), "{text}"),
            }
        }
    }
}
