//! The commands that are no clients of an API: the daemon, the shim's helper, the uninstaller.

use crate::options::Setup;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};

const BOOT_HELP: &str = "Usage:  tare system boot

Start the containers that their restart policies start with the machine, oldest first, and print their names:
those with `always`, those with `unless-stopped` that nobody has stopped, and those with `on-failure` that have
failed. What the last boot has left is cleared before. `tare daemon` does the same when it starts; without a
daemon, enable dist/tare-boot.service (systemd) or dist/tare-boot (OpenRC).
";

const CHECK_HELP: &str = "Usage:  tare system check [--repair]

Look whether what the networks of running containers are made of is there: bridges, the firewall's table, published
ports, accepting rules in a firewall that drops. --repair brings back what is missing; a daemon does so by itself,
and without one the next command does.
";

/// The priority of work that nobody waits for.
const NICE: i32 = 10;

/// Table of them, for the command line's help and dispatch.
pub(crate) fn commands() -> Vec<cli::LocalCommand> {
    vec![
        cli::LocalCommand {
            path: &["daemon"],
            about: "Serve the Docker Engine API on a unix socket",
            hidden: false,
            run: daemon,
        },
        cli::LocalCommand {
            path: &["internal", "task-exited"],
            about: "Clean up after a container's end (called by its shim)",
            hidden: true,
            run: task_exited,
        },
        cli::LocalCommand {
            path: &["internal", "compress-log"],
            about: "Compress a rotated log from stdin to stdout (called by a container's shim)",
            hidden: true,
            run: compress_log,
        },
        cli::LocalCommand {
            path: &["system", "boot"],
            about: "Start the containers that their restart policies start with the machine",
            hidden: false,
            run: boot,
        },
        cli::LocalCommand {
            path: &["system", "check"],
            about: "Look whether the networks of running containers are as they should be",
            hidden: false,
            run: check,
        },
        cli::LocalCommand {
            path: &["system", "uninstall"],
            about: "Remove everything that Tare has put on this system",
            hidden: false,
            run: uninstall,
        },
    ]
}

/// The engine in this process, behind a pipe to the router.
pub(crate) fn in_process() -> Result<api::Transport, String> {
    need_root()?;
    let engine = engine::Engine::open(Setup::of_daemon(&[])?.engine(false)?).map_err(|e| e.to_string())?;
    mend(&engine);
    Ok(daemon::in_process(engine))
}

/// Without a daemon, the next command mends what somebody has taken away. It goes on when that fails: the command may
/// be what helps, and `system check` tells.
fn mend(engine: &engine::Engine) {
    if engine.has_run() {
        let _ = engine.mend_networks();
    }
}

/// `tare system check`: 1 when something is missing and stays so.
fn check(args: &[OsString]) -> i32 {
    report(|| {
        let (repair, others): (Vec<&OsString>, Vec<&OsString>) =
            args.iter().partition(|word| *word == "--repair");
        let flags = Setup::of_helper(&others.into_iter().cloned().collect::<Vec<_>>())?;
        if flags.flags.help {
            return say(CHECK_HELP);
        }
        if let Some(word) = flags.flags.rest.first() {
            return Err(format!("unknown argument: {word}"));
        }
        need_root()?;
        let engine = engine::Engine::open(flags.engine(false)?).map_err(|e| e.to_string())?;
        let missing = if repair.is_empty() { engine.missing_of_networks() } else { engine.mend_networks() };
        let missing = missing.map_err(|e| e.to_string())?;
        match (missing.is_empty(), repair.is_empty()) {
            (true, _) => say("The networks of running containers are as they should be.\n"),
            (false, false) => say(&format!("Mended; this was missing:\n{}", lines(&missing))),
            (false, true) => {
                say(&format!("Missing:\n{}", lines(&missing)))?;
                Err("networks are not as they should be: tare system check --repair mends them".to_string())
            }
        }
    })
}

fn daemon(args: &[OsString]) -> i32 {
    report(|| {
        let setup = Setup::of_daemon(args).map_err(|text| format!("{text}\nSee 'tare daemon --help'."))?;
        if setup.flags.help {
            return say(&daemon::flags::help());
        }
        if setup.flags.version {
            let build = crate::options::build();
            return say(&format!("Tare version {}, build {}\n", build.version, build.commit));
        }
        if let Some(word) = setup.flags.rest.first() {
            return Err(format!("tare daemon takes no arguments, but was given {word:?}"));
        }
        if setup.flags.validate {
            let settings = engine::settings::load(&setup.flags.source).map_err(|e| e.to_string())?;
            let hosts: Vec<&str> = settings.list("hosts").collect();
            daemon::doors(&hosts, std::path::Path::new("/run/tare")).map_err(|e| e.to_string())?;
            // On stderr, as dockerd's.
            return writeln!(std::io::stderr(), "configuration OK").map_err(|e| e.to_string());
        }
        need_root()?;
        let engine = engine::Engine::open(setup.engine(true)?).map_err(|e| e.to_string())?;
        engine.watch_networks().map_err(|e| e.to_string())?;
        mend(&engine);
        daemon::main(engine, &setup.flags.source)
    })
}

