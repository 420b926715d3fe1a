//! The commands for networks, flag by flag, and the events that they cause.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(events, creates, lists, prunes, priority);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

/// "events": what happens to networks, in order.
fn events(host: &TestHost, engine: Engine) {
    let since = host.sh("date +%s.%N").ok().to_string();
    let line = "$E network create mine >/dev/null; $E run -d --name member --network mine $B sleep 999 >/dev/null; \
        $E network create other >/dev/null; $E network connect other member; $E network disconnect other member; \
        $E restart -t 0 member >/dev/null; $E rm -f member >/dev/null; $E network rm mine >/dev/null; \
        $E run --rm --network host $B true; $E run --rm --network none $B true; $E network prune -f >/dev/null";
    host.sh_with(engine, &line.replace("$B", BUSYBOX)).ok();
    let until = host.sh("sleep 0.01; date +%s.%N").ok().to_string();
    let format = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}} {{with .Actor.Attributes.container}}{{len .}}{{else}}0{{end}}";
    let args =
        ["events", "--since", &since, "--until", &until, "--filter", "type=network", "--format", format];
    let seen = host.cli(engine, &args);
    let joins =
        |name: &str, kind: &str| ["connect", "disconnect"].map(|what| format!("{what} {name} {kind} 64"));
    let [joined, left] = joins("mine", "bridge");
    let expected = [
        vec!["create mine bridge 0".to_string(), joined.clone(), "create other bridge 0".to_string()],
        joins("other", "bridge").to_vec(),
        vec![left.clone(), joined, left, "destroy mine bridge 0".to_string()],
        joins("host", "host").to_vec(),
        joins("none", "null").to_vec(),
        vec!["destroy other bridge 0".to_string()],
    ];
    let lines: Vec<String> = seen.ok().lines().map(|l| l.replace("<no value>", "")).collect();
    assert_eq!(lines[..lines.len() - 1], expected.concat(), "{seen}");
    assert!(lines[lines.len() - 1].starts_with("prune"), "{seen}");
    // By name, and by what happened.
    let filters = [
        "--filter",
        "network=other",
        "--filter",
        "event=connect",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ];
    let seen = host.cli(engine, &[&args[..5], &filters].concat());
    assert_eq!(seen.ok(), "connect other");
}

/// "creates": each of what can be asked for is shown, and done.
fn creates(host: &TestHost, engine: Engine) {
    let create = [
        "network",
        "create",
        "-d",
        "bridge",
        "--scope",
        "local",
        "--attachable",
        "--internal",
        "--label",
        "l=1",
    ];
    let pool = ["--subnet", "10.77.0.0/24", "--ip-range", "10.77.0.128/25", "--gateway", "10.77.0.7"];
    let more = ["--aux-address", "a=10.77.0.128", "--ipam-driver", "default", "--ipam-opt", "o=1"];
    let driver = ["-o", "com.docker.network.driver.mtu=1400", "--ipv4=true", "mine"];
    host.cli(engine, &[&create[..], &pool, &more, &driver].concat()).ok();
    let format = "{{.Driver}} {{.Scope}} {{.Attachable}} {{.Internal}} {{.Labels.l}} {{(index .IPAM.Config 0).Subnet}} \
        {{(index .IPAM.Config 0).IPRange}} {{(index .IPAM.Config 0).Gateway}} {{.IPAM.Driver}} {{.IPAM.Options.o}} {{.EnableIPv6}}";
    let shown = host.cli(engine, &["network", "inspect", "-v", "-f", format, "mine"]);
    assert_eq!(shown.ok(), "bridge local true true 1 10.77.0.0/24 10.77.0.128/25 10.77.0.7 default 1 false");
    let look =
        "ip -4 -o addr show eth0 | awk '{print $4}'; cat /sys/class/net/eth0/mtu; ip route | grep -c default";
    let inside = host.cli(engine, &["run", "--rm", "--network", "mine", BUSYBOX, "sh", "-c", look]);
    // The first of the range is the auxiliary one's; nothing goes out of it.
    assert_eq!(inside.stdout, "10.77.0.129/24\n1400\n0\n", "{inside}");
}

