//! From words to a command: the global options, groups, help, and what cobra says to mistakes.

use std::ffi::OsString;

use crate::commands;
use crate::config::Config;
use crate::error::{FAILED, REFUSED};
use crate::flags::{Action, ROOT};
use crate::grammar::help::{self, Show};
use crate::grammar::{Arity, Command, Flag, Parsed, State, UsageError, completion, numbers, parse};
use crate::hints;
use crate::session::{Global, Session};
use crate::stdio::{Out, window_size};
use crate::{Environment, Error, LocalCommand};

/// Runs a command line; the result is the exit code.
pub fn run(args: &[OsString], environment: &Environment) -> i32 {
    let err = Out::new(environment.stdio.stderr);
    let words: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    match Dispatch::new(environment).root(args, &words) {
        Ok(code) => code,
        Err(error) => {
            let text = error.to_string();
            if !text.is_empty() && !matches!(error, Error::OutputClosed) {
                err.note(&text);
            }
            if let Error::Advised { hint, .. } = &error
                && hints::are_on()
            {
                err.note(&hints::line(hint));
            }
            error.exit_code()
        }
    }
}

struct Dispatch<'a> {
    environment: &'a Environment,
    out: Out,
    err: Out,
}

type Outcome = Result<i32, Error>;

impl<'a> Dispatch<'a> {
    fn new(environment: &'a Environment) -> Dispatch<'a> {
        let stdio = environment.stdio;
        Dispatch { environment, out: Out::new(stdio.stdout), err: Out::new(stdio.stderr) }
    }

    fn program(&self) -> &str {
        &self.environment.program
    }

    fn root(&self, raw: &[OsString], words: &[String]) -> Outcome {
        let program = self.program();
        let parsed = parse::parse(&ROOT, words).map_err(|e| usage(&ROOT, program, &e))?;
        self.notices(&parsed)?;
        self.refuse_later(&parsed)?;
        if parsed.help {
            return self.program_help(self.out);
        }
        let global = self.global(&parsed)?;
        let Some(word) = parsed.args.first() else {
            if parsed.switch("version") {
                return self.version();
            }
            return self.program_help(self.err);
        };
        let rest = &parsed.args[1..];
        if let Some((local, taken)) = self.local(&parsed.args) {
            return Ok((local.run)(&raw[raw.len() - parsed.args.len() + taken..]));
        }
        if word == "help" {
            return self.help_of(rest);
        }
        match ROOT.find(word) {
            Some(command) => {
                self.command(command, &format!("{program} {}", command.name), word, rest, &global)
            }
            None => self.unknown(words, word),
        }
    }

    fn version(&self) -> Outcome {
        let build = &self.environment.build;
        let title = if self.program() == "docker" { "Docker" } else { "Tare" };
        self.out.line(&format!("{title} version {}, build {}", build.version, build.commit))?;
        Ok(0)
    }

    /// No such command: cobra then reads the whole line as the program's own options.
    fn unknown(&self, words: &[String], word: &str) -> Outcome {
        let program = self.program();
        let parsed = parse::parse_as(&ROOT, words, true).map_err(|e| usage(&ROOT, program, &e))?;
        if parsed.help {
            return self.program_help(self.out);
        }
        if parsed.switch("version") {
            return self.version();
        }
        let text = format!(
            "{program}: unknown command: {program} {word}\n\nRun '{program} --help' for more information"
        );
        Err(Error::failed(text).advised(near_command(&ROOT, word)))
    }

    fn command(
        &self,
        command: &'static Command<Action>,
        path: &str,
        called: &str,
        words: &[String],
        global: &Global,
    ) -> Outcome {
        if command.state == State::Later {
            let text = format!("{}: '{path}' is not available yet", self.program());
            return Err(Error::Exit { code: FAILED, message: text });
        }
        if !command.commands.is_empty() {
            return self.group(command, path, words, global);
        }
        let parsed = parse::parse(command, words).map_err(|e| usage(command, path, &e))?;
        self.notices(&parsed)?;
        if parsed.help {
            return self.print_help(command, path);
        }
        self.refuse_later(&parsed)?;
        arity(command, path, parsed.args.len())?;
        if command.action == Some(Action::Completion) {
            return self.completion(&parsed.args[0]);
        }
        let session = Session::new(self.environment, path, called, global);
        commands::run(command.action, session, &parsed)
    }

    fn group(
        &self,
        group: &'static Command<Action>,
        path: &str,
        words: &[String],
        global: &Global,
    ) -> Outcome {
        let stop = words.iter().position(|w| !w.starts_with('-') || w == "-").unwrap_or(words.len());
        let parsed = parse::parse(group, &words[..stop]).map_err(|e| usage(group, path, &e))?;
        self.notices(&parsed)?;
        if parsed.help {
            return self.print_help(group, path);
        }
        let Some(word) = words.get(stop) else {
            self.err.write(help::command(group, path, self.width(), Show::Ready).as_bytes())?;
            return Ok(0);
        };
        match group.find(word) {
            Some(command) => {
                self.command(command, &format!("{path} {}", command.name), word, &words[stop + 1..], global)
            }
            None => {
                let text = format!(
                    "{}: unknown command: {path} {word}\n\nUsage:  {}\n\nRun '{path} --help' for more information",
                    self.program(),
                    group.usage_line(path)
                );
                Err(Error::failed(text).advised(near_command(group, word)))
            }
        }
    }

    /// The options before the command.
    fn global(&self, parsed: &Parsed) -> Result<Global, Error> {
        let level = parsed.text("log-level");
        if !matches!(
            level,
            "" | "debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic" | "trace"
        ) {
            return Err(Error::failed(format!("Unable to parse logging level: {level}")));
        }
        let folder = match parsed.text("config") {
            "" => Config::default_folder(),
            folder => folder.into(),
        };
        Ok(Global {
            hosts: parsed.list("host"),
            context: parsed.text("context").to_owned(),
            debug: parsed.switch("debug") || matches!(level, "debug" | "trace"),
            quiet: matches!(level, "error" | "fatal" | "panic"),
            config: folder,
        })
    }

    fn local(&self, words: &[String]) -> Option<(&LocalCommand, usize)> {
        let matches =
            |c: &&LocalCommand| words.len() >= c.path.len() && c.path.iter().zip(words).all(|(p, w)| p == w);
        let found = self.environment.local_commands.iter().filter(matches).max_by_key(|c| c.path.len())?;
        Some((found, found.path.len()))
    }

    fn help_of(&self, words: &[String]) -> Outcome {
        let mut command: &'static Command<Action> = &ROOT;
        let mut path = self.program().to_owned();
        for (at, word) in words.iter().enumerate() {
            match command.find(word).filter(|c| c.state == State::Ready) {
                Some(found) => command = found,
                None => return Err(Error::failed(format!("unknown help topic: {}", words[at..].join(" ")))),
            }
            path = format!("{path} {}", command.name);
        }
        if words.is_empty() { self.program_help(self.out) } else { self.print_help(command, &path) }
    }

    fn program_help(&self, to: Out) -> Outcome {
        let extra: Vec<(String, String)> = self
            .environment
            .local_commands
            .iter()
            .filter(|c| !c.hidden && c.path.len() == 1)
            .map(|c| (c.path.join(" "), c.about.to_owned()))
            .collect();
        to.write(help::program(&ROOT, self.program(), &extra, self.width()).as_bytes())?;
        Ok(0)
    }

    fn print_help(&self, command: &'static Command<Action>, path: &str) -> Outcome {
        let mut text = help::command(command, path, self.width(), Show::Ready);
        let mut local = self.environment.local_commands.iter().filter(|c| {
            !c.hidden && c.path.len() > 1 && format!("{} {}", self.program(), c.path[0]) == *path
        });
        if let Some(first) = local.next() {
            let rows: String = std::iter::once(first)
                .chain(local)
                .map(|c| format!("\n  {:11} {}", c.path[1..].join(" "), c.about))
                .collect();
            // Our own commands of a group stand after Docker's.
            let end = text.find("\n\nRun '").unwrap_or(text.len());
            text.insert_str(end, &rows);
        }
        self.out.write(text.as_bytes())?;
        Ok(0)
    }

    fn completion(&self, shell: &str) -> Outcome {
        let script = completion::script(&ROOT, self.program(), shell)
            .ok_or_else(|| Error::failed(format!("no completion for shell {shell:?}: bash, zsh or fish")))?;
        self.out.write(script.as_bytes())?;
        Ok(0)
    }

    fn notices(&self, parsed: &Parsed) -> Result<(), Error> {
        parsed.notices.iter().try_for_each(|line| self.out.line(line))
    }

    /// A flag that is not there yet is refused by name, unless it says what is the case anyway.
    fn refuse_later(&self, parsed: &Parsed) -> Result<(), Error> {
        let changes = |flag: &&&'static Flag| {
            let given = parsed.list(flag.name);
            let given = given.last().map_or("", String::as_str);
            let same = match (numbers::parse_bool(given), flag.default) {
                (Ok(value), "") => !value && flag.word().is_empty(),
                (Ok(value), default) => numbers::parse_bool(default) == Ok(value),
                (Err(_), default) => !default.is_empty() && given == default,
            };
            flag.state == State::Later && !same
        };
        let used = parsed.used();
        match used.iter().find(changes) {
            None => Ok(()),
            Some(flag) => {
                let message = format!("{}: the option --{} is not available yet", self.program(), flag.name);
                Err(Error::Exit { code: REFUSED, message })
            }
        }
    }

