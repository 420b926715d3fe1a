//! The one static ruleset, `table inet tare`.
//!
//! ```text
//! set  nets       ipv4 ranges: containers' subnets
//! set  own        interface . ipv4 range: which bridge a subnet belongs to
//! set  closed     interface: bridges of internal networks
//! set  bridged    interface . interface: foreign bridges, twice each
//! map  ports      address . protocol . port → address . port   (published on one host address)
//! map  ports_any  protocol . port → address . port             (published on all of them)
//!
//! guard        prerouting −300   127.0.0.0/8 from or to anywhere but lo: drop
//! prerouting   prerouting −100   to a local address: publish      (from others and from containers)
//! output       output     −100   to a local address: publish      (from the host, 127.0.0.1 too)
//! publish                        dnat by `ports`, then by `ports_any`
//! forward      forward       0   known connections and `bridged` pass; `closed` bridges keep to their own
//!                                subnet; to `nets`: containers; from
//!                                tare*: outward; everything else: foreign
//! containers                     dnat'ed or from the own bridge: accept; else drop
//! outward                        new, not dnat'ed, to dockerd's bridge: drop; else accept
//! foreign                        empty; when Tare switched ip_forward on: drop but for other engines
//! postrouting  postrouting 100   masquerade: 127/8 into a bridge; containers leaving their bridge;
//!                                containers that reach a sibling by a published port
//! ```
//!
//! Invariants: `guard` is in place before route_localnet is switched on, because it is in the same
//! transaction as everything else; chains and rules never change between two versions of Tare, only
//! elements do. No name is a word of nft's language, so that its output is its input. `ct status dnat` is true for whoever redirected; nobody but an administrator can.

use super::expr::{CT_DNAT, CT_KNOWN, Cmp, Expr, Name, PROTO_IPV4};
use super::{
    DELRULE, DELTABLE, Hook, NEWSET, NEWTABLE, NFPROTO_INET, NFTA_LIST_ELEM, NFTA_RULE_CHAIN,
    NFTA_RULE_TABLE, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, NftSocket, Transaction, elements, read,
};
use crate::wire::NLM_F_CREATE;
use crate::{Error, Result};
use sys::trace;

pub(crate) const TABLE: &str = "tare";
pub(crate) const NETS: &str = "nets";
pub(crate) const OWN: &str = "own";
pub(crate) const CLOSED: &str = "closed";
pub(crate) const BRIDGED: &str = "bridged";
pub(crate) const PORTS: &str = "ports";
pub(crate) const PORTS_ANY: &str = "ports_any";
const FOREIGN: &str = "foreign";

