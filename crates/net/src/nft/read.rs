//! What is in nf_tables already, ours and others': tables, base chains, rules.

use super::{
    GETCHAIN, GETRULE, GETTABLE, NEWCHAIN, NEWRULE, NEWTABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_HOOK_HOOKNUM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_HANDLE, NFTA_RULE_TABLE, NFTA_RULE_USERDATA, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, NftSocket,
    header, kind,
};
use crate::wire::{self, Batch, NLM_F_ACK, NLM_F_DUMP};
use crate::{Error, Result};
use rustix::io::Errno;

const NFTA_CHAIN_USE: u16 = 6;
/// NFTNL_UDATA_*_COMMENT: nft's and iptables' type of a comment in user data.
const COMMENT: u8 = 0;

/// A chain of anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    /// The hook of a base chain.
    pub(crate) hook: Option<u32>,
    /// Whether packets that reach its end are dropped.
    pub(crate) drops: bool,
}

/// A rule of anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) handle: u64,
    pub(crate) comment: Option<String>,
}

/// The user data of a table, `None` when there is no such table.
pub(crate) fn table_userdata(socket: &NftSocket, family: u8, name: &str) -> Result<Option<Vec<u8>>> {
    let mut batch = Batch::new();
    batch
        .message(kind(GETTABLE), NLM_F_ACK, &header(family), "NFT_MSG_GETTABLE", name)
        .text(NFTA_TABLE_NAME, name);
    let mut found = None;
    let sent = batch.send(&mut socket.socket(), |m| {
        if m.kind == kind(NEWTABLE) {
            let body = m.payload.get(4..).unwrap_or_default();
            found = Some(wire::find(body, NFTA_TABLE_USERDATA).unwrap_or_default().to_vec());
        }
    });
    match sent {
        Ok(()) => Ok(found),
        Err(e) if e.errno() == Errno::NOENT.raw_os_error() => Ok(None),
        Err(e) => Err(e),
    }
}

/// All chains of a family.
pub(crate) fn chains(socket: &NftSocket, family: u8) -> Result<Vec<Chain>> {
    let mut batch = Batch::new();
    batch.message(kind(GETCHAIN), NLM_F_DUMP, &header(family), "NFT_MSG_GETCHAIN", "");
    batch.dump(&mut socket.socket(), |m| (m.kind == kind(NEWCHAIN)).then(|| parse_chain(m.payload))?)
}

/// How many rules a chain has, and jumps lead to it (NFTA_CHAIN_USE): one small answer where a dump of
/// the rules would be a large one.
pub(crate) fn chain_use(socket: &NftSocket, family: u8, table: &str, chain: &str) -> Result<u32> {
    let mut batch = Batch::new();
    batch.message(kind(GETCHAIN), NLM_F_ACK, &header(family), "NFT_MSG_GETCHAIN", chain);
    batch.text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, chain);
    let mut count = None;
    batch.send(&mut socket.socket(), |m| {
        if m.kind == kind(NEWCHAIN) {
            count =
                m.payload.get(4..).and_then(|body| wire::find(body, NFTA_CHAIN_USE)).and_then(wire::as_be32);
        }
    })?;
    count.ok_or(Error::Answer("NFT_MSG_GETCHAIN"))
}

/// All rules of a chain, from its head.
pub(crate) fn rules(socket: &NftSocket, family: u8, table: &str, chain: &str) -> Result<Vec<Rule>> {
    let mut batch = Batch::new();
    batch.message(kind(GETRULE), NLM_F_DUMP, &header(family), "NFT_MSG_GETRULE", chain);
    batch.text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, chain);
    batch.dump(&mut socket.socket(), |m| (m.kind == kind(NEWRULE)).then(|| parse_rule(m.payload))?)
}

/// User data with a comment in it, as nft writes and shows it.
pub(crate) fn comment_userdata(text: &str) -> Vec<u8> {
    let bytes = &text.as_bytes()[..text.len().min(127)];
    let mut out = Vec::with_capacity(bytes.len() + 3);
    // The length counts the NUL.
    out.extend_from_slice(&[COMMENT, u8::try_from(bytes.len() + 1).unwrap_or(u8::MAX)]);
    out.extend_from_slice(bytes);
    out.push(0);
    out
}

/// The comment in user data: type, length, value, and so on.
pub(crate) fn comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *kind == COMMENT {
            return Some(wire::as_text(value));
        }
        rest = &tail[usize::from(*length)..];
    }
    None
}

fn parse_chain(payload: &[u8]) -> Option<Chain> {
    let body = payload.get(4..)?;
    let hook = wire::find(body, NFTA_CHAIN_HOOK)
        .and_then(|h| wire::find(h, NFTA_HOOK_HOOKNUM))
        .and_then(wire::as_be32);
    Some(Chain {
        family: *payload.first()?,
        table: wire::as_text(wire::find(body, NFTA_CHAIN_TABLE)?),
        name: wire::as_text(wire::find(body, NFTA_CHAIN_NAME)?),
        hook,
        drops: hook.is_some() && wire::find(body, NFTA_CHAIN_POLICY).and_then(wire::as_be32) == Some(0),
    })
}

fn parse_rule(payload: &[u8]) -> Option<Rule> {
    let body = payload.get(4..)?;
    Some(Rule {
        handle: wire::as_be64(wire::find(body, NFTA_RULE_HANDLE)?)?,
        comment: wire::find(body, NFTA_RULE_USERDATA).and_then(comment).or_else(|| xt_comment(body)),
    })
}

/// The comment as iptables-restore writes it: a match of x_tables' `comment` (struct xt_comment_info).
fn xt_comment(rule: &[u8]) -> Option<String> {
    const EXPR_NAME: u16 = 1;
    const EXPR_DATA: u16 = 2;
    const MATCH_NAME: u16 = 1;
    const MATCH_INFO: u16 = 3;
    wire::attributes(wire::find(rule, NFTA_RULE_EXPRESSIONS)?).find_map(|(_, expression)| {
        let is =
            |bytes, attribute, name| wire::find(bytes, attribute).is_some_and(|v| wire::as_text(v) == name);
        let data = wire::find(expression, EXPR_DATA)?;
        let comment = is(expression, EXPR_NAME, "match") && is(data, MATCH_NAME, "comment");
        comment.then(|| wire::find(data, MATCH_INFO).map(wire::as_text))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_survive_the_way_through_user_data() {
        assert_eq!(comment(&comment_userdata("Tare ruleset 1")).as_deref(), Some("Tare ruleset 1"));
        assert_eq!(comment(&[7, 1, 9, 0, 2, b'x', 0]).as_deref(), Some("x"), "behind another value");
        for broken in [&[][..], &[0], &[0, 9, b'x'], &[1, 0, 1, 0]] {
            assert_eq!(comment(broken), None, "{broken:?}");
        }
    }

    proptest::proptest! {
        /// The kernel is not hostile, but nothing it sends may make us panic.
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = (parse_chain(&bytes), parse_rule(&bytes), comment(&bytes), xt_comment(&bytes));
        }
    }
}