fn task_exited(args: &[OsString]) -> i32 {
    let mut again = None;
    let code = report(|| {
        let flags = Setup::of_helper(args)?;
        let [id] = flags.flags.rest.as_slice() else {
            return Err("usage: tare internal task-exited ID".to_string());
        };
        // Before: where this program lies is told by the namespace in which it was executed, and that goes with the shim.
        let options = flags.engine(false)?;
        enter_host_mounts()?;
        let engine = engine::Engine::open(options).map_err(|e| e.to_string())?;
        again = engine.task_exited(id).map_err(|e| e.to_string())?;
        Ok(())
    });
    // The shim that has called this keeps the time until the container runs again.
    again.map_or(code, |after| shim::exit::code_of(after.as_millis() as u64 + 1).into())
}

/// Out of the shim's mount namespace, which is a slave of the host's: what is mounted or unmounted there (a volume with
/// options) would stay as it is on the host. Called by others than a shim, this is where it already is.
fn enter_host_mounts() -> Result<(), String> {
    use std::os::fd::AsFd as _;
    const NEWNS: u64 = 0x0002_0000;
    let Ok(mounts) = sys::process::inherited_fd(shim::HOST_MOUNTS_FD) else { return Ok(()) };
    match sys::namespace::setns(mounts.as_fd(), NEWNS) {
        // Not a namespace of this kind: the caller left something else open.
        Err(e) if e.errno() != rustix::io::Errno::INVAL.raw_os_error() => Err(e.to_string()),
        _ => Ok(()),
    }
}

fn boot(args: &[OsString]) -> i32 {
    report(|| {
        let flags = Setup::of_helper(args)?;
        if flags.flags.help {
            return say(BOOT_HELP);
        }
        if let Some(word) = flags.flags.rest.first() {
            return Err(format!("unknown argument: {word}"));
        }
        need_root()?;
        let engine = engine::Engine::open(flags.engine(false)?).map_err(|e| e.to_string())?;
        let (started, failures) = engine.boot().map_err(|e| e.to_string())?;
        started.iter().try_for_each(|name| say(&format!("{name}\n")))?;
        match failures.as_slice() {
            [] => Ok(()),
            failures => Err(failures.iter().map(|e| e.message.as_str()).collect::<Vec<_>>().join("\ntare: ")),
        }
    })
}

/// A filter: the shim gives it both files.
fn compress_log(_: &[OsString]) -> i32 {
    use std::os::fd::AsFd;
    report(|| {
        // The container and its log come first.
        let _ = rustix::process::setpriority_process(None, NICE);
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map_err(|e| e.to_string());
        let (source, target) = (copy(std::io::stdin().as_fd())?, copy(std::io::stdout().as_fd())?);
        engine::tasks::compress_log(source.into(), target.into()).map_err(|e| e.to_string())
    })
}

fn uninstall(args: &[OsString]) -> i32 {
    report(|| {
        let own = |word: &&OsString| matches!(word.to_str(), Some("--dry-run" | "-f" | "--force"));
        let (own, others): (Vec<&OsString>, Vec<&OsString>) = args.iter().partition(own);
        let flags = Setup::of_helper(&others.into_iter().cloned().collect::<Vec<_>>())?;
        let (dry, force) = (own.iter().any(|w| *w == "--dry-run"), own.iter().any(|w| *w != "--dry-run"));
        if flags.flags.help {
            return say(
                "Usage:  tare system uninstall [--dry-run] [--force]\n\nRemove everything that Tare has put on this system: containers, images, network, folders.\nThe two programs themselves stay.\n",
            );
        }
        if let Some(word) = flags.flags.rest.first() {
            return Err(format!("unknown argument: {word}"));
        }
        need_root()?;
        let engine = engine::Engine::open(flags.engine(false)?).map_err(|e| e.to_string())?;
        if !dry && !force {
            let list = engine.uninstall(true).map_err(|e| e.to_string())?;
            say(&format!("This removes:\n{}", lines(&list)))?;
            if !std::io::stdin().is_terminal() {
                return Err("not on a terminal: say --force to go ahead".to_string());
            }
            say("Go ahead? [y/N] ")?;
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer).map_err(|e| e.to_string())?;
            if !matches!(answer.trim(), "y" | "Y" | "yes") {
                return Err("nothing was removed".to_string());
            }
        }
        let list = engine.uninstall(dry).map_err(|e| e.to_string())?;
        say(&format!("{}:\n{}", if dry { "Would remove" } else { "Removed" }, lines(&list)))
    })
}

fn lines(list: &[String]) -> String {
    list.iter().map(|item| format!("  {item}\n")).collect()
}

fn need_root() -> Result<(), String> {
    if rustix_is_root() {
        return Ok(());
    }
    Err("this needs root (rootless mode is not there yet): run it with sudo, or start `tare daemon` as root and use its socket".to_string())
}

fn rustix_is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| {
        s.lines()
            .any(|l| l.strip_prefix("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0")))
    })
}

fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| e.to_string())
}

fn report(work: impl FnOnce() -> Result<(), String>) -> i32 {
    match work() {
        Ok(()) => 0,
        Err(text) => {
            // The last word of the program: nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "tare: {text}");
            1
        }
    }
}
