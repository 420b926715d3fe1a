//! Who has which address: rows of `run.db`.
//!
//! An address is kept as its family's digit and its hexadecimal digits (`4ac110002`), so that the highest of a
//! family that was ever given is one look into the index. The database makes it unique: it is chosen and taken in one
//! transaction. Knows no kernel.

use super::Bridge;
use crate::Engine;
use crate::error::{Error, Result};
use net::Ipam;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Engine {
    /// An address of a family for a container; `None` where the network does not have that family.
    pub(super) fn allocate(
        &self,
        bridge: &Bridge,
        container: &str,
        ipv6: bool,
        wanted: Option<IpAddr>,
    ) -> Result<Option<IpAddr>> {
        let Some(ipam) = bridge.ipam(ipv6) else { return Ok(None) };
        let key = bridge.key();
        let pool = bridge.record.as_ref().and_then(|r| r.pool(ipv6));
        let auxiliary: Vec<IpAddr> = pool.iter().flat_map(|p| p.auxiliary.values().copied()).collect();
        self.state()?.run()?.write(|t| {
            let address = match wanted {
                Some(wanted) => {
                    let mut known = usage(t, key, ipv6)?;
                    known.used.extend(&auxiliary);
                    ipam.check(wanted, &known)?;
                    wanted
                }
                None => next(t, key, &ipam, &auxiliary)?.map_err(|e| {
                    let message = format!("{e}: {} ({})", bridge.name(), bridge.id());
                    Error { message, ..Error::from(e) }
                })?,
            };
            let sql = "INSERT INTO addresses VALUES (?1, ?2, ?3, NULL)
                       ON CONFLICT (network, address) DO UPDATE SET container = ?3, freed = NULL";
            t.execute(sql, &[key.into(), (&text_of(address)).into(), container.into()])?;
            Ok(Some(address))
        })
    }
}

/// The one after the highest that was ever given; when there is none, one that is free again.
fn next(
    t: &db::Transaction<'_>,
    key: &str,
    ipam: &Ipam,
    auxiliary: &[IpAddr],
) -> Result<net::Result<IpAddr>> {
    let ipv6 = ipam.subnet().is_ipv6();
    let (from, to) = bounds(ipv6);
    let sql = "SELECT max(address) FROM addresses WHERE network = ?1 AND address >= ?2 AND address < ?3";
    let highest =
        t.query_one(sql, &[key.into(), from.into(), to.into()], |r| Ok::<_, Error>(r.opt_text(0)?))?;
    let highest = highest.flatten().and_then(|text| address_of(&text));
    if let Some(fresh) = ipam.after(highest).filter(|a| !auxiliary.contains(a)) {
        return Ok(Ok(fresh));
    }
    let mut known = usage(t, key, ipv6)?;
    known.used.extend(auxiliary);
    Ok(ipam.candidate(&known))
}

/// What the table knows of a family, the longest free address first.
pub(super) fn usage(t: &db::Transaction<'_>, network: &str, ipv6: bool) -> Result<net::Usage> {
    let mut usage = net::Usage::default();
    let (from, to) = bounds(ipv6);
    let sql = "SELECT address, container FROM addresses
               WHERE network = ?1 AND address >= ?2 AND address < ?3 ORDER BY freed";
    let values = [network.into(), from.into(), to.into()];
    for (address, holder) in t.query(sql, &values, |r| Ok::<_, Error>((r.text(0)?, r.opt_text(1)?)))? {
        match (address_of(&address), holder) {
            (Some(address), Some(_)) => drop(usage.used.insert(address)),
            (Some(address), None) => usage.freed.push(address),
            (None, _) => {}
        }
    }
    Ok(usage)
}

/// The first text of a family, and the first behind it.
const fn bounds(ipv6: bool) -> (&'static str, &'static str) {
    if ipv6 { ("6", "7") } else { ("4", "5") }
}

fn text_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("4{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("6{:032x}", address.to_bits()),
    }
}

fn address_of(text: &str) -> Option<IpAddr> {
    match text.split_at_checked(1)? {
        ("4", digits) => Some(Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?).into()),
        ("6", digits) => Some(Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_in_order() {
        let sorted = ["10.0.0.9", "10.0.0.10", "172.17.0.2", "255.255.255.255", "::2", "fd00::9", "fd00::10"];
        let sorted = sorted.map(|text| text.parse::<IpAddr>().unwrap());
        let texts = sorted.map(text_of);
        assert!(texts.is_sorted(), "{texts:?}");
        for (address, text) in sorted.iter().zip(&texts) {
            assert_eq!(address_of(text), Some(*address));
            let (from, to) = bounds(address.is_ipv6());
            assert!(from <= text.as_str() && text.as_str() < to);
        }
    }
}
