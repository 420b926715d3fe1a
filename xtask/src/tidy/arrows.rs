//! Which crate may depend on which. The table is data here; the tree and ARCHITECTURE.md must agree with it.

use std::collections::BTreeSet;

use serde_json::Value;

/// (crate, what it may depend on among our own crates).
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("sys", &[]),
    ("cgroup", &["oci", "sys"]),
    ("tree", &["sys"]),
    ("net", &["sys"]),
    ("dns", &["sys"]),
    ("runtime", &["oci", "sys", "cgroup"]),
    ("shim", &["oci", "sys", "cgroup", "dns", "runtime"]),
    ("db", &["sys"]),
    ("store", &["oci", "sys", "tree", "db"]),
    ("registry", &["oci", "store"]),
    ("engine", &["oci", "sys", "tree", "db", "cgroup", "net", "dns", "shim", "store", "registry"]),
    ("api", &["oci"]),
    ("daemon", &["oci", "api", "engine"]),
    ("cli", &["oci", "tree", "api"]),
];

/// Packages beside the house: the two mains, and what builds, tests and measures them.
const BESIDE: &[(&str, &[&str])] = &[
    ("tare", &["api", "cli", "daemon", "engine", "runtime", "shim", "sys"]),
    ("xtask", &[]),
    // Knows programs only by their command lines.
    // A filter of system calls for old kernels is loaded by the only room that may.
    ("tests", &["sys"]),
    ("benches", &["tests"]),
];

/// Crates that may use tokio; the runtime and the shim are single-threaded and never do.
const ASYNC: [&str; 6] = ["registry", "engine", "api", "daemon", "cli", "tare"];

/// Compares the table with `cargo metadata`.
pub fn check_metadata(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().chain(BESIDE).find(|(krate, _)| *krate == name) else {
            problems.push(format!("crate {name} is not in the table of arrows (xtask/src/tidy/arrows.rs)"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            // Tests of a crate may stand on more than the crate does.
            if dependency["kind"] == "dev" {
                continue;
            }
            if own.contains(on) && !allowed.contains(&on) {
                problems.push(format!("crate {name} must not depend on {on}"));
            }
            if on == "tokio" && !ASYNC.contains(&name) {
                problems.push(format!("crate {name} must not use tokio"));
            }
        }
    }
    problems
}

/// Compares the table with ARCHITECTURE.md: rows like ``| … | `crate` | what it is | oci sys |``.
pub fn check_table(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| line.trim_start().starts_with('|')) {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let is_name = |cell: &&&str| {
            ARROWS.iter().any(|(krate, _)| cell.strip_prefix('`') == Some(&format!("{krate}`")))
        };
        let Some(name) = cells.iter().take(2).find(is_name).map(|cell| cell.trim_matches('`')) else {
            continue;
        };
        let Some((krate, allowed)) = ARROWS.iter().find(|(krate, _)| *krate == name) else { continue };
        if !seen.insert(*krate) {
            // The document may have other tables about the crates; the first row is the arrows'.
            continue;
        }
        let words = cells.last().map(|cell| cell.replace(['`', ','], " ")).unwrap_or_default();
        let listed: BTreeSet<&str> =
            words.split_whitespace().filter(|word| !["–", "-", "—"].contains(word)).collect();
        let expected: BTreeSet<&str> = allowed.iter().copied().collect();
        if listed != expected {
            problems.push(format!(
                "ARCHITECTURE.md: {name} → {listed:?}, but the table of arrows says {expected:?}"
            ));
        }
    }
    for (krate, _) in ARROWS.iter().filter(|(krate, _)| !seen.contains(krate)) {
        problems.push(format!("ARCHITECTURE.md has no row for `{krate}`"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let list: Vec<Value> =
            dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        json!({"name": name, "dependencies": list})
    }

    #[test]
    fn a_forbidden_arrow_is_found() {
        let metadata = json!({"packages": [
            package("oci", &[("serde", None)]),
            package("cgroup", &[("oci", None), ("sys", None)]),
            package("sys", &[]),
            package("store", &[("shim", None), ("engine", Some("dev"))]),
            package("engine", &[]),
            package("shim", &[("tokio", None)]),
            package("newcomer", &[]),
        ]});
        let problems = check_metadata(&metadata);
        assert_eq!(problems.len(), 3, "{problems:?}");
        for expected in
            ["store must not depend on shim", "shim must not use tokio", "newcomer is not in the table"]
        {
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
        }
    }

    #[test]
    fn a_document_that_says_otherwise_is_found() {
        let row = |krate: &str, allowed: &[&str]| {
            let list = if allowed.is_empty() { "–".to_string() } else { allowed.join(" ") };
            format!("| floor | `{krate}` | one line | {list} |\n")
        };
        let good: String = ARROWS.iter().map(|(krate, allowed)| row(krate, allowed)).collect();
        assert_eq!(check_table(&good), Vec::<String>::new());
        let wrong = good.replace("| `net` | one line | sys |", "| `net` | one line | sys, oci |");
        assert_eq!(check_table(&wrong).len(), 1);
        let lacking = good.replace("`shim`", "`shin`");
        assert_eq!(check_table(&lacking), ["ARCHITECTURE.md has no row for `shim`"]);
    }
}
