//! Connections that must not outlive what they went through (ctnetlink).
//!
//! Without this a client that keeps sending would reach a dead container's address, and so, once it
//! is given again, a stranger; and UDP that was seen before its port was published would keep
//! going nowhere. The kernel filters the dump where it can; every entry is checked here as well.

use crate::address::octets;
use crate::ports::{PortMap, Protocol};
use crate::wire::{self, Batch, NLM_F_ACK, NLM_F_DUMP};
use crate::{Error, Result};
use rustix::io::Errno;
use std::net::IpAddr;
use sys::netlink::Socket;
use sys::trace;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const CT_NEW: u16 = NFNL_SUBSYS_CTNETLINK << 8;
const CT_GET: u16 = CT_NEW | 1;
const CT_DELETE: u16 = CT_NEW | 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const FILTER_IP_SRC: u32 = 1;
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;
const IPS_DST_NAT: u32 = 1 << 5;

/// Up to so many connections, looking at all of them costs less than a second walk through the table.
const FEW: usize = 4096;

/// Deletions per send(2).
const DELETE_CHUNK: usize = 256;

/// One direction of a connection, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    destination_port: u16,
}

/// A connection, with what is needed to delete exactly it.
#[derive(Debug)]
struct Entry {
    original: Tuple,
    reply: Tuple,
    status: u32,
    tuple: Vec<u8>,
    id: Vec<u8>,
    zone: Vec<u8>,
}

/// Forgets all connections from and to a container. Returns how many.
pub(crate) fn flush_address(socket: &mut Socket, address: IpAddr) -> Result<usize> {
    // A dump walks all buckets of the kernel's table, empty ones too: milliseconds.
    let known = connections();
    if known == Some(0) {
        return Ok(0);
    }
    let mut step = trace::step("conntrack", "IPCTNL_MSG_CT_DELETE");
    let family = family_of(address);
    let mut entries = if known.is_some_and(|count| count <= FEW) {
        dump(socket, family, |_| ())?
    } else {
        let mut entries = dump(socket, family, |batch| filter_source(batch, CTA_TUPLE_REPLY, address))?;
        entries.extend(dump(socket, family, |batch| filter_source(batch, CTA_TUPLE_ORIG, address))?);
        entries
    };
    entries.retain(|e| e.original.source == address || e.reply.source == address);
    let count = step.check(delete(socket, family, &entries))?;
    step.note(format_args!("{address}: {count} connections"));
    Ok(count)
}

/// Forgets UDP conversations with ports that are published from now on, where they went elsewhere.
pub(crate) fn flush_stale_udp(socket: &mut Socket, maps: &[PortMap]) -> Result<usize> {
    let mut count = 0;
    for map in maps.iter().filter(|m| m.protocol == Protocol::Udp && m.is_redirected()) {
        let family = family_of(map.host_ip);
        let mut entries = dump(socket, family, |batch| filter_port(batch, map))?;
        entries.retain(|e| {
            let here = map.host_ip.is_unspecified() || map.host_ip == e.original.destination;
            let same =
                e.original.protocol == map.protocol.number() && e.original.destination_port == map.host_port;
            here && same && e.status & IPS_DST_NAT == 0
        });
        count += delete(socket, family, &entries)?;
    }
    Ok(count)
}

/// How many connections this network namespace has; `None` where the kernel does not tell.
fn connections() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").ok()?.trim().parse().ok()
}

fn dump(socket: &mut Socket, family: u8, filter: impl FnOnce(&mut Batch)) -> Result<Vec<Entry>> {
    let mut batch = Batch::new();
    batch.message(CT_GET, NLM_F_DUMP, &[family, 0, 0, 0], "IPCTNL_MSG_CT_GET", "");
    filter(&mut batch);
    batch.dump(socket, |m| (m.kind == CT_NEW).then(|| parse(m.payload))?)
}

