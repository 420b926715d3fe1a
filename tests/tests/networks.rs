//! User-defined networks: their life, what joins and leaves them while it runs, and who reaches whom.

use tests::sandbox::network::{HOST_V4, HOST_V6};
use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(
    life,
    live_members,
    published,
    hardware,
    published_by_ipv6,
    published_where_the_gateway_is,
    taken_away_and_back,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

fn life(host: &TestHost, engine: Engine) {
    let id = host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "--label", "a=b", "mine"]);
    assert_eq!(id.ok().len(), 64);
    assert_eq!(host.cli(engine, &["network", "ls", "-qf", "label=a", "--no-trunc"]).ok(), id.ok());
    let format = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{.Driver}} {{.Internal}}";
    let shown = host.cli(engine, &["network", "inspect", "-f", format, "mine"]);
    assert_eq!(shown.ok(), "10.77.0.0/24  bridge false");
    assert_ne!(host.cli(engine, &["network", "create", "mine"]).code, 0);
    assert_ne!(host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/25", "other"]).code, 0);
    assert_ne!(host.cli(engine, &["network", "rm", "bridge"]).code, 0);
    assert_eq!(host.cli(engine, &["network", "rm", "mine"]).ok(), "mine");
    assert_eq!(host.cli(engine, &["network", "ls", "-qf", "label=a"]).ok(), "");
}

/// "live_members": joined and left while it runs.
fn live_members(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    host.cli(engine, &["run", "-d", "--name", "member", BUSYBOX, "sleep", "999"]).ok();
    // What the container writes into its hosts file is no reason to fail.
    host.cli(engine, &["exec", "member", "sh", "-c", "printf '\\377\\376 own\\n' >>/etc/hosts"]).ok();
    host.cli(engine, &["network", "connect", "--ip", "10.77.0.9", "--alias", "db", "mine", "member"]).ok();
    let inside = host.cli(engine, &["exec", "member", "ip", "-4", "-o", "addr", "show", "eth1"]);
    assert!(inside.ok().contains("10.77.0.9/24"), "{inside}");
    let format = "{{.NetworkSettings.Networks.mine.IPAddress}} {{.NetworkSettings.Networks.mine.Aliases}}";
    let shown = host.cli(engine, &["inspect", "-f", format, "member"]);
    assert!(shown.ok().starts_with("10.77.0.9 [db"), "{shown}");
    assert_ne!(host.cli(engine, &["network", "rm", "mine"]).code, 0);
    host.cli(engine, &["network", "disconnect", "mine", "member"]).ok();
    assert_ne!(host.cli(engine, &["exec", "member", "ip", "link", "show", "eth1"]).code, 0);
    host.cli(engine, &["network", "rm", "mine"]).ok();
}

/// "hardware address": of the default network and of one that somebody has made.
fn hardware(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "mine"]).ok();
    for network in ["bridge", "mine"] {
        let mac = ["--network", network, "--mac-address", "92:d0:c6:0a:29:33"];
        let look = [BUSYBOX, "cat", "/sys/class/net/eth0/address"];
        let seen = host.cli(engine, &[&["run", "--rm"][..], &mac, &look].concat());
        assert_eq!(seen.ok(), "92:d0:c6:0a:29:33", "{network}");
    }
    let bad = host.cli(engine, &["run", "--rm", "--mac-address", "92:d0", BUSYBOX, "true"]);
    bad.exits(125).says("92:d0");
}

/// "published": a port of a member is reached from the host; its address is not from another network.
fn published(host: &TestHost, engine: Engine) {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    let serve = "echo there >/tmp/f; exec httpd -f -h /tmp";
    let server = ["run", "-d", "--name", "server", "--network", "mine", "--ip", "10.77.0.9", "-p", "8088:80"];
    host.cli(engine, &[&server[..], &[BUSYBOX, "sh", "-c", serve]].concat()).ok();
    let get = |network: &str| {
        let ask = "nc -w 2 10.77.0.9 80 </dev/null";
        host.cli(engine, &["run", "--rm", "--network", network, BUSYBOX, "sh", "-c", ask]).code
    };
    let answer = "for i in $(seq 50); do busybox wget -qO- http://127.0.0.1:8088/f && break; sleep 0.1; done";
    assert_eq!(host.sh(answer).ok(), "there");
    assert_eq!(get("mine"), 0);
    assert_ne!(get("bridge"), 0);
}

