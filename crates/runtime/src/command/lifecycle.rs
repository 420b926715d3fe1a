//! What is done to a container that is there: start, state, kill, delete, list.

use super::{Call, Failure, print};
use crate::error::{Error, Kind};
use crate::hooks::{self, HookPhase, HookState};
use crate::state::{Container, Status};
use cgroup::{Cgroup, Layout};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::Serialize;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// How long `delete --force` waits for init's end after SIGKILL.
const KILL_WAIT_SECONDS: u32 = 10;
/// How long it waits for the rest of the group.
const EMPTY_WAIT: Duration = Duration::from_secs(10);
pub(super) fn start(call: &Call) -> Result<u8, Failure> {
    let container = call.root.load(call.id())?;
    let _lock = container.lock()?;
    match container.status() {
        Status::Created => {}
        Status::Stopped => return Err(Failure::new("cannot start a container that has stopped")),
        Status::Creating => return Err(Failure::new("cannot start a container that is being created")),
        Status::Running | Status::Paused => {
            return Err(Failure::new("cannot start an already running container"));
        }
    }
    let pidfd = container.pidfd()?;
    if !container.open_gate()? {
        return Err(Failure::new("cannot start a container that has stopped"));
    }
    container.remove_fifo()?;
    let spec = container.spec()?;
    let state = hook_state(&container, &spec);
    if let Some(run) = hooks::spawn_hooks(HookPhase::Poststart, state)?
        && let Err(e) = run.wait()
    {
        // runtime.md, "Lifecycle": the container is stopped. ESRCH: it is already.
        let _ = sys::process::signal(pidfd.as_fd(), Signal::KILL.as_raw());
        return Err(e.into());
    }
    Ok(0)
}

/// What `state` and `list` print, in runc's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    oci_version: &'static str,
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
    owner: String,
}

fn shown(container: &Container, owner: String) -> Shown<'_> {
    let state = &container.state;
    let status = status(container);
    Shown {
        oci_version: oci::runtime::VERSION,
        id: &state.id,
        pid: if status == Status::Stopped { 0 } else { state.pid },
        status: status.as_str(),
        bundle: &state.bundle,
        rootfs: &state.rootfs,
        created: &state.created,
        annotations: &state.annotations,
        owner,
    }
}

/// The status with the freezer looked at.
fn status(container: &Container) -> Status {
    match container.status() {
        Status::Running
            if cgroup(container).ok().flatten().is_some_and(|c| c.is_frozen().unwrap_or(false)) =>
        {
            Status::Paused
        }
        status => status,
    }
}

pub(super) fn state(call: &Call) -> Result<u8, Failure> {
    let container = call.root.load(call.id())?;
    let text = serde_json::to_string_pretty(&shown(&container, String::new()))
        .map_err(|e| Failure::new(e.to_string()))?;
    print(&text);
    Ok(0)
}

pub(super) fn list(call: &Call) -> Result<u8, Failure> {
    let all = call.root.list()?;
    if call.flags.is_on("quiet") {
        all.iter().for_each(|container| print(&format!("{}\n", container.state.id)));
        return Ok(0);
    }
    let rows: Vec<Shown<'_>> = all.iter().map(|c| shown(c, owner(c.state.owner))).collect();
    match call.flags.text("format") {
        None | Some("table") => print(&table(&rows)),
        // As Go encodes no list at all.
        Some("json") if rows.is_empty() => print("null"),
        Some("json") => print(&serde_json::to_string(&rows).map_err(|e| Failure::new(e.to_string()))?),
        Some(_) => return Err(Failure::new("invalid format option")),
    }
    Ok(0)
}

/// Go's tabwriter with a least width of 12 and three spaces between columns.
fn table(rows: &[Shown<'_>]) -> String {
    let mut lines: Vec<[String; 6]> =
        vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
    for row in rows {
        let bundle = row.bundle.display().to_string();
        lines.push([
            row.id.into(),
            row.pid.to_string(),
            row.status.into(),
            bundle,
            row.created.into(),
            row.owner.clone(),
        ]);
    }
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}"));
        }
        text.push_str(&line[5]);
        text.push('\n');
    }
    text
}

fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_string())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

