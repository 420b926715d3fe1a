//! Completion scripts for shells, from the table of commands.
//!
//! Words only: commands, the commands of groups, and flags that work. Names of containers and
//! images are asked of the program itself (`ps`, `images`), so that they are always current.

use std::fmt::Write as _;

use super::{Command, State};

/// The script for `shell`, or none if the shell is not known.
pub fn script<A: Copy>(root: &Command<A>, program: &str, shell: &str) -> Option<String> {
    let rows = rows(root);
    match shell {
        "bash" => Some(bash(program, &rows)),
        "zsh" => Some(format!(
            "#compdef {program}\nautoload -U +X bashcompinit && bashcompinit\n{}",
            bash(program, &rows)
        )),
        "fish" => Some(fish(program, &rows)),
        _ => None,
    }
}

/// A place in the tree of commands and the words that may follow it.
struct Row {
    path: String,
    words: Vec<(String, &'static str)>,
    names: &'static str,
}

fn rows<A: Copy>(root: &Command<A>) -> Vec<Row> {
    let mut out = vec![Row { path: String::new(), words: words(root), names: "" }];
    for command in root.commands.iter().filter(|c| c.state == State::Ready) {
        out.push(row(command, command.name.to_owned()));
        for sub in command.commands.iter().filter(|c| c.state == State::Ready) {
            out.push(row(sub, format!("{} {}", command.name, sub.name)));
        }
    }
    out
}

fn row<A: Copy>(command: &Command<A>, path: String) -> Row {
    let names = if path == "network connect" || path == "network disconnect" {
        "networks and containers"
    } else if command.synopsis.contains("CONTAINER") {
        "containers"
    } else if path.starts_with("network ") && command.synopsis.contains("NETWORK ") {
        "networks"
    } else if path.starts_with("volume ") && command.synopsis.contains("VOLUME ") {
        "volumes"
    } else if command.synopsis.contains("IMAGE") || command.synopsis.contains("REPOSITORY") {
        "images"
    } else {
        ""
    };
    Row { path, words: words(command), names }
}

fn words<A: Copy>(command: &Command<A>) -> Vec<(String, &'static str)> {
    let commands =
        command.commands.iter().filter(|c| c.state == State::Ready).map(|c| (c.name.to_owned(), c.about));
    let flags = command.all_flags().filter(|f| f.state == State::Ready && !f.hidden);
    commands.chain(flags.map(|f| (format!("--{}", f.name), f.help))).collect()
}

/// The program's own commands that list the names which may follow.
fn asks(program: &str, row: &Row) -> Vec<String> {
    let containers = format!("{program} ps -a --format '{{{{.Names}}}}'");
    let networks = format!("{program} network ls --format '{{{{.Name}}}}'");
    match row.names {
        "containers" => vec![containers],
        "images" => vec![format!("{program} images --format '{{{{.Repository}}}}:{{{{.Tag}}}}'")],
        "networks" => vec![networks],
        "networks and containers" => vec![networks, containers],
        "volumes" => vec![format!("{program} volume ls --format '{{{{.Name}}}}'")],
        _ => Vec::new(),
    }
}

fn bash(program: &str, rows: &[Row]) -> String {
    let mut cases = String::new();
    for row in rows {
        let words: Vec<&str> = row.words.iter().map(|(w, _)| w.as_str()).collect();
        let names: String = asks(program, row).iter().map(|ask| format!(" $({ask} 2>/dev/null)")).collect();
        let _ = writeln!(cases, "    \"{}\") words=\"{}{names}\" ;;", row.path, words.join(" "));
    }
    format!(
        "_{program}() {{\n  local cur=\"${{COMP_WORDS[COMP_CWORD]}}\" path=\"\" words=\"\" i word\n  \
         for ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n    word=\"${{COMP_WORDS[i]}}\"\n    \
         [[ $word == -* ]] && break\n    case \"$path\" in \"\"|container|image|network|system|volume) path=\"${{path:+$path }}$word\" ;; esac\n  done\n  \
         case \"$path\" in\n{cases}  esac\n  \
         COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}}\n\
         complete -o default -F _{program} {program}\n"
    )
}

fn fish(program: &str, rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let condition = match row.path.split_once(' ') {
            _ if row.path.is_empty() => "__fish_use_subcommand".to_owned(),
            Some((group, sub)) => {
                format!("__fish_seen_subcommand_from {group}; and __fish_seen_subcommand_from {sub}")
            }
            None => format!("__fish_seen_subcommand_from {}", row.path),
        };
        for (word, about) in &row.words {
            let about = about.lines().next().unwrap_or("").replace('\'', "\\'");
            let what = match word.strip_prefix("--") {
                Some(flag) => format!("-l {flag}"),
                None => format!("-f -a {word}"),
            };
            let _ = writeln!(out, "complete -c {program} -n '{condition}' {what} -d '{about}'");
        }
        for ask in asks(program, row) {
            let _ = writeln!(out, "complete -c {program} -n '{condition}' -f -a \"({ask} 2>/dev/null)\"");
        }
    }
    out
}