/// "lists": filters and forms of `network ls`.
fn lists(host: &TestHost, engine: Engine) {
    for (name, label) in [("alpha", "a=1"), ("alpine", "a=2"), ("beta", "b")] {
        host.cli(engine, &["network", "create", "--label", label, name]).ok();
    }
    host.cli(engine, &["create", "--network", "beta", "--name", "user", BUSYBOX]).ok();
    let list = |filters: &str| {
        let line = format!("$E network ls --format '{{{{.Name}}}}' {filters} | sort | tr '\\n' ' '");
        host.sh_with(engine, &line).ok().trim().to_string()
    };
    for (filters, names) in [
        ("", "alpha alpine beta bridge host none"),
        ("-f name=alp", "alpha alpine"),
        ("-f name=alpha -f name=beta", "alpha beta"),
        ("-f label=a", "alpha alpine"),
        ("-f label=a=2", "alpine"),
        ("-f label=a -f label=b", ""),
        ("-f type=builtin", "bridge host none"),
        ("-f type=custom", "alpha alpine beta"),
        ("-f driver=host -f driver=null", "host none"),
        ("-f driver=bridge -f name=a", "alpha alpine beta"),
        ("-f scope=local -f name=host", "host"),
        ("-f scope=swarm", ""),
    ] {
        assert_eq!(list(filters), names, "{filters}");
    }
    let id = host.cli(engine, &["network", "ls", "-q", "--no-trunc", "-f", "name=beta"]);
    assert_eq!(list(&format!("-f id={}", &id.ok()[..12])), "beta");
    assert_eq!(host.cli(engine, &["network", "ls", "-q", "-f", "name=beta"]).ok(), &id.ok()[..12]);
    for (filter, text) in [("x=y", "invalid filter 'x'"), ("type=z", "invalid filter 'type=[z]'")] {
        let refused = host.cli(engine, &["network", "ls", "-f", filter]);
        assert!(refused.code == 1 && refused.stderr.contains("invalid filter"), "{text}: {refused}");
    }
    assert_eq!(host.cli(engine, &["network", "rm", "-f", "nothing", "alpha"]).code, 0);
    assert_eq!(list("-f name=alpha"), "");
}

/// "prunes": what nobody uses goes, if it fits.
fn prunes(host: &TestHost, engine: Engine) {
    for (name, label) in [("one", "a=1"), ("two", "a=2"), ("used", "a=1")] {
        host.cli(engine, &["network", "create", "--label", label, name]).ok();
    }
    host.cli(engine, &["run", "-d", "--network", "used", BUSYBOX, "sleep", "999"]).ok();
    let left = || {
        let line = "$E network ls --format '{{.Name}}' -f type=custom | sort | tr '\\n' ' '";
        host.sh_with(engine, line).ok().trim().to_string()
    };
    host.cli(engine, &["network", "prune", "-f", "--filter", "until=1h"]).ok();
    assert_eq!(left(), "one two used");
    host.cli(engine, &["network", "prune", "-f", "--filter", "label!=a=1"]).ok();
    assert_eq!(left(), "one used");
    let pruned =
        host.cli(engine, &["network", "prune", "-f", "--filter", "label=a=1", "--filter", "until=0s"]);
    assert_eq!(pruned.ok(), "Deleted Networks:\none\n");
    assert_eq!(left(), "used");
    host.cli(engine, &["network", "prune", "-f", "--filter", "nonsense=1"])
        .exits(1)
        .says("invalid filter 'nonsense'");
    let twice = ["network", "prune", "-f", "--filter", "until=1h", "--filter", "until=2h"];
    host.cli(engine, &twice).exits(1).says("more than one until filter specified");
}

/// "priority": the gateway of the network with the highest one is the container's.
fn priority(host: &TestHost, engine: Engine) {
    for (name, subnet, gateway) in
        [("mine", "10.77.0.0/24", "10.77.0.1"), ("other", "10.78.0.0/24", "10.78.0.1")]
    {
        host.cli(engine, &["network", "create", "--subnet", subnet, "--gateway", gateway, name]).ok();
    }
    host.cli(engine, &["run", "-d", "--name", "member", "--network", "mine", BUSYBOX, "sleep", "999"]).ok();
    let route = || {
        let line = "ip route | awk '/^default/ {print $3}'";
        host.cli(engine, &["exec", "member", "sh", "-c", line]).ok().to_string()
    };
    host.cli(engine, &["network", "connect", "--gw-priority", "5", "other", "member"]).ok();
    assert_eq!(route(), "10.78.0.1");
    host.cli(engine, &["network", "disconnect", "-f", "other", "member"]).ok();
    assert_eq!(route(), "10.77.0.1");
    host.cli(engine, &["network", "connect", "--gw-priority", "-5", "other", "member"]).ok();
    assert_eq!(route(), "10.77.0.1");
}
