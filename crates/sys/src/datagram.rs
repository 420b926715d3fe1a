//! Datagrams of IPv6 with the address that they were sent to (IPV6_PKTINFO, RFC 3542, 6), so that an answer comes
//! from there: a client that is connected takes it from nowhere else.
//!
//! It does not know what is in a datagram.

use crate::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::net::{Ipv6Addr, SocketAddrV6};

/// The address and the interface of this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// The address.
    pub address: Ipv6Addr,
    /// The interface's index, of a link-local address only: an answer may leave by another one otherwise.
    pub interface: u32,
}

/// Room for one in6_pktinfo, aligned as cmsghdr wants it.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

/// CMSG_SPACE(sizeof(struct in6_pktinfo)): a header of 16 bytes and 20 bytes, padded.
const CONTROL_LEN: usize = 40;

/// Asks for the addresses that datagrams are sent to.
pub fn want_local(socket: impl AsFd) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes a c_int, whose address and length are passed; the descriptor is borrowed.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(Error::new("setsockopt(IPV6_RECVPKTINFO)", last())) }
}

/// Receives one datagram without waiting; a longer one than `buffer` is cut.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> std::result::Result<(usize, SocketAddrV6, Local), Errno> {
    // SAFETY: all-zero is a valid value of these plain C structs.
    let (mut name, mut message): (libc::sockaddr_in6, libc::msghdr) = unsafe { std::mem::zeroed() };
    let mut control = Control([0; CONTROL_LEN]);
    let mut io = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut io;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    // SAFETY: every pointer of `message` leads to a live buffer of the length beside it.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else { return Err(last()) };
    let peer = SocketAddrV6::new(
        Ipv6Addr::from(name.sin6_addr.s6_addr),
        u16::from_be(name.sin6_port),
        0,
        name.sin6_scope_id,
    );
    let mut local = Local { address: Ipv6Addr::UNSPECIFIED, interface: 0 };
    // SAFETY: msg_control and msg_controllen describe `control` as the kernel filled it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR returns a header that lies in `control` as a whole, aligned.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if level == libc::IPPROTO_IPV6 && kind == libc::IPV6_PKTINFO {
            // SAFETY: the data of such a header is an in6_pktinfo, for which `control` has room.
            let info: libc::in6_pktinfo =
                unsafe { libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned() };
            local.address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            local.interface =
                if local.address.is_unicast_link_local() { info.ipi6_ifindex as u32 } else { 0 };
        }
    }
    Ok((length, peer, local))
}

/// Sends one datagram from an address of this side, without waiting.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    peer: &SocketAddrV6,
    local: &Local,
) -> std::result::Result<(), Errno> {
    // SAFETY: all-zero is a valid value of these plain C structs.
    let (mut name, mut message, mut info): (libc::sockaddr_in6, libc::msghdr, libc::in6_pktinfo) =
        unsafe { std::mem::zeroed() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_port = peer.port().to_be();
    name.sin6_addr.s6_addr = peer.ip().octets();
    name.sin6_scope_id = peer.scope_id();
    info.ipi6_addr.s6_addr = local.address.octets();
    info.ipi6_ifindex = local.interface as _;
    let mut control = Control([0; CONTROL_LEN]);
    let mut io = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut io;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    // SAFETY: `control` has room for one header with an in6_pktinfo behind it (CONTROL_LEN), so that the first header
    // and its data lie in it; it is aligned for the header and written unaligned behind it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::IPPROTO_IPV6;
        (*header).cmsg_type = libc::IPV6_PKTINFO;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as _) as _;
        libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().write_unaligned(info);
    }
    // SAFETY: every pointer of `message` leads to a live buffer of the length beside it; the kernel only reads them.
    let sent = unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(last()) } else { Ok(()) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn answers_come_from_where_it_was_asked() {
        let server = UdpSocket::bind("[::]:0").unwrap();
        want_local(&server).unwrap();
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.connect(("::1", server.local_addr().unwrap().port())).unwrap();
        client.send(b"ask").unwrap();
        let mut buffer = [0; 16];
        let mut got = receive(server.as_fd(), &mut buffer);
        while got == Err(Errno::AGAIN) {
            std::thread::yield_now();
            got = receive(server.as_fd(), &mut buffer);
        }
        let (length, peer, local) = got.unwrap();
        assert_eq!(&buffer[..length], b"ask");
        assert_eq!(std::net::SocketAddr::V6(peer), client.local_addr().unwrap());
        assert_eq!(local, Local { address: Ipv6Addr::LOCALHOST, interface: 0 });
        send(server.as_fd(), b"answer", &peer, &local).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        assert_eq!(receive(server.as_fd(), &mut buffer).unwrap_err(), Errno::AGAIN);
    }
}
