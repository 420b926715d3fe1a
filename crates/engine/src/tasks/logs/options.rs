//! `--log-driver` and `--log-opt`: what is accepted, in dockerd's texts, and what it comes to.
//!
//! As dockerd, creation checks the names of the options, the start their values. Without `max-size` the bound of
//! this engine holds, as if it stood in the daemon's `log-opts`; `max-size=-1` (Docker's documented default, which
//! dockerd itself refuses) is no bound. A container's own `max-size` is Docker's alone: one file, if no `max-file`
//! says otherwise.

use crate::config::LogConfig;
use crate::error::{Error, Kind, Result};
use crate::state::Record;
use std::collections::BTreeMap;

/// `max-size` where none is given.
pub const DEFAULT_MAX_SIZE: &str = "20m";
/// `max-file` where no `max-size` is given.
pub const DEFAULT_MAX_FILE: &str = "3";

/// No bound.
const UNLIMITED: &str = "-1";
/// dockerd's drivers that this engine does not have.
const FOREIGN_DRIVERS: [&str; 8] =
    ["awslogs", "fluentd", "gcplogs", "gelf", "journald", "local", "splunk", "syslog"];

/// What the options of a json-file log come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonFile {
    pub max_size: Option<u64>,
    pub max_file: u32,
    pub compress: bool,
    /// A JSON object, or nothing.
    pub attrs: String,
}

/// Checks what a container is created with.
pub(crate) fn check(log: &LogConfig) -> Result<()> {
    match log.driver.as_str() {
        // dockerd takes any options of no log.
        "none" => return Ok(()),
        "json-file" | "" => {}
        known if FOREIGN_DRIVERS.contains(&known) => {
            return Err(Error::unsupported(format!("the log driver {known}")));
        }
        other => {
            let text = format!("error looking up logging plugin {other}: plugin \"{other}\" not found");
            return Err(Error::invalid(text));
        }
    }
    let option = |name: &str| log.options.get(name).map(String::as_str);
    let mode = option("mode").unwrap_or_default();
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(Error::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    if let Some(size) = option("max-buffer-size") {
        if mode != "non-blocking" {
            return Err(Error::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ));
        }
        go_size(size, 1024)
            .map_err(|text| Error::invalid(format!("error parsing option max-buffer-size: {text}")))?;
    }
    if let Some(value) = option("cache-disabled")
        && go_bool(value).is_err()
    {
        return Err(Error::invalid(format!("invalid value for option cache-disabled: {value}")));
    }
    for (name, value) in &log.options {
        match name.as_str() {
            "max-size" | "max-file" | "compress" | "labels" | "env" | "tag" | "mode" | "max-buffer-size" => {}
            // For drivers that cannot be read, which these two are not.
            "cache-disabled" | "cache-max-size" | "cache-max-file" | "cache-compress" => {}
            "env-regex" | "labels-regex" if !value.is_empty() => {
                return Err(Error::unsupported(format!("the log option {name}")));
            }
            "env-regex" | "labels-regex" => {}
            other => {
                return Err(Error::invalid(format!("unknown log opt '{other}' for json-file log driver")));
            }
        }
    }
    if let Some(template) = option("tag") {
        Tag::parse(template)?;
    }
    Ok(())
}

/// Reads the options of a container that is about to start.
pub(crate) fn json_file(record: &Record) -> Result<JsonFile> {
    let options = &record.host.log.options;
    let failed = |text: String| {
        let context = "failed to create task for container: failed to initialize logging driver";
        Error::new(Kind::Internal, format!("{context}: {text}"))
    };
    let (max_size, max_file, compress) = bounds(options).map_err(failed)?;
    let attrs = attributes(record)?;
    Ok(JsonFile { max_size, max_file, compress, attrs })
}

