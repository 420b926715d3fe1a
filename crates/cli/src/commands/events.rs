//! `events`.

use api::event::EventMessage;
use api::event_calls::EventsOptions;

use super::list::filters;
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::template::Template;
use crate::time::{now, rfc3339_fixed, timestamp};
use crate::typed;

/// Exit code for a template that does not parse.
const BAD_TEMPLATE: i32 = 64;

/// `events`
pub async fn events(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let source = match parsed.text("format") {
        "json" => "{{json .}}",
        format => format,
    };
    let wrong = |e| Error::Exit { code: BAD_TEMPLATE, message: format!("Error parsing format: {e}") };
    let template = Template::parse("", source).map_err(wrong)?;
    let zone = session.zone();
    let time = |name: &str| timestamp(parsed.text(name), now(), &zone).map_err(Error::failed);
    let options = EventsOptions { since: time("since")?, until: time("until")?, filters: filters(parsed) };
    let client = session.client().await?;
    let mut messages = client.events(&options).await?;
    while let Some(json) = messages.next_json().await? {
        let event: EventMessage = api::go::decode_json(json).map_err(api::Error::from)?;
        if source.is_empty() {
            session.out.line(&line(&event))?;
        } else {
            let text = template.run(&typed::value(&event)).map_err(wrong)?;
            session.out.line(&text)?;
        }
    }
    Ok(())
}

fn line(event: &EventMessage) -> String {
    let time = match (event.time_nano, event.time) {
        (0, 0) => String::new(),
        (0, seconds) => format!("{} ", rfc3339_fixed(seconds.saturating_mul(1_000_000_000))),
        (nanos, _) => format!("{} ", rfc3339_fixed(nanos)),
    };
    let mut text = format!("{time}{} {} {}", event.kind, event.action, event.actor.id);
    let attributes: Vec<String> =
        event.actor.attributes.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    if !attributes.is_empty() {
        text.push_str(&format!(" ({})", attributes.join(", ")));
    }
    text
}
