//! `info`.

use std::fmt::Write as _;

use api::ApiVersion;
use api::json::Json;
use api::system::Info;

use super::super::join;
use super::{ClientVersion, engine_line, go_fields, parse};
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::template::{Template, Value};
use crate::typed;
use crate::units::binary_size;

/// `info`
pub async fn info(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let format = parsed.text("format");
    let template = parse(format, "")?;
    let client = ClientVersion::new(session, ApiVersion::NEWEST);
    let mut problems = Vec::new();
    let mut connection = None;
    let server = if template.as_ref().is_some_and(|t| is_about_client(session, t, &client)) {
        None
    } else {
        match ask(session).await {
            Ok(info) => Some(info),
            Err(error) if error.is_connection() || !matches!(error, Error::Engine(_)) => {
                connection = Some(error);
                None
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        }
    };
    let Some(template) = template else {
        session.out.write(pretty(session, &client, server.as_ref()).as_bytes())?;
        for warning in server.iter().flat_map(|s| s.warnings.iter().flatten()) {
            session.err.line(warning)?;
        }
        for problem in &problems {
            session.err.line(&format!("ERROR: {problem}"))?;
        }
        let mut all: Vec<Error> =
            problems.first().map(|_| Error::failed("errors pretty printing info")).into_iter().collect();
        all.extend(connection);
        return join(all);
    };
    for problem in &problems {
        session.err.line(problem)?;
    }
    let data = data(session, &client, &server.unwrap_or_default(), &problems);
    let mut text = String::new();
    let result = template.run_to(&data, &mut text).map_err(|e| Error::failed(e.to_string()));
    session.out.line(&text)?;
    join(connection.into_iter().chain(result.err()).collect())
}

async fn ask(session: &Session<'_>) -> Result<Info, Error> {
    Ok(session.client().await?.info().await?)
}

/// Whether a template shows nothing of the engine: then the engine need not be asked.
fn is_about_client(session: &Session<'_>, template: &Template, client: &ClientVersion) -> bool {
    let fields = vec![
        ("ClientInfo".to_owned(), client_info(session, client)),
        ("ClientErrors".to_owned(), Value::List(None)),
    ];
    let alone = Value::record("system.sparseInfo", fields, Some(Json::Null));
    // `{{json .}}` and texts without fields run on anything.
    template.run(&alone).is_ok_and(|text| !text.contains("null"))
}

fn client_info(session: &Session<'_>, client: &ClientVersion) -> Value {
    let mut fields = vec![("Debug".to_owned(), Value::Bool(session.debug))];
    fields.extend(client.go_fields());
    fields.push(("Plugins".to_owned(), Value::list(Vec::new())));
    fields.push(("Warnings".to_owned(), Value::List(None)));
    Value::record("*system.clientInfo", fields, Some(client_json(session, client)))
}

fn client_json(session: &Session<'_>, client: &ClientVersion) -> Json {
    let mut pairs = vec![("Debug".to_owned(), Json::Bool(session.debug))];
    if let Json::Object(version) = client.json() {
        pairs.extend(version.into_iter().filter(|(k, _)| k != "ApiVersion"));
    }
    pairs.push(("Plugins".to_owned(), Json::Array(Vec::new())));
    pairs.push(("Warnings".to_owned(), Json::Null));
    Json::Object(pairs)
}

fn data(session: &Session<'_>, client: &ClientVersion, server: &Info, problems: &[String]) -> Value {
    let mut fields = go_fields(server);
    let errors = problems.iter().map(|p| Value::from(p.as_str())).collect();
    fields.push(("ServerErrors".to_owned(), Value::list(errors)));
    fields.push(("UserName".to_owned(), Value::from("")));
    fields.push(("ClientInfo".to_owned(), client_info(session, client)));
    fields.push(("ClientErrors".to_owned(), Value::List(None)));
    let mut json = typed::json(server);
    if let Json::Object(pairs) = &mut json {
        if !problems.is_empty() {
            let texts = problems.iter().map(|p| Json::String(p.clone())).collect();
            pairs.push(("ServerErrors".to_owned(), Json::Array(texts)));
        }
        pairs.push(("ClientInfo".to_owned(), client_json(session, client)));
    }
    Value::record("system.dockerInfo", fields, Some(json))
}

/// Docker's layout.
fn pretty(session: &Session<'_>, client: &ClientVersion, server: Option<&Info>) -> String {
    let mut out = String::from("Client:\n");
    let version = client.get("Version");
    if !version.is_empty() {
        let _ = writeln!(out, " Version:    {version}");
    }
    let _ = writeln!(out, " Context:    {}", client.get("Context"));
    if let Some(engine) = engine_line(session) {
        let _ = writeln!(out, " Engine:     {engine}");
    }
    let _ = writeln!(out, " Debug Mode: {}", session.debug);
    out.push_str("\nServer:\n");
    if let Some(server) = server {
        engine_part(&mut out, server);
        security_part(&mut out, server);
        machine_part(&mut out, server, session.debug);
        settings_part(&mut out, server);
        out.push('\n');
    }
    out
}

/// A line, unless it would be empty.
fn some(out: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, " {label}: {value}");
    }
}

fn lines(out: &mut String, label: &str, items: impl Iterator<Item = String>) {
    let mut items = items.peekable();
    if items.peek().is_some() {
        let _ = writeln!(out, " {label}:");
        for item in items {
            let _ = writeln!(out, "  {item}");
        }
    }
}

