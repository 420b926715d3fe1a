//! pflag's grammar: from words to flag values and arguments.
//!
//! Rules: a value may follow `=` or be the next word (for a switch only `=`); short flags can be
//! joined (`-it`, `-eA=1`, `-e=A=1`); the last value of a repeated flag wins, a list keeps all;
//! `--` ends the flags, and so does the first argument when flags are not interspersed.
//! Errors are pflag's texts; whoever calls adds the usage line.

use super::{Command, Flag, Kind, numbers};

/// A line that does not follow the grammar: pflag's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(pub String);

/// What a command line says.
#[derive(Debug, Default)]
pub struct Parsed {
    values: Vec<(&'static Flag, String)>,
    /// The positional arguments.
    pub args: Vec<String>,
    /// `--help` or `-h` was given.
    pub help: bool,
    /// Lines to print before anything else (deprecated flags).
    pub notices: Vec<String>,
}

impl Parsed {
    /// Whether the flag was written on the line, even with its default value.
    pub fn changed(&self, name: &str) -> bool {
        self.last(name).is_some()
    }
    /// A switch's value; false when it was not given and has no default.
    pub fn switch(&self, name: &str) -> bool {
        self.switch_or(name, false)
    }
    /// A switch's value, or `default`.
    pub fn switch_or(&self, name: &str, default: bool) -> bool {
        self.last(name).map_or(default, |v| numbers::parse_bool(v).unwrap_or(default))
    }
    /// A text flag's value, or "".
    pub fn text(&self, name: &str) -> &str {
        self.last(name).unwrap_or("")
    }
    /// A number, or `default`.
    pub fn int_or(&self, name: &str, default: i64) -> i64 {
        self.last(name).map_or(default, |v| numbers::parse_int(v).unwrap_or(default))
    }
    /// A number of bytes, or 0.
    pub fn bytes(&self, name: &str) -> i64 {
        self.last(name).map_or(0, |v| numbers::parse_swap_bytes(v).unwrap_or(0))
    }
    /// All values of a list, in the order given.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.list_of(&[name])
    }
    /// All values of several flags that mean the same list, in the order given.
    pub fn list_of(&self, names: &[&str]) -> Vec<String> {
        self.values.iter().filter(|(f, _)| names.contains(&f.name)).map(|(_, v)| v.clone()).collect()
    }
    /// The value given last to any of several flags that mean the same.
    pub fn last_of(&self, names: &[&str]) -> Option<&str> {
        self.values.iter().rev().find(|(f, _)| names.contains(&f.name)).map(|(_, v)| v.as_str())
    }
    /// The flags that were used, each once, in the order given.
    pub fn used(&self) -> Vec<&'static Flag> {
        let mut seen: Vec<&'static Flag> = Vec::new();
        for (flag, _) in &self.values {
            if !seen.iter().any(|f| f.name == flag.name) {
                seen.push(flag);
            }
        }
        seen
    }
    fn last(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(f, _)| f.name == name).map(|(_, v)| v.as_str())
    }
}

/// Parses the words that follow a command's name.
pub fn parse<A: Copy>(command: &Command<A>, words: &[String]) -> Result<Parsed, UsageError> {
    parse_as(command, words, command.interspersed)
}

/// As [`parse`], with flags allowed after the first argument or not.
pub fn parse_as<A: Copy>(
    command: &Command<A>,
    words: &[String],
    interspersed: bool,
) -> Result<Parsed, UsageError> {
    let flags: Vec<&'static Flag> = command.all_flags().collect();
    let mut parser = Parser { flags: &flags, rest: words, out: Parsed::default() };
    parser.run(interspersed)?;
    Ok(parser.out)
}

struct Parser<'a> {
    flags: &'a [&'static Flag],
    rest: &'a [String],
    out: Parsed,
}

impl<'a> Parser<'a> {
    fn run(&mut self, interspersed: bool) -> Result<(), UsageError> {
        while let Some(word) = self.next_word() {
            if !word.starts_with('-') || word == "-" {
                self.out.args.push(word.to_owned());
                if !interspersed {
                    break;
                }
            } else if word == "--" {
                break;
            } else if let Some(long) = word.strip_prefix("--") {
                self.long(word, long)?;
            } else {
                self.shorts(&word[1..])?;
            }
        }
        self.out.args.extend(self.rest.iter().cloned());
        Ok(())
    }

