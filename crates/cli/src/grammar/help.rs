//! Help texts, laid out as Docker's (pflag's flag columns, cobra's sections).
//!
//! What works is listed; Docker's flags that Tare does not have yet are named below the options,
//! because a help that lists a flag which is then refused would mislead.

use std::fmt::Write as _;

use super::{Command, Flag, Kind, State, numbers};

/// The width that is taken when standard input is no terminal.
pub const DEFAULT_WIDTH: usize = 80;

/// Command names are padded to at least this width.
const MIN_NAME_WIDTH: usize = 11;

/// What a help text shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// What works, and the names of what does not yet.
    Ready,
    /// All that Docker has and nothing else, as its own help; for comparison with it.
    Docker,
}

/// The help of one command or group; `path` starts with the program's name.
pub fn command<A: Copy>(command: &Command<A>, path: &str, width: usize, show: Show) -> String {
    let program = path.split(' ').next().unwrap_or(path);
    let mut out = String::new();
    if command.commands.is_empty() {
        let _ = write!(out, "Usage:  {}\n\n{}", command.usage_line(path), command.about);
    } else {
        let _ = write!(out, "Usage:  {path} COMMAND\n\n{}", command.about);
    }
    if !command.paths.is_empty() {
        let full: Vec<String> = command.paths.iter().map(|p| format!("{program} {p}")).collect();
        let _ = write!(out, "\n\nAliases:\n  {}", full.join(", "));
    }
    if !command.examples.is_empty() && show == Show::Ready {
        let _ = write!(out, "\n\nExamples:\n{}", command.examples.replace("tare ", &format!("{program} ")));
    }
    let flags: Vec<&Flag> = visible(command.all_flags(), show);
    if !flags.is_empty() {
        let _ = write!(out, "\n\nOptions:\n{}", columns(&flags, width - 1).trim_end());
    }
    let later: Vec<&Flag> = command.all_flags().filter(|f| f.state != State::Ready && !f.hidden).collect();
    if show == Show::Ready && !later.is_empty() {
        let _ = write!(out, "\n\nNot available yet:\n{}", later_names(&later, width));
    }
    if !command.commands.is_empty() {
        let rows: Vec<(&str, &str)> = ready(command.commands, show).map(|c| (c.name, c.about)).collect();
        let _ = write!(out, "\n\nCommands:\n{}", names(&rows, name_width(command.commands)).trim_end());
        let _ = write!(out, "\n\nRun '{path} COMMAND --help' for more information on a command.");
    }
    out.push('\n');
    out
}

/// The help of the whole program.
pub fn program<A: Copy>(
    root: &Command<A>,
    program: &str,
    extra: &[(String, String)],
    width: usize,
) -> String {
    let pad = name_width(root.commands).max(extra.iter().map(|(n, _)| n.len()).max().unwrap_or(0));
    let mut out = format!("Usage:  {program} [OPTIONS] COMMAND\n\n{}", root.about);
    let mut common: Vec<_> = ready(root.commands, Show::Ready).filter(|c| c.common.is_some()).collect();
    common.sort_by_key(|c| c.common);
    let rows = |list: &[&Command<A>]| list.iter().map(|c| (c.name, c.about)).collect::<Vec<_>>();
    let _ = write!(out, "\n\nCommon Commands:\n{}", names(&rows(&common), pad).trim_end());
    let groups: Vec<_> = ready(root.commands, Show::Ready).filter(|c| !c.commands.is_empty()).collect();
    if !groups.is_empty() {
        let _ = write!(out, "\n\nManagement Commands:\n{}", names(&rows(&groups), pad).trim_end());
    }
    let others: Vec<_> =
        ready(root.commands, Show::Ready).filter(|c| c.common.is_none() && c.commands.is_empty()).collect();
    let mut all = rows(&others);
    all.extend(extra.iter().map(|(n, a)| (n.as_str(), a.as_str())));
    all.sort_unstable();
    let _ = write!(out, "\n\nCommands:\n{}", names(&all, pad).trim_end());
    let flags = visible(root.all_flags(), Show::Ready);
    let _ = write!(out, "\n\nGlobal Options:\n{}", columns(&flags, width - 1).trim_end());
    let _ = write!(out, "\n\nRun '{program} COMMAND --help' for more information on a command.\n");
    out
}

