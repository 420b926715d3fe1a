//! Running one command to its end with a limit, and what came out of it.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait;

/// A command that has not ended by then is a failure of the test.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// What a command wrote and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command as typed, for messages.
    pub command: String,
    /// Standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Standard error without Tare's hints, which stand on lines of their own below Docker's text.
    pub stderr: String,
    /// The hints, as they stood there.
    pub hints: String,
    /// Exit code; 128 + the signal when a signal ended it.
    pub code: i32,
}

impl Output {
    /// Of what was written, the hints apart.
    pub(crate) fn new(typed: &str, stdout: String, stderr: &str, code: i32) -> Output {
        let (hints, said): (Vec<&str>, Vec<&str>) =
            stderr.split_inclusive('\n').partition(|line| line.starts_with("hint: "));
        let (command, stderr, hints) = (typed.to_string(), said.concat(), hints.concat());
        Output { command, stdout, stderr, hints, code }
    }

    /// Standard output of a command that must have succeeded, without the last newline.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "command failed\n{self}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// Checks the exit code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code\n{self}");
        self
    }

    /// Checks that standard error contains `text`.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Both streams, for texts that one of several engines writes to the other stream.
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ {}\n--- stdout\n{}\n--- stderr\n{}{}\n--- exit code {}",
            self.command,
            self.stdout.trim_end(),
            self.stderr.trim_end(),
            self.hints,
            self.code
        )
    }
}

/// Runs `command` until it has ended *and* its output is closed, as a shell's `$(…)` waits.
#[track_caller]
pub fn run(command: Command, typed: &str, input: &[u8], limit: Duration) -> Output {
    run_within(command, typed, input, limit).unwrap_or_else(|output| {
        panic!("not ended after {limit:?} (code -1: still running; else its output is held open)\n{output}")
    })
}

/// As [`run`], but what does not end in time is killed and comes back as an error.
#[track_caller]
pub fn run_within(
    mut command: Command,
    typed: &str,
    input: &[u8],
    limit: Duration,
) -> Result<Output, Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot execute {typed}: {error}"));
    let stdout = Collector::start(child.stdout.take());
    let stderr = Collector::start(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A command may well end without reading its input.
        let _ = stdin.write_all(input);
    }
    let mut status = None;
    let ended = wait::until(limit, || {
        status = status.or_else(|| child.try_wait().ok().flatten());
        status.is_some() && stdout.is_done() && stderr.is_done()
    });
    if !ended {
        kill_group(&mut child);
    }
    let code = status.map_or(-1, exit_code);
    let output = Output::new(typed, stdout.text(), &stderr.text(), code);
    if ended { Ok(output) } else { Err(output) }
}

/// A command that runs beside the test; it is killed when dropped.
#[derive(Debug)]
pub struct Background {
    typed: String,
    child: Child,
    stdout: Collector,
    stderr: Collector,
}

impl Background {
    /// Starts `command` with nothing on its standard input.
    #[track_caller]
    pub fn start(mut command: Command, typed: &str) -> Background {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot execute {typed}: {error}"));
        let stdout = Collector::start(child.stdout.take());
        let stderr = Collector::start(child.stderr.take());
        Background { typed: typed.to_string(), child, stdout, stderr }
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard output contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = wait::until(DEFAULT_LIMIT, || self.stdout().contains(text));
        assert!(
            found,
            "{} never wrote {text:?}; stdout {:?}, stderr {:?}",
            self.typed,
            self.stdout(),
            self.stderr()
        );
    }

    /// Sends a signal to the whole group of the command, as a terminal does.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Waits for the end and gives what was written.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let mut status = None;
        let ended = wait::until(DEFAULT_LIMIT, || {
            status = status.or_else(|| self.child.try_wait().ok().flatten());
            status.is_some()
        });
        assert!(ended, "{} did not end; stdout {:?}, stderr {:?}", self.typed, self.stdout(), self.stderr());
        wait::until(Duration::from_secs(2), || self.stdout.is_done() && self.stderr.is_done());
        let code = status.map_or(-1, exit_code);
        Output::new(&self.typed, self.stdout(), &self.stderr(), code)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// Exit code in the shell's manner.
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Kills the child's process group: an `nsenter` passes no signal on to the command behind it.
fn kill_group(child: &mut Child) {
    if let (Ok(None), Some(pid)) = (child.try_wait(), Pid::from_raw(child.id().cast_signed())) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
}

/// Reads a stream in a thread of its own, so that a full pipe never stops the command.
#[derive(Debug)]
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn start(stream: Option<impl Read + Send + 'static>) -> Collector {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = stream.map(|mut stream| {
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if let Ok(mut bytes) = shared.lock() {
                        bytes.extend_from_slice(&buffer[..count]);
                    }
                }
            })
        });
        Collector { bytes, thread }
    }

    fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn text(&self) -> String {
        self.bytes.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