fn bounds(options: &BTreeMap<String, String>) -> std::result::Result<(Option<u64>, u32, bool), String> {
    let own = options.get("max-size").map(String::as_str);
    let max_size = match own.unwrap_or(DEFAULT_MAX_SIZE) {
        UNLIMITED => None,
        text => Some(go_size(text, 1000)?)
            .filter(|size| *size > 0)
            .map(Some)
            .ok_or("max-size must be a positive number")?,
    };
    let default = if own.is_none() { DEFAULT_MAX_FILE } else { "1" };
    let text = options.get("max-file").map_or(default, String::as_str);
    let max_file: i64 =
        text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if max_file < 1 {
        return Err("max-file cannot be less than 1".to_string());
    }
    let compress = options.get("compress").map_or(Ok(false), |text| go_bool(text))?;
    if compress && (max_file == 1 || max_size.is_none()) {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_string());
    }
    Ok((max_size, u32::try_from(max_file).unwrap_or(u32::MAX), compress))
}

/// What `labels`, `env` and `tag` put into each entry.
fn attributes(record: &Record) -> Result<String> {
    let options = &record.host.log.options;
    let mut attrs: BTreeMap<&str, String> = BTreeMap::new();
    let words = |name: &str| options.get(name).map(String::as_str).unwrap_or_default().split(',');
    for label in words("labels") {
        if let Some((key, value)) = record.config.labels.get_key_value(label) {
            attrs.insert(key, value.clone());
        }
    }
    for name in words("env") {
        let mut pairs = record.config.env.iter().filter_map(|entry| entry.split_once('='));
        if let Some((key, value)) = pairs.rfind(|(key, _)| *key == name) {
            attrs.insert(key, value.to_string());
        }
    }
    let template = Tag::parse(options.get("tag").map_or("", String::as_str))?;
    let tag = template.fill(record);
    if !tag.is_empty() {
        attrs.insert("tag", tag);
    }
    if attrs.is_empty() {
        return Ok(String::new());
    }
    // As Go's encoder: these occur in a JSON text only within strings.
    let text = crate::state::encode(&attrs)?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// A template of `--log-opt tag`: text, and fields of the container.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a>(Vec<Part<'a>>);

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// Fields of dockerd's `logger.Info` that are known here.
const FIELDS: [&str; 7] = ["ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName"];

impl<'a> Tag<'a> {
    fn parse(template: &'a str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once("{{") {
            parts.push(Part::Text(text));
            let (action, after) = after.split_once("}}").unwrap_or((after, ""));
            match action.trim().strip_prefix('.') {
                Some(field) if FIELDS.contains(&field) => parts.push(Part::Field(field)),
                _ => return Err(Error::unsupported(format!("the log tag {template:?}"))),
            }
            rest = after;
        }
        parts.push(Part::Text(rest));
        Ok(Self(parts))
    }

    fn fill(&self, record: &Record) -> String {
        let short = |id: &str| id.get(..12).unwrap_or(id).to_string();
        let part = |part: &Part<'_>| match part {
            Part::Text(text) => (*text).to_string(),
            Part::Field("ID") => short(&record.id),
            Part::Field("FullID") => record.id.clone(),
            Part::Field("Name") => record.name.clone(),
            Part::Field("ImageID") => short(&record.image_id),
            Part::Field("ImageFullID") => record.image_id.clone(),
            Part::Field("ImageName") => record.config.image.clone(),
            Part::Field(_) => "docker".to_string(),
        };
        self.0.iter().map(part).collect()
    }
}

