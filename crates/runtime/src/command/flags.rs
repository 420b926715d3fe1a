//! The command line's grammar: runc's (Go's `flag` package under urfave/cli).
//!
//! `-name` and `--name` are the same; a value follows after `=` or as the next word, a switch takes one only
//! after `=`; `--` ends the flags. Flags may stand behind the arguments, except for a command whose arguments
//! are a command line themselves.
//!
//! Pure: words in, values out. It does not know what a flag does.

use std::fmt::Write as _;

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: on, or `=true`/`=false`.
    Switch,
    /// A text; the last one counts.
    Text,
    /// A text; all count.
    List,
    /// A whole number.
    Number,
}

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) short: Option<&'static str>,
    pub(super) takes: Takes,
    pub(super) usage: &'static str,
}

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    pub(super) usage: &'static str,
    pub(super) flags: &'static [Flag],
    /// Fewest and, if limited, most arguments.
    pub(super) count: (usize, Option<usize>),
    /// The arguments are a command line: flags end at the first one.
    pub(super) passes_on: bool,
}

/// What stood on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    values: Vec<(&'static str, String)>,
    pub(super) arguments: Vec<String>,
    /// `--help` or `-h` was there.
    pub(super) help: bool,
}

impl Parsed {
    /// The last value of a flag.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a flag.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A number, 0 if it is not given. The parser has checked it.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.text(name).and_then(number).unwrap_or(0)
    }
}

/// Reads the words behind the program's or the command's name. The error is a line to be printed.
pub(super) fn parse(flags: &'static [Flag], words: &[String], passes_on: bool) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let body = match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
            Some("") if word == "--" => {
                parsed.arguments.extend(words.cloned());
                break;
            }
            // A lone dash is an argument.
            Some("") | None => {
                parsed.arguments.push(word.clone());
                if passes_on {
                    parsed.arguments.extend(words.cloned());
                    break;
                }
                continue;
            }
            Some(body) if body.starts_with('-') || body.starts_with('=') => {
                return Err(format!("bad flag syntax: {word}"));
            }
            Some(body) => body,
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (body, None),
        };
        if name == "help" || name == "h" {
            parsed.help = true;
            continue;
        }
        let flag = flags.iter().find(|flag| flag.name == name || flag.short == Some(name));
        let flag = flag.ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
        let value = match (flag.takes, value) {
            (Takes::Switch, None) => "true".to_string(),
            (Takes::Switch, Some(value)) => switch(&value)
                .ok_or_else(|| format!("invalid boolean value {value:?} for -{name}: parse error"))?
                .to_string(),
            (_, Some(value)) => value,
            (_, None) => words.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?,
        };
        if flag.takes == Takes::Number && number(&value).is_none() {
            return Err(format!("invalid value {value:?} for flag -{name}: parse error"));
        }
        parsed.values.push((flag.name, value));
    }
    Ok(parsed)
}

