//! `cargo xtask test`: one command from a clean clone to a test summary.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::{build, install, shell, tidy};

/// Installs, builds, runs.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let (yes, filter) = split_yes(args);
    ensure!(shell::is_root(), "the tests need root: test hosts are made of namespaces, mounts and cgroups");
    install::ensure(install::For::Test, yes)?;
    build_cache()?;
    let programs = build::programs()?;
    let mut problems = tidy::symbols::check(&programs)?;
    problems.extend(tidy::check_tree()?);
    let mut command = runner();
    command.args(&filter).env("TARE_BIN_DIR", &programs).env("TARE_TEST_STRICT", "1");
    let status = command.status().context("execute the test runner")?;
    // Reported last, so that a long test run does not scroll them away.
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    Ok(if status.success() && problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the cache of foreign software and images.
pub fn build_cache() -> Result<()> {
    shell::run(shell::cargo().args(["run", "--quiet", "--package", "tests", "--bin", "test-cache"]))
}

/// Takes `--yes` out of the arguments.
pub fn split_yes(args: &[String]) -> (bool, Vec<&str>) {
    let rest = args.iter().map(String::as_str).filter(|arg| *arg != "--yes").collect::<Vec<_>>();
    (rest.len() != args.len(), rest)
}

/// nextest where it is installed (each test in a process of its own, in parallel), else cargo's own runner.
fn runner() -> Command {
    let mut command = shell::cargo();
    if shell::has_program("cargo-nextest") {
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--config-file",
            "tests/nextest.toml",
        ]);
    } else {
        command.args(["test", "--workspace", "--no-fail-fast"]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::split_yes;

    #[test]
    fn yes_is_found_anywhere() {
        let args = |list: &[&str]| list.iter().map(|arg| (*arg).to_string()).collect::<Vec<_>>();
        assert_eq!(split_yes(&args(&["--yes", "classic"])), (true, vec!["classic"]));
        assert_eq!(split_yes(&args(&["classic", "ports"])), (false, vec!["classic", "ports"]));
        assert_eq!(split_yes(&args(&[])), (false, vec![]));
    }
}