    fn next_word(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn long(&mut self, word: &str, long: &str) -> Result<(), UsageError> {
        if long.starts_with('-') || long.starts_with('=') {
            return fail(format!("bad flag syntax: {word}"));
        }
        let (name, given) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
        let Some(flag) = self.flags.iter().copied().find(|f| f.name == name) else {
            if name == "help" {
                return self.help(given);
            }
            return fail(format!("unknown flag: --{name}"));
        };
        let value = match (given, flag.implied()) {
            (Some(value), _) => value.to_owned(),
            (None, Some(implied)) => implied.to_owned(),
            (None, None) => match self.next_word() {
                Some(value) => value.to_owned(),
                None => return fail(format!("flag needs an argument: {word}")),
            },
        };
        self.set(flag, value)
    }

    fn shorts(&mut self, word: &str) -> Result<(), UsageError> {
        let mut shorts = word;
        while let Some(c) = shorts.chars().next() {
            let tail = &shorts[c.len_utf8()..];
            let Some(flag) = self.flags.iter().copied().find(|f| f.short == Some(c)) else {
                if c == 'h' {
                    self.out.help = true;
                    self.out.notices.push("Flag shorthand -h has been deprecated, use --help".to_owned());
                    shorts = tail;
                    continue;
                }
                return fail(format!("unknown shorthand flag: '{c}' in -{shorts}"));
            };
            // "-f=" alone is not a value: pflag then takes "=" itself as the value.
            let (value, next) = match tail.strip_prefix('=') {
                Some(value) if !value.is_empty() => (value.to_owned(), ""),
                _ => match flag.implied() {
                    Some(implied) => (implied.to_owned(), tail),
                    None if !tail.is_empty() => (tail.to_owned(), ""),
                    None => match self.next_word() {
                        Some(value) => (value.to_owned(), ""),
                        None => return fail(format!("flag needs an argument: '{c}' in -{shorts}")),
                    },
                },
            };
            self.set(flag, value)?;
            shorts = next;
        }
        Ok(())
    }

    fn help(&mut self, given: Option<&str>) -> Result<(), UsageError> {
        self.out.help = numbers::parse_bool(given.unwrap_or("true"))
            .map_err(|e| UsageError(invalid(given.unwrap_or(""), "--help", &e)))?;
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), UsageError> {
        let checked = check(flag, &value);
        if let Err(reason) = checked {
            let shown = match flag.short {
                Some(short) => format!("-{short}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            return fail(invalid(&value, &shown, &reason));
        }
        if flag.name == "help" {
            self.out.help = numbers::parse_bool(&value).unwrap_or(true);
            return Ok(());
        }
        if !flag.deprecated.is_empty() {
            let line = format!("Flag --{} has been deprecated, {}", flag.name, flag.deprecated);
            self.out.notices.push(line);
        }
        self.out.values.push((flag, value));
        Ok(())
    }
}

fn check(flag: &Flag, value: &str) -> Result<(), String> {
    match flag.kind {
        Kind::Bool => numbers::parse_bool(value).map(drop)?,
        Kind::Int => numbers::parse_int(value).map(drop)?,
        Kind::Uint => numbers::parse_uint(value, 64).map(drop)?,
        Kind::Uint16 => numbers::parse_uint(value, 16).map(drop)?,
        Kind::Bytes => numbers::parse_bytes(value).map(drop)?,
        Kind::SwapBytes => numbers::parse_swap_bytes(value).map(drop)?,
        Kind::Decimal => numbers::parse_cpus(value).map(drop)?,
        Kind::Filter if !value.is_empty() && !value.contains('=') => {
            return Err("bad format of filter (expected name=value)".to_owned());
        }
        _ => {}
    }
    flag.check.map_or(Ok(()), |check| check(value))
}

fn invalid(value: &str, shown: &str, reason: &str) -> String {
    format!("invalid argument {} for {} flag: {reason}", numbers::quote(value), numbers::quote(shown))
}

fn fail<T>(text: String) -> Result<T, UsageError> {
    Err(UsageError(text))
}