/// Go's strconv.ParseBool.
fn switch(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn number(value: &str) -> Option<i64> {
    value.parse().ok()
}

impl Command {
    /// What is wrong with this many arguments, in runc's words.
    pub(super) fn check_count(&self, program: &str, count: usize) -> Result<(), String> {
        let (least, most) = self.count;
        let name = self.name;
        match most {
            Some(most) if least == most && count != least => {
                Err(format!("{program}: {name:?} requires exactly {least} argument(s)"))
            }
            Some(most) if count > most => {
                Err(format!("{program}: {name:?} requires a maximum of {most} argument(s)"))
            }
            _ if count < least => {
                Err(format!("{program}: {name:?} requires a minimum of {least} argument(s)"))
            }
            _ => Ok(()),
        }
    }

    /// The help text.
    pub(super) fn help(&self, program: &str) -> String {
        let mut text = format!(
            "NAME:\n   {program} {} - {}\n\nUSAGE:\n   {program} {}",
            self.name, self.usage, self.name
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {}",
            if self.flags.is_empty() { "" } else { " [command options]" },
            self.arguments
        );
        if !self.flags.is_empty() {
            text.push_str("\nOPTIONS:\n");
            text.push_str(&table(self.flags));
        }
        text
    }
}

/// The flags as a help text lists them.
pub(super) fn table(flags: &[Flag]) -> String {
    let left = |flag: &Flag| {
        let value = if flag.takes == Takes::Switch { "" } else { " value" };
        match flag.short {
            Some(short) => format!("--{}{value}, -{short}{value}", flag.name),
            None => format!("--{}{value}", flag.name),
        }
    };
    let width = flags.iter().map(|flag| left(flag).len()).max().unwrap_or(0);
    flags.iter().map(|flag| format!("   {:width$}  {}\n", left(flag), flag.usage)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag { name: "bundle", short: Some("b"), takes: Takes::Text, usage: "" },
        Flag { name: "force", short: Some("f"), takes: Takes::Switch, usage: "" },
        Flag { name: "env", short: Some("e"), takes: Takes::List, usage: "" },
        Flag { name: "preserve-fds", short: None, takes: Takes::Number, usage: "" },
    ];

    fn run(line: &str, passes_on: bool) -> Result<String, String> {
        let words: Vec<String> = line.split(' ').filter(|w| !w.is_empty()).map(String::from).collect();
        let parsed = parse(FLAGS, &words, passes_on)?;
        let env: Vec<&str> = parsed.list("env").collect();
        Ok(format!(
            "b={} f={} n={} e={} args={}{}",
            parsed.text("bundle").unwrap_or("-"),
            parsed.is_on("force"),
            parsed.number("preserve-fds"),
            env.join("+"),
            parsed.arguments.join("+"),
            if parsed.help { " help" } else { "" }
        ))
    }

    #[test]
    fn grammar() {
        let cases = [
            ("", false, Ok("b=- f=false n=0 e= args=")),
            ("--bundle /x -b=/y id", false, Ok("b=/y f=false n=0 e= args=id")),
            ("id --force", false, Ok("b=- f=true n=0 e= args=id")),
            ("-force=false id -- --force", false, Ok("b=- f=false n=0 e= args=id+--force")),
            ("-e A=1 -e=B=2 id ls -e", true, Ok("b=- f=false n=0 e=A=1+B=2 args=id+ls+-e")),
            ("- x", false, Ok("b=- f=false n=0 e= args=-+x")),
            ("--preserve-fds 3", false, Ok("b=- f=false n=3 e= args=")),
            ("-h", false, Ok("b=- f=false n=0 e= args= help")),
            ("--nope", false, Err("flag provided but not defined: -nope")),
            ("--bundle", false, Err("flag needs an argument: -bundle")),
            ("--force=x", false, Err("invalid boolean value \"x\" for -force: parse error")),
            ("--preserve-fds a", false, Err("invalid value \"a\" for flag -preserve-fds: parse error")),
            ("---x", false, Err("bad flag syntax: ---x")),
        ];
        for (line, passes_on, expected) in cases {
            assert_eq!(
                run(line, passes_on).as_deref(),
                expected.map_err(String::from).as_ref().copied(),
                "{line}"
            );
        }
    }

    #[test]
    fn counts() {
        let command =
            |count| Command { name: "x", arguments: "", usage: "", flags: &[], count, passes_on: false };
        let cases = [
            ((1, Some(1)), 0, Some("p: \"x\" requires exactly 1 argument(s)")),
            ((1, Some(2)), 0, Some("p: \"x\" requires a minimum of 1 argument(s)")),
            ((1, Some(2)), 3, Some("p: \"x\" requires a maximum of 2 argument(s)")),
            ((1, None), 9, None),
        ];
        for (count, given, text) in cases {
            assert_eq!(command(count).check_count("p", given).err().as_deref(), text);
        }
    }
}
