//! Signal names and numbers, masks and signalfd(2).

use crate::{Error, Result, check};
use rustix::fd::{FromRawFd, OwnedFd};

const NAMES: [(&str, i32); 34] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The last real-time signal.
pub const MAX: i32 = 64;
const RTMIN: i32 = 34;

/// Reads `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`, `RTMAX-1`; `None` for what is no signal.
/// 0 is accepted as a number (a test for existence).
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (0..=MAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(&(_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
        return Some(number);
    }
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        if rest.is_empty() { RTMIN } else { RTMIN + rest.strip_prefix('+')?.parse::<i32>().ok()? }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        if rest.is_empty() { MAX } else { MAX - rest.strip_prefix('-')?.parse::<i32>().ok()? }
    };
    (RTMIN..=MAX).contains(&number).then_some(number)
}

/// `SIGKILL` for 9; `SIGRTMIN+3` for 37; the number for what has no name.
pub fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, n)| *n == number) {
        Some((name, _)) => format!("SIG{name}"),
        None if number == RTMIN => "SIGRTMIN".to_string(),
        None if (RTMIN..=MAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        None => number.to_string(),
    }
}

/// Blocks the given signals in the calling thread and returns a signalfd (non-blocking,
/// close-on-exec) that reports them.
pub fn signalfd(signals: &[i32]) -> Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: `set` is a valid signal set; no old set is asked for.
    let ret = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if ret != 0 {
        return Err(Error::new("pthread_sigmask(SIG_BLOCK)", std::io::Error::from_raw_os_error(ret)));
    }
    // SAFETY: `set` is a valid signal set.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(fd.into(), || "signalfd()".to_string())?;
    // SAFETY: the kernel just returned this descriptor to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One signal read from a signalfd: (number, sending pid), `None` when there is none now.
pub fn read_signalfd(fd: &OwnedFd) -> Result<Option<(i32, i32)>> {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut buffer[..]) {
        Ok(n) if n == buffer.len() => {
            let field =
                |at: usize| i32::from_ne_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]);
            // struct signalfd_siginfo: ssi_signo at 0, ssi_errno, ssi_code, ssi_pid at 12.
            Ok(Some((field(0), field(12))))
        }
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(e) => Err(Error::new("read(signalfd)", e)),
    }
}

/// Gives every signal its default disposition and unblocks all: the state a new program expects.
pub fn reset() {
    for number in 1..=MAX {
        // SAFETY: setting SIG_DFL installs no handler; errors (SIGKILL, SIGSTOP, glibc's own two) are meant to be ignored.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let set = set_of(&[]);
    // SAFETY: `set` is a valid, empty signal set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// Ignores SIGPIPE, so that a write to a closed pipe is EPIPE.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain integers; sigemptyset and sigaddset only write to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("SIGKILL", Some(9)),
            ("sigterm", Some(15)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("0", Some(0)),
            ("65", None),
            ("-1", None),
            ("FOO", None),
            ("", None),
            ("RTMIN+99", None),
            ("RTMINX", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
        assert_eq!(name(9), "SIGKILL");
        assert_eq!(name(6), "SIGABRT");
        assert_eq!(name(37), "SIGRTMIN+3");
    }
}
