//! Elements of the ruleset's maps and sets: all of a container's and network's state in the kernel.

use super::expr::data;
use super::ruleset::{NETS, OWN, PORTS, PORTS_ANY, SETS, TABLE};
use super::{
    DELSETELEM, GETSETELEM, NEWSETELEM, NFPROTO_INET, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NftSocket,
    Transaction, header, kind,
};
use crate::wire::{self, Batch, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP};
use crate::{PortMap, Result, Subnet};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr};

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_KEY_END: u16 = 10;
const ELEM_INTERVAL_END: u32 = 1;
/// A nest is at most 64 KiB long; an element takes less than 128 bytes.
const LIST_LIMIT: usize = 32 * 1024;

/// An element as it stands in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) key_end: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u32,
}

/// The map and the element of a redirected mapping.
pub(crate) fn of_port(map: &PortMap) -> Option<(&'static str, Element)> {
    let IpAddr::V4(host) = map.host_ip else { return None };
    let [high, low] = map.host_port.to_be_bytes();
    let [container_high, container_low] = map.container_port.to_be_bytes();
    let mut key = Vec::with_capacity(12);
    let set = if host.is_unspecified() {
        PORTS_ANY
    } else {
        key.extend_from_slice(&host.octets());
        PORTS
    };
    key.extend_from_slice(&[map.protocol.number(), 0, 0, 0, high, low, 0, 0]);
    let mut value = map.container_ip.octets().to_vec();
    value.extend_from_slice(&[container_high, container_low, 0, 0]);
    Some((set, Element { key, key_end: Vec::new(), value, flags: 0 }))
}

/// The elements that make `subnet` a network of containers on `bridge`.
pub(crate) fn of_network(bridge: &str, subnet: Subnet) -> [(&'static str, Vec<Element>); 2] {
    let element = |key: Vec<u8>, key_end: Vec<u8>, flags| Element { key, key_end, value: Vec::new(), flags };
    let after = subnet.last().to_bits().wrapping_add(1).to_be_bytes().to_vec();
    let mut ranges = vec![element(subnet.base().octets().to_vec(), Vec::new(), 0)];
    if after != [0; 4] {
        ranges.push(element(after, Vec::new(), ELEM_INTERVAL_END));
    }
    let named = |address: Ipv4Addr| [&interface(bridge)[..], &address.octets()].concat();
    [(NETS, ranges), (OWN, vec![element(named(subnet.base()), named(subnet.last()), 0)])]
}

/// The element that says that a foreign bridge is one.
pub(crate) fn of_bridge(name: &str) -> Element {
    let key = [interface(name), interface(name)].concat();
    Element { key, key_end: Vec::new(), value: Vec::new(), flags: 0 }
}

/// The element of a set of interfaces.
pub(crate) fn of_interface(name: &str) -> Element {
    Element { key: interface(name).to_vec(), key_end: Vec::new(), value: Vec::new(), flags: 0 }
}

/// The subnets that the ruleset believes to be on `bridge`.
pub(crate) fn networks_of(socket: &NftSocket, bridge: &str) -> Result<Vec<Subnet>> {
    let address = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.get(16..20)?.try_into().ok()?));
    let subnet = |e: &Element| {
        let (first, last) = (address(&e.key)?, address(&e.key_end)?);
        let prefix = u8::try_from((first ^ last).leading_zeros()).ok()?;
        (e.key[..16] == interface(bridge)).then(|| Subnet::containing(first.into(), prefix))?
    };
    Ok(dump(socket, OWN)?.iter().filter_map(subnet).collect())
}

/// An interface's name as a key: 16 bytes with zeros behind.
fn interface(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    let bytes = &name.as_bytes()[..name.len().min(15)];
    key[..bytes.len()].copy_from_slice(bytes);
    key
}

/// Adds elements; one that is there with the same value is fine, with another value EBUSY.
pub(crate) fn add(transaction: &mut Transaction, set: &str, elements: &[Element]) {
    list(transaction, NEWSETELEM, NLM_F_CREATE, "NFT_MSG_NEWSETELEM", set, elements);
}

/// Deletes elements; one that is not there fails the transaction with ENOENT.
pub(crate) fn delete(transaction: &mut Transaction, set: &str, elements: &[Element]) {
    list(transaction, DELSETELEM, 0, "NFT_MSG_DELSETELEM", set, elements);
}

/// The value under a key.
pub(crate) fn get(socket: &NftSocket, set: &str, element: &Element) -> Result<Option<Vec<u8>>> {
    let mut batch = Batch::new();
    batch.message(kind(GETSETELEM), NLM_F_ACK, &header(NFPROTO_INET), "NFT_MSG_GETSETELEM", set);
    batch.text(LIST_TABLE, TABLE).text(LIST_SET, set);
    let nest = batch.nest(LIST_ELEMENTS);
    one(&mut batch, &Element { value: Vec::new(), ..element.clone() });
    batch.end(nest);
    let mut found = Vec::new();
    match batch.send(&mut socket.socket(), |m| found.extend(parse(m.kind, m.payload))) {
        Ok(()) => Ok(found.pop().map(|e: Element| e.value)),
        Err(e) if e.errno() == Errno::NOENT.raw_os_error() => Ok(None),
        Err(e) => Err(e),
    }
}

