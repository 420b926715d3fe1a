//! Numbers as Go reads them, with Go's error texts: flags are checked with these.
//!
//! Sources of the rules: Go's `strconv` and `math/big` documentation, docker/go-units.

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(syntax("ParseBool", text)),
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`: base by prefix, underscores between digits.
pub fn parse_int(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_magnitude(digits).map_err(|e| e.text("ParseInt", text))?;
    let limit = if negative { 1u64 << 63 } else { (1u64 << 63) - 1 };
    if magnitude > limit {
        return Err(Failure::Range.text("ParseInt", text));
    }
    Ok(if negative { (magnitude as i64).wrapping_neg() } else { magnitude as i64 })
}

/// Go's `strconv.ParseUint(text, 0, bits)`.
pub fn parse_uint(text: &str, bits: u32) -> Result<u64, String> {
    let value = parse_magnitude(text).map_err(|e| e.text("ParseUint", text))?;
    if bits < 64 && value >> bits != 0 {
        return Err(Failure::Range.text("ParseUint", text));
    }
    Ok(value)
}

/// Go's `strconv.Atoi`: decimal digits with an optional sign; the error is Go's reason alone.
pub fn parse_decimal(text: &str) -> Result<isize, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

/// Decimal digits and nothing else.
pub fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Go's `strconv.ParseUint(text, 10, 16)`.
pub fn parse_port(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax("ParseUint", text));
    }
    let port = text.parse::<u16>().map_err(|_| Failure::Range.text("ParseUint", text))?;
    Ok(port.into())
}

/// A number of bytes with an optional binary unit, as `docker/go-units` reads memory sizes.
pub fn parse_bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let suffix = &text[last + 1..];
    let number = if text.as_bytes()[last] == b' ' { &text[..last] } else { &text[..=last] };
    let size = parse_float(number)?;
    if size < 0.0 {
        return Err(invalid());
    }
    let lower = suffix.to_lowercase();
    let bad = || format!("invalid suffix: '{}'", if suffix.len() > 3 { suffix } else { &lower });
    let unit = match lower.as_bytes() {
        [] | [b'b'] => 1.0,
        [u] | [u, b'b'] | [u, b'i', b'b'] => {
            let power = b"kmgtp".iter().position(|k| k == u).ok_or_else(bad)?;
            1024f64.powi(power as i32 + 1)
        }
        _ => return Err(bad()),
    };
    Ok((size * unit) as i64)
}

/// As [`parse_bytes`], and `-1` for no limit.
pub fn parse_swap_bytes(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse_bytes(text) }
}

/// A decimal number or fraction of CPUs in units of 10⁻⁹, exactly.
pub fn parse_cpus(text: &str) -> Result<i64, String> {
    const MAX_DIGITS: usize = 30;
    let unreadable = || format!("failed to parse {text} as a rational number");
    let precise = || "value is too precise".to_owned();
    let (top, bottom) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let (negative, top) = match top.as_bytes().first() {
        Some(b'-') => (true, &top[1..]),
        Some(b'+') => (false, &top[1..]),
        _ => (false, top),
    };
    let (mantissa, exponent) = match top.find(['e', 'E']) {
        Some(at) if bottom.is_none() => (&top[..at], top[at + 1..].parse::<i32>().map_err(|_| unreadable())?),
        _ => (top, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(unreadable());
    }
    if bottom.is_some() && mantissa.contains('.') {
        return Err(unreadable());
    }
    let mut numerator: i128 = digits.parse().map_err(|_| unreadable())?;
    let mut denominator: i128 = match bottom {
        None => 1,
        Some(b) if !b.is_empty() && b.len() < MAX_DIGITS && b.bytes().all(|c| c.is_ascii_digit()) => {
            b.parse().map_err(|_| unreadable())?
        }
        Some(_) => return Err(unreadable()),
    };
    if denominator == 0 {
        return Err(unreadable());
    }
    let shift = 9 + exponent - fraction.len() as i32;
    let power = 10i128.checked_pow(shift.unsigned_abs()).ok_or_else(precise)?;
    if shift >= 0 {
        numerator = numerator.checked_mul(power).ok_or_else(unreadable)?;
    } else {
        denominator = denominator.checked_mul(power).ok_or_else(precise)?;
    }
    if numerator % denominator != 0 {
        return Err(precise());
    }
    let nano = i64::try_from(numerator / denominator).map_err(|_| unreadable())?;
    Ok(if negative { -nano } else { nano })
}

/// Go's `strconv.ParseFloat`, as far as sizes need it.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    match text.parse::<f64>() {
        Ok(value) if plain => Ok(value),
        _ => Err(syntax("ParseFloat", text)),
    }
}

/// Go's `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() || c == '\u{feff}' || c == '\u{2028}' || c == '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

enum Failure {
    Syntax,
    Range,
}

impl Failure {
    fn text(&self, function: &str, text: &str) -> String {
        match self {
            Failure::Syntax => syntax(function, text),
            Failure::Range => format!("strconv.{function}: parsing {}: value out of range", quote(text)),
        }
    }
}

fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", quote(text))
}

