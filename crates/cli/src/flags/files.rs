//! The commands that move a container's files, make images of them, and tell what all of them occupy.

use super::{Action, Cmd, FORMAT_LIST, command};
use crate::grammar::{Arity, Command, Flag};

/// `cp`
pub const CP: Cmd = Command {
    paths: &["container cp", "cp"],
    flags: &[&[
        Flag::switch("archive", "Archive mode (copy all uid/gid information)").short('a'),
        Flag::switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
        Flag::switch(
            "quiet",
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
        )
        .short('q'),
    ]],
    arity: Arity::Exactly(2),
    ..command(
        "cp",
        Action::Cp,
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files/folders between a container and the local filesystem\n\n\
         Use '-' as the source to read a tar archive from stdin\n\
         and extract it to a directory destination in a container.\n\
         Use '-' as the destination to stream a tar archive of a\n\
         container source to stdout.",
    )
};

/// `export`
pub const EXPORT: Cmd = Command {
    paths: &["container export", "export"],
    flags: &[&[Flag::text("output", "Write to a file, instead of STDOUT").short('o')]],
    arity: Arity::Exactly(1),
    ..command(
        "export",
        Action::Export,
        "[OPTIONS] CONTAINER",
        "Export a container's filesystem as a tar archive",
    )
};

/// `commit`
pub const COMMIT: Cmd = Command {
    paths: &["container commit", "commit"],
    flags: &[&[
        Flag::text("author", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")").short('a'),
        Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
        Flag::text("message", "Commit message").short('m'),
        Flag::switch("pause", "Pause container during commit").short('p').default("true"),
    ]],
    arity: Arity::Between(1, 2),
    ..command(
        "commit",
        Action::Commit,
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Create a new image from a container's changes",
    )
};

/// `system df`
pub const DF: Cmd = Command {
    flags: &[&[
        Flag::text("format", FORMAT_LIST),
        Flag::switch("verbose", "Show detailed information on space usage").short('v'),
    ]],
    arity: Arity::None,
    ..command("df", Action::Df, "[OPTIONS]", "Show docker disk usage")
};
