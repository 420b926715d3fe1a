//! nf_tables (linux/netfilter/nf_tables.h) in batches of our own: everything or nothing.
//!
//! [`ruleset`] is the one static ruleset, [`elements`] the per-container state in its maps and sets,
//! [`expr`] the words of rules, [`read`] what others have in theirs. A batch is committed by the
//! kernel as one transaction; what is in it twice or exists already is no error.

pub(crate) mod elements;
pub(crate) mod expr;
pub(crate) mod read;
pub(crate) mod ruleset;

use crate::Result;
use crate::wire::{Batch, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};
use expr::Expr;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use sys::netlink::{Protocol, Socket};

pub(crate) const NFPROTO_INET: u8 = 1;
pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

// enum nf_tables_msg_types
pub(crate) const NEWTABLE: u16 = 0;
pub(crate) const GETTABLE: u16 = 1;
pub(crate) const DELTABLE: u16 = 2;
pub(crate) const NEWCHAIN: u16 = 3;
pub(crate) const GETCHAIN: u16 = 4;
pub(crate) const DELCHAIN: u16 = 5;
pub(crate) const NEWRULE: u16 = 6;
pub(crate) const GETRULE: u16 = 7;
pub(crate) const DELRULE: u16 = 8;
pub(crate) const NEWSET: u16 = 9;
pub(crate) const DELSET: u16 = 11;
pub(crate) const NEWSETELEM: u16 = 12;
pub(crate) const GETSETELEM: u16 = 13;
pub(crate) const DELSETELEM: u16 = 14;

pub(crate) const NFTA_LIST_ELEM: u16 = 1;
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
pub(crate) const NFTA_DATA_VERDICT: u16 = 2;
pub(crate) const NFTA_TABLE_NAME: u16 = 1;
pub(crate) const NFTA_TABLE_USERDATA: u16 = 6;
pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
pub(crate) const NFTA_CHAIN_POLICY: u16 = 5;
pub(crate) const NFTA_CHAIN_TYPE: u16 = 7;
pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(crate) const NFTA_HOOK_PRIORITY: u16 = 2;
pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_HANDLE: u16 = 3;
pub(crate) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(crate) const NFTA_RULE_USERDATA: u16 = 7;

/// The type of an nf_tables message.
pub(crate) const fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

/// struct nfgenmsg.
pub(crate) const fn header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

/// A NETLINK_NETFILTER socket.
#[derive(Debug)]
pub(crate) struct NftSocket(Mutex<Socket>);

impl NftSocket {
    pub(crate) fn open() -> Result<Self> {
        Ok(Self(Mutex::new(Socket::open(Protocol::Netfilter)?)))
    }

    pub(crate) fn socket(&self) -> MutexGuard<'_, Socket> {
        // A panic in between leaves no half-sent message: send(2) takes a batch whole or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    batch: Batch,
    empty: bool,
}

impl Transaction {
    pub(crate) fn new() -> Self {
        let mut batch = Batch::new();
        batch.message(NFNL_MSG_BATCH_BEGIN, 0, &batch_header(), "nf_tables commit", "");
        Self { batch, empty: true }
    }

    /// Begins a message of the transaction; its attributes go to what is returned.
    pub(crate) fn message(
        &mut self,
        message: u16,
        flags: u16,
        family: u8,
        request: &'static str,
        object: impl fmt::Display,
    ) -> &mut Batch {
        self.empty = false;
        self.batch.message(kind(message), flags, &header(family), request, object)
    }

    /// A base chain, or with no hook a chain that others jump to.
    pub(crate) fn chain(&mut self, table: &str, name: &str, hook: Option<Hook>) {
        let batch = self.message(NEWCHAIN, NLM_F_CREATE, NFPROTO_INET, "NFT_MSG_NEWCHAIN", name);
        batch.text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, name);
        if let Some(hook) = hook {
            let nest = batch.nest(NFTA_CHAIN_HOOK);
            batch
                .be32(NFTA_HOOK_HOOKNUM, hook.number)
                .be32(NFTA_HOOK_PRIORITY, hook.priority.cast_unsigned());
            batch.end(nest);
            batch.text(NFTA_CHAIN_TYPE, hook.kind);
        }
    }

    /// Appends a rule to a chain of an inet table.
    pub(crate) fn rule(&mut self, table: &str, chain: &str, words: &[Expr<'_>]) {
        let flags = NLM_F_CREATE | NLM_F_APPEND;
        let batch = self.message(NEWRULE, flags, NFPROTO_INET, "NFT_MSG_NEWRULE", chain);
        batch.text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, chain);
        expr::encode(batch, words);
    }

    /// Commits; nothing of it happened when it fails.
    pub(crate) fn commit(mut self, socket: &NftSocket) -> Result<()> {
        if self.empty {
            return Ok(());
        }
        // Only requests inside are acknowledged on all supported kernels, not the end of the batch.
        self.batch.ask_last(NLM_F_ACK);
        self.batch.message(NFNL_MSG_BATCH_END, 0, &batch_header(), "nf_tables commit", "");
        self.batch.send(&mut socket.socket(), |_| ())
    }
}

/// Where a base chain hangs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// struct nfgenmsg with the subsystem in its res_id.
const fn batch_header() -> [u8; 4] {
    let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
    [0, 0, high, low]
}
