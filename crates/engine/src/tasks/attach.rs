//! Attaching to a container's main streams.

use super::pending::PendingAttach;
use super::streams::shim_error;
use crate::error::{Error, Kind, Result};
use crate::{Container, Engine};
use rustix::fd::OwnedFd;
use shim::client::Connection;
use shim::protocol::{Request, Response};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a shim may take to answer: it never blocks, so that more means that it is stopped.
pub(crate) const SHIM_PATIENCE: Duration = Duration::from_secs(20);

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attachment {
    /// What the client writes reaches the container.
    pub stdin: bool,
    /// Its stdout.
    pub stdout: bool,
    /// Its stderr.
    pub stderr: bool,
}

/// An attached client's stream: a socket with raw bytes (terminal) or Docker's stdcopy frames from
/// the container; what is written is stdin, and shutting down writing ends stdin.
#[derive(Debug)]
pub enum Attached {
    /// The container runs.
    Now(OwnedFd),
    /// It does not yet: the stream comes with the start, or never when that fails.
    AtStart(oneshot::Receiver<OwnedFd>),
}

impl Engine {
    /// Attaches to a container; the second value says whether it has a terminal.
    pub fn attach(&self, word: &str, what: Attachment) -> Result<(Attached, bool)> {
        let container = self.container(word)?;
        let tty = container.config.tty;
        self.tell_container(&container, "attach", &[]);
        let stdin = what.stdin && container.config.open_stdin;
        if container.is_running() {
            let what = Attachment { stdin, ..what };
            return Ok((Attached::Now(self.attach_running(&container, what)?), tty));
        }
        let (reply, stream) = oneshot::channel();
        let pending = PendingAttach { stdin, stdout: what.stdout, stderr: what.stderr, reply };
        self.pending().attach(&container.id, pending).ok_or_else(|| {
            Error::new(Kind::Unavailable, "too many clients wait for this container's start")
        })?;
        Ok((Attached::AtStart(stream), tty))
    }

    fn attach_running(&self, container: &Container, what: Attachment) -> Result<OwnedFd> {
        let mut connection = Connection::connect(&self.paths().task(&container.id)).map_err(shim_error)?;
        request_attach(&mut connection, what)
    }

    /// Changes the size of the main process's terminal.
    pub fn resize(&self, word: &str, columns: u16, rows: u16) -> Result<()> {
        let container = self.container(word)?;
        container.must_run()?;
        let mut connection = Connection::connect(&self.paths().task(&container.id)).map_err(shim_error)?;
        let request = Request::Resize { exec_id: None, width: columns, height: rows };
        connection.call(&request, &[], Some(SHIM_PATIENCE)).map_err(shim_error)?;
        let (height, width) = (rows.to_string(), columns.to_string());
        self.tell_container(&container, "resize", &[("height", &height), ("width", &width)]);
        Ok(())
    }
}

/// Asks a shim for a stream.
pub(super) fn request_attach(connection: &mut Connection, what: Attachment) -> Result<OwnedFd> {
    let request = Request::Attach { stdin: what.stdin, stdout: what.stdout, stderr: what.stderr };
    let (response, fds) = connection.call(&request, &[], Some(SHIM_PATIENCE)).map_err(shim_error)?;
    match (response, fds.into_iter().next()) {
        (Response::Attached { .. }, Some(fd)) => Ok(fd),
        _ => Err(Error::new(Kind::Internal, "the shim gave no stream")),
    }
}
