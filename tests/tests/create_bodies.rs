//! Bodies of `POST /containers/create`, each field of Config and HostConfig at good and at bad values: dockerd and
//! Tare's daemon answer with the same status and message, and keep the same.
//!
//! A body is a JSON object; `Image` is added where it is missing. What Tare does not do yet it refuses with 501, and
//! then the body stands in [`REFUSED`].

use serde_json::{Value, json};
use tests::{Engine, TestHost};

const IMAGE: &str = "127.0.0.1:5000/busybox";

/// Of Config.
const CONFIG: &[&str] = &[
    r#"{}"#,
    r#"{"Cmd":["true"]}"#,
    r#"{"Cmd":"echo hello"}"#,
    r#"{"Cmd":[]}"#,
    r#"{"Cmd":null,"Entrypoint":["/bin/sh"]}"#,
    r#"{"Entrypoint":"sh"}"#,
    r#"{"Entrypoint":[""]}"#,
    r#"{"Entrypoint":[],"Cmd":["x"]}"#,
    r#"{"Hostname":"box"}"#,
    r#"{"Hostname":"box.example.com","Domainname":"example.org"}"#,
    r#"{"Hostname":"a b"}"#,
    r#"{"User":"1000:1000"}"#,
    r#"{"User":"nosuch"}"#,
    r#"{"Env":["A=1","B=","C"]}"#,
    r#"{"Env":["=x"]}"#,
    r#"{"Env":[""]}"#,
    r#"{"Env":["PATH=/x"]}"#,
    r#"{"WorkingDir":"/a/../b/"}"#,
    r#"{"WorkingDir":"relative"}"#,
    r#"{"Labels":{"a":"b","":"c"}}"#,
    r#"{"Labels":null}"#,
    r#"{"StopSignal":"SIGQUIT","StopTimeout":3}"#,
    r#"{"StopSignal":"NOSUCH"}"#,
    r#"{"StopSignal":"9"}"#,
    r#"{"StopTimeout":-1}"#,
    r#"{"Tty":true,"OpenStdin":true,"StdinOnce":true}"#,
    r#"{"AttachStdin":true,"AttachStdout":true,"AttachStderr":true}"#,
    r#"{"ExposedPorts":{"80/tcp":{},"53/udp":{}}}"#,
    r#"{"ExposedPorts":{"80":{}}}"#,
    r#"{"ExposedPorts":{"nosuch/tcp":{}}}"#,
    r#"{"Image":"nosuch:latest"}"#,
    r#"{"Image":"UPPER"}"#,
    r#"{"Image":""}"#,
    r#"{"Healthcheck":{"Test":["NONE"]}}"#,
    r#"{"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":3}}"#,
    r#"{"Healthcheck":{"Test":["CMD","true"],"Interval":5}}"#,
    r#"{"Healthcheck":{"Test":["CMD","true"],"Timeout":-5}}"#,
    r#"{"Healthcheck":{"Test":["CMD","true"],"Retries":-1}}"#,
    r#"{"Volumes":{"relative":{}}}"#,
    r#"{"Volumes":{"/":{}}}"#,
    r#"{"Cmd":5}"#,
    r#"{"Tty":"yes"}"#,
    r#"{"Unknown":1}"#,
];

