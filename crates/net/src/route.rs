//! rtnetlink (rtnetlink(7)): what links, addresses and routes there are, and the few requests that
//! make a bridge, a veth pair, an address and a default route.
//!
//! A [`RouteSocket`] acts on the namespace in which it was opened, whichever thread uses it. It does
//! not know which links are Tare's.

use crate::address::octets;
use crate::wire::{self, Batch, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use crate::{Error, MacAddr, Result, Subnet};
use rustix::fd::{AsRawFd, BorrowedFd};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use sys::netlink::{Protocol, Socket};

/// The kernel's limit for an interface name without its NUL.
pub const MAX_NAME: usize = 15;

// include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, veth.h
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// The address is used at once: nobody else gives addresses of our subnets, so that none can be a duplicate.
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;

const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, where it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// The index of the bridge it is a port of.
    pub master: Option<u32>,
    /// `bridge`, `veth`, … where the kernel names one.
    pub kind: Option<String>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

/// A unicast route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; an unspecified address with prefix 0 is the default route.
    pub destination: IpAddr,
    /// The prefix length.
    pub prefix: u8,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The interface's index.
    pub index: Option<u32>,
    /// The metric; the lowest wins.
    pub priority: u32,
}

/// What makes a veth pair in one request.
#[derive(Debug)]
pub(crate) struct VethPair<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge: u32,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_mac: MacAddr,
    pub(crate) peer_netns: BorrowedFd<'a>,
    pub(crate) mtu: u32,
}

/// A NETLINK_ROUTE socket.
#[derive(Debug)]
pub struct RouteSocket(Mutex<Socket>);

