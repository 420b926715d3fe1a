//! Which events somebody wants to see, by dockerd's rules.
//!
//! Values of one name are alternatives, all names must fit; labels must all be there. Names of things match by
//! their beginning, images by name or id with and without a tag.

use super::Event;
use std::collections::BTreeMap;

/// Names of things of which an event has one: its own id or name.
const THINGS: [&str; 9] =
    ["daemon", "container", "plugin", "volume", "network", "node", "service", "secret", "config"];
/// Actions that go on with a colon and a command or a state: such a filter matches by the beginning.
const OPEN: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// dockerd's filters by name, each with its values; unknown names are ignored, as there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter(pub BTreeMap<String, Vec<String>>);

impl EventFilter {
    /// Whether an event is wanted.
    pub fn includes(&self, event: &Event) -> bool {
        let name = event.attributes.get("name").map_or("", String::as_str);
        self.action(&event.action)
            && self.exactly("type", &[&event.kind])
            && self.exactly("scope", &["local"])
            && THINGS.iter().all(|thing| self.begins(thing, &[&event.id, name]))
            && self.image(event)
            && self.labels(event)
    }

    fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    fn exactly(&self, key: &str, of: &[&str]) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|v| of.contains(&v.as_str()))
    }

    fn begins(&self, key: &str, of: &[&str]) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|v| of.iter().any(|text| text.starts_with(v.as_str())))
    }

    fn action(&self, action: &str) -> bool {
        match self.values("event").iter().any(|v| OPEN.contains(&v.as_str())) {
            true => self.begins("event", &[action]),
            false => self.exactly("event", &[action]),
        }
    }

    fn image(&self, event: &Event) -> bool {
        let key = if event.kind == "image" { "name" } else { "image" };
        let name = event.attributes.get(key).map_or("", String::as_str);
        self.exactly("image", &[&event.id, name, without_tag(&event.id), without_tag(name)])
    }

    fn labels(&self, event: &Event) -> bool {
        self.values("label").iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => event.attributes.get(key).is_some_and(|v| v == value),
            None => event.attributes.contains_key(wanted),
        })
    }
}

/// An image's familiar name without tag and digest; text that is none as it is.
fn without_tag(text: &str) -> &str {
    let name = text.split('@').next().unwrap_or(text);
    match name.rfind(':') {
        Some(at) if !name[at..].contains('/') => &name[..at],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
        Event { ns: 1, kind: kind.into(), action: action.into(), id: id.into(), attributes }
    }

    #[test]
    fn filters_are_dockers() {
        let start =
            event("container", "start", "abcdef", &[("name", "web1"), ("image", "r:5000/a:1"), ("l", "v")]);
        let probe = event("container", "exec_create: sh -c x", "abcdef", &[("name", "web1")]);
        let tag = event("image", "tag", "sha256:0123", &[("name", "r:5000/a:1")]);
        for (filter, of, expected) in [
            ("type=container", &start, true),
            ("type=container", &tag, false),
            ("event=start", &start, true),
            ("event=sta", &start, false),
            ("event=exec_create", &probe, true),
            ("event=exec_create: sh -c x", &probe, true),
            ("event=exec_start", &probe, false),
            ("container=web1", &start, true),
            ("container=web", &start, true),
            ("container=abc", &start, true),
            ("container=web1", &tag, false),
            ("image=r:5000/a:1", &start, true),
            ("image=r:5000/a", &start, true),
            ("image=r:5000", &start, false),
            ("image=r:5000/a", &tag, true),
            ("image=sha256:0123", &tag, true),
            ("label=l", &start, true),
            ("label=l=v", &start, true),
            ("label=l=w", &start, false),
            ("scope=local", &start, true),
            ("scope=swarm", &start, false),
            ("nonsense=x", &start, true),
        ] {
            let (key, value) = filter.split_once('=').unwrap();
            let wanted = EventFilter([(key.to_string(), vec![value.to_string()])].into());
            assert_eq!(wanted.includes(of), expected, "{filter} {}", of.action);
        }
        let both = |values: [(&str, &[&str]); 2]| {
            EventFilter(
                values
                    .into_iter()
                    .map(|(k, v)| (k.to_string(), v.iter().map(|v| (*v).to_string()).collect()))
                    .collect(),
            )
        };
        assert!(both([("event", &["die", "start"]), ("type", &["container"])]).includes(&start));
        assert!(!both([("event", &["die", "start"]), ("type", &["image"])]).includes(&start));
    }
}
