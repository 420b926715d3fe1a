//! Names on user-defined networks: who is found by which name, whom the resolver asks else, and that it always answers.
//!
//! The client is the harness's own, in the container's network namespace; the servers run on the host.

use tests::command::Background;
use tests::{Engine, Output, TestHost, on_each_engine};

on_each_engine!(
    names,
    live_members,
    upstreams,
    bad_upstreams,
    servers_of_the_container,
    internal,
    resolv_conf,
    killed,
    storm,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

/// Runs a container that sleeps; the answer is its id.
fn member(host: &TestHost, engine: Engine, name: &str, network: &str, more: &[&str]) -> String {
    let run = ["run", "-d", "--name", name, "--network", network];
    let output = host.cli(engine, &[&run[..], more, &[BUSYBOX, "sleep", "9999"]].concat());
    output.ok().to_string()
}

/// Asks what a container would be answered.
fn ask_by(host: &TestHost, engine: Engine, transport: &str, from: &str, kind: &str, names: &str) -> String {
    let helper = host.helper();
    let line = format!(
        "exec nsenter -n -t $($E inspect -f '{{{{.State.Pid}}}}' {from}) {helper} dns-ask {transport} 127.0.0.11 {kind} {names}"
    );
    host.sh_with(engine, &line).ok().to_string()
}

fn ask(host: &TestHost, engine: Engine, from: &str, names: &str) -> String {
    ask_by(host, engine, "udp", from, "A", names)
}

/// A name server on the host; the host's own configuration leads to those in `addresses`.
fn serve(host: &TestHost, address: &str, how: &str) -> Background {
    let server = host.spawn(&format!("exec {} dns-serve {address} {how}", host.helper()));
    server.wait_for("ready");
    server
}

/// The same in a container's network.
fn serve_in(host: &TestHost, engine: Engine, container: &str, address: &str, how: &str) -> Background {
    let pid = format!("$($E inspect -f '{{{{.State.Pid}}}}' {container})");
    let line = format!("exec nsenter -n -t {pid} {} dns-serve {address} {how}", host.helper());
    let server = host.spawn_with(engine, &line);
    server.wait_for("ready");
    server
}

fn use_servers(host: &TestHost, addresses: &[&str]) {
    let lines: Vec<String> = addresses.iter().map(|address| format!("nameserver {address}")).collect();
    host.write("/etc/resolv.conf", &format!("{}\n", lines.join("\n")));
}

fn words(output: &Output) -> Vec<String> {
    output.ok().split_whitespace().map(str::to_string).collect()
}

fn names(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    host.cli(engine, &["network", "create", "--subnet", "10.78.0.0/24", "other"]).ok();
    let address = |n: u8| format!("10.77.0.{n}");
    let alias = ["--network-alias", "both", "--hostname"];
    let one = member(host, engine, "one", "mine", &[&alias[..], &["h1", "--ip", &address(11)]].concat());
    member(host, engine, "Two", "mine", &[&alias[..], &["h2", "--ip", &address(12)]].concat());
    member(host, engine, "far", "other", &["--network-alias", "both", "--ip", "10.78.0.11"]);
    let short = &one[..12];
    let seen = ask(
        host,
        engine,
        "Two",
        &format!("one ONE one.mine one. {short} h1 both two far one.other both.mine"),
    );
    let expected = [
        "ok 10.77.0.11",
        "ok 10.77.0.11",
        "ok 10.77.0.11",
        "ok 10.77.0.11",
        "ok 10.77.0.11",
        "ok 10.77.0.11",
        "ok 10.77.0.11 10.77.0.12",
        "ok 10.77.0.12",
    ];
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..8], expected, "{seen}");
    // What is on another network only is not known here: it was asked of servers that are not there.
    assert!(lines[8].starts_with("failed") && lines[9].starts_with("failed"), "{seen}");
    assert_eq!(lines[10], "ok 10.77.0.11 10.77.0.12");
    assert_eq!(
        ask_by(host, engine, "tcp", "Two", "A", "one both"),
        "ok 10.77.0.11\nok 10.77.0.11 10.77.0.12"
    );
    // A name that has no address of a family is no name that does not exist.
    assert_eq!(ask_by(host, engine, "udp", "Two", "AAAA", "one"), "ok");
    let reverse =
        ask_by(host, engine, "udp", "Two", "PTR", "11.0.77.10.in-addr.arpa 12.0.77.10.in-addr.arpa");
    assert_eq!(reverse, "ok one.mine\nok Two.mine");
    // Port 53 is the container's own, on every address.
    let own = serve_in(host, engine, "Two", "0.0.0.0", "192.0.2.99");
    assert_eq!(ask(host, engine, "Two", "one"), "ok 10.77.0.11");
    drop(own);
    host.cli(engine, &["rename", "one", "uno"]).ok();
    assert_eq!(ask(host, engine, "Two", "uno both"), "ok 10.77.0.11\nok 10.77.0.11 10.77.0.12");
    assert!(!ask(host, engine, "Two", "one").starts_with("ok"));
    host.cli(engine, &["stop", "-t", "0", "uno"]).ok();
    assert_eq!(ask(host, engine, "Two", "both"), "ok 10.77.0.12");
    assert!(!ask(host, engine, "Two", "uno").starts_with("ok"));
    host.cli(engine, &["start", "uno"]).ok();
    assert_eq!(ask(host, engine, "Two", "uno"), "ok 10.77.0.11");
}

