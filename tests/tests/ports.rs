//! Published ports: reachable where they should be, unreachable elsewhere, beside a dockerd and a strict firewall.

use std::time::Duration;

use tests::sandbox::network::{HOST_V4, HOST_V6, NEIGHBOUR_V4};
use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(
    reachable_from_everywhere,
    bound_to_loopback_only,
    udp_is_published,
    a_published_port_is_taken,
    a_port_in_use_is_refused,
    an_unpublished_port_is_unreachable,
    the_hosts_loopback_is_unreachable,
    containers_reach_each_other_and_outside,
);

const NGINX: &str = "127.0.0.1:5000/nginx:1.22";
const BUSYBOX: &str = "127.0.0.1:5000/busybox";

fn reachable_from_everywhere(host: &TestHost, engine: Engine) {
    run_web(host, engine, "8080:80");
    for url in [
        "http://127.0.0.1:8080/",
        "http://[::1]:8080/",
        &format!("http://{HOST_V4}:8080/"),
        &format!("http://[{HOST_V6}]:8080/"),
    ] {
        assert!(host.sh(&curl(url)).ok().contains("Welcome"), "{url} from the host");
    }
    for url in [format!("http://{HOST_V4}:8080/"), format!("http://[{HOST_V6}]:8080/")] {
        assert!(host.neighbour(&curl(&url)).ok().contains("Welcome"), "{url} from the neighbour");
    }
    host.cli(engine, &["rm", "-f", "web"]).ok();
    host.sh("curl -sS --max-time 3 http://127.0.0.1:8080/").exits(7);
}

fn bound_to_loopback_only(host: &TestHost, engine: Engine) {
    run_web(host, engine, "127.0.0.1:8080:80");
    host.sh(&curl("http://127.0.0.1:8080/")).ok();
    let there = host.neighbour(&format!("curl -sS --max-time 3 http://{HOST_V4}:8080/"));
    assert_ne!(there.code, 0, "a port on the loopback address is reachable from outside\n{there}");
}

fn udp_is_published(host: &TestHost, engine: Engine) {
    // Neither image has a UDP server; the harness's own program runs in the one that has a libc.
    let helper = format!("{}:/helper:ro", host.helper());
    let args = [
        "run",
        "-d",
        "--name",
        "dns",
        "-p",
        "5353:53/udp",
        "-v",
        &helper,
        NGINX,
        "/helper",
        "udp-echo",
        "53",
    ];
    host.cli(engine, &args).ok();
    for (who, address) in [("the neighbour", HOST_V4), ("the host", HOST_V4), ("the host", "127.0.0.1")] {
        // The first datagrams may come before the server does; read(1) takes one byte of a datagram.
        let line = format!(
            "exec 3<>/dev/udp/{address}/5353; for i in $(seq 40); do echo ping >&3; read -n 1 -t 0.3 answer <&3 && break; done; echo $answer"
        );
        let line = format!("bash -c '{line}'");
        let output = if who == "the host" { host.sh(&line) } else { host.neighbour(&line) };
        assert_eq!(output.ok(), "p", "no answer to {who} at {address}\n{output}");
    }
}

fn a_published_port_is_taken(host: &TestHost, engine: Engine) {
    run_web(host, engine, "8080:80");
    let output = host.sh("timeout 2 busybox nc -l -p 8080");
    assert!(
        output.stderr.contains("Address") && output.code == 1,
        "a host process took the published port\n{output}"
    );
}

fn a_port_in_use_is_refused(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", NGINX]).ok();
    host.cli(engine, &["run", "--rm", NGINX, "true"]).ok();
    let before = host.state();
    let holder = host.spawn("exec busybox nc -l -p 8080");
    assert!(host.wait_for_listener("8080"));
    host.cli(engine, &["run", "-d", "--name", "web", "-p", "8080:80", NGINX])
        .exits(125)
        .says("failed to set up container networking: driver failed programming external connectivity on endpoint web (")
        .says("address already in use");
    drop(holder);
    // As with dockerd the container is there, and starts once the port is free.
    host.cli(engine, &["start", "web"]).ok();
    host.sh(&curl("http://127.0.0.1:8080/")).ok();
    run_refused_twin(host, engine);
    host.cli(engine, &["rm", "-f", "web", "twin"]).ok();
    host.settles_to(&before);
}

fn run_refused_twin(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "twin", "-p", "8080:80", NGINX])
        .exits(125)
        .says("port is already allocated");
}

