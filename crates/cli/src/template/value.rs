//! The values templates work on, and how Go prints them.

use std::fmt::Write as _;
use std::rc::Rc;

use api::json::Json;

/// A field of a row that takes no arguments.
pub fn plain(name: &str, text: String, args: &[Value]) -> Option<Result<Value, String>> {
    if args.is_empty() {
        return Some(Ok(text.into()));
    }
    Some(Err(format!("wrong number of args for {name}: want 0 got {}", args.len())))
}

/// Something whose fields are computed, like a row of `ps`.
pub trait Object {
    /// The Go type, for error texts.
    fn type_name(&self) -> &'static str;
    /// The field or method `name`; none if there is none.
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>>;
    /// The names that `{{json .}}` prints, sorted.
    fn names(&self) -> &'static [&'static str];
    /// What `{{.}}` prints.
    fn print(&self) -> String {
        self.type_name().to_owned()
    }
}

/// A value inside a template.
#[derive(Clone)]
pub enum Value {
    /// Nothing at all: prints `<no value>`.
    Missing,
    /// A nil pointer: prints `<nil>`.
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list; none is Go's nil slice.
    List(Option<Rc<Vec<Value>>>),
    /// A map with text keys, in sorted order.
    Map(Rc<Map>),
    /// A struct.
    Struct(Rc<Struct>),
    /// A computed object.
    Object(Rc<dyn Object>),
}

/// A map's entries.
pub struct Map {
    /// Sorted by key.
    pub entries: Vec<(String, Value)>,
    /// Go's nil map.
    pub nil: bool,
    /// What a missing key yields.
    pub zero: Value,
    /// A map of decoded JSON (`map[string]interface {}`) rather than of a typed field.
    pub untyped: bool,
}

/// A struct's fields.
pub struct Struct {
    /// The Go type, for error texts.
    pub type_name: String,
    /// In declaration order.
    pub fields: Vec<(String, Value)>,
    /// How the struct looks as JSON, when that differs from its fields.
    pub json: Option<Json>,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.print())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl Value {
    /// A list.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Some(Rc::new(items)))
    }

    /// A struct.
    pub fn record(type_name: &str, fields: Vec<(String, Value)>, json: Option<Json>) -> Value {
        Value::Struct(Rc::new(Struct { type_name: type_name.to_owned(), fields, json }))
    }

    /// A map of typed values; sorted here.
    pub fn map(mut entries: Vec<(String, Value)>, nil: bool, zero: Value) -> Value {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Map(Rc::new(Map { entries, nil, zero, untyped: false }))
    }

    /// Decoded JSON as Go has it without a type: objects are maps.
    pub fn from_untyped(json: &Json) -> Value {
        match json {
            Json::Null => Value::Nil,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => number(n),
            Json::String(s) => Value::Text(s.clone()),
            Json::Array(items) => Value::list(items.iter().map(Value::from_untyped).collect()),
            Json::Object(pairs) => {
                let mut entries: Vec<(String, Value)> =
                    pairs.iter().map(|(k, v)| (k.clone(), Value::from_untyped(v))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Map(Rc::new(Map { entries, nil: false, zero: Value::Missing, untyped: true }))
            }
        }
    }

    /// Go's truth: not zero, not nil, not empty.
    pub fn truth(&self) -> bool {
        match self {
            Value::Missing | Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Text(s) => !s.is_empty(),
            Value::List(items) => items.as_ref().is_some_and(|i| !i.is_empty()),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Struct(_) | Value::Object(_) => true,
        }
    }

    /// The Go type, for error texts.
    pub fn type_name(&self) -> String {
        match self {
            Value::Missing | Value::Nil => "<nil>".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Int(_) => "int".to_owned(),
            Value::Float(_) => "float64".to_owned(),
            Value::Text(_) => "string".to_owned(),
            Value::List(items) => {
                let text = items.as_ref().is_some_and(|l| l.iter().all(|v| matches!(v, Value::Text(_))));
                if text { "[]string" } else { "[]interface {}" }.to_owned()
            }
            Value::Map(map) if map.untyped => "map[string]interface {}".to_owned(),
            Value::Map(map) => match &map.zero {
                Value::Text(_) => "map[string]string".to_owned(),
                other => format!("map[string]{}", other.type_name()),
            },
            Value::Struct(s) => s.type_name.clone(),
            Value::Object(o) => o.type_name().to_owned(),
        }
    }

    /// The text of `{{.}}`.
    pub fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Missing | Value::Nil | Value::List(None) => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => Json::Number(i.to_string()),
            Value::Float(f) => Json::Number(print_float(*f)),
            Value::Text(s) => Json::String(s.clone()),
            Value::List(Some(items)) => Json::Array(items.iter().map(Value::to_json).collect()),
            Value::Map(map) if map.nil => Json::Null,
            Value::Map(map) => {
                Json::Object(map.entries.iter().map(|(k, v)| (k.clone(), v.to_json())).collect())
            }
            Value::Struct(s) => match &s.json {
                Some(json) => json.clone(),
                None => Json::Object(s.fields.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
            },
            Value::Object(o) => Json::Object(
                o.names()
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), o.get(name, &[])?.ok()?.to_json())))
                    .collect(),
            ),
        }
    }

    /// As compact JSON text.
    ///
    /// Go escapes `<`, `>` and `&` in the rows of lists (`json.Marshal` in their `MarshalJSON`) and
    /// nowhere else.
    pub fn to_json_text(&self) -> String {
        let mut out = Vec::new();
        self.to_json().write(&mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        match self {
            Value::Object(_) => text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
            _ => text,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Value::Missing => out.push_str("<no value>"),
            Value::Nil => out.push_str("<nil>"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => {
                let _ = write!(out, "{i}");
            }
            Value::Float(f) => out.push_str(&print_float(*f)),
            Value::Text(s) => out.push_str(s),
            Value::List(items) => {
                out.push('[');
                for (at, item) in items.iter().flat_map(|i| i.iter()).enumerate() {
                    if at > 0 {
                        out.push(' ');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Value::Map(map) => {
                out.push_str("map[");
                for (at, (key, value)) in map.entries.iter().enumerate() {
                    let _ = write!(out, "{}{key}:", if at > 0 { " " } else { "" });
                    value.write(out);
                }
                out.push(']');
            }
            Value::Struct(s) => {
                out.push('{');
                for (at, (_, value)) in s.fields.iter().enumerate() {
                    if at > 0 {
                        out.push(' ');
                    }
                    value.write(out);
                }
                out.push('}');
            }
            Value::Object(o) => out.push_str(&o.print()),
        }
    }
}

/// A JSON number: whole if it can be.
pub fn number(digits: &str) -> Value {
    match digits.parse::<i64>() {
        Ok(whole) => Value::Int(whole),
        Err(_) => digits.parse::<f64>().map_or_else(|_| Value::Text(digits.to_owned()), Value::Float),
    }
}

/// Go's `%v` of a float: shortest form, with an exponent below 10⁻⁴ and from 10²¹.
pub fn print_float(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        format!("{value}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}
