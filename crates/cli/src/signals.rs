//! Signals that a foreground command hands on to its container.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Error;

/// Signals that end a command when nobody hands them on.
const TERMINATING: [(i32, &str); 4] = [(1, "HUP"), (2, "INT"), (3, "QUIT"), (15, "TERM")];

/// Signals that are handed on besides: everything that can be caught but CHLD, PIPE (ours), URG (Go's
/// own use, which Docker leaves out) and faults. x86-64 and aarch64 share these numbers (signal(7)).
const FORWARDED: [(i32, &str); 17] = [
    (6, "ABRT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (16, "STKFLT"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (29, "IO"),
    (30, "PWR"),
    (31, "SYS"),
    (5, "TRAP"),
];

const WINCH: (i32, &str) = (28, "WINCH");

/// Caught signals, in the order they come.
pub struct Signals {
    caught: Vec<(i32, &'static str, Signal)>,
    forward: bool,
}

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caught {
    /// Its number.
    pub number: i32,
    /// Its name without `SIG`.
    pub name: &'static str,
}

impl Caught {
    /// Whether it asks this process to end.
    pub fn is_terminating(self) -> bool {
        TERMINATING.iter().any(|(n, _)| *n == self.number)
    }

    /// Whether it is one of the two that ask politely.
    pub fn is_request(self) -> bool {
        matches!(self.name, "INT" | "TERM")
    }

    /// Whether the window's size changed.
    pub fn is_window(self) -> bool {
        self.number == WINCH.0
    }
}

impl Signals {
    /// Catches what ends a command and changes of the window; with `forward` all that can be handed on.
    pub fn catch(forward: bool) -> Result<Signals, Error> {
        let mut list: Vec<(i32, &'static str)> = TERMINATING.to_vec();
        list.push(WINCH);
        if forward {
            list.extend(FORWARDED);
        }
        Signals::of(list, forward)
    }

    /// Catches INT and TERM only: the command's exit code shall tell of them.
    pub fn catch_requests() -> Result<Signals, Error> {
        Signals::of(vec![(2, "INT"), (15, "TERM")], false)
    }

    fn of(list: Vec<(i32, &'static str)>, forward: bool) -> Result<Signals, Error> {
        let mut caught = Vec::new();
        for (number, name) in list {
            let stream = signal(SignalKind::from_raw(number)).map_err(|e| Error::io("signals", e))?;
            caught.push((number, name, stream));
        }
        Ok(Signals { caught, forward })
    }

    /// Whether signals are handed on.
    pub fn forwards(&self) -> bool {
        self.forward
    }

    /// The next signal.
    pub async fn next(&mut self) -> Caught {
        poll_fn(|cx| {
            for (number, name, stream) in &mut self.caught {
                if let Poll::Ready(Some(())) = stream.poll_recv(cx) {
                    return Poll::Ready(Caught { number: *number, name });
                }
            }
            Poll::Pending
        })
        .await
    }
}
