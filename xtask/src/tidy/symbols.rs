//! Static glibc and name services do not mix: a static program that calls getaddrinfo or getpwnam loads shared
//! libraries of whatever system it runs on. So the programs must not contain these functions at all.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Beginnings of the names of functions that load name services, and dlopen itself.
const FORBIDDEN: [&str; 7] =
    ["getaddrinfo", "gethostby", "getpw", "getgr", "dlopen", "getservby", "getnameinfo"];

/// (symbol, why it may be there although its name looks forbidden).
const ALLOWED: &[(&str, &str)] = &[
    ("getgroups", "the system call of that name, no name service"),
    ("__getgroups", "the same"),
    (
        "dlopen",
        "glibc's start code for static programs (rtld_static_init) has it in a table; nothing calls it",
    ),
    ("__dlopen", "the same"),
    ("___dlopen", "the same"),
    ("dlopen_doit", "the same"),
];

/// Checks both programs in `folder`.
pub fn check(folder: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for program in ["tare", "tare-runtime"] {
        let listing = shell::output(Command::new("nm").arg("--defined-only").arg(folder.join(program)))?;
        problems.extend(forbidden(&listing).into_iter().map(|symbol| {
            format!("{program} contains {symbol}: name services and dlopen must not be in a static program")
        }));
        if listing.trim().is_empty() {
            problems.push(format!("{program} has no symbols: it cannot be checked once it is stripped"));
        }
    }
    Ok(problems)
}

/// Forbidden functions in the output of `nm`: lines like `0000000000401000 T name`.
fn forbidden(listing: &str) -> Vec<&str> {
    let defined = listing.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let kind = fields.next()?;
        let name = fields.next()?;
        // Text symbols, weak ones and indirect functions.
        matches!(kind, "T" | "t" | "W" | "w" | "i").then_some(name)
    });
    defined
        .filter(|name| FORBIDDEN.iter().any(|start| name.trim_start_matches('_').starts_with(start)))
        .filter(|name| ALLOWED.iter().all(|(allowed, _)| allowed != name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::forbidden;

    #[test]
    fn forbidden_functions_are_found() {
        let listing = "0000000000401000 T main\n0000000000401010 W getaddrinfo\n0000000000401020 T getpwuid_r\n\
            0000000000401030 t dlopen_now\n0000000000601030 D getpwdata\n                 U dlopen\n";
        assert_eq!(forbidden(listing), ["getaddrinfo", "getpwuid_r", "dlopen_now"]);
    }
}