/// All elements of a set.
pub(crate) fn dump(socket: &NftSocket, set: &str) -> Result<Vec<Element>> {
    let mut batch = Batch::new();
    batch.message(kind(GETSETELEM), NLM_F_DUMP, &header(NFPROTO_INET), "NFT_MSG_GETSETELEM", set);
    batch.text(LIST_TABLE, TABLE).text(LIST_SET, set);
    let messages = batch.dump(&mut socket.socket(), |m| Some(parse(m.kind, m.payload)))?;
    Ok(messages.into_iter().flatten().collect())
}

/// All elements of the sets that this version knows.
pub(crate) fn dump_all(socket: &NftSocket) -> Result<Vec<(&'static str, Vec<Element>)>> {
    let mut all = Vec::with_capacity(SETS.len());
    for set in SETS {
        match dump(socket, set.name) {
            Ok(elements) => all.push((set.name, elements)),
            // Another version has no such set.
            Err(e) if e.errno() == Errno::NOENT.raw_os_error() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

/// Messages for all elements, as many as the length of a nest makes necessary.
fn list(
    t: &mut Transaction,
    message: u16,
    flags: u16,
    request: &'static str,
    set: &str,
    elements: &[Element],
) {
    let mut rest = elements.iter().peekable();
    while rest.peek().is_some() {
        let batch = t.message(message, flags, NFPROTO_INET, request, set);
        batch.text(LIST_TABLE, TABLE).text(LIST_SET, set);
        let nest = batch.nest(LIST_ELEMENTS);
        while batch.nest_len(&nest) < LIST_LIMIT
            && let Some(element) = rest.next()
        {
            one(batch, element);
        }
        batch.end(nest);
    }
}

fn one(batch: &mut Batch, element: &Element) {
    let nest = batch.nest(NFTA_LIST_ELEM);
    data(batch, ELEM_KEY, &element.key);
    if !element.key_end.is_empty() {
        data(batch, ELEM_KEY_END, &element.key_end);
    }
    if !element.value.is_empty() {
        data(batch, ELEM_DATA, &element.value);
    }
    if element.flags != 0 {
        batch.be32(ELEM_FLAGS, element.flags);
    }
    batch.end(nest);
}

fn parse(message: u16, payload: &[u8]) -> Vec<Element> {
    let mut out = Vec::new();
    if message != kind(NEWSETELEM) {
        return out;
    }
    let body = payload.get(4..).unwrap_or_default();
    let Some(elements) = wire::find(body, LIST_ELEMENTS) else { return out };
    for (_, element) in wire::attributes(elements) {
        let value = |attribute| {
            let nest = wire::find(element, attribute);
            nest.and_then(|n| wire::find(n, NFTA_DATA_VALUE)).map(<[u8]>::to_vec).unwrap_or_default()
        };
        let flags = wire::find(element, ELEM_FLAGS).and_then(wire::as_be32).unwrap_or(0);
        out.push(Element {
            key: value(ELEM_KEY),
            key_end: value(ELEM_KEY_END),
            value: value(ELEM_DATA),
            flags,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::Protocol;

    #[test]
    fn keys_and_values() {
        let port = |host: &str| PortMap {
            host_ip: host.parse().unwrap(),
            host_port: 0x1f90,
            container_ip: Ipv4Addr::new(172, 17, 0, 2),
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let (set, element) = of_port(&port("0.0.0.0")).unwrap();
        assert_eq!((set, &element.key[..]), (PORTS_ANY, &[6, 0, 0, 0, 0x1f, 0x90, 0, 0][..]));
        assert_eq!(element.value, [172, 17, 0, 2, 0, 80, 0, 0]);
        let (set, element) = of_port(&port("127.0.0.1")).unwrap();
        assert_eq!((set, &element.key[..]), (PORTS, &[127, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0][..]));
        assert_eq!(of_port(&port("::")), None, "spliced, not redirected");
        // The end of an interval lies behind it; behind the last address there is nothing.
        for (subnet, ends) in [
            ("172.17.0.0/16", vec![[172, 17, 0, 0], [172, 18, 0, 0]]),
            ("255.255.255.0/24", vec![[255, 255, 255, 0]]),
        ] {
            let [(_, ranges), _] = of_network("tare0", subnet.parse().unwrap());
            assert_eq!(ranges.iter().map(|e| e.key.clone()).collect::<Vec<_>>(), ends);
        }
    }

    proptest::proptest! {
        /// The kernel is not hostile, but nothing it sends may make us panic.
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(kind(NEWSETELEM), &bytes);
        }
    }
}
