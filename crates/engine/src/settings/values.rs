//! Values of settings: from JSON and from the command line into one checked form, and shown as Go shows them.
//!
//! The form is JSON's: what stands in the file is kept as it is once its type is right; a flag's text becomes the
//! same value. The texts are those of Go's decoder and of pflag.

use super::keys::{Key, Kind};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Takes a value of the file; `None` for `null`, which says nothing.
pub(super) fn from_file(key: &Key, value: &Value) -> Result<Option<Value>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let place = key.name;
    match key.kind {
        Kind::Switch => typed(value, place, "bool")?,
        Kind::Number => typed(value, place, "int")?,
        Kind::Text => typed(value, place, "string")?,
        Kind::List => each(value, place, "string")?,
        Kind::Map => named(value, place, "string")?,
        Kind::Switches => named(value, place, "bool")?,
        Kind::Maps => {
            for (name, inner) in object(value, place, "map[string]map[string]string")? {
                named(inner, &format!("{place}.{name}"), "string")?;
            }
        }
        Kind::Bytes => match value.as_str() {
            Some(text) => return bytes(text).map(|n| Some(n.into())),
            None => return Err(format!("invalid size: \"{value}\"")),
        },
        Kind::Address => {
            typed(value, place, "string")?;
            return match value.as_str().unwrap_or_default() {
                "" => Ok(None),
                text => address(text).map(|_| Some(value.clone())),
            };
        }
        Kind::Addresses => {
            each(value, place, "string")?;
            texts(value).try_for_each(|text| address(text).map(|_| ()))?;
        }
        Kind::Pools => pools(value, place)?,
        Kind::Runtimes => {
            for (name, inner) in object(value, place, "map[string]system.Runtime")? {
                object(inner, &format!("{place}.{name}"), "system.Runtime")?;
            }
        }
        Kind::Ulimits => return ulimits(value, place).map(Some),
    }
    Ok(Some(value.clone()))
}

/// Takes a flag's text; `before` is what the same flag said already.
pub fn from_flag(key: &Key, text: &str, before: Option<&Value>) -> Result<Value, String> {
    let append = |value: Value| {
        let mut list = before.and_then(Value::as_array).cloned().unwrap_or_default();
        list.push(value);
        Ok(Value::Array(list))
    };
    let insert = |name: &str, value: Value| {
        let mut map = before.and_then(Value::as_object).cloned().unwrap_or_default();
        map.insert(name.to_string(), value);
        Ok(Value::Object(map))
    };
    match key.kind {
        Kind::Switch => switch(text).map(Value::Bool),
        Kind::Number => match text.parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
        },
        Kind::Text => Ok(text.into()),
        Kind::Bytes => bytes(text).map(Value::from),
        Kind::Address => match text.trim().parse::<IpAddr>() {
            Ok(_) => Ok(text.trim().into()),
            Err(_) => Err(format!("failed to parse IP: {text:?}")),
        },
        Kind::Addresses if key.name == "dns" => {
            let mut all = before.and_then(Value::as_array).cloned().unwrap_or_default();
            for one in text.split(',') {
                address(one.trim())
                    .map_err(|_| format!("invalid string being converted to IP address: {one}"))?;
                all.push(one.trim().into());
            }
            Ok(Value::Array(all))
        }
        Kind::Addresses => {
            address(text).map_err(|_| format!("ParseAddr({text:?}): unable to parse IP"))?;
            append(text.into())
        }
        Kind::List => {
            super::check::element(key.name, text)?;
            append(text.into())
        }
        Kind::Map => {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            insert(name, value.into())
        }
        Kind::Switches => {
            let (name, value) = text.split_once('=').unwrap_or((text, "true"));
            insert(name, switch(value)?.into())
        }
        Kind::Maps => {
            let mut parts = text.splitn(3, '=');
            let (Some(root), Some(name), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(format!("invalid value {text:?} for map option, should be root-key=key=value"));
            };
            let mut inner = before.and_then(|b| b.get(root)?.as_object().cloned()).unwrap_or_default();
            inner.insert(name.to_string(), value.into());
            insert(root, inner.into())
        }
        Kind::Pools => append(pool_of_flag(text)?),
        Kind::Runtimes => {
            runtime_of_flag(text, before).and_then(|name| insert(&name.0, json!({"path": name.1})))
        }
        Kind::Ulimits => {
            let (name, value) = ulimit_of_flag(text)?;
            insert(&name, value)
        }
    }
}

/// A value as Go's `%v` has it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(shown).collect();
            format!("[{}]", list.join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", shown(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Null => "<nil>".to_string(),
        other => other.to_string(),
    }
}

/// The texts of a list.
pub(super) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn typed(value: &Value, place: &str, wanted: &str) -> Result<(), String> {
    let fits = match wanted {
        "bool" => value.is_boolean(),
        "int" => value.is_i64(),
        _ => value.is_string(),
    };
    if fits { Ok(()) } else { Err(mismatch(value, place, wanted)) }
}