impl RouteSocket {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self(Mutex::new(Socket::open(Protocol::Route)?)))
    }

    /// All links.
    pub fn links(&self) -> Result<Vec<Link>> {
        let mut batch = Batch::new();
        batch.message(RTM_GETLINK, NLM_F_DUMP, &ifinfo(0, 0), "RTM_GETLINK", "");
        self.collect(batch, parse_link)
    }

    /// The links of one kind.
    pub(crate) fn links_of_kind(&self, kind: &str) -> Result<Vec<Link>> {
        let mut batch = Batch::new();
        batch.message(RTM_GETLINK, NLM_F_DUMP, &ifinfo(0, 0), "RTM_GETLINK", kind);
        let info = batch.nest(IFLA_LINKINFO);
        batch.text(IFLA_INFO_KIND, kind);
        batch.end(info);
        let mut found = self.collect(batch, parse_link)?;
        // A kernel that does not filter sends them all.
        found.retain(|l| l.kind.as_deref() == Some(kind));
        Ok(found)
    }

    /// The link of that name, if there is one.
    pub fn link(&self, name: &str) -> Result<Option<Link>> {
        let mut batch = Batch::new();
        batch.message(RTM_GETLINK, NLM_F_ACK, &ifinfo(0, 0), "RTM_GETLINK", name).text(IFLA_IFNAME, name);
        match self.collect(batch, parse_link) {
            Ok(mut links) => Ok(links.pop()),
            Err(e) if e.errno() == rustix::io::Errno::NODEV.raw_os_error() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// All addresses of both families.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        self.addresses_of(0)
    }

    /// The addresses of one link; 0 stands for all links.
    pub(crate) fn addresses_of(&self, index: u32) -> Result<Vec<Address>> {
        let mut batch = Batch::new();
        let mut header = [0; 8];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        batch.message(RTM_GETADDR, NLM_F_DUMP, &header, "RTM_GETADDR", "");
        let mut found = self.collect(batch, parse_address)?;
        // A kernel that does not filter sends them all.
        found.retain(|a| index == 0 || a.index == index);
        Ok(found)
    }

    /// The unicast routes of the main table, of IPv4.
    pub fn routes(&self) -> Result<Vec<Route>> {
        self.routes_of(AF_INET)
    }

    /// The unicast routes of the main table, of IPv6.
    pub fn routes6(&self) -> Result<Vec<Route>> {
        self.routes_of(AF_INET6)
    }

    fn routes_of(&self, family: u8) -> Result<Vec<Route>> {
        let mut batch = Batch::new();
        let mut header = [0; 12];
        header[0] = family;
        batch.message(RTM_GETROUTE, NLM_F_DUMP, &header, "RTM_GETROUTE", "");
        self.collect(batch, parse_route)
    }

    /// The link that the IPv4 default route leaves by.
    pub fn default_link(&self) -> Result<Option<Link>> {
        let best = self.routes()?.into_iter().filter(|r| r.prefix == 0).min_by_key(|r| r.priority);
        match best.and_then(|r| r.index) {
            Some(index) => Ok(self.links()?.into_iter().find(|l| l.index == index)),
            None => Ok(None),
        }
    }

    pub(crate) fn socket(&self) -> MutexGuard<'_, Socket> {
        // A panic in between leaves no half-sent message: send(2) takes a batch whole or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect<T>(&self, batch: Batch, parse: impl Fn(u16, &[u8]) -> Option<T>) -> Result<Vec<T>> {
        batch.dump(&mut self.socket(), |message| parse(message.kind, message.payload))
    }

    /// Makes a bridge, up, without an address.
    pub(crate) fn create_bridge(&self, name: &str, mac: MacAddr, mtu: u32) -> Result<()> {
        let mut batch = Batch::new();
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
        batch.message(RTM_NEWLINK, flags, &ifinfo(0, IFF_UP), "RTM_NEWLINK", format_args!("bridge {name}"));
        batch.text(IFLA_IFNAME, name).u32(IFLA_MTU, mtu).attr(IFLA_ADDRESS, &mac.0);
        let info = batch.nest(IFLA_LINKINFO);
        batch.attr(IFLA_INFO_KIND, b"bridge");
        batch.end(info);
        batch.send(&mut self.socket(), |_| ())
    }

    /// Makes the pair, the host side's master and up flag, and the peer inside its namespace.
    pub(crate) fn create_veth(&self, pair: &VethPair<'_>) -> Result<()> {
        let mut batch = Batch::new();
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
        batch.message(
            RTM_NEWLINK,
            flags,
            &ifinfo(0, IFF_UP),
            "RTM_NEWLINK",
            format_args!("veth {}", pair.host_name),
        );
        batch.text(IFLA_IFNAME, pair.host_name).u32(IFLA_MTU, pair.mtu).u32(IFLA_MASTER, pair.bridge);
        one_queue(&mut batch);
        let info = batch.nest(IFLA_LINKINFO);
        batch.attr(IFLA_INFO_KIND, b"veth");
        let data = batch.nest(IFLA_INFO_DATA);
        let peer = batch.nest(VETH_INFO_PEER);
        batch.raw(&ifinfo(0, 0));
        batch.text(IFLA_IFNAME, pair.peer_name).u32(IFLA_MTU, pair.mtu).attr(IFLA_ADDRESS, &pair.peer_mac.0);
        one_queue(&mut batch);
        batch.u32(IFLA_NET_NS_FD, pair.peer_netns.as_raw_fd().cast_unsigned());
        batch.end(peer);
        batch.end(data);
        batch.end(info);
        batch.send(&mut self.socket(), |_| ())
    }

    /// Lets a bridge port send frames back to where they came from.
    pub(crate) fn set_hairpin(&self, name: &str) -> Result<()> {
        self.set_port(name, "hairpin", IFLA_BRPORT_MODE)
    }

    /// Keeps frames of a bridge port from the other ports that have the same.
    pub(crate) fn set_isolated(&self, name: &str) -> Result<()> {
        self.set_port(name, "isolation", IFLA_BRPORT_ISOLATED)
    }

    fn set_port(&self, name: &str, word: &str, attribute: u16) -> Result<()> {
        let mut batch = Batch::new();
        let what = format_args!("{word} on {name}");
        batch.message(RTM_NEWLINK, NLM_F_ACK, &ifinfo(0, 0), "RTM_NEWLINK", what).text(IFLA_IFNAME, name);
        let info = batch.nest(IFLA_LINKINFO);
        batch.attr(IFLA_INFO_SLAVE_KIND, b"bridge");
        let data = batch.nest(IFLA_INFO_SLAVE_DATA);
        batch.attr(attribute, &[1]);
        batch.end(data);
        batch.end(info);
        batch.send(&mut self.socket(), |_| ())
    }

    /// Brings a link up.
    pub(crate) fn set_up(&self, index: u32) -> Result<()> {
        let mut batch = Batch::new();
        up(&mut batch, index, NLM_F_ACK);
        batch.send(&mut self.socket(), |_| ())
    }

    /// Sets a link's MTU.
    pub(crate) fn set_mtu(&self, index: u32, mtu: u32) -> Result<()> {
        let mut batch = Batch::new();
        let what = format_args!("mtu {mtu} of link {index}");
        batch.message(RTM_NEWLINK, NLM_F_ACK, &ifinfo(index, 0), "RTM_NEWLINK", what).u32(IFLA_MTU, mtu);
        batch.send(&mut self.socket(), |_| ())
    }

    /// Deletes a link: never on the path of an exit, because it waits for grace periods (24 ms).
    pub(crate) fn delete_link(&self, name: &str) -> Result<()> {
        let mut batch = Batch::new();
        batch.message(RTM_DELLINK, NLM_F_ACK, &ifinfo(0, 0), "RTM_DELLINK", name).text(IFLA_IFNAME, name);
        match batch.send(&mut self.socket(), |_| ()) {
            Err(e) if e.errno() == rustix::io::Errno::NODEV.raw_os_error() => Ok(()),
            other => other,
        }
    }

    /// Gives a link an address; that it has it already is fine.
    pub(crate) fn add_address(&self, index: u32, address: IpAddr, subnet: Subnet) -> Result<()> {
        let mut batch = Batch::new();
        new_address(&mut batch, index, address, subnet, NLM_F_ACK);
        exists_is_fine(batch.send(&mut self.socket(), |_| ()))
    }

    /// Inside a namespace, in one batch: the addresses, the link up, and default routes through `gateways` in place
    /// of those there are.
    pub(crate) fn configure(
        &self,
        index: u32,
        addresses: &[(IpAddr, Subnet)],
        gateways: &[IpAddr],
    ) -> Result<()> {
        let mut batch = Batch::new();
        for (address, subnet) in addresses {
            new_address(&mut batch, index, *address, *subnet, 0);
        }
        up(&mut batch, index, 0);
        for gateway in gateways {
            default_route(&mut batch, index, *gateway);
        }
        batch.ask_last(NLM_F_ACK);
        batch.send(&mut self.socket(), |_| ())
    }

    /// The default route goes by that link from now on.
    pub(crate) fn set_default(&self, index: u32, gateway: IpAddr) -> Result<()> {
        let mut batch = Batch::new();
        default_route(&mut batch, index, gateway);
        batch.ask_last(NLM_F_ACK);
        batch.send(&mut self.socket(), |_| ())
    }

    /// Makes a link a port of a bridge.
    pub(crate) fn set_master(&self, name: &str, bridge: u32) -> Result<()> {
        let mut batch = Batch::new();
        let what = format_args!("{name} on bridge {bridge}");
        batch.message(RTM_NEWLINK, NLM_F_ACK, &ifinfo(0, 0), "RTM_NEWLINK", what).text(IFLA_IFNAME, name);
        batch.u32(IFLA_MASTER, bridge);
        batch.send(&mut self.socket(), |_| ())
    }
}

