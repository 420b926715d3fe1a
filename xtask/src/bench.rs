//! `cargo xtask bench`: builds everything that is compared, then hands over to the harness in `benches/`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::{build, install, shell, test};

/// Installs, builds, measures.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let (yes, rest) = test::split_yes(args);
    let mut bench = shell::cargo();
    bench.args(["run", "--quiet", "--release", "--package", "benches", "--bin", "bench", "--"]).args(&rest);
    if !rest.contains(&"--help") {
        ensure!(shell::is_root(), "the benchmarks need root: they run in test hosts");
        install::ensure(install::For::Bench, yes)?;
        test::build_cache()?;
        // The test host's helper must lie beside the benchmark.
        let helper = ["build", "--quiet", "--release", "--package", "tests", "--bin", "testhost-init"];
        shell::run(shell::cargo().args(helper))?;
        bench.env("TARE_BIN_DIR", build::programs()?);
    }
    let status = bench.status().context("execute the benchmark")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
