//! Other people's firewalls, where they would drop what our containers forward.
//!
//! An accept in our table does not override a drop in another one. Where a foreign chain on the
//! forward hook drops by policy (as dockerd leaves `filter FORWARD`), two rules are added that accept
//! `tare*` in and out: in `DOCKER-USER` where there is one, else at the chain's head. They match
//! interfaces only, so that iptables-nft can list them; more would make `iptables` fail and with it
//! dockerd. No policy is changed, no foreign rule deleted; our table still drops what it must.
//!
//! Firewalls that a program manages (ufw, firewalld) and the legacy iptables, which nf_tables cannot
//! reach, are reported instead; their own command is the hint.

use crate::Result;
use crate::nft::expr::{self, Cmp, Expr, Name};
use crate::nft::read::{self, Chain, Rule};
use crate::nft::{
    DELRULE, NEWRULE, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE,
    NFTA_RULE_TABLE, NFTA_RULE_USERDATA, NftSocket, Transaction, ruleset,
};
use crate::wire::NLM_F_CREATE;
use std::fmt;
use sys::trace;

/// What marks a rule as ours: iptables and nft show it as the rule's comment.
const MARK: &str = "Tare containers";
const HOOK_FORWARD: u32 = 2;
const DOCKER_USER: &str = "DOCKER-USER";
const UFW_CHAIN: &str = "ufw-before-forward";
const FIREWALLD_TABLE: &str = "firewalld";

/// A pair of rules of ours in somebody else's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRule {
    /// `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

impl fmt::Display for ForeignRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.chain)
    }
}

/// A firewall that may drop our containers' packets and that we leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drops {
    /// ufw.
    Ufw,
    /// firewalld.
    Firewalld,
    /// The legacy iptables, with a policy of DROP.
    LegacyIptables,
}

impl Drops {
    /// The command by which its owner lets our containers pass.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Ufw => "ufw route allow in on tare0; ufw route allow out on tare0",
            Self::Firewalld => {
                "firewall-cmd --permanent --zone=trusted --add-interface=tare0; firewall-cmd --reload"
            }
            Self::LegacyIptables => {
                "iptables-legacy -I FORWARD -i tare+ -j ACCEPT; iptables-legacy -I FORWARD -o tare+ -j ACCEPT"
            }
        }
    }
}

/// Adds what is missing, to tables of IPv6 only where a network has it. Returns the chains that have our rules from now on by this call, and the
/// firewalls that are left alone.
pub(crate) fn ensure(socket: &NftSocket, ipv6: bool) -> Result<(Vec<ForeignRule>, Vec<Drops>)> {
    let mut step = trace::step("foreign firewall", "NFT_MSG_GETCHAIN");
    let (transaction, added, mut drops) = step.check(plan(socket, ipv6))?;
    for rule in &added {
        step.note(format_args!("accept tare* in {rule}"));
    }
    step.check(transaction.commit(socket))?;
    if legacy_drops() {
        drops.push(Drops::LegacyIptables);
    }
    drops.dedup();
    Ok((added, drops))
}

/// Whether [`ensure`] would add something.
pub(crate) fn is_missing(socket: &NftSocket, ipv6: bool) -> Result<bool> {
    Ok(!plan(socket, ipv6)?.1.is_empty())
}

fn plan(socket: &NftSocket, ipv6: bool) -> Result<(Transaction, Vec<ForeignRule>, Vec<Drops>)> {
    let chains = read::chains(socket, 0)?;
    let mut drops = Vec::new();
    let mut added = Vec::new();
    let mut transaction = Transaction::new();
    let concerns = |c: &&Chain| is_foreign_forward(c) && (ipv6 || c.family != NFPROTO_IPV6);
    for chain in chains.iter().filter(concerns) {
        if chain.table == FIREWALLD_TABLE {
            drops.push(Drops::Firewalld);
            continue;
        }
        if !chain.drops {
            continue;
        }
        let sibling = |name: &str| {
            chains.iter().any(|c| c.family == chain.family && c.table == chain.table && c.name == name)
        };
        let target = if sibling(DOCKER_USER) {
            DOCKER_USER
        } else if sibling(UFW_CHAIN) {
            drops.push(Drops::Ufw);
            continue;
        } else {
            &chain.name
        };
        let present = read::rules(socket, chain.family, &chain.table, target)?;
        if present.iter().any(is_ours) {
            continue;
        }
        insert(&mut transaction, chain, target);
        added.push(ForeignRule {
            family: family_name(chain.family),
            table: chain.table.clone(),
            chain: target.to_owned(),
        });
    }
    Ok((transaction, added, drops))
}

/// Finds, and unless `dry` removes, the rules that are ours, wherever they are.
pub(crate) fn remove(socket: &NftSocket, dry: bool) -> Result<Vec<ForeignRule>> {
    let mut found = Vec::new();
    let mut transaction = Transaction::new();
    for chain in read::chains(socket, 0)? {
        if !is_known(chain.family) || chain.table == ruleset::TABLE {
            continue;
        }
        let ours: Vec<Rule> = read::rules(socket, chain.family, &chain.table, &chain.name)?;
        for rule in ours.iter().filter(|r| is_ours(r)) {
            let batch = transaction.message(DELRULE, 0, chain.family, "NFT_MSG_DELRULE", &chain.name);
            batch.text(NFTA_RULE_TABLE, &chain.table).text(NFTA_RULE_CHAIN, &chain.name);
            batch.attr(NFTA_RULE_HANDLE, &rule.handle.to_be_bytes());
            found.push(ForeignRule {
                family: family_name(chain.family),
                table: chain.table.clone(),
                chain: chain.name.clone(),
            });
        }
    }
    if !dry {
        transaction.commit(socket)?;
    }
    Ok(found)
}

/// Whether the legacy iptables drops by policy and no rule of its names our bridges, in and out.
fn legacy_drops() -> bool {
    // A table that cannot be read is no reason not to start; the packets will tell.
    let Ok(Some(table)) = sys::iptables::forwarding() else { return false };
    let names =
        |pick: fn(&(String, String)) -> &String| table.interfaces.iter().any(|i| pick(i).starts_with("tare"));
    table.drops && !(names(|i| &i.0) && names(|i| &i.1))
}

fn is_foreign_forward(chain: &Chain) -> bool {
    let ours = chain.family == NFPROTO_INET && chain.table == ruleset::TABLE;
    is_known(chain.family) && !ours && chain.hook == Some(HOOK_FORWARD)
}

fn is_ours(rule: &Rule) -> bool {
    rule.comment.as_deref() == Some(MARK)
}

/// Two rules at the chain's head.
fn insert(transaction: &mut Transaction, chain: &Chain, target: &str) {
    let bridges = Name::Prefix("tare");
    for interface in [Expr::Out(Cmp::Is, bridges), Expr::In(Cmp::Is, bridges)] {
        let batch = transaction.message(NEWRULE, NLM_F_CREATE, chain.family, "NFT_MSG_NEWRULE", target);
        batch.text(NFTA_RULE_TABLE, &chain.table).text(NFTA_RULE_CHAIN, target);
        batch.attr(NFTA_RULE_USERDATA, &read::comment_userdata(MARK));
        expr::encode(batch, &[interface, Expr::Counter, Expr::Accept]);
    }
}

const fn is_known(family: u8) -> bool {
    matches!(family, NFPROTO_IPV4 | NFPROTO_IPV6 | NFPROTO_INET)
}

const fn family_name(family: u8) -> &'static str {
    match family {
        NFPROTO_IPV4 => "ip",
        NFPROTO_IPV6 => "ip6",
        _ => "inet",
    }
}
