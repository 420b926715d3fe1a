//! `tare-runtime`'s command line: runc's grammar, texts and exit codes over this crate's calls.
//!
//! Who calls: conmon, podman, containerd's shim, BuildKit, CRI-O, people. The last line of the log with level
//! `error` is what they show, so every failure is one line there.
//!
//! It may wait, because it does nothing else meanwhile.

mod create;
mod exec;
mod flags;
mod lifecycle;
mod log;
mod relay;
mod table;

use crate::init::FIRST_AFTER_STDIO;
use crate::{Error, Root};
use flags::{Command, Parsed};
use log::Log;
use std::ffi::{CString, OsString};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The name in messages.
const PROGRAM: &str = "tare-runtime";
/// More than anybody hands over.
const INHERITED_MAX: u32 = 1024;
const EXIT_FAILURE: u8 = 1;
const EXIT_NO_COMMAND: u8 = 3;

/// Runs the command line `arguments` (the program's name first).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<String> =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let log = Log::default();
    match run(&arguments, &words) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.log.as_ref().unwrap_or(&log).error(&failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command failed.
struct Failure {
    text: String,
    code: u8,
    log: Option<Log>,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: EXIT_FAILURE, log: None }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::new(e.chain())
    }
}

/// What every command gets.
struct Call {
    root: Root,
    log: Log,
    flags: Parsed,
    /// How many descriptors after stdio the caller gave us, without a gap.
    inherited: u32,
}

impl Call {
    /// The first argument; the table has checked that it is there.
    fn id(&self) -> &str {
        self.flags.arguments.first().map_or("", String::as_str)
    }
}

fn run(arguments: &[OsString], words: &[String]) -> Result<u8, Failure> {
    // Before anything is opened that would take one of their numbers.
    let inherited = inherited();
    let (global, rest) = split(words).map_err(|text| usage_error("", &text))?;
    if global.is_on("version") {
        print(&version());
        return Ok(0);
    }
    let Some((name, rest)) = rest.split_first() else {
        print(&help());
        return Ok(0);
    };
    if name == "help" || name == "h" {
        print(&rest.first().and_then(|name| find(name)).map_or_else(help, |command| command.help(PROGRAM)));
        return Ok(0);
    }
    let log = Log::open(global.text("log"), global.text("log-format"), global.is_on("debug"))
        .map_err(Failure::new)?;
    match with_log(arguments, &global, (name, rest), inherited, log) {
        Ok(code) => Ok(code),
        Err((failure, log)) => Err(Failure { log: failure.log.or(log), ..failure }),
    }
}

type LoggedFailure = (Failure, Option<Log>);

fn with_log(
    arguments: &[OsString],
    global: &Parsed,
    (name, rest): (&str, &[String]),
    inherited: u32,
    log: Log,
) -> Result<u8, LoggedFailure> {
    if global.is_on("systemd-cgroup") {
        return Err((
            Failure::new("--systemd-cgroup is not supported: cgroups are managed through cgroupfs"),
            Some(log),
        ));
    }
    if let Some(value) = global.text("rootless")
        && !matches!(value, "false" | "auto")
    {
        return Err((
            Failure::new(format!("--rootless={value} is not supported: this runtime needs root")),
            Some(log),
        ));
    }
    let Some(command) = find(name) else {
        let text = if table::MISSING.contains(&name) {
            format!("{PROGRAM}: {name:?} is not supported yet")
        } else {
            format!("No help topic for '{name}'")
        };
        let code = if table::MISSING.contains(&name) { EXIT_FAILURE } else { EXIT_NO_COMMAND };
        return Err((Failure { code, ..Failure::new(text) }, Some(log)));
    };
    let flags = match flags::parse(command.flags, rest, command.passes_on) {
        Ok(flags) => flags,
        Err(text) => return Err((usage_error(&command.help(PROGRAM), &text), Some(log))),
    };
    if flags.help {
        print(&command.help(PROGRAM));
        return Ok(0);
    }
    if let Err(text) = command.check_count(PROGRAM, flags.arguments.len()) {
        print(&format!("Incorrect Usage.\n\n{}", command.help(PROGRAM)));
        return Err((Failure::new(text), Some(log)));
    }
    if matches!(name, "create" | "run" | "exec")
        && let Err(e) = protect(arguments)
    {
        return Err((e.context("protect the runtime's program").into(), Some(log)));
    }
    let call = Call { root: Root::new(&state_root(global)), log, flags, inherited };
    let result = match command.name {
        "create" => create::create(&call),
        "run" => create::run(&call),
        "exec" => exec::exec(&call),
        "start" => lifecycle::start(&call),
        "state" => lifecycle::state(&call),
        "kill" => lifecycle::kill(&call),
        "delete" => lifecycle::delete(&call),
        _ => lifecycle::list(&call),
    };
    result.map_err(|failure| (failure, Some(call.log)))
}

