//! `system df`: what everything occupies, on the reference and on each of our doors.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(what_there_is_is_counted, details_are_told, types_are_asked_for);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const COUNTS: &str = "{{.Type}} {{.TotalCount}} {{.Active}}";

fn df(host: &TestHost, engine: Engine, args: &[&str]) -> String {
    host.cli(engine, &[&["system", "df"], args].concat()).ok().to_string()
}

/// Two images of which one has a container, two containers of which one runs, two volumes of which one is used.
fn fill(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let work = "head -c 100000 /dev/zero >/vol/f; head -c 50000 /dev/zero >/f; sleep 1000";
    host.cli(engine, &["run", "-d", "--name", "box", "-v", "used:/vol", BUSYBOX, "sh", "-c", work]).ok();
    let written = || host.cli(engine, &["exec", "box", "sh", "-c", "stat -c %s /f || true"]).ok() == "50000";
    assert!(tests::wait::until(std::time::Duration::from_secs(30), written));
    host.cli(engine, &["create", "--name", "still", BUSYBOX, "true"]).ok();
    host.cli(engine, &["volume", "create", "idle"]).ok();
    host.cli(engine, &["commit", "box", "new:1"]).ok();
}

fn what_there_is_is_counted(host: &TestHost, engine: Engine) {
    let empty = "Images 0 0\nContainers 0 0\nLocal Volumes 0 0\nBuild Cache 0 0";
    assert_eq!(df(host, engine, &["--format", COUNTS]), empty);
    fill(host, engine);
    let counts = "Images 2 1\nContainers 2 1\nLocal Volumes 2 1\nBuild Cache 0 0";
    assert_eq!(df(host, engine, &["--format", COUNTS]), counts);
    let table = df(host, engine, &[]);
    let mut lines = table.lines();
    let columns = |line: &str| {
        line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(columns(lines.next().unwrap_or_default()), ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
    let volumes = columns(lines.nth(2).unwrap_or_default());
    assert_eq!(volumes, ["Local Volumes", "2", "1", "100kB", "0B (0%)"], "{table}");
    assert_eq!(columns(lines.next().unwrap_or_default()), ["Build Cache", "0", "0", "0B", "0B"]);
    let json = df(host, engine, &["--format", "json"]);
    assert!(json.lines().count() == 4 && json.starts_with("{\"Active\":\"1\",\"Reclaimable\":\""), "{json}");
}

fn details_are_told(host: &TestHost, engine: Engine) {
    fill(host, engine);
    let told = df(host, engine, &["-v"]);
    for line in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
        "VOLUME NAME   LINKS     SIZE",
        "idle          0         0B",
        "used          1         100kB",
        "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED",
    ] {
        assert!(told.lines().any(|l| l.trim_end() == line), "{line:?}\n{told}");
    }
    let heads = [
        "REPOSITORY               TAG       IMAGE ID       CREATED",
        "CONTAINER ID   IMAGE                    COMMAND",
    ];
    assert!(heads.iter().all(|head| told.lines().any(|l| l.starts_with(head))), "{told}");
    let format = "{{range .Images}}{{.Repository}}:{{.Tag}} {{.Containers}};{{end}}{{range .Containers}}{{.Names}} {{.LocalVolumes}} {{.State}};{{end}}{{len .BuildCache}};{{range .Volumes}}{{.Name}} {{.Links}};{{end}}";
    let all = df(host, engine, &["-v", "--format", format]);
    // dockerd's volumes have no order.
    let mut parts: Vec<&str> = all.split(';').collect();
    parts[5..].sort_unstable();
    let named = format!("{BUSYBOX}:latest 2");
    assert_eq!(parts, ["new:1 0", &named, "still 0 created", "box 1 running", "0", "", "idle 0", "used 1"]);
    let json: serde_json::Value =
        serde_json::from_str(&df(host, engine, &["-v", "--format", "json"])).unwrap();
    let sizes = json["Volumes"].as_array().map(|all| all.iter().filter(|v| v["Size"] == "100kB").count());
    assert_eq!(sizes, Some(1), "{json}");
    assert_eq!(json["Containers"][1]["Names"], "box", "{json}");
    // What two images share is told of both.
    let shared = json["Images"][0]["SharedSize"].as_str().unwrap_or_default();
    assert!(shared.ends_with("MB"), "{json}");
}

fn types_are_asked_for(host: &TestHost, engine: Engine) {
    if engine == Engine::Tare {
        return;
    }
    fill(host, engine);
    let socket = if engine == Engine::Docker { "/var/run/docker.sock" } else { "/run/tare/tare.sock" };
    let get = |path: &str| {
        host.sh(&format!("curl -s --unix-socket {socket} 'http://d{path}'")).ok().trim_end().to_string()
    };
    let kinds = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let is_list = |key: &&&str| body[**key].is_array();
        ["Images", "Containers", "Volumes", "BuildCache"]
            .iter()
            .filter(is_list)
            .copied()
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (path, expected) in [
        ("/v1.51/system/df", "Images Containers Volumes BuildCache"),
        ("/v1.51/system/df?type=image", "Images"),
        ("/v1.51/system/df?type=container&type=volume", "Containers Volumes"),
        ("/v1.43/system/df?type=build-cache", "BuildCache"),
        ("/v1.41/system/df?type=image", "Images Containers Volumes BuildCache"),
    ] {
        assert_eq!(kinds(&get(path)), expected, "{path}");
    }
    assert_eq!(get("/v1.51/system/df?type=nope"), "{\"message\":\"unknown object type: nope\"}");
}
