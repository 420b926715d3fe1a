//! The commands that name, move and look for images, and their flags.

use super::{Action, Cmd, FORMAT_LIST, command};
use crate::grammar::{Arity, Command, Flag, Kind};

const PLATFORM_SAVE: &str =
    "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")";
const PLATFORM_HISTORY: &str =
    "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")";

/// `tag`
pub const TAG: Cmd = Command {
    paths: &["image tag", "tag"],
    arity: Arity::Exactly(2),
    ..command(
        "tag",
        Action::Tag,
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    )
};

/// `history`
pub const HISTORY: Cmd = Command {
    paths: &["image history", "history"],
    flags: &[&[
        Flag::text("format", FORMAT_LIST),
        Flag::switch("human", "Print sizes and dates in human readable format").short('H').default("true"),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::text("platform", PLATFORM_HISTORY),
        Flag::switch("quiet", "Only show image IDs").short('q'),
    ]],
    arity: Arity::Exactly(1),
    ..command("history", Action::History, "[OPTIONS] IMAGE", "Show the history of an image")
};

/// `save`
pub const SAVE: Cmd = Command {
    paths: &["image save", "save"],
    flags: &[&[
        Flag::text("output", "Write to a file, instead of STDOUT").short('o'),
        Flag::text("platform", PLATFORM_SAVE),
    ]],
    ..command(
        "save",
        Action::Save,
        "[OPTIONS] IMAGE [IMAGE...]",
        "Save one or more images to a tar archive (streamed to STDOUT by default)",
    )
};

/// `push`
pub const PUSH: Cmd = Command {
    paths: &["image push", "push"],
    flags: &[&[
        Flag::switch("all-tags", "Push all tags of an image to the repository").short('a'),
        Flag::switch("disable-content-trust", "Skip image signing").default("true"),
        Flag::text(
            "platform",
            "Push a platform-specific manifest as a single-platform image to the registry.\n\
             Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n\
             'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
        Flag::switch("quiet", "Suppress verbose output").short('q'),
    ]],
    arity: Arity::Exactly(1),
    common: Some(6),
    ..command("push", Action::Push, "[OPTIONS] NAME[:TAG]", "Upload an image to a registry")
};

/// `image prune`
pub const PRUNE: Cmd = Command {
    flags: &[&[
        Flag::switch("all", "Remove all unused images, not just dangling ones").short('a'),
        Flag::new("filter", Kind::Filter, "Provide filter values (e.g. \"until=<timestamp>\")"),
        Flag::switch("force", "Do not prompt for confirmation").short('f'),
    ]],
    arity: Arity::None,
    ..command("prune", Action::ImagePrune, "[OPTIONS]", "Remove unused images")
};

/// `login`
pub const LOGIN: Cmd = Command {
    flags: &[&[
        Flag::text("password", "Password or Personal Access Token (PAT)").short('p'),
        Flag::switch("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag::text("username", "Username").short('u'),
    ]],
    arity: Arity::AtMost(1),
    common: Some(8),
    ..command(
        "login",
        Action::Login,
        "[OPTIONS] [SERVER]",
        "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    )
};

/// `logout`
pub const LOGOUT: Cmd = Command {
    arity: Arity::AtMost(1),
    common: Some(9),
    ..command(
        "logout",
        Action::Logout,
        "[SERVER]",
        "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    )
};

/// `search`
pub const SEARCH: Cmd = Command {
    flags: &[&[
        Flag::new("filter", Kind::Filter, "Filter output based on conditions provided").short('f'),
        Flag::text("format", "Pretty-print search using a Go template"),
        Flag::new("limit", Kind::Int, "Max number of search results"),
        Flag::switch("no-trunc", "Don't truncate output"),
    ]],
    arity: Arity::Exactly(1),
    common: Some(10),
    ..command("search", Action::Search, "[OPTIONS] TERM", "Search Docker Hub for images")
};
