//! What the new process and its caller say to each other: messages as bytes, and the caller's side as a
//! state machine that a test can drive.
//!
//! A message is one datagram (SOCK_SEQPACKET keeps borders): a tag byte and its fields. Both ends are the
//! same program, so there is no version. The end of the channel is a message too: after the gate it means
//! that `execve` succeeded, because the child's end is close-on-exec.
//!
//! It does not know sockets, processes or hooks.

use crate::error::{Error, Kind, Result};

/// The longest message; longer texts are cut.
pub(crate) const MESSAGE_MAX: usize = 8 * 1024;

/// From the new process to the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A helper between the caller and init has cloned init (a pidfd is attached).
    Forked { pid: i32 },
    /// The namespaces exist: time for the hooks that run in the caller's. Waits for [`Order::Proceed`].
    Namespaces,
    /// The pty's master is attached.
    Console,
    /// Everything is set up, init stands at its gate.
    Ready,
    /// Something was not possible that need not stop the container.
    Warning(String),
    /// The end.
    Failed { kind: Kind, errno: i32, text: String },
}

/// From the caller to the new process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Maps are written, or hooks ran.
    Proceed,
    /// Open the gate.
    Go,
    /// Give up for this reason.
    Abort(String),
}

impl Report {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Forked { pid } => [&[1], &pid.to_le_bytes()[..]].concat(),
            Self::Namespaces => vec![2],
            Self::Console => vec![3],
            Self::Ready => vec![4],
            Self::Warning(text) => [&[5], cut(text)].concat(),
            Self::Failed { kind, errno, text } => {
                [&[6, *kind as u8], &errno.to_le_bytes()[..], cut(text)].concat()
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            1 => Some(Self::Forked { pid: i32::from_le_bytes(rest.try_into().ok()?) }),
            2 => rest.is_empty().then_some(Self::Namespaces),
            3 => rest.is_empty().then_some(Self::Console),
            4 => rest.is_empty().then_some(Self::Ready),
            5 => Some(Self::Warning(String::from_utf8_lossy(rest).into_owned())),
            6 => {
                let (kind, rest) = rest.split_first()?;
                let (errno, text) = rest.split_first_chunk()?;
                Some(Self::Failed {
                    kind: Kind::from_byte(*kind)?,
                    errno: i32::from_le_bytes(*errno),
                    text: String::from_utf8_lossy(text).into_owned(),
                })
            }
            _ => None,
        }
    }

    /// The report of a failure.
    pub(crate) fn failed(error: &Error) -> Self {
        Self::Failed { kind: error.kind(), errno: error.errno(), text: error.to_string() }
    }
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Proceed => vec![1],
            Self::Go => vec![2],
            Self::Abort(text) => [&[3], cut(text)].concat(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            1 => rest.is_empty().then_some(Self::Proceed),
            2 => rest.is_empty().then_some(Self::Go),
            3 => Some(Self::Abort(String::from_utf8_lossy(rest).into_owned())),
            _ => None,
        }
    }
}

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(MESSAGE_MAX - 16)]
}

/// What the caller has to do after a report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remember init's pid, write its id maps, send [`Order::Proceed`].
    Adopt(i32),
    /// Run `prestart` and `createRuntime` hooks, send [`Order::Proceed`] or [`Order::Abort`].
    RunHooks,
    /// Keep the attached descriptor as the console.
    KeepConsole,
    /// Keep the text.
    Warn(String),
    /// Init stands at its gate.
    Ready,
    /// `execve` succeeded.
    Executed,
}

/// Where the new process is, as the caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A helper is about to clone init.
    Forking,
    /// Namespaces and root are being set up.
    Setup,
    /// At the gate.
    Ready,
    /// Beyond the gate: the next thing is `execve`.
    Released,
    /// `execve` succeeded or the process is lost.
    Ended,
}

/// The caller's side of the conversation.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    phase: Phase,
    hooks: bool,
    console: bool,
    /// The gate needs no order of ours.
    open_gate: bool,
}

impl Conversation {
    /// `hooks`: a [`Report::Namespaces`] is expected; `console`: a [`Report::Console`] is expected.
    pub(crate) fn new(phase: Phase, hooks: bool, console: bool, open_gate: bool) -> Self {
        Self { phase, hooks, console, open_gate }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// A report came.
    pub(crate) fn report(&mut self, report: Report) -> Result<Action> {
        match (self.phase, report) {
            (Phase::Ended, report) => Err(unexpected(&report)),
            (_, Report::Failed { kind, errno, text }) => {
                self.phase = Phase::Ended;
                Err(Error::received(kind, text, errno))
            }
            (_, Report::Warning(text)) => Ok(Action::Warn(text)),
            (Phase::Forking, Report::Forked { pid }) => {
                self.phase = Phase::Setup;
                Ok(Action::Adopt(pid))
            }
            (Phase::Setup, Report::Namespaces) if self.hooks => {
                self.hooks = false;
                Ok(Action::RunHooks)
            }
            (Phase::Setup | Phase::Released, Report::Console) if self.console => {
                self.console = false;
                Ok(Action::KeepConsole)
            }
            (Phase::Setup, Report::Ready) if !self.hooks && !self.console => {
                self.phase = if self.open_gate { Phase::Released } else { Phase::Ready };
                Ok(Action::Ready)
            }
            (_, report) => Err(unexpected(&report)),
        }
    }

    /// The gate is opened by the caller.
    pub(crate) fn release(&mut self) -> Result<()> {
        if self.phase != Phase::Ready {
            return Err(Error::new(
                Kind::State,
                format!("the gate cannot be opened in phase {:?}", self.phase),
            ));
        }
        self.phase = Phase::Released;
        Ok(())
    }

    /// The channel ended.
    pub(crate) fn closed(&mut self) -> Result<Action> {
        let before = std::mem::replace(&mut self.phase, Phase::Ended);
        match before {
            Phase::Released if !self.console => Ok(Action::Executed),
            _ => {
                Err(Error::new(Kind::Died, format!("the container's process ended during {}", place(before))))
            }
        }
    }
}

fn place(phase: Phase) -> &'static str {
    match phase {
        Phase::Forking => "its creation",
        Phase::Setup => "the setup of its namespaces and root",
        Phase::Ready => "its wait for the start",
        Phase::Released | Phase::Ended => "execve",
    }
}

