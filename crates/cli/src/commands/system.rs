//! `version` and `info`.

use api::ApiVersion;
use api::go::Struct;
use api::json::Json;
use api::system::{ComponentVersion, Version};

use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::table;
use crate::template::{Template, Value};
use crate::time::ansic;
use crate::typed;

mod info;

pub use info::info;

/// Exit code for a template that does not parse.
const BAD_TEMPLATE: i32 = 64;
const MIN_WIDTH: usize = 20;
const PADDING: usize = 1;

/// `version`
pub async fn version(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let template = parse(parsed.text("format"), "version")?;
    let client = session.client().await;
    let (api_version, server) = match &client {
        Ok(client) => (client.api_version().await.ok(), client.version().await.map_err(Error::from)),
        Err(error) => (None, Err(Error::failed(error.to_string()))),
    };
    let client_part = ClientVersion::new(session, api_version.unwrap_or(ApiVersion::NEWEST));
    let (server, mut failure) = match server {
        Ok(server) => (Some(complete(server)), None),
        Err(error) => (None, Some(error)),
    };
    let text = match template {
        None => table::columns(&pretty(session, &client_part, server.as_ref()), MIN_WIDTH, PADDING),
        Some(template) => {
            let client_json = client_part.json();
            let server_json = server.as_ref().map(typed::json).unwrap_or_default();
            let raw =
                Json::Object(vec![("Client".to_owned(), client_json), ("Server".to_owned(), server_json)]);
            let server_value = server.as_ref().map_or(Value::Nil, typed::value);
            let fields =
                vec![("Client".to_owned(), client_part.value()), ("Server".to_owned(), server_value)];
            let data = Value::record("system.versionInfo", fields, Some(raw));
            let mut text = String::new();
            let result = template.run_to(&data, &mut text);
            failure = failure.or(result.err().map(|e| Error::failed(e.to_string())));
            // What was printed before a mistake stays, and the line is ended, as in Docker's CLI.
            format!("{text}\n")
        }
    };
    session.out.write(text.as_bytes())?;
    failure.map_or(Ok(()), Err)
}

/// A template; none for Docker's own layout.
fn parse(format: &str, name: &str) -> Result<Option<Template>, Error> {
    let source = match format {
        "" => return Ok(None),
        "json" => "{{json .}}",
        other => other,
    };
    let wrong = |e| Error::Exit { code: BAD_TEMPLATE, message: format!("template parsing error: {e}") };
    Template::parse(name, source).map(Some).map_err(wrong)
}

/// What the client says of itself.
struct ClientVersion {
    fields: Vec<(&'static str, &'static str, String)>,
    api: String,
    default_api: String,
}

impl ClientVersion {
    fn new(session: &Session<'_>, api: ApiVersion) -> ClientVersion {
        let (api, default_api) = (api.to_string(), ApiVersion::NEWEST.to_string());
        let build = session.build;
        let fields = vec![
            ("Version", "Version", build.version.clone()),
            ("APIVersion", "ApiVersion", api.clone()),
            ("DefaultAPIVersion", "DefaultAPIVersion", default_api.clone()),
            ("GitCommit", "GitCommit", build.commit.clone()),
            ("GoVersion", "GoVersion", String::new()),
            ("Os", "Os", std::env::consts::OS.to_owned()),
            ("Arch", "Arch", arch().to_owned()),
            ("BuildTime", "BuildTime", ansic(&build.time)),
            ("Context", "Context", session.context_name().to_owned()),
        ];
        ClientVersion { fields, api, default_api }
    }

    fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(go, ..)| *go == name).map_or("", |(.., value)| value)
    }

    fn json(&self) -> Json {
        let kept = self.fields.iter().filter(|(go, _, value)| !value.is_empty() || *go == "Context");
        Json::Object(kept.map(|(_, json, value)| ((*json).to_owned(), Json::String(value.clone()))).collect())
    }

    fn go_fields(&self) -> Vec<(String, Value)> {
        let mut out = vec![("Platform".to_owned(), Value::Nil)];
        out.extend(self.fields.iter().map(|(go, _, value)| ((*go).to_owned(), Value::from(value.as_str()))));
        out
    }

    fn value(&self) -> Value {
        Value::record("system.clientVersion", self.go_fields(), Some(self.json()))
    }
}

