//! The engine's answers as templates see them: Go's structs, maps, nil slices and nil maps.
//!
//! `api` gives a value's Go form (Go names, every field present); whether an object is a struct or a
//! map, and whether `null` is a nil slice, map or pointer, is told here by the field's name.

use api::go::{Go, Struct, encode};
use api::image::ImageInspect;
use api::json::Json;

use crate::template::Value;
use crate::template::number;

/// Fields that are maps with text values.
const TEXT_MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "Data",
    "Details",
    "DriverOpts",
    "Labels",
    "Options",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
];
/// Fields that are maps with other values.
const MAPS: &[&str] =
    &["EndpointsConfig", "ExposedPorts", "IndexConfigs", "Networks", "PortBindings", "Runtimes", "Volumes"];
/// Fields that are slices, for those that can be nil.
const LISTS: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "CDISpecDirs",
    "Cmd",
    "Components",
    "DNS",
    "DNSNames",
    "DNSOptions",
    "DNSSearch",
    "DefaultAddressPools",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "DiscoveredDevices",
    "DriverStatus",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GenericResources",
    "GroupAdd",
    "InsecureRegistryCIDRs",
    "Labels",
    "Layers",
    "LinkLocalIPs",
    "Links",
    "Log",
    "Manifests",
    "MaskedPaths",
    "Mirrors",
    "Mounts",
    "Names",
    "Network",
    "OSFeatures",
    "OnBuild",
    "ReadonlyPaths",
    "RemoteManagers",
    "RepoDigests",
    "RepoTags",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "SecurityOpt",
    "SecurityOptions",
    "Shell",
    "Test",
    "URLs",
    "Ulimits",
    "Volume",
    "VolumesFrom",
    "Warnings",
    "Authorization",
];

/// An answer as a template's data.
pub fn value<T: Struct>(answer: &T) -> Value {
    convert(&answer.to_go(), Some(&json(answer)), &format!("*{}", T::NAME), "")
}

/// An image as a template's data. Docker's client knows a smaller configuration than its engine
/// sends (the OCI image specification's, with Docker's additions), and leaves out what is empty.
pub fn image(answer: &ImageInspect) -> Value {
    const CONFIG: &[&str] = &[
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "ArgsEscaped",
        "Healthcheck",
        "OnBuild",
        "Shell",
    ];
    let narrow = |whole: Json, keep: fn(&Json) -> bool| match whole {
        Json::Object(pairs) => Json::Object(
            pairs
                .into_iter()
                .map(|(name, value)| match value.as_object() {
                    Some(config) if name == "Config" => {
                        let known = CONFIG.iter().filter_map(|n| config.iter().find(|(k, _)| k == n));
                        (name, Json::Object(known.filter(|(_, v)| keep(v)).cloned().collect()))
                    }
                    _ => (name, value),
                })
                .collect(),
        ),
        other => other,
    };
    let go = narrow(answer.to_go(), |_| true);
    let json = narrow(json(answer), |value| !is_empty(value));
    convert(&go, Some(&json), &format!("*{}", ImageInspect::NAME), "")
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(pairs) => pairs.is_empty(),
        _ => false,
    }
}

/// What Go would print of a decoded answer as JSON: not always what the engine sent.
pub fn json<T: Go>(answer: &T) -> Json {
    Json::parse(encode(answer).as_bytes()).unwrap_or_default()
}

/// A Go value; `name` and `parent` are the fields that hold it.
pub fn convert(go: &Json, raw: Option<&Json>, name: &str, parent: &str) -> Value {
    match go {
        Json::Null => null(name, parent),
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(digits) => number(digits),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => {
            let raws = raw.and_then(Json::as_array);
            Value::list(
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| convert(item, raws.and_then(|r| r.get(at)), name, name))
                    .collect(),
            )
        }
        Json::Object(pairs) => {
            let child = |key: &str, item: &Json, parent: &str| {
                let raw = raw.and_then(|r| find(r, key));
                (key.to_owned(), convert(item, raw, key, parent))
            };
            if let Some(zero) = map_zero(name, parent) {
                let entries = pairs.iter().map(|(k, v)| child(k, v, name)).collect();
                return Value::map(entries, false, zero);
            }
            let fields = pairs.iter().map(|(k, v)| child(k, v, name)).collect();
            let type_name = if name.is_empty() { parent } else { name };
            Value::record(type_name, fields, raw.cloned())
        }
    }
}