/// Docker shows a flag's two names, its value's word and its text in two columns.
pub fn columns(flags: &[&Flag], width: usize) -> String {
    let mut sorted = flags.to_vec();
    sorted.sort_by_key(|f| f.name);
    let rows: Vec<(String, String)> = sorted.iter().map(|f| (left(f), right(f))).collect();
    let widest = rows.iter().map(|(l, _)| l.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (left, right) in rows {
        let text = wrap(widest + 3, width, &right);
        let _ = writeln!(out, "{left:widest$}   {text}");
    }
    out
}

fn left(flag: &Flag) -> String {
    let mut out = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.name),
        None => format!("      --{}", flag.name),
    };
    if !flag.word().is_empty() {
        let _ = write!(out, " {}", flag.word());
    }
    if let Kind::Optional(value) = flag.kind {
        let _ = write!(out, "[=\"{value}\"]");
    }
    out
}

fn right(flag: &Flag) -> String {
    if flag.default.is_empty() {
        return flag.help.to_owned();
    }
    let shown = match flag.kind {
        Kind::Text | Kind::Optional(_) => numbers::quote(flag.default),
        _ => flag.default.to_owned(),
    };
    format!("{} (default {shown})", flag.help)
}

fn visible(flags: impl Iterator<Item = &'static Flag>, show: Show) -> Vec<&'static Flag> {
    let shown = |f: &Flag| match show {
        Show::Docker => !f.own,
        Show::Ready => f.state == State::Ready,
    };
    flags.filter(|f| !f.hidden && shown(f)).collect()
}

fn ready<A: Copy>(commands: &'static [Command<A>], show: Show) -> impl Iterator<Item = &'static Command<A>> {
    commands.iter().filter(move |c| show == Show::Docker || c.state == State::Ready)
}

fn name_width<A: Copy>(commands: &[Command<A>]) -> usize {
    commands.iter().map(|c| c.name.len()).max().unwrap_or(0).max(MIN_NAME_WIDTH)
}

fn names(rows: &[(&str, &str)], pad: usize) -> String {
    let mut out = String::new();
    for (name, about) in rows {
        // A list has no room for a second sentence or paragraph.
        let short = about.split(". ").next().unwrap_or(about);
        let short = short.split("\n\n").next().unwrap_or(short);
        let _ = writeln!(out, "  {name:pad$} {short}");
    }
    out
}

fn later_names(flags: &[&Flag], width: usize) -> String {
    let mut out = String::from(" ");
    let mut used = 1;
    for (at, flag) in flags.iter().enumerate() {
        let word = format!(" --{}{}", flag.name, if at + 1 == flags.len() { "" } else { "," });
        if used + word.len() >= width {
            out.push_str("\n ");
            used = 1;
        }
        out.push_str(&word);
        used += word.len();
    }
    out
}

/// pflag's wrapping: `indent` columns are taken on the left; lines may run over by a few columns
/// when that keeps a short last word from standing alone.
fn wrap(indent: usize, width: usize, text: &str) -> String {
    const SLOP: usize = 5;
    const NARROWEST: usize = 24;
    let mut indent = indent;
    let mut room = width.saturating_sub(indent);
    let mut out = String::new();
    if room < NARROWEST {
        indent = 16;
        room = width.saturating_sub(indent);
        out.push('\n');
        out.push_str(&" ".repeat(indent));
    }
    if room < NARROWEST {
        return text.to_owned();
    }
    let margin = format!("\n{}", " ".repeat(indent));
    let mut rest = text;
    let mut first = true;
    while first || !rest.is_empty() {
        let (line, tail) = split_line(room - SLOP, SLOP, rest);
        if !first {
            out.push_str(&margin);
        }
        out.push_str(&line.replace('\n', &margin));
        rest = tail;
        first = false;
    }
    out
}

fn split_line(room: usize, slop: usize, text: &str) -> (&str, &str) {
    if room + slop > text.len() {
        return (text, "");
    }
    let head = &text.as_bytes()[..room];
    let Some(space) = head.iter().rposition(|b| matches!(b, b' ' | b'\t' | b'\n')).filter(|at| *at > 0)
    else {
        return (text, "");
    };
    let at = match head.iter().rposition(|b| *b == b'\n') {
        Some(newline) if newline > 0 && newline < space => newline,
        _ => space,
    };
    (&text[..at], &text[at + 1..])
}
