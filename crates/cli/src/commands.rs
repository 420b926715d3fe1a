//! What each command does: one module for each kind, all against [`api::Client`].

mod cp;
mod df;
mod events;
mod exec;
mod export;
mod history;
mod image;
mod inspect;
mod list;
mod login;
mod lookup;
mod network;
mod prune;
mod push;
mod run;
mod save;
mod search;
mod stats;
mod system;
mod task;
mod update;
mod volume;

use std::sync::Arc;

use api::stream::Messages;
use api::{ApiVersion, Client};
use oci::Reference;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::explain;
use crate::flags::Action;
use crate::grammar::{Flag, Parsed};
use crate::progress::Renderer;
use crate::session::{Session, variable};
use crate::signals::Signals;
use crate::stdio::Out;

/// Runs a command; the result is the exit code.
pub fn run(action: Option<Action>, session: Session<'_>, parsed: &Parsed) -> Result<i32, Error> {
    let Some(action) = action else { return Ok(0) };
    let flag = parsed.changed("explain").then(|| parsed.text("explain"));
    let form = explain::form(flag, variable("TARE_EXPLAIN").as_deref());
    session.block_on(form, |session| async move {
        let result = if streams(action) {
            // These deal with signals themselves: they may be the container's.
            perform(action, &session, parsed).await
        } else {
            let mut signals = match Signals::catch_requests() {
                Ok(signals) => signals,
                Err(error) => return (session, Err(error)),
            };
            tokio::select! {
                result = perform(action, &session, parsed) => result,
                caught = signals.next() => Err(Error::code(128 + caught.number)),
            }
        };
        (session, result)
    })
}

fn streams(action: Action) -> bool {
    matches!(action, Action::Run | Action::Start | Action::Attach | Action::Exec)
}

async fn perform(action: Action, session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    check_engine(session, parsed).await?;
    match action {
        Action::Run => run::run(session, parsed).await,
        Action::Create => run::create(session, parsed).await,
        Action::Start => task::start(session, parsed).await,
        Action::Attach => task::attach(session, parsed).await,
        Action::Stop => task::stop(session, parsed).await,
        Action::Kill => task::kill(session, parsed).await,
        Action::Restart => task::restart(session, parsed).await,
        Action::Rename => lookup::rename(session, parsed).await,
        Action::Top => lookup::top(session, parsed).await,
        Action::Port => lookup::port(session, parsed).await,
        Action::Rm => task::remove(session, parsed).await,
        Action::Wait => task::wait(session, parsed).await,
        Action::Logs => task::logs(session, parsed).await,
        Action::Exec => exec::exec(session, parsed).await,
        Action::Ps => list::containers(session, parsed).await,
        Action::Images => list::images(session, parsed).await,
        Action::Inspect => inspect::any(session, parsed).await,
        Action::ContainerInspect => inspect::containers(session, parsed).await,
        Action::ImageInspect => inspect::images(session, parsed).await,
        Action::Pull => image::pull(session, parsed).await,
        Action::Rmi => image::remove(session, parsed).await,
        Action::Load => image::load(session, parsed).await,
        Action::Import => image::import(session, parsed).await,
        Action::Tag => history::tag(session, parsed).await,
        Action::History => history::history(session, parsed).await,
        Action::Save => save::save(session, parsed).await,
        Action::Push => push::push(session, parsed).await,
        Action::ImagePrune => prune::images(session, parsed).await,
        Action::Login => login::login(session, parsed).await,
        Action::Logout => login::logout(session, parsed),
        Action::Search => search::search(session, parsed).await,
        Action::Info => system::info(session, parsed).await,
        Action::Cp => cp::cp(session, parsed).await,
        Action::Commit => export::commit(session, parsed).await,
        Action::Df => df::df(session, parsed).await,
        Action::Export => export::export(session, parsed).await,
        Action::Diff => lookup::diff(session, parsed).await,
        Action::Update => update::update(session, parsed).await,
        Action::Stats => stats::stats(session, parsed).await,
        Action::ContainerPrune => prune::containers(session, parsed).await,
        Action::Pause => task::pause(session, parsed, true).await,
        Action::Unpause => task::pause(session, parsed, false).await,
        Action::Events => events::events(session, parsed).await,
        Action::Version => system::version(session, parsed).await,
        Action::NetworkConnect => network::connect(session, parsed).await,
        Action::NetworkCreate => network::create(session, parsed).await,
        Action::NetworkDisconnect => network::disconnect(session, parsed).await,
        Action::NetworkInspect => inspect::networks(session, parsed).await,
        Action::NetworkList => network::list(session, parsed).await,
        Action::NetworkPrune => prune::networks(session, parsed).await,
        Action::NetworkRemove => network::remove(session, parsed).await,
        Action::VolumeCreate => volume::create(session, parsed).await,
        Action::VolumeInspect => inspect::volumes(session, parsed).await,
        Action::VolumeList => volume::list(session, parsed).await,
        Action::VolumePrune => prune::volumes(session, parsed).await,
        Action::VolumeRemove => volume::remove(session, parsed).await,
        Action::VolumeUpdate => volume::update(session, parsed).await,
        // Needs no engine; the dispatcher has done it.
        Action::Completion => Ok(()),
    }
}