/// The field of an object by its Go name: JSON names differ from Go's only in case.
fn find<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    let pairs = object.as_object()?;
    let exact = pairs.iter().find(|(k, _)| k == name);
    exact.or_else(|| pairs.iter().find(|(k, _)| k.eq_ignore_ascii_case(name))).map(|(_, v)| v)
}

fn null(name: &str, parent: &str) -> Value {
    match map_zero(name, parent) {
        // The ports of a container are a map, the log of a health check is a list.
        Some(zero) => Value::map(Vec::new(), true, zero),
        None if LISTS.contains(&name) || parent == "Ports" || parent == "PortBindings" => Value::List(None),
        None => Value::Nil,
    }
}

/// What a missing key of a map yields; none if the field is no map.
fn map_zero(name: &str, parent: &str) -> Option<Value> {
    match name {
        // A daemon's labels are a list, everybody else's a map; only the answer to `info` is flat.
        "Labels" if parent.ends_with("system.Info") => None,
        "Config" if parent == "LogConfig" => Some(Value::from("")),
        "Ports" | "PortBindings" => Some(Value::List(None)),
        "Volumes" if parent.ends_with("VolumeList") => None,
        _ if TEXT_MAPS.contains(&name) => Some(Value::from("")),
        _ if MAPS.contains(&name) => Some(Value::Nil),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;
    use api::container::ContainerInspect;

    #[test]
    fn an_inspected_container() {
        let text = br#"{"Id":"abc","State":{"Status":"running","Pid":7},"Name":"/web",
            "HostConfig":{"Binds":null,"Memory":5,"LogConfig":{"Type":"json-file","Config":{}},"NanoCpus":3},
            "Config":{"Labels":{"a":"1"},"Env":null,"Cmd":["x","y"],"Volumes":null},"Mounts":[],
            "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"81/tcp":null},
            "Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}"#;
        let answer: ContainerInspect = api::go::decode(text).unwrap();
        let data = value(&answer);
        for (template, want) in [
            ("{{.ID}} {{.Name}} {{.State.Pid}} {{.State.Running}}", "abc /web 7 false"),
            ("{{.State.Health}}", "<nil>"),
            ("{{.HostConfig.Binds}} {{.Config.Env}} {{.Config.Volumes}}", "[] [] map[]"),
            (
                "{{json .HostConfig.Binds}} {{json .Config.Labels}} {{json .State}}",
                "null {\"a\":\"1\"} {\"Status\":\"running\",\"Running\":false,\"Paused\":false,\"Restarting\":false,\"OOMKilled\":false,\"Dead\":false,\"Pid\":7,\"ExitCode\":0,\"Error\":\"\",\"StartedAt\":\"\",\"FinishedAt\":\"\"}",
            ),
            ("{{.HostConfig.NanoCPUs}} {{.HostConfig.Memory}} {{.HostConfig.LogConfig.Config}}", "3 5 map[]"),
            ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:[]]"),
            ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
            ("{{index .Config.Labels \"zz\"}}|{{.Config.Labels.a}}", "|1"),
            ("{{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{len $c}} {{end}}", "80/tcp=1 81/tcp=0 "),
            ("{{.HostConfig.Init}} {{.Config.StopTimeout}}", "<nil> <nil>"),
            ("{{.Config.Cmd}} {{join .Config.Cmd \" \"}}", "[x y] x y"),
        ] {
            let got = Template::parse("", template).unwrap().run(&data);
            assert_eq!(got.unwrap_or_else(|e| e.0), want, "{template}");
        }
    }
}
