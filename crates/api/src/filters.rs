//! The `filters` parameter: names, each with a set of values.
//!
//! Docker writes `{"label":{"a=b":true}}` and also reads `{"label":["a=b"]}`, the form of its older clients.
//! Which names an endpoint knows is the engine's.

use std::collections::BTreeMap;

use crate::go::{decode, encode};
use crate::json::Json;

/// Names, each with its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    values: BTreeMap<String, Vec<String>>,
}

/// The parameter is neither a map of maps nor a map of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter")]
pub struct InvalidFilters;

impl Filters {
    /// No filters.
    pub fn new() -> Filters {
        Filters::default()
    }

    /// Reads the parameter; empty text is no filters.
    pub fn parse(text: &str) -> Result<Filters, InvalidFilters> {
        if text.is_empty() {
            return Ok(Filters::new());
        }
        let value = Json::parse(text.as_bytes()).map_err(|_| InvalidFilters)?;
        // Go reads a map of maps first and falls back to lists for the whole document, never mixing them.
        if let Ok(maps) = decode::<BTreeMap<String, BTreeMap<String, bool>>>(text.as_bytes()) {
            return Ok(Filters {
                values: maps.into_iter().map(|(name, set)| (name, set.into_keys().collect())).collect(),
            });
        }
        let lists: BTreeMap<String, Vec<String>> =
            crate::go::decode_json(value).map_err(|_| InvalidFilters)?;
        let mut filters = Filters::new();
        for (name, list) in lists {
            filters.values.entry(name.clone()).or_default();
            for value in list {
                filters.add(&name, &value);
            }
        }
        Ok(filters)
    }

    /// Adds one value; one that is there already stays alone.
    pub fn add(&mut self, name: &str, value: &str) {
        let values = self.values.entry(name.to_owned()).or_default();
        if let Err(place) = values.binary_search_by(|have| have.as_str().cmp(value)) {
            values.insert(place, value.to_owned());
        }
    }

    /// The values of a name, sorted; none when the name is absent.
    pub fn get(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the name is given, even without a value.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The names with their values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.values.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// The parameter; empty text when there are none, as Docker's client sends none then.
    pub fn to_param(&self) -> String {
        if self.values.is_empty() {
            return String::new();
        }
        let maps: BTreeMap<String, BTreeMap<String, bool>> = self
            .values
            .iter()
            .map(|(name, values)| (name.clone(), values.iter().map(|value| (value.clone(), true)).collect()))
            .collect();
        encode(&maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (text, expected) in [
            ("", Ok(vec![])),
            ("{}", Ok(vec![])),
            (r#"{"a":{"x":true,"b":true}}"#, Ok(vec![("a", vec!["b", "x"])])),
            // Go keeps a value whose flag is false too.
            (r#"{"a":{"x":false}}"#, Ok(vec![("a", vec!["x"])])),
            (r#"{"a":["y","x","y"],"b":[]}"#, Ok(vec![("a", vec!["x", "y"]), ("b", vec![])])),
            (r#"{"a":["x"],"b":{"y":true}}"#, Err(InvalidFilters)),
            (r#"{"a":"x"}"#, Err(InvalidFilters)),
            ("[]", Err(InvalidFilters)),
            ("{", Err(InvalidFilters)),
        ] {
            let got = Filters::parse(text);
            let got = got.as_ref().map(|filters| {
                filters
                    .iter()
                    .map(|(name, values)| (name, values.iter().map(String::as_str).collect::<Vec<_>>()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(got, expected.as_ref().map(Vec::as_slice).map(<[_]>::to_vec), "{text}");
        }
    }

    #[test]
    fn written_as_maps_of_maps() {
        let mut filters = Filters::new();
        assert_eq!(filters.to_param(), "");
        filters.add("status", "running");
        filters.add("label", "b=\"1\"");
        filters.add("label", "a");
        let text = r#"{"label":{"a":true,"b=\"1\"":true},"status":{"running":true}}"#;
        assert_eq!(filters.to_param(), text);
        assert_eq!(Filters::parse(text), Ok(filters));
    }
}
