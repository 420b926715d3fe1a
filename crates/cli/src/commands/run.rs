//! `run` and `create`.

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;

use api::Client;
use api::calls::{AttachOptions, PullOptions, WaitCondition, Waiting};
use api::container::{CreateResponse, WaitResponse};
use api::host_config::{BindOptions, Mount};
use oci::{AnyReference, Reference};

use super::show_progress;
use crate::attach::{self, End, Target, Wiring};
use crate::create::{self, Plan, Pull, Surroundings};
use crate::error::{Error, REFUSED, io_text};
use crate::grammar::Parsed;
use crate::session::{Session, read_file, variable};
use crate::signals::Signals;
use crate::stdio::Out;
use crate::terminal::DetachKeys;

/// HTTP's status of a refusal of what an engine does not do (yet).
const NOT_IMPLEMENTED: u16 = 501;

/// `create`: prints the id.
pub async fn create(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let mut plan = plan(session, parsed)?;
    let client = session.client().await?;
    let id = make(session, &client, &mut plan).await.map_err(|e| name_flags(session, parsed, e, |e| e))?;
    session.out.line(&id)
}

/// `run`: create, attach, start, wait.
pub async fn run(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let mut plan = plan(session, parsed)?;
    let detach = parsed.switch("detach");
    let config = &mut plan.request.config;
    if detach {
        if parsed.changed("attach") {
            return Err(Error::failed("conflicting options: cannot specify both --attach and --detach"));
        }
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else {
        session.check_tty(config.attach_stdin, config.tty)?;
    }
    let client = session.client().await.map_err(|e| of_run(session, e))?;
    let id = make(session, &client, &mut plan)
        .await
        .map_err(|e| name_flags(session, parsed, e, |e| of_run(session, e)))?;
    let config = &plan.request.config;
    if !(config.attach_stdin || config.attach_stdout || config.attach_stderr) {
        // Docker prints the id while the container starts, so that it is there even if the start fails.
        session.out.line(&id)?;
        return client_start(&client, &id).await.map_err(|e| of_run(session, e));
    }
    foreground(session, parsed, &client, &id, &plan).await
}

/// An engine refuses what it cannot do by the name of a field; below its text stands the flag that set it.
fn name_flags(
    session: &Session<'_>,
    parsed: &Parsed,
    error: Error,
    shown: impl FnOnce(Error) -> Error,
) -> Error {
    let Error::Engine(api::Error::Engine { status: NOT_IMPLEMENTED, message, .. }) = &error else {
        return shown(error);
    };
    let mut used = parsed.used();
    used.retain(|f| f.field.split('|').any(|words| mentions(message, words)));
    let program = session.program;
    let hints: Vec<String> = used
        .iter()
        .map(|flag| format!("\n{program}: the option --{} is not available yet", flag.name))
        .collect();
    let error = shown(error);
    if hints.is_empty() {
        return error;
    }
    Error::Exit { code: REFUSED, message: format!("{error}{}", hints.concat()) }
}

/// Whether a text has these words: `HostConfig.Dns` is not in `HostConfig.DnsOptions`.
fn mentions(text: &str, words: &str) -> bool {
    let ends = |at: usize| !text[at..].starts_with(|c: char| c.is_ascii_alphanumeric());
    !words.is_empty() && text.match_indices(words).any(|(at, found)| ends(at + found.len()))
}

/// Starts a container; that it runs already is fine, as for Docker's client.
pub async fn client_start(client: &Client, id: &str) -> Result<(), Error> {
    match client.container_start(id, "").await {
        Err(error) if !error.is_not_modified() => Err(error.into()),
        _ => Ok(()),
    }
}

async fn foreground(
    session: &Session<'_>,
    parsed: &Parsed,
    client: &Client,
    id: &str,
    plan: &Plan,
) -> Result<(), Error> {
    let config = &plan.request.config;
    let auto_remove = parsed.switch("rm");
    let keys = session.detach_keys(parsed.text("detach-keys"));
    let mut signals = Signals::catch(parsed.switch_or("sig-proxy", true))?;
    let options = AttachOptions {
        stream: true,
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        detach_keys: keys.clone(),
        ..AttachOptions::default()
    };
    let hijacked = client.container_attach(id, &options).await?;
    let condition = if auto_remove { WaitCondition::Removed } else { WaitCondition::NextExit };
    let mut waiting = client.container_wait(id, condition).await?;
    if let Err(error) = client_start(client, id).await {
        drop(hijacked);
        if auto_remove {
            // The engine removes what could not start; its name is free when this returns.
            let _ = waiting.exit().await;
        }
        return Err(of_run(session, error));
    }
    let wiring = Wiring {
        stdin: config.attach_stdin.then_some(session.stdin),
        stdout: config.attach_stdout.then_some(session.out),
        stderr: config.attach_stderr.then_some(if config.tty { session.out } else { session.err }),
        tty: config.tty,
        keys: detach_keys(session, &keys),
        window: (config.tty && session.out.is_terminal()).then_some(session.out),
    };
    let target = Target::Container(id.to_owned());
    match attach::run(client, &target, hijacked, wiring, &mut signals, Some(&mut waiting)).await? {
        End::Detached => Ok(()),
        End::Exited(answer) => exit(session, answer),
        End::Output => exit_later(session, client, id, &mut waiting, &mut signals).await,
    }
}

/// The output ended: the exit code is still to come, and signals are still handed on.
pub async fn exit_later(
    session: &Session<'_>,
    client: &Client,
    id: &str,
    waiting: &mut Waiting,
    signals: &mut Signals,
) -> Result<(), Error> {
    let mut answer = std::pin::pin!(waiting.exit());
    loop {
        tokio::select! {
            answer = &mut answer => return exit(session, answer),
            caught = signals.next() => {
                if signals.forwards() && !caught.is_window() {
                    let _ = client.container_kill(id, caught.name).await;
                } else if caught.is_terminating() && !caught.is_request() {
                    return Err(Error::code(128 + caught.number));
                }
            }
        }
    }
}

/// The container's exit code becomes this command's.
pub fn exit(session: &Session<'_>, answer: Result<WaitResponse, api::Error>) -> Result<(), Error> {
    match answer {
        Ok(WaitResponse { error: Some(error), .. }) => {
            session.err.note(&format!("Error waiting for container: {}", error.message));
            Err(Error::code(REFUSED))
        }
        Ok(WaitResponse { status_code: 0, .. }) => Ok(()),
        Ok(WaitResponse { status_code, .. }) => {
            Err(Error::code(i32::try_from(status_code).unwrap_or(REFUSED)))
        }
        Err(error) => {
            session.err.note(&format!("error waiting for container: {}", Error::from(error)));
            Err(Error::code(REFUSED))
        }
    }
}

/// The keys, or the default ones with a warning.
pub fn detach_keys(session: &Session<'_>, keys: &str) -> DetachKeys {
    DetachKeys::parse(keys).unwrap_or_else(|text| {
        session.warn(&format!("invalid detach escape keys, using default: {text}"));
        DetachKeys::default()
    })
}

fn plan(session: &Session<'_>, parsed: &Parsed) -> Result<Plan, Error> {
    super::no_content_trust(session, parsed)?;
    let folder = std::env::current_dir().unwrap_or_default();
    let around = Surroundings {
        variable: &variable,
        read: &read_file,
        folder: &folder.to_string_lossy(),
        size: session.out.size().unwrap_or((0, 0)),
        proxies: &session.config.proxies(&session.chosen_host()),
    };
    let plan = create::plan(parsed, &around).map_err(|text| with_help(session, &text, REFUSED))?;
    for text in &plan.warnings {
        session.warn(&format!("WARNING: {text}"));
    }
    Ok(plan)
}

/// Creates the container, with a pull if its image is missing.
async fn make(session: &Session<'_>, client: &Client, plan: &mut Plan) -> Result<String, Error> {
    let path = plan.request.host_config.as_ref().map(|h| h.container_id_file.clone()).unwrap_or_default();
    let id_file = IdFile::create(&path)?;
    let named = match AnyReference::parse(&plan.image) {
        Ok(AnyReference::Named(reference)) => Some(reference.or_latest()),
        Ok(AnyReference::Id(_)) => None,
        Err(error) => return Err(Error::failed(crate::error::chain(&error))),
    };
    if plan.api_socket {
        give_api_socket(session, plan)?;
    }
    let platform = platform(&plan.platform)?;
    let shown: Option<Out> = (!plan.quiet).then_some(session.err);
    if plan.pull == Pull::Always
        && let Some(reference) = &named
    {
        pull(session, client, Wish { reference, platform: &plan.platform }, shown).await?;
    }
    let created = match client.container_create(&plan.name, &platform, &plan.request).await {
        Err(error) if error.is_not_found() && plan.pull == Pull::Missing && named.is_some() => {
            let Some(reference) = &named else { return Err(error.into()) };
            if !plan.quiet {
                // Standard output is for the container's id alone.
                session.err.line(&format!("Unable to find image '{}' locally", reference.familiar()))?;
            }
            pull(session, client, Wish { reference, platform: &plan.platform }, shown).await?;
            client.container_create(&plan.name, &platform, &plan.request).await?
        }
        other => other?,
    };
    let CreateResponse { id, warnings } = created;
    for warning in warnings.into_iter().chain(local_dns(plan)) {
        session.err.line(&format!("WARNING: {warning}"))?;
    }
    id_file.keep(&id)?;
    Ok(id)
}

/// A name server on the host's loopback is another one in the container.
fn local_dns(plan: &Plan) -> Option<String> {
    let servers = plan.request.host_config.as_ref()?.dns.as_ref()?;
    let local = servers.iter().find(|s| s.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))?;
    Some(format!("Localhost DNS ({local}) may fail in containers."))
}

