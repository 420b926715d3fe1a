//! The one static ruleset, `table inet tare`.
//!
//! ```text
//! set  nets       address ranges: containers' subnets
//! set  own        interface . address range: which bridge a subnet belongs to
//! set  closed     interface: bridges of internal networks
//! set  apart      interface . interface: bridges, twice each, whose containers do not reach each other
//! set  bridged    interface . interface: foreign bridges and those of internal networks, twice each
//! map  ports      address . protocol . port → address . port   (published on one host address)
//! map  ports_any  protocol . port → address . port             (published on all of them)
//! set  spliced    ipv6 address . protocol . port, and spliced_any protocol . port: what shims listen on
//!                 (`nets6`, `own6`, `ports6`, `ports6_any` are those of IPv6)
//!
//! guard        prerouting −300   127.0.0.0/8 from or to anywhere but lo: drop
//! prerouting   prerouting −100   to a local address: publish      (from others and from containers)
//! output       output     −100   to a local address: publish      (from the host, 127.0.0.1 too)
//! publish                        dnat by `ports`, then by `ports_any`; of IPv6 not ::1 nor what is link-local,
//!                                which the shim splices
//! input        input         0   from `closed` bridges: to the host's address on that bridge only, and not to
//!                                what is `spliced`
//! forward      forward       0   known connections pass; `apart`: only what is dnat'ed; `bridged` pass;
//!                                `closed` bridges keep to their own subnet; to `nets`: containers; from
//!                                tare*: outward; everything else: foreign, or foreign6
//! containers                     dnat'ed or from the own bridge: accept; else drop
//! outward                        new, not dnat'ed, to dockerd's bridge: drop; else accept
//! foreign(6)                     empty; when Tare switched forwarding on: drop but for other engines
//! postrouting  postrouting 100   masquerade: 127/8 into a bridge; containers leaving their bridge;
//!                                containers that reach a sibling by a published port
//! ```
//!
//! Invariants: `guard` is in place before route_localnet is switched on, because it is in the same
//! transaction as everything else; chains and rules never change between two versions of Tare, only
//! elements do. No name is a word of nft's language, so that its output is its input. `ct status dnat` is true for whoever redirected; nobody but an administrator can.

use super::expr::{CT_DNAT, CT_KNOWN, Cmp, Expr, Name, PROTO_ICMPV6, PROTO_IPV4, PROTO_IPV6};
use super::{
    DELRULE, DELTABLE, Hook, NEWSET, NEWTABLE, NFPROTO_INET, NFTA_LIST_ELEM, NFTA_RULE_CHAIN,
    NFTA_RULE_TABLE, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, NftSocket, Transaction, elements, read,
};
use crate::wire::NLM_F_CREATE;
use crate::{Error, Result};
use sys::trace;

pub(crate) const TABLE: &str = "tare";
pub(crate) const CLOSED: &str = "closed";
pub(crate) const APART: &str = "apart";
pub(crate) const BRIDGED: &str = "bridged";
pub(crate) const SPLICED: &str = "spliced";
pub(crate) const SPLICED_ANY: &str = "spliced_any";

/// What is there once for each family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    family: u8,
    pub(crate) nets: &'static str,
    pub(crate) own: &'static str,
    pub(crate) ports: &'static str,
    pub(crate) ports_any: &'static str,
    foreign: &'static str,
    /// How many registers an address takes.
    registers: u32,
}

pub(crate) const V4: Words = Words {
    family: PROTO_IPV4,
    nets: "nets",
    own: "own",
    ports: "ports",
    ports_any: "ports_any",
    foreign: "foreign",
    registers: 1,
};
pub(crate) const V6: Words = Words {
    family: PROTO_IPV6,
    nets: "nets6",
    own: "own6",
    ports: "ports6",
    ports_any: "ports6_any",
    foreign: "foreign6",
    registers: 4,
};

/// Raised with every change of chains, rules or set types; a table of another version is replaced
/// in one transaction that carries its elements over.
const VERSION: u32 = 3;
/// What the table's comment begins with, so that a table of that name that is not ours is told apart.
const COMMENT: &str = "Tare ruleset ";

/// Bridges of engines that bring their own firewall and need ip_forward, whoever switched it on.
pub(crate) const ENGINES: [&str; 8] =
    ["docker", "br-", "podman", "cni", "virbr", "lxcbr", "lxdbr", "incusbr"];
