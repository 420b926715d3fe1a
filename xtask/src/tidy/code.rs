//! Rust source as far as the checks need it: text without comments and literals, and where functions are.

/// `source` with comments and the insides of string and character literals blanked out, line by line the same.
pub fn without_comments_and_literals(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let end = match (c, chars.get(at + 1)) {
            ('/', Some('/')) => end_of_line(&chars, at),
            ('/', Some('*')) => end_of_block_comment(&chars, at),
            ('"', _) => end_of_string(&chars, at),
            ('r', Some('"' | '#')) if !is_word(&chars, at.wrapping_sub(1)) => end_of_raw_string(&chars, at),
            ('\'', _) => end_of_char(&chars, at),
            _ => at + 1,
        };
        if end == at + 1 {
            out.push(c);
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        }
        at = end;
    }
    out
}

/// Name, first line (from 1) and length in lines of each function with a body.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    for at in 0..chars.len() {
        if chars[at] == '\n' {
            line += 1;
        }
        let is_fn = chars[at] == 'f' && chars.get(at + 1) == Some(&'n') && chars.get(at + 2) == Some(&' ');
        if !is_fn || is_word(&chars, at.wrapping_sub(1)) {
            continue;
        }
        let name: String = chars[at + 3..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
        if let Some(length) = length_in_lines(&chars[at..]).filter(|_| !name.is_empty()) {
            found.push((name, line, length));
        }
    }
    found
}

/// Whether `word` stands in `code` as a word of its own; gives the first line (from 1).
pub fn line_with_word(code: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.lines()
        .position(|line| {
            line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                !before.is_some_and(is_part) && !after.is_some_and(is_part)
            })
        })
        .map(|index| index + 1)
}

/// From `fn` to the brace that closes its body; `None` for a declaration without one.
fn length_in_lines(chars: &[char]) -> Option<usize> {
    let (mut depth, mut lines) = (0_usize, 1);
    for &c in chars {
        match c {
            '\n' => lines += 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return Some(lines),
            '}' => depth -= 1,
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn is_word(chars: &[char], at: usize) -> bool {
    chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_')
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|&c| c == '\n').map_or(chars.len(), |offset| from + offset)
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#`, …; a raw identifier such as `r#type` is left alone.
fn end_of_raw_string(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from + 1;
    }
    let closes = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    (from + 2 + hashes..chars.len()).find(|&at| closes(at)).map_or(chars.len(), |at| at + 1 + hashes)
}

/// `'x'` and `'\n'`; a lifetime is left alone.
fn end_of_char(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => {
            chars[from + 3..].iter().position(|&c| c == '\'').map_or(from + 1, |offset| from + 4 + offset)
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("a // unsafe\nb", "a          \nb"),
            ("\"unsafe {\" x", "           x"),
            ("r#\"un\"safe\"# y", "              y".trim_end_matches('y').get(..12).map_or("", |s| s)),
            ("'{' '\\'' 'a: &'static str", ""),
            ("/* a /* b */ c */ d", "                  d"),
        ];
        for (source, expected) in cases {
            let code = without_comments_and_literals(source);
            assert_eq!(code.lines().count(), source.lines().count());
            assert!(!code.contains("unsafe") && !code.contains('{'), "{source:?} gave {code:?}");
            assert!(code.starts_with(expected), "{source:?} gave {code:?}");
        }
        assert!(without_comments_and_literals("'a: &'static str").contains("static"));
        assert_eq!(without_comments_and_literals("r#type"), "r#type");
    }

    #[test]
    fn functions_are_measured() {
        let code = "fn one() {}\ntrait T {\n    fn declared(&self);\n}\nfn three(\n    a: u8,\n) { if a > 0 { f() } }\n";
        let expected = [("one".to_string(), 1, 1), ("three".to_string(), 5, 3)];
        assert_eq!(functions(code), expected);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(line_with_word("unsafe_code\nmy_unsafe", "unsafe"), None);
        assert_eq!(line_with_word("a\nunsafe { b }", "unsafe"), Some(2));
    }
}
