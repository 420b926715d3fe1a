//! Go's rules for structs in JSON, which Docker's clients rely on.
//!
//! *Decoding*: a key matches a field exactly or else without regard to case; unknown keys are ignored; `null`
//! leaves a plain field as it is and empties a list, map or pointer; a key given twice is merged into what the
//! first one left. *Encoding*: fields in declaration order, with Go's zero values, maps sorted, `omitempty`
//! where Go's tag says so. How Go types are spelt here:
//!
//! | Go | here |
//! |---|---|
//! | `[]T` that may be nil (`null`) | `Option<Vec<T>>` |
//! | `map[string]T` that may be nil | `Option<BTreeMap<String, T>>` |
//! | `*T` | `Option<T>` |
//! | `struct{}` | [`Empty`] |
//! | `any` | [`Json`] |
//!
//! [`go_struct!`](crate::go_struct) declares a struct with these rules. This file does not know Docker's types.

mod option;

use std::collections::BTreeMap;

use crate::json::{Json, into_text, write_string};

/// A value of the wrong kind, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// What was found: `string`, `number 1.5`, …
    pub found: String,
    /// The fields from the outermost struct down, joined by dots.
    pub field: String,
    /// The Go type that was wanted.
    pub wanted: String,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "json: cannot unmarshal {} into Go ", self.found)?;
        // The reference is built with Go 1.27, which no longer names the struct before the dot.
        if self.field.is_empty() {
            write!(f, "value of type {}", self.wanted)
        } else {
            write!(f, "struct field .{} of type {}", self.field, self.wanted)
        }
    }
}

impl std::error::Error for DecodeError {}

/// Where decoding stands, for error texts.
#[derive(Debug, Default)]
pub struct At {
    fields: Vec<&'static str>,
}

impl At {
    /// The error for `found` where `T` was wanted.
    pub fn mismatch<T: Go>(&self, found: &Json) -> DecodeError {
        self.error(found.kind().to_owned(), T::type_name())
    }

    fn error(&self, found: String, wanted: String) -> DecodeError {
        DecodeError { found, field: self.fields.join("."), wanted }
    }

    /// Runs `f` one field further down.
    pub fn field(
        &mut self,
        name: &'static str,
        f: impl FnOnce(&mut At) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.fields.push(name);
        f(self)?;
        self.fields.pop();
        Ok(())
    }
}

/// A field's two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The Go name, which `--format` templates use.
    pub go: &'static str,
    /// The JSON name.
    pub json: &'static str,
}

/// A value that Go's `encoding/json` could read and write.
pub trait Go: Default {
    /// Decodes `value` into what is there already.
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError>;
    /// Appends the compact JSON form.
    fn write(&self, out: &mut Vec<u8>);
    /// Whether `omitempty` leaves it out when it is a field.
    fn is_zero(&self) -> bool;
    /// Whether it is an empty list, map or text: what a pointer to it is *not* asked about.
    fn is_empty_collection(&self) -> bool {
        false
    }
    /// The value with Go's field names and every field present, for templates.
    fn to_go(&self) -> Json;
    /// The Go type, as errors print it.
    fn type_name() -> String;
}

