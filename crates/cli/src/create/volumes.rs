//! `-v`: which values are binds of the host and which are anonymous volumes.
//!
//! Only as much is read as Docker's CLI reads; what a mode means is the engine's business.

/// What `-v` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// `source:target[:mode]`, a relative source made absolute.
    pub binds: Vec<String>,
    /// Paths in the container.
    pub anonymous: Vec<String>,
}

/// Sorts the values of `-v`; `folder` is where relative paths start.
pub fn split(given: &[String], folder: &str) -> Result<Volumes, String> {
    let mut out = Volumes::default();
    for spec in given {
        match source(spec)? {
            None => add(&mut out.anonymous, spec.clone()),
            Some(source) if source.starts_with('.') => {
                let rest = &spec[source.len()..];
                add(&mut out.binds, format!("{}{rest}", absolute(folder, source)));
            }
            Some(_) => add(&mut out.binds, spec.clone()),
        }
    }
    Ok(out)
}

fn add(list: &mut Vec<String>, value: String) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// The part before the first colon; none for an anonymous volume.
fn source(spec: &str) -> Result<Option<&str>, String> {
    if spec.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if spec.chars().count() <= 2 && spec.len() <= 2 {
        return Ok(None);
    }
    let fields: Vec<&str> = spec.split(':').collect();
    if fields.iter().any(|f| f.is_empty()) {
        return Err(format!("invalid spec: {spec}: empty section between colons"));
    }
    // A single letter before a colon could be a Windows drive, which Docker does not cut there.
    let mut joined: Vec<String> = Vec::new();
    let mut at = 0;
    while at < fields.len() {
        let field = fields[at];
        let drive = field.chars().count() == 1 && field.chars().all(char::is_alphabetic);
        if drive && at + 1 < fields.len() {
            joined.push(format!("{field}:{}", fields[at + 1]));
            at += 2;
        } else {
            joined.push(field.to_owned());
            at += 1;
        }
    }
    match joined.len() {
        1 => Ok(None),
        2 | 3 => Ok(Some(&spec[..joined[0].len()])),
        _ => Err(format!("invalid spec: {spec}: too many colons")),
    }
}

/// A path from `folder`, with `.` and `..` resolved by their names.
pub fn absolute(folder: &str, path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (spec, want) in [
            ("/a:/b", "bind /a:/b"),
            ("/a:/b:ro", "bind /a:/b:ro"),
            ("./x:/b", "bind /home/me/x:/b"),
            ("..:/b:ro", "bind /home:/b:ro"),
            (".:/b", "bind /home/me:/b"),
            ("name:/b", "bind name:/b"),
            ("/anon", "anonymous /anon"),
            (":", "anonymous :"),
            ("/a", "anonymous /a"),
            ("::", "anonymous ::"),
            (":::", "! invalid spec: :::: empty section between colons"),
            ("/a::/b", "! invalid spec: /a::/b: empty section between colons"),
            ("/a:/b:ro:x:y", "! invalid spec: /a:/b:ro:x:y: too many colons"),
            ("", "! invalid empty volume spec"),
        ] {
            let got = match split(&[spec.to_owned()], "/home/me") {
                Err(text) => format!("! {text}"),
                Ok(v) if v.binds.is_empty() => format!("anonymous {}", v.anonymous[0]),
                Ok(v) => format!("bind {}", v.binds[0]),
            };
            assert_eq!(got, want, "{spec:?}");
        }
    }
}
