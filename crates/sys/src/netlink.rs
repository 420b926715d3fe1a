//! A raw netlink socket (netlink(7)): batches out, acknowledgements and messages in.
//!
//! A socket belongs to the network namespace of the thread that opens it and stays in it, so that
//! a namespace can be configured from outside through a socket that was opened inside.
//!
//! Invariants: every request of a batch carries a sequence number of this socket; answers to other
//! numbers are ignored. The kernel handles a batch inside send(2), so all answers but those of a
//! dump are there when it returns. This file does not know what the messages mean.

use crate::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// Length of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;
/// The answer that carries an errno, or 0 as an acknowledgement (NLMSG_ERROR).
pub const MSG_ERROR: u16 = 2;
/// The end of a dump (NLMSG_DONE).
pub const MSG_DONE: u16 = 3;

/// The kernel fills at most 32 KiB per read of a dump; a longer message would be an error.
const RECEIVE_BUFFER: usize = 64 * 1024;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// A bound on the reads for one batch, so that a stream of foreign messages cannot hold us.
const MAX_READS: usize = 100_000;
/// Longest text of an extended acknowledgement that is kept.
const MAX_REFUSAL_TEXT: usize = 256;

/// Which subsystem a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// NETLINK_ROUTE: links, addresses, routes.
    Route,
    /// NETLINK_NETFILTER: nf_tables, conntrack.
    Netfilter,
}

/// A netlink socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// nlmsg_type.
    pub kind: u16,
    /// nlmsg_flags.
    pub flags: u16,
    /// nlmsg_seq: that of the request it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The last request was acknowledged, or its dump is complete.
    Complete,
    /// A dump ended, but what it shows changed meanwhile: something may be missing (NLM_F_DUMP_INTR).
    Interrupted,
    /// The kernel refused a request.
    Refused(Refusal),
}