/// A struct declared by [`go_struct!`](crate::go_struct).
pub trait Struct: Go {
    /// The Go name with its package: `container.Config`.
    const NAME: &'static str;
    /// The fields in order.
    const FIELDS: &'static [Field];
    /// Decodes `value` into the field with the JSON name `name`, which is one of [`Struct::FIELDS`].
    fn merge_field(&mut self, name: &'static str, value: Json, at: &mut At) -> Result<(), DecodeError>;
    /// Writes the fields between the braces.
    fn write_fields(&self, writer: &mut FieldWriter<'_>);
}

/// Writes `"key":value` pairs with commas between them.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> FieldWriter<'a> {
    /// A writer that has written no pair yet; the caller writes the braces.
    pub fn new(out: &'a mut Vec<u8>) -> FieldWriter<'a> {
        FieldWriter { out, first: true }
    }

    /// Writes one pair, unless it is zero and `omit_empty`.
    pub fn pair<T: Go>(&mut self, name: &'static str, value: &T, omit_empty: bool) {
        if omit_empty && value.is_zero() {
            return;
        }
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        // Field names are plain words: nothing to escape.
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value.write(self.out);
    }
}

/// Decodes `text`, which must hold one value and nothing else.
pub fn decode<T: Go>(text: &[u8]) -> Result<T, crate::Error> {
    Ok(decode_json(Json::parse(text)?)?)
}

/// Decodes a value that is parsed already.
pub fn decode_json<T: Go>(value: Json) -> Result<T, DecodeError> {
    let mut out = T::default();
    out.merge(value, &mut At::default())?;
    Ok(out)
}

/// The compact JSON form.
pub fn encode<T: Go>(value: &T) -> String {
    let mut out = Vec::new();
    value.write(&mut out);
    into_text(out)
}

/// The compact form with Go's newline at the end, as `json.Encoder` writes it.
pub fn encode_line<T: Go>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out.push(b'\n');
    out
}

/// The field a key stands for: the exact one, else the first that differs only in case.
pub fn find_field(fields: &'static [Field], key: &str) -> Option<&'static str> {
    let exact = fields.iter().find(|f| f.json == key);
    exact.or_else(|| fields.iter().find(|f| folds_to(f.json, key))).map(|f| f.json)
}

/// Whether `key` is `name` but for case. Go folds by Unicode; field names are ASCII, so beside A–Z only U+017F
/// (long s) and U+212A (kelvin) can fold to a letter of theirs.
pub fn folds_to(name: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

/// Decodes an object into a struct.
pub fn merge_struct<T: Struct>(target: &mut T, value: Json, at: &mut At) -> Result<(), DecodeError> {
    match value {
        Json::Null => Ok(()),
        Json::Object(pairs) => {
            for (key, value) in pairs {
                if let Some(name) = find_field(T::FIELDS, &key) {
                    at.field(name, |at| target.merge_field(name, value, at))?;
                }
            }
            Ok(())
        }
        other => Err(at.mismatch::<T>(&other)),
    }
}

/// Declares a struct with Go's JSON rules: `field: Type => "JsonName"`, then `omitempty` if Go has it, and
/// `("GoName")` where Go's name differs from the JSON name.
#[macro_export]
macro_rules! go_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident = $go_type:literal {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty => $json:literal $($omit:ident)? $(($go:literal))?,
            )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("`", $json, "`")]
                pub $field: $type,
            )*
        }

        impl $crate::go::Struct for $name {
            const NAME: &'static str = $go_type;
            const FIELDS: &'static [$crate::go::Field] = &[$(
                $crate::go::Field { json: $json, go: $crate::go_struct!(@go $json $($go)?) },
            )*];

            fn merge_field(
                &mut self,
                name: &'static str,
                value: $crate::json::Json,
                at: &mut $crate::go::At,
            ) -> Result<(), $crate::go::DecodeError> {
                match name {
                    $($json => $crate::go::Go::merge(&mut self.$field, value, at),)*
                    _ => Ok(()),
                }
            }

            fn write_fields(&self, writer: &mut $crate::go::FieldWriter<'_>) {
                $(writer.pair($json, &self.$field, $crate::go_struct!(@omit $($omit)?));)*
            }
        }

        impl $crate::go::Go for $name {
            fn merge(
                &mut self,
                value: $crate::json::Json,
                at: &mut $crate::go::At,
            ) -> Result<(), $crate::go::DecodeError> {
                $crate::go::merge_struct(self, value, at)
            }

            fn write(&self, out: &mut Vec<u8>) {
                out.push(b'{');
                $crate::go::Struct::write_fields(self, &mut $crate::go::FieldWriter::new(out));
                out.push(b'}');
            }

            // Go's omitempty never leaves out a struct.
            fn is_zero(&self) -> bool {
                false
            }

            fn to_go(&self) -> $crate::json::Json {
                $crate::json::Json::Object(vec![$((
                    $crate::go_struct!(@go $json $($go)?).to_owned(),
                    $crate::go::Go::to_go(&self.$field),
                ),)*])
            }

            fn type_name() -> String {
                $go_type.to_owned()
            }
        }
    )*};
    (@go $json:literal) => { $json };
    (@go $json:literal $go:literal) => { $go };
    (@omit) => { false };
    (@omit omitempty) => { true };
}

