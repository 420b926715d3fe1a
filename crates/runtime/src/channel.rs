//! The socket pair that carries [`crate::protocol`]: the caller's end never waits, the new process's end does.
//!
//! Both ends are close-on-exec: their disappearance is part of the protocol.

use crate::error::{Error, Kind, Result, What};
use crate::protocol::{MESSAGE_MAX, Order, Report};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The caller's end.
#[derive(Debug)]
pub(crate) struct CallerEnd(OwnedFd);

/// The new process's end.
#[derive(Debug)]
pub(crate) struct ChildEnd(OwnedFd);

/// What there was to receive.
#[derive(Debug)]
pub(crate) enum Received {
    /// Nothing yet.
    Nothing,
    /// A report and what came attached.
    Report(Report, Option<OwnedFd>),
    /// The other end is closed.
    Closed,
}

/// A fresh channel.
pub(crate) fn pair() -> Result<(CallerEnd, ChildEnd)> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .what(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)")?;
    Ok((CallerEnd(a), ChildEnd(b)))
}

impl CallerEnd {
    /// Takes one report if there is one.
    pub(crate) fn receive(&self) -> Result<Received> {
        let mut buffer = [0; MESSAGE_MAX];
        let mut fds = Vec::new();
        let size = match sys::scm::recv(self.0.as_fd(), &mut buffer, &mut fds, RecvFlags::DONTWAIT) {
            Ok(0) => return Ok(Received::Closed),
            Ok(size) => size,
            Err(e) if e.errno() == Errno::AGAIN.raw_os_error() => return Ok(Received::Nothing),
            // It died with an order of ours unread.
            Err(e) if e.errno() == Errno::CONNRESET.raw_os_error() => return Ok(Received::Closed),
            Err(e) => return Err(e.into()),
        };
        match Report::decode(&buffer[..size]) {
            Some(report) => Ok(Received::Report(report, fds.pop())),
            None => Err(Error::new(Kind::Died, "the container's process sent something unknown")),
        }
    }

    /// Gives an order. A process that is gone says so at the next [`CallerEnd::receive`].
    pub(crate) fn order(&self, order: &Order) -> Result<()> {
        send(self.0.as_fd(), &order.encode(), &[])
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ChildEnd {
    /// Reports; a caller that is gone is no reason to stop (its gate may be a fifo).
    pub(crate) fn report(&self, report: &Report) -> Result<()> {
        send(self.0.as_fd(), &report.encode(), &[])
    }

    /// Reports with a descriptor attached.
    pub(crate) fn report_with(&self, report: &Report, fd: BorrowedFd<'_>) -> Result<()> {
        send(self.0.as_fd(), &report.encode(), &[fd])
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// A second handle on the same end.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(Self(rustix::io::fcntl_dupfd_cloexec(&self.0, 3).what(|| "fcntl(F_DUPFD_CLOEXEC)")?))
    }

    /// Waits for [`Order::Proceed`].
    pub(crate) fn wait_proceed(&self) -> Result<()> {
        match self.wait()? {
            Order::Proceed => Ok(()),
            Order::Abort(text) => Err(Error::new(Kind::Hook, text)),
            Order::Go => Err(Error::new(Kind::Died, "the gate was opened too early")),
        }
    }

    /// Waits for [`Order::Go`].
    pub(crate) fn wait_go(&self) -> Result<()> {
        match self.wait()? {
            Order::Go => Ok(()),
            Order::Abort(text) => Err(Error::new(Kind::Hook, text)),
            Order::Proceed => Err(Error::new(Kind::Died, "an order came twice")),
        }
    }

    fn wait(&self) -> Result<Order> {
        let mut buffer = [0; MESSAGE_MAX];
        let size = match sys::scm::recv(self.0.as_fd(), &mut buffer, &mut Vec::new(), RecvFlags::empty()) {
            Err(e) if e.errno() == Errno::CONNRESET.raw_os_error() => 0,
            other => other?,
        };
        if size == 0 {
            return Err(Error::new(Kind::Died, "the caller is gone"));
        }
        Order::decode(&buffer[..size])
            .ok_or_else(|| Error::new(Kind::Died, "the caller sent something unknown"))
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    match sys::scm::send(socket, bytes, fds, SendFlags::empty()) {
        Ok(_) => Ok(()),
        Err(e) if e.errno() == Errno::PIPE.raw_os_error() || e.errno() == Errno::CONNRESET.raw_os_error() => {
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_orders_and_the_end() {
        let (caller, child) = pair().unwrap();
        assert!(matches!(caller.receive().unwrap(), Received::Nothing));
        child.report_with(&Report::Console, caller.as_fd()).unwrap();
        assert!(matches!(caller.receive().unwrap(), Received::Report(Report::Console, Some(_))));
        caller.order(&Order::Proceed).unwrap();
        child.wait_proceed().unwrap();
        caller.order(&Order::Abort("no".into())).unwrap();
        assert_eq!(child.wait_proceed().unwrap_err().kind(), Kind::Hook);
        drop(child);
        assert!(matches!(caller.receive().unwrap(), Received::Closed));
        caller.order(&Order::Go).unwrap();

        let (caller, child) = pair().unwrap();
        drop(caller);
        child.report(&Report::Ready).unwrap();
        assert_eq!(child.wait_go().unwrap_err().kind(), Kind::Died);
    }
}
