//! Elements of the ruleset's maps and sets: all of a container's and network's state in the kernel.

use super::expr::data;
use super::ruleset::{APART, SETS, SPLICED, SPLICED_ANY, TABLE, V4, V6, Words};
use super::{
    DELSETELEM, GETSETELEM, NEWSETELEM, NFPROTO_INET, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NftSocket,
    Transaction, header, kind,
};
use crate::address::{octets, to_bits};
use crate::wire::{self, Batch, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP};
use crate::{PortMap, Protocol, Result, Subnet};
use rustix::io::Errno;
use std::net::IpAddr;

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

/// What the ruleset knows of a published port: where the kernel redirects it, and that its socket is spliced.
pub(crate) fn of_port(map: &PortMap) -> Vec<(&'static str, Element)> {
    let [high, low] = map.host_port.to_be_bytes();
    let [container_high, container_low] = map.container_port.to_be_bytes();
    let mut key = Vec::with_capacity(24);
    if !map.host_ip.is_unspecified() {
        key.extend_from_slice(&octets(map.host_ip));
    }
    key.extend_from_slice(&[map.protocol.number(), 0, 0, 0, high, low, 0, 0]);
    let mut found = Vec::with_capacity(2);
    if map.is_redirected() {
        let words = words_of(map.host_ip);
        let mut value = octets(map.container_ip);
        value.extend_from_slice(&[container_high, container_low, 0, 0]);
        let set = if map.host_ip.is_unspecified() { words.ports_any } else { words.ports };
        found.push((set, Element { key: key.clone(), key_end: Vec::new(), value, flags: 0 }));
    }
    if map.is_spliced() && map.protocol != Protocol::Sctp {
        let set = if map.host_ip.is_unspecified() { SPLICED_ANY } else { SPLICED };
        found.push((set, Element { key, key_end: Vec::new(), value: Vec::new(), flags: 0 }));
    }
    found
}

/// The elements that make `subnet` a network of containers on `bridge`.
pub(crate) fn of_network(bridge: &str, subnet: Subnet) -> [(&'static str, Vec<Element>); 2] {
    let element = |key: Vec<u8>, key_end: Vec<u8>, flags| Element { key, key_end, value: Vec::new(), flags };
    let words = words_of(subnet.base());
    let mut ranges = vec![element(octets(subnet.base()), Vec::new(), 0)];
    if let Some(after) = after(octets(subnet.last())) {
        ranges.push(element(after, Vec::new(), ELEM_INTERVAL_END));
    }
    let named = |address: IpAddr| [&interface(bridge)[..], &octets(address)].concat();
    [(words.nets, ranges), (words.own, vec![element(named(subnet.base()), named(subnet.last()), 0)])]
}

/// The number behind this one; behind the last there is none.
fn after(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

const fn words_of(address: IpAddr) -> Words {
    if address.is_ipv4() { V4 } else { V6 }
}

/// The element that says that containers of a bridge are kept from each other.
pub(crate) fn of_apart(name: &str) -> (&'static str, Element) {
    (APART, of_bridge(name))
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
    let all = networks(socket)?;
    Ok(all.into_iter().filter(|(name, _)| *name == bridge).map(|(_, subnet)| subnet).collect())
}

/// All bridges with their subnets that the ruleset knows.
pub(crate) fn networks(socket: &NftSocket) -> Result<Vec<(String, Subnet)>> {
    let address = |bytes: &[u8]| match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    let subnet = |e: &Element| {
        let (first, last) = (address(e.key.get(16..)?)?, address(e.key_end.get(16..)?)?);
        let host = u128::BITS - (to_bits(first) ^ to_bits(last)).leading_zeros();
        let width = if first.is_ipv4() { 32 } else { u128::BITS };
        let prefix = u8::try_from(width.checked_sub(host)?).ok()?;
        Some((wire::as_text(&e.key[..16]), Subnet::containing(first, prefix)?))
    };
    let mut all = Vec::new();
    for words in [V4, V6] {
        all.extend(dump(socket, words.own)?.iter().filter_map(subnet));
    }
    Ok(all)
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

    #[test]
    fn keys_and_values() {
        let port = |host: &str, container: &str| PortMap {
            host_ip: host.parse().unwrap(),
            host_port: 0x1f90,
            container_ip: container.parse().unwrap(),
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let v4 = "172.17.0.2";
        let [(set, element)] = &of_port(&port("0.0.0.0", v4))[..] else { panic!() };
        assert_eq!((*set, &element.key[..]), (V4.ports_any, &[6, 0, 0, 0, 0x1f, 0x90, 0, 0][..]));
        assert_eq!(element.value, [172, 17, 0, 2, 0, 80, 0, 0]);
        let [(set, element)] = &of_port(&port("127.0.0.1", v4))[..] else { panic!() };
        assert_eq!((*set, &element.key[..]), (V4.ports, &[127, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0][..]));
        let sets = |host, container| of_port(&port(host, container)).iter().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(sets("::", v4), [SPLICED_ANY], "spliced, not redirected");
        assert_eq!(sets("::", "fd00::2"), [V6.ports_any, SPLICED_ANY], "spliced for ::1");
        assert_eq!(sets("2001:db8::1", "fd00::2"), [V6.ports, SPLICED]);
        // The end of an interval lies behind it; behind the last address there is nothing.
        for (subnet, ends) in [
            ("172.17.0.0/16", vec![vec![172, 17, 0, 0], vec![172, 18, 0, 0]]),
            ("255.255.255.0/24", vec![vec![255, 255, 255, 0]]),
            ("ffff::/16", vec!["ffff::".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec()]),
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
