//! The grammar of the command line: what a flag and a command are, and what a parsed line is.
//!
//! Everything is data: a [`Command`] lists its [`Flag`]s, and each flag carries its own
//! documentation, so that parsing ([`parse`]), help ([`help`]) and shell completion
//! ([`completion`]) read the same table. The rules are pflag's, which Docker's CLI uses.
//! This module does not know which commands exist, what they do, or what an engine is.

pub mod completion;
pub mod csv;
pub mod duration;
pub mod help;
pub mod numbers;
pub mod parse;

pub use parse::{Parsed, UsageError};

/// Checks one value of a flag; the error is the text that follows `invalid argument … flag: `.
pub type Check = fn(&str) -> Result<(), String>;

/// What a flag's value is; decides the word shown in help and how a value is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `--flag`, `--flag=false`; never takes the next word.
    Bool,
    /// Any text.
    Text,
    /// A signed number, in Go's notation (`0x10`, `010`, `1_000`).
    Int,
    /// An unsigned number.
    Uint,
    /// An unsigned number of 16 bits.
    Uint16,
    /// A number of bytes with an optional unit (`256m`).
    Bytes,
    /// As `Bytes`, and `-1`.
    SwapBytes,
    /// A decimal fraction (`1.5`).
    Decimal,
    /// May be given several times.
    List,
    /// `name=value`, may be given several times.
    Filter,
    /// A flag of which only the word in help is known here (`mount`, `ulimit`, …).
    Word(&'static str),
    /// Text whose value may be left out: `--flag` then means this value.
    Optional(&'static str),
}

/// Whether this version of Tare can do what a flag or command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Works.
    Ready,
    /// Read, checked and sent to the engine, which may refuse it: Tare's own does not do it yet.
    Sent,
    /// Docker has it, Tare not yet: using it is refused by name.
    Later,
}

/// One flag: its grammar and its documentation.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Long name, without dashes.
    pub name: &'static str,
    /// One-letter name.
    pub short: Option<char>,
    /// What its value is.
    pub kind: Kind,
    /// The default as help shows it; empty when help shows none.
    pub default: &'static str,
    /// What it does, as Docker says it.
    pub help: &'static str,
    /// Whether it works.
    pub state: State,
    /// Not shown in help (an alias, or deprecated).
    pub hidden: bool,
    /// Printed when it is used: `Flag --x has been deprecated, …`.
    pub deprecated: &'static str,
    /// Checks a value beyond what its kind says.
    pub check: Option<Check>,
    /// Docker does not have it.
    pub own: bool,
    /// Words of an engine's refusal that are about this flag (the field it sets), with `|` between them.
    pub field: &'static str,
    /// Only for an engine on this operating system.
    pub engine_os: &'static str,
    /// Only for an engine whose API is at least 1.x; 0 for each.
    pub since: u32,
}

impl Flag {
    /// A flag of the given kind.
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind,
            default: "",
            help,
            state: State::Ready,
            hidden: false,
            deprecated: "",
            check: None,
            own: false,
            field: "",
            engine_os: "",
            since: 0,
        }
    }
    /// A switch.
    pub const fn switch(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Bool, help)
    }
    /// A flag with a text.
    pub const fn text(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::Text, help)
    }
    /// A flag that may be repeated.
    pub const fn list(name: &'static str, help: &'static str) -> Flag {
        Flag::new(name, Kind::List, help)
    }
    /// With a one-letter name.
    pub const fn short(mut self, short: char) -> Flag {
        self.short = Some(short);
        self
    }
    /// With a default that help shows.
    pub const fn default(mut self, default: &'static str) -> Flag {
        self.default = default;
        self
    }
    /// Not there yet.
    pub const fn later(mut self) -> Flag {
        self.state = State::Later;
        self
    }
    /// Sets this field of a request; an engine that refuses names the field, a person knows the flag.
    pub const fn sets(mut self, field: &'static str) -> Flag {
        self.field = field;
        self
    }
    /// As [`Flag::sets`], where Tare's own engine refuses the field.
    pub const fn sent(mut self, field: &'static str) -> Flag {
        self.state = State::Sent;
        self.sets(field)
    }
    /// Only for engines that speak the API's version 1.`minor`.
    pub const fn since(mut self, minor: u32) -> Flag {
        self.since = minor;
        self
    }
    /// Only for engines on this operating system.
    pub const fn engine_os(mut self, os: &'static str) -> Flag {
        self.engine_os = os;
        self
    }
    /// Not in help.
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }
    /// Works, but prints this advice.
    pub const fn deprecated(mut self, advice: &'static str) -> Flag {
        self.deprecated = advice;
        self.hidden = true;
        self
    }
    /// Tare's own.
    pub const fn own(mut self) -> Flag {
        self.own = true;
        self
    }
    /// With a check of its own.
    pub const fn check(mut self, check: Check) -> Flag {
        self.check = Some(check);
        self
    }
    /// The value that stands for a flag written without one.
    pub fn implied(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Bool => Some("true"),
            Kind::Optional(value) => Some(value),
            _ => None,
        }
    }
    /// The word that help shows for the value.
    pub fn word(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "",
            Kind::Text | Kind::Optional(_) => "string",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Uint16 => "uint16",
            Kind::Bytes | Kind::SwapBytes => "bytes",
            Kind::Decimal => "decimal",
            Kind::List => "list",
            Kind::Filter => "filter",
            Kind::Word(word) => word,
        }
    }
}

/// How many positional arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// None.
    None,
    /// Exactly so many.
    Exactly(usize),
    /// At least so many.
    AtLeast(usize),
    /// At most so many.
    AtMost(usize),
}

/// One command, or a group of commands.
#[derive(Debug)]
pub struct Command<A: 'static> {
    /// The word that calls it.
    pub name: &'static str,
    /// Other words that call it.
    pub aliases: &'static [&'static str],
    /// What follows the name in the usage line.
    pub synopsis: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// The full paths under which it can be called, for help; without the program's name.
    pub paths: &'static [&'static str],
    /// Examples for help; Docker's own commands have none.
    pub examples: &'static str,
    /// Its flags, in several parts so that commands can share them.
    pub flags: &'static [&'static [Flag]],
    /// How many arguments it takes.
    pub arity: Arity,
    /// Whether flags may follow the first argument.
    pub interspersed: bool,
    /// Position among the common commands in the program's help.
    pub common: Option<u8>,
    /// Whether it works.
    pub state: State,
    /// What it does; none for a group.
    pub action: Option<A>,
    /// The commands of a group.
    pub commands: &'static [Command<A>],
}

impl<A: Copy> Command<A> {
    /// All flags of the command.
    pub fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().flat_map(|part| part.iter())
    }
    /// The command of this group that is called by `word`.
    pub fn find(&self, word: &str) -> Option<&'static Command<A>> {
        self.commands.iter().find(|c| c.name == word || c.aliases.contains(&word))
    }
    /// The usage line: path and synopsis.
    pub fn usage_line(&self, path: &str) -> String {
        if self.synopsis.is_empty() { path.to_owned() } else { format!("{path} {}", self.synopsis) }
    }
}