fn an_unpublished_port_is_unreachable(host: &TestHost, engine: Engine) {
    run_web(host, engine, "8080:80");
    let address = address_of(host, engine, "web");
    host.sh(&curl(&format!("http://{address}/"))).ok();
    // The neighbour knows the way to the bridge's network, as a machine on the same LAN could.
    host.neighbour(&format!("ip route add {address}/32 via {HOST_V4}")).ok();
    let there = host.neighbour(&format!("curl -sS --max-time 3 http://{address}/"));
    assert_ne!(there.code, 0, "an unpublished port is reachable from the neighbour\n{there}");
}

fn the_hosts_loopback_is_unreachable(host: &TestHost, engine: Engine) {
    let secret = host.spawn(
        "mkdir /tmp/www && echo secret >/tmp/www/index.html && exec busybox httpd -f -p 127.0.0.1:9000 -h /tmp/www",
    );
    assert!(host.wait_for_listener("9000"));
    run_web(host, engine, "8080:80");
    let gateway = host.cli(
        engine,
        &["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", "web"],
    );
    let gateway = gateway.ok();
    let through = |what: &str| {
        let line = format!(
            "get() {{ printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 2 nc $1 9000; }}; get {gateway}; get {HOST_V4}; \
             ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via {gateway} onlink dev eth0; get 127.0.0.1; true"
        );
        let output = host.cli(engine, &["run", "--rm", "--cap-add", "NET_ADMIN", BUSYBOX, "sh", "-c", &line]);
        assert!(!output.both().contains("secret"), "{what} reached the host's 127.0.0.1\n{output}");
    };
    assert!(host.sh("curl -sS http://127.0.0.1:9000/").ok().contains("secret"));
    through("a container");
    drop(secret);
}

fn containers_reach_each_other_and_outside(host: &TestHost, engine: Engine) {
    run_web(host, engine, "8080:80");
    let address = address_of(host, engine, "web");
    // Not wget: a static glibc program crashes where it looks up a service's name.
    let fetch = |address: &str, port: &str| {
        let line = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port}");
        host.cli(engine, &["run", "--rm", BUSYBOX, "sh", "-c", &line])
    };
    assert!(fetch(&address, "80").ok().contains("Welcome"));
    let server = host.spawn_on_neighbour(
        "mkdir -p /tmp/outside && echo outside >/tmp/outside/index.html && exec busybox httpd -f -p 8000 -h /tmp/outside",
    );
    let outside = || fetch(NEIGHBOUR_V4, "8000").stdout.contains("outside");
    assert!(wait::until(Duration::from_secs(15), outside), "no way out of a container");
    drop(server);
}

/// A dockerd with its bridge and a FORWARD policy of DROP does not break ours, nor do we break dockerd's.
#[test]
fn beside_a_dockerd() {
    if !Engine::Tare.is_wanted() {
        return tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    host.start_dockerd();
    host.sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP").ok();
    host.docker(&["run", "-d", "--name", "theirs", "-p", "8081:80", NGINX]).ok();
    let theirs_before = host.sh("iptables-save | grep -v '^#' | sed 's/\\[.*\\]//'").stdout;
    run_web(&host, Engine::Tare, "8080:80");
    for (port, whose) in [("8080", "ours"), ("8081", "dockerd's")] {
        host.sh(&curl(&format!("http://127.0.0.1:{port}/"))).ok();
        let there = host.neighbour(&curl(&format!("http://{HOST_V4}:{port}/")));
        assert_eq!(there.code, 0, "{whose} is not reachable from the neighbour\n{there}");
    }
    let gone = host.sh("iptables -S FORWARD | head -1; ip6tables -S FORWARD | head -1");
    assert_eq!(gone.ok(), "-P FORWARD DROP\n-P FORWARD DROP", "a policy was changed");
    host.docker(&["run", "--rm", BUSYBOX, "true"]).ok();
    host.tare(&["rm", "-f", "web"]).ok();
    host.tare(&["system", "uninstall", "--force"]).ok();
    let theirs_after = host.sh("iptables-save | grep -v '^#' | sed 's/\\[.*\\]//'").stdout;
    assert_eq!(theirs_after, theirs_before, "dockerd's rules have changed");
    host.neighbour(&curl(&format!("http://{HOST_V4}:8081/"))).ok();
}

#[track_caller]
fn run_web(host: &TestHost, engine: Engine, port: &str) {
    host.cli(engine, &["run", "-d", "--name", "web", "-p", port, NGINX]).ok();
}

#[track_caller]
fn address_of(host: &TestHost, engine: Engine, name: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    host.cli(engine, &["inspect", "--format", format, name]).ok().to_string()
}

fn curl(url: &str) -> String {
    format!("curl -sS --retry 20 --retry-all-errors --retry-delay 0 --retry-max-time 15 --max-time 5 {url}")
}
