//! The kernel's part, for real: each test runs in a network and mount namespace of its own.
//!
//! A test calls [`world::inside`], which re-executes the test binary under `unshare --net --mount`
//! for exactly that test; the host's namespaces are never touched. Scaffolding (a neighbour machine,
//! a foreign firewall) is made with `ip` and `iptables`; what is tested never is.

mod firewall;
mod ipv6;
mod ports;
mod reach;
mod resolver;
mod ruleset;
mod world;