/// The API's form of a platform.
fn platform(text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Ok(String::new());
    }
    match oci::Platform::parse(text) {
        Ok(platform) => Ok(platform.to_string()),
        Err(error) => {
            let reason = crate::error::chain(&error);
            Err(Error::failed(format!("error parsing specified platform: {reason}: invalid argument")))
        }
    }
}

/// `--use-api-socket`: the engine's socket where Docker's clients look for it.
fn give_api_socket(session: &Session<'_>, plan: &mut Plan) -> Result<(), Error> {
    const SOCKET: &str = "/var/run/docker.sock";
    let env = plan.request.config.env.iter().flatten();
    if session.config.has_credentials && !env.into_iter().any(|e| e.starts_with("DOCKER_CONFIG=")) {
        let text = "--use-api-socket: handing on the credentials of config.json is not available yet; \
                    with -e DOCKER_CONFIG=… none are handed on";
        return Err(Error::Exit { code: REFUSED, message: format!("{}: {text}", session.program) });
    }
    let host = plan.request.host_config.get_or_insert_default();
    host.mounts.get_or_insert_default().push(Mount {
        kind: "bind".to_owned(),
        source: SOCKET.to_owned(),
        target: SOCKET.to_owned(),
        bind_options: Some(BindOptions::default()),
        ..Mount::default()
    });
    Ok(())
}