pub(super) fn kill(call: &Call) -> Result<u8, Failure> {
    let container = call.root.load(call.id())?;
    let name = call.flags.arguments.get(1).map_or("SIGTERM", String::as_str);
    let signal = sys::signal::parse(name).ok_or_else(|| Failure::new(format!("unknown signal {name:?}")))?;
    if call.flags.is_on("all") {
        let Some(cgroup) = cgroup(&container)? else { return Ok(0) };
        if signal == Signal::KILL.as_raw() {
            cgroup.kill().map_err(failed)?;
            return Ok(0);
        }
        for pid in cgroup.pids().map_err(failed)? {
            // Gone between the list and the signal.
            let Ok(pidfd) = sys::process::pidfd(pid) else { continue };
            let _ = sys::process::signal(pidfd.as_fd(), signal);
        }
        return Ok(0);
    }
    let pidfd = container.pidfd()?;
    match sys::process::signal(pidfd.as_fd(), signal) {
        Ok(()) => Ok(0),
        Err(e) if e.errno() == Errno::SRCH.raw_os_error() => Err(Failure::new("container not running")),
        Err(e) => Err(Error::from(e).into()),
    }
}

pub(super) fn delete(call: &Call) -> Result<u8, Failure> {
    let force = call.flags.is_on("force");
    let container = match call.root.load(call.id()) {
        Ok(container) => container,
        Err(e) if e.kind() == Kind::NoContainer && force => {
            call.root.remove_remains(call.id())?;
            return Ok(0);
        }
        Err(e) => return Err(e.into()),
    };
    let _lock = container.lock()?;
    let status = status(&container);
    match status {
        Status::Stopped => {}
        // It has not executed anything yet.
        Status::Created | Status::Creating => end(&container)?,
        Status::Running | Status::Paused if force => end(&container)?,
        Status::Running | Status::Paused => {
            let text = format!(
                "cannot delete container {} that is not stopped: {}",
                container.state.id,
                status.as_str()
            );
            return Err(Failure::new(text));
        }
    }
    for warning in destroy(&container)? {
        call.log.warning(&warning);
    }
    Ok(0)
}

/// Kills init and waits for its end. Waiting on the pidfd needs no parenthood.
fn end(container: &Container) -> Result<(), Failure> {
    let Ok(pidfd) = container.pidfd() else { return Ok(()) };
    if let Some(cgroup) = cgroup(container)? {
        // A frozen process cannot die of SIGKILL on v1.
        let _ = cgroup.thaw();
    }
    // ESRCH: it ended by itself.
    let _ = sys::process::signal(pidfd.as_fd(), Signal::KILL.as_raw());
    if hooks::poll_one(pidfd.as_fd(), Some(KILL_WAIT_SECONDS))? {
        return Ok(());
    }
    Err(Failure::new("container init still running"))
}

/// Takes away what a stopped container holds: leftover processes, cgroup, folder; runs `poststop`.
pub(super) fn destroy(container: &Container) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    if let Some(cgroup) = cgroup(container)? {
        if cgroup.is_populated().unwrap_or(true) {
            cgroup.kill().map_err(failed)?;
            cgroup.wait_empty(EMPTY_WAIT).map_err(failed)?;
        }
        cgroup.delete().map_err(failed)?;
    }
    // runtime.md: poststop hooks run after the deletion, and their failure is only logged.
    let spec = container.spec();
    container.remove()?;
    if let Ok(spec) = &spec {
        let state = HookState { pid: 0, ..hook_state(container, spec) };
        if let Some(run) = hooks::spawn_hooks(HookPhase::Poststop, state)?
            && let Err(e) = run.wait()
        {
            warnings.push(e.chain());
        }
    }
    Ok(warnings)
}

/// The container's cgroup, if it is (still) there.
pub(super) fn cgroup(container: &Container) -> Result<Option<Cgroup>, Failure> {
    let layout = match Layout::detect(Path::new("/")) {
        Ok(layout) => layout,
        Err(cgroup::Error::NotMounted) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    match Cgroup::open(&layout, &container.state.cgroup) {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(cgroup::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

pub(super) fn failed(e: cgroup::Error) -> Failure {
    crate::init::cgroup_error(e).into()
}

pub(super) fn hook_state<'a>(container: &'a Container, spec: &'a oci::runtime::Spec) -> HookState<'a> {
    HookState { id: &container.state.id, pid: container.state.pid, bundle: &container.state.bundle, spec }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_as_runc_does() {
        let annotations = std::collections::BTreeMap::new();
        let row = Shown {
            oci_version: "1",
            id: "live",
            pid: 13033,
            status: "running",
            bundle: Path::new("/tmp/cmp/b"),
            rootfs: Path::new("/r"),
            created: "2026-11-24T03:44:59.288194704Z",
            annotations: &annotations,
            owner: "root".into(),
        };
        let text = "ID          PID         STATUS      BUNDLE       CREATED                          OWNER\n\
                    live        13033       running     /tmp/cmp/b   2026-11-24T03:44:59.288194704Z   root\n";
        assert_eq!(table(&[row]), text);
    }
}
