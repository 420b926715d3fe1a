//! One line of comma-separated values, as Go's `encoding/csv` reads it: `--mount`, `--gpus`, `--network`.
//!
//! A field may be enclosed in double quotes, and a quote inside is then written twice; a bare quote in a field
//! that is not enclosed is an error. Error texts are Go's, columns count bytes from 1.

/// The fields of the first line that is not empty.
pub fn fields(text: &str) -> Result<Vec<String>, String> {
    let (number, line) = first_line(text).ok_or_else(|| "EOF".to_owned())?;
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let rest = &line[at..];
        if !rest.starts_with('"') {
            let end = rest.find(',').unwrap_or(rest.len());
            if let Some(quote) = rest[..end].find('"') {
                return Err(failure(number, at + quote + 1, "bare \" in non-quoted-field"));
            }
            out.push(rest[..end].to_owned());
            at += end;
        } else {
            let (field, used) =
                enclosed(rest).map_err(|(place, what)| failure(number, at + place + 1, what))?;
            out.push(field);
            at += used;
        }
        if at >= line.len() {
            return Ok(out);
        }
        at += 1;
    }
}

/// Go skips empty lines; a quoted field that goes on over a line's end is not cut there.
fn first_line(text: &str) -> Option<(usize, &str)> {
    let mut rest = text;
    let mut number = 1;
    while let Some(next) = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\r\n")) {
        rest = next;
        number += 1;
    }
    if rest.is_empty() {
        return None;
    }
    let mut inside = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' => inside = !inside,
            '\n' if !inside => return Some((number, rest[..at].trim_end_matches('\r'))),
            _ => {}
        }
    }
    Some((number, rest))
}

/// An enclosed field and how many bytes it took; the error is a place in it and what is wrong there.
fn enclosed(text: &str) -> Result<(String, usize), (usize, &'static str)> {
    const EXTRANEOUS: &str = "extraneous or missing \" in quoted-field";
    let mut out = String::new();
    let mut at = 1;
    loop {
        let Some(length) = text[at..].find('"') else { return Err((text.len(), EXTRANEOUS)) };
        out.push_str(&text[at..at + length]);
        at += length + 1;
        match text.as_bytes().get(at) {
            Some(b'"') => {
                out.push('"');
                at += 1;
            }
            None | Some(b',') => return Ok((out, at)),
            Some(_) => return Err((at - 1, EXTRANEOUS)),
        }
    }
}

fn failure(line: usize, column: usize, what: &str) -> String {
    format!("parse error on line {line}, column {column}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (text, want) in [
            ("a", Ok(&["a"][..])),
            ("a,b=c", Ok(&["a", "b=c"])),
            ("a,", Ok(&["a", ""])),
            (",", Ok(&["", ""])),
            (" a, b", Ok(&[" a", " b"])),
            ("\"a,b\",c", Ok(&["a,b", "c"])),
            ("\"a\"\"b\"", Ok(&["a\"b"])),
            ("\n\na\nb", Ok(&["a"])),
            ("\"a\nb\",c", Ok(&["a\nb", "c"])),
            ("", Err("EOF")),
            ("a\"b", Err("parse error on line 1, column 2: bare \" in non-quoted-field")),
            ("x,a\"b", Err("parse error on line 1, column 4: bare \" in non-quoted-field")),
            ("\"a", Err("parse error on line 1, column 3: extraneous or missing \" in quoted-field")),
            ("\"a\"b", Err("parse error on line 1, column 3: extraneous or missing \" in quoted-field")),
        ] {
            let got = fields(text);
            let want = want.map(|w| w.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>());
            assert_eq!(got, want.map_err(str::to_owned), "{text:?}");
        }
    }
}
