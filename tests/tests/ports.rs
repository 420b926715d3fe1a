//! Published ports: reachable where they should be, unreachable elsewhere, beside a dockerd and a strict firewall.

use std::time::Duration;

use tests::sandbox::network::{HOST_V4, HOST_V6};
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
    let server = "nc -u -l -p 53 -e echo pong";
    host.cli(engine, &["run", "-d", "--name", "dns", "-p", "5353:53/udp", BUSYBOX, "sh", "-c", server]).ok();
    let line = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do echo ping | timeout 2 busybox nc -u -w 1 {HOST_V4} 5353 | grep pong && exit 0; sleep 0.2; done; exit 1"
    );
    assert!(host.neighbour(&line).ok().contains("pong"));
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
    let secret = host.spawn("while :; do echo secret | busybox nc -l -s 127.0.0.1 -p 9000; done");
    assert!(host.wait_for_listener("9000"));
    run_web(host, engine, "8080:80");
    let gateway = host.cli(
        engine,
        &["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", "web"],
    );
    let gateway = gateway.ok();
    let through = |what: &str| {
        let line = format!(
            "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via {gateway}; timeout 2 nc 127.0.0.1 9000; timeout 2 nc {gateway} 9000; \
             ip route add {HOST_V4} via {gateway}; timeout 2 nc {HOST_V4} 9000; true"
        );
        let output = host.cli(engine, &["run", "--rm", "--cap-add", "NET_ADMIN", BUSYBOX, "sh", "-c", &line]);
        assert!(!output.both().contains("secret"), "{what} reached the host's 127.0.0.1\n{output}");
    };
    through("a container");
    drop(secret);
}

fn containers_reach_each_other_and_outside(host: &TestHost, engine: Engine) {
    run_web(host, engine, "8080:80");
    let address = address_of(host, engine, "web");
    let fetch =
        |url: &str| host.cli(engine, &["run", "--rm", BUSYBOX, "wget", "-q", "-T", "5", "-O", "-", url]);
    assert!(fetch(&format!("http://{address}/")).ok().contains("Welcome"));
    let server = host.spawn_on_neighbour(
        "while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\noutside' | busybox nc -l -p 8000; done",
    );
    let outside = || fetch("http://192.0.2.1:8000/").stdout.contains("outside");
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
