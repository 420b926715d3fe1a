//! `--network container:NAME`: one network for several containers.

use tests::{Engine, Output, TestHost, on_each_engine};

on_each_engine!(shares, refused, outlives, restarts);

const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";

fn base(host: &TestHost, engine: Engine, more: &[&str]) -> String {
    host.cli(engine, &["network", "create", "--subnet", "10.77.0.0/24", "mine"]).ok();
    let run = ["run", "-d", "--name", "base", "--network", "mine", "--ip", "10.77.0.9", "--hostname", "bh"];
    host.cli(engine, &[&run[..], more, &[BUSYBOX, "sleep", "9999"]].concat()).ok().to_string()
}

fn join(host: &TestHost, engine: Engine, name: &str, whose: &str) -> Output {
    let network = format!("container:{whose}");
    host.cli(engine, &["run", "-d", "--name", name, "--network", &network, BUSYBOX, "sleep", "9999"])
}

/// Addresses but those of the loopback interface.
fn addresses(host: &TestHost, engine: Engine, name: &str) -> String {
    let line = "ip -4 -o addr | grep -v ' lo ' | awk '{print $4}'";
    host.cli(engine, &["exec", name, "sh", "-c", line]).ok().to_string()
}

fn shares(host: &TestHost, engine: Engine) {
    let id = base(host, engine, &["--add-host", "x:1.2.3.4"]);
    join(host, engine, "joined", "base").ok();
    join(host, engine, "chained", "joined").ok();
    for name in ["joined", "chained"] {
        assert_eq!(addresses(host, engine, name), "10.77.0.9/24");
        let look = "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c '1.2.3.4' /etc/hosts; grep -c 127.0.0.11 /etc/resolv.conf";
        assert_eq!(host.cli(engine, &["exec", name, "sh", "-c", look]).ok(), "bh\nbh\nbh\n1\n1");
    }
    host.cli(engine, &["exec", "chained", "sh", "-c", "echo 9.9.9.9 mine >>/etc/hosts"]).ok();
    assert_eq!(host.cli(engine, &["exec", "base", "tail", "-n", "1", "/etc/hosts"]).ok(), "9.9.9.9 mine");
    // They meet on the loopback interface, and the names of its networks are theirs.
    let serve = "echo there >/tmp/f; exec httpd -h /tmp -p 127.0.0.1:80";
    host.cli(engine, &["exec", "base", "sh", "-c", serve]).ok();
    assert_eq!(host.cli(engine, &["exec", "chained", "wget", "-qO-", "http://127.0.0.1/f"]).ok(), "there");
    assert!(host.cli(engine, &["exec", "joined", "nslookup", "base"]).ok().contains("10.77.0.9"));
    let format = "{{.HostConfig.NetworkMode}} {{.Config.Hostname}} {{json .NetworkSettings.Networks}} {{.NetworkSettings.SandboxKey}}|{{.HostsPath}}";
    let shown = host.cli(engine, &["inspect", "-f", format, "joined"]);
    let folder = format!("{}/containers/{id}/hosts", engine.data_root());
    assert_eq!(shown.ok(), format!("container:{id} bh {{}} |{folder}"));
    let listed =
        host.cli(engine, &["ps", "-f", "name=joined", "--format", "{{.Names}}|{{.Ports}}|{{.Networks}}"]);
    assert_eq!(listed.ok(), "joined||");
    host.cli(engine, &["network", "connect", "bridge", "joined"])
        .exits(1)
        .says("container sharing network namespace with another container or host cannot be connected to any other network");
    host.cli(engine, &["network", "disconnect", "mine", "joined"])
        .exits(1)
        .says("is not connected to network mine");
    // The host's network, and none at all.
    host.cli(engine, &["run", "-d", "--name", "hosts", "--network", "host", BUSYBOX, "sleep", "9999"]).ok();
    let run = ["run", "--rm", "--network"];
    let name = host.cli(engine, &[&run[..], &["container:hosts", BUSYBOX, "hostname"]].concat());
    assert_eq!(name.ok(), host.sh("hostname").ok());
    host.cli(engine, &["run", "-d", "--name", "alone", "--network", "none", BUSYBOX, "sleep", "9999"]).ok();
    let links = host.cli(engine, &[&run[..], &["container:alone", BUSYBOX, "ls", "/sys/class/net"]].concat());
    assert!(!links.ok().contains("eth"), "{links}");
}