fn default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    let mut header = [0; 12];
    header[0] = family(gateway);
    header[4] = RT_TABLE_MAIN;
    header[5] = RTPROT_BOOT;
    header[6] = RT_SCOPE_UNIVERSE;
    header[7] = RTN_UNICAST;
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    batch.message(RTM_NEWROUTE, flags, &header, "RTM_NEWROUTE", format_args!("default via {gateway}"));
    batch.attr(RTA_GATEWAY, &octets(gateway)).u32(RTA_OIF, index);
}

const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// struct ifinfomsg; `flags` are both the value and the mask.
fn ifinfo(index: u32, flags: u32) -> [u8; 16] {
    let mut out = [0; 16];
    out[4..8].copy_from_slice(&index.to_ne_bytes());
    out[8..12].copy_from_slice(&flags.to_ne_bytes());
    out[12..16].copy_from_slice(&flags.to_ne_bytes());
    out
}

/// Since 5.16 a veth has a queue per possible CPU, each with objects in sysfs and events for udev:
/// 180 µs of 500 with two CPUs, *measured*. Only XDP makes use of more than one.
fn one_queue(batch: &mut Batch) {
    batch.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
}

pub(crate) fn up(batch: &mut Batch, index: u32, flags: u16) {
    batch.message(
        RTM_NEWLINK,
        flags,
        &ifinfo(index, IFF_UP),
        "RTM_NEWLINK",
        format_args!("up, link {index}"),
    );
}

