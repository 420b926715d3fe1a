//! Hints: what to do next, said in one line below an error.
//!
//! Docker's texts are kept word for word, for people and programs that know them. What they leave unsaid stands on a
//! last line of standard error that begins with `hint: `; `TARE_HINTS=0` leaves it out. [`of`] is pure: it knows the
//! error's text and the [`Facts`] that [`facts`] has gathered for it. A hint never changes an exit code.

pub(crate) mod facts;
mod port;
mod rules;

use crate::session::variable;

/// What stands in front of each.
const MARK: &str = "hint: ";

/// A name is meant when it is at most so many slips away.
const MAX_SLIPS: usize = 2;

/// What was looked up for a hint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// `tare` or `docker`.
    pub program: String,
    /// Names of the kind that was not found.
    pub names: Vec<String>,
    /// Who holds the port: `the container web`, `pid 7 (nginx)`.
    pub holder: Option<String>,
}

/// Whether hints are wanted.
pub(crate) fn are_on() -> bool {
    variable("TARE_HINTS").is_none_or(|value| value != "0")
}

/// The line as it is printed.
pub(crate) fn line(hint: &str) -> String {
    format!("{MARK}{hint}")
}

/// The hint for an error's text.
pub(crate) fn of(text: &str, facts: &Facts) -> Option<String> {
    if let Some((port, protocol)) = port::taken(text) {
        return Some(port::hint(port, protocol, facts));
    }
    if let Some(wanted) = rules::missing_name(text)
        && let Some(near) = nearest(wanted, facts.names.iter().map(String::as_str))
    {
        return Some(format!("did you mean {near}?"));
    }
    rules::hint(text, &facts.program)
}

/// For a word that is none of those there are.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean {near}?"))
}

/// The word that is the fewest slips away, if that is few enough.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips = known.map(|name| (distance(word, name), name)).filter(|(slips, name)| {
        // Of a short word two letters are the most of it.
        *slips <= MAX_SLIPS && slips * 3 <= name.chars().count().max(word.chars().count()) && *slips > 0
    });
    slips.min().map(|(_, name)| name)
}

/// How many letters must be changed, added, removed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > MAX_SLIPS {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str], holder: Option<&str>) -> Facts {
        Facts {
            program: "tare".into(),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            holder: holder.map(str::to_owned),
        }
    }

    #[test]
    fn a_slip_is_recognised() {
        for (word, known, expected) in [
            ("ngnix", &["nginx", "redis"][..], Some("nginx")),
            ("wbe", &["web"], Some("web")),
            ("web", &["web"], None),
            ("db", &["web"], None),
            ("ab", &["cd"], None),
            ("busybx:latest", &["busybox:latest"], Some("busybox:latest")),
            ("rnu", &["run", "rm"], Some("run")),
            ("", &["a"], None),
        ] {
            assert_eq!(nearest(word, known.iter().copied()), expected, "{word}");
        }
    }

    #[test]
    fn names_and_holders_are_told() {
        let text = "Error response from daemon: No such container: wbe";
        assert_eq!(of(text, &with(&["web"], None)).as_deref(), Some("did you mean web?"));
        assert!(of(text, &with(&["redis"], None)).unwrap().contains("tare ps -a"));
        let text = "docker: Error response from daemon: failed to set up container networking: driver failed programming external connectivity on endpoint x (id): Bind for 0.0.0.0:8080 failed: port is already allocated\n\nRun 'docker run --help' for more information";
        assert_eq!(
            of(text, &with(&[], Some("the container web"))).as_deref(),
            Some(
                "the container web has port 8080; stop it, or publish another one, as in -p 8081:CONTAINER_PORT"
            )
        );
        assert!(of(text, &with(&[], None)).unwrap().contains("ss -ltnp"));
        assert_eq!(of("Error response from daemon: something else", &with(&[], None)), None);
    }
}
