//! Go's and Docker's template functions.

use std::cmp::Ordering;

use super::printf;
use super::value::Value;

/// What a function yields, or the text after `error calling NAME: `.
pub type Outcome = Result<Value, String>;

const NAMES: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf",
    "println", "html", "js", "urlquery", "call", "json", "split", "join", "title", "lower", "upper", "pad",
    "truncate",
];

/// Whether templates know the function.
pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// How many arguments a function takes: exactly, or at least.
pub enum Takes {
    /// Exactly so many.
    Exactly(usize),
    /// At least so many.
    AtLeast(usize),
}

/// The number of arguments of a function.
pub fn takes(name: &str) -> Takes {
    match name {
        "not" | "len" | "json" | "title" | "lower" | "upper" => Takes::Exactly(1),
        "ne" | "lt" | "le" | "gt" | "ge" | "split" | "join" | "truncate" => Takes::Exactly(2),
        "pad" => Takes::Exactly(3),
        "and" | "or" | "eq" | "index" | "slice" | "printf" | "call" => Takes::AtLeast(1),
        _ => Takes::AtLeast(0),
    }
}

/// What a function's argument must be, where Go checks it before the call.
pub fn wanted(name: &str, at: usize) -> Option<&'static str> {
    match (name, at) {
        ("title" | "lower" | "upper" | "pad" | "truncate" | "printf", 0) | ("split", _) | ("join", 1) => {
            Some("string")
        }
        ("pad", _) | ("truncate", 1) => Some("int"),
        ("join", 0) => Some("[]string"),
        _ => None,
    }
}

/// Whether a value is of that type.
pub fn is(value: &Value, wanted: &str) -> bool {
    match (wanted, value) {
        ("string", Value::Text(_)) | ("int", Value::Int(_)) | ("[]string", Value::List(None)) => true,
        ("[]string", Value::List(Some(items))) => items.iter().all(|v| matches!(v, Value::Text(_))),
        _ => false,
    }
}

/// Calls a function; `headers` leaves table headers as they are. `and` and `or` are evaluated by
/// the caller, because they stop early.
pub fn call(name: &str, args: &[Value], headers: bool) -> Outcome {
    if headers && matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate") {
        return Ok(args.first().cloned().unwrap_or(Value::Missing));
    }
    match name {
        "not" => Ok(Value::Bool(!args[0].truth())),
        "eq" => equal(args),
        "ne" => Ok(Value::Bool(!equal_pair(&args[0], &args[1])?)),
        "lt" => order(&args[0], &args[1]).map(|o| Value::Bool(o == Ordering::Less)),
        "le" => order(&args[0], &args[1]).map(|o| Value::Bool(o != Ordering::Greater)),
        "gt" => order(&args[0], &args[1]).map(|o| Value::Bool(o == Ordering::Greater)),
        "ge" => order(&args[0], &args[1]).map(|o| Value::Bool(o != Ordering::Less)),
        "len" => length(&args[0]),
        "index" => args[1..].iter().try_fold(args[0].clone(), |value, key| index(&value, key)),
        "slice" => slice(args),
        "print" => Ok(printf::print(args).into()),
        "println" => Ok(printf::println(args).into()),
        "printf" => Ok(printf::printf(text(args, 0)?, &args[1..]).into()),
        "html" => Ok(html(&printf::print(args)).into()),
        "js" => Ok(js(&printf::print(args)).into()),
        "urlquery" => Ok(urlquery(&printf::print(args)).into()),
        "call" => Err(match &args[0] {
            Value::Nil | Value::Missing => "call of nil".to_owned(),
            other => format!("non-function {} of type {}", other.print(), other.type_name()),
        }),
        "json" => Ok(args[0].to_json_text().into()),
        "split" => {
            let (whole, separator) = (text(args, 0)?, text(args, 1)?);
            let parts: Vec<Value> = if separator.is_empty() {
                whole.chars().map(|c| Value::from(c.to_string())).collect()
            } else {
                whole.split(separator).map(Value::from).collect()
            };
            Ok(Value::list(parts))
        }
        "join" => join(args),
        "title" => Ok(title(text(args, 0)?).into()),
        "lower" => Ok(text(args, 0)?.to_lowercase().into()),
        "upper" => Ok(text(args, 0)?.to_uppercase().into()),
        "pad" => pad(args),
        "truncate" => {
            let (whole, length) = (text(args, 0)?, usize::try_from(int(args, 1)?).unwrap_or(0));
            Ok(if whole.len() < length { whole } else { floor(whole, length) }.into())
        }
        _ => Err(format!("unknown function {name}")),
    }
}

/// Upper-case first letters of words.
pub fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    out
}

fn wrong(value: &Value, wanted: &str) -> String {
    format!("wrong type for value; expected {wanted}; got {}", value.type_name())
}

