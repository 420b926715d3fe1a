//! `inspect`, `container inspect`, `image inspect`, `volume inspect`.

use api::Client;
use api::json::Json;

use super::join;
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::template::{Mode, Template, Value};
use crate::typed;

/// The types Docker knows.
const TYPES: &[&str] =
    &["config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"];
/// Exit code for a template that does not parse.
const BAD_TEMPLATE: i32 = 64;
const INDENT: &str = "    ";

/// An object: as templates see it, and as it came.
struct Found {
    typed: Value,
    raw: Json,
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

    fn name(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
            Kind::Network => "network",
            Kind::Volume => "volume",
        }
    }

    async fn find(self, client: &Client, name: &str, more: More) -> Result<Found, Error> {
        Ok(match self {
            Kind::Container => {
                let (answer, raw) = client.container_inspect(name, more.size).await?;
                Found { typed: typed::value(&answer), raw }
            }
            Kind::Image => {
                let (answer, raw) = client.image_inspect(name, None).await?;
                Found { typed: typed::image(&answer), raw }
            }
            Kind::Network => {
                let (answer, raw) = client.network_inspect(name, more.verbose).await?;
                Found { typed: typed::value(&answer), raw }
            }
            Kind::Volume => {
                let (answer, raw) = client.volume_inspect(name).await?;
                Found { typed: typed::value(&answer), raw }
            }
        })
    }
}

/// What is asked for beside the thing itself.
#[derive(Debug, Clone, Copy)]
struct More {
    /// Of a container.
    size: bool,
    /// Of a network.
    verbose: bool,
}

/// `inspect`: whatever goes by that name.
pub async fn any(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let wanted = parsed.text("type");
    let listed = TYPES.join("\", \"");
    if parsed.changed("type") && wanted.is_empty() {
        return Err(Error::failed(format!("type is empty: must be one of \"{listed}\"")));
    }
    if !wanted.is_empty() && !TYPES.contains(&wanted) {
        return Err(Error::failed(format!("unknown type: {wanted:?}: must be one of \"{listed}\"")));
    }
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|k| wanted.is_empty() || k.name() == wanted).collect();
    if kinds.is_empty() {
        return Err(Error::failed(format!("--type {wanted}: objects of this type are not available yet")));
    }
    inspect(session, parsed, &kinds, wanted.is_empty()).await
}

/// `container inspect`
pub async fn containers(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    inspect(session, parsed, &[Kind::Container], false).await
}

/// `image inspect`
pub async fn images(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    inspect(session, parsed, &[Kind::Image], false).await
}

/// `network inspect`
pub async fn networks(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    inspect(session, parsed, &[Kind::Network], false).await
}

/// `volume inspect`
pub async fn volumes(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    inspect(session, parsed, &[Kind::Volume], false).await
}

async fn inspect(session: &Session<'_>, parsed: &Parsed, kinds: &[Kind], guess: bool) -> Result<(), Error> {
    let printer = Printer::new(parsed.text("format"))?;
    let more = More { size: parsed.switch("size"), verbose: parsed.switch("verbose") };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    let client = session.client().await;
    for name in &parsed.args {
        let result = match &client {
            Ok(client) => look_up(session, client, name, kinds, guess, more).await,
            Err(error) => Err(Error::failed(error.to_string())),
        };
        match result {
            Ok(object) => found.push(object),
            Err(error) => failures.push(error),
        }
    }
    session.out.write(printer.print(&found, &mut failures).as_bytes())?;
    join(failures)
}

async fn look_up(
    session: &Session<'_>,
    client: &Client,
    name: &str,
    kinds: &[Kind],
    guess: bool,
    more: More,
) -> Result<Found, Error> {
    for kind in kinds {
        match kind.find(client, name, more).await {
            Ok(found) => {
                if more.size && *kind != Kind::Container {
                    session.err.line(&format!("WARNING: --size ignored for {}", kind.name()))?;
                }
                return Ok(found);
            }
            // An engine that does not know the type, or the form of the name, does not have it either.
            Err(error) if guess && is_skippable(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::failed(format!("Error: No such object: {name}")))
}

fn is_skippable(error: &Error) -> bool {
    let text = error.to_string();
    error.is_not_found()
        || matches!(error, Error::Engine(e) if e.status() == Some(501))
        || text.contains("not supported")
        || text.contains("invalid reference format")
}

/// How objects are printed.
enum Printer {
    Indented,
    Compact,
    Template(Template),
}

impl Printer {
    fn new(format: &str) -> Result<Printer, Error> {
        match format {
            "" => Ok(Printer::Indented),
            "json" => Ok(Printer::Compact),
            source => Template::parse("", source).map(Printer::Template).map_err(|e| Error::Exit {
                code: BAD_TEMPLATE,
                message: format!("template parsing error: {e}"),
            }),
        }
    }

    fn print(&self, found: &[Found], failures: &mut Vec<Error>) -> String {
        let Printer::Template(template) = self else {
            let all = Json::Array(found.iter().map(|f| f.raw.clone()).collect());
            if found.is_empty() {
                return "[]\n".to_owned();
            }
            let text = match self {
                Printer::Indented => all.to_indented(INDENT),
                _ => {
                    let mut out = Vec::new();
                    all.write(&mut out);
                    String::from_utf8_lossy(&out).into_owned()
                }
            };
            return format!("{text}\n");
        };
        let mut out = String::new();
        for object in found {
            // What the Go types lack may still be in the answer: Docker tries that next.
            let strict = Mode { strict_keys: true, ..Mode::default() };
            let text = template
                .run(&object.typed)
                .or_else(|_| template.run_with(&Value::from_untyped(&object.raw), strict));
            match text {
                Ok(text) => {
                    out.push_str(&text);
                    out.push('\n');
                }
                Err(error) => failures.push(Error::failed(format!("template parsing error: {error}"))),
            }
        }
        if out.is_empty() { "\n".to_owned() } else { out }
    }
}