fn engine_part(out: &mut String, s: &Info) {
    let _ = writeln!(
        out,
        " Containers: {}\n  Running: {}\n  Paused: {}\n  Stopped: {}\n Images: {}",
        s.containers, s.containers_running, s.containers_paused, s.containers_stopped, s.images
    );
    some(out, "Server Version", &s.server_version);
    some(out, "Storage Driver", &s.driver);
    for [name, value] in s.driver_status.iter().flatten() {
        let _ = writeln!(out, "  {name}: {value}");
    }
    some(out, "Logging Driver", &s.logging_driver);
    for (name, value) in s.logging_options.iter().flatten() {
        let _ = writeln!(out, "  {name}: {value}");
    }
    some(out, "Cgroup Driver", &s.cgroup_driver);
    some(out, "Cgroup Version", &s.cgroup_version);
    let words = |list: &Option<Vec<String>>| list.as_deref().unwrap_or(&[]).join(" ");
    let _ = writeln!(
        out,
        " Plugins:\n  Volume: {}\n  Network: {}",
        words(&s.plugins.volume),
        words(&s.plugins.network)
    );
    if s.plugins.authorization.as_ref().is_some_and(|a| !a.is_empty()) {
        let _ = writeln!(out, "  Authorization: {}", words(&s.plugins.authorization));
    }
    let _ = writeln!(out, "  Log: {}", words(&s.plugins.log));
    lines(out, "CDI spec directories", s.cdi_spec_dirs.iter().flatten().cloned());
    let device = |d: &api::system::DeviceInfo| format!("{}: {}", d.source, d.id);
    lines(out, "Discovered Devices", s.discovered_devices.iter().flatten().map(device));
    let _ = writeln!(out, " Swarm: {}", s.swarm.local_node_state);
    if let Some(runtimes) = s.runtimes.as_ref().filter(|r| !r.is_empty()) {
        let names: Vec<&str> = runtimes.keys().map(String::as_str).collect();
        let _ = writeln!(out, " Runtimes: {}\n Default Runtime: {}", names.join(" "), s.default_runtime);
    }
}

fn security_part(out: &mut String, s: &Info) {
    if s.os_type != "linux" {
        return;
    }
    let _ = writeln!(
        out,
        " Init Binary: {}\n containerd version: {}\n runc version: {}\n init version: {}",
        s.init_binary, s.containerd_commit.id, s.runc_commit.id, s.init_commit.id
    );
    let options = s.security_options.as_deref().unwrap_or(&[]);
    if options.is_empty() {
        return;
    }
    out.push_str(" Security Options:\n");
    for option in options {
        // `name=seccomp,profile=builtin`, or a bare name from old engines.
        let pairs: Vec<(&str, &str)> =
            option.split(',').map(|p| p.split_once('=').unwrap_or(("name", p))).collect();
        let name = pairs.iter().find(|(k, _)| *k == "name").map_or("", |(_, v)| v);
        let _ = writeln!(out, "  {name}");
        for (_, profile) in pairs.iter().filter(|(k, _)| *k == "profile") {
            let _ = writeln!(out, "   Profile: {profile}");
        }
    }
}

fn machine_part(out: &mut String, s: &Info, debug: bool) {
    some(out, "Kernel Version", &s.kernel_version);
    some(out, "Operating System", &s.operating_system);
    some(out, "OSType", &s.os_type);
    some(out, "Architecture", &s.architecture);
    let _ = writeln!(out, " CPUs: {}\n Total Memory: {}", s.ncpu, binary_size(s.mem_total));
    some(out, "Name", &s.name);
    some(out, "ID", &s.id);
    let _ = writeln!(out, " Docker Root Dir: {}\n Debug Mode: {}", s.docker_root_dir, s.debug);
    if s.debug || debug {
        let _ = writeln!(
            out,
            "  File Descriptors: {}\n  Goroutines: {}\n  System Time: {}\n  EventsListeners: {}",
            s.nfd, s.n_goroutines, s.system_time, s.n_events_listener
        );
    }
    some(out, "HTTP Proxy", &s.http_proxy);
    some(out, "HTTPS Proxy", &s.https_proxy);
    some(out, "No Proxy", &s.no_proxy);
}

fn settings_part(out: &mut String, s: &Info) {
    lines(out, "Labels", s.labels.iter().flatten().cloned());
    let _ = writeln!(out, " Experimental: {}", s.experimental_build);
    if let Some(registry) = &s.registry_config {
        let indexes = registry.index_configs.iter().flatten().filter(|(_, i)| !i.secure);
        let insecure = indexes.map(|(_, i)| i.name.clone());
        let any = registry.index_configs.as_ref().is_some_and(|i| !i.is_empty())
            || registry.insecure_registry_cidrs.as_ref().is_some_and(|c| !c.is_empty());
        if any {
            out.push_str(" Insecure Registries:\n");
            for name in insecure.chain(registry.insecure_registry_cidrs.iter().flatten().cloned()) {
                let _ = writeln!(out, "  {name}");
            }
        }
        lines(out, "Registry Mirrors", registry.mirrors.iter().flatten().cloned());
    }
    let _ = writeln!(out, " Live Restore Enabled: {}", s.live_restore_enabled);
    some(out, "Product License", &s.product_license);
    if let Some(pools) = s.default_address_pools.as_ref().filter(|p| !p.is_empty()) {
        out.push_str(" Default Address Pools:\n");
        for pool in pools {
            let _ = writeln!(out, "   Base: {}, Size: {}", pool.base, pool.size);
        }
    }
}
