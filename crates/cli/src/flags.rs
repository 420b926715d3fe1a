//! The table of commands: Docker's, with what is ready and what comes later, and our own.
//!
//! It is data for [`crate::grammar`]; what an [`Action`] does is in [`crate::commands`].

pub mod checks;
pub mod container;
pub mod files;
pub mod image;
pub mod image_commands;
pub mod life;
pub mod network;
pub mod task;
pub mod volume;

use crate::grammar::{Arity, Command, Flag, Kind, State};

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named after its command")]
pub enum Action {
    Run,
    Create,
    Start,
    Stop,
    Kill,
    Restart,
    Rename,
    Top,
    Port,
    Rm,
    Ps,
    Inspect,
    ContainerInspect,
    ImageInspect,
    Logs,
    Exec,
    Attach,
    Wait,
    Pull,
    Images,
    Rmi,
    Load,
    Import,
    Tag,
    History,
    Save,
    Push,
    ImagePrune,
    Login,
    Logout,
    Search,
    Info,
    Version,
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkInspect,
    NetworkList,
    NetworkPrune,
    NetworkRemove,
    VolumeCreate,
    VolumeInspect,
    VolumeList,
    VolumePrune,
    VolumeRemove,
    VolumeUpdate,
    Completion,
    Events,
    Pause,
    Unpause,
    Update,
    Stats,
    ContainerPrune,
    Diff,
    Commit,
    Cp,
    Df,
    Export,
}

/// Text of `--format` for commands that print one object.
pub const FORMAT_INSPECT: &str = "Format output using a custom template:\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// Text of `--format` for commands that print a list.
pub const FORMAT_LIST: &str = "Format output using a custom template:\n\
    'table':            Print output in table format with column headers (default)\n\
    'table TEMPLATE':   Print output in table format using the given Go template\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// Tare's own flag on every command that starts something.
static EXPLAIN: &[Flag] = &[Flag::new(
    "explain",
    Kind::Optional("tree"),
    "Tell on standard error what Linux does for this command, as it happens (tree|json)",
)
.check(checks::explain)
.own()];

static GLOBAL: &[Flag] = &[
    Flag::text("config", "Location of client config files").default("~/.docker"),
    Flag::text(
        "context",
        "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")",
    )
    .short('c'),
    Flag::switch("debug", "Enable debug mode").short('D'),
    Flag::list("host", "Daemon socket to connect to").short('H'),
    Flag::text("log-level", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")")
        .short('l')
        .default("info"),
    Flag::switch("tls", "Use TLS; implied by --tlsverify").later(),
    Flag::text("tlscacert", "Trust certs signed only by this CA").default("~/.docker/ca.pem").later(),
    Flag::text("tlscert", "Path to TLS certificate file").default("~/.docker/cert.pem").later(),
    Flag::text("tlskey", "Path to TLS key file").default("~/.docker/key.pem").later(),
    Flag::switch("tlsverify", "Use TLS and verify the remote").later(),
    Flag::switch("version", "Print version information and quit").short('v'),
];

type Cmd = Command<Action>;

const BLANK: Cmd = Command {
    name: "",
    aliases: &[],
    synopsis: "",
    about: "",
    paths: &[],
    examples: "",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    common: None,
    state: State::Ready,
    action: None,
    commands: &[],
};

const fn command(name: &'static str, action: Action, synopsis: &'static str, about: &'static str) -> Cmd {
    Command { name, synopsis, about, action: Some(action), ..BLANK }
}

const fn later(name: &'static str, about: &'static str) -> Cmd {
    Command { name, about, state: State::Later, ..BLANK }
}

