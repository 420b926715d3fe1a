//! The flags of the commands that act on containers which exist.

use super::{FORMAT_INSPECT, FORMAT_LIST, checks};
use crate::grammar::{Flag, Kind};

/// `start`
pub static START: &[Flag] = &[
    Flag::switch("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
    Flag::text("checkpoint", "Restore from this checkpoint").later(),
    Flag::text("checkpoint-dir", "Use a custom checkpoint storage directory").later(),
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::switch("interactive", "Attach container's STDIN").short('i'),
];

/// `stop`
pub static STOP: &[Flag] = &[
    Flag::text("signal", "Signal to send to the container").short('s'),
    Flag::new("timeout", Kind::Int, "Seconds to wait before killing the container").short('t'),
    Flag::new("time", Kind::Int, "Seconds to wait before killing the container (deprecated: use --timeout)")
        .deprecated("use --timeout instead"),
];

/// `kill`
pub static KILL: &[Flag] = &[Flag::text("signal", "Signal to send to the container").short('s')];

/// `rm`
pub static RM: &[Flag] = &[
    Flag::switch("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
    Flag::switch("link", "Remove the specified link").short('l'),
    Flag::switch("volumes", "Remove anonymous volumes associated with the container").short('v'),
];

/// `ps`
pub static PS: &[Flag] = &[
    Flag::switch("all", "Show all containers (default shows just running)").short('a'),
    Flag::new("filter", Kind::Filter, "Filter output based on conditions provided").short('f'),
    Flag::text("format", FORMAT_LIST),
    Flag::new("last", Kind::Int, "Show n last created containers (includes all states)")
        .short('n')
        .default("-1"),
    Flag::switch("latest", "Show the latest created container (includes all states)").short('l'),
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::switch("quiet", "Only display container IDs").short('q'),
    Flag::switch("size", "Display total file sizes").short('s'),
];

/// `logs`
pub static LOGS: &[Flag] = &[
    Flag::switch("details", "Show extra details provided to logs"),
    Flag::switch("follow", "Follow log output").short('f'),
    Flag::text(
        "since",
        "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
    Flag::text("tail", "Number of lines to show from the end of the logs").short('n').default("all"),
    Flag::switch("timestamps", "Show timestamps").short('t'),
    Flag::text(
        "until",
        "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ).since(35),
];

/// `exec`
pub static EXEC: &[Flag] = &[
    Flag::switch("detach", "Detached mode: run command in the background").short('d'),
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::list("env", "Set environment variables").short('e').check(checks::env).since(25),
    Flag::list("env-file", "Read in a file of environment variables").since(25),
    Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::switch("privileged", "Give extended privileges to the command"),
    Flag::switch("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::text("user", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
    Flag::text("workdir", "Working directory inside the container").short('w').since(35),
];

/// `attach`
pub static ATTACH: &[Flag] = &[
    Flag::text("detach-keys", "Override the key sequence for detaching a container"),
    Flag::switch("no-stdin", "Do not attach STDIN"),
    Flag::switch("sig-proxy", "Proxy all received signals to the process").default("true"),
];

/// `container inspect`
pub static INSPECT: &[Flag] = &[
    Flag::text("format", FORMAT_INSPECT).short('f'),
    Flag::switch("size", "Display total file sizes").short('s'),
];