fn mismatch(value: &Value, place: &str, wanted: &str) -> String {
    let got = match value {
        Value::Bool(_) => "bool".to_string(),
        Value::Number(number) if wanted == "int" => format!("number {number}"),
        Value::Number(_) => "number".to_string(),
        Value::String(_) => "string".to_string(),
        Value::Array(_) => "array".to_string(),
        _ => "object".to_string(),
    };
    format!("json: cannot unmarshal {got} into Go struct field Config.{place} of type {wanted}")
}

fn each(value: &Value, place: &str, wanted: &str) -> Result<(), String> {
    let list = value.as_array().ok_or_else(|| mismatch(value, place, &format!("[]{wanted}")))?;
    list.iter().try_for_each(|one| typed(one, place, wanted))
}

fn object<'v>(value: &'v Value, place: &str, wanted: &str) -> Result<&'v Map<String, Value>, String> {
    value.as_object().ok_or_else(|| mismatch(value, place, wanted))
}

fn named(value: &Value, place: &str, wanted: &str) -> Result<(), String> {
    let map = object(value, place, &format!("map[string]{wanted}"))?;
    map.iter().try_for_each(|(name, one)| typed(one, &format!("{place}.{name}"), wanted))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("invalid IP address: {text}"))
}

/// Go's `strconv.ParseBool`.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    crate::tasks::go_size(text, 1024)
}

fn pools(value: &Value, place: &str) -> Result<(), String> {
    let list = value.as_array().ok_or_else(|| mismatch(value, place, "[]*ipamutils.NetworkToSplit"))?;
    for pool in list {
        let fields = object(pool, place, "ipamutils.NetworkToSplit")?;
        let base = fields.get("base").unwrap_or(&Value::Null);
        typed(base, &format!("{place}.base"), "string")?;
        typed(fields.get("size").unwrap_or(&Value::Null), &format!("{place}.size"), "int")?;
        prefix(base.as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// An address with its length, in the words of Go's `netip`.
fn prefix(text: &str) -> Result<(), String> {
    let failed = |why: String| Err(format!("netip.ParsePrefix({text:?}): {why}"));
    let Some((address, bits)) = text.split_once('/') else { return failed("no '/'".into()) };
    let Ok(address) = address.parse::<IpAddr>() else {
        return failed(format!("ParseAddr({address:?}): unable to parse IP"));
    };
    match bits.parse::<u8>() {
        Ok(bits) if bits <= if address.is_ipv4() { 32 } else { 128 } => Ok(()),
        Ok(_) => failed("prefix length out of range".into()),
        Err(_) => failed(format!("bad bits after slash: {bits:?}")),
    }
}

fn pool_of_flag(text: &str) -> Result<Value, String> {
    let (mut base, mut size) = (String::new(), None);
    for field in text.split(',') {
        let Some((name, value)) = field.split_once('=') else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        match name.to_lowercase().as_str() {
            "base" => {
                prefix(value).map_err(|why| format!("invalid base prefix {value:?}: {why}"))?;
                base = value.to_string();
            }
            "size" => {
                let number: i64 = value.parse().map_err(|_| {
                    format!("invalid size value: {value:?} (must be integer): strconv.Atoi: parsing {value:?}: invalid syntax")
                })?;
                size = Some(number);
            }
            _ => return Err(format!("unexpected key '{name}' in '{field}'")),
        }
    }
    Ok(json!({"base": base, "size": size.unwrap_or(0)}))
}

fn runtime_of_flag(text: &str, before: Option<&Value>) -> Result<(String, String), String> {
    let Some((name, path)) = text.split_once('=') else {
        return Err(format!("invalid runtime argument: {text}"));
    };
    let (name, path) = (name.trim().to_lowercase(), path.trim());
    if name.is_empty() || path.is_empty() {
        return Err(format!("invalid runtime argument: {text}"));
    }
    if name == "runc" {
        return Err(format!("runtime name '{name}' is reserved"));
    }
    if before.is_some_and(|map| map.get(&name).is_some()) {
        return Err(format!("runtime '{name}' was already defined"));
    }
    Ok((name, path.to_string()))
}

/// Go matches the names of fields in any case.
fn ulimits(value: &Value, place: &str) -> Result<Value, String> {
    let mut all = Map::new();
    for (name, fields) in object(value, place, "map[string]*container.Ulimit")? {
        let fields = object(fields, &format!("{place}.{name}"), "container.Ulimit")?;
        let (mut of, mut soft, mut hard) = (name.clone(), 0, 0);
        for (field, value) in fields {
            let place = format!("{place}.{name}.{field}");
            match field.to_lowercase().as_str() {
                "name" => {
                    typed(value, &place, "string")?;
                    of = value.as_str().unwrap_or_default().to_string();
                }
                "soft" | "hard" => {
                    typed(value, &place, "int")?;
                    let number = value.as_i64().unwrap_or_default();
                    if field.eq_ignore_ascii_case("soft") { soft = number } else { hard = number }
                }
                _ => {}
            }
        }
        all.insert(of, json!({"soft": soft, "hard": hard}));
    }
    Ok(all.into())
}

fn ulimit_of_flag(text: &str) -> Result<(String, Value), String> {
    let invalid = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "unlimited" => Ok(-1),
        text => text.parse::<i64>().map_err(|_| invalid()),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok((name.to_string(), json!({"soft": soft, "hard": hard})))
}
