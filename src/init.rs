//! `--init`: a first process that forwards signals and reaps orphans.
//!
//! `docker-init [-s] [-v…] -- PROGRAM ARGS`: starts the program in a process group of its own (in
//! the terminal's foreground when there is one), passes every signal on to it, reaps whatever is
//! re-parented to it, and ends as the program ended.

use rustix::fd::{AsFd, OwnedFd};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sys::process::{ForkOptions, SingleThread};

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
    let thread = SingleThread::check().map_err(|e| format!("{e}"))?;
    let child =
        sys::process::fork(thread, &ForkOptions::default(), || exec(argv)).map_err(|e| format!("{e}"))?;
    forward(&signalfd, child.pid)
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

fn exec(argv: &[OsString]) -> i32 {
    // A group of its own, in the foreground, so that ^C reaches the program and not this process.
    let _ = rustix::process::setpgid(None, None);
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        // A background group that takes the terminal is stopped by TTOU; it is blocked here still.
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin().as_fd(), rustix::process::getpgrp());
    }
    sys::signal::reset();
    let strings =
        |list: Vec<Vec<u8>>| list.into_iter().filter_map(|s| CString::new(s).ok()).collect::<Vec<_>>();
    let arguments = strings(argv.iter().map(|a| a.as_bytes().to_vec()).collect());
    let env = strings(
        std::env::vars_os().map(|(k, v)| [k.into_vec(), b"=".to_vec(), v.into_vec()].concat()).collect(),
    );
    let mut code = NOT_FOUND;
    for path in candidates(&argv[0], std::env::var_os("PATH")) {
        let Ok(path) = CString::new(path.into_os_string().into_vec()) else { continue };
        let error = sys::process::exec(&path, &arguments, &env);
        let not_found = error.errno() == rustix::io::Errno::NOENT.raw_os_error();
        if !not_found {
            code = NOT_EXECUTABLE;
        }
    }
    eprintln!(
        "docker-init: {}: {}",
        argv[0].display(),
        if code == NOT_FOUND { "not found" } else { "cannot be executed" }
    );
    code
}

/// execvp's rule: a name with a slash is a path, another is looked for in PATH.
fn candidates(program: &OsString, path: Option<OsString>) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(program)];
    }
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .map(|dir| if dir.as_os_str().is_empty() { Path::new(".").join(program) } else { dir.join(program) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_lookup() {
        let got = |program: &str, path: &str| candidates(&program.into(), Some(path.into()));
        assert_eq!(got("/bin/x", "/a"), [PathBuf::from("/bin/x")]);
        assert_eq!(got("x", "/a::/b"), ["/a/x", "./x", "/b/x"].map(PathBuf::from));
    }
}
