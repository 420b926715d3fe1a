//! The commands for networks, and their flags.

use super::{Action, BLANK, Cmd, FORMAT_INSPECT, FORMAT_LIST, checks, command};
use crate::grammar::{Arity, Command, Flag, Kind};

const CONNECT: &[Flag] = &[
    Flag::new("alias", Kind::Word("strings"), "Add network-scoped alias for the container"),
    Flag::new("driver-opt", Kind::Word("strings"), "driver options for the network"),
    Flag::new(
        "gw-priority",
        Kind::Int,
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    Flag::text("ip", "IPv4 address (e.g., \"172.30.100.104\")"),
    Flag::text("ip6", "IPv6 address (e.g., \"2001:db8::33\")"),
    Flag::list("link", "Add link to another container"),
    Flag::new("link-local-ip", Kind::Word("strings"), "Add a link-local address for the container"),
];

const CREATE: &[Flag] = &[
    Flag::switch("attachable", "Enable manual container attachment").since(25),
    Flag::new("aux-address", Kind::Word("map"), "Auxiliary IPv4 or IPv6 addresses used by Network driver")
        .default("map[]"),
    Flag::text("config-from", "The network from which to copy the configuration").since(30),
    Flag::switch("config-only", "Create a configuration only network").since(30),
    Flag::text("driver", "Driver to manage the Network").short('d').default("bridge"),
    Flag::new("gateway", Kind::Word("strings"), "IPv4 or IPv6 Gateway for the master subnet"),
    Flag::switch("ingress", "Create swarm routing-mesh network").since(29),
    Flag::switch("internal", "Restrict external access to the network"),
    Flag::new("ip-range", Kind::Word("strings"), "Allocate container ip from a sub-range"),
    Flag::text("ipam-driver", "IP Address Management Driver").default("default"),
    Flag::new("ipam-opt", Kind::Word("map"), "Set IPAM driver specific options").default("map[]"),
    Flag::switch("ipv4", "Enable or disable IPv4 address assignment").default("true"),
    Flag::switch("ipv6", "Enable or disable IPv6 address assignment"),
    Flag::list("label", "Set metadata on a network").check(checks::label),
    Flag::new("opt", Kind::Word("map"), "Set driver specific options").short('o').default("map[]"),
    Flag::text("scope", "Control the network's scope").since(30),
    Flag::new("subnet", Kind::Word("strings"), "Subnet in CIDR format that represents a network segment"),
];

/// `network`
pub const NETWORK: Cmd = Command {
    name: "network",
    about: "Manage networks",
    commands: &[
        Command {
            flags: &[CONNECT],
            arity: Arity::Exactly(2),
            ..command(
                "connect",
                Action::NetworkConnect,
                "[OPTIONS] NETWORK CONTAINER",
                "Connect a container to a network",
            )
        },
        Command {
            flags: &[CREATE],
            arity: Arity::Exactly(1),
            ..command("create", Action::NetworkCreate, "[OPTIONS] NETWORK", "Create a network")
        },
        Command {
            flags: &[&[Flag::switch("force", "Force the container to disconnect from a network").short('f')]],
            arity: Arity::Exactly(2),
            ..command(
                "disconnect",
                Action::NetworkDisconnect,
                "[OPTIONS] NETWORK CONTAINER",
                "Disconnect a container from a network",
            )
        },
        Command {
            flags: &[&[
                Flag::text("format", FORMAT_INSPECT).short('f'),
                Flag::switch("verbose", "Verbose output for diagnostics").short('v'),
            ]],
            ..command(
                "inspect",
                Action::NetworkInspect,
                "[OPTIONS] NETWORK [NETWORK...]",
                "Display detailed information on one or more networks",
            )
        },
        Command {
            aliases: &["list"],
            paths: &["network ls", "network list"],
            flags: &[&[
                Flag::new("filter", Kind::Filter, "Provide filter values (e.g. \"driver=bridge\")")
                    .short('f'),
                Flag::text("format", FORMAT_LIST),
                Flag::switch("no-trunc", "Do not truncate the output"),
                Flag::switch("quiet", "Only display network IDs").short('q'),
            ]],
            arity: Arity::None,
            ..command("ls", Action::NetworkList, "[OPTIONS]", "List networks")
        },
        Command {
            flags: &[&[
                Flag::new("filter", Kind::Filter, "Provide filter values (e.g. \"until=<timestamp>\")"),
                Flag::switch("force", "Do not prompt for confirmation").short('f'),
            ]],
            arity: Arity::None,
            ..command("prune", Action::NetworkPrune, "[OPTIONS]", "Remove all unused networks")
        },
        Command {
            aliases: &["remove"],
            paths: &["network rm", "network remove"],
            flags: &[&[Flag::switch("force", "Do not error if the network does not exist").short('f')]],
            ..command("rm", Action::NetworkRemove, "NETWORK [NETWORK...]", "Remove one or more networks")
        },
    ],
    ..BLANK
};
