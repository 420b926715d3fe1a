//! The one interface that every new network namespace has: lo, down. All other networking is the caller's.

use crate::error::{Error, Result, What};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use sys::trace;

const RTM_NEWLINK: u16 = 16;
/// NLM_F_REQUEST | NLM_F_ACK.
const REQUEST_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// lo is always the first.
const LOOPBACK_INDEX: u32 = 1;

/// Brings lo up (rtnetlink(7)).
pub(crate) fn loopback_up() -> Result<()> {
    let mut step = trace::step("loopback", "sendto(2) RTM_NEWLINK");
    step.check(set_up())
}

fn set_up() -> Result<()> {
    // No protocol is protocol 0, NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .what(|| "socket(AF_NETLINK)")?;
    send(&socket, &request(), SendFlags::empty()).what(|| "send(RTM_NEWLINK, lo)")?;
    let mut buffer = [0; 256];
    let (_, size) = recv(&socket, &mut buffer, RecvFlags::empty()).what(|| "recv(netlink)")?;
    match answer(&buffer[..size]) {
        Some(0) => Ok(()),
        Some(errno) => Err(Error::kernel("bring lo up", Errno::from_raw_os_error(errno))),
        None => Err(Error::kernel("bring lo up", Errno::BADMSG)),
    }
}

/// struct nlmsghdr and struct ifinfomsg.
fn request() -> [u8; 32] {
    let mut message = [0; 32];
    message[0..4].copy_from_slice(&32u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST_ACK.to_ne_bytes());
    message[20..24].copy_from_slice(&LOOPBACK_INDEX.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// The errno of an NLMSG_ERROR answer, 0 being an acknowledgement.
fn answer(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(message.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(-code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let mut message = request();
        assert_eq!(answer(&message), None);
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        message[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        assert_eq!(answer(&message), Some(1));
        assert_eq!(answer(&message[..10]), None);
    }
}