const RUN: Cmd = Command {
    paths: &["container run", "run"],
    flags: &[container::CONTAINER, container::RUN, EXPLAIN],
    interspersed: false,
    common: Some(1),
    examples: "  tare run --rm hello\n  tare run -d --name web -p 8080:80 --memory 256m nginx\n  tare run --rm --explain hello",
    ..command(
        "run",
        Action::Run,
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create and run a new container from an image",
    )
};
const CREATE: Cmd = Command {
    paths: &["container create", "create"],
    flags: &[container::CONTAINER, container::CREATE, EXPLAIN],
    interspersed: false,
    ..command("create", Action::Create, "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container")
};
const START: Cmd = Command {
    paths: &["container start", "start"],
    flags: &[task::START, EXPLAIN],
    ..command(
        "start",
        Action::Start,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Start one or more stopped containers",
    )
};
const STOP: Cmd = Command {
    paths: &["container stop", "stop"],
    flags: &[task::STOP],
    ..command(
        "stop",
        Action::Stop,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Stop one or more running containers",
    )
};
const KILL: Cmd = Command {
    paths: &["container kill", "kill"],
    flags: &[task::KILL],
    ..command(
        "kill",
        Action::Kill,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Kill one or more running containers",
    )
};
const RESTART: Cmd = Command {
    paths: &["container restart", "restart"],
    flags: &[task::STOP],
    ..command(
        "restart",
        Action::Restart,
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Restart one or more containers",
    )
};
const RENAME: Cmd = Command {
    paths: &["container rename", "rename"],
    arity: Arity::Exactly(2),
    ..command("rename", Action::Rename, "CONTAINER NEW_NAME", "Rename a container")
};
const TOP: Cmd = Command {
    paths: &["container top", "top"],
    interspersed: false,
    ..command("top", Action::Top, "CONTAINER [ps OPTIONS]", "Display the running processes of a container")
};
const PORT: Cmd = Command {
    paths: &["container port", "port"],
    arity: Arity::Between(1, 2),
    ..command(
        "port",
        Action::Port,
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container",
    )
};
const RM: Cmd = Command {
    aliases: &["remove"],
    paths: &["container rm", "container remove", "rm"],
    flags: &[task::RM],
    ..command("rm", Action::Rm, "[OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers")
};
const PS: Cmd = Command {
    paths: &["container ls", "container list", "container ps", "ps"],
    flags: &[task::PS],
    arity: Arity::None,
    common: Some(3),
    ..command("ps", Action::Ps, "[OPTIONS]", "List containers")
};
const LOGS: Cmd = Command {
    paths: &["container logs", "logs"],
    flags: &[task::LOGS],
    arity: Arity::Exactly(1),
    ..command("logs", Action::Logs, "[OPTIONS] CONTAINER", "Fetch the logs of a container")
};
const EXEC: Cmd = Command {
    paths: &["container exec", "exec"],
    flags: &[task::EXEC, EXPLAIN],
    arity: Arity::AtLeast(2),
    interspersed: false,
    common: Some(2),
    ..command(
        "exec",
        Action::Exec,
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Execute a command in a running container",
    )
};
const ATTACH: Cmd = Command {
    paths: &["container attach", "attach"],
    flags: &[task::ATTACH],
    arity: Arity::Exactly(1),
    ..command(
        "attach",
        Action::Attach,
        "[OPTIONS] CONTAINER",
        "Attach local standard input, output, and error streams to a running container",
    )
};
const WAIT: Cmd = Command {
    paths: &["container wait", "wait"],
    ..command(
        "wait",
        Action::Wait,
        "CONTAINER [CONTAINER...]",
        "Block until one or more containers stop, then print their exit codes",
    )
};
const PULL: Cmd = Command {
    paths: &["image pull", "pull"],
    flags: &[image::PULL],
    arity: Arity::Exactly(1),
    common: Some(5),
    ..command("pull", Action::Pull, "[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry")
};
const IMAGES: Cmd = Command {
    paths: &["image ls", "image list", "images"],
    flags: &[image::IMAGES],
    arity: Arity::AtMost(1),
    common: Some(7),
    ..command("images", Action::Images, "[OPTIONS] [REPOSITORY[:TAG]]", "List images")
};
const RMI: Cmd = Command {
    paths: &["image rm", "image remove", "rmi"],
    flags: &[image::RMI],
    ..command("rmi", Action::Rmi, "[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images")
};
const LOAD: Cmd = Command {
    paths: &["image load", "load"],
    flags: &[image::LOAD],
    arity: Arity::None,
    ..command("load", Action::Load, "[OPTIONS]", "Load an image from a tar archive or STDIN")
};
const IMPORT: Cmd = Command {
    paths: &["image import", "import"],
    flags: &[image::IMPORT],
    ..command(
        "import",
        Action::Import,
        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Import the contents from a tarball to create a filesystem image",
    )
};
const INSPECT: Cmd = Command {
    flags: &[&[
        Flag::text("format", FORMAT_INSPECT).short('f'),
        Flag::switch("size", "Display total file sizes if the type is container").short('s'),
        Flag::text("type", "Only inspect objects of the given type"),
    ]],
    ..command(
        "inspect",
        Action::Inspect,
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Return low-level information on Docker objects",
    )
};
const INFO: Cmd = Command {
    paths: &["system info", "info"],
    flags: &[&[Flag::text("format", FORMAT_INSPECT).short('f')]],
    arity: Arity::None,
    common: Some(12),
    ..command("info", Action::Info, "[OPTIONS]", "Display system-wide information")
};
const VERSION: Cmd = Command {
    flags: &[&[Flag::text("format", FORMAT_INSPECT).short('f')]],
    arity: Arity::None,
    common: Some(11),
    ..command("version", Action::Version, "[OPTIONS]", "Show the Docker version information")
};
const COMPLETION: Cmd = Command {
    arity: Arity::Exactly(1),
    examples: "  tare completion bash > /etc/bash_completion.d/tare",
    ..command("completion", Action::Completion, "bash|zsh|fish", "Print a shell's completion script")
};

