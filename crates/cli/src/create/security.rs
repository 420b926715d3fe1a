//! `--security-opt`: what Docker's client itself does of it.
//!
//! A seccomp profile is a file of the client's and is sent as text; `systempaths=unconfined` becomes two empty
//! lists of paths. All else is the engine's business.

use api::json::{Json, SyntaxError};

use super::lines::Read;
use crate::grammar::numbers::quote;

/// What the options come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// The options to send.
    pub options: Vec<String>,
    /// No path is masked or read-only.
    pub open_paths: bool,
}

/// Reads the options.
pub fn options(given: &[String], read: Read<'_>) -> Result<Security, String> {
    let mut out = Security::default();
    for option in given {
        if option == "systempaths=unconfined" {
            out.open_paths = true;
            continue;
        }
        let bare = option.split('=').next() == Some("no-new-privileges");
        let pair = match option.split_once('=') {
            None if !bare => option.split_once(':'),
            pair => pair,
        };
        let Some((key, value)) = pair.filter(|(_, value)| !value.is_empty()) else {
            // The only one that means something without a value.
            if bare {
                out.options.push(option.clone());
                continue;
            }
            return Err(format!("Invalid --security-opt: {}", quote(option)));
        };
        out.options.push(match (key, value) {
            ("seccomp", "builtin" | "unconfined") => option.clone(),
            ("seccomp", path) => format!("seccomp={}", profile(path, read)?),
            _ => option.clone(),
        });
    }
    Ok(out)
}

fn profile(path: &str, read: Read<'_>) -> Result<String, String> {
    let text = read(path).map_err(|e| format!("opening seccomp profile ({path}) failed: {e}"))?;
    match Json::parse(&text) {
        Ok(_) => Ok(compact(&text)),
        Err(error) => {
            let reason = match error {
                SyntaxError::Empty | SyntaxError::Unfinished => "unexpected end of JSON input".to_owned(),
                error => error.to_string(),
            };
            Err(format!("compacting json for seccomp profile ({path}) failed: {reason}"))
        }
    }
}

/// Valid JSON without the white space between its tokens; everything else stays as it was written.
fn compact(text: &[u8]) -> String {
    let (mut inside, mut escaped) = (false, false);
    let kept = text.iter().copied().filter(|byte| {
        if inside {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => inside = false,
                _ => {}
            }
            return true;
        }
        inside = *byte == b'"';
        !byte.is_ascii_whitespace()
    });
    String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let read = |path: &str| match path {
            "good" => Ok(b"{ \"a b\" : [ 1 , \"\\\" \" ] }\n".to_vec()),
            "short" => Ok(b"{".to_vec()),
            _ => Err(format!("open {path}: no such file or directory").into()),
        };
        for (option, want) in [
            ("no-new-privileges", Ok("no-new-privileges")),
            ("no-new-privileges:false", Ok("no-new-privileges:false")),
            ("no-new-privileges=", Ok("no-new-privileges=")),
            ("apparmor=x", Ok("apparmor=x")),
            ("label:disable", Ok("label:disable")),
            ("seccomp:unconfined", Ok("seccomp:unconfined")),
            ("seccomp=good", Ok("seccomp={\"a b\":[1,\"\\\" \"]}")),
            (
                "seccomp=short",
                Err("compacting json for seccomp profile (short) failed: unexpected end of JSON input"),
            ),
            ("seccomp=x", Err("opening seccomp profile (x) failed: open x: no such file or directory")),
            ("foo", Err("Invalid --security-opt: \"foo\"")),
            ("a:", Err("Invalid --security-opt: \"a:\"")),
        ] {
            let got = options(&[option.to_owned()], &read).map(|s| s.options.concat());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{option}");
        }
        let open = options(&["systempaths=unconfined".to_owned()], &read).unwrap();
        assert_eq!((open.options.len(), open.open_paths), (0, true));
    }
}
