//! The commands and their flags, as data (surface/runc-cli.tsv).

use super::flags::{Command, Flag, Takes};

const fn text(name: &'static str, usage: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::Text, usage }
}

const fn switch(name: &'static str, usage: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::Switch, usage }
}

const fn short(short: &'static str, flag: Flag) -> Flag {
    Flag { short: Some(short), ..flag }
}

const fn list(name: &'static str, usage: &'static str) -> Flag {
    Flag { name, short: None, takes: Takes::List, usage }
}

const BUNDLE: Flag = short("b", text("bundle", "folder of the bundle (default: the current one)"));
const CONSOLE_SOCKET: Flag =
    text("console-socket", "unix socket that receives the master of the container's terminal");
const PID_FILE: Flag = text("pid-file", "file to write the process's pid to");
const NO_PIVOT: Flag =
    switch("no-pivot", "enter the root by a moved mount and chroot, for a root on a ramdisk");
const NO_NEW_KEYRING: Flag = switch("no-new-keyring", "keep the caller's session keyring");
const PRESERVE_FDS: Flag = Flag {
    name: "preserve-fds",
    short: None,
    takes: Takes::Number,
    usage: "number of descriptors beyond stdio and $LISTEN_FDS that the process keeps",
};

pub(super) const GLOBAL: &[Flag] = &[
    switch("debug", "log what is done"),
    text("log", "file for the log (default: standard error)"),
    text("log-format", "text or json (default: text)"),
    text("root", "folder of the containers' state"),
    switch("systemd-cgroup", "not supported"),
    text("rootless", "true, false or auto (default: auto)"),
    short("v", switch("version", "print the version")),
];

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "create",
        arguments: "<container-id>",
        usage: "create a container",
        flags: &[BUNDLE, CONSOLE_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS],
        count: (1, Some(1)),
        passes_on: false,
    },
    Command {
        name: "start",
        arguments: "<container-id>",
        usage: "execute the program of a created container",
        flags: &[],
        count: (1, Some(1)),
        passes_on: false,
    },
    Command {
        name: "run",
        arguments: "<container-id>",
        usage: "create and start a container",
        flags: &[
            BUNDLE,
            CONSOLE_SOCKET,
            short("d", switch("detach", "leave the container running")),
            switch("keep", "keep the container after its exit"),
            PID_FILE,
            switch("no-subreaper", "leave orphans of the container to init"),
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
        count: (1, Some(1)),
        passes_on: false,
    },
    Command {
        name: "exec",
        arguments: "<container-id> <command> [command options]  || -p process.json <container-id>",
        usage: "execute a process in a running container",
        flags: &[
            CONSOLE_SOCKET,
            text("cwd", "working folder in the container"),
            short("e", list("env", "environment variable, NAME=value")),
            short("t", switch("tty", "give the process a terminal")),
            short("u", text("user", "user, UID[:GID]")),
            short("g", list("additional-gids", "additional groups")),
            short("p", text("process", "file with the process as in config.json")),
            short("d", switch("detach", "leave the process running")),
            PID_FILE,
            text("process-label", "SELinux label"),
            text("apparmor", "AppArmor profile"),
            switch("no-new-privs", "forbid the process to gain privileges"),
            short("c", list("cap", "capability to add")),
            PRESERVE_FDS,
            switch("ignore-paused", "execute in a paused container too"),
        ],
        count: (1, None),
        passes_on: true,
    },
    Command {
        name: "state",
        arguments: "<container-id>",
        usage: "print the state of a container",
        flags: &[],
        count: (1, Some(1)),
        passes_on: false,
    },
    Command {
        name: "kill",
        arguments: "<container-id> [signal]",
        usage: "send a signal (default: SIGTERM) to the container's init",
        flags: &[short("a", switch("all", "send it to all processes of the container"))],
        count: (1, Some(2)),
        passes_on: false,
    },
    Command {
        name: "delete",
        arguments: "<container-id>",
        usage: "delete what a stopped container holds",
        flags: &[short("f", switch("force", "kill it first if it runs"))],
        count: (1, Some(1)),
        passes_on: false,
    },
    Command {
        name: "list",
        arguments: "",
        usage: "list the containers",
        flags: &[short("f", text("format", "table or json")), short("q", switch("quiet", "print ids only"))],
        count: (0, Some(0)),
        passes_on: false,
    },
];

/// What runc has and this runtime does not have yet: refused by name.
pub(super) const MISSING: [&str; 10] =
    ["checkpoint", "events", "features", "pause", "ps", "restore", "resume", "spec", "update", "init"];
