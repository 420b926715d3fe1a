//! `--link`: what a container is told of another, on the default bridge and on networks that somebody has made.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(told, names, follows, refused, on_networks);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

fn sleeper(host: &TestHost, engine: Engine, name: &str, more: &[&str]) -> String {
    let run = ["run", "-d", "--name", name];
    host.cli(engine, &[&run[..], more, &[BUSYBOX, "sleep", "9999"]].concat()).ok().to_string()
}

/// "told": in the environment and in the hosts file.
fn told(host: &TestHost, engine: Engine) {
    let child = ["--hostname", "h", "-e", "A=1", "-e", "C=x=y", "--expose", "80-82", "--expose", "90/udp"];
    sleeper(host, engine, "db", &child);
    let look = "env | grep DATA_BASE | sort; grep -v ^127 /etc/hosts | grep 'h db'";
    let run = ["run", "--rm", "--name", "web", "--link", "db:data-base", "-e", "DATA_BASE_ENV_A=mine"];
    let seen = host.cli(engine, &[&run[..], &[BUSYBOX, "sh", "-c", look]].concat());
    let address =
        host.cli(engine, &["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db"]);
    let seen = seen.ok().replace(address.ok(), "IP");
    let expected = "DATA_BASE_ENV_A=mine\nDATA_BASE_ENV_C=x=y\nDATA_BASE_NAME=/web/data-base\nDATA_BASE_PORT=tcp://IP:80\n\
        DATA_BASE_PORT_80_TCP=tcp://IP:80\nDATA_BASE_PORT_80_TCP_ADDR=IP\nDATA_BASE_PORT_80_TCP_END=tcp://IP:82\n\
        DATA_BASE_PORT_80_TCP_PORT=80\nDATA_BASE_PORT_80_TCP_PORT_END=82\nDATA_BASE_PORT_80_TCP_PORT_START=80\n\
        DATA_BASE_PORT_80_TCP_PROTO=tcp\nDATA_BASE_PORT_80_TCP_START=tcp://IP:80\nDATA_BASE_PORT_81_TCP=tcp://IP:81\n\
        DATA_BASE_PORT_81_TCP_ADDR=IP\nDATA_BASE_PORT_81_TCP_PORT=81\nDATA_BASE_PORT_81_TCP_PROTO=tcp\n\
        DATA_BASE_PORT_82_TCP=tcp://IP:82\nDATA_BASE_PORT_82_TCP_ADDR=IP\nDATA_BASE_PORT_82_TCP_PORT=82\n\
        DATA_BASE_PORT_82_TCP_PROTO=tcp\nDATA_BASE_PORT_90_UDP=udp://IP:90\nDATA_BASE_PORT_90_UDP_ADDR=IP\n\
        DATA_BASE_PORT_90_UDP_PORT=90\nDATA_BASE_PORT_90_UDP_PROTO=udp\nIP\tdata-base h db";
    assert_eq!(seen, expected);
}

