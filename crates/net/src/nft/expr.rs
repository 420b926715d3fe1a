//! The words of a rule, each as the kernel's expression of that name (net/netfilter/nft_*.c).

use super::{NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_LIST_ELEM, NFTA_RULE_EXPRESSIONS};
use crate::wire::Batch;
use std::net::Ipv4Addr;

/// A register of four bytes: 8 is the first of the sixteen; four of them form the registers 1 to 4.
pub(crate) const REG: u32 = 8;

pub(crate) const PROTO_IPV4: u8 = 2;
pub(crate) const PROTO_IPV6: u8 = 10;
pub(crate) const PROTO_ICMPV6: u8 = 58;
/// NF_CT_STATE_BIT: established and related.
pub(crate) const CT_KNOWN: u32 = 2 | 4;
/// IPS_DNAT.
pub(crate) const CT_DNAT: u32 = 1 << 5;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const PAYLOAD_NETWORK: u32 = 1;
const PAYLOAD_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_FLAG_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const NAT_DNAT: u32 = 1;
const NF_DROP: i32 = 0;
const NF_ACCEPT: i32 = 1;
const NFT_JUMP: i32 = -3;

/// A word; matches that fail end the rule.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expr<'a> {
    /// `meta nfproto`.
    Family(u8),
    /// `iifname`; a name without its NUL is a prefix (`tare*`).
    In(Cmp, Name<'a>),
    /// `oifname`.
    Out(Cmp, Name<'a>),
    /// First byte of the source address.
    SourceByte(u8),
    /// First byte of the destination address.
    DestinationByte(u8),
    /// `ip daddr`.
    Destination(Ipv4Addr),
    /// `ip6 saddr` lies in fe80::/10 or not.
    SourceLinkLocal(Cmp),
    /// `ip6 daddr` lies in fe80::/10.
    DestinationLinkLocal,
    /// `ip6 daddr != ::1`.
    DestinationNotLoopback6,
    /// `meta l4proto`.
    Protocol(u8),
    /// `th dport`.
    DestinationPort(u16),
    /// This value goes to the n-th register.
    Value(u32, [u8; 4]),
    /// `fib daddr type local`.
    ToLocal,
    /// `ct state` has one of these bits.
    State(u32),
    /// `ct status` has (or has not) one of these bits.
    Status(u32, bool),
    /// Load into the n-th register.
    LoadIn(u32),
    LoadOut(u32),
    /// An address of that family takes one register or four.
    LoadSource(u8, u32),
    LoadDestination(u8, u32),
    LoadProtocol(u32),
    LoadDestinationPort(u32),
    /// The loaded key is (or is not) in the set.
    InSet(&'a str, bool),
    /// The loaded key's value goes to the first registers.
    Map(&'a str),
    /// `dnat to` the address of that family and the port in the first registers.
    DnatToMapped(u8),
    Masquerade,
    /// Counts, so that `iptables -L` shows a number.
    Counter,
    Accept,
    Drop,
    Jump(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cmp {
    Is,
    IsNot,
}

/// An interface.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name<'a> {
    Exact(&'a str),
    Prefix(&'a str),
}

/// Writes the expressions of a rule into the open message.
pub(crate) fn encode(batch: &mut Batch, words: &[Expr<'_>]) {
    let list = batch.nest(NFTA_RULE_EXPRESSIONS);
    for word in words {
        one(batch, *word);
    }
    batch.end(list);
}

fn one(batch: &mut Batch, word: Expr<'_>) {
    match word {
        Expr::Family(family) => {
            numbers(batch, "meta", &[(1, REG), (2, META_NFPROTO)]);
            cmp(batch, Cmp::Is, &[family]);
        }
        Expr::In(how, name) => interface(batch, META_IIFNAME, how, name),
        Expr::Out(how, name) => interface(batch, META_OIFNAME, how, name),
        Expr::SourceByte(byte) => address_byte(batch, 12, byte),
        Expr::DestinationByte(byte) => address_byte(batch, 16, byte),
        Expr::Destination(address) => {
            payload(batch, 0, PAYLOAD_NETWORK, 16, 4);
            cmp(batch, Cmp::Is, &address.octets());
        }
        Expr::Protocol(number) => {
            numbers(batch, "meta", &[(1, REG), (2, META_L4PROTO)]);
            cmp(batch, Cmp::Is, &[number]);
        }
        Expr::DestinationPort(port) => {
            payload(batch, 0, PAYLOAD_TRANSPORT, 2, 2);
            cmp(batch, Cmp::Is, &port.to_be_bytes());
        }
        Expr::Value(n, value) => expression(batch, "immediate", |b| {
            b.be32(1, REG + n);
            data(b, 2, &value);
        }),
        Expr::ToLocal => {
            numbers(batch, "fib", &[(1, REG), (2, FIB_RESULT_ADDRTYPE), (3, FIB_FLAG_DADDR)]);
            cmp(batch, Cmp::Is, &RTN_LOCAL.to_ne_bytes());
        }
        Expr::State(bits) => conntrack_bits(batch, CT_STATE, bits, Cmp::IsNot),
        Expr::Status(bits, set) => {
            conntrack_bits(batch, CT_STATUS, bits, if set { Cmp::IsNot } else { Cmp::Is })
        }
        Expr::LoadIn(n) => numbers(batch, "meta", &[(1, REG + n), (2, META_IIFNAME)]),
        Expr::LoadOut(n) => numbers(batch, "meta", &[(1, REG + n), (2, META_OIFNAME)]),
        Expr::LoadSource(PROTO_IPV6, n) => payload(batch, n, PAYLOAD_NETWORK, 8, 16),
        Expr::LoadSource(_, n) => payload(batch, n, PAYLOAD_NETWORK, 12, 4),
        Expr::LoadDestination(PROTO_IPV6, n) => payload(batch, n, PAYLOAD_NETWORK, 24, 16),
        Expr::LoadDestination(_, n) => payload(batch, n, PAYLOAD_NETWORK, 16, 4),
        Expr::SourceLinkLocal(how) => link_local(batch, 8, how),
        Expr::DestinationLinkLocal => link_local(batch, 24, Cmp::Is),
        Expr::DestinationNotLoopback6 => {
            payload(batch, 0, PAYLOAD_NETWORK, 24, 16);
            cmp(batch, Cmp::IsNot, &std::net::Ipv6Addr::LOCALHOST.octets());
        }
        Expr::LoadProtocol(n) => numbers(batch, "meta", &[(1, REG + n), (2, META_L4PROTO)]),
        Expr::LoadDestinationPort(n) => payload(batch, n, PAYLOAD_TRANSPORT, 2, 2),
        Expr::InSet(set, inside) => expression(batch, "lookup", |b| {
            b.text(1, set).be32(2, REG).be32(5, u32::from(!inside));
        }),
        Expr::Map(set) => expression(batch, "lookup", |b| {
            b.text(1, set).be32(2, REG).be32(3, REG);
        }),
        Expr::DnatToMapped(family) => {
            let port = REG + if family == PROTO_IPV6 { 4 } else { 1 };
            numbers(batch, "nat", &[(1, NAT_DNAT), (2, u32::from(family)), (3, REG), (5, port)]);
        }
        Expr::Masquerade => numbers(batch, "masq", &[]),
        Expr::Counter => numbers(batch, "counter", &[]),
        Expr::Accept => verdict(batch, NF_ACCEPT, None),
        Expr::Drop => verdict(batch, NF_DROP, None),
        Expr::Jump(chain) => verdict(batch, NFT_JUMP, Some(chain)),
    }
}

fn expression(batch: &mut Batch, name: &str, fill: impl FnOnce(&mut Batch)) {
    let element = batch.nest(NFTA_LIST_ELEM);
    batch.text(NFTA_EXPR_NAME, name);
    let data = batch.nest(NFTA_EXPR_DATA);
    fill(batch);
    batch.end(data);
    batch.end(element);
}

fn numbers(batch: &mut Batch, name: &str, values: &[(u16, u32)]) {
    expression(batch, name, |b| {
        for (attribute, value) in values {
            b.be32(*attribute, *value);
        }
    });
}

fn payload(batch: &mut Batch, n: u32, base: u32, offset: u32, length: u32) {
    numbers(batch, "payload", &[(1, REG + n), (2, base), (3, offset), (4, length)]);
}

fn cmp(batch: &mut Batch, how: Cmp, value: &[u8]) {
    let operator = if how == Cmp::Is { CMP_EQ } else { CMP_NEQ };
    expression(batch, "cmp", |b| {
        b.be32(1, REG).be32(2, operator);
        data(b, 3, value);
    });
}

fn interface(batch: &mut Batch, key: u32, how: Cmp, name: Name<'_>) {
    // iptables-nft reads interface matches from register 1 only.
    const REG_1: u32 = 1;
    numbers(batch, "meta", &[(1, REG_1), (2, key)]);
    let mut value = [0; 16];
    let length = match name {
        Name::Exact(name) => {
            let bytes = &name.as_bytes()[..name.len().min(15)];
            value[..bytes.len()].copy_from_slice(bytes);
            16
        }
        Name::Prefix(prefix) => {
            let bytes = &prefix.as_bytes()[..prefix.len().min(15)];
            value[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        }
    };
    let operator = if how == Cmp::Is { CMP_EQ } else { CMP_NEQ };
    expression(batch, "cmp", |b| {
        b.be32(1, REG_1).be32(2, operator);
        data(b, 3, &value[..length]);
    });
}

/// The networks we ask for end at a byte, so that one byte tells (nft shows `127.0.0.0/8`).
fn address_byte(batch: &mut Batch, offset: u32, byte: u8) {
    payload(batch, 0, PAYLOAD_NETWORK, offset, 1);
    cmp(batch, Cmp::Is, &[byte]);
}

/// fe80::/10, as nft writes a prefix: the address under its mask.
fn link_local(batch: &mut Batch, offset: u32, how: Cmp) {
    let (mut mask, mut value) = ([0; 16], [0; 16]);
    mask[..2].copy_from_slice(&[0xff, 0xc0]);
    value[..2].copy_from_slice(&[0xfe, 0x80]);
    payload(batch, 0, PAYLOAD_NETWORK, offset, 16);
    expression(batch, "bitwise", |b| {
        b.be32(1, REG).be32(2, REG).be32(3, 16);
        data(b, 4, &mask);
        data(b, 5, &[0; 16]);
    });
    cmp(batch, how, &value);
}

fn conntrack_bits(batch: &mut Batch, key: u32, bits: u32, against_zero: Cmp) {
    numbers(batch, "ct", &[(1, REG), (2, key)]);
    expression(batch, "bitwise", |b| {
        b.be32(1, REG).be32(2, REG).be32(3, 4);
        data(b, 4, &bits.to_ne_bytes());
        data(b, 5, &[0; 4]);
    });
    cmp(batch, against_zero, &[0; 4]);
}

fn verdict(batch: &mut Batch, code: i32, chain: Option<&str>) {
    expression(batch, "immediate", |b| {
        b.be32(1, 0);
        let value = b.nest(2);
        let verdict = b.nest(NFTA_DATA_VERDICT);
        b.be32(1, code.cast_unsigned());
        if let Some(chain) = chain {
            b.text(2, chain);
        }
        b.end(verdict);
        b.end(value);
    });
}

/// NFTA_DATA_VALUE inside `attribute`.
pub(crate) fn data(batch: &mut Batch, attribute: u16, value: &[u8]) {
    let nest = batch.nest(attribute);
    batch.attr(NFTA_DATA_VALUE, value);
    batch.end(nest);
}
