//! Lists as Docker prints them: a format, a header and rows.
//!
//! `table TEMPLATE` prints a header and aligned columns, `json` one object a line, `raw` Docker's
//! `key: value` lines, and anything else is a template run for each row.

pub mod containers;
pub mod history;
pub mod images;
pub mod networks;
pub mod stats;
pub mod tree;
pub mod usage;
pub mod volumes;

use std::rc::Rc;

use crate::table;
use crate::template::{Mode, Object, Template, Value};

/// Docker's columns: at least this wide, so much after the widest cell.
const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Prints rows in a format; the error is Docker's text.
pub fn print(
    format: &str,
    headers: &'static [(&'static str, &'static str)],
    rows: &[Value],
) -> Result<String, String> {
    let is_table = format.starts_with("table");
    let source = match format {
        "json" => "{{json .}}".to_owned(),
        _ if is_table => format["table".len()..].to_owned(),
        _ => format.to_owned(),
    };
    let source = source.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
    let wrong = |e| format!("template parsing error: {e}");
    let template = Template::parse("", &source).map_err(wrong)?;
    let mut body = String::new();
    for row in rows {
        body.push_str(&template.run(row).map_err(wrong)?);
        body.push('\n');
    }
    if !is_table {
        return Ok(body);
    }
    let mode = Mode { headers: true, ..Mode::default() };
    // Docker ignores a header that does not run: its rows have told what is wrong.
    let header = template.run_with(&Value::Object(Rc::new(Header(headers))), mode).unwrap_or_default();
    Ok(table::columns(&format!("{header}\n{body}"), MIN_WIDTH, PADDING))
}

/// The header's cells by field.
struct Header(&'static [(&'static str, &'static str)]);

impl Object for Header {
    fn type_name(&self) -> &'static str {
        "formatter.SubHeaderContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        if let ("Label", [Value::Text(label)]) = (name, args) {
            let last = label.rsplit('.').next().unwrap_or(label);
            return Some(Ok(last.replace(['-', '_'], " ").into()));
        }
        let cell = self.0.iter().find(|(field, _)| *field == name).map_or("", |(_, cell)| cell);
        Some(Ok(cell.into()))
    }
    fn names(&self) -> &'static [&'static str] {
        &[]
    }
}

/// An id without its algorithm, twelve digits long.
pub fn short_id(id: &str) -> String {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.chars().take(12).collect()
}