/// Of HostConfig.
const HOST: &[&str] = &[
    r#"{}"#,
    r#"{"Memory":67108864,"MemorySwap":134217728,"MemoryReservation":33554432}"#,
    r#"{"Memory":1}"#,
    r#"{"Memory":-1}"#,
    r#"{"Memory":67108864,"MemorySwap":1}"#,
    r#"{"MemorySwap":67108864}"#,
    r#"{"MemoryReservation":1}"#,
    r#"{"Memory":67108864,"MemoryReservation":134217728}"#,
    r#"{"MemorySwappiness":50,"Memory":67108864}"#,
    r#"{"MemorySwappiness":101}"#,
    r#"{"NanoCpus":500000000}"#,
    r#"{"NanoCpus":-1}"#,
    r#"{"NanoCpus":99000000000}"#,
    r#"{"NanoCpus":500000000,"CpuQuota":1000}"#,
    r#"{"NanoCpus":500000000,"CpuPeriod":1000}"#,
    r#"{"CpuShares":512,"CpuPeriod":50000,"CpuQuota":25000}"#,
    r#"{"CpuShares":-1}"#,
    r#"{"CpuPeriod":5}"#,
    r#"{"CpuQuota":5}"#,
    r#"{"CpusetCpus":"0","CpusetMems":"0"}"#,
    r#"{"CpusetCpus":"x"}"#,
    r#"{"CpusetCpus":"99"}"#,
    r#"{"CpusetMems":"9"}"#,
    r#"{"PidsLimit":50}"#,
    r#"{"PidsLimit":0}"#,
    r#"{"PidsLimit":-5}"#,
    r#"{"OomScoreAdj":500}"#,
    r#"{"OomScoreAdj":2000}"#,
    r#"{"BlkioWeight":5}"#,
    r#"{"BlkioDeviceReadBps":[{"Path":"/dev/vda","Rate":1048576}]}"#,
    r#"{"Ulimits":[{"Name":"nofile","Soft":10,"Hard":20}]}"#,
    r#"{"Ulimits":[{"Name":"nofile","Soft":30,"Hard":20}]}"#,
    r#"{"Ulimits":[{"Name":"nosuch","Soft":1,"Hard":2}]}"#,
    r#"{"ShmSize":1048576}"#,
    r#"{"ShmSize":-1}"#,
    r#"{"CapAdd":["NET_ADMIN"],"CapDrop":["CAP_CHOWN"]}"#,
    r#"{"CapAdd":["all"],"CapDrop":["ALL"]}"#,
    r#"{"CapAdd":["NOSUCH"]}"#,
    r#"{"CapDrop":["NOSUCH"]}"#,
    r#"{"Privileged":true}"#,
    r#"{"ReadonlyRootfs":true,"Tmpfs":{"/run":"size=1m"}}"#,
    r#"{"Init":true}"#,
    r#"{"Init":false}"#,
    r#"{"AutoRemove":true}"#,
    r#"{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}"#,
    r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}"#,
    r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":3}}"#,
    r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-3}}"#,
    r#"{"RestartPolicy":{"Name":"x"}}"#,
    r#"{"LogConfig":{"Type":"none"}}"#,
    r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m","max-file":"2"}}}"#,
    r#"{"LogConfig":{"Type":"json-file","Config":{"nosuch":"1"}}}"#,
    r#"{"LogConfig":{"Type":"json-file","Config":{"max-file":"2"}}}"#,
    r#"{"LogConfig":{"Type":"nosuch"}}"#,
    r#"{"NetworkMode":"none"}"#,
    r#"{"NetworkMode":"host"}"#,
    r#"{"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}"#,
    r#"{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}"#,
    r#"{"PortBindings":{"80/tcp":[{"HostIp":"nosuch","HostPort":"8080"}]}}"#,
    r#"{"PortBindings":{"80/tcp":null}}"#,
    r#"{"PublishAllPorts":true}"#,
    r#"{"IpcMode":"private"}"#,
    r#"{"IpcMode":"shareable"}"#,
    r#"{"IpcMode":"host"}"#,
    r#"{"IpcMode":"none"}"#,
    r#"{"IpcMode":"container:nosuch"}"#,
    r#"{"IpcMode":"container:giver"}"#,
    r#"{"IpcMode":"x"}"#,
    r#"{"PidMode":"host"}"#,
    r#"{"PidMode":"container:giver"}"#,
    r#"{"PidMode":"container:nosuch"}"#,
    r#"{"PidMode":"x"}"#,
    r#"{"UTSMode":"host"}"#,
    r#"{"UTSMode":"x"}"#,
    r#"{"UsernsMode":"host"}"#,
    r#"{"UsernsMode":"x"}"#,
    r#"{"CgroupnsMode":"host"}"#,
    r#"{"CgroupnsMode":"private"}"#,
    r#"{"CgroupnsMode":"x"}"#,
    r#"{"CgroupParent":"/mine"}"#,
    r#"{"Dns":["1.1.1.1"],"DnsOptions":["ndots:2"],"DnsSearch":["example.com"]}"#,
    r#"{"ExtraHosts":["a:1.2.3.4","b:host-gateway"]}"#,
    r#"{"ExtraHosts":["a"]}"#,
    r#"{"ExtraHosts":["a:x"]}"#,
    r#"{"GroupAdd":["1234"]}"#,
    r#"{"SecurityOpt":["no-new-privileges","seccomp=unconfined","label=disable"]}"#,
    r#"{"SecurityOpt":["x"]}"#,
    r#"{"SecurityOpt":["x=y"]}"#,
    r#"{"SecurityOpt":["no-new-privileges=x"]}"#,
    r#"{"MaskedPaths":[],"ReadonlyPaths":["/proc/sys"]}"#,
    r#"{"Sysctls":{"net.core.somaxconn":"1024"}}"#,
    r#"{"Annotations":{"a":"b"}}"#,
    r#"{"Annotations":{"":"b"}}"#,
    r#"{"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/n","CgroupPermissions":"rw"}]}"#,
    r#"{"DeviceCgroupRules":["c 1:3 rwm"]}"#,
    r#"{"DeviceCgroupRules":["x"]}"#,
    r#"{"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["a.com/b=c"]}]}"#,
    r#"{"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]}"#,
    r#"{"Runtime":"runc"}"#,
    r#"{"Runtime":"nosuch"}"#,
    r#"{"Isolation":"default"}"#,
    r#"{"Isolation":"hyperv"}"#,
    r#"{"ConsoleSize":[24,80]}"#,
    r#"{"ContainerIDFile":"/x"}"#,
    r#"{"Binds":["/tmp:/data:ro"]}"#,
    r#"{"Binds":["/tmp"]}"#,
    r#"{"Binds":["/tmp:/data:nosuch"]}"#,
    r#"{"Binds":["/tmp:relative"]}"#,
    r#"{"Binds":["/tmp:/"]}"#,
    r#"{"Binds":["/a:/data","/b:/data"]}"#,
    r#"{"Tmpfs":{"relative":""}}"#,
    r#"{"Tmpfs":{"/t":"nosuch=1"}}"#,
    r#"{"Mounts":[{"Type":"bind","Source":"/tmp","Target":"/data"}]}"#,
    r#"{"Mounts":[{"Type":"bind","Source":"/nosuch","Target":"/data"}]}"#,
    r#"{"Mounts":[{"Type":"bind","Target":"/data"}]}"#,
    r#"{"Mounts":[{"Type":"tmpfs","Target":"/data","TmpfsOptions":{"SizeBytes":1048576}}]}"#,
    r#"{"Mounts":[{"Type":"nosuch","Target":"/data"}]}"#,
    r#"{"Mounts":[{"Type":"bind","Source":"/tmp","Target":"/data","TmpfsOptions":{}}]}"#,
    r#"{"VolumesFrom":["nosuch"]}"#,
    r#"{"VolumesFrom":["giver:ro"]}"#,
    r#"{"OomKillDisable":true,"Memory":67108864}"#,
    r#"{"KernelMemoryTCP":67108864}"#,
    r#"{"Memory":"x"}"#,
];