/// `--cidfile`: made before the container, so that two commands cannot share it; removed if none came of it.
struct IdFile {
    path: String,
    file: Option<File>,
}

impl IdFile {
    fn create(path: &str) -> Result<IdFile, Error> {
        if path.is_empty() {
            return Ok(IdFile { path: String::new(), file: None });
        }
        match File::create_new(path) {
            Ok(file) => Ok(IdFile { path: path.to_owned(), file: Some(file) }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::failed(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            ))),
            Err(error) => Err(Error::failed(format!(
                "failed to create the container ID file: open {path}: {}",
                io_text(&error)
            ))),
        }
    }

    fn keep(mut self, id: &str) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|error| {
            Error::failed(format!("failed to write the container ID to the file: {}", io_text(&error)))
        })
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What to pull: all tags when the reference has none.
pub struct Wish<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// `os/arch`, or empty for the engine's own.
    pub platform: &'a str,
}

/// Pulls an image and shows it.
pub async fn pull(
    session: &Session<'_>,
    client: &Client,
    wish: Wish<'_>,
    out: Option<Out>,
) -> Result<(), Error> {
    let reference = wish.reference;
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let options = PullOptions {
        from_image: reference.name(),
        tag,
        platform: wish.platform.to_lowercase(),
        auth: Some(crate::credentials::for_reference(&session.config, reference)),
    };
    show_progress(client.image_pull(&options).await?, out).await
}

/// Docker tells by the text whether a program could not be found or not be executed.
fn of_run(session: &Session<'_>, error: Error) -> Error {
    if matches!(error, Error::OutputClosed) {
        return error;
    }
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    let code = if has(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        REFUSED
    };
    with_help(session, &text, code)
}

fn with_help(session: &Session<'_>, text: &str, code: i32) -> Error {
    let Session { program, name, .. } = session;
    Error::Exit {
        code,
        message: format!("{program}: {text}\n\nRun '{program} {name} --help' for more information"),
    }
}
