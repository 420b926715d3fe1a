//! The `tare` program: picks the role and wires the crates together.
//!
//! The command line talks to an engine over a transport. Where no daemon answers, the transport
//! is a pipe to the router over an engine in this very process; that is wired here, because no
//! crate below may know both ends.

mod local;
mod options;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let program = args.first().map(std::path::Path::new).and_then(|p| p.file_name()).unwrap_or_default();
    let environment = cli::Environment {
        program: program.to_string_lossy().into_owned(),
        build: options::build(),
        stdio: cli::Stdio::of_process(),
        in_process: Box::new(local::in_process),
        local_commands: local::commands(),
    };
    ExitCode::from(cli::main(args.get(1..).unwrap_or_default(), environment).clamp(0, 255) as u8)
}