fn delete(socket: &mut Socket, family: u8, entries: &[Entry]) -> Result<usize> {
    for chunk in entries.chunks(DELETE_CHUNK) {
        let mut batch = Batch::new();
        for entry in chunk {
            batch.message(CT_DELETE, 0, &[family, 0, 0, 0], "IPCTNL_MSG_CT_DELETE", "");
            let nest = batch.nest(CTA_TUPLE_ORIG);
            batch.raw(&entry.tuple);
            batch.end(nest);
            for (attribute, value) in [(CTA_ID, &entry.id), (CTA_ZONE, &entry.zone)] {
                if !value.is_empty() {
                    batch.attr(attribute, value);
                }
            }
        }
        batch.ask_last(NLM_F_ACK);
        match batch.send(socket, |_| ()) {
            // Expired in the meantime; the kernel goes on with the others.
            Err(e) if e.errno() == Errno::NOENT.raw_os_error() => {}
            other => other?,
        }
    }
    Ok(entries.len())
}

const fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn filter_source(batch: &mut Batch, which: u16, address: IpAddr) {
    let tuple = batch.nest(which);
    let ip = batch.nest(CTA_TUPLE_IP);
    let attribute = if address.is_ipv4() { CTA_IP_V4_SRC } else { CTA_IP_V6_SRC };
    batch.attr(attribute, &octets(address));
    batch.end(ip);
    batch.end(tuple);
    filter_flags(batch, which, FILTER_IP_SRC);
}

fn filter_port(batch: &mut Batch, map: &PortMap) {
    let tuple = batch.nest(CTA_TUPLE_ORIG);
    let proto = batch.nest(CTA_TUPLE_PROTO);
    batch
        .attr(CTA_PROTO_NUM, &[map.protocol.number()])
        .attr(CTA_PROTO_DST_PORT, &map.host_port.to_be_bytes());
    batch.end(proto);
    batch.end(tuple);
    filter_flags(batch, CTA_TUPLE_ORIG, FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT);
}

fn filter_flags(batch: &mut Batch, which: u16, flags: u32) {
    let filter = batch.nest(CTA_FILTER);
    let (original, reply) = if which == CTA_TUPLE_ORIG { (flags, 0) } else { (0, flags) };
    // In host order, unlike the rest of ctnetlink (ctnetlink_parse_filter).
    batch.u32(CTA_FILTER_ORIG_FLAGS, original).u32(CTA_FILTER_REPLY_FLAGS, reply);
    batch.end(filter);
}

fn parse(payload: &[u8]) -> Option<Entry> {
    let body = payload.get(4..)?;
    let tuple = wire::find(body, CTA_TUPLE_ORIG)?;
    Some(Entry {
        original: parse_tuple(tuple)?,
        reply: parse_tuple(wire::find(body, CTA_TUPLE_REPLY)?)?,
        status: wire::find(body, CTA_STATUS).and_then(wire::as_be32).unwrap_or(0),
        tuple: tuple.to_vec(),
        id: wire::find(body, CTA_ID).unwrap_or_default().to_vec(),
        zone: wire::find(body, CTA_ZONE).unwrap_or_default().to_vec(),
    })
}

fn parse_tuple(tuple: &[u8]) -> Option<Tuple> {
    let ip = wire::find(tuple, CTA_TUPLE_IP)?;
    let proto = wire::find(tuple, CTA_TUPLE_PROTO)?;
    let address = |v4, v6| match (wire::find(ip, v4), wire::find(ip, v6)) {
        (Some(bytes), _) => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        (None, bytes) => Some(IpAddr::from(<[u8; 16]>::try_from(bytes?).ok()?)),
    };
    let port = wire::find(proto, CTA_PROTO_DST_PORT).and_then(|p| <[u8; 2]>::try_from(p).ok());
    Some(Tuple {
        source: address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?,
        destination: address(CTA_IP_V4_DST, CTA_IP_V6_DST)?,
        protocol: *wire::find(proto, CTA_PROTO_NUM)?.first()?,
        destination_port: port.map_or(0, u16::from_be_bytes),
    })
}

/// A kernel without conntrack has no connections to forget.
pub(crate) fn absent_is_fine(result: Result<usize>) -> Result<usize> {
    match result {
        Err(Error::Kernel { source, .. })
            if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) =>
        {
            Ok(0)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// The kernel is not hostile, but nothing it sends may make us panic.
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