/// Go's name of this processor.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Docker's client shows dates in Go's old form, and an engine that lists no components as one.
fn complete(mut server: Version) -> Version {
    let components = server.components.get_or_insert_with(Vec::new);
    let engine = components.iter_mut().find(|c| c.name == "Engine");
    match engine {
        Some(engine) => {
            if let Some(time) = engine.details.as_mut().and_then(|d| d.get_mut("BuildTime")) {
                *time = ansic(time);
            }
        }
        None => {
            let details = [
                ("ApiVersion", server.api_version.clone()),
                ("MinAPIVersion", server.min_api_version.clone()),
                ("GitCommit", server.git_commit.clone()),
                ("GoVersion", server.go_version.clone()),
                ("Os", server.os.clone()),
                ("Arch", server.arch.clone()),
                ("BuildTime", ansic(&server.build_time)),
                ("Experimental", server.experimental.to_string()),
            ];
            components.push(ComponentVersion {
                name: "Engine".to_owned(),
                version: server.version.clone(),
                details: Some(details.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            });
        }
    }
    server
}

/// Docker's layout, with tabs between the columns.
fn pretty(session: &Session<'_>, client: &ClientVersion, server: Option<&Version>) -> String {
    let downgraded = if client.api == client.default_api {
        String::new()
    } else {
        format!(" (downgraded from {})", client.default_api)
    };
    let mut out = format!(
        "Client:\n Version:\t{}\n API version:\t{}{downgraded}\n Git commit:\t{}\n Built:\t{}\n OS/Arch:\t{}/{}\n \
         Context:\t{}",
        client.get("Version"),
        client.api,
        client.get("GitCommit"),
        client.get("BuildTime"),
        client.get("Os"),
        client.get("Arch"),
        client.get("Context"),
    );
    if let Some(engine) = engine_line(session) {
        out.push_str(&format!("\n Engine:\t{engine}"));
    }
    if let Some(server) = server {
        let name = &server.platform.name;
        out.push_str(&format!("\n\nServer:{}{name}", if name.is_empty() { "" } else { " " }));
        for component in server.components.iter().flatten() {
            out.push_str(&component_text(component));
        }
    }
    out.push('\n');
    out
}

fn component_text(component: &ComponentVersion) -> String {
    let mut out = format!("\n {}:\n  Version:\t{}", component.name, component.version);
    let detail = |name: &str| component.details.as_ref().and_then(|d| d.get(name)).map_or("", String::as_str);
    if component.name != "Engine" {
        for (name, value) in component.details.iter().flatten() {
            out.push_str(&format!("\n  {name}:\t{value}"));
        }
        return out;
    }
    out.push_str(&format!(
        "\n  API version:\t{} (minimum version {})\n  Go version:\t{}\n  Git commit:\t{}\n  Built:\t{}\n  \
         OS/Arch:\t{}/{}\n  Experimental:\t{}",
        detail("ApiVersion"),
        detail("MinAPIVersion"),
        detail("GoVersion"),
        detail("GitCommit"),
        detail("BuildTime"),
        detail("Os"),
        detail("Arch"),
        detail("Experimental"),
    ));
    out
}

/// Which engine this is, for Tare's own users (DESIGN: a foreign engine always shows here).
fn engine_line(session: &Session<'_>) -> Option<String> {
    if session.program == "docker" { None } else { session.engine_name() }
}

/// The answer's Go fields.
fn go_fields<T: Struct>(answer: &T) -> Vec<(String, Value)> {
    match typed::value(answer) {
        Value::Struct(s) => s.fields.clone(),
        _ => Vec::new(),
    }
}