/// We ask dockerd's firewall to let our containers' packets pass; what it would have dropped of them
/// is dropped here. (It shields its other bridges, whose names are not told from a `br-lan`, before.)
const ISOLATED: Name<'static> = Name::Exact("docker0");

const BRIDGES: Name<'static> = Name::Prefix("tare");
const LOOPBACK: Name<'static> = Name::Exact("lo");
const LOOPBACK_NET: u8 = 127;

const HOOK_PREROUTING: u32 = 0;
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_OUTPUT: u32 = 3;
const HOOK_POSTROUTING: u32 = 4;

/// What [`ensure`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Present,
    Fresh,
    Replaced,
}

/// Installs the ruleset unless this version of it is there.
pub(crate) fn ensure(socket: &NftSocket) -> Result<Found> {
    let mut step = trace::step("nft ruleset", "NFT_MSG_GETTABLE");
    let found = step.check(version(socket))?;
    let Some(found) = found else {
        step.note(format_args!("absent"));
        drop(step);
        let mut step = trace::step("nft ruleset", "nf_tables commit");
        step.note(format_args!("table inet {TABLE}, version {VERSION}"));
        let mut transaction = Transaction::new();
        write(&mut transaction);
        step.check(transaction.commit(socket))?;
        return Ok(Found::Fresh);
    };
    if found == VERSION {
        step.note(format_args!("version {found}"));
        return Ok(Found::Present);
    }
    drop(step);
    let mut step = trace::step("nft ruleset", "nf_tables commit");
    step.note(format_args!("version {found} → {VERSION}"));
    let kept = elements::dump_all(socket)?;
    let guarded = [V4, V6].map(|words| has_foreign_drop(socket, words));
    let mut transaction = Transaction::new();
    delete_table(&mut transaction);
    write(&mut transaction);
    for (words, guarded) in [V4, V6].into_iter().zip(guarded) {
        if guarded? {
            write_foreign_drop(&mut transaction, words);
        }
    }
    for (set, list) in kept {
        elements::add(&mut transaction, set, &list);
    }
    step.check(transaction.commit(socket))?;
    Ok(Found::Replaced)
}

/// The version of the ruleset that is installed.
pub(crate) fn version(socket: &NftSocket) -> Result<Option<u32>> {
    let Some(userdata) = read::table_userdata(socket, NFPROTO_INET, TABLE)? else { return Ok(None) };
    let comment = read::comment(&userdata).unwrap_or_default();
    let number = comment.strip_prefix(COMMENT).and_then(|n| n.parse().ok());
    number.map(Some).ok_or_else(|| Error::ForeignTable(format!("its comment is {comment:?}")))
}

/// Drops what is forwarded between interfaces of which none is ours: before forwarding is switched on.
pub(crate) fn drop_foreign(socket: &NftSocket, words: Words) -> Result<()> {
    let mut step = trace::step("nft ruleset", "nf_tables commit");
    step.note(format_args!("{} forwarding: drop", words.foreign));
    let mut transaction = Transaction::new();
    let batch = transaction.message(DELRULE, 0, NFPROTO_INET, "NFT_MSG_DELRULE", words.foreign);
    batch.text(NFTA_RULE_TABLE, TABLE).text(NFTA_RULE_CHAIN, words.foreign);
    write_foreign_drop(&mut transaction, words);
    step.check(transaction.commit(socket))
}

/// Whether forwarding was switched on by us.
pub(crate) fn has_foreign_drop(socket: &NftSocket, words: Words) -> Result<bool> {
    match read::chain_use(socket, NFPROTO_INET, TABLE, words.foreign) {
        // One use is the jump from `forward`.
        Ok(count) => Ok(count > 1),
        // Another version knows one family.
        Err(e) if e.errno() == rustix::io::Errno::NOENT.raw_os_error() => Ok(false),
        Err(e) => Err(e),
    }
}

/// Removes everything.
pub(crate) fn remove(socket: &NftSocket) -> Result<bool> {
    if version(socket)?.is_none() {
        return Ok(false);
    }
    let mut transaction = Transaction::new();
    delete_table(&mut transaction);
    transaction.commit(socket)?;
    Ok(true)
}

fn delete_table(t: &mut Transaction) {
    t.message(DELTABLE, 0, NFPROTO_INET, "NFT_MSG_DELTABLE", TABLE).text(NFTA_TABLE_NAME, TABLE);
}

