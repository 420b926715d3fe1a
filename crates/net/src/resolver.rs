//! The place of a resolver in a container's network namespace: 127.0.0.11, port 53, UDP and TCP.
//!
//! The sockets have ports of the kernel's choice and a table of ours in the namespace redirects to them, so that
//! port 53 stays the container's on every address. Answers find their way back by connection tracking.
//!
//! Invariants: the table is written once with its sockets' ports, and replaced whole when that is done again; it
//! goes with the namespace.
//!
//! It does not know who answers.

use crate::nft::expr::{Expr, PROTO_IPV4};
use crate::nft::{DELTABLE, Hook, NEWTABLE, NFPROTO_INET, NFTA_TABLE_NAME, NftSocket, Transaction};
use crate::wire::NLM_F_CREATE;
use crate::{Error, Protocol, Result, netns};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use sys::trace;

/// Where the container asks.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;
/// Not the host's table's name: who lists both shall not take one for the other.
const TABLE: &str = "tare_dns";
const CHAIN: &str = "ask";
const HOOK_OUTPUT: u32 = 3;
/// NF_IP_PRI_NAT_DST.
const PRIORITY: i32 = -100;

/// The sockets of a resolver. Queries that come before anybody reads them wait in the kernel.
#[derive(Debug)]
pub struct Listening {
    /// Bound.
    pub udp: OwnedFd,
    /// Bound and listening.
    pub tcp: OwnedFd,
}

/// Makes the sockets in the namespace and redirects to them what is sent to [`ADDRESS`].
pub fn listen(netns: BorrowedFd<'_>) -> Result<Listening> {
    let mut step = trace::step("resolver", "nf_tables commit");
    step.note(format_args!("{ADDRESS}:{PORT}"));
    step.check(netns::within(netns, begin)?)
}

/// In the namespace.
fn begin() -> Result<Listening> {
    let failed = |e| Error::kernel(format!("bind of a resolver's socket to {ADDRESS}"), e);
    let udp = UdpSocket::bind((ADDRESS, 0)).map_err(failed)?;
    let tcp = TcpListener::bind((ADDRESS, 0)).map_err(failed)?;
    let udp_port = udp.local_addr().map_err(failed)?.port();
    let tcp_port = tcp.local_addr().map_err(failed)?.port();
    let mut transaction = Transaction::new();
    // Deleting a table that is not there fails: it is made first.
    new_table(&mut transaction);
    let batch = transaction.message(DELTABLE, 0, NFPROTO_INET, "NFT_MSG_DELTABLE", TABLE);
    batch.text(NFTA_TABLE_NAME, TABLE);
    new_table(&mut transaction);
    let hook = Hook { kind: "nat", number: HOOK_OUTPUT, priority: PRIORITY };
    transaction.chain(TABLE, CHAIN, Some(hook));
    for (protocol, port) in [(Protocol::Udp, udp_port), (Protocol::Tcp, tcp_port)] {
        let [high, low] = port.to_be_bytes();
        let words = [
            Expr::Family(PROTO_IPV4),
            Expr::Destination(ADDRESS),
            Expr::Protocol(protocol.number()),
            Expr::DestinationPort(PORT),
            Expr::Value(0, ADDRESS.octets()),
            Expr::Value(1, [high, low, 0, 0]),
            Expr::DnatToMapped(PROTO_IPV4),
        ];
        transaction.rule(TABLE, CHAIN, &words);
    }
    transaction.commit(&NftSocket::open()?)?;
    Ok(Listening { udp: udp.into(), tcp: tcp.into() })
}

fn new_table(transaction: &mut Transaction) {
    let batch = transaction.message(NEWTABLE, NLM_F_CREATE, NFPROTO_INET, "NFT_MSG_NEWTABLE", TABLE);
    batch.text(NFTA_TABLE_NAME, TABLE);
}