/// Each of several addresses comes first now and then.
fn rotates(host: &TestHost, engine: Engine) {
    let line = "for i in $(seq 60); do $E exec asker sh -c 'nslookup both | grep Address | sed -n 2p'; done | sort -u | wc -l";
    assert_eq!(host.sh_with(engine, line).ok(), "2");
}

fn live_members(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    host.cli(engine, &["network", "create", "--subnet", "10.78.0.0/24", "other"]).ok();
    member(host, engine, "asker", "mine", &["--ip", "10.77.0.10"]);
    member(host, engine, "guest", "bridge", &[]);
    member(host, engine, "far", "other", &["--ip", "10.78.0.9"]);
    assert!(!ask(host, engine, "asker", "guest").starts_with("ok"));
    host.cli(engine, &["network", "connect", "--ip", "10.77.0.20", "--alias", "both", "mine", "guest"]).ok();
    assert_eq!(ask(host, engine, "asker", "guest both"), "ok 10.77.0.20\nok 10.77.0.20");
    // The one that came without a resolver has got one, and its programs use it.
    let resolv = host.cli(engine, &["exec", "guest", "cat", "/etc/resolv.conf"]);
    assert!(resolv.ok().contains("nameserver 127.0.0.11"), "{resolv}");
    assert_eq!(ask(host, engine, "guest", "asker"), "ok 10.77.0.10");
    host.cli(engine, &["network", "connect", "--ip", "10.77.0.21", "--alias", "both", "mine", "far"]).ok();
    assert_eq!(ask(host, engine, "asker", "both"), "ok 10.77.0.20 10.77.0.21");
    rotates(host, engine);
    assert_eq!(ask(host, engine, "far", "asker far.other"), "ok 10.77.0.10\nok 10.78.0.9");
    host.cli(engine, &["network", "disconnect", "mine", "guest"]).ok();
    host.cli(engine, &["network", "disconnect", "mine", "far"]).ok();
    for gone in ["guest", "far", "both"] {
        assert!(!ask(host, engine, "asker", gone).starts_with("ok"), "{gone}");
    }
    assert!(!ask(host, engine, "far", "asker").starts_with("ok"));
    assert_eq!(ask(host, engine, "far", "far"), "ok 10.78.0.9");
}