/// Flags that are for engines on another system, or for newer ones, than the one at hand.
async fn check_engine(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let mut used = parsed.used();
    used.retain(|flag| !flag.engine_os.is_empty() || flag.since != 0);
    if used.is_empty() {
        return Ok(());
    }
    // That an engine does not answer is told by the command itself.
    let Ok(client) = session.client().await else { return Ok(()) };
    let Ok(version) = client.api_version().await else { return Ok(()) };
    let asks_os = used.iter().any(|flag| !flag.engine_os.is_empty());
    let os = match asks_os {
        true => client.ping().await.map(|ping| ping.os_type).unwrap_or_default(),
        false => String::new(),
    };
    used.sort_by_key(|flag| flag.name);
    let problem = |flag: &&Flag| {
        let Flag { name, engine_os, since, .. } = **flag;
        let needed = ApiVersion::v1(since);
        if version < needed {
            return Some(format!(
                "\"--{name}\" requires API version {needed}, but the Docker daemon API version is {version}"
            ));
        }
        (!engine_os.is_empty() && !os.is_empty() && engine_os != os).then(|| {
            format!(
                "\"--{name}\" is only supported on a Docker daemon running on {engine_os}, but the Docker daemon is running on {os}"
            )
        })
    };
    let problems: Vec<String> = used.iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::failed(problems.join("\n"))) }
}

/// The image of `pull` and `push`: all its tags, or one, which is told when it goes without saying.
fn wanted_reference(session: &Session<'_>, parsed: &Parsed) -> Result<Reference, Error> {
    let all = parsed.switch("all-tags");
    let reference = Reference::parse(&parsed.args[0]).map_err(|e| Error::failed(crate::error::chain(&e)))?;
    match (all, reference.is_name_only()) {
        (true, false) => Err(Error::failed("tag can't be used with --all-tags/-a")),
        (true, true) | (false, false) => Ok(reference),
        (false, true) => {
            let reference = reference.or_latest();
            if !parsed.switch("quiet") {
                session.out.line(&format!("Using default tag: {}", reference.tag().unwrap_or_default()))?;
            }
            Ok(reference)
        }
    }
}

/// `--platform`, if it is given.
fn platform(parsed: &Parsed) -> Result<Option<api::image::Platform>, Error> {
    let text = parsed.text("platform");
    if text.is_empty() {
        return Ok(None);
    }
    platform_from(text).map(Some).map_err(|e| Error::failed(format!("invalid platform: {e}")))
}

fn platform_from(text: &str) -> Result<api::image::Platform, Error> {
    let parsed = oci::Platform::parse(text)
        .map_err(|e| Error::failed(format!("{}: invalid argument", crate::error::chain(&e))))?;
    Ok(api::image::Platform {
        architecture: parsed.architecture,
        os: parsed.os,
        os_version: parsed.os_version,
        os_features: None,
        variant: parsed.variant,
    })
}

/// Docker's content trust, which asks a Notary server for signatures, is being retired and not here: who demands it
/// gets no image that was not verified.
fn no_content_trust(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    const VARIABLE: &str = "DOCKER_CONTENT_TRUST";
    let wanted = match parsed.changed("disable-content-trust") {
        true => !parsed.switch("disable-content-trust"),
        false => variable(VARIABLE)
            .is_some_and(|v| matches!(v.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")),
    };
    if !wanted {
        return Ok(());
    }
    let text = format!("content trust (--disable-content-trust=false, {VARIABLE}) is not available");
    Err(Error::Exit { code: crate::error::REFUSED, message: format!("{}: {text}", session.program) })
}

/// Shows a progress stream to its end; an error in it is the engine's last word.
async fn show_progress(messages: Messages, out: Option<Out>) -> Result<(), Error> {
    show_progress_and(messages, out, |_| {}).await
}

/// The same; `aux` gets what a stream says to programs.
async fn show_progress_and(
    mut messages: Messages,
    out: Option<Out>,
    mut aux: impl FnMut(&api::json::Json),
) -> Result<(), Error> {
    let width = |out: &Out| out.size().map_or(200, |(_, columns)| columns.into());
    let mut renderer = Renderer::new(out.filter(Out::is_terminal).as_ref().map(width));
    while let Some(message) = messages.next().await? {
        message.aux.iter().for_each(&mut aux);
        let text = renderer.render(&message, crate::time::now()).map_err(Error::failed)?;
        if let Some(out) = &out {
            out.write(text.as_bytes())?;
        }
    }
    Ok(())
}

/// So many containers are stopped or killed at once.
const MAX_AT_ONCE: usize = 50;

/// Does the same to several things at once; prints each that worked in the order given, and fails
/// with all the texts at the end.
async fn each<F>(
    session: &Session<'_>,
    names: &[String],
    mut operation: impl FnMut(Client, String) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + 'static,
{
    let client = session.client().await?;
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let mut running = Vec::new();
    for name in names {
        let (places, operation) = (Arc::clone(&places), operation(client.clone(), name.clone()));
        running.push(tokio::task::spawn_local(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            operation.await
        }));
    }
    let mut failures = Vec::new();
    for (name, operation) in names.iter().zip(running) {
        match operation.await {
            Ok(Ok(())) => session.out.line(name)?,
            Ok(Err(error)) => failures.push(error),
            Err(error) => failures.push(Error::failed(error.to_string())),
        }
    }
    join(failures)
}

/// One error of several: their texts, a line each.
fn join(errors: Vec<Error>) -> Result<(), Error> {
    if errors.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(Error::failed(texts.join("\n")))
}
