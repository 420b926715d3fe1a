//! The command line: Docker's commands as a client of the Docker Engine API.
//!
//! [`main`] reads the command line with [`grammar`] and the table in [`flags`], chooses an engine
//! ([`endpoint`]) and runs one of [`commands`] against it. Output is Docker's, from [`template`],
//! [`table`], [`progress`] and [`listing`].
//!
//! This crate does not know what a container is made of: everything it knows comes over the API, be
//! it from a daemon, a foreign engine or the engine in this process, which the caller hands in as a
//! transport. Nothing here panics on a closed output, and the terminal is restored on every way out.

mod attach;
mod commands;
pub mod config;
pub mod create;
mod credentials;
mod dispatch;
pub mod endpoint;
mod error;
mod explain;
pub mod flags;
pub mod grammar;
mod hints;
pub mod listing;
pub mod progress;
mod session;
mod signals;
pub mod stdio;
pub mod table;
pub mod template;
mod terminal;
pub mod time;
pub mod typed;
pub mod units;

use std::ffi::OsString;

pub use error::Error;
pub use stdio::Stdio;

/// What the program gives to the command line.
pub struct Environment {
    /// The name it was called by; `docker` makes it Docker's CLI.
    pub program: String,
    /// What it says of itself.
    pub build: Build,
    /// Standard input, output and error.
    pub stdio: Stdio,
    /// Makes the engine in this process, when a command needs it and no daemon answers.
    pub in_process: InProcess,
    /// Commands that are not done over the API.
    pub local_commands: Vec<LocalCommand>,
}

/// Makes a transport to an engine in this process; called inside the tokio runtime, once.
pub type InProcess = Box<dyn Fn() -> Result<api::Transport, String>>;

/// What the program says of itself.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// When it was built (RFC 3339).
    pub time: String,
}

/// A command that the program brings itself (`daemon`, `system uninstall`).
pub struct LocalCommand {
    /// The words that call it.
    pub path: &'static [&'static str],
    /// One line for the help.
    pub about: &'static str,
    /// Not shown in help.
    pub hidden: bool,
    /// Runs it with the words that follow; the result is the exit code.
    pub run: fn(&[OsString]) -> i32,
}

/// Runs a command line without the program's name; the result is the exit code.
pub fn main(args: &[OsString], mut environment: Environment) -> i32 {
    // One of two: whatever else the file is called, it is not Docker's.
    if environment.program != "docker" {
        "tare".clone_into(&mut environment.program);
    }
    dispatch::run(args, &environment)
}
