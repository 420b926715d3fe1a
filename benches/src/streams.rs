//! Bytes through an engine: a log read back, a container's output into its log, to a client, and of an exec.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use anyhow::{Context as _, Result};

use crate::contest::{self, Contest, Contestant};
use crate::inside::{IMAGE, shell};

/// 79 characters: with its newline a line has 80 bytes.
const LINE: &str = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ and some more.";
const ENGINES: [&str; 2] = ["tare", "docker"];

/// Holds the contests with so many megabytes of output each; few turns, since each is long.
pub fn run(megabytes: usize, rounds: usize) -> Result<Vec<Contest>> {
    let rounds = rounds.min(3);
    for engine in ENGINES {
        shell(&format!("{engine} run -d --name flow {IMAGE} sleep 10000"))?;
        shell(&format!("{engine} run --name written {IMAGE} true"))?;
        let path = shell(&format!("{engine} inspect --format '{{{{.LogPath}}}}' written"))?;
        write_log(&path, megabytes).with_context(|| format!("write the log {path}"))?;
    }
    let produce = format!("yes '{LINE}' | head -c {}", megabytes * 1_000_000);
    let of_each = |words: &dyn Fn(&'static str) -> Vec<String>| {
        let one = |engine: &'static str| Contestant::of_words(engine, words(engine));
        ENGINES.map(one).to_vec()
    };
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>();
    let floor = Contestant::of_words("floor", strings(&["sh", "-c", &format!("{produce} | cat")]));
    let with_floor = |mut list: Vec<Contestant>| {
        list.insert(0, floor.clone());
        list
    };
    let log = of_each(&|engine| strings(&[engine, "logs", "written"]));
    // The script is a word of its own: the line in it is quoted.
    let into_log = of_each(&|engine| {
        let line = format!(
            "{engine} run -d --name into {IMAGE} sh -c \"$0\" && {engine} wait into && {engine} rm into"
        );
        strings(&["sh", "-c", &line, &produce])
    });
    let attached = of_each(&|engine| strings(&[engine, "run", "--rm", IMAGE, "sh", "-c", &produce]));
    let exec = of_each(&|engine| strings(&[engine, "exec", "flow", "sh", "-c", &produce]));
    let contests = vec![
        contest::hold("logs of a large json-file log", log, rounds),
        contest::hold("a container's stdout into the json-file log", with_floor(into_log), rounds),
        contest::hold("a container's stdout, attached (and into its log)", with_floor(attached), rounds),
        contest::hold("stdout of exec", with_floor(exec), rounds),
    ];
    for engine in ENGINES {
        shell(&format!("{engine} rm -f flow written"))?;
    }
    Ok(contests)
}

/// Megabytes of lines, as both engines write them.
fn write_log(path: &str, megabytes: usize) -> std::io::Result<()> {
    let entry = format!(
        "{{\"log\":\"{LINE}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.123456789Z\"}}\n"
    );
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..megabytes * 1_000_000 / (LINE.len() + 1) {
        file.write_all(entry.as_bytes())?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_has_eighty_bytes() {
        assert_eq!(super::LINE.len() + 1, 80);
    }
}
