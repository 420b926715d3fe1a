//! The commands that watch, hold and change what runs, and their flags.

use super::{Action, Cmd, FORMAT_LIST, command};
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

/// `update`
pub const UPDATE: Cmd = Command {
    paths: &["container update", "update"],
    flags: &[&[
        Flag::new(
            "blkio-weight",
            Kind::Uint16,
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
        ),
        Flag::new("cpu-period", Kind::Int, "Limit CPU CFS (Completely Fair Scheduler) period"),
        Flag::new("cpu-quota", Kind::Int, "Limit CPU CFS (Completely Fair Scheduler) quota"),
        Flag::new("cpu-rt-period", Kind::Int, "Limit the CPU real-time period in microseconds").since(25),
        Flag::new("cpu-rt-runtime", Kind::Int, "Limit the CPU real-time runtime in microseconds").since(25),
        Flag::new("cpu-shares", Kind::Int, "CPU shares (relative weight)").short('c'),
        Flag::new("cpus", Kind::Decimal, "Number of CPUs").since(29),
        Flag::text("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
        Flag::text("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
        Flag::new("memory", Kind::Bytes, "Memory limit").short('m'),
        Flag::new("memory-reservation", Kind::Bytes, "Memory soft limit"),
        Flag::new(
            "memory-swap",
            Kind::SwapBytes,
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        Flag::new("pids-limit", Kind::Int, "Tune container pids limit (set -1 for unlimited)").since(40),
        Flag::text("restart", "Restart policy to apply when a container exits"),
    ]],
    ..command(
        "update",
        Action::Update,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Update configuration of one or more containers",
    )
};

/// `stats`
pub const STATS: Cmd = Command {
    paths: &["container stats", "stats"],
    flags: &[&[
        Flag::switch("all", "Show all containers (default shows just running)").short('a'),
        Flag::text("format", FORMAT_LIST),
        Flag::switch("no-stream", "Disable streaming stats and only pull the first result"),
        Flag::switch("no-trunc", "Do not truncate output"),
    ]],
    arity: Arity::AtLeast(0),
    ..command(
        "stats",
        Action::Stats,
        "[OPTIONS] [CONTAINER...]",
        "Display a live stream of container(s) resource usage statistics",
    )
};

/// `container prune`
pub const PRUNE: Cmd = Command {
    flags: &[&[
        Flag::new("filter", Kind::Filter, "Provide filter values (e.g. \"until=<timestamp>\")"),
        Flag::switch("force", "Do not prompt for confirmation").short('f'),
    ]],
    arity: Arity::None,
    ..command("prune", Action::ContainerPrune, "[OPTIONS]", "Remove all stopped containers")
};

/// `diff`
pub const DIFF: Cmd = Command {
    paths: &["container diff", "diff"],
    arity: Arity::Exactly(1),
    ..command(
        "diff",
        Action::Diff,
        "CONTAINER",
        "Inspect changes to files or directories on a container's filesystem",
    )
};