/// "names": a linked container has them by its links, until they are removed.
fn names(host: &TestHost, engine: Engine) {
    let child = sleeper(host, engine, "db", &[]);
    sleeper(host, engine, "web", &["--link", "db:store", "--link", "/db:/x/other"]);
    let list = || host.cli(engine, &["ps", "--no-trunc", "--format", "{{.Names}}"]).ok().to_string();
    let mut lines: Vec<String> = list()
        .lines()
        .map(|line| {
            let mut names: Vec<&str> = line.split(',').collect();
            names.sort_unstable();
            names.join(",")
        })
        .collect();
    lines.sort();
    assert_eq!(lines, ["db,web/other,web/store", "web"]);
    assert_eq!(host.cli(engine, &["inspect", "-f", "{{.Id}}", "web/store"]).ok(), child);
    host.cli(engine, &["rm", "-l", "web/other"]).ok();
    host.cli(engine, &["rename", "web", "page"]).ok();
    host.cli(engine, &["rename", "db", "base"]).ok();
    let links = host.cli(engine, &["inspect", "-f", "{{json .HostConfig.Links}}", "page"]);
    assert_eq!(links.ok(), r#"["/base:/page/store"]"#);
    assert_eq!(
        host.cli(engine, &["ps", "--no-trunc", "-f", "name=base", "--format", "{{.Names}}"]).ok(),
        "base,page/store"
    );
    host.cli(engine, &["rm", "-l", "page/store"]).ok();
    assert_eq!(host.cli(engine, &["inspect", "-f", "{{json .HostConfig.Links}}", "page"]).ok(), "null");
    for (name, text) in [
        ("page", "Conflict, cannot remove the default link name of the container"),
        ("page/nothing", "No such container: page/nothing"),
    ] {
        host.cli(engine, &["rm", "-l", name]).exits(1).says(text);
    }
}

/// "follows": a linked container that comes back with another address is found by its name.
fn follows(host: &TestHost, engine: Engine) {
    sleeper(host, engine, "db", &[]);
    sleeper(host, engine, "web", &["--link", "db:store"]);
    host.cli(engine, &["exec", "web", "sh", "-c", "echo 9.9.9.9 own >>/etc/hosts"]).ok();
    host.cli(engine, &["stop", "-t", "0", "db"]).ok();
    // Somebody else may have got its address meanwhile.
    sleeper(host, engine, "other", &[]);
    host.cli(engine, &["start", "db"]).ok();
    let address =
        host.cli(engine, &["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db"]);
    let seen = host.cli(engine, &["exec", "web", "grep", "store\\|own", "/etc/hosts"]);
    let lines: Vec<&str> = seen.ok().lines().collect();
    assert!(lines.len() == 2 && lines.contains(&"9.9.9.9 own"), "{seen}");
    assert!(lines.iter().any(|line| line.starts_with(&format!("{}\tstore ", address.ok()))), "{seen}");
    host.cli(engine, &["exec", "web", "ping", "-c", "1", "-W", "20", "store"]).ok();
}

fn refused(host: &TestHost, engine: Engine) {
    sleeper(host, engine, "away", &["--network", "none"]);
    host.cli(engine, &["create", "--name", "idle", BUSYBOX, "true"]).ok();
    for (flags, text) in [
        (&["--link", "nope"][..], "could not get container for nope: No such container: nope"),
        (&["--link", ":db"], "could not get container for : "),
        (&["--link", "a:b:c"], "bad format for links: a:b:c"),
        (&["--link", "idle:x", "--name", "one"], "Cannot link to a non running container: /idle AS /one/x"),
        (&["--link", "away:x"], "not attached to default bridge network"),
        (
            &["--network", "host", "--link", "idle"],
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
    ] {
        host.cli(engine, &[&["run", "--rm"][..], flags, &[BUSYBOX, "true"]].concat()).exits(125).says(text);
    }
}

/// "on_networks": there a link is a word that only its own container knows, in that network.
fn on_networks(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    host.cli(engine, &["network", "create", "--subnet", "10.78.0.0/24", "other"]).ok();
    sleeper(host, engine, "db", &["--network", "mine", "--ip", "10.77.0.5"]);
    sleeper(host, engine, "web", &["--network", "mine", "--link", "db:store", "--link", "nobody:none"]);
    host.cli(engine, &["network", "connect", "--ip", "10.78.0.5", "other", "db"]).ok();
    host.cli(engine, &["network", "connect", "--link", "db:late", "other", "web"]).ok();
    let ask = |from: &str, name: &str| {
        let found = host.cli(engine, &["exec", from, "nslookup", name]);
        found.stdout.lines().filter_map(|line| line.strip_prefix("Address: ")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((ask("web", "store"), ask("web", "late")), ("10.77.0.5".into(), "10.78.0.5".into()));
    assert_eq!((ask("db", "store"), ask("web", "none")), (String::new(), String::new()));
    let format = "{{json .HostConfig.Links}} {{json .NetworkSettings.Networks.mine.Links}}";
    let shown = host.cli(engine, &["inspect", "-f", format, "web"]);
    assert_eq!(shown.ok(), r#"null ["db:store","nobody:none"]"#);
}