/// What Tare refuses by name, or means to answer differently, and why.
const REFUSED: &[(&str, &str)] = &[
    (r#"{"KernelMemoryTCP":67108864}"#, "gone from the kernel; dockerd hands it to a file that is no more"),
    (r#"{"Image":""}"#, "an object without any value is no configuration here"),
    (r#"{"BlkioWeight":5}"#, "the reference looks for another file of the kernel's"),
    (r#"{"NetworkMode":"host"}"#, "the host's name is looked up at each start"),
    (r#"{"UTSMode":"host"}"#, "the host's name is looked up at each start"),
    (r#"{"UsernsMode":"x"}"#, "the reference takes any word and does nothing"),
    (r#"{"Isolation":"default"}"#, "the word asks for nothing and is not kept"),
    (r#"{"Binds":["/tmp"]}"#, "the reference does not show the name of the volume it has made"),
    (r#"{"Binds":["/tmp:/data:nosuch"]}"#, "a client's mistake is 400 here, 500 there"),
    (r#"{"Binds":["/tmp:relative"]}"#, "a client's mistake is 400 here, 500 there"),
    (r#"{"Binds":["/tmp:/"]}"#, "a client's mistake is 400 here, 500 there"),
    (r#"{"Volumes":{"/":{}}}"#, "no container with it can start: refused at once here, at the start there"),
];

#[test]
fn each_body_is_answered_as_dockerd_answers_it() {
    if !Engine::Socket.is_wanted() {
        return;
    }
    let run_all = |engine: Engine| -> Option<Vec<Value>> {
        let host = TestHost::new()?;
        host.start_registry();
        host.start(engine);
        host.cli(engine, &["pull", "-q", IMAGE]).ok();
        let started =
            host.cli(engine, &["run", "-d", "--name", "giver", "--ipc", "shareable", IMAGE, "sleep", "1000"]);
        let giver = started.ok().to_owned();
        Some(bodies().iter().map(|(_, body)| answer(&host, engine, body, &giver)).collect())
    };
    let (expected, found) = std::thread::scope(|scope| {
        let reference = scope.spawn(|| run_all(Engine::Docker));
        let found = run_all(Engine::Socket);
        (reference.join().expect("the reference's run"), found)
    });
    let (Some(expected), Some(found)) = (expected, found) else { return };
    let mut report = String::new();
    for (((name, _), expected), found) in bodies().iter().zip(&expected).zip(&found) {
        let why = differences("", expected, found);
        match REFUSED.iter().any(|(body, _)| body == name) {
            true if why.is_empty() => {
                report.push_str(&format!("\n=== {name}\n  listed as different, but is not\n"))
            }
            false if !why.is_empty() => report.push_str(&format!("\n=== {name}\n{why}")),
            _ => {}
        }
    }
    assert!(report.is_empty(), "different from the reference:\n{report}");
}

/// The bodies and what they are called in reports.
fn bodies() -> Vec<(&'static str, Value)> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect(text);
    let config = CONFIG.iter().map(|text| {
        let mut body = parse(text);
        if body.get("Image").is_none() {
            body["Image"] = json!(IMAGE);
        }
        (*text, body)
    });
    let host = HOST.iter().map(|text| (*text, json!({"Image": IMAGE, "HostConfig": parse(text)})));
    config.chain(host).collect()
}

/// Status, message and warnings, and what is kept.
fn answer(host: &TestHost, engine: Engine, body: &Value, giver: &str) -> Value {
    let socket = if engine == Engine::Docker { "/run/docker.sock" } else { "/run/tare/tare.sock" };
    host.write("/tmp/body", &body.to_string());
    let base = format!("curl -s --unix-socket {socket}");
    let line = format!(
        "{base} -w '\\n%{{http_code}}' -H 'Content-Type: application/json' -d @/tmp/body 'http://d/v1.51/containers/create?name=subject'; \
         echo; {base} http://d/v1.51/containers/subject/json; echo; {base} -X DELETE 'http://d/v1.51/containers/subject?force=1&v=1'"
    );
    let output = host.sh(&line);
    let mut lines = output.stdout.lines().filter(|line| !line.is_empty());
    let mut next = || lines.next().unwrap_or_default();
    let (created, status, kept) = (next(), next(), next());
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let (created, kept) = (parsed(created), parsed(kept));
    let id = created["Id"].as_str().unwrap_or("(none)").to_owned();
    let fields = [
        "Config",
        "HostConfig",
        "Path",
        "Args",
        "Name",
        "Driver",
        "Platform",
        "MountLabel",
        "ProcessLabel",
        "AppArmorProfile",
        "Mounts",
    ];
    let kept: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), kept[*field].clone())).collect();
    let whole = json!({"status": status, "message": created["message"], "warnings": created["Warnings"], "kept": kept});
    let text = whole
        .to_string()
        .replace("/var/lib/tare/", "/var/lib/docker/")
        .replace(&id, "<id>")
        .replace(giver, "<giver>");
    let text = if id.len() > 12 { text.replace(&id[..12], "<short id>") } else { text };
    // Names of volumes are random.
    let mut whole = parsed(&text);
    for mount in whole["kept"]["Mounts"].as_array_mut().into_iter().flatten() {
        if let Some(name) = mount["Name"].as_str().map(str::to_owned) {
            *mount = parsed(&mount.to_string().replace(&name, "<volume>"));
        }
    }
    whole
}

/// dockerd keeps whether a list was sent empty or not at all, Tare does not: both mean that there is nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Where two values differ, a line for each leaf.
fn differences(at: &str, expected: &Value, found: &Value) -> String {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let one = |key: &String| {
                let of =
                    |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(json!("(absent)"));
                differences(&format!("{at}/{key}"), &of(a), &of(b))
            };
            keys.into_iter().map(one).collect()
        }
        (a, b) if a == b || (is_nothing(a) && is_nothing(b)) => String::new(),
        (a, b) => format!("  {at}\n    expected {a}\n    found    {b}\n"),
    }
}
