//! Hears when somebody takes away what networks are made of: rules, chains, tables, bridges.
//!
//! It only says that something may be missing; what, [`crate::Network::missing`] finds out. Elements of sets that go
//! are not told: they come and go with containers.

use crate::nft::{self, NFPROTO_INET};
use crate::route::{RTM_DELLINK, RTM_NEWLINK};
use crate::wire;
use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use sys::netlink::{Listener, Message, Protocol};

/// enum nfnetlink_groups, rtnetlink_groups.
const NFNLGRP_NFTABLES: u32 = 7;
const RTNLGRP_LINK: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFF_UP: u32 = 1;
/// After the first sign the others of the same change are waited for, so that it is looked at once.
const CALM: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Changes that never rest are looked at all the same.
const CALM_ROUNDS: usize = 6;

/// A listener in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Monitor {
    rules: Listener,
    links: Listener,
}

impl Monitor {
    /// Begins to listen.
    pub fn open() -> Result<Self> {
        Ok(Self {
            rules: Listener::open(Protocol::Netfilter, &[NFNLGRP_NFTABLES])?,
            links: Listener::open(Protocol::Route, &[RTNLGRP_LINK])?,
        })
    }

    /// Waits until something may be missing, and until it is calm again.
    pub fn wait(&mut self) -> Result<()> {
        while !self.hear(None)? {}
        for _ in 0..CALM_ROUNDS {
            if !self.hear(Some(&CALM))? {
                break;
            }
        }
        Ok(())
    }

    fn hear(&mut self, limit: Option<&rustix::event::Timespec>) -> Result<bool> {
        let mut fds = [PollFd::new(&self.rules, PollFlags::IN), PollFd::new(&self.links, PollFlags::IN)];
        match poll(&mut fds, limit) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::kernel("poll of netlink", e)),
        }
        let mut sign = false;
        let lost = self.rules.read(|m| sign |= is_rule_sign(&m))?;
        let lost = self.links.read(|m| sign |= is_link_sign(&m))? || lost;
        Ok(sign || lost)
    }
}

/// A foreign chain that comes may drop what is ours.
fn is_rule_sign(message: &Message<'_>) -> bool {
    const GONE: [u16; 4] = [nft::DELTABLE, nft::DELCHAIN, nft::DELRULE, nft::DELSET];
    let family = message.payload.first().copied().unwrap_or_default();
    GONE.iter().any(|kind| message.kind == nft::kind(*kind))
        || (message.kind == nft::kind(nft::NEWCHAIN) && family != NFPROTO_INET)
}

/// One of our bridges is gone, or down.
fn is_link_sign(message: &Message<'_>) -> bool {
    let Some(body) = message.payload.get(16..) else { return false };
    let ours = wire::find(body, IFLA_IFNAME)
        .is_some_and(|name| wire::as_text(name).starts_with(crate::network::BRIDGE_PREFIX));
    let up = message.payload.get(8..12).and_then(wire::as_u32).unwrap_or_default() & IFF_UP != 0;
    ours && (message.kind == RTM_DELLINK || (message.kind == RTM_NEWLINK && !up))
}