fn upstreams(host: &TestHost, engine: Engine) {
    let first = serve(host, "127.0.0.53", "192.0.2.1");
    let second = serve(host, "127.0.0.54", "192.0.2.2");
    use_servers(host, &["127.0.0.53", "127.0.0.54"]);
    host.cli(engine, &["network", "create", "mine"]).ok();
    member(host, engine, "asker", "mine", &[]);
    // On the host's loopback, and from the host's side; the first that knows counts.
    assert_eq!(ask(host, engine, "asker", "www.example no.example"), "ok 192.0.2.1\nnone");
    assert_eq!(ask(host, engine, "asker", "big.example"), "ok cut");
    let many = ask_by(host, engine, "tcp", "asker", "A", "big.example www.example");
    assert!(many.starts_with("ok 10.99.0.0 ") && many.ends_with("\nok 192.0.2.1"), "{many}");
    assert_eq!(many.matches("10.99.0.").count(), 100);
    // A name of ours is nobody else's business.
    assert!(ask(host, engine, "asker", "asker").starts_with("ok "));
    assert!(![first.stdout(), second.stdout()].concat().lines().any(|line| line == "asker"));
    if engine.is_tare() {
        // The host's file is looked at before each query.
        use_servers(host, &["127.0.0.54"]);
        assert_eq!(ask(host, engine, "asker", "www.example"), "ok 192.0.2.2");
    }
}

fn bad_upstreams(host: &TestHost, engine: Engine) {
    let _good = serve(host, "127.0.0.53", "192.0.2.1");
    let _silent = serve(host, "127.0.0.54", "silent");
    let _refuses = serve(host, "127.0.0.55", "refuses");
    let _flaps = serve(host, "127.0.0.56", "flaps:192.0.2.6");
    let with = |name: &str, servers: &[&str]| {
        use_servers(host, servers);
        host.cli(engine, &["network", "create", name]).ok();
        member(host, engine, name, name, &[]);
        ask(host, engine, name, "www.example a.example b.example")
    };
    let all = |answer: &str| [answer; 3].join("\n");
    assert_eq!(with("dead", &["127.0.0.99", "127.0.0.53"]), all("ok 192.0.2.1"));
    assert_eq!(with("refusing", &["127.0.0.55", "127.0.0.53"]), all("ok 192.0.2.1"));
    assert_eq!(with("silent", &["127.0.0.54", "127.0.0.53"]), all("ok 192.0.2.1"));
    if engine.is_tare() {
        // dockerd passes the loss on to the client, which asks again.
        assert_eq!(with("flapping", &["127.0.0.56"]), all("ok 192.0.2.6"));
        assert_eq!(with("nobody", &["127.0.0.54", "127.0.0.54"]), all("failed"));
    }
}

/// `--dns` is asked from the container's side: there, its own loopback is meant.
fn servers_of_the_container(host: &TestHost, engine: Engine) {
    let _host = serve(host, "127.0.0.53", "192.0.2.1");
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    member(host, engine, "asker", "mine", &["--dns", "127.0.0.53", "--dns", "10.77.0.1"]);
    let server = serve_in(host, engine, "asker", "127.0.0.53", "192.0.2.77");
    assert_eq!(ask(host, engine, "asker", "www.example"), "ok 192.0.2.77");
    drop(server);
    let _gateway = serve(host, "10.77.0.1", "192.0.2.78");
    assert_eq!(ask(host, engine, "asker", "www.example"), "ok 192.0.2.78");
    assert_eq!(ask_by(host, engine, "tcp", "asker", "A", "www.example"), "ok 192.0.2.78");
}

/// CVE-2024-29018: what is asked on an internal network stays there.
fn internal(host: &TestHost, engine: Engine) {
    let server = serve(host, "127.0.0.53", "192.0.2.1");
    use_servers(host, &["127.0.0.53"]);
    host.cli(engine, &["network", "create", "--internal", "--subnet", "10.77.0.0/24", "inner"]).ok();
    host.cli(engine, &["network", "create", "outer"]).ok();
    member(host, engine, "asker", "inner", &["--ip", "10.77.0.10"]);
    assert_eq!(ask(host, engine, "asker", "asker"), "ok 10.77.0.10");
    assert!(!ask(host, engine, "asker", "secret.example").starts_with("ok"));
    assert!(!server.stdout().contains("secret"), "{}", server.stdout());
    // With a way out it asks; without it again, no more.
    host.cli(engine, &["network", "connect", "outer", "asker"]).ok();
    assert_eq!(ask(host, engine, "asker", "open.example"), "ok 192.0.2.1");
    host.cli(engine, &["network", "disconnect", "outer", "asker"]).ok();
    assert!(!ask(host, engine, "asker", "secret.example").starts_with("ok"));
    assert!(!server.stdout().contains("secret"), "{}", server.stdout());
}