/// Go's `strconv.ParseBool`.
fn go_bool(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// go-units' sizes: a number, perhaps a space, perhaps a unit (`k`, `kb`, `kib`, …; all the same power of `base`).
pub(crate) fn go_size(text: &str, base: u64) -> std::result::Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' ')).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let value: f64 =
        number.parse().map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if value < 0.0 {
        return Err(invalid());
    }
    let lower = unit.to_ascii_lowercase();
    let bad = || format!("invalid suffix: '{lower}'");
    let power = match lower.as_bytes() {
        [] | [b'b'] => 0,
        [letter] | [letter, b'b'] | [letter, b'i', b'b'] => {
            1 + "kmgtp".find(char::from(*letter)).ok_or_else(bad)? as i32
        }
        _ => return Err(bad()),
    };
    Ok((value * (base as f64).powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
    }

    #[test]
    fn creation_checks_names() {
        let json = |list: &[(&str, &str)]| LogConfig { driver: "json-file".into(), options: options(list) };
        let driver = |name: &str| LogConfig { driver: name.into(), options: options(&[("x", "1")]) };
        for (log, expected) in [
            (json(&[]), ""),
            (json(&[("max-size", "abc"), ("max-file", "-1"), ("compress", "maybe")]), ""),
            (json(&[("labels", "a"), ("env", "b"), ("tag", "x{{.Name}}/{{ .ID }}")]), ""),
            (json(&[("mode", "non-blocking"), ("max-buffer-size", "1m")]), ""),
            (json(&[("x", "1")]), "unknown log opt 'x' for json-file log driver"),
            (json(&[("mode", "nope")]), "logger: logging mode not supported: nope"),
            (
                json(&[("max-buffer-size", "1m")]),
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                json(&[("mode", "non-blocking"), ("max-buffer-size", "abc")]),
                "error parsing option max-buffer-size: invalid size: 'abc'",
            ),
            (json(&[("cache-disabled", "foo")]), "invalid value for option cache-disabled: foo"),
            (json(&[("env-regex", "^x")]), "the log option env-regex is not supported yet"),
            (json(&[("tag", "{{len .ID}}")]), "the log tag \"{{len .ID}}\" is not supported yet"),
            (driver("none"), ""),
            (driver("nope"), "error looking up logging plugin nope: plugin \"nope\" not found"),
            (driver("syslog"), "the log driver syslog is not supported yet"),
        ] {
            let got = check(&log).map_or_else(|e| e.message, |()| String::new());
            assert_eq!(got, expected, "{log:?}");
        }
    }

    #[test]
    fn the_start_reads_values() {
        for (list, expected) in [
            (&[][..], Ok((Some(20_000_000), 3, false))),
            (&[("max-size", "10m")], Ok((Some(10_000_000), 1, false))),
            (&[("max-size", "1.5k"), ("max-file", "7")], Ok((Some(1500), 7, false))),
            (&[("max-size", "1 KiB"), ("max-file", "2"), ("compress", "T")], Ok((Some(1000), 2, true))),
            (&[("max-size", "-1")], Ok((None, 1, false))),
            (&[("max-file", "5")], Ok((Some(20_000_000), 5, false))),
            (&[("compress", "true")], Ok((Some(20_000_000), 3, true))),
            (&[("max-size", "abc")], Err("invalid size: 'abc'")),
            (&[("max-size", "")], Err("invalid size: ''")),
            (&[("max-size", "-5")], Err("invalid size: '-5'")),
            (&[("max-size", "0")], Err("max-size must be a positive number")),
            (&[("max-size", "10mx")], Err("invalid suffix: 'mx'")),
            (&[("max-size", "1.2.3m")], Err("strconv.ParseFloat: parsing \"1.2.3\": invalid syntax")),
            (&[("max-file", "abc")], Err("strconv.Atoi: parsing \"abc\": invalid syntax")),
            (&[("max-file", "0")], Err("max-file cannot be less than 1")),
            (&[("compress", "maybe")], Err("strconv.ParseBool: parsing \"maybe\": invalid syntax")),
            (
                &[("compress", "true"), ("max-size", "1m")],
                Err("compress cannot be true when max-file is less than 2 or max-size is not set"),
            ),
        ] {
            assert_eq!(bounds(&options(list)), expected.map_err(str::to_string), "{list:?}");
        }
    }
}
