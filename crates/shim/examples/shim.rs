//! The shim role as a program of its own, for this crate's tests: `shim shim RUN_FOLDER`.

use std::process::ExitCode;

fn main() -> ExitCode {
    shim::main(std::env::args_os().skip(2))
}
