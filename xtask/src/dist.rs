//! `cargo xtask dist`: a tarball with the two programs for people without Rust.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{build, shell};

/// Builds, strips, packs; prints the tarball's path.
pub fn run() -> Result<ExitCode> {
    let programs = build::programs()?;
    let metadata = shell::metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let tare = packages.into_iter().find(|package| package["name"] == "tare").context("no package tare")?;
    let version = tare["version"].as_str().context("package tare has no version")?;
    let name = format!("tare-{version}-{}-linux", std::env::consts::ARCH);
    let dist = shell::target_dir()?.join("dist");
    let folder = dist.join(&name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    for program in ["tare", "tare-runtime"] {
        fs::copy(programs.join(program), folder.join(program)).with_context(|| format!("copy {program}"))?;
        shell::run(Command::new("strip").arg(folder.join(program)))?;
    }
    for file in ["README.md", "LICENSE", "dist/tare-boot.service", "dist/tare-boot"] {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        fs::copy(shell::root().join(file), to).with_context(|| format!("copy {file}"))?;
    }
    let tarball = dist.join(format!("{name}.tar.gz"));
    shell::run(
        Command::new("tar")
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=2024-01-01 00:00Z"])
            .arg("--create")
            .arg("--gzip")
            .arg("--file")
            .arg(&tarball)
            .arg("--directory")
            .arg(&dist)
            .arg(&name),
    )?;
    println!("{}", tarball.display());
    Ok(ExitCode::SUCCESS)
}
