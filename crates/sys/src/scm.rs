//! File descriptors over unix sockets (SCM_RIGHTS, unix(7)).

use crate::{Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// The kernel's limit on descriptors in one message (SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

/// Sends `bytes` (not empty) with `fds`; returns how many bytes went.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> Result<usize> {
    let call = || format!("sendmsg({} bytes, {} fds)", bytes.len(), fds.len());
    if fds.len() > MAX_FDS {
        return Err(Error::new(call(), rustix::io::Errno::INVAL));
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags | SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(|e| Error::new(call(), e)),
        }
    }
}

/// Receives into `buffer`; returns the number of bytes (0 = the other side closed) and appends
/// the descriptors to `fds` (close-on-exec). A message cut short of descriptors is an error.
pub fn recv(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.map_err(|e| Error::new("recvmsg()", e))?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Error::new("recvmsg(): descriptors were cut off", rustix::io::Errno::MSGSIZE));
    }
    Ok(got.bytes)
}
