//! The flags of `tare daemon`: dockerd's, by the engine's table of settings, read as pflag reads them. Pure.

use engine::settings::{self, Given, Key, Kind, Source};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Flags of dockerd that are no settings.
const OWN: [(&str, &str, &str, &str); 5] = [
    ("", "config-file", "string", "Daemon configuration file (default \"/etc/tare/daemon.json\")"),
    ("h", "help", "", "Print usage"),
    ("", "run-root", "string", "Another name of --exec-root"),
    ("", "validate", "", "Validate daemon configuration and exit"),
    ("v", "version", "", "Print version information and quit"),
];

/// What a command line says.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Settings, and the file of more.
    pub source: Source,
    /// The same, as flags for a helper.
    pub arguments: Vec<String>,
    /// Only look whether the settings are right.
    pub validate: bool,
    /// Print the help.
    pub help: bool,
    /// Print the version.
    pub version: bool,
    /// Words that are no flags.
    pub rest: Vec<String>,
}

impl Flags {
    /// Reads a command line; the error is pflag's text.
    pub fn parse(args: &[String]) -> Result<Flags, String> {
        let mut flags = Flags::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                flags.rest.extend(args.cloned());
                break;
            }
            let mut next = || args.next().cloned();
            if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_string())),
                    None => (long, None),
                };
                let flag = find(name).ok_or_else(|| format!("unknown flag: --{name}"))?;
                let value = match value {
                    Some(value) => value,
                    None if flag.is_switch() => "true".to_string(),
                    None => next().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
                };
                flags.set(flag, value)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                flags.letters(&arg[1..], &mut next)?;
            } else {
                flags.rest.push(arg.clone());
            }
        }
        Ok(flags)
    }

    /// `-D`, `-l info`, `-linfo`, `-l=info`, `-Dl info`.
    fn letters(&mut self, all: &str, next: &mut dyn FnMut() -> Option<String>) -> Result<(), String> {
        let mut left = all;
        while let Some(letter) = left.chars().next() {
            let unknown = || format!("unknown shorthand flag: '{letter}' in -{left}");
            let flag = by_letter(letter).ok_or_else(unknown)?;
            let rest = &left[letter.len_utf8()..];
            if let Some(value) = rest.strip_prefix('=') {
                return self.set(flag, value.to_string());
            }
            if !flag.is_switch() {
                let value = if rest.is_empty() { next() } else { Some(rest.to_string()) };
                let value = value.ok_or_else(|| format!("flag needs an argument: '{letter}' in -{left}"))?;
                return self.set(flag, value);
            }
            self.set(flag, "true".to_string())?;
            left = rest;
        }
        Ok(())
    }

    fn set(&mut self, flag: Flag, value: String) -> Result<(), String> {
        let switch = |value: &str| match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
        };
        let key = match flag {
            Flag::Setting(key) => key,
            Flag::Own(name) => {
                let bad = |why: String| format!("invalid argument {value:?} for \"--{name}\" flag: {why}");
                match name {
                    "config-file" => {
                        self.arguments.push(format!("--config-file={value}"));
                        self.source.file = Some(PathBuf::from(value));
                    }
                    "validate" => self.validate = switch(&value).map_err(bad)?,
                    "version" => self.version = switch(&value).map_err(bad)?,
                    _ => self.help = switch(&value).map_err(bad)?,
                }
                return Ok(());
            }
        };
        let said = settings::from_flag(key, &value, self.source.given.get(key.name)).map_err(|why| {
            let short = if key.short.is_empty() { String::new() } else { format!("-{}, ", key.short) };
            format!("invalid argument {value:?} for \"{short}--{}\" flag: {why}", key.flag)
        })?;
        self.source.given.insert(key.name, said);
        self.arguments.push(format!("--{}={value}", key.flag));
        Ok(())
    }

    /// Takes settings out that a helper is told in another way.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let value = self.source.given.remove(name)?;
        self.arguments.retain(|argument| !argument.starts_with(&format!("--{name}=")));
        value.as_str().map(str::to_string)
    }

    /// What flags say of settings.
    pub fn given(&self) -> &Given {
        &self.source.given
    }
}

