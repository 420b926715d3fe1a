//! `ps` and `images`.

use std::rc::Rc;

use api::calls::{ContainerListOptions, ImageListOptions};
use api::container::ContainerSummary;
use api::filters::Filters;

use crate::error::Error;
use crate::grammar::Parsed;
use crate::listing::containers::{self, Row, View};
use crate::listing::{self, images};
use crate::session::Session;
use crate::template::{Template, Value};
use crate::time::now;

/// Words that people type after `images` when they mean `image`.
const IMAGE_COMMANDS: &[&str] = &[
    "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm", "save",
    "tag",
];

/// `ps`
pub async fn containers(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let quiet = parsed.switch("quiet");
    let mut format = parsed.text("format").to_owned();
    if format.is_empty() {
        format.clone_from(&session.config.ps_format);
    } else if quiet {
        session.err.line("WARNING: Ignoring custom format, because both --format and --quiet are set.")?;
    }
    let view = View { truncate: !parsed.switch("no-trunc"), now: now(), zone: session.zone() };
    let wants_size = wants_size(&format, &view)?;
    let size = parsed.switch("size") || (wants_size && !quiet && !parsed.changed("size"));
    let last = parsed.int_or("last", -1);
    let last = if parsed.switch("latest") && last == -1 { 1 } else { last };
    let options = ContainerListOptions {
        all: parsed.switch("all"),
        limit: u64::try_from(last).unwrap_or(0),
        size,
        filters: filters(parsed),
    };
    let list = session.client().await?.container_list(&options).await?;
    let rows: Vec<Value> =
        list.into_iter().map(|c| Value::Object(Rc::new(Row::new(c, view.clone())))).collect();
    let format = containers::format(&format, quiet, size);
    let text = listing::print(&format, containers::HEADERS, &rows).map_err(Error::failed)?;
    session.out.write(text.as_bytes())
}

/// Sizes are costly: the engine is asked for them only if the template shows them. Docker finds out
/// by running it once, and so finds mistakes in it before it asks the engine.
fn wants_size(format: &str, view: &View) -> Result<bool, Error> {
    if format.is_empty() {
        return Ok(false);
    }
    let template =
        Template::parse("", format).map_err(|e| Error::failed(format!("failed to parse template: {e}")))?;
    let row = Row::new(ContainerSummary::default(), view.clone());
    let used = Rc::clone(&row.size_used);
    template
        .run(&Value::Object(Rc::new(row)))
        .map_err(|e| Error::failed(format!("failed to execute template: {e}")))?;
    Ok(used.get())
}

/// `images`
pub async fn images(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let (quiet, digests) = (parsed.switch("quiet"), parsed.switch("digests"));
    let name = parsed.args.first().map_or("", String::as_str);
    let mut filters = filters(parsed);
    if !name.is_empty() {
        filters.add("reference", name);
    }
    if parsed.switch("tree") {
        return tree(session, parsed, filters).await;
    }
    let options = ImageListOptions { all: parsed.switch("all"), filters, ..ImageListOptions::default() };
    let list = session.client().await?.image_list(&options).await?;
    let given = match parsed.text("format") {
        "" if !session.config.images_format.is_empty() && !quiet => session.config.images_format.as_str(),
        "" => "table",
        given => given,
    };
    let view = View { truncate: !parsed.switch("no-trunc"), now: now(), zone: session.zone() };
    let format = images::format(given, quiet, digests);
    let rows = images::rows(&list, &format, digests, &view);
    let text = listing::print(&format, images::HEADERS, &rows).map_err(Error::failed)?;
    session.out.write(text.as_bytes())?;
    if list.is_empty() && session.called == "images" && IMAGE_COMMANDS.contains(&name) {
        let program = session.program;
        session.err.line(&format!(
            "\nNo images found matching \"{name}\": did you mean \"{program} image {name}\"?"
        ))?;
    }
    Ok(())
}

async fn tree(session: &Session<'_>, parsed: &Parsed, filters: Filters) -> Result<(), Error> {
    for (flag, name) in
        [("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest"), ("format", "format")]
    {
        let given = if flag == "format" { !parsed.text(flag).is_empty() } else { parsed.switch(flag) };
        if given {
            return Err(Error::failed(format!("--{name} is not yet supported with --tree")));
        }
    }
    let all = parsed.switch("all");
    let options = ImageListOptions { all, filters, manifests: true, ..ImageListOptions::default() };
    let list = session.client().await?.image_list(&options).await?;
    session.out.line(&listing::tree::warning(session.out.is_terminal()))?;
    let columns = session.out.is_terminal().then(|| session.out.size()).flatten();
    let columns = columns.map(|(_, columns)| columns.into());
    session.out.write(listing::tree::draw(&list, all, columns).as_bytes())
}

pub(super) fn filters(parsed: &Parsed) -> Filters {
    let mut filters = Filters::new();
    for filter in parsed.list("filter") {
        if let Some((name, value)) = filter.split_once('=') {
            filters.add(&name.trim().to_lowercase(), value.trim());
        }
    }
    filters
}