/// Go's `struct{}`: the value of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Empty;

impl Go for Empty {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        match value {
            Json::Null | Json::Object(_) => Ok(()),
            other => Err(at.mismatch::<Self>(&other)),
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{}");
    }
    fn is_zero(&self) -> bool {
        false
    }
    fn to_go(&self) -> Json {
        Json::Object(Vec::new())
    }
    fn type_name() -> String {
        "struct {}".to_owned()
    }
}

/// Docker's list of words that may also be given as one string (`strslice.StrSlice`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StrSlice(pub Option<Vec<String>>);

impl StrSlice {
    /// The words; none when it is `null`.
    pub fn words(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<String>> for StrSlice {
    fn from(words: Vec<String>) -> StrSlice {
        StrSlice(Some(words))
    }
}

impl Go for StrSlice {
    fn merge(&mut self, value: Json, _: &mut At) -> Result<(), DecodeError> {
        // Its own decoder in Go, which starts anew: the error names no field.
        let mut at = At::default();
        match value {
            Json::String(word) => {
                self.0 = Some(vec![word]);
                Ok(())
            }
            Json::Null => {
                self.0 = None;
                Ok(())
            }
            // Go tries a list, then a string, and tells why it is no string.
            Json::Array(_) => {
                let mut words = Vec::new();
                words.merge(value, &mut at).map_err(|_| at.error("array".to_owned(), "string".to_owned()))?;
                self.0 = Some(words);
                Ok(())
            }
            other => Err(at.error(other.kind().to_owned(), "string".to_owned())),
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
    fn to_go(&self) -> Json {
        self.0.to_go()
    }
    fn type_name() -> String {
        "strslice.StrSlice".to_owned()
    }
}

impl Go for Json {
    fn merge(&mut self, value: Json, _: &mut At) -> Result<(), DecodeError> {
        *self = value;
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        Json::write(self, out);
    }
    fn is_zero(&self) -> bool {
        matches!(self, Json::Null)
    }
    fn to_go(&self) -> Json {
        self.clone()
    }
    fn type_name() -> String {
        "interface {}".to_owned()
    }
}

impl Go for bool {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        match value {
            Json::Null => {}
            Json::Bool(b) => *self = b,
            other => return Err(at.mismatch::<Self>(&other)),
        }
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
    fn is_zero(&self) -> bool {
        !*self
    }
    fn to_go(&self) -> Json {
        Json::Bool(*self)
    }
    fn type_name() -> String {
        "bool".to_owned()
    }
}

impl Go for String {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        match value {
            Json::Null => {}
            Json::String(text) => *self = text,
            other => return Err(at.mismatch::<Self>(&other)),
        }
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_string(self, out);
    }
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    fn to_go(&self) -> Json {
        Json::String(self.clone())
    }
    fn type_name() -> String {
        "string".to_owned()
    }
}

macro_rules! go_integer {
    ($($type:ty = $name:literal),*) => {$(
        impl Go for $type {
            fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
                match value {
                    Json::Null => {}
                    Json::Number(digits) => match digits.parse() {
                        Ok(number) => *self = number,
                        Err(_) => return Err(at.error(format!("number {digits}"), $name.to_owned())),
                    },
                    other => return Err(at.mismatch::<Self>(&other)),
                }
                Ok(())
            }
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.to_string().as_bytes());
            }
            fn is_zero(&self) -> bool {
                *self == 0
            }
            fn to_go(&self) -> Json {
                Json::Number(self.to_string())
            }
            fn type_name() -> String {
                $name.to_owned()
            }
        }
    )*};
}

// Go's `int` is `isize` here, so that its name in errors is right.
go_integer!(i64 = "int64", isize = "int", u16 = "uint16", u32 = "uint32", u64 = "uint64", usize = "uint");

impl<T: Go> Go for Vec<T> {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        match value {
            Json::Null => self.clear(),
            Json::Array(items) => {
                // Go decodes into the elements that are there and cuts the rest.
                self.truncate(items.len());
                for (i, item) in items.into_iter().enumerate() {
                    if i == self.len() {
                        self.push(T::default());
                    }
                    self[i].merge(item, at)?;
                }
            }
            other => return Err(at.mismatch::<Self>(&other)),
        }
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (i, item) in self.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            item.write(out);
        }
        out.push(b']');
    }
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    fn is_empty_collection(&self) -> bool {
        self.is_empty()
    }
    fn to_go(&self) -> Json {
        Json::Array(self.iter().map(Go::to_go).collect())
    }
    fn type_name() -> String {
        format!("[]{}", T::type_name())
    }
}