    fn width(&self) -> usize {
        match window_size(self.environment.stdio.stdin) {
            Some((_, columns)) if columns > 0 => columns.into(),
            _ => help::DEFAULT_WIDTH,
        }
    }
}

/// What cobra says to a line that does not parse.
fn usage(command: &Command<Action>, path: &str, error: &UsageError) -> Error {
    let message = format!(
        "{}\n\nUsage:  {}\n\nRun '{path} --help' for more information",
        error.0,
        command.usage_line(path)
    );
    Error::Exit { code: REFUSED, message }.advised(near_flag(command, &error.0))
}

/// The command that was meant.
fn near_command(group: &Command<Action>, word: &str) -> Option<String> {
    let ready = group.commands.iter().filter(|c| c.state == State::Ready);
    hints::did_you_mean(word, ready.flat_map(|c| std::iter::once(c.name).chain(c.aliases.iter().copied())))
}

/// The flag that was meant.
fn near_flag(command: &Command<Action>, text: &str) -> Option<String> {
    let word = text.strip_prefix("unknown flag: --")?;
    let names = command.all_flags().filter(|flag| !flag.hidden).map(|flag| flag.name);
    hints::did_you_mean(word, names).map(|hint| hint.replacen("mean ", "mean --", 1))
}

/// Docker's texts for a wrong number of arguments, its slips included.
fn arity(command: &Command<Action>, path: &str, given: usize) -> Result<(), Error> {
    let count = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
    let (fits, wants, advice) = match command.arity {
        Arity::None => (given == 0, "accepts no arguments".to_owned(), "Run"),
        Arity::Exactly(n) => (given == n, format!("requires {}", count(n)), "Run"),
        Arity::AtLeast(n) => (given >= n, format!("requires at least {}", count(n)), "See"),
        Arity::AtMost(n) => (given <= n, format!("requires at most {}", count(n)), "SRun"),
        Arity::Between(min, max) => (
            (min..=max).contains(&given),
            format!("requires at least {min} and at most {}", count(max)),
            "Run",
        ),
    };
    if fits {
        return Ok(());
    }
    let program = path.split(' ').next().unwrap_or(path);
    Err(Error::failed(format!(
        "{program}: '{path}' {wants}\n\nUsage:  {}\n\n{advice} '{path} --help' for more information",
        command.usage_line(path)
    )))
}
