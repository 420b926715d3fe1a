//! Go's `fmt`: `printf` with its verbs, `print`, `println`.

use std::fmt::Write as _;

use super::value::{Value, print_float};
use crate::grammar::numbers::quote;

/// Widths and precisions beyond this are refused by Go too.
const MAX_WIDTH: usize = 1_000_000;

/// `fmt.Sprint`: blanks between operands when neither is text.
pub fn print(args: &[Value]) -> String {
    let mut out = String::new();
    for (at, arg) in args.iter().enumerate() {
        let text = |v: &Value| matches!(v, Value::Text(_));
        if at > 0 && !text(arg) && !text(&args[at - 1]) {
            out.push(' ');
        }
        out.push_str(&arg.print());
    }
    out
}

/// `fmt.Sprintln`: blanks between all operands.
pub fn println(args: &[Value]) -> String {
    let mut out = args.iter().map(Value::print).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// `fmt.Sprintf`.
pub fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args = Operands { args, at: 0 };
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '+' | '-' | '#' | ' ' | '0')) {
            spec.flag(flag);
        }
        spec.width = size(&mut chars, &mut args);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(size(&mut chars, &mut args).unwrap_or(0));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match args.next() {
                None => {
                    let _ = write!(out, "%!{verb}(MISSING)");
                }
                Some(value) => out.push_str(&spec.format(verb, value)),
            },
        }
    }
    let extra = &args.args[args.at.min(args.args.len())..];
    if !extra.is_empty() {
        let shown: Vec<String> = extra.iter().map(|v| format!("{}={}", v.type_name(), v.print())).collect();
        let _ = write!(out, "%!(EXTRA {})", shown.join(", "));
    }
    out
}

struct Operands<'a> {
    args: &'a [Value],
    at: usize,
}

impl<'a> Operands<'a> {
    fn next(&mut self) -> Option<&'a Value> {
        let value = self.args.get(self.at)?;
        self.at += 1;
        Some(value)
    }
}

fn size(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, args: &mut Operands<'_>) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        return match args.next() {
            Some(Value::Int(n)) => usize::try_from(*n).ok().filter(|n| *n <= MAX_WIDTH),
            _ => None,
        };
    }
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok().filter(|n| *n <= MAX_WIDTH)
}

#[derive(Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Spec {
    fn flag(&mut self, flag: char) {
        match flag {
            '+' => self.plus = true,
            '-' => self.minus = true,
            '#' => self.sharp = true,
            ' ' => self.space = true,
            _ => self.zero = true,
        }
    }

    fn format(&self, verb: char, value: &Value) -> String {
        let text = match (verb, value) {
            ('T', v) => v.type_name(),
            ('v', Value::Int(i)) => self.integer(*i),
            ('v', Value::Float(f)) => print_float(*f),
            ('v', Value::Text(s)) if self.sharp => quote(s),
            ('v', v) => v.print(),
            ('s', Value::Text(s)) => self.cut(s),
            ('q', Value::Text(s)) => quote(&self.cut(s)),
            ('s' | 'q', Value::List(_) | Value::Map(_) | Value::Struct(_)) => self.elements(verb, value),
            ('x' | 'X', Value::Text(s)) => hex(s.as_bytes(), verb),
            ('t', Value::Bool(b)) => b.to_string(),
            ('d', Value::Int(i)) => self.integer(*i),
            ('d', Value::List(_)) => self.elements(verb, value),
            ('b', Value::Int(i)) => self.radix(*i, "", &format!("{:b}", i.unsigned_abs())),
            ('o', Value::Int(i)) => self.radix(*i, "0", &format!("{:o}", i.unsigned_abs())),
            ('x', Value::Int(i)) => self.radix(*i, "0x", &format!("{:x}", i.unsigned_abs())),
            ('X', Value::Int(i)) => self.radix(*i, "0X", &format!("{:X}", i.unsigned_abs())),
            ('c', Value::Int(i)) => character(*i).to_string(),
            ('U', Value::Int(i)) => format!("U+{i:04X}"),
            ('q', Value::Int(i)) => format!("'{}'", character(*i)),
            ('f' | 'F', Value::Float(f)) => self.signed(*f, format!("{f:.*}", self.precision.unwrap_or(6))),
            ('e' | 'g' | 'E' | 'G', Value::Float(f)) => self.general(verb, *f),
            (_, Value::Nil | Value::Missing) => format!("%!{verb}(<nil>)"),
            (_, v) => format!("%!{verb}({}={})", v.type_name(), v.print()),
        };
        self.pad(text, value)
    }

    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(n) => text.chars().take(n).collect(),
            None => text.to_owned(),
        }
    }

    fn elements(&self, verb: char, value: &Value) -> String {
        let plain = Spec { precision: self.precision, ..Spec::default() };
        match value {
            Value::List(items) => {
                let shown: Vec<String> =
                    items.iter().flat_map(|i| i.iter()).map(|v| plain.format(verb, v)).collect();
                format!("[{}]", shown.join(" "))
            }
            Value::Map(map) => {
                let shown: Vec<String> = map
                    .entries
                    .iter()
                    .map(|(k, v)| {
                        format!("{}:{}", plain.format(verb, &Value::from(k.as_str())), plain.format(verb, v))
                    })
                    .collect();
                format!("map[{}]", shown.join(" "))
            }
            Value::Struct(s) => {
                let shown: Vec<String> = s.fields.iter().map(|(_, v)| plain.format(verb, v)).collect();
                format!("{{{}}}", shown.join(" "))
            }
            other => plain.format(verb, other),
        }
    }

    fn integer(&self, value: i64) -> String {
        self.radix(value, "", &value.unsigned_abs().to_string())
    }

    fn radix(&self, value: i64, prefix: &str, digits: &str) -> String {
        let sign = if value < 0 {
            "-"
        } else if self.plus {
            "+"
        } else if self.space {
            " "
        } else {
            ""
        };
        let prefix = if self.sharp { prefix } else { "" };
        let mut digits = digits.to_owned();
        if let Some(precision) = self.precision {
            digits = format!("{digits:0>precision$}");
        } else if self.zero && !self.minus {
            let room = self.width.unwrap_or(0).saturating_sub(sign.len() + prefix.len());
            digits = format!("{digits:0>room$}");
        }
        format!("{sign}{prefix}{digits}")
    }

    fn signed(&self, value: f64, text: String) -> String {
        if value >= 0.0 && self.plus { format!("+{text}") } else { text }
    }

    fn general(&self, verb: char, value: f64) -> String {
        let text = match self.precision {
            Some(p) if verb.eq_ignore_ascii_case(&'g') => significant(value, p),
            _ if verb.eq_ignore_ascii_case(&'g') => print_float(value),
            p => {
                let text = format!("{value:.*e}", p.unwrap_or(6));
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
            }
        };
        let text = self.signed(value, text);
        if verb.is_uppercase() { text.to_uppercase() } else { text }
    }

    fn pad(&self, text: String, value: &Value) -> String {
        let Some(width) = self.width else { return text };
        let zeros = self.zero && !self.minus && matches!(value, Value::Text(_) | Value::Float(_));
        if self.minus {
            format!("{text:<width$}")
        } else if zeros {
            format!("{text:0>width$}")
        } else {
            format!("{text:>width$}")
        }
    }
}

/// `%.Pg`: so many significant digits, no trailing zeros, an exponent when it is shorter.
pub fn significant(value: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.decimals$}"))
}

fn hex(bytes: &[u8], verb: char) -> String {
    let mut out = String::new();
    for byte in bytes {
        let _ = if verb == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") };
    }
    out
}

fn character(code: i64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}