/// The kernel's no to one request, with its extended acknowledgement where it gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive.
    pub errno: i32,
    /// The sequence number of the refused request.
    pub sequence: u32,
    /// The kernel's own words (NLMSGERR_ATTR_MSG).
    pub text: Option<String>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Self> {
        let (number, name) = match protocol {
            // Its number is 0, which is also no protocol.
            Protocol::Route => (None, "NETLINK_ROUTE"),
            Protocol::Netfilter => (Some(netlink::NETFILTER), "NETLINK_NETFILTER"),
        };
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, number)
                .map_err(|e| Error::new(format!("socket(AF_NETLINK, {name})"), e))?;
        // Extended acknowledgements exist since 4.12; without them errors are merely terser.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let _ = set_option(fd.as_fd(), libc::SOL_NETLINK, option, 1);
        }
        // Dumps honour their filters only when asked to be strict (since 4.20).
        let _ = set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
        Ok(Self { fd, sequence: 0, buffer: Vec::new() })
    }

    /// Reserves `count` sequence numbers and returns the first.
    pub fn reserve(&mut self, count: u32) -> u32 {
        // 0 is left to notifications.
        if self.sequence > u32::MAX - count - 1 {
            self.sequence = 0;
        }
        let first = self.sequence + 1;
        self.sequence += count;
        first
    }

    /// Sends `batch` with one send(2) and reads what the kernel answers until `last`, the number of
    /// the last request, is acknowledged, its dump ends, or a request is refused.
    /// Messages other than acknowledgements go to `each`.
    pub fn exchange(
        &mut self,
        batch: &[u8],
        first: u32,
        last: u32,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<Outcome> {
        self.make_room(batch.len());
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, batch, SendFlags::empty()))
            .map_err(|e| Error::new(format!("send(netlink, {} bytes)", batch.len()), e))?;
        if sent != batch.len() {
            return Err(Error::new("send(netlink)", rustix::io::Errno::MSGSIZE));
        }
        let outcome = self.receive(first, last, &mut each)?;
        if matches!(outcome, Outcome::Refused(_)) {
            self.drain();
        }
        Ok(outcome)
    }

    fn receive(&mut self, first: u32, last: u32, each: &mut impl FnMut(Message<'_>)) -> Result<Outcome> {
        let mut interrupted = false;
        self.buffer.clear();
        self.buffer.reserve(RECEIVE_BUFFER);
        for _ in 0..MAX_READS {
            self.buffer.clear();
            // The spare capacity is not zeroed first: most answers touch one page of it.
            let (_, length) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(
                    &self.fd,
                    rustix::buffer::spare_capacity(&mut self.buffer),
                    RecvFlags::TRUNC,
                )
            })
            .map_err(|e| Error::new("recv(netlink)", e))?;
            if length > self.buffer.len() {
                return Err(Error::new("recv(netlink)", rustix::io::Errno::MSGSIZE));
            }
            for message in Messages(&self.buffer) {
                if message.sequence < first || message.sequence > last {
                    continue;
                }
                let refusal = match message.kind {
                    MSG_ERROR => parse_refusal(&message),
                    MSG_DONE => failed_dump(&message),
                    _ => None,
                };
                if let Some(refusal) = refusal {
                    return Ok(Outcome::Refused(refusal));
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    MSG_ERROR | MSG_DONE if message.sequence == last => {
                        return Ok(if interrupted { Outcome::Interrupted } else { Outcome::Complete });
                    }
                    MSG_ERROR | MSG_DONE => {}
                    _ => each(message),
                }
            }
        }
        Err(Error::new("recv(netlink)", rustix::io::Errno::NOBUFS))
    }

    /// Throws away what is left of the answers to a refused batch.
    fn drain(&mut self) {
        let mut ignored = [0; HEADER_LEN];
        for _ in 0..MAX_READS {
            if rustix::net::recv(&self.fd, &mut ignored[..], RecvFlags::DONTWAIT).is_err() {
                return;
            }
        }
    }

    /// A batch must fit the send buffer as a whole (default 208 KiB, of which half is overhead).
    fn make_room(&self, length: usize) {
        const DEFAULT_ROOM: usize = 64 * 1024;
        if length > DEFAULT_ROOM {
            let wanted = libc::c_int::try_from(length.saturating_mul(2)).unwrap_or(libc::c_int::MAX);
            // Refused without CAP_NET_ADMIN; then send(2) reports EMSGSIZE.
            let _ = set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket that hears what the kernel tells everybody of some groups (netlink(7)), of both protocols.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// Joins `groups` in the calling thread's network namespace.
    pub fn open(protocol: Protocol, groups: &[u32]) -> Result<Self> {
        let Socket { fd, .. } = Socket::open(protocol)?;
        rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, 0))
            .map_err(|e| Error::new("bind(netlink)", e))?;
        for group in groups {
            let group = libc::c_int::try_from(*group).unwrap_or(0);
            set_option(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)?;
        }
        Ok(Self { fd, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// Reads all that is there, without waiting. `true`: something was lost, because it was not read in time.
    pub fn read(&mut self, mut each: impl FnMut(Message<'_>)) -> Result<bool> {
        for _ in 0..MAX_READS {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match rustix::net::recv(&self.fd, &mut self.buffer[..], flags) {
                Ok((length, _)) => Messages(&self.buffer[..length]).for_each(&mut each),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(rustix::io::Errno::NOBUFS) => return Ok(true),
                Err(e) => return Err(Error::new("recv(netlink)", e)),
            }
        }
        Ok(true)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The messages in a received buffer; it ends at the first that does not fit.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.get(..HEADER_LEN)?;
        let length = u32::from_ne_bytes(header[0..4].try_into().ok()?) as usize;
        let payload = self.0.get(HEADER_LEN..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(header[4..6].try_into().ok()?),
            flags: u16::from_ne_bytes(header[6..8].try_into().ok()?),
            sequence: u32::from_ne_bytes(header[8..12].try_into().ok()?),
            payload,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// A dump that fails midway says so in its last message.
fn failed_dump(message: &Message<'_>) -> Option<Refusal> {
    let code = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    (code < 0).then(|| Refusal { errno: code.saturating_neg(), sequence: message.sequence, text: None })
}

/// Reads `struct nlmsgerr` and the attributes after it; `None` is an acknowledgement.
fn parse_refusal(message: &Message<'_>) -> Option<Refusal> {
    const NLM_F_CAPPED: u16 = 0x100;
    const NLM_F_ACK_TLVS: u16 = 0x200;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let code = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    let mut refusal = Refusal { errno: code.saturating_neg(), sequence: message.sequence, text: None };
    if message.flags & NLM_F_ACK_TLVS != 0 {
        // The refused request follows, as a header only when the answer is capped.
        let echoed = match message.payload.get(4..8) {
            Some(b) if message.flags & NLM_F_CAPPED == 0 => {
                u32::from_ne_bytes([b[0], b[1], b[2], b[3]]) as usize
            }
            _ => HEADER_LEN,
        };
        let mut rest = message.payload.get(4 + echoed.next_multiple_of(4)..).unwrap_or_default();
        while let Some(head) = rest.get(..4) {
            let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
            let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
            let Some(value) = rest.get(4..length) else { break };
            if kind == NLMSGERR_ATTR_MSG {
                let end = value.iter().position(|b| *b == 0).unwrap_or(value.len()).min(MAX_REFUSAL_TEXT);
                refusal.text = Some(String::from_utf8_lossy(&value[..end]).into_owned());
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Some(refusal)
}

fn set_option(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: the pointer is to a live c_int and the length is its size; setsockopt only reads it.
    let ret = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    crate::check(ret.into(), || format!("setsockopt({level}, {option}, {value})")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&((HEADER_LEN + payload.len()) as u32).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn answers_are_read_and_broken_ones_end_the_iteration() {
        let mut bytes = message(16, 2, 7, b"abcde");
        bytes.extend(message(3, 0, 7, &[0; 4]));
        let seen: Vec<_> = Messages(&bytes).map(|m| (m.kind, m.sequence, m.payload.len())).collect();
        assert_eq!(seen, [(16, 7, 5), (3, 7, 4)]);
        for cut in 0..bytes.len() {
            assert!(Messages(&bytes[..cut]).count() <= 2);
        }
        assert_eq!(Messages(&[0; 64]).count(), 0, "a length below the header's is no message");
        assert_eq!(Messages(&[0xff; 64]).count(), 0);
    }

    #[test]
    fn extended_acknowledgements_are_kept() {
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER_LEN]);
        payload.extend_from_slice(&[12, 0, 1, 0]);
        payload.extend_from_slice(b"in use!\0");
        let bytes = message(MSG_ERROR, 0x300, 9, &payload);
        let refusal = parse_refusal(&Messages(&bytes).next().unwrap()).unwrap();
        assert_eq!(refusal, Refusal { errno: 17, sequence: 9, text: Some("in use!".into()) });
        for cut in 0..payload.len() {
            let bytes = message(MSG_ERROR, 0x300, 9, &payload[..cut]);
            let _ = parse_refusal(&Messages(&bytes).next().unwrap());
        }
    }

    #[test]
    fn the_kernel_answers_a_dump_and_refuses_nonsense() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let first = socket.reserve(1);
        // RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, struct ifinfomsg.
        let mut links = 0;
        let dump = message(18, 0x301, first, &[0; 16]);
        let outcome = socket.exchange(&dump, first, first, |_| links += 1).unwrap();
        assert!(matches!(outcome, Outcome::Complete | Outcome::Interrupted));
        assert!(links >= 1);
        let number = socket.reserve(1);
        let nonsense = message(18, 0x5, number, &[0xff; 16]);
        let Outcome::Refused(refusal) = socket.exchange(&nonsense, number, number, |_| ()).unwrap() else {
            panic!("accepted");
        };
        assert_eq!(refusal.sequence, number);
        assert!(refusal.errno > 0);
    }
}
