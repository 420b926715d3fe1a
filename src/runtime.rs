//! The `tare-runtime` program: the OCI runtime, the shim, and what is bound into containers.
//!
//! One small static binary, several roles, picked by the name it was called by (`hello`,
//! `docker-init`) or by its first argument (`shim`); everything else is runc's command line.

mod hello;
mod init;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let name = args.first().map(Path::new).and_then(Path::file_name).unwrap_or(OsStr::new("tare-runtime"));
    let rest = args.get(1..).unwrap_or_default();
    if name == "hello" {
        return hello::main();
    }
    if name == "docker-init" {
        return init::main(rest);
    }
    match rest.first() {
        Some(role) if role == "shim" => shim::main(rest.iter().skip(1).cloned()),
        _ => runtime::command::main(args),
    }
}
