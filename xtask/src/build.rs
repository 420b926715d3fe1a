//! Building the two programs, side by side in one folder as they are installed.
//!
//! `tare` is static-pie; `tare-runtime` is built apart with its own profile as a static executable at a fixed
//! address, because relocations cost private memory in each shim. That it is one is checked after each build.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::{install, shell};

/// Builds both programs and gives the folder with `tare` and `tare-runtime`.
pub fn programs() -> Result<PathBuf> {
    install::ensure(install::For::Build, false)?;
    let (target, triple) = (shell::target_dir()?, shell::host_triple()?);
    shell::run(shell::cargo().args(["build", "--quiet", "--package", "tare", "--release", "--bin", "tare"]))?;
    shell::run(
        shell::cargo()
            .args(["rustc", "--quiet", "--package", "tare", "--profile", "runtime", "--no-default-features"])
            .args(["--bin", "tare-runtime", "--", "-C", "relocation-model=static"]),
    )?;
    let folder = target.join("tare");
    fs::create_dir_all(&folder)?;
    let runtime = target.join(&triple).join("runtime/tare-runtime");
    place(&target.join(&triple).join("release/tare"), &folder.join("tare"))?;
    place(&runtime, &folder.join("tare-runtime"))?;
    let headers =
        shell::output(Command::new("readelf").args(["--file-header", "--program-headers"]).arg(&runtime))?;
    ensure!(is_static_at_fixed_address(&headers), "{} is not a static non-PIE executable", runtime.display());
    Ok(folder)
}

/// `cargo xtask tare`: builds, then becomes `tare`.
pub fn run_tare(args: &[String]) -> Result<ExitCode> {
    let tare = programs()?.join("tare");
    Err(Command::new(&tare).args(args).exec()).with_context(|| format!("execute {}", tare.display()))
}

/// `cargo xtask build`.
pub fn print_folder() -> Result<ExitCode> {
    println!("{}", programs()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Puts a copy at `to` by rename: a program that is running there cannot be written to (ETXTBSY).
fn place(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("copy {}", from.display()))?;
    fs::rename(&new, to).with_context(|| format!("place {}", to.display()))
}

/// ET_EXEC, no interpreter, no dynamic section (elf(5)).
fn is_static_at_fixed_address(readelf: &str) -> bool {
    let kind = readelf.lines().find(|line| line.trim_start().starts_with("Type:")).unwrap_or_default();
    let has = |segment: &str| readelf.lines().any(|line| line.split_whitespace().next() == Some(segment));
    kind.contains("EXEC") && !has("DYNAMIC") && !has("INTERP")
}

#[cfg(test)]
mod tests {
    use super::is_static_at_fixed_address;

    #[test]
    fn static_programs_are_told_apart() {
        let cases = [
            ("  Type:   EXEC (Executable file)\n  LOAD   0x0\n", true),
            ("  Type:   DYN (Position-Independent Executable file)\n  LOAD   0x0\n", false),
            ("  Type:   EXEC (Executable file)\n  DYNAMIC   0x0\n", false),
            ("  Type:   EXEC (Executable file)\n  INTERP   0x0\n", false),
            ("", false),
        ];
        for (headers, expected) in cases {
            assert_eq!(is_static_at_fixed_address(headers), expected, "{headers}");
        }
    }
}