/// A line of shell that asks until somebody answers.
fn ask(url: &str) -> String {
    format!("for i in $(seq 100); do curl -gsS --max-time 5 {url} && break; sleep 0.2; done")
}

const SERVE: &str = "echo there >/tmp/f; exec httpd -f -h /tmp";

/// "published_by_ipv6": from the host, its loopback and another machine, to a member of both families and to one of IPv6 alone.
fn published_by_ipv6(host: &TestHost, engine: Engine) {
    for (port, families) in [("8091", &["--ipv6"][..]), ("8092", &["--ipv6", "--ipv4=false"])] {
        let network = format!("net{port}");
        host.cli(engine, &[&["network", "create"], families, &[&network]].concat()).ok();
        let publish = format!("{port}:80");
        let server = ["run", "-d", "--network", &network, "-p", &publish, BUSYBOX, "sh", "-c", SERVE];
        host.cli(engine, &server).ok();
        for address in ["[::1]", &format!("[{HOST_V6}]")] {
            let url = format!("http://{address}:{port}/f");
            assert_eq!(host.sh(&ask(&url)).ok().trim(), "there", "{url} {families:?}");
        }
        let url = format!("http://[{HOST_V6}]:{port}/f");
        assert_eq!(host.neighbour(&ask(&url)).ok().trim(), "there", "{url} from the neighbour {families:?}");
    }
    let url = format!("http://{HOST_V4}:8091/f");
    assert_eq!(host.neighbour(&ask(&url)).ok().trim(), "there");
}

/// "gateway": published ports follow the container's gateway from network to network while it runs.
fn published_where_the_gateway_is(host: &TestHost, engine: Engine) {
    for name in ["one", "two"] {
        host.cli(engine, &["network", "create", name]).ok();
    }
    let server = ["run", "-d", "--name", "server", "--network", "two", "-p", "8093:80"];
    host.cli(engine, &[&server[..], &[BUSYBOX, "sh", "-c", SERVE]].concat()).ok();
    let reached = |when: &str| {
        for address in ["127.0.0.1", "[::1]", HOST_V4] {
            let url = format!("http://{address}:8093/f");
            assert_eq!(host.sh(&ask(&url)).ok().trim(), "there", "{url} {when}");
        }
    };
    reached("at first");
    // The gateway of the highest priority, and of the first name.
    host.cli(engine, &["network", "connect", "--gw-priority", "5", "one", "server"]).ok();
    reached("by another network");
    host.cli(engine, &["network", "disconnect", "two", "server"]).ok();
    reached("without its first network");
    host.cli(engine, &["network", "disconnect", "one", "server"]).ok();
    host.sh("curl -gsS --max-time 3 http://127.0.0.1:8093/f").exits(7);
    host.cli(engine, &["network", "connect", "two", "server"]).ok();
    reached("again");
}

/// "healed": what somebody takes away comes back, by the daemon or by the next command. dockerd does not do that.
fn taken_away_and_back(host: &TestHost, engine: Engine) {
    if engine == Engine::Docker {
        return;
    }
    host.cli(engine, &["network", "create", "--ipv6", "one"]).ok();
    let server = ["run", "-d", "--name", "server", "--network", "one", "-p", "8094:80"];
    host.cli(engine, &[&server[..], &[BUSYBOX, "sh", "-c", SERVE]].concat()).ok();
    let reached = |when: &str| {
        for address in ["127.0.0.1".to_string(), format!("[{HOST_V6}]")] {
            let url = format!("http://{address}:8094/f");
            assert_eq!(host.sh(&ask(&url)).ok().trim(), "there", "{url} {when}");
        }
    };
    reached("at first");
    let bridge = "$(ip -o link | grep -o 'tare-[0-9a-f]*' | head -n 1)";
    for line in ["nft flush ruleset", &format!("ip link del {bridge}"), "nft delete table inet tare"] {
        host.sh(line).ok();
        if engine == Engine::Tare {
            let told = host.tare(&["system", "check"]);
            told.exits(1);
            assert!(told.stdout.contains("Missing:"), "{told}");
            host.tare(&["ps"]).ok();
        }
        reached(line);
    }
    assert!(host.tare(&["system", "check"]).ok().contains("as they should be"));
}
