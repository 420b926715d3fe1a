//! Contestants that take turns at one piece of work, and the samples that come of it.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cpu;

/// A published port that has not answered by then never will.
const PORT_LIMIT: Duration = Duration::from_secs(20);
/// So long what a turn left to the background may still work, and counts as its processor time.
const BACKGROUND: Duration = Duration::from_millis(30);

/// One program at one piece of work. `{n}` in a word is the number of the turn, for names that must differ.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// Its name in the table.
    pub name: &'static str,
    /// What is timed.
    pub command: Vec<String>,
    /// The clock runs on until this port on 127.0.0.1 gives a byte.
    pub until_port: Option<u16>,
    /// What is done after the clock has stopped.
    pub after: Vec<String>,
}

impl Contestant {
    /// A contestant whose work ends with its command.
    pub fn new(name: &'static str, line: &str) -> Contestant {
        Contestant { name, command: words(line), until_port: None, after: Vec::new() }
    }

    /// A contestant whose words are not to be split.
    pub fn of_words(name: &'static str, command: Vec<String>) -> Contestant {
        Contestant { name, command, until_port: None, after: Vec::new() }
    }

    /// The clock stops at the first answer of a published port; then `after` is run.
    #[must_use]
    pub fn until_port(mut self, port: u16, after: &str) -> Contestant {
        self.until_port = Some(port);
        self.after = words(after);
        self
    }
}

/// The samples of one piece of work, contestant by contestant in the same order of turns.
#[derive(Debug, Clone)]
pub struct Contest {
    /// What was done.
    pub work: &'static str,
    /// (name, nanoseconds of each turn).
    pub samples: Vec<(&'static str, Vec<u64>)>,
    /// (name, nanoseconds of processor time of the whole test host in each turn and shortly after it).
    pub cpu: Vec<(&'static str, Vec<u64>)>,
    /// Who could not take part, and why.
    pub absent: Vec<(&'static str, String)>,
}

/// Lets all contestants take turns. Who fails at the warm-up is left out, with its words.
pub fn hold(work: &'static str, contestants: Vec<Contestant>, rounds: usize) -> Contest {
    let mut contest = Contest { work, samples: Vec::new(), cpu: Vec::new(), absent: Vec::new() };
    let mut fit = Vec::new();
    for contestant in contestants {
        match turn(&contestant, 0) {
            Ok(_) => {
                contest.samples.push((contestant.name, Vec::new()));
                contest.cpu.push((contestant.name, Vec::new()));
                fit.push(contestant);
            }
            Err(why) => contest.absent.push((contestant.name, why)),
        }
    }
    for round in 1..=rounds {
        let places = contest.samples.iter_mut().zip(&mut contest.cpu);
        for (contestant, ((_, samples), (_, used))) in fit.iter().zip(places) {
            let before = cpu::used();
            match turn(contestant, round) {
                Ok(took) => {
                    samples.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                    std::thread::sleep(BACKGROUND);
                    used.extend(cpu::used().zip(before).map(|(after, before)| after - before));
                }
                Err(why) => eprintln!("{work}, {}, turn {round}: {why}", contestant.name),
            }
        }
    }
    contest
}

fn turn(contestant: &Contestant, number: usize) -> Result<Duration, String> {
    let number = number.to_string();
    let command = |words: &[String]| -> Option<Command> {
        let (program, args) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(args.iter().map(|word| word.replace("{n}", &number)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Some(command)
    };
    let mut timed = command(&contestant.command).ok_or("no command")?;
    let start = Instant::now();
    let output = timed.output().map_err(|error| format!("{:?}: {error}", contestant.command))?;
    let answered = contestant.until_port.is_none_or(wait_for_byte);
    let took = start.elapsed();
    if let Some(mut after) = command(&contestant.after) {
        let _ = after.output();
    }
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{:?}: {}", contestant.command.join(" "), text.trim()));
    }
    if answered { Ok(took) } else { Err("its port never answered".to_string()) }
}

/// A connection alone proves nothing: a proxy accepts before the container listens.
fn wait_for_byte(port: u16) -> bool {
    let end = Instant::now() + PORT_LIMIT;
    while Instant::now() < end {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            if matches!(stream.read(&mut [0]), Ok(1)) {
                return true;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

fn words(line: &str) -> Vec<String> {
    // `'…'` keeps a shell line together.
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_string());
        } else {
            words.extend(part.split_whitespace().map(str::to_string));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_quotes_kept() {
        assert_eq!(words("a b 'c d' e"), ["a", "b", "c d", "e"]);
    }

    #[test]
    fn turns_are_sampled_and_the_unfit_left_out() {
        let contestants =
            vec![Contestant::new("good", "true"), Contestant::new("bad", "sh -c 'echo no >&2; exit 3'")];
        let contest = hold("nothing", contestants, 3);
        assert_eq!(contest.samples.len(), 1);
        assert_eq!(contest.samples[0].1.len(), 3);
        assert!(contest.absent[0].1.ends_with(": no"), "{:?}", contest.absent);
    }
}