fn write(t: &mut Transaction) {
    let comment = read::comment_userdata(&format!("{COMMENT}{VERSION}"));
    let batch = t.message(NEWTABLE, NLM_F_CREATE, NFPROTO_INET, "NFT_MSG_NEWTABLE", TABLE);
    batch.text(NFTA_TABLE_NAME, TABLE).attr(NFTA_TABLE_USERDATA, &comment);
    for (id, set) in (1..).zip(SETS) {
        write_set(t, set, id);
    }
    let hook = |kind, number, priority| Some(Hook { kind, number, priority });
    t.chain(TABLE, "guard", hook("filter", HOOK_PREROUTING, -300));
    t.chain(TABLE, "prerouting", hook("nat", HOOK_PREROUTING, -100));
    t.chain(TABLE, "output", hook("nat", HOOK_OUTPUT, -100));
    t.chain(TABLE, "publish", None);
    t.chain(TABLE, "input", hook("filter", HOOK_INPUT, 0));
    t.chain(TABLE, "forward", hook("filter", HOOK_FORWARD, 0));
    t.chain(TABLE, "containers", None);
    t.chain(TABLE, "outward", None);
    t.chain(TABLE, V4.foreign, None);
    t.chain(TABLE, V6.foreign, None);
    t.chain(TABLE, "postrouting", hook("nat", HOOK_POSTROUTING, 100));
    let not_loopback = Expr::In(Cmp::IsNot, LOOPBACK);
    let v4 = Expr::Family(PROTO_IPV4);
    t.rule(TABLE, "guard", &[v4, not_loopback, Expr::DestinationByte(LOOPBACK_NET), Expr::Drop]);
    t.rule(TABLE, "guard", &[v4, not_loopback, Expr::SourceByte(LOOPBACK_NET), Expr::Drop]);
    write_redirection(t);
    write_input(t);
    write_forwarding(t);
    write_masquerading(t);
}

fn write_redirection(t: &mut Transaction) {
    for chain in ["prerouting", "output"] {
        t.rule(TABLE, chain, &[Expr::Family(PROTO_IPV4), Expr::ToLocal, Expr::Jump("publish")]);
        let global = [Expr::DestinationNotLoopback6, Expr::SourceLinkLocal(Cmp::IsNot), Expr::ToLocal];
        t.rule(TABLE, chain, &[&[Expr::Family(PROTO_IPV6)], &global[..], &[Expr::Jump("publish")]].concat());
    }
    for words in [V4, V6] {
        let (family, dnat) = (Expr::Family(words.family), Expr::DnatToMapped(words.family));
        let (address, n) = (Expr::LoadDestination(words.family, 0), words.registers);
        let (protocol, port) = (Expr::LoadProtocol(n), Expr::LoadDestinationPort(n + 1));
        t.rule(TABLE, "publish", &[family, address, protocol, port, Expr::Map(words.ports), dnat]);
        let (protocol, port) = (Expr::LoadProtocol(0), Expr::LoadDestinationPort(1));
        t.rule(TABLE, "publish", &[family, protocol, port, Expr::Map(words.ports_any), dnat]);
    }
}

/// Of the host an internal network sees the bridge's own address; what a shim listens on would be a way out.
fn write_input(t: &mut Transaction) {
    t.rule(TABLE, "input", &[Expr::In(Cmp::IsNot, BRIDGES), Expr::Accept]);
    t.rule(TABLE, "input", &[Expr::LoadIn(0), Expr::InSet(CLOSED, false), Expr::Accept]);
    t.rule(TABLE, "input", &[Expr::State(CT_KNOWN), Expr::Accept]);
    let v6 = Expr::Family(PROTO_IPV6);
    // Neighbours are looked for by link-local addresses (RFC 4861).
    let neighbours = [v6, Expr::DestinationLinkLocal, Expr::Protocol(PROTO_ICMPV6), Expr::Accept];
    t.rule(TABLE, "input", &neighbours);
    for words in [V4, V6] {
        let key = [Expr::LoadIn(0), Expr::LoadDestination(words.family, 4), Expr::InSet(words.own, false)];
        let local = [Expr::Family(words.family), Expr::ToLocal];
        t.rule(TABLE, "input", &[&local[..], &key, &[Expr::Drop]].concat());
    }
    let (address, n) = (Expr::LoadDestination(PROTO_IPV6, 0), V6.registers);
    let (protocol, port) = (Expr::LoadProtocol(n), Expr::LoadDestinationPort(n + 1));
    t.rule(TABLE, "input", &[v6, address, protocol, port, Expr::InSet(SPLICED, true), Expr::Drop]);
    let (protocol, port) = (Expr::LoadProtocol(0), Expr::LoadDestinationPort(1));
    t.rule(TABLE, "input", &[v6, protocol, port, Expr::InSet(SPLICED_ANY, true), Expr::Drop]);
}

