//! Names: what is allowed, and the ones that are made up, in Docker's `adjective_surname` form.

use crate::error::{Error, Result};

/// Docker's rule, with its text.
pub(super) fn check(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.len() > 1 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest {
        return Ok(());
    }
    Err(invalid(name))
}

/// The refusal of a name.
pub(super) fn invalid(name: &str) -> Error {
    Error::invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
}

const LEFT: [&str; 48] = [
    "able", "amber", "brave", "bright", "brisk", "calm", "careful", "cheerful", "clear", "clever", "cosy",
    "curious", "daring", "deft", "eager", "earnest", "fair", "fleet", "fond", "frank", "gentle", "glad",
    "golden", "grand", "handy", "hardy", "honest", "humble", "jolly", "keen", "kind", "light", "lively",
    "loyal", "lucid", "mellow", "merry", "mild", "neat", "nimble", "patient", "plain", "quick", "quiet",
    "ready", "sharp", "sturdy", "warm",
];

/// People who weighed and measured.
const RIGHT: [&str; 40] = [
    "archimedes",
    "avogadro",
    "bernoulli",
    "boltzmann",
    "cassini",
    "cavendish",
    "celsius",
    "coulomb",
    "curie",
    "dalton",
    "eratosthenes",
    "euler",
    "fahrenheit",
    "faraday",
    "fermi",
    "fourier",
    "galileo",
    "gauss",
    "germain",
    "gibbs",
    "hamilton",
    "herschel",
    "hertz",
    "huygens",
    "joule",
    "kelvin",
    "kepler",
    "kirchhoff",
    "lagrange",
    "laplace",
    "lavoisier",
    "leavitt",
    "meitner",
    "mendeleev",
    "millikan",
    "noether",
    "ohm",
    "pascal",
    "rankine",
    "torricelli",
];

/// A name from eight random bytes; `attempt` adds a digit once the plain ones seem to be taken.
pub(super) fn generate(random: u64, attempt: u32) -> String {
    let left = LEFT[(random as usize) % LEFT.len()];
    let right = RIGHT[(random >> 16) as usize % RIGHT.len()];
    if attempt == 0 { format!("{left}_{right}") } else { format!("{left}_{right}{}", (random >> 32) % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["ab", "web-1", "A.b_c", "0x"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-ab", "a/b", "a b", "é1", "_x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for random in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            for attempt in 0..2 {
                assert!(check(&generate(random, attempt)).is_ok());
            }
        }
    }
}