fn text(args: &[Value], at: usize) -> Result<&str, String> {
    match &args[at] {
        Value::Text(text) => Ok(text),
        other => Err(wrong(other, "string")),
    }
}

fn int(args: &[Value], at: usize) -> Result<i64, String> {
    match &args[at] {
        Value::Int(i) => Ok(*i),
        other => Err(wrong(other, "int")),
    }
}

fn floor(text: &str, mut length: usize) -> &str {
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    &text[..length]
}

fn join(args: &[Value]) -> Outcome {
    let separator = text(args, 1)?;
    match &args[0] {
        Value::List(items) => {
            let mut parts = Vec::new();
            for item in items.iter().flat_map(|i| i.iter()) {
                match item {
                    Value::Text(text) => parts.push(text.as_str()),
                    _ => return Err(wrong(&args[0], "[]string")),
                }
            }
            Ok(parts.join(separator).into())
        }
        other => Err(wrong(other, "[]string")),
    }
}

fn pad(args: &[Value]) -> Outcome {
    const MAX_PAD: i64 = 10_000;
    let whole = text(args, 0)?;
    let blanks = |n: i64| " ".repeat(n.clamp(0, MAX_PAD) as usize);
    let (before, after) = (blanks(int(args, 1)?), blanks(int(args, 2)?));
    Ok(if whole.is_empty() { String::new() } else { format!("{before}{whole}{after}") }.into())
}

fn length(value: &Value) -> Outcome {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.as_ref().map_or(0, |i| i.len()),
        Value::Map(map) => map.entries.len(),
        Value::Nil | Value::Missing => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(length as i64))
}

fn index(value: &Value, key: &Value) -> Outcome {
    match value {
        Value::List(items) => {
            let items: &[Value] = items.as_ref().map_or(&[], |i| i.as_slice());
            let at = match key {
                Value::Int(at) => *at,
                Value::Nil | Value::Missing => return Err("cannot index slice/array with nil".to_owned()),
                other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
            };
            match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                Some(item) => Ok(item.clone()),
                None if at < 0 || at as usize > items.len() => Err(format!("index out of range: {at}")),
                None => Err("reflect: slice index out of range".to_owned()),
            }
        }
        Value::Map(map) => match key {
            Value::Text(key) => Ok(map
                .entries
                .iter()
                .find(|(k, _)| k == key)
                .map_or_else(|| map.zero.clone(), |(_, v)| v.clone())),
            other => Err(format!("value has type {}; should be string", other.type_name())),
        },
        Value::Text(whole) => match key {
            Value::Int(at) => usize::try_from(*at)
                .ok()
                .and_then(|at| whole.as_bytes().get(at))
                .map(|b| Value::Int(i64::from(*b)))
                .ok_or_else(|| format!("index out of range: {at}")),
            other => Err(format!("cannot index slice/array with type {}", other.type_name())),
        },
        Value::Nil | Value::Missing => Err("index of untyped nil".to_owned()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(args: &[Value]) -> Outcome {
    let length = match &args[0] {
        Value::Text(text) => text.len(),
        Value::List(items) => items.as_ref().map_or(0, |i| i.len()),
        Value::Nil | Value::Missing => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let mut bounds = [0, length];
    for (at, arg) in args[1..].iter().take(2).enumerate() {
        let Value::Int(bound) = arg else {
            return Err(format!("cannot index slice/array with type {}", arg.type_name()));
        };
        bounds[at] = usize::try_from(*bound)
            .ok()
            .filter(|b| *b <= length)
            .ok_or_else(|| format!("index out of range: {bound}"))?;
    }
    let [from, to] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &args[0] {
        Value::Text(_) if args.len() == 4 => Err("cannot 3-index slice a string".to_owned()),
        Value::Text(text) => Ok(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into()),
        Value::List(Some(items)) => Ok(Value::list(items[from..to].to_vec())),
        _ => Ok(Value::List(None)),
    }
}

fn equal(args: &[Value]) -> Outcome {
    if args.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &args[1..] {
        if equal_pair(&args[0], other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal_pair(a: &Value, b: &Value) -> Result<bool, String> {
    const INCOMPATIBLE: &str = "incompatible types for comparison";
    let nil = |v: &Value| matches!(v, Value::Nil | Value::Missing);
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (a, b) if nil(a) || nil(b) => {
            let empty = |v: &Value| match v {
                Value::List(items) => items.is_none(),
                Value::Map(map) => map.nil,
                v => nil(v),
            };
            Ok(empty(a) && empty(b))
        }
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => {
            Err(format!("non-comparable type {}: {}", a.print(), a.type_name()))
        }
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b).unwrap_or(Ordering::Less)),
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Nil, _) => {
            Err("invalid type for comparison".to_owned())
        }
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

fn urlquery(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') => out.push(b as char),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