fn write_forwarding(t: &mut Transaction) {
    t.rule(TABLE, "forward", &[Expr::State(CT_KNOWN), Expr::Accept]);
    let [a, b] = [Expr::LoadIn(0), Expr::LoadOut(4)];
    // What is bridged between them the ports' isolation stops, what they send to the gateway this.
    t.rule(TABLE, "forward", &[a, b, Expr::InSet(APART, true), Expr::Status(CT_DNAT, false), Expr::Drop]);
    // Frames that br_netfilter shows us are not forwarded, they stay on their bridge.
    t.rule(TABLE, "forward", &[a, b, Expr::InSet(BRIDGED, true), Expr::Accept]);
    for words in [V4, V6] {
        let family = Expr::Family(words.family);
        let out_of_closed = [Expr::LoadIn(0), Expr::InSet(CLOSED, true), Expr::LoadIn(0)];
        let into_closed = [Expr::LoadOut(0), Expr::InSet(CLOSED, true), Expr::LoadOut(0)];
        let (to, from) = (Expr::LoadDestination(words.family, 4), Expr::LoadSource(words.family, 4));
        for (first, address) in [(out_of_closed, to), (into_closed, from)] {
            let end = [address, Expr::InSet(words.own, false), Expr::Drop];
            t.rule(TABLE, "forward", &[&[family], &first[..], &end].concat());
        }
    }
    for words in [V4, V6] {
        let (family, to) = (Expr::Family(words.family), Expr::LoadDestination(words.family, 0));
        t.rule(TABLE, "forward", &[family, to, Expr::InSet(words.nets, true), Expr::Jump("containers")]);
    }
    t.rule(TABLE, "forward", &[Expr::In(Cmp::Is, BRIDGES), Expr::Jump("outward")]);
    t.rule(TABLE, "forward", &[Expr::Family(PROTO_IPV4), Expr::Jump(V4.foreign)]);
    t.rule(TABLE, "forward", &[Expr::Family(PROTO_IPV6), Expr::Jump(V6.foreign)]);
    t.rule(TABLE, "containers", &[Expr::Status(CT_DNAT, true), Expr::Accept]);
    for words in [V4, V6] {
        let (family, to) = (Expr::Family(words.family), Expr::LoadDestination(words.family, 4));
        let from_own = [family, Expr::LoadIn(0), to, Expr::InSet(words.own, true), Expr::Accept];
        t.rule(TABLE, "containers", &from_own);
    }
    t.rule(TABLE, "containers", &[Expr::Drop]);
    t.rule(TABLE, "outward", &[Expr::Out(Cmp::Is, ISOLATED), Expr::Status(CT_DNAT, false), Expr::Drop]);
    t.rule(TABLE, "outward", &[Expr::Accept]);
}

fn write_foreign_drop(t: &mut Transaction, words: Words) {
    for engine in ENGINES {
        t.rule(TABLE, words.foreign, &[Expr::In(Cmp::Is, Name::Prefix(engine)), Expr::Accept]);
        t.rule(TABLE, words.foreign, &[Expr::Out(Cmp::Is, Name::Prefix(engine)), Expr::Accept]);
    }
    t.rule(TABLE, words.foreign, &[Expr::Family(words.family), Expr::Drop]);
}

fn write_masquerading(t: &mut Transaction) {
    let not_loopback = Expr::Out(Cmp::IsNot, LOOPBACK);
    let into_bridge = Expr::Out(Cmp::Is, BRIDGES);
    let v4 = Expr::Family(PROTO_IPV4);
    t.rule(TABLE, "postrouting", &[v4, into_bridge, Expr::SourceByte(LOOPBACK_NET), Expr::Masquerade]);
    for words in [V4, V6] {
        let from_nets =
            [Expr::Family(words.family), Expr::LoadSource(words.family, 0), Expr::InSet(words.nets, true)];
        let own = |is| [Expr::LoadOut(0), Expr::LoadSource(words.family, 4), Expr::InSet(words.own, is)];
        let dnat = Expr::Status(CT_DNAT, true);
        for (what, is) in [(not_loopback, false), (dnat, true)] {
            let rule = [&from_nets[..], &[what], &own(is), &[Expr::Masquerade]].concat();
            t.rule(TABLE, "postrouting", &rule);
        }
    }
}

