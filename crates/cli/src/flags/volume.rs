//! The commands for volumes, and their flags.

use super::{Action, BLANK, Cmd, FORMAT_INSPECT, FORMAT_LIST, checks, command};
use crate::grammar::{Arity, Command, Flag, Kind};

/// What only a swarm's manager understands; Docker's help shows it there alone.
const CREATE: &[Flag] = &[
    Flag::text("availability", "Cluster Volume availability (\"active\", \"pause\", \"drain\")")
        .default("active"),
    Flag::text("driver", "Specify volume driver name").short('d').default("local"),
    Flag::text("group", "Cluster Volume group (cluster volumes)"),
    Flag::list("label", "Set metadata for a volume").check(checks::label),
    Flag::new("limit-bytes", Kind::Bytes, "Minimum size of the Cluster Volume in bytes"),
    Flag::text("name", "Specify volume name").hidden(),
    Flag::new("opt", Kind::Word("map"), "Set driver specific options").short('o').default("map[]"),
    Flag::new("required-bytes", Kind::Bytes, "Maximum size of the Cluster Volume in bytes"),
    Flag::text("scope", "Cluster Volume access scope (\"single\", \"multi\")").default("single"),
    Flag::new("secret", Kind::Word("map"), "Cluster Volume secrets").default("map[]"),
    Flag::text("sharing", "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")")
        .default("none"),
    Flag::list("topology-preferred", "A topology that the Cluster Volume would be preferred in"),
    Flag::list("topology-required", "A topology that the Cluster Volume must be accessible from"),
    Flag::text("type", "Cluster Volume access type (\"mount\", \"block\")").default("block"),
];

/// `volume`
pub const VOLUME: Cmd = Command {
    name: "volume",
    synopsis: "COMMAND",
    about: "Manage volumes",
    commands: &[
        Command {
            flags: &[CREATE],
            arity: Arity::AtMost(1),
            ..command("create", Action::VolumeCreate, "[OPTIONS] [VOLUME]", "Create a volume")
        },
        Command {
            flags: &[&[Flag::text("format", FORMAT_INSPECT).short('f')]],
            ..command(
                "inspect",
                Action::VolumeInspect,
                "[OPTIONS] VOLUME [VOLUME...]",
                "Display detailed information on one or more volumes",
            )
        },
        Command {
            aliases: &["list"],
            paths: &["volume ls", "volume list"],
            flags: &[&[
                Flag::switch(
                    "cluster",
                    "Display only cluster volumes, and use cluster volume list formatting",
                ),
                Flag::new("filter", Kind::Filter, "Provide filter values (e.g. \"dangling=true\")")
                    .short('f'),
                Flag::text("format", FORMAT_LIST),
                Flag::switch("quiet", "Only display volume names").short('q'),
            ]],
            arity: Arity::None,
            ..command("ls", Action::VolumeList, "[OPTIONS]", "List volumes")
        },
        Command {
            flags: &[&[
                Flag::switch("all", "Remove all unused volumes, not just anonymous ones")
                    .short('a')
                    .since(42),
                Flag::new("filter", Kind::Filter, "Provide filter values (e.g. \"label=<label>\")"),
                Flag::switch("force", "Do not prompt for confirmation").short('f'),
            ]],
            arity: Arity::None,
            ..command("prune", Action::VolumePrune, "[OPTIONS]", "Remove unused local volumes")
        },
        Command {
            aliases: &["remove"],
            paths: &["volume rm", "volume remove"],
            flags: &[&[Flag::switch("force", "Force the removal of one or more volumes")
                .short('f')
                .since(25)]],
            ..command(
                "rm",
                Action::VolumeRemove,
                "[OPTIONS] VOLUME [VOLUME...]",
                "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
            )
        },
        Command {
            flags: &[&[Flag::text(
                "availability",
                "Cluster Volume availability (\"active\", \"pause\", \"drain\")",
            )
            .default("active")]],
            arity: Arity::AtMost(1),
            ..command(
                "update",
                Action::VolumeUpdate,
                "[OPTIONS] [VOLUME]",
                "Update a volume (cluster volumes only)",
            )
        },
    ],
    ..BLANK
};