impl<T: Go> Go for [T; 2] {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        match value {
            Json::Null => {}
            Json::Array(items) => {
                let mut items = items.into_iter();
                for slot in self.iter_mut() {
                    match items.next() {
                        Some(item) => slot.merge(item, at)?,
                        None => *slot = T::default(),
                    }
                }
            }
            other => return Err(at.mismatch::<Self>(&other)),
        }
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        self[0].write(out);
        out.push(b',');
        self[1].write(out);
        out.push(b']');
    }
    fn is_zero(&self) -> bool {
        false
    }
    fn to_go(&self) -> Json {
        Json::Array(self.iter().map(Go::to_go).collect())
    }
    fn type_name() -> String {
        format!("[2]{}", T::type_name())
    }
}

impl<T: Go> Go for BTreeMap<String, T> {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        match value {
            Json::Null => self.clear(),
            Json::Object(pairs) => {
                for (key, value) in pairs {
                    // A map's element starts at zero even when the key is there already.
                    let mut element = T::default();
                    element.merge(value, at)?;
                    self.insert(key, element);
                }
            }
            other => return Err(at.mismatch::<Self>(&other)),
        }
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (i, (key, value)) in self.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_string(key, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    fn is_empty_collection(&self) -> bool {
        self.is_empty()
    }
    fn to_go(&self) -> Json {
        Json::Object(self.iter().map(|(key, value)| (key.clone(), value.to_go())).collect())
    }
    fn type_name() -> String {
        format!("map[string]{}", T::type_name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    go_struct! {
        /// Every kind of field.
        pub struct Sample = "pkg.Sample" {
            id: String => "Id" ("ID"),
            count: i64 => "Count" omitempty,
            list: Option<Vec<String>> => "List",
            quiet: Option<Vec<String>> => "Quiet" omitempty,
            flag: Option<bool> => "Flag" omitempty,
            words: StrSlice => "Words",
            set: Option<BTreeMap<String, Empty>> => "Set",
            inner: Inner => "Inner",
            pointer: Option<Inner> => "Pointer",
            size: [u64; 2] => "Size",
        }
        /// A nested one.
        pub struct Inner = "pkg.Inner" {
            memory: i64 => "Memory",
            kk: u16 => "Kſ",
        }
    }

    const ZERO: &str = r#"{"Id":"","List":null,"Words":null,"Set":null,"Inner":{"Memory":0,"Kſ":0},"Pointer":null,"Size":[0,0]}"#;

    #[test]
    fn zero_values_and_order() {
        assert_eq!(encode(&Sample::default()), ZERO);
    }

    #[test]
    fn decoding_follows_gos_rules() {
        for (text, expected) in [
            // Case does not matter, the exact key wins only by being last or first as any other.
            (r#"{"ID":"a"}"#, r#""Id":"a""#),
            (r#"{"iD":"a","Id":"b"}"#, r#""Id":"b""#),
            // null leaves plain fields, empties lists and pointers.
            (r#"{"Id":"a","Id":null}"#, r#""Id":"a""#),
            (r#"{"List":["a"],"List":null}"#, r#""List":null"#),
            (r#"{"List":[]}"#, r#""List":[]"#),
            (r#"{"Pointer":{"Memory":1},"Pointer":null}"#, r#""Pointer":null"#),
            // A struct given twice is merged; unknown keys are ignored.
            (r#"{"Inner":{"Memory":1},"inner":{"kS":2},"x":[{}]}"#, r#""Inner":{"Memory":1,"Kſ":2}"#),
            // One string for a list of words.
            (r#"{"Words":"a b"}"#, r#""Words":["a b"]"#),
            (r#"{"Words":["a",null]}"#, r#""Words":["a",""]"#),
            (r#"{"Words":[]}"#, r#""Words":[]"#),
            (r#"{"Set":{"80/tcp":{},"a":null}}"#, r#""Set":{"80/tcp":{},"a":{}}"#),
            (r#"{"Flag":false}"#, r#""Flag":false"#),
            (r#"{"Size":[3]}"#, r#""Size":[3,0]"#),
            (r#"{"Size":[3,4,5]}"#, r#""Size":[3,4]"#),
            ("null", r#""Id":"""#),
        ] {
            let sample: Sample = decode(text.as_bytes()).unwrap();
            let out = encode(&sample);
            assert!(out.contains(expected), "{text}: {out}");
        }
    }

    #[test]
    fn mismatches_read_like_gos() {
        for (text, expected) in [
            (r#"{"Id":1}"#, "json: cannot unmarshal number into Go struct field .Id of type string"),
            (r#"{"count":"1"}"#, "json: cannot unmarshal string into Go struct field .Count of type int64"),
            (
                r#"{"Count":1.5}"#,
                "json: cannot unmarshal number 1.5 into Go struct field .Count of type int64",
            ),
            (
                r#"{"Inner":{"Memory":true}}"#,
                "json: cannot unmarshal bool into Go struct field .Inner.Memory of type int64",
            ),
            (
                r#"{"Inner":{"Memory":1},"Pointer":[]}"#,
                "json: cannot unmarshal array into Go struct field .Pointer of type pkg.Inner",
            ),
            (r#"{"List":"a"}"#, "json: cannot unmarshal string into Go struct field .List of type []string"),
            (r#"{"Words":1}"#, "json: cannot unmarshal number into Go value of type string"),
            (r#"{"Words":["a",1]}"#, "json: cannot unmarshal array into Go value of type string"),
            ("[]", "json: cannot unmarshal array into Go value of type pkg.Sample"),
        ] {
            let error = decode::<Sample>(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn templates_see_gos_names_and_every_field() {
        let go = Sample { id: "x".into(), ..Sample::default() }.to_go();
        assert_eq!(go.get("ID"), Some(&Json::from("x")));
        assert_eq!(go.get("Count"), Some(&Json::from(0)));
        assert_eq!(go.get("Id"), None);
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i64>().prop_map(Json::from),
            ".*".prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
                prop::collection::vec((".*", inner), 0..6).prop_map(Json::Object),
            ]
        })
    }

    fn any_sample() -> impl Strategy<Value = Sample> {
        (
            ".*",
            any::<i64>(),
            prop::option::of(prop::collection::vec(".*", 0..4)),
            prop::option::of(any::<bool>()),
            prop::option::of(prop::collection::vec(".*", 0..4)),
            prop::option::of(prop::collection::btree_map(".*", Just(Empty), 0..4)),
            prop::option::of((any::<i64>(), any::<u16>())),
            any::<[u64; 2]>(),
        )
            .prop_map(|(id, count, list, flag, words, set, inner, size)| Sample {
                id,
                count,
                list,
                quiet: None,
                flag,
                words: StrSlice(words),
                set,
                inner: Inner::default(),
                pointer: inner.map(|(memory, kk)| Inner { memory, kk }),
                size,
            })
    }

    proptest! {
        #[test]
        fn json_round_trips_and_agrees_with_serde(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(&Json::parse(text.as_bytes()).unwrap(), &value);
            prop_assert_eq!(&Json::parse(value.to_indented("  ").as_bytes()).unwrap(), &value);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }

        #[test]
        fn accepts_exactly_what_serde_accepts(text in "[\\[\\]{}\",:a0-9.eE+\\- \\\\utrnlfs]{0,24}") {
            let ours = Json::parse(text.as_bytes());
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            // serde_json refuses lone surrogates and numbers beyond f64; the alphabet makes neither likely.
            let excused = text.contains("\\u") || text.contains('e') || text.contains('E');
            prop_assert!(excused || ours.is_ok() == theirs.is_ok(), "{:?} {:?}", ours, theirs);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
        }

        #[test]
        fn structs_round_trip(sample in any_sample()) {
            let back: Sample = decode(encode(&sample).as_bytes()).unwrap();
            prop_assert_eq!(back, sample);
        }

        #[test]
        fn any_json_decodes_or_is_refused(value in any_json()) {
            let _ = decode_json::<Sample>(value);
        }
    }
}
