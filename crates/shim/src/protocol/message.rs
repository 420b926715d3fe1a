//! The requests, answers and events of version 1, as JSON.

use super::ProtocolError;
use crate::exit::ExitRecord;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::PathBuf;

/// What is asked of a shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Hand over descriptors, in this order: the network namespace, sockets of published ports, detached trees of
    /// mounts. May be sent several times before `Create` (one message carries 250 descriptors). Answer: `Done`.
    Hold {
        /// The first descriptor is the container's network namespace.
        #[serde(default)]
        netns: bool,
        /// That many sockets follow; they continue `Config::ports` where the last `Hold` ended.
        #[serde(default)]
        ports: u16,
        /// That many trees follow; they continue `Config::mounts`.
        #[serde(default)]
        mounts: u16,
    },
    /// From the start of its program on, a child of the shim answers what the container asks at 127.0.0.11. The frame
    /// carries two sockets of the container's network namespace, one for datagrams and one that listens. Before
    /// `Create` or later. Answer: `Done`.
    Resolve {
        /// The folder of names (crate `dns`).
        folder: PathBuf,
        /// The container's file in it.
        file: String,
        /// Servers are asked from the container's network namespace, else from the host's.
        #[serde(default)]
        inside: bool,
    },
    /// Make the container and leave its init before `execve`. Answer: `Created`. On failure nothing is left
    /// behind and the shim ends.
    Create,
    /// Let init go on. Answer: `Started` once `execve` succeeded. On failure nothing is left behind and the
    /// shim ends.
    Start,
    /// While the container runs: its published ports lead elsewhere. Descriptors are new sockets that are held from now
    /// on, behind those that are. Answer: `Done`.
    Publish {
        /// One for each socket that is held then, in their order.
        ports: Vec<crate::config::Port>,
    },
    /// A new stream socket for the main process. Answer: `Attached` with one descriptor: raw bytes for a
    /// terminal, else stdcopy frames (8-byte headers) from the shim; what is written to it is stdin and
    /// `shutdown(SHUT_WR)` ends stdin.
    Attach {
        /// Bytes written to the socket reach the container.
        stdin: bool,
        /// Its stdout is wanted (with a terminal: its output).
        stdout: bool,
        /// Its stderr is wanted.
        stderr: bool,
    },
    /// Change the size of the terminal of the main process or of an exec. Answer: `Done`.
    Resize {
        /// An exec; absent means the main process.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec_id: Option<String>,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Send a signal to init, to an exec, or to all processes of the container. Answer: `Done`.
    Kill {
        /// The signal's number.
        signal: i32,
        /// To every process of the container's cgroup.
        #[serde(default)]
        all: bool,
        /// To this exec's process instead of init.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec_id: Option<String>,
    },
    /// One more process in the container. Answer: `ExecStarted` once its `execve` succeeded, with the
    /// descriptors that [`ExecStdio`] names.
    Exec {
        /// Chosen by the caller, unique in this container.
        exec_id: String,
        /// What to run; `process.terminal` makes a pty, `process.consoleSize` its size.
        process: Box<oci::runtime::Process>,
        /// Which streams are wanted.
        stdio: ExecStdio,
        /// The frame carries a sink for `sys::trace` records of this exec.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        trace: bool,
    },
    /// The exit code of an exec, when it has ended. Answer: `ExecExited`.
    ExecWait {
        /// Which.
        exec_id: String,
    },
    /// Answered with `Exited` when the container has ended and `exit.json` is written. A shim whose exit nobody
    /// supervises is gone soon after: a connection that closes before the answer means that the file is there.
    Wait,
    /// Answer: `State`, at once.
    State,
    /// Stop all processes of the container (cgroup freezer). Answer: `Done`.
    Pause,
    /// Let them go on. Answer: `Done`.
    Resume,
    /// This connection promises to run `exited()`: after the container's end it gets [`Event::Exited`] and
    /// answers with `Release`; if it closes without, the shim spawns `exit_command`. Answer: `Done`.
    Supervise,
    /// The promise is kept: `exited()` ran. Answer: `Done`; the shim ends.
    Release {
        /// Only after that time, and by spawning `exit_command`: the container shall run again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again_after_ms: Option<u64>,
    },
    /// End without having created anything (or kill what was created and not started). Answer: `Done`; the
    /// shim ends.
    Abort,
}

/// Which streams of an exec the caller wants; the others are `/dev/null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecStdio {
    /// Without a terminal: the write end of stdin's pipe comes first.
    #[serde(default)]
    pub stdin: bool,
    /// Without a terminal: the read end of stdout's pipe comes next.
    #[serde(default)]
    pub stdout: bool,
    /// Without a terminal: the read end of stderr's pipe comes last.
    #[serde(default)]
    pub stderr: bool,
}

/// A shim's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Done,
    /// Init exists and waits before its `execve`.
    Created {
        /// Init's pid in the shim's pid namespace.
        pid: i32,
        /// Its start time in clock ticks since boot (`/proc/PID/stat` field 22): with the boot id it names the
        /// process for ever.
        start_time: u64,
        /// What could not be done as asked and is no reason to fail (a limit that may not be raised).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// `execve` succeeded.
    Started {
        /// Init's pid.
        pid: i32,
        /// When, nanoseconds since the epoch.
        at_ns: i64,
    },
    /// One descriptor comes along.
    Attached {
        /// The bytes are a terminal's, not stdcopy frames.
        tty: bool,
    },
    /// The exec runs. Descriptors: a terminal's master, else the pipes asked for.
    ExecStarted {
        /// Its pid in the shim's pid namespace.
        pid: i32,
    },
    /// An exec has ended.
    ExecExited {
        /// As a shell has it: 128 + signal for one that was killed.
        exit_code: i32,
    },
    /// The container has ended.
    Exited(ExitRecord),
    /// How things stand.
    State {
        /// How far it is.
        status: TaskStatus,
        /// Init's pid, 0 before it exists and after it ended.
        pid: i32,
        /// Running execs.
        execs: Vec<String>,
    },
    /// It was not done.
    Failed(Failure),
}

/// What a shim says unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// To the supervising connection: the container has ended and `exit.json` is written; run `exited()`, then
    /// send [`Request::Release`].
    Exited(ExitRecord),
    /// To the supervising connection: the kernel killed a process of the container for want of memory.
    Oom,
}

/// How far a container's task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Nothing was made yet.
    New,
    /// Init waits before its `execve`.
    Created,
    /// Init runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Init has ended; output is being drained or the exit handled.
    Stopped,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The text, with its causes.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The kinds of failure. The first ones are the runtime's and decide between the exit codes 125, 126 and 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program is not in the container (`executable file not found in $PATH`).
    NotFound,
    /// The program may not be executed.
    PermissionDenied,
    /// The program's path does not exist (`no such file or directory`).
    NoSuchFile,
    /// The program is a folder.
    IsDirectory,
    /// A part of the program's path is no folder.
    NotDirectory,
    /// No process to signal, no such exec.
    NotRunning,
    /// The request does not fit the container's state (a second `Create`, an exec id in use, …).
    Conflict,
    /// A value of the request or of the configuration is invalid.
    Invalid,
    /// Known and not supported.
    Unsupported,
    /// Too many execs, connections or attached sockets.
    TooMany,
    /// Anything else.
    Internal,
}

/// Encodes a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ProtocolError> {
    serde_json::to_vec(message).map_err(|e| ProtocolError::Body(e.to_string()))
}

/// Decodes a message.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(body).map_err(|e| ProtocolError::Body(e.to_string()))
}
