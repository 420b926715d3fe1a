//! A shim's connection under tokio: wait until it is readable, then take what has come.

use crate::error::{Error, Kind, Result, chain, errno};
use rustix::fd::OwnedFd;
use shim::client::{Connection, Incoming};
use shim::protocol::{FailureKind, Request, Response};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream as StdStream;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// A connection that async code can wait on.
#[derive(Debug)]
pub(crate) struct AsyncConnection {
    connection: Connection,
    ready: UnixStream,
}

impl AsyncConnection {
    /// Takes a connection; must be called within a runtime.
    pub(crate) fn new(connection: Connection) -> Result<Self> {
        // A duplicate for the reactor: the connection keeps its own descriptor.
        let copy =
            rustix::io::fcntl_dupfd_cloexec(&connection, 0).map_err(errno("fcntl(F_DUPFD_CLOEXEC)"))?;
        let copy = StdStream::from(copy);
        copy.set_nonblocking(true).map_err(crate::error::io("ioctl(FIONBIO)"))?;
        let ready = UnixStream::from_std(copy).map_err(crate::error::io("epoll_ctl(shim)"))?;
        Ok(Self { connection, ready })
    }

    /// Sends a request; short ones never block.
    pub(crate) fn send(&mut self, request: &Request) -> Result<u32> {
        self.connection.send(request, &[]).map_err(shim_error)
    }

    /// The next thing the shim says; `None` when it has closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>> {
        loop {
            // What came with an earlier answer is kept in the connection: the socket tells nothing of it.
            match self.connection.try_recv() {
                Ok(Some(incoming)) => return Ok(Some(incoming)),
                Ok(None) => {}
                Err(shim::Error::Closed) => return Ok(None),
                Err(e) => return Err(shim_error(e)),
            }
            let connection = &mut self.connection;
            let mut taken = None;
            // Readiness is forgotten only when nothing was there, so that no byte is slept over.
            let looked = self.ready.try_io(Interest::READABLE, || {
                taken = Some(connection.try_recv());
                if matches!(taken, Some(Ok(None))) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (taken, looked) {
                (Some(Ok(Some(incoming))), _) => return Ok(Some(incoming)),
                (Some(Err(shim::Error::Closed)), _) => return Ok(None),
                (Some(Err(e)), _) => return Err(shim_error(e)),
                (Some(Ok(None)) | None, _) => {}
            }
            self.ready.readable().await.map_err(crate::error::io("epoll_wait(shim)"))?;
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
            | FailureKind::NotDirectory
            | FailureKind::IsDirectory
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
