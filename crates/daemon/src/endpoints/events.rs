//! `GET /events`.

use api::event::{EventActor, EventMessage};
use api::filters::Filters;
use bytes::Bytes;
use engine::Time;
use engine::events::{Event, EventFilter};

use super::logs::time;
use crate::call::Call;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;

pub(super) async fn events(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let (since, until) = (time(call.query.get("since"))?, time(call.query.get("until"))?);
    if let Some(until) = until
        && until < since.unwrap_or(Time(0))
    {
        let seconds = |t: Time| t.0.div_euclid(1_000_000_000);
        return Err(Refusal::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            seconds(since.unwrap_or(Time(0))),
            seconds(until)
        )));
    }
    let filters = Filters::parse(call.query.get("filters"))?;
    let filter =
        EventFilter(filters.iter().map(|(name, values)| (name.to_owned(), values.to_vec())).collect());
    let mut reader = router.block(&call.tracing, move |engine| engine.events(filter, since, until)).await?;
    let (sender, answer) = reply::stream("application/json");
    tokio::spawn(async move {
        loop {
            let found = tokio::select! {
                found = reader.next() => found,
                () = sender.closed() => return,
            };
            let found = match found {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(error) => return tracing::warn!(%error, "events cannot be read"),
            };
            let mut lines = Vec::new();
            for event in found {
                lines.extend_from_slice(&reply::escaped(&message(event)));
                lines.push(b'\n');
            }
            if sender.send(Bytes::from(lines)).await.is_err() {
                return;
            }
        }
    });
    Ok(answer)
}

fn message(event: Event) -> EventMessage {
    let mut message = EventMessage {
        time: event.ns.div_euclid(1_000_000_000),
        time_nano: event.ns,
        scope: "local".to_owned(),
        ..EventMessage::default()
    };
    if matches!(event.kind.as_str(), "container" | "image") {
        message.status.clone_from(&event.action);
        message.id.clone_from(&event.id);
    }
    if event.kind == "container" {
        message.from = event.attributes.get("image").cloned().unwrap_or_default();
    }
    (message.kind, message.action) = (event.kind, event.action);
    message.actor = EventActor { id: event.id, attributes: Some(event.attributes) };
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_dockers_form() {
        let attributes = [("image".to_owned(), "busybox".to_owned()), ("name".to_owned(), "c1".to_owned())];
        let event = |kind: &str, id: &str| Event {
            ns: 1_700_000_000_000_000_005,
            kind: kind.to_owned(),
            action: "prune".to_owned(),
            id: id.to_owned(),
            attributes: attributes.clone().into(),
        };
        let tail = r#""scope":"local","time":1700000000,"timeNano":1700000000000000005}"#;
        let actor = r#"{"ID":"c","Attributes":{"image":"busybox","name":"c1"}}"#;
        for (event, expected) in [
            (
                event("container", "c"),
                format!(
                    r#"{{"status":"prune","id":"c","from":"busybox","Type":"container","Action":"prune","Actor":{actor},{tail}"#
                ),
            ),
            (
                event("image", "c"),
                format!(
                    r#"{{"status":"prune","id":"c","Type":"image","Action":"prune","Actor":{actor},{tail}"#
                ),
            ),
            (event("volume", "c"), format!(r#"{{"Type":"volume","Action":"prune","Actor":{actor},{tail}"#)),
        ] {
            assert_eq!(String::from_utf8(reply::escaped(&message(event))).unwrap(), expected);
        }
    }
}