fn new_address(batch: &mut Batch, index: u32, address: IpAddr, subnet: Subnet, flags: u16) {
    // struct ifaddrmsg { family, prefixlen, flags, scope, index }
    let mut header = [0; 8];
    header[0] = family(address);
    header[1] = subnet.prefix();
    header[2] = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let what = format_args!("{address}/{} on link {index}", subnet.prefix());
    batch.message(RTM_NEWADDR, flags | NLM_F_CREATE | NLM_F_EXCL, &header, "RTM_NEWADDR", what);
    batch.attr(IFA_LOCAL, &octets(address)).attr(IFA_ADDRESS, &octets(address));
    if address.is_ipv4() && subnet.prefix() < 31 {
        batch.attr(IFA_BROADCAST, &octets(subnet.last()));
    }
}

fn exists_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(e) if e.errno() == rustix::io::Errno::EXIST.raw_os_error() => Ok(()),
        other => other,
    }
}

fn parse_link(kind: u16, payload: &[u8]) -> Option<Link> {
    if kind != RTM_NEWLINK {
        return None;
    }
    let body = payload.get(16..)?;
    let mut link = Link {
        index: wire::as_u32(payload.get(4..8)?)?,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: wire::as_u32(payload.get(8..12)?)? & IFF_UP != 0,
        master: None,
        kind: None,
    };
    for (attribute, value) in wire::attributes(body) {
        match attribute {
            IFLA_IFNAME => link.name = wire::as_text(value),
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddr),
            IFLA_MTU => link.mtu = wire::as_u32(value)?,
            IFLA_MASTER => link.master = wire::as_u32(value),
            IFLA_LINKINFO => link.kind = wire::find(value, IFLA_INFO_KIND).map(wire::as_text),
            _ => {}
        }
    }
    Some(link)
}

fn parse_address(kind: u16, payload: &[u8]) -> Option<Address> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let body = payload.get(8..)?;
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is ours where there is one.
    let value = wire::find(body, IFA_LOCAL).or_else(|| wire::find(body, IFA_ADDRESS))?;
    Some(Address {
        index: wire::as_u32(payload.get(4..8)?)?,
        address: ip(*payload.first()?, value)?,
        prefix: *payload.get(1)?,
    })
}

fn parse_route(kind: u16, payload: &[u8]) -> Option<Route> {
    if kind != RTM_NEWROUTE || *payload.get(7)? != RTN_UNICAST {
        return None;
    }
    let family = *payload.first()?;
    let body = payload.get(12..)?;
    let table = wire::find(body, RTA_TABLE).and_then(wire::as_u32).unwrap_or(u32::from(*payload.get(4)?));
    if table != u32::from(RT_TABLE_MAIN) {
        return None;
    }
    let any =
        if family == AF_INET { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    Some(Route {
        destination: wire::find(body, RTA_DST).map_or(Some(any), |v| ip(family, v))?,
        prefix: *payload.get(1)?,
        gateway: wire::find(body, RTA_GATEWAY).and_then(|v| ip(family, v)),
        index: wire::find(body, RTA_OIF).and_then(wire::as_u32),
        priority: wire::find(body, RTA_PRIORITY).and_then(wire::as_u32).unwrap_or(0),
    })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    }
}

/// Whether `name` can be an interface's (dev_valid_name of the kernel).
pub(crate) fn check_name(name: &str) -> Result<()> {
    let bad = |b: u8| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0;
    if name.is_empty() || name.len() > MAX_NAME || name == "." || name == ".." || name.bytes().any(bad) {
        let what = format!("interface name {name:?}");
        return Err(Error::kernel(
            what,
            std::io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// The kernel is not hostile, but nothing it sends may make us panic.
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = (parse_link(RTM_NEWLINK, &bytes), parse_address(RTM_NEWADDR, &bytes), parse_route(RTM_NEWROUTE, &bytes));
        }
    }
}