/// A set or map and the shape of its elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// (nft's number of the type, its length padded to four bytes); several form a concatenation.
    pub(crate) key: &'static [(u32, u32)],
    pub(crate) value: &'static [(u32, u32)],
    pub(crate) interval: bool,
}

/// nft's own numbers of types: the kernel only stores them, `nft list` reads them.
const IPV4: (u32, u32) = (7, 4);
const PROTOCOL: (u32, u32) = (12, 4);
const SERVICE: (u32, u32) = (13, 4);
const IFNAME: (u32, u32) = (41, 16);

const IPV6: (u32, u32) = (8, 16);

pub(crate) const SETS: [Shape; 13] = [
    Shape { name: V4.nets, key: &[IPV4], value: &[], interval: true },
    Shape { name: V6.nets, key: &[IPV6], value: &[], interval: true },
    Shape { name: V4.own, key: &[IFNAME, IPV4], value: &[], interval: true },
    Shape { name: V6.own, key: &[IFNAME, IPV6], value: &[], interval: true },
    Shape { name: CLOSED, key: &[IFNAME], value: &[], interval: false },
    Shape { name: APART, key: &[IFNAME, IFNAME], value: &[], interval: false },
    Shape { name: BRIDGED, key: &[IFNAME, IFNAME], value: &[], interval: false },
    Shape { name: V4.ports, key: &[IPV4, PROTOCOL, SERVICE], value: &[IPV4, SERVICE], interval: false },
    Shape { name: V6.ports, key: &[IPV6, PROTOCOL, SERVICE], value: &[IPV6, SERVICE], interval: false },
    Shape { name: V4.ports_any, key: &[PROTOCOL, SERVICE], value: &[IPV4, SERVICE], interval: false },
    Shape { name: V6.ports_any, key: &[PROTOCOL, SERVICE], value: &[IPV6, SERVICE], interval: false },
    Shape { name: SPLICED, key: &[IPV6, PROTOCOL, SERVICE], value: &[], interval: false },
    Shape { name: SPLICED_ANY, key: &[PROTOCOL, SERVICE], value: &[], interval: false },
];

fn write_set(t: &mut Transaction, set: Shape, id: u32) {
    const NFT_SET_INTERVAL: u32 = 4;
    const NFT_SET_MAP: u32 = 8;
    const NFT_SET_CONCAT: u32 = 0x80;
    let ranges_of_several = set.interval && set.key.len() > 1;
    let mut flags = 0;
    for (on, flag) in [
        (set.interval, NFT_SET_INTERVAL),
        (!set.value.is_empty(), NFT_SET_MAP),
        (ranges_of_several, NFT_SET_CONCAT),
    ] {
        flags |= if on { flag } else { 0 };
    }
    let (key_type, key_length) = concatenated(set.key);
    let batch = t.message(NEWSET, NLM_F_CREATE, NFPROTO_INET, "NFT_MSG_NEWSET", set.name);
    batch.text(1, TABLE).text(2, set.name).be32(3, flags).be32(4, key_type).be32(5, key_length).be32(10, id);
    if !set.value.is_empty() {
        let (value_type, value_length) = concatenated(set.value);
        batch.be32(6, value_type).be32(7, value_length);
    }
    if ranges_of_several {
        // NFTA_SET_DESC { NFTA_SET_DESC_CONCAT { element { NFTA_SET_FIELD_LEN } … } }
        let description = batch.nest(9);
        let fields = batch.nest(2);
        for (_, length) in set.key {
            let field = batch.nest(NFTA_LIST_ELEM);
            batch.be32(1, *length);
            batch.end(field);
        }
        batch.end(fields);
        batch.end(description);
    }
}

/// Six bits per type, the first in the highest; lengths add up.
fn concatenated(types: &[(u32, u32)]) -> (u32, u32) {
    types.iter().fold((0, 0), |(number, length), (n, l)| (number << 6 | n, length + l))
}
