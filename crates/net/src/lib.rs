//! Networks of containers by netlink and nftables: the bridge driver, endpoints, published ports.
//!
//! ```text
//! Network::open ── bridge tare0, table `inet tare`, sysctls         (idempotent, under the caller's lock)
//!    ├─ ipam() → Ipam.candidate(usage)                               (pure: pool, used → address)
//!    ├─ Netns::create() → attach(netns, EndpointConfig) → Endpoint   (veth pair, address, route)
//!    ├─ ports::bind(requests) → BoundPort{map, socket}               (the kernel owns a port's uniqueness)
//!    ├─ publish(maps) / unpublish(maps)                              (map elements, one batch)
//!    └─ uninstall()                                                  (nothing of it is left)
//! resolver::listen(netns) → two sockets                             (127.0.0.11:53, redirected to them)
//! hosts::build, resolv::build                                        (pure: the container's two files)
//! ```
//!
//! Invariants: no helper program is executed and nothing waits for a grace period; every function
//! may be repeated; per-container state in the kernel is map and set elements only, so that a dead
//! container costs nothing but those; foreign rules are never changed or deleted.
//!
//! This crate does not know what a container is, keeps no state of its own on disk, and takes no
//! lock between processes: the caller holds the network's lock around whatever changes the host.

mod address;
mod bridge;
mod conntrack;
mod endpoint;
mod error;
mod foreign;
pub mod hosts;
mod ipam;
mod monitor;
mod netns;
mod network;
mod nft;
pub mod ports;
pub mod resolv;
pub mod resolver;
pub mod route;
mod wire;

pub use address::{MacAddr, ParseSubnetError, Subnet};
pub use endpoint::{Endpoint, EndpointConfig};
pub use error::{Error, Result};
pub use foreign::{Drops, ForeignRule};
pub use ipam::{Ipam, Usage, default_pools, default_pools6, first_free_pool, first_free_pool6};
pub use monitor::Monitor;
pub use netns::{Netns, NetnsCreation};
pub use network::{BridgeConfig, Installed, Network, Opened, Place, Uninstalled, uninstall};
pub use ports::{BoundPort, PortMap, PortRequest, Protocol};
