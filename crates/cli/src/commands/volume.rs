//! `volume create`, `volume ls`, `volume rm`, `volume update`.

use std::collections::BTreeMap;
use std::rc::Rc;

use api::json::Json;
use api::volume::VolumeCreate;

use super::join;
use super::list::filters;
use crate::error::Error;
use crate::grammar::Parsed;
use crate::listing::{self, volumes};
use crate::session::Session;
use crate::template::Value;

/// Any of these asks for a volume of a swarm.
const CLUSTER: &[&str] =
    &["availability", "group", "limit-bytes", "required-bytes", "scope", "sharing", "type"];

/// `volume create`
pub async fn create(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let mut name = parsed.text("name");
    if let Some(given) = parsed.args.first() {
        if !name.is_empty() {
            return Err(Error::failed(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        name = given;
    }
    let wanted = VolumeCreate {
        cluster_volume_spec: CLUSTER.iter().any(|flag| parsed.changed(flag)).then(|| cluster(parsed)),
        driver: parsed.text("driver").to_owned(),
        driver_opts: Some(pairs(&parsed.list("opt"))),
        labels: Some(pairs(&parsed.list("label"))),
        name: name.to_owned(),
    };
    let made = session.client().await?.volume_create(&wanted).await?;
    session.out.line(&made.name)
}

fn pairs(words: &[String]) -> BTreeMap<String, String> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}

/// What a swarm's manager is told of the volume (`ClusterVolumeSpec`).
fn cluster(parsed: &Parsed) -> Json {
    let text = |value: &str| Json::String(value.to_owned());
    let number = |value: i64| Json::Number(value.to_string());
    let object = |pairs: Vec<(&str, Json)>| {
        Json::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let topologies = |flag: &str| {
        let segments = |given: &String| {
            let given: Vec<String> = given.split(',').map(str::to_owned).collect();
            let segments = pairs(&given).into_iter().map(|(key, value)| (key, Json::String(value)));
            object(vec![("Segments", Json::Object(segments.collect()))])
        };
        Json::Array(parsed.list(flag).iter().map(segments).collect())
    };
    let secret = |(key, value): (String, String)| {
        object(vec![("Key", Json::String(key)), ("Secret", Json::String(value))])
    };
    let kind = if parsed.text("type") == "mount" { "MountVolume" } else { "BlockVolume" };
    object(vec![
        ("Group", text(parsed.text("group"))),
        (
            "AccessMode",
            object(vec![
                ("Scope", text(parsed.text("scope"))),
                ("Sharing", text(parsed.text("sharing"))),
                (kind, object(Vec::new())),
            ]),
        ),
        (
            "AccessibilityRequirements",
            object(vec![
                ("Requisite", topologies("topology-required")),
                ("Preferred", topologies("topology-preferred")),
            ]),
        ),
        (
            "CapacityRange",
            object(vec![
                ("RequiredBytes", number(parsed.bytes("required-bytes"))),
                ("LimitBytes", number(parsed.bytes("limit-bytes"))),
            ]),
        ),
        ("Secrets", Json::Array(pairs(&parsed.list("secret")).into_iter().map(secret).collect())),
        ("Availability", text(parsed.text("availability"))),
    ])
}

/// `volume ls`
pub async fn list(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let (quiet, cluster) = (parsed.switch("quiet"), parsed.switch("cluster"));
    let mut list = session.client().await?.volume_list(&filters(parsed)).await?.volumes;
    if cluster {
        // Volumes of a swarm, which no engine of this API's without one has.
        list.retain(|volume| volume.scope == "global");
    }
    list.sort_by(|a, b| volumes::natural(&a.name, &b.name));
    let given = match parsed.text("format") {
        "" if !session.config.volumes_format.is_empty() && !quiet => session.config.volumes_format.as_str(),
        "" => "table",
        given => given,
    };
    let format = if cluster && !quiet { volumes::CLUSTER.to_owned() } else { volumes::format(given, quiet) };
    let rows: Vec<Value> =
        list.into_iter().map(|volume| Value::Object(Rc::new(volumes::Row(volume)))).collect();
    let text = listing::print(&format, volumes::HEADERS, &rows).map_err(Error::failed)?;
    session.out.write(text.as_bytes())
}

/// `volume rm`
pub async fn remove(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let force = parsed.switch("force");
    let mut failures = Vec::new();
    for name in &parsed.args {
        match client.volume_remove(name, force).await {
            Ok(()) => session.out.line(name)?,
            Err(error) => failures.push(error.into()),
        }
    }
    join(failures)
}

/// `volume update`: a swarm's volumes only.
pub async fn update(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let name = parsed.args.first().map_or("", String::as_str);
    session.client().await?.volume_inspect(name).await?;
    // No engine without a swarm has one that could be changed.
    Err(Error::failed("can only update cluster volumes"))
}
