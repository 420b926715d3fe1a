//! Files of `NAME=value` lines: `--env-file`, `--label-file`.

use std::fmt;

/// A file that is larger than this is not one of options.
pub const MAX_FILE_LEN: u64 = 16 << 20;
/// The longest line that Docker's client reads.
const MAX_LINE_LEN: usize = 64 * 1024;

/// Reads a whole file.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, Unreadable>;

/// Why a file could not be read, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// `open x: no such file or directory`
    pub text: String,
    /// It could be opened.
    pub opened: bool,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Unreadable {
    fn from(text: String) -> Unreadable {
        Unreadable { text, opened: false }
    }
}

/// The pairs of several files, in order. `variable` gives the value of a name that stands alone; without one, or
/// without a value, the line does not count.
pub fn pairs(
    files: &[String],
    read: Read<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for path in files {
        let invalid = |reason: &str| format!("invalid env file ({path}): {reason}");
        let text = read(path).map_err(|e| if e.opened { invalid(&e.text) } else { e.text })?;
        out.extend(parse(&text, variable).map_err(|e| invalid(&e))?);
    }
    Ok(out)
}

fn parse(text: &[u8], variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        if line.len() >= MAX_LINE_LEN {
            return Err("bufio.Scanner: token too long".to_owned());
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
            return Err(format!("invalid utf8 bytes at line {}: [{}]", at + 1, bytes.join(" ")));
        };
        let line = if at == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        // White space at the end is part of the value.
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(n, v)| (n, Some(v)));
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains([' ', '\t']) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        match value {
            Some(_) => out.push(line.to_owned()),
            None => out.extend(variable(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let variable = |name: &str| (name == "SET").then(|| "1".to_owned());
        for (text, want) in [
            ("A=1\nB= 2 \n", Ok("A=1|B= 2 ")),
            ("\u{feff}A=1\r\n\r\n  # x\n\tB=\"q\"", Ok("A=1|B=\"q\"")),
            ("SET\nUNSET\nA=b=c", Ok("SET=1|A=b=c")),
            ("", Ok("")),
            ("=x", Err("no variable name on line '=x'")),
            ("A B=x", Err("variable 'A B' contains whitespaces")),
            ("A =x", Err("variable 'A ' contains whitespaces")),
        ] {
            let got = parse(text.as_bytes(), &variable).map(|l| l.join("|"));
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text:?}");
        }
        assert_eq!(parse(b"x\na\xff", &variable).unwrap_err(), "invalid utf8 bytes at line 2: [97 255]");
    }
}
