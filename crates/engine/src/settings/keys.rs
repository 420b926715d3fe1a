//! The table of settings: each key of dockerd's `daemon.json` and the flag that says the same. It decides nothing.

use std::sync::OnceLock;

/// What a value of a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Switch,
    /// A whole number.
    Number,
    /// A word or a path.
    Text,
    /// Bytes with a unit.
    Bytes,
    /// One address.
    Address,
    /// Several.
    Addresses,
    /// Several texts.
    List,
    /// Names with texts.
    Map,
    /// Names with switches.
    Switches,
    /// Names with maps.
    Maps,
    /// `{"base": …, "size": …}`, several.
    Pools,
    /// Runtimes by name.
    Runtimes,
    /// Resource limits by name.
    Ulimits,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// In `daemon.json`.
    pub name: &'static str,
    /// On the command line, without the dashes.
    pub flag: &'static str,
    /// Its letter, or nothing.
    pub short: &'static str,
    /// Its values.
    pub kind: Kind,
    /// What holds where nothing is said, as pflag shows it.
    pub default: &'static str,
    /// Read again when the daemon is told to.
    pub reloads: bool,
    /// Why it can have no other value than the default; empty for what works.
    pub why_not: &'static str,
    /// One line for the help.
    pub about: &'static str,
}

/// All of them, in the order of the help.
pub fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| include_str!("keys.tsv").lines().skip(1).filter_map(row).collect())
}

/// The setting of a name in the file.
pub fn key(name: &str) -> Option<&'static Key> {
    keys().iter().find(|key| key.name == name)
}

fn row(line: &'static str) -> Option<Key> {
    let columns: Vec<&'static str> = line.split('\t').collect();
    let [name, flag, short, kind, default, reloads, why_not, about] = columns[..] else { return None };
    let kind = match kind {
        "switch" => Kind::Switch,
        "number" => Kind::Number,
        "text" => Kind::Text,
        "bytes" => Kind::Bytes,
        "address" => Kind::Address,
        "addresses" => Kind::Addresses,
        "list" => Kind::List,
        "map" => Kind::Map,
        "switches" => Kind::Switches,
        "maps" => Kind::Maps,
        "pools" => Kind::Pools,
        "runtimes" => Kind::Runtimes,
        "ulimits" => Kind::Ulimits,
        _ => return None,
    };
    Some(Key { name, flag, short, kind, default, reloads: reloads == "reload", why_not, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_no_name_is_twice() {
        assert_eq!(keys().len(), include_str!("keys.tsv").lines().count() - 1);
        for (at, one) in keys().iter().enumerate() {
            let twin = keys()[..at].iter().find(|k| k.name == one.name || k.flag == one.flag);
            assert!(twin.is_none(), "{}", one.name);
        }
        // dockerd's list (daemon/reload.go).
        assert_eq!(keys().iter().filter(|k| k.reloads).count(), 13);
    }
}
