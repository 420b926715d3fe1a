//! A shim's connection under tokio: wait until it is readable, then take what has come.

use crate::error::{Error, Kind, Result, chain, errno};
use shim::client::{Connection, Incoming};
use shim::protocol::{FailureKind, Request, Response};
use rustix::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connection that async code can wait on.
#[derive(Debug)]
pub(crate) struct AsyncConnection {
    connection: Connection,
    ready: AsyncFd<OwnedFd>,
}

impl AsyncConnection {
    /// Takes a connection; must be called within a runtime.
    pub(crate) fn new(connection: Connection) -> Result<Self> {
        // A duplicate for the reactor: the connection keeps its own descriptor.
        let copy = rustix::io::fcntl_dupfd_cloexec(&connection, 0).map_err(errno("fcntl(F_DUPFD_CLOEXEC)"))?;
        let ready = AsyncFd::with_interest(copy, Interest::READABLE).map_err(crate::error::io("epoll_ctl(shim)"))?;
        Ok(Self { connection, ready })
    }

    /// Sends a request; short ones never block.
    pub(crate) fn send(&mut self, request: &Request) -> Result<u32> {
        self.connection.send(request, &[]).map_err(shim_error)
    }

    /// The next thing the shim says; `None` when it has closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>> {
        loop {
            match self.connection.try_recv() {
                Ok(Some(incoming)) => return Ok(Some(incoming)),
                Ok(None) => {}
                Err(shim::Error::Closed) => return Ok(None),
                Err(e) => return Err(shim_error(e)),
            }
            let mut guard = self.ready.readable().await.map_err(crate::error::io("epoll_wait(shim)"))?;
            // Looked at again before the readiness is forgotten: bytes may have come in between.
            match self.connection.try_recv() {
                Ok(Some(incoming)) => return Ok(Some(incoming)),
                Ok(None) => guard.clear_ready(),
                Err(shim::Error::Closed) => return Ok(None),
                Err(e) => return Err(shim_error(e)),
            }
        }
    }

    /// Sends a request and waits for its answer, passing over everything else.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<Option<(Response, Vec<OwnedFd>)>> {
        let wanted = self.send(request)?;
        while let Some(incoming) = self.next().await? {
            if let Incoming::Response { id, response, fds } = incoming
                && id == wanted
            {
                return match response {
                    Response::Failed(failure) => Err(shim_error(shim::Error::Refused(failure))),
                    other => Ok(Some((other, fds))),
                };
            }
        }
        Ok(None)
    }
}

/// A shim's error as the engine's; its kind decides between Docker's exit codes.
pub(crate) fn shim_error(error: shim::Error) -> Error {
    let kind = match &error {
        shim::Error::NoShim(_) => Kind::Conflict,
        shim::Error::Refused(failure) => match failure.kind {
            FailureKind::NotFound
            | FailureKind::PermissionDenied
            | FailureKind::NoSuchFile
            | FailureKind::NotADirectory
            | FailureKind::IsADirectory
            | FailureKind::NoSuchUser
            | FailureKind::Invalid => Kind::InvalidParameter,
            FailureKind::NotRunning | FailureKind::Conflict => Kind::Conflict,
            FailureKind::Unsupported => Kind::NotImplemented,
            FailureKind::TooMany => Kind::Unavailable,
            FailureKind::Internal => Kind::Internal,
        },
        _ => Kind::Internal,
    };
    Error::new(kind, chain(&error))
}
