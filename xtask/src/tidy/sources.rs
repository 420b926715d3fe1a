//! The rules about source files: sizes, names, module docs, and words that must not stand in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::code;

/// Lines of a file before its tests.
const FILE_LINES: usize = 600;
/// Lines of a function.
const FUNCTION_LINES: usize = 70;
/// Names that say nothing about what is inside.
const BANNED_MODULES: [&str; 5] = ["utils", "common", "helpers", "misc", "types"];
/// Folders with Rust code.
const FOLDERS: [&str; 6] = ["crates", "src", "xtask", "tests", "benches", "fuzz"];

/// Checks all Rust files below `root`.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in rust_files(root)? {
        let source = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        problems.extend(check_file(&path, &source));
    }
    Ok(problems)
}

/// Checks one file.
fn check_file(path: &str, source: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !source.starts_with("//!") {
        problems.push(format!("{path}: does not open with `//!`: what it is, and what it does not know"));
    }
    for part in Path::new(path).with_extension("").iter().filter_map(|part| part.to_str()) {
        if BANNED_MODULES.contains(&part) {
            problems.push(format!("{path}: a module named {part} says nothing"));
        }
    }
    let code = code::without_comments_and_literals(source);
    let shipped = without_tests(&code);
    let lines = shipped.lines().count();
    if lines > FILE_LINES {
        problems.push(format!("{path}: {lines} lines before its tests, more than {FILE_LINES}"));
    }
    // A table of cases is as long as its cases.
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
    for (name, line, length) in code::functions(shipped) {
        if length > FUNCTION_LINES && !is_test {
            problems.push(format!("{path}:{line}: fn {name} has {length} lines, more than {FUNCTION_LINES}"));
        }
    }
    if !path.starts_with("crates/sys/") {
        problems.extend(
            code::line_with_word(&code, "unsafe")
                .map(|line| format!("{path}:{line}: unsafe outside crates/sys")),
        );
    }
    for word in ["todo!", "unimplemented!"] {
        problems.extend(code::line_with_word(&code, word).map(|line| format!("{path}:{line}: {word}")));
    }
    // DESIGN: no ignored tests; one that cannot run here says why.
    problems.extend(
        code.lines()
            .position(|line| line.contains("#[ignore"))
            .map(|i| format!("{path}:{}: ignored test", i + 1)),
    );
    problems
}

/// The part before the file's own test module.
fn without_tests(code: &str) -> &str {
    code.find("\n#[cfg(test)]\nmod ").map_or(code, |at| &code[..at])
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        FOLDERS.iter().map(|folder| root.join(folder)).filter(|dir| dir.is_dir()).collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, source: &str) -> String {
        check_file(path, source).join("\n")
    }

    #[test]
    fn a_clean_file_passes() {
        let source =
            "//! Doc.\n\n/// Mentions unsafe and todo! in a comment.\nfn f() { g(\"unsafe todo!()\") }\n";
        assert_eq!(problems("crates/x/src/lib.rs", source), "");
    }

    #[test]
    fn each_rule_fails_on_a_bad_sample() {
        let long_function = format!("//! Doc.\nfn f() {{\n{}}}\n", "    g();\n".repeat(FUNCTION_LINES));
        let long_file = format!("//! Doc.\n{}", "const A: u8 = 1;\n".repeat(FILE_LINES));
        let cases = [
            ("crates/x/src/lib.rs", "fn f() {}\n", "does not open with"),
            ("crates/x/src/utils.rs", "//! Doc.\n", "says nothing"),
            ("crates/x/src/common/mod.rs", "//! Doc.\n", "says nothing"),
            ("crates/x/src/lib.rs", &long_function, "fn f has 72 lines"),
            ("crates/x/src/lib.rs", &long_file, "601 lines"),
            ("crates/x/src/lib.rs", "//! Doc.\nfn f() { unsafe { g() } }\n", ":2: unsafe outside"),
            ("crates/x/src/lib.rs", "//! Doc.\nfn f() { todo!() }\n", ":2: todo!"),
            ("crates/x/src/lib.rs", "//! Doc.\nfn f() { unimplemented!() }\n", ":2: unimplemented!"),
            ("tests/tests/x.rs", "//! Doc.\n#[test]\n#[ignore]\nfn f() {}\n", ":3: ignored test"),
        ];
        for (path, source, expected) in cases {
            let found = problems(path, source);
            assert!(found.contains(expected), "{expected:?} not in {found:?}");
        }
    }

    #[test]
    fn sys_may_be_unsafe_and_tests_may_be_long() {
        assert_eq!(problems("crates/sys/src/a.rs", "//! Doc.\nfn f() { unsafe { g() } }\n"), "");
        let tests = format!(
            "//! Doc.\nfn f() {{}}\n\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "    const A: u8 = 1;\n".repeat(700)
        );
        assert_eq!(problems("crates/x/src/lib.rs", &tests), "");
    }
}