#[derive(Clone, Copy)]
enum Flag {
    Setting(&'static Key),
    Own(&'static str),
}

impl Flag {
    fn is_switch(self) -> bool {
        match self {
            Flag::Setting(key) => key.kind == Kind::Switch,
            Flag::Own(name) => name != "config-file",
        }
    }
}

fn find(name: &str) -> Option<Flag> {
    let name = if name == "run-root" { "exec-root" } else { name };
    let own = OWN.iter().find(|(_, own, _, _)| *own == name).map(|(_, name, _, _)| Flag::Own(name));
    own.or_else(|| settings::keys().iter().find(|key| key.flag == name).map(Flag::Setting))
}

fn by_letter(letter: char) -> Option<Flag> {
    let text = letter.to_string();
    let own = OWN.iter().find(|(short, _, _, _)| *short == text).map(|(_, name, _, _)| Flag::Own(name));
    own.or_else(|| settings::keys().iter().find(|key| key.short == text).map(Flag::Setting))
}

/// The text of `--help`.
pub fn help() -> String {
    let setting = |key: &Key| {
        let word = match key.kind {
            Kind::Switch => "",
            Kind::Number => "int",
            Kind::Text => "string",
            Kind::Bytes => "bytes",
            Kind::Address => "ip",
            Kind::Addresses | Kind::List => "list",
            Kind::Map | Kind::Switches => "map",
            Kind::Maps => "mapmap",
            Kind::Pools => "pool-options",
            Kind::Runtimes => "runtime",
            Kind::Ulimits => "ulimit",
        };
        let mut about = key.about.to_string();
        if !key.default.is_empty() && key.default != "false" && key.default != "0" {
            let quote = if key.kind == Kind::Text { "\"" } else { "" };
            let _ = write!(about, " (default {quote}{}{quote})", key.default);
        }
        if !key.why_not.is_empty() {
            let _ = write!(about, "; nothing else is supported: {}", key.why_not);
        }
        (key.short, key.flag, word, about)
    };
    let mut rows: Vec<(&str, &str, &str, String)> = settings::keys().iter().map(setting).collect();
    rows.extend(OWN.map(|(short, name, word, about)| (short, name, word, about.to_string())));
    rows.sort_by_key(|row| row.1);
    let mut text = "Usage:  tare daemon [OPTIONS]\n\nServe the Docker Engine API\n\nOptions:\n".to_string();
    for (short, name, word, about) in rows {
        let short = if short.is_empty() { "    ".to_string() } else { format!("-{short}, ") };
        let left = format!("{short}--{name} {word}");
        let _ = writeln!(text, "  {left:<39} {about}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::parse(&line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_settings() {
        let flags = parse(
            "-Dl debug -Hunix:///a --host unix:///b -H=unix:///c --label a=b --mtu 1400 --icc=false --ipv6 --config-file /x --run-root /r x",
        )
        .unwrap();
        let given = |name: &str| flags.given()[name].to_string();
        assert_eq!(given("debug"), "true");
        assert_eq!(given("log-level"), "\"debug\"");
        assert_eq!(given("hosts"), r#"["unix:///a","unix:///b","unix:///c"]"#);
        assert_eq!(given("mtu"), "1400");
        assert_eq!(given("icc"), "false");
        assert_eq!(given("ipv6"), "true");
        assert_eq!(given("exec-root"), "\"/r\"");
        assert_eq!(flags.source.file.as_deref(), Some(std::path::Path::new("/x")));
        assert_eq!(flags.rest, ["x"]);
        // A helper that is given them says the same.
        let again = Flags::parse(&flags.arguments).unwrap();
        assert_eq!(again.given(), flags.given());
        assert!(parse("--validate -v").is_ok_and(|flags| flags.validate && flags.version));
        assert!(parse("--help").unwrap().help && parse("-h").unwrap().help);
    }

    #[test]
    fn mistakes_are_pflags() {
        for (line, expected) in [
            ("--foo", "unknown flag: --foo"),
            ("-Dx", "unknown shorthand flag: 'x' in -x"),
            ("--mtu", "flag needs an argument: --mtu"),
            ("-l", "flag needs an argument: 'l' in -l"),
            (
                "--mtu x",
                "invalid argument \"x\" for \"--mtu\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "--debug=x",
                "invalid argument \"x\" for \"-D, --debug\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "-H foo://x",
                "invalid argument \"foo://x\" for \"-H, --host\" flag: invalid bind address (foo://x): unsupported proto 'foo'",
            ),
        ] {
            assert_eq!(parse(line).map(|_| ()), Err(expected.to_string()), "{line}");
        }
    }

    #[test]
    fn the_help_names_every_flag() {
        let text = help();
        assert_eq!(
            text.lines().filter(|line| line.contains("--")).count(),
            settings::keys().len() + OWN.len()
        );
        assert!(text.contains("  -l, --log-level string "), "{text}");
    }
}
