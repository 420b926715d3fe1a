//! Rows of `network ls`.

use api::network::Network;

use crate::template::{Object, Value, plain};

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// The format that options stand for.
pub fn format(given: &str, quiet: bool) -> String {
    match given {
        "table" if quiet => "{{.ID}}".to_owned(),
        "table" => "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}".to_owned(),
        "raw" if quiet => "network_id: {{.ID}}".to_owned(),
        "raw" => "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n".to_owned(),
        given => given.to_owned(),
    }
}

/// A network as a row.
pub struct Row {
    /// The network.
    pub network: Network,
    /// Whether its id is cut to twelve digits.
    pub trunc: bool,
}

impl Row {
    fn text(&self, name: &str) -> Option<String> {
        let network = &self.network;
        Some(match name {
            "ID" if self.trunc => network.id.chars().take(12).collect(),
            "ID" => network.id.clone(),
            "Name" => network.name.clone(),
            "Driver" => network.driver.clone(),
            "Scope" => network.scope.clone(),
            "IPv4" => network.enable_ipv4.to_string(),
            "IPv6" => network.enable_ipv6.to_string(),
            "Internal" => network.internal.to_string(),
            "Labels" => {
                let pairs = network.labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
                pairs.collect::<Vec<_>>().join(",")
            }
            "CreatedAt" => network.created.clone(),
            _ => return None,
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        "*formatter.networkContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("Label", [Value::Text(label)]) => {
                let value = self.network.labels.as_ref().and_then(|labels| labels.get(label));
                Some(Ok(value.cloned().unwrap_or_default().into()))
            }
            ("Label", _) => Some(Err(format!("wrong number of args for Label: want 1 got {}", args.len()))),
            (name, args) => plain(name, self.text(name)?, args),
        }
    }
    fn names(&self) -> &'static [&'static str] {
        &["CreatedAt", "Driver", "ID", "IPv4", "IPv6", "Internal", "Labels", "Name", "Scope"]
    }
}