const CONTAINER: Cmd = Command {
    name: "container",
    about: "Manage containers",
    commands: &[
        ATTACH,
        files::COMMIT,
        files::CP,
        CREATE,
        life::DIFF,
        EXEC,
        files::EXPORT,
        Command {
            flags: &[task::INSPECT],
            ..command(
                "inspect",
                Action::ContainerInspect,
                "[OPTIONS] CONTAINER [CONTAINER...]",
                "Display detailed information on one or more containers",
            )
        },
        KILL,
        LOGS,
        Command { name: "ls", aliases: &["ps", "list"], ..PS },
        life::PAUSE,
        PORT,
        life::PRUNE,
        RENAME,
        RESTART,
        RM,
        RUN,
        START,
        life::STATS,
        STOP,
        TOP,
        life::UNPAUSE,
        life::UPDATE,
        WAIT,
    ],
    ..BLANK
};

const IMAGE: Cmd = Command {
    name: "image",
    about: "Manage images",
    commands: &[
        later("build", "Build an image from a Dockerfile"),
        image_commands::HISTORY,
        IMPORT,
        Command {
            flags: &[image::INSPECT],
            ..command(
                "inspect",
                Action::ImageInspect,
                "[OPTIONS] IMAGE [IMAGE...]",
                "Display detailed information on one or more images",
            )
        },
        LOAD,
        Command { name: "ls", aliases: &["list"], ..IMAGES },
        image_commands::PRUNE,
        PULL,
        image_commands::PUSH,
        Command { name: "rm", aliases: &["rmi", "remove"], ..RMI },
        image_commands::SAVE,
        image_commands::TAG,
    ],
    ..BLANK
};

const SYSTEM: Cmd = Command {
    name: "system",
    about: "Manage Docker",
    commands: &[
        files::DF,
        later(
            "dial-stdio",
            "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
        ),
        life::EVENTS,
        INFO,
        later("prune", "Remove unused data"),
    ],
    ..BLANK
};

/// The whole program.
pub static ROOT: Cmd = Command {
    synopsis: "[OPTIONS] COMMAND [ARG...]",
    about: "A self-sufficient runtime for containers",
    flags: &[GLOBAL],
    interspersed: false,
    commands: &[
        ATTACH,
        later("build", "Build an image from a Dockerfile"),
        later("builder", "Manage builds"),
        later("buildx", "Docker Buildx"),
        later("checkpoint", "Manage checkpoints"),
        files::COMMIT,
        COMPLETION,
        later("compose", "Define and run multi-container applications"),
        later("config", "Manage Swarm configs"),
        CONTAINER,
        later("context", "Manage contexts"),
        files::CP,
        CREATE,
        life::DIFF,
        life::EVENTS,
        EXEC,
        files::EXPORT,
        image_commands::HISTORY,
        IMAGE,
        IMAGES,
        IMPORT,
        INFO,
        INSPECT,
        KILL,
        LOAD,
        image_commands::LOGIN,
        image_commands::LOGOUT,
        LOGS,
        later("manifest", "Manage Docker image manifests and manifest lists"),
        network::NETWORK,
        later("node", "Manage Swarm nodes"),
        life::PAUSE,
        later("plugin", "Manage plugins"),
        PORT,
        PS,
        PULL,
        image_commands::PUSH,
        RENAME,
        RESTART,
        RM,
        RMI,
        RUN,
        image_commands::SAVE,
        image_commands::SEARCH,
        later("secret", "Manage Swarm secrets"),
        later("service", "Manage Swarm services"),
        later("stack", "Manage Swarm stacks"),
        START,
        life::STATS,
        STOP,
        later("swarm", "Manage Swarm"),
        SYSTEM,
        image_commands::TAG,
        TOP,
        later("trust", "Manage trust on Docker images"),
        life::UNPAUSE,
        life::UPDATE,
        VERSION,
        volume::VOLUME,
        WAIT,
    ],
    ..BLANK
};
