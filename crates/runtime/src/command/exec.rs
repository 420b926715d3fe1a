//! `exec`.

use super::create::{exit_code, preserve_fds, wait, write_pid_file};
use super::lifecycle::cgroup;
use super::relay::{self, Relay};
use super::{Call, Failure};
use crate::error::Error;
use crate::state::{FILE_MAX, Status};
use crate::{ExecOptions, Executed, Stdio};
use oci::runtime::{Capabilities, Process, Spec};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

/// As runc: a failure of the runtime, not of the process.
const EXIT_NOT_EXECUTED: u8 = 255;

pub(super) fn exec(call: &Call) -> Result<u8, Failure> {
    run(call).map_err(|failure| Failure {
        text: format!("exec failed: {}", failure.text),
        code: EXIT_NOT_EXECUTED,
        log: failure.log,
    })
}

fn run(call: &Call) -> Result<u8, Failure> {
    let container = call.root.load(call.id())?;
    match container.status() {
        Status::Stopped => return Err(Failure::new("cannot exec in a stopped container")),
        Status::Creating => return Err(Failure::new("cannot exec in a container that is being created")),
        Status::Created | Status::Running | Status::Paused => {}
    }
    let spec = container.spec()?;
    let process = process(call, &spec)?;
    let detach = call.flags.is_on("detach");
    let socket = call.flags.text("console-socket");
    relay::check_console(process.terminal, detach, socket.is_some())?;
    let cgroup = cgroup(&container)?;
    if !call.flags.is_on("ignore-paused") && cgroup.as_ref().is_some_and(|c| c.is_frozen().unwrap_or(false)) {
        return Err(Failure::new("cannot exec in a paused container (use --ignore-paused to override)"));
    }
    let pidfd = container.pidfd()?;
    let relay = if detach { None } else { Some(Relay::prepare()?) };
    let executing = crate::exec(ExecOptions {
        process: &process,
        spec: &spec,
        target_pid: container.state.pid,
        target_pidfd: pidfd.as_fd(),
        cgroup: cgroup.as_ref(),
        stdio: if process.terminal { Stdio::Terminal { size: relay::own_size() } } else { Stdio::Inherit },
        no_new_keyring: false,
        preserve_fds: preserve_fds(call)?,
        die_with_parent: false,
    })?;
    let mut executed = finish(executing)?;
    executed.warnings.iter().for_each(|warning| call.log.warning(warning));
    let console = executed.console.take();
    let published = (|| {
        if let Some(path) = call.flags.text("pid-file") {
            write_pid_file(Path::new(path), executed.pid)?;
        }
        match (socket, console) {
            (Some(socket), Some(console)) => {
                relay::send_console(Path::new(socket), console.as_fd())?;
                Ok(None)
            }
            (_, console) => Ok(console),
        }
    })();
    let console = published.inspect_err(|_: &Failure| crate::create::kill(&executed.pidfd))?;
    match relay {
        Some(relay) => Ok(exit_code(relay.run(executed.pidfd.as_fd(), console)?)),
        None => Ok(0),
    }
}

fn finish(mut executing: crate::Executing) -> Result<Executed, Failure> {
    loop {
        let advanced = executing.advance();
        let text = |e: Error| Failure::new(format!("unable to start container process: {}", e.chain()));
        if let Some(executed) = advanced.map_err(text)? {
            return Ok(executed);
        }
        wait(executing.as_fd())?;
    }
}

/// The process of `--process`, or the container's own one changed by the flags.
fn process(call: &Call, spec: &Spec) -> Result<Process, Failure> {
    let flags = &call.flags;
    if let Some(path) = flags.text("process") {
        return read_process(Path::new(path));
    }
    let mut process = spec.process.clone().unwrap_or_default();
    process.args = flags.arguments.get(1..).unwrap_or_default().to_vec();
    if let Some(cwd) = flags.text("cwd") {
        process.cwd = cwd.into();
    }
    if let Some(profile) = flags.text("apparmor") {
        process.apparmor_profile = profile.into();
    }
    if let Some(label) = flags.text("process-label") {
        process.selinux_label = label.into();
    }
    let added: Vec<String> = flags.list("cap").flat_map(|list| list.split(',')).map(String::from).collect();
    if !added.is_empty() {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        // Not into inheritable or ambient: as runc, so that a file without capabilities does not get them.
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(added.iter().cloned());
        }
    }
    process.env.extend(flags.list("env").map(String::from));
    // The last value counts, and there is only one.
    process.env = deduplicated(&process.env);
    process.terminal = flags.is_on("tty");
    if flags.text("no-new-privs").is_some() {
        process.no_new_privileges = flags.is_on("no-new-privs");
    }
    if let Some(user) = flags.text("user") {
        let (uid, gid) = user.split_once(':').map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        process.user.uid = number(uid, "uid")?;
        if let Some(gid) = gid {
            process.user.gid = number(gid, "gid")?;
        }
    }
    for gid in flags.list("additional-gids").flat_map(|list| list.split(',')) {
        process.user.additional_gids.push(number(gid, "gid")?);
    }
    Ok(process)
}

fn read_process(path: &Path) -> Result<Process, Failure> {
    let file = File::open(path).map_err(|e| Error::kernel(format!("open {}", path.display()), e))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::kernel(format!("read {}", path.display()), e))?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

fn number(text: &str, what: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| {
        Failure::new(format!(
            "parsing {text} as int for {what} failed: strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })
}

fn deduplicated(env: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_string();
    let is_last =
        |(at, entry): &(usize, &String)| !env[at + 1..].iter().any(|later| name(later) == name(entry));
    env.iter().enumerate().filter(is_last).map(|(_, entry)| entry.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_environment() {
        assert_eq!(number("7", "uid").ok(), Some(7));
        let text = "parsing nobody as int for uid failed: strconv.Atoi: parsing \"nobody\": invalid syntax";
        assert_eq!(number("nobody", "uid").err().map(|f| f.text).as_deref(), Some(text));
        let env = ["A=1", "B=2", "A=3"].map(String::from);
        assert_eq!(deduplicated(&env), ["B=2", "A=3"]);
    }
}
