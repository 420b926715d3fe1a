//! `exec`.

use api::Client;
use api::container::{ExecCreateRequest, ExecStartRequest};

use super::run::detach_keys;
use crate::attach::{self, End, Target, Wiring};
use crate::create::{environment, lines};
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::{Session, read_file, variable};
use crate::signals::Signals;

/// What Docker's CLI says when the keys that detach were typed.
pub const DETACHED: &str = "read escape sequence";

/// `exec`: the process's exit code becomes this command's.
pub async fn exec(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let container = &parsed.args[0];
    if container.is_empty() {
        return Err(Error::failed("invalid container name or ID: value is empty"));
    }
    let request = request(session, parsed)?;
    let detach = parsed.switch("detach");
    let client = session.client().await?;
    // That there is no such container is said before that there is no terminal.
    client.container_inspect(container, false).await?;
    if !detach {
        session.check_tty(request.attach_stdin, request.tty)?;
    }
    let id = client.exec_create(container, &request).await?;
    if id.is_empty() {
        return Err(Error::failed("exec ID empty"));
    }
    let start = ExecStartRequest { detach, tty: request.tty, console_size: request.console_size };
    if detach {
        return Ok(client.exec_start(&id, &start).await?);
    }
    interactive(session, &client, &id, &request, &start).await
}

fn request(session: &Session<'_>, parsed: &Parsed) -> Result<ExecCreateRequest, Error> {
    let detach = parsed.switch("detach");
    let tty = parsed.switch("tty");
    let (rows, columns) = session.out.size().unwrap_or((0, 0));
    let mut env = lines::pairs(&parsed.list("env-file"), &read_file, &variable).map_err(Error::failed)?;
    env.extend(environment(&parsed.list("env"), &variable));
    Ok(ExecCreateRequest {
        user: parsed.text("user").to_owned(),
        privileged: parsed.switch("privileged"),
        tty,
        console_size: tty.then_some([rows.into(), columns.into()]),
        attach_stdin: !detach && parsed.switch("interactive"),
        attach_stderr: !detach,
        attach_stdout: !detach,
        detach_keys: session.detach_keys(parsed.text("detach-keys")),
        env: (!env.is_empty()).then_some(env),
        working_dir: parsed.text("workdir").to_owned(),
        cmd: Some(parsed.args[1..].to_vec()),
        // It is said when the exec starts.
        detach: false,
    })
}

async fn interactive(
    session: &Session<'_>,
    client: &Client,
    id: &str,
    request: &ExecCreateRequest,
    start: &ExecStartRequest,
) -> Result<(), Error> {
    let mut signals = Signals::catch(false)?;
    let hijacked = client.exec_attach(id, start).await?;
    let window = request.tty && rustix::termios::isatty(session.stdin) && session.out.is_terminal();
    let wiring = Wiring {
        stdin: request.attach_stdin.then_some(session.stdin),
        stdout: Some(session.out),
        stderr: Some(if request.tty { session.out } else { session.err }),
        tty: request.tty,
        keys: detach_keys(session, &request.detach_keys),
        window: window.then_some(session.out),
    };
    let target = Target::Exec(id.to_owned());
    match attach::run(client, &target, hijacked, wiring, &mut signals, None).await? {
        End::Detached => return Err(Error::failed(DETACHED)),
        End::Output | End::Exited(_) => {}
    }
    match client.exec_inspect(id).await?.exit_code {
        None | Some(0) => Ok(()),
        Some(code) => Err(Error::code(i32::try_from(code).unwrap_or(1))),
    }
}
