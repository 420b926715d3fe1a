//! `--init`: a first process that forwards signals and reaps orphans.
//!
//! `docker-init [-s] [-v…] -- PROGRAM ARGS`: starts the program in a process group of its own (in
//! the terminal's foreground when there is one), passes every signal on to it, reaps whatever is
//! re-parented to it, and ends as the program ended.

use rustix::fd::OwnedFd;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Exit codes of a shell for a program that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

pub(crate) fn main(args: &[OsString]) -> ExitCode {
    match run(args) {
        Ok(code) => ExitCode::from(code as u8),
        Err(text) => {
            eprintln!("docker-init: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[OsString]) -> Result<i32, String> {
    let argv = match args.iter().position(|a| a == "--") {
        Some(at) => &args[at + 1..],
        None => args,
    };
    if argv.is_empty() {
        return Err("no program given (docker-init -- PROGRAM ARGS)".to_string());
    }
    let signals: Vec<i32> = (1..=sys::signal::MAX).filter(|s| !is_own(*s)).collect();
    let signalfd = sys::signal::signalfd(&signals).map_err(|e| format!("{e}"))?;
    // Not sys::process::fork: Docker's seccomp profile answers clone3 with ENOSYS, on which libc falls back.
    let child = match command(argv).spawn() {
        Ok(child) => child.id() as i32,
        Err(e) => {
            let found = e.kind() != std::io::ErrorKind::NotFound;
            eprintln!("docker-init: {}: {e}", argv[0].display());
            return Ok(if found { NOT_EXECUTABLE } else { NOT_FOUND });
        }
    };
    foreground(child);
    forward(&signalfd, child)
}

/// The program in a process group of its own; libc looks it up in PATH and gives it default signals.
fn command(argv: &[OsString]) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).process_group(0);
    command
}

/// Gives the terminal to the program's group, so that ^C reaches it and not this process.
fn foreground(child: i32) {
    let stdin = rustix::stdio::stdin();
    if let (true, Some(group)) = (rustix::termios::isatty(stdin), rustix::process::Pid::from_raw(child)) {
        // Without a controlling terminal there is nothing to give.
        let _ = rustix::termios::tcsetpgrp(stdin, group);
    }
}

/// Faults of this program itself stay its own; KILL and STOP cannot be caught.
fn is_own(signal: i32) -> bool {
    use rustix::process::Signal;
    [Signal::KILL, Signal::STOP, Signal::SEGV, Signal::BUS, Signal::FPE, Signal::ILL, Signal::TRAP, Signal::ABORT, Signal::SYS]
        .iter()
        .any(|s| s.as_raw() == signal)
        // glibc's own two real-time signals.
        || signal == 32
        || signal == 33
}

fn forward(signalfd: &OwnedFd, child: i32) -> Result<i32, String> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, Signal, kill_process};
    let target = Pid::from_raw(child).ok_or("no child")?;
    loop {
        while let Some((pid, ended)) = sys::process::reap_any() {
            if pid == child {
                return Ok(ended.code());
            }
        }
        match poll(&mut [PollFd::new(signalfd, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("poll: {e}")),
        }
        while let Some((number, _)) = sys::signal::read_signalfd(signalfd).map_err(|e| format!("{e}"))? {
            if number == Signal::CHILD.as_raw() {
                continue;
            }
            if let Some(signal) = Signal::from_named_raw(number) {
                // The child may have ended in this moment.
                let _ = kill_process(target, signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_its_own_are_not_passed_on() {
        for (signal, own) in
            [(9, true), (11, true), (32, true), (15, false), (2, false), (17, false), (34, false)]
        {
            assert_eq!(is_own(signal), own, "{signal}");
        }
    }
}
