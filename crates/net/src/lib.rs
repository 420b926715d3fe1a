//! Netlink and nftables: networks, endpoints, port maps.
