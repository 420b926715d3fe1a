//! The commands that watch, hold and change what runs, and their flags.

use super::{Action, Cmd, command};
use crate::grammar::{Arity, Command, Flag, Kind};

const FORMAT_EVENTS: &str = "Format output using a custom template:\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// `events`
pub const EVENTS: Cmd = Command {
    paths: &["system events", "events"],
    flags: &[&[
        Flag::new("filter", Kind::Filter, "Filter output based on conditions provided").short('f'),
        Flag::text("format", FORMAT_EVENTS),
        Flag::text("since", "Show all events created since timestamp"),
        Flag::text("until", "Stream events until this timestamp"),
    ]],
    arity: Arity::None,
    ..command("events", Action::Events, "[OPTIONS]", "Get real time events from the server")
};

/// `pause`
pub const PAUSE: Cmd = Command {
    paths: &["container pause", "pause"],
    ..command(
        "pause",
        Action::Pause,
        "CONTAINER [CONTAINER...]",
        "Pause all processes within one or more containers",
    )
};

/// `unpause`
pub const UNPAUSE: Cmd = Command {
    paths: &["container unpause", "unpause"],
    ..command(
        "unpause",
        Action::Unpause,
        "CONTAINER [CONTAINER...]",
        "Unpause all processes within one or more containers",
    )
};