/// Raised with every change of chains, rules or set types; a table of another version is replaced
/// in one transaction that carries its elements over.
const VERSION: u32 = 2;
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
    let guarded = has_foreign_drop(socket)?;
    let mut transaction = Transaction::new();
    delete_table(&mut transaction);
    write(&mut transaction);
    if guarded {
        write_foreign_drop(&mut transaction);
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

/// Drops what is forwarded between interfaces of which none is ours: before ip_forward is switched on.
pub(crate) fn drop_foreign(socket: &NftSocket) -> Result<()> {
    let mut step = trace::step("nft ruleset", "nf_tables commit");
    step.note(format_args!("foreign forwarding: drop"));
    let mut transaction = Transaction::new();
    let batch = transaction.message(DELRULE, 0, NFPROTO_INET, "NFT_MSG_DELRULE", FOREIGN);
    batch.text(NFTA_RULE_TABLE, TABLE).text(NFTA_RULE_CHAIN, FOREIGN);
    write_foreign_drop(&mut transaction);
    step.check(transaction.commit(socket))
}

/// Whether ip_forward was switched on by us.
pub(crate) fn has_foreign_drop(socket: &NftSocket) -> Result<bool> {
    // One use is the jump from `forward`.
    Ok(read::chain_use(socket, NFPROTO_INET, TABLE, FOREIGN)? > 1)
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
    t.chain(TABLE, "forward", hook("filter", HOOK_FORWARD, 0));
    t.chain(TABLE, "containers", None);
    t.chain(TABLE, "outward", None);
    t.chain(TABLE, FOREIGN, None);
    t.chain(TABLE, "postrouting", hook("nat", HOOK_POSTROUTING, 100));
    write_redirection(t);
    write_forwarding(t);
    write_masquerading(t);
}

fn write_redirection(t: &mut Transaction) {
    let not_loopback = Expr::In(Cmp::IsNot, LOOPBACK);
    let v4 = Expr::Family(PROTO_IPV4);
    t.rule(TABLE, "guard", &[v4, not_loopback, Expr::DestinationByte(LOOPBACK_NET), Expr::Drop]);
    t.rule(TABLE, "guard", &[v4, not_loopback, Expr::SourceByte(LOOPBACK_NET), Expr::Drop]);
    for chain in ["prerouting", "output"] {
        t.rule(TABLE, chain, &[v4, Expr::ToLocal, Expr::Jump("publish")]);
    }
    let (address, protocol, port) =
        (Expr::LoadDestination(0), Expr::LoadProtocol(1), Expr::LoadDestinationPort(2));
    t.rule(TABLE, "publish", &[v4, address, protocol, port, Expr::Map(PORTS), Expr::DnatToMapped]);
    let (protocol, port) = (Expr::LoadProtocol(0), Expr::LoadDestinationPort(1));
    t.rule(TABLE, "publish", &[v4, protocol, port, Expr::Map(PORTS_ANY), Expr::DnatToMapped]);
}

fn write_forwarding(t: &mut Transaction) {
    let v4 = Expr::Family(PROTO_IPV4);
    let to_nets = [v4, Expr::LoadDestination(0), Expr::InSet(NETS, true), Expr::Jump("containers")];
    t.rule(TABLE, "forward", &[Expr::State(CT_KNOWN), Expr::Accept]);
    // Frames that br_netfilter shows us are not forwarded, they stay on their bridge.
    t.rule(TABLE, "forward", &[Expr::LoadIn(0), Expr::LoadOut(4), Expr::InSet(BRIDGED, true), Expr::Accept]);
    let out_of_closed =
        [v4, Expr::LoadIn(0), Expr::InSet(CLOSED, true), Expr::LoadIn(0), Expr::LoadDestination(4)];
    let into_closed =
        [v4, Expr::LoadOut(0), Expr::InSet(CLOSED, true), Expr::LoadOut(0), Expr::LoadSource(4)];
    for first in [out_of_closed, into_closed] {
        t.rule(TABLE, "forward", &[&first[..], &[Expr::InSet(OWN, false), Expr::Drop]].concat());
    }
    t.rule(TABLE, "forward", &to_nets);
    t.rule(TABLE, "forward", &[Expr::In(Cmp::Is, BRIDGES), Expr::Jump("outward")]);
    t.rule(TABLE, "forward", &[Expr::Jump(FOREIGN)]);
    let from_own = [v4, Expr::LoadIn(0), Expr::LoadDestination(4), Expr::InSet(OWN, true), Expr::Accept];
    t.rule(TABLE, "containers", &[Expr::Status(CT_DNAT, true), Expr::Accept]);
    t.rule(TABLE, "containers", &from_own);
    t.rule(TABLE, "containers", &[Expr::Drop]);
    t.rule(TABLE, "outward", &[Expr::Out(Cmp::Is, ISOLATED), Expr::Status(CT_DNAT, false), Expr::Drop]);
    t.rule(TABLE, "outward", &[Expr::Accept]);
}

fn write_foreign_drop(t: &mut Transaction) {
    let v4 = Expr::Family(PROTO_IPV4);
    for engine in ENGINES {
        t.rule(TABLE, FOREIGN, &[Expr::In(Cmp::Is, Name::Prefix(engine)), Expr::Accept]);
        t.rule(TABLE, FOREIGN, &[Expr::Out(Cmp::Is, Name::Prefix(engine)), Expr::Accept]);
    }
    t.rule(TABLE, FOREIGN, &[v4, Expr::Drop]);
}

fn write_masquerading(t: &mut Transaction) {
    let v4 = Expr::Family(PROTO_IPV4);
    let from_nets = [v4, Expr::LoadSource(0), Expr::InSet(NETS, true)];
    let not_loopback = Expr::Out(Cmp::IsNot, LOOPBACK);
    let key = [Expr::LoadOut(0), Expr::LoadSource(4)];
    let into_bridge = Expr::Out(Cmp::Is, BRIDGES);
    t.rule(TABLE, "postrouting", &[v4, into_bridge, Expr::SourceByte(LOOPBACK_NET), Expr::Masquerade]);
    let [a, b, c] = from_nets;
    let [k1, k2] = key;
    t.rule(TABLE, "postrouting", &[a, b, c, not_loopback, k1, k2, Expr::InSet(OWN, false), Expr::Masquerade]);
    t.rule(
        TABLE,
        "postrouting",
        &[a, b, c, Expr::Status(CT_DNAT, true), k1, k2, Expr::InSet(OWN, true), Expr::Masquerade],
    );
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

pub(crate) const SETS: [Shape; 6] = [
    Shape { name: NETS, key: &[IPV4], value: &[], interval: true },
    Shape { name: OWN, key: &[IFNAME, IPV4], value: &[], interval: true },
    Shape { name: CLOSED, key: &[IFNAME], value: &[], interval: false },
    Shape { name: BRIDGED, key: &[IFNAME, IFNAME], value: &[], interval: false },
    Shape { name: PORTS, key: &[IPV4, PROTOCOL, SERVICE], value: &[IPV4, SERVICE], interval: false },
    Shape { name: PORTS_ANY, key: &[PROTOCOL, SERVICE], value: &[IPV4, SERVICE], interval: false },
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