fn unexpected(report: &Report) -> Error {
    Error::new(Kind::Died, format!("the container's process said {report:?} at the wrong time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Report {
        Report::Failed { kind: Kind::NotFound, errno: 2, text: "exec: \"x\"".into() }
    }

    #[test]
    fn messages_survive_the_wire() {
        let reports = [
            Report::Forked { pid: 77 },
            Report::Namespaces,
            Report::Console,
            Report::Ready,
            Report::Warning("w".into()),
            failed(),
        ];
        for report in reports {
            assert_eq!(Report::decode(&report.encode()).as_ref(), Some(&report));
        }
        for order in [Order::Proceed, Order::Go, Order::Abort("why".into())] {
            assert_eq!(Order::decode(&order.encode()).as_ref(), Some(&order));
        }
    }

    #[test]
    fn rubbish_is_not_a_message() {
        for bytes in [&[][..], &[0], &[1, 2], &[2, 0], &[4, 4], &[6], &[6, 99, 0, 0, 0, 0], &[6, 1, 0]] {
            assert_eq!(Report::decode(bytes), None, "{bytes:?}");
        }
        for bytes in [&[][..], &[0], &[1, 1], &[4]] {
            assert_eq!(Order::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert!(Report::Warning("x".repeat(100_000)).encode().len() <= MESSAGE_MAX);
    }

    #[test]
    fn conversations() {
        // (start, hooks, console, open gate), reports and then: the actions, or the kind of the error.
        type Case = (Phase, bool, bool, bool, Vec<Option<Report>>, Result<Vec<Action>, Kind>);
        let cases: Vec<Case> = vec![
            (
                Phase::Setup,
                false,
                false,
                true,
                vec![Some(Report::Ready), None],
                Ok(vec![Action::Ready, Action::Executed]),
            ),
            (
                Phase::Forking,
                true,
                true,
                true,
                vec![
                    Some(Report::Forked { pid: 9 }),
                    Some(Report::Namespaces),
                    Some(Report::Warning("w".into())),
                    Some(Report::Console),
                    Some(Report::Ready),
                    None,
                ],
                Ok(vec![
                    Action::Adopt(9),
                    Action::RunHooks,
                    Action::Warn("w".into()),
                    Action::KeepConsole,
                    Action::Ready,
                    Action::Executed,
                ]),
            ),
            // Exec: no gate at all.
            (
                Phase::Released,
                false,
                true,
                true,
                vec![Some(Report::Console), None],
                Ok(vec![Action::KeepConsole, Action::Executed]),
            ),
            (Phase::Released, false, false, true, vec![Some(failed())], Err(Kind::NotFound)),
            // It dies too early, or skips what was expected.
            (Phase::Setup, false, false, false, vec![None], Err(Kind::Died)),
            (Phase::Setup, false, false, false, vec![Some(Report::Ready), None], Err(Kind::Died)),
            (Phase::Setup, true, false, true, vec![Some(Report::Ready)], Err(Kind::Died)),
            (Phase::Setup, false, true, true, vec![Some(Report::Ready)], Err(Kind::Died)),
            (Phase::Setup, false, false, true, vec![Some(Report::Namespaces)], Err(Kind::Died)),
            (Phase::Released, false, true, true, vec![None], Err(Kind::Died)),
        ];
        for (phase, hooks, console, open, reports, expected) in cases {
            let name = format!("{phase:?} {reports:?}");
            let mut conversation = Conversation::new(phase, hooks, console, open);
            let run = reports.into_iter().map(|report| match report {
                Some(report) => conversation.report(report),
                None => conversation.closed(),
            });
            let got: Result<Vec<_>> = run.collect();
            assert_eq!(got.map_err(|e| e.kind()), expected, "{name}");
        }
    }

    #[test]
    fn the_gate_opens_once() {
        let mut conversation = Conversation::new(Phase::Setup, false, false, false);
        assert!(conversation.release().is_err());
        conversation.report(Report::Ready).unwrap();
        conversation.release().unwrap();
        assert!(conversation.release().is_err());
        assert_eq!(conversation.closed().unwrap(), Action::Executed);
    }
}
