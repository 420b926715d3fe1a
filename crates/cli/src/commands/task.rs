//! Commands on containers that exist: `start`, `attach`, `stop`, `kill`, `rm`, `wait`, `logs`.

use api::calls::{AttachOptions, LogsOptions, RemoveOptions, StopOptions, WaitCondition};
use api::container::ContainerInspect;

use super::exec::DETACHED;
use super::run::{client_start, detach_keys, exit, exit_later};
use super::{each, join};
use crate::attach::{self, End, Target, Wiring};
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::signals::Signals;
use crate::time::{now, timestamp};

/// `start`
pub async fn start(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    if parsed.switch("attach") || parsed.switch("interactive") {
        if parsed.args.len() > 1 {
            return Err(Error::failed("you cannot start and attach multiple containers at once"));
        }
        return start_attached(session, parsed).await;
    }
    let client = session.client().await?;
    let mut failed: Vec<&str> = Vec::new();
    for name in &parsed.args {
        match client_start(&client, name).await {
            Ok(()) => session.out.line(name)?,
            Err(error) => {
                session.fail(&error);
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn start_attached(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let (container, _) = client.container_inspect(&parsed.args[0], false).await?;
    let config = container.config.clone().unwrap_or_default();
    let auto_remove = container.host_config.as_ref().is_some_and(|h| h.auto_remove);
    let keys = session.detach_keys(parsed.text("detach-keys"));
    let mut signals = Signals::catch(!config.tty)?;
    let stdin = parsed.switch("interactive") && config.open_stdin;
    let options = attach_options(stdin, &keys);
    let hijacked = client.container_attach(&container.id, &options).await?;
    let condition = if auto_remove { WaitCondition::Removed } else { WaitCondition::NextExit };
    let mut waiting = client.container_wait(&container.id, condition).await?;
    if let Err(error) = client_start(&client, &container.id).await {
        drop(hijacked);
        if auto_remove {
            let _ = waiting.exit().await;
        }
        return Err(error);
    }
    let wiring = wiring(session, stdin, config.tty, &keys);
    let target = Target::Container(container.id.clone());
    match attach::run(&client, &target, hijacked, wiring, &mut signals, Some(&mut waiting)).await? {
        End::Detached => Ok(()),
        End::Exited(answer) => exit(session, answer),
        End::Output => exit_later(session, &client, &container.id, &mut waiting, &mut signals).await,
    }
}

/// `attach`
pub async fn attach(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let name = &parsed.args[0];
    let (container, _) = client.container_inspect(name, false).await?;
    can_attach(&container)?;
    let config = container.config.clone().unwrap_or_default();
    session.check_tty(!parsed.switch("no-stdin"), config.tty)?;
    let keys = session.detach_keys(parsed.text("detach-keys"));
    let stdin = !parsed.switch("no-stdin") && config.open_stdin;
    let mut waiting = client.container_wait(&container.id, WaitCondition::NotRunning).await?;
    let mut signals = Signals::catch(parsed.switch_or("sig-proxy", true) && !config.tty)?;
    let hijacked = client.container_attach(&container.id, &attach_options(stdin, &keys)).await?;
    // It may have stopped since: an attach to it would never end.
    can_attach(&client.container_inspect(name, false).await?.0)?;
    let target = Target::Container(container.id.clone());
    let wiring = wiring(session, stdin, config.tty, &keys);
    if let Some((rows, columns)) = wiring.window.and_then(|w| w.size()) {
        // Only a change of size makes a shell draw its prompt again.
        attach::resize_to(&client, &target, rows.saturating_add(1), columns.saturating_add(1)).await;
    }
    match attach::run(&client, &target, hijacked, wiring, &mut signals, None).await? {
        End::Detached => Err(Error::failed(DETACHED)),
        End::Output | End::Exited(_) => {
            let answer = waiting.exit().await?;
            match (answer.error, answer.status_code) {
                (Some(error), _) => Err(Error::failed(error.message)),
                (None, 0) => Ok(()),
                (None, code) => Err(Error::code(i32::try_from(code).unwrap_or(1))),
            }
        }
    }
}

fn can_attach(container: &ContainerInspect) -> Result<(), Error> {
    let state = container.state.clone().unwrap_or_default();
    let refusal = match () {
        () if !state.running => "You cannot attach to a stopped container, start it first",
        () if state.paused => "You cannot attach to a paused container, unpause it first",
        () if state.restarting => "You cannot attach to a restarting container, wait until it is running",
        () => return Ok(()),
    };
    Err(Error::failed(refusal))
}

fn attach_options(stdin: bool, keys: &str) -> AttachOptions {
    AttachOptions {
        stream: true,
        stdin,
        stdout: true,
        stderr: true,
        detach_keys: keys.to_owned(),
        ..AttachOptions::default()
    }
}

fn wiring(session: &Session<'_>, stdin: bool, tty: bool, keys: &str) -> Wiring {
    Wiring {
        stdin: stdin.then_some(session.stdin),
        stdout: Some(session.out),
        stderr: Some(session.err),
        tty,
        keys: detach_keys(session, keys),
        window: (tty && session.out.is_terminal()).then_some(session.out),
    }
}

/// `stop`
pub async fn stop(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let options = stop_options(parsed)?;
    each(session, &parsed.args, |client, name| {
        let options = options.clone();
        async move {
            match client.container_stop(&name, &options).await {
                Err(error) if !error.is_not_modified() => Err(error.into()),
                _ => Ok(()),
            }
        }
    })
    .await
}

/// `pause` and `unpause`
pub async fn pause(session: &Session<'_>, parsed: &Parsed, pause: bool) -> Result<(), Error> {
    each(session, &parsed.args, |client, name| async move { Ok(client.container_pause(&name, pause).await?) })
        .await
}

/// `restart`
pub async fn restart(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let options = stop_options(parsed)?;
    each(session, &parsed.args, |client, name| {
        let options = options.clone();
        async move { Ok(client.container_restart(&name, &options).await?) }
    })
    .await
}

fn stop_options(parsed: &Parsed) -> Result<StopOptions, Error> {
    if parsed.changed("time") && parsed.changed("timeout") {
        return Err(Error::failed("conflicting options: cannot specify both --timeout and --time"));
    }
    let timeout = parsed.last_of(&["timeout", "time"]);
    Ok(StopOptions {
        signal: parsed.text("signal").to_owned(),
        timeout_s: timeout.and_then(|t| crate::grammar::numbers::parse_int(t).ok()),
    })
}

/// `kill`
pub async fn kill(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let signal = parsed.text("signal").to_owned();
    each(session, &parsed.args, |client, name| {
        let signal = signal.clone();
        async move { Ok(client.container_kill(&name, &signal).await?) }
    })
    .await
}

/// `rm`
pub async fn remove(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let force = parsed.switch("force");
    let options = RemoveOptions { force, volumes: parsed.switch("volumes"), link: parsed.switch("link") };
    let mut failures = Vec::new();
    for name in &parsed.args {
        let id = name.trim_matches('/');
        if id.is_empty() {
            failures.push(Error::failed("container name cannot be empty"));
            continue;
        }
        match client.container_remove(id, options).await {
            Ok(()) => session.out.line(name)?,
            Err(error) if force && error.is_not_found() => {
                session.err.line(&Error::from(error).to_string())?
            }
            Err(error) => failures.push(error.into()),
        }
    }
    join(failures)
}

/// `wait`
pub async fn wait(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let mut failures = Vec::new();
    for name in &parsed.args {
        let answer = match client.container_wait(name, WaitCondition::NotRunning).await {
            Ok(mut waiting) => waiting.exit().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => session.out.line(&answer.status_code.to_string())?,
            Err(error) => failures.push(error.into()),
        }
    }
    join(failures)
}

/// What `logs` says when it cannot show all that the container has said.
const BEGINNING_LOST: &str = "Note: the beginning of this log was rotated away. To keep all of it, run the container with --log-opt max-size=-1";

/// `logs`
pub async fn logs(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let (container, _) = client.container_inspect(&parsed.args[0], false).await?;
    let zone = session.zone();
    let time = |name: &str| {
        timestamp(parsed.text(name), now(), &zone)
            .map_err(|text| Error::failed(format!("invalid value for {name:?}: {text}")))
    };
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        since: time("since")?,
        until: time("until")?,
        timestamps: parsed.switch("timestamps"),
        details: parsed.switch("details"),
        follow: parsed.switch("follow"),
        tail: if parsed.changed("tail") { parsed.text("tail").to_owned() } else { "all".to_owned() },
    };
    let body = client.container_logs(&container.id, &options).await?;
    if body.beginning_lost() {
        session.err.note(BEGINNING_LOST);
    }
    let tty = container.config.as_ref().is_some_and(|c| c.tty);
    attach::copy_body(body, session.out, session.err, tty).await
}