fn resolv_conf(host: &TestHost, engine: Engine) {
    let server = serve(host, "127.0.0.53", "192.0.2.1");
    host.write("/etc/resolv.conf", "nameserver 127.0.0.53\nsearch from.host\noptions timeout:3\n");
    host.cli(engine, &["network", "create", "mine"]).ok();
    let lines = |more: &[&str]| {
        let run = ["run", "--rm", "--network", "mine"];
        let look = [BUSYBOX, "grep", "-v", "^#\\|^$", "/etc/resolv.conf"];
        host.cli(engine, &[&run[..], more, &look].concat()).ok().to_string()
    };
    assert_eq!(lines(&[]), "nameserver 127.0.0.11\nsearch from.host\noptions timeout:3 ndots:0");
    let own = lines(&["--dns", "10.0.0.9", "--dns-search", "a.example", "--dns-search", "b.example"]);
    assert_eq!(own, "nameserver 127.0.0.11\nsearch a.example b.example\noptions timeout:3 ndots:0");
    assert_eq!(
        lines(&["--dns-search", ".", "--dns-opt", "ndots:3", "--dns-option", "rotate"]),
        "nameserver 127.0.0.11\noptions ndots:3 rotate"
    );
    // With ndots set, what has no dot is not asked of others.
    member(host, engine, "asker", "mine", &["--dns-opt", "ndots:3"]);
    assert_eq!(ask(host, engine, "asker", "nobody www.example"), "ok\nok 192.0.2.1");
    assert!(!server.stdout().lines().any(|line| line == "nobody"), "{}", server.stdout());
    let looked = host.cli(engine, &["exec", "asker", "cat", "/etc/resolv.conf"]);
    assert!(words(&looked).ends_with(&["ndots".into(), "from:".into(), "override".into()]), "{looked}");
}

/// A resolver that is killed is replaced, and what kills its container leaves no name and no process behind.
fn killed(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    member(host, engine, "asker", "mine", &["--ip", "10.77.0.10"]);
    member(host, engine, "victim", "mine", &["--ip", "10.77.0.11"]);
    if engine.is_tare() {
        host.sh("pkill -KILL -x tare-dns").ok();
        assert_eq!(ask(host, engine, "asker", "victim"), "ok 10.77.0.11");
        // The shim goes, and with it the container.
        host.sh_with(
            engine,
            "kill -KILL $(cut -d' ' -f4 /proc/$($E inspect -f '{{.State.Pid}}' victim)/stat)",
        )
        .ok();
    } else {
        host.cli(engine, &["kill", "victim"]).ok();
    }
    host.cli(engine, &["wait", "victim"]).ok();
    assert!(!ask(host, engine, "asker", "victim").starts_with("ok"));
    host.cli(engine, &["rm", "-f", "asker", "victim"]).ok();
    if engine.is_tare() {
        let gone =
            || host.sh("pgrep -x tare-dns").code == 1 && host.sh("ls -A /run/tare/dns/names").ok().is_empty();
        assert!(
            tests::wait::until(std::time::Duration::from_secs(30), gone),
            "{}",
            host.sh("ls -A /run/tare/dns/names; ps -ef")
        );
    }
}

/// 10,000 queries while others come and go: each has an answer.
fn storm(host: &TestHost, engine: Engine) {
    let _server = serve(host, "127.0.0.53", "192.0.2.1");
    use_servers(host, &["127.0.0.53"]);
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    member(host, engine, "stays", "mine", &["--network-alias", "service"]);
    let names = "stays service stays.mine www.example";
    let storm = format!(
        "exec nsenter -n -t $($E inspect -f '{{{{.State.Pid}}}}' stays) {} dns-storm 127.0.0.11 10000 {names}",
        host.helper()
    );
    let asking = host.spawn_with(engine, &storm);
    for round in 0..6 {
        let name = format!("guest{round}");
        member(host, engine, &name, "mine", &["--network-alias", "service"]);
        host.cli(engine, &["network", "disconnect", "mine", &name]).ok();
        host.cli(engine, &["network", "connect", "--alias", "service", "mine", &name]).ok();
        host.cli(engine, &["rm", "-f", &name]).ok();
    }
    assert_eq!(asking.finish().ok(), "0 of 10000 without an answer");
}
