//! `cargo xtask tidy`: the rules of the house, each a pure check over text with a test that shows it fail.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, shell};

mod arrows;
mod code;
mod sources;
pub mod symbols;

/// Checks everything, the built programs included.
pub fn run() -> Result<ExitCode> {
    let mut problems = check_tree()?;
    problems.extend(symbols::check(&build::programs()?)?);
    for problem in &problems {
        println!("{problem}");
    }
    println!("{} problems", problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks the sources and the arrows between the crates.
pub fn check_tree() -> Result<Vec<String>> {
    let root = shell::root();
    let mut problems = sources::check(&root)?;
    problems.extend(arrows::check_metadata(&shell::metadata()?));
    match std::fs::read_to_string(root.join("ARCHITECTURE.md")) {
        Ok(text) => problems.extend(arrows::check_table(&text)),
        Err(error) => problems.push(format!("ARCHITECTURE.md: {error}")),
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_keeps_the_rules_of_the_house() {
        let problems = super::check_tree().expect("check the tree");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