fn refused(host: &TestHost, engine: Engine) {
    base(host, engine, &[]);
    host.cli(engine, &["create", "--name", "idle", BUSYBOX, "true"]).ok();
    let conflict = |text: &str| format!("conflicting options: {text}");
    let ports = conflict("port publishing and the container type network mode");
    for (flags, text) in [
        (&["--hostname", "h"][..], conflict("hostname and the network mode")),
        (&["--dns", "1.2.3.4"], conflict("dns and the network mode")),
        (&["--add-host", "a:1.1.1.1"], conflict("custom host-to-IP mapping and the network mode")),
        (&["-p", "80:80"], ports.clone()),
        (&["-P"], ports),
        (&["--expose", "80"], conflict("port exposing and the container type network mode")),
        (
            &["--link", "base"],
            conflict(
                "container type network can't be used with links. This would result in undefined behavior",
            ),
        ),
        (
            &["--ip", "10.0.0.1"],
            "user specified IP address is supported on user defined networks only".into(),
        ),
    ] {
        let run = ["run", "--rm", "--network", "container:base"];
        host.cli(engine, &[&run[..], flags, &[BUSYBOX, "true"]].concat()).exits(125).says(&text);
    }
    for (mode, text) in [
        ("container:", "invalid network mode: invalid container format container:<name|id>"),
        ("container:nope", "joining network namespace of container: No such container: nope"),
        ("container:own", "cannot join own network namespace"),
        (
            "container:idle",
            "cannot join network namespace of a non running container: container idle is created",
        ),
    ] {
        host.cli(engine, &["run", "--rm", "--name", "own", "--network", mode, BUSYBOX, "true"])
            .exits(125)
            .says(text);
    }
}

/// "outlives": the other's end takes the network's way out with it, not the one that has joined.
fn outlives(host: &TestHost, engine: Engine) {
    base(host, engine, &[]);
    join(host, engine, "joined", "base").ok();
    host.cli(engine, &["stop", "-t", "0", "base"]).ok();
    assert_eq!(addresses(host, engine, "joined"), "");
    // Its address is another's now.
    let run = ["run", "--rm", "--network", "mine", "--ip", "10.77.0.9", BUSYBOX, "true"];
    host.cli(engine, &run).ok();
    let text = "cannot join network namespace of a non running container: container base is exited";
    host.cli(engine, &["restart", "-t", "0", "joined"]).exits(1).says(text);
    let state = host
        .cli(engine, &["inspect", "-f", "{{.State.Status}} {{.State.Error}} {{.State.ExitCode}}", "joined"]);
    assert_eq!(state.ok(), format!("exited {text} 137"));
    host.cli(engine, &["start", "base", "joined"]).ok();
    assert_eq!(addresses(host, engine, "joined"), "10.77.0.9/24");
    host.cli(engine, &["rm", "-f", "base"]).ok();
    host.cli(engine, &["exec", "joined", "true"]).ok();
    host.cli(engine, &["restart", "-t", "0", "joined"])
        .exits(1)
        .says("joining network namespace of container: No such container: ");
}

/// "restarts": what is started with the machine is started in order, whoever was made first.
fn restarts(host: &TestHost, engine: Engine) {
    let first = ["create", "--name", "joined", "--restart", "always", "--network", "container:base"];
    host.cli(engine, &[&first[..], &[BUSYBOX, "sleep", "9999"]].concat()).ok();
    base(host, engine, &["--restart", "always"]);
    host.cli(engine, &["start", "joined"]).ok();
    assert_eq!(addresses(host, engine, "joined"), "10.77.0.9/24");
    if !engine.is_tare() {
        return;
    }
    // As after a boot: nobody runs, and nothing of the run root is left.
    host.cli(engine, &["kill", "joined", "base"]).ok();
    let names = host.sh_with(
        engine,
        "$E wait joined base >/dev/null 2>&1; tare system boot; $E ps --format '{{.Names}}' | sort",
    );
    assert!(names.ok().ends_with("base\njoined"), "{names}");
    assert_eq!(addresses(host, engine, "joined"), "10.77.0.9/24");
}
