//! The command line alone, without an engine: for tests against sockets.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let environment = cli::Environment {
        // `TARE_EXAMPLE_NAME=docker` stands for a program installed under that name.
        program: std::env::var("TARE_EXAMPLE_NAME").unwrap_or_else(|_| "tare".to_owned()),
        build: cli::Build {
            version: "28.5.2+tare.0.1.0".into(),
            commit: "example".into(),
            time: String::new(),
        },
        stdio: cli::Stdio::of_process(),
        in_process: Box::new(|| Err("this example has no engine: set DOCKER_HOST".to_owned())),
        local_commands: Vec::new(),
    };
    ExitCode::from(cli::main(args.get(1..).unwrap_or_default(), environment).clamp(0, 255) as u8)
}