/// Digits with Go's base prefixes; underscores only where Go's literals allow them.
fn parse_magnitude(text: &str) -> Result<u64, Failure> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let prefixed = base != 10;
    if digits.is_empty()
        || digits.ends_with('_')
        || digits.contains("__")
        || (digits.starts_with('_') && !prefixed)
    {
        return Err(Failure::Syntax);
    }
    let mut value: u64 = 0;
    let mut overflow = false;
    for c in digits.chars().filter(|c| *c != '_') {
        let digit = c.to_digit(base).ok_or(Failure::Syntax)?;
        match value.checked_mul(u64::from(base)).and_then(|v| v.checked_add(u64::from(digit))) {
            Some(next) => value = next,
            None => overflow = true,
        }
    }
    if overflow { Err(Failure::Range) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_go_reads_them() {
        for (text, want) in [
            ("0", Ok(0)),
            ("42", Ok(42)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            ("0x10", Ok(16)),
            ("0X_ff", Ok(255)),
            ("010", Ok(8)),
            ("0o17", Ok(15)),
            ("0b101", Ok(5)),
            ("1_000", Ok(1000)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("", Err("strconv.ParseInt: parsing \"\": invalid syntax")),
            ("09", Err("strconv.ParseInt: parsing \"09\": invalid syntax")),
            ("_1", Err("strconv.ParseInt: parsing \"_1\": invalid syntax")),
            ("1__0", Err("strconv.ParseInt: parsing \"1__0\": invalid syntax")),
            ("1_", Err("strconv.ParseInt: parsing \"1_\": invalid syntax")),
            ("0x", Err("strconv.ParseInt: parsing \"0x\": invalid syntax")),
            ("1.5", Err("strconv.ParseInt: parsing \"1.5\": invalid syntax")),
            ("--1", Err("strconv.ParseInt: parsing \"--1\": invalid syntax")),
            (
                "9223372036854775808",
                Err("strconv.ParseInt: parsing \"9223372036854775808\": value out of range"),
            ),
            (
                "99999999999999999999",
                Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
            ),
        ] {
            assert_eq!(parse_int(text), want.map_err(str::to_owned), "{text:?}");
        }
        assert_eq!(parse_uint("65535", 16), Ok(65535));
        assert!(parse_uint("65536", 16).unwrap_err().ends_with("value out of range"));
        assert!(parse_uint("-1", 64).unwrap_err().ends_with("invalid syntax"));
    }

    #[test]
    fn booleans() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "tRUE", "maybe"] {
            assert_eq!(parse_bool(text), Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")));
        }
    }

    #[test]
    fn memory_sizes() {
        for (text, want) in [
            ("32", Ok(32)),
            ("32b", Ok(32)),
            ("32B", Ok(32)),
            ("32k", Ok(32 << 10)),
            ("32K", Ok(32 << 10)),
            ("32kb", Ok(32 << 10)),
            ("32Kb", Ok(32 << 10)),
            ("32Mb", Ok(32 << 20)),
            ("32MiB", Ok(32 << 20)),
            ("256m", Ok(256 << 20)),
            ("32Gb", Ok(32 << 30)),
            ("32Tb", Ok(32 << 40)),
            ("32Pb", Ok(32 << 50)),
            ("32.5kB", Ok(33280)),
            ("1.5g", Ok(1610612736)),
            ("32 MB", Ok(32 << 20)),
            ("0", Ok(0)),
            ("", Err("invalid size: ''")),
            ("hello", Err("invalid size: 'hello'")),
            ("abc", Err("invalid size: 'abc'")),
            ("-32", Err("invalid size: '-32'")),
            ("32bb", Err("invalid suffix: 'bb'")),
            ("32kib1", Err("strconv.ParseFloat: parsing \"32kib1\": invalid syntax")),
            ("1x", Err("invalid suffix: 'x'")),
            ("1.2.3g", Err("strconv.ParseFloat: parsing \"1.2.3\": invalid syntax")),
            (" 32 ", Err("strconv.ParseFloat: parsing \" 32\": invalid syntax")),
            ("32mega", Err("invalid suffix: 'mega'")),
        ] {
            assert_eq!(parse_bytes(text), want.map_err(str::to_owned), "{text:?}");
        }
        assert_eq!(parse_swap_bytes("-1"), Ok(-1));
        assert_eq!(parse_swap_bytes("-2"), Err("invalid size: '-2'".to_owned()));
    }

    #[test]
    fn cpus_are_exact() {
        for (text, want) in [
            ("1.5", Ok(1_500_000_000)),
            ("2", Ok(2_000_000_000)),
            (".5", Ok(500_000_000)),
            ("0.000000001", Ok(1)),
            ("3/2", Ok(1_500_000_000)),
            ("1e1", Ok(10_000_000_000)),
            ("-1", Ok(-1_000_000_000)),
            ("1/3", Err("value is too precise")),
            ("0.0000000001", Err("value is too precise")),
            ("x", Err("failed to parse x as a rational number")),
            ("", Err("failed to parse  as a rational number")),
            ("1/0", Err("failed to parse 1/0 as a rational number")),
            ("1.2.3", Err("failed to parse 1.2.3 as a rational number")),
        ] {
            assert_eq!(parse_cpus(text), want.map_err(str::to_owned), "{text:?}");
        }
    }
}
