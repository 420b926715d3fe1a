//! The name filter of Docker's lists: a regular expression.
//!
//! Go's syntax and this crate's agree in what people write here; a pattern that is none matches nothing, as with
//! dockerd (`filters.Args.Match`). The time is linear in pattern and name, both of which are bounded.

/// The longest pattern that is looked at.
const MAX_PATTERN: usize = 4096;

/// Whether a container's name, with or without its slash, contains a match of `pattern`.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > MAX_PATTERN {
        return false;
    }
    // Most are plain words, which need no automaton.
    if !pattern.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '/')) {
        return name.contains(pattern) || format!("/{name}").contains(pattern);
    }
    let Ok(pattern) = regex_lite::Regex::new(pattern) else { return false };
    pattern.is_match(name) || pattern.is_match(&format!("/{name}"))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_with_and_without_their_slash() {
        let cases = [
            ("p1", true),
            ("^p1$", true),
            ("^/p1$", true),
            ("/p1", true),
            ("^p", true),
            ("^/p", true),
            ("1$", true),
            ("^1$", false),
            ("/p$", false),
            ("p2", false),
            ("web|p[0-9]", true),
            ("^(web|db)$", false),
            ("x*", true),
            ("P1", false),
            ("(?i)P1", true),
            ("[", false),
        ];
        for (pattern, expected) in cases {
            assert_eq!(matches(pattern, "p1"), expected, "{pattern}");
        }
        assert!(!matches(&"p".repeat(5000), &"p".repeat(6000)));
    }
}
