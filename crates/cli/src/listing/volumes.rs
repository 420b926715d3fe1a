//! Rows of `volume ls`.

use std::cmp::Ordering;

use api::volume::Volume;

use crate::template::{Object, Value, plain};
use crate::units::human_size;

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Group", "GROUP"),
    ("Availability", "AVAILABILITY"),
    ("Status", "STATUS"),
];

/// The format of `--cluster`.
pub const CLUSTER: &str = "table {{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}";

/// The format that options stand for.
pub fn format(given: &str, quiet: bool) -> String {
    match given {
        "table" if quiet => "{{.Name}}".to_owned(),
        "table" => "table {{.Driver}}\t{{.Name}}".to_owned(),
        "raw" if quiet => "name: {{.Name}}".to_owned(),
        "raw" => "name: {{.Name}}\ndriver: {{.Driver}}\n".to_owned(),
        given => given.to_owned(),
    }
}

/// Numbers in names are compared as numbers.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (first, second) = (digits(a), digits(b));
            let (value, other) = (trimmed(first), trimmed(second));
            // The same number with more zeros in front comes later.
            let order = value.len().cmp(&other.len()).then(value.cmp(other));
            let order = order.then(first.len().cmp(&second.len()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[first.len()..], &b[second.len()..]);
        } else if x == y {
            (a, b) = (&a[1..], &b[1..]);
        } else {
            return x.cmp(y);
        }
    }
}

fn digits(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

fn trimmed(digits: &[u8]) -> &[u8] {
    let start = digits.iter().position(|b| *b != b'0').unwrap_or(digits.len());
    &digits[start..]
}

/// A volume as a row.
pub struct Row(pub Volume);

impl Row {
    fn text(&self, name: &str) -> Option<String> {
        let unknown = || "N/A".to_owned();
        let usage = self.0.usage_data.as_ref();
        Some(match name {
            "Name" => self.0.name.clone(),
            "Driver" => self.0.driver.clone(),
            "Scope" => self.0.scope.clone(),
            "Mountpoint" => self.0.mountpoint.clone(),
            "Labels" => {
                let pairs = self.0.labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
                pairs.collect::<Vec<_>>().join(",")
            }
            "Links" => usage.map_or_else(unknown, |usage| usage.ref_count.to_string()),
            "Size" => usage.map_or_else(unknown, |usage| human_size(usage.size, 4)),
            // Volumes of a swarm have these.
            "Group" | "Availability" | "Status" => unknown(),
            _ => return None,
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        "*formatter.volumeContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Label", [Value::Text(label)]) => {
                let value = self.0.labels.as_ref().and_then(|labels| labels.get(label));
                Some(Ok(value.cloned().unwrap_or_default().into()))
            }
            ("Label", _) => Some(Err(format!("wrong number of args for Label: want 1 got {}", args.len()))),
            (name, args) => plain(name, self.text(name)?, args),
        }
    }
    fn names(&self) -> &'static [&'static str] {
        &[
            "Availability",
            "Driver",
            "Group",
            "Labels",
            "Links",
            "Mountpoint",
            "Name",
            "Scope",
            "Size",
            "Status",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::print;
    use std::rc::Rc;

    #[test]
    fn formats() {
        let shown = |given: &str, quiet| {
            let labels = Some([("x".to_owned(), "y".to_owned()), ("z".to_owned(), String::new())].into());
            let volume = Volume {
                name: "a2".into(),
                driver: "local".into(),
                scope: "local".into(),
                mountpoint: "/v/a2/_data".into(),
                labels,
                ..Volume::default()
            };
            print(&format(given, quiet), HEADERS, &[Value::Object(Rc::new(Row(volume)))]).unwrap()
        };
        for (given, quiet, expected) in [
            ("table", false, "DRIVER    VOLUME NAME\nlocal     a2\n"),
            ("table", true, "a2\n"),
            ("raw", false, "name: a2\ndriver: local\n\n"),
            ("raw", true, "name: a2\n"),
            (
                "{{.Labels}} {{.Links}} {{.Size}} {{.Label \"x\"}} {{.Status}}",
                false,
                "x=y,z= N/A N/A y N/A\n",
            ),
            (
                "json",
                false,
                "{\"Availability\":\"N/A\",\"Driver\":\"local\",\"Group\":\"N/A\",\"Labels\":\"x=y,z=\",\"Links\":\"N/A\",\"Mountpoint\":\"/v/a2/_data\",\"Name\":\"a2\",\"Scope\":\"local\",\"Size\":\"N/A\",\"Status\":\"N/A\"}\n",
            ),
        ] {
            assert_eq!(shown(given, quiet), expected, "{given}");
        }
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut names = ["a10", "a9", "b", "d5e", "data3", "a09", "a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "a9", "a09", "a10", "b", "d5e", "data3"]);
    }
}