fn inherited() -> u32 {
    let is_open = |fd: &u32| Path::new(&format!("/proc/self/fd/{fd}")).symlink_metadata().is_ok();
    (FIRST_AFTER_STDIO..INHERITED_MAX).take_while(is_open).count() as u32
}

fn find(name: &str) -> Option<&'static Command> {
    table::COMMANDS.iter().find(|command| command.name == name)
}

/// The global flags and what follows them.
fn split(words: &[String]) -> Result<(Parsed, Vec<String>), String> {
    let mut parsed = flags::parse(table::GLOBAL, words, true)?;
    let rest = std::mem::take(&mut parsed.arguments);
    if parsed.help {
        return Ok((parsed, Vec::new()));
    }
    Ok((parsed, rest))
}

/// As runc: the usage to standard output, the reason to the log.
fn usage_error(usage: &str, text: &str) -> Failure {
    print(&format!("Incorrect Usage: {text}\n\n{usage}"));
    Failure::new(text)
}

/// `--root`, or a place of the user's own on a tmpfs.
fn state_root(global: &Parsed) -> PathBuf {
    if let Some(root) = global.text("root").filter(|root| !root.is_empty()) {
        return Path::new(root).to_path_buf();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !rustix::process::geteuid().is_root() && !dir.is_empty() => {
            Path::new(&dir).join(PROGRAM)
        }
        _ => Path::new("/run").join(PROGRAM),
    }
}

/// A program that enters a container must not be writable through /proc/self/exe (CVE-2019-5736): goes on in a
/// detached read-only clone of itself, unless it is on something read-only already.
fn protect(arguments: &[OsString]) -> crate::Result<()> {
    if sys::clone_exe::is_protected()? {
        return Ok(());
    }
    let exe = sys::clone_exe::open(Path::new("/proc/self/exe"))?;
    let text = |word: &OsString| CString::new(word.as_bytes()).unwrap_or_default();
    let argv: Vec<CString> = arguments.iter().map(text).collect();
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(&name)
    };
    let env: Vec<CString> = std::env::vars_os().map(entry).collect();
    Err(sys::process::exec_fd(exe.as_fd(), &argv, &env).into())
}

fn version() -> String {
    let commit = option_env!("TARE_COMMIT").unwrap_or("unknown");
    format!(
        "{PROGRAM} version {}\ncommit: {commit}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        oci::runtime::VERSION
    )
}

fn help() -> String {
    let width = table::COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or(0);
    let commands: String =
        table::COMMANDS.iter().map(|c| format!("   {:width$}  {}\n", c.name, c.usage)).collect();
    format!(
        "NAME:\n   {PROGRAM} - Open Container Initiative runtime\n\nUSAGE:\n   {PROGRAM} [global options] command [command \
         options] [arguments...]\n\nVERSION:\n   {}\nCOMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{}",
        version(),
        flags::table(table::GLOBAL)
    )
}

/// To standard output, which may be closed.
fn print(text: &str) {
    drop(std::io::stdout().write_all(text.as_bytes()));
}
