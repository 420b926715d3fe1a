//! `cargo xtask …`: what a person or CI does with this tree. Each command says what it runs.
//!
//! Knows cargo, apt and the tree's layout; does not know what the programs do.

use std::process::ExitCode;

use anyhow::Result;

mod bench;
mod build;
mod dist;
mod install;
mod shell;
mod test;
mod tidy;

const USAGE: &str = "Usage: cargo xtask COMMAND

  tare [ARG…]            build both programs and run tare with these arguments
  build                  build both programs; print the folder they are in
  test [--yes] [FILTER…] install what the tests need, then run all tests (or those that match)
  bench [--yes] [ARG…]   compare with docker, podman, crun and the kernel floor; see `bench --help`
  dist                   make the tarball for people without Rust
  tidy                   check the rules of the house
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let result: Result<ExitCode> = match command {
        "tare" => build::run_tare(rest),
        "build" => build::print_folder(),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "dist" => dist::run(),
        "tidy" => tidy::run(),
        "" | "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => {
            eprintln!("xtask: unknown command {unknown:?}\n\n{USAGE}");
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
