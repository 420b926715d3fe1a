//! What runs in a container: the host's `ps`, of whose lines those of the container's processes are kept.
//!
//! dockerd does the same: its API promises the columns of any `ps` options.

use crate::Engine;
use crate::error::{Error, Kind, Result};
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `ps` is asked when the client asks nothing.
const DEFAULT_OPTIONS: &str = "-ef";

/// A table of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// The columns' names.
    pub titles: Vec<String>,
    /// A line for each process.
    pub rows: Vec<Vec<String>>,
}

impl Engine {
    /// The processes of a running container, as `ps` with these options shows them. Blocks while it runs.
    pub fn top(&self, word: &str, options: &str) -> Result<Processes> {
        let container = self.container(word)?;
        if !container.is_running() {
            return Err(Error::new(Kind::Conflict, format!("container {} is not running", container.id)));
        }
        let options = if options.trim().is_empty() { DEFAULT_OPTIONS } else { options };
        check(options)?;
        let group = cgroup::Cgroup::open(self.cgroup_layout()?, Path::new(&container.cgroup))?;
        let pids: HashSet<i32> = group.pids()?.into_iter().collect();
        let output = Command::new("ps").args(options.split_whitespace()).stdin(Stdio::null()).output();
        let output = output.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(Kind::Internal, "error running ps: the host has no ps (package procps)")
            }
            _ => Error::new(Kind::Internal, format!("error running ps: {e}")),
        })?;
        if !output.status.success() {
            // As dockerd: its first line, `error: …`; the rest is ps's usage.
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.trim().lines().next().unwrap_or_default();
            return Err(Error::new(Kind::Internal, format!("ps: {first}")));
        }
        let found = read(&String::from_utf8_lossy(&output.stdout), &pids)?;
        self.tell_container(&container, "top", &[]);
        Ok(found)
    }
}

/// An option that renames a column would make its name the client's choice.
fn check(options: &str) -> Result<()> {
    for word in options.split_whitespace() {
        if word.to_ascii_lowercase().contains("pid=") {
            return Err(Error::invalid(format!("specifying {word:?} is not allowed")));
        }
    }
    Ok(())
}

fn read(output: &str, pids: &HashSet<i32>) -> Result<Processes> {
    let mut lines = output.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_string).collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::new(Kind::Internal, "Couldn't find PID field in ps output"))?;
    let mut rows = Vec::new();
    let mut of_container = false;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A thread's line has a dash for the process that was named before.
        match words.get(column) {
            None => continue,
            Some(&"-") => {}
            Some(word) => of_container = word.parse().is_ok_and(|pid: i32| pids.contains(&pid)),
        }
        if of_container {
            rows.push(row(&words, titles.len()));
        }
    }
    Ok(Processes { titles, rows })
}

/// The last column takes the rest of the line.
fn row(words: &[&str], columns: usize) -> Vec<String> {
    let fixed = columns.saturating_sub(1).min(words.len());
    let mut row: Vec<String> = words[..fixed].iter().map(|word| (*word).to_string()).collect();
    row.push(words[fixed..].join(" "));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let output = "UID        PID CMD\nroot         1 /sbin/init\nroot       303 sleep 1000 s\nroot         - -\nroot       304 x\n";
        let found = read(output, &[303].into()).unwrap();
        assert_eq!(found.titles, ["UID", "PID", "CMD"]);
        assert_eq!(found.rows, [["root", "303", "sleep 1000 s"], ["root", "-", "-"]]);
        let error = read("COMMAND\nsleep\n", &HashSet::new()).unwrap_err();
        assert_eq!(error.message, "Couldn't find PID field in ps output");
        assert_eq!(check("-o pid=PID").unwrap_err().message, "specifying \"pid=PID\" is not allowed");
    }
}
