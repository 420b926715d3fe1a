//! What the settings of `daemon.json` do, to containers and networks, with a daemon and without.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(
    containers_get_defaults with r#"{
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 100, "Hard": 200}},
        "default-shm-size": "32m", "default-ipc-mode": "shareable", "init": true, "no-new-privileges": true,
        "dns": ["9.9.9.9"], "dns-search": ["inner.test"], "dns-opts": ["ndots:3"],
        "log-opts": {"max-size": "1m", "max-file": "2"}, "host-gateway-ips": ["10.11.12.13"],
        "labels": ["place=here"], "cgroup-parent": "/own-parent", "default-cgroupns-mode": "host"}"#,
    the_bridge_is_as_it_is_set with r#"{
        "bip": "10.9.0.1/24", "fixed-cidr": "10.9.0.128/25", "mtu": 1400, "icc": false, "ip": "127.0.0.1",
        "default-address-pools": [{"base": "10.8.0.0/16", "size": 24}],
        "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1300"}}}"#,
    calls_are_filtered_by_a_file with r#"{"seccomp-profile": "/etc/no-mkdir.json"}"#,
    registries_are_as_they_are_set with r#"{
        "insecure-registries": ["reg.test:5001"], "registry-mirrors": ["http://127.0.0.1:5000"],
        "proxies": {"http-proxy": "http://127.0.0.1:1", "https-proxy": "http://u:p@127.0.0.1:1", "no-proxy": "10.0.0.0/8"},
        "max-concurrent-downloads": 1, "max-concurrent-uploads": 1, "max-download-attempts": 1,
        "host-gateway-ip": "10.11.12.13", "cdi-spec-dirs": ["/run/specs"]}"#,
    a_machine_is_as_it_is_set with r#"{
        "userland-proxy": false, "ip-forward": false, "features": {"cdi": false}, "storage-driver": "overlayfs",
        "default-runtime": "runc", "exec-opts": ["native.cgroupdriver=cgroupfs"], "live-restore": true}"#,
    nothing_is_filtered with r#"{"seccomp-profile": "unconfined", "log-driver": "none"}"#,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";

#[track_caller]
fn run(host: &TestHost, engine: Engine, flags: &[&str], line: &str) -> String {
    let words = [&["run", "--rm"], flags, &[BUSYBOX, "sh", "-c", line]].concat();
    host.cli(engine, &words).ok().trim().to_owned()
}

fn containers_get_defaults(host: &TestHost, engine: Engine) {
    let looks = "ulimit -Sn; ulimit -Hn; grep NoNewPrivs /proc/self/status; cat /proc/1/comm; df -k /dev/shm | tail -1 | awk '{print $2}'";
    let expected = "100\n200\nNoNewPrivs:\t1\ndocker-init\n32768";
    assert_eq!(run(host, engine, &[], looks), expected);
    let own = [
        "--ulimit",
        "nofile=50",
        "--init=false",
        "--security-opt",
        "no-new-privileges=false",
        "--shm-size",
        "1m",
    ];
    assert_eq!(run(host, engine, &own, looks), "50\n50\nNoNewPrivs:\t0\nsh\n1024");
    let resolv = "grep -v '^#' /etc/resolv.conf | grep .";
    assert_eq!(run(host, engine, &[], resolv), "nameserver 9.9.9.9\nsearch inner.test\noptions ndots:3");
    assert_eq!(
        run(host, engine, &["--dns", "8.8.8.8", "--dns-search", "."], resolv),
        "nameserver 8.8.8.8\noptions ndots:3"
    );
    let gateway = run(host, engine, &["--add-host", "up:host-gateway"], "grep up /etc/hosts");
    assert_eq!(gateway, "10.11.12.13\tup");
    // What creation decides is kept and shown, what a start decides is not.
    let shown = "{{json .HostConfig.LogConfig}} {{.HostConfig.ShmSize}} {{.HostConfig.IpcMode}} {{.HostConfig.CgroupnsMode}} {{json .HostConfig.Ulimits}} {{json .HostConfig.Dns}}";
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"]).ok();
    let log = r#"{"Config":{"max-file":"2","max-size":"1m"},"Type":"json-file"}"#;
    assert_eq!(
        host.cli(engine, &["inspect", "-f", shown, "box"]).ok().trim(),
        format!(r#"{log} 33554432 shareable host [{{"Hard":200,"Name":"nofile","Soft":100}}] []"#)
    );
    let id = host.cli(engine, &["inspect", "-f", "{{.Id}}", "box"]).ok().trim().to_owned();
    let found = host.sh(&format!("find /sys/fs/cgroup -type d -path '*/own-parent/{id}*' | head -1"));
    assert!(found.ok().contains("/own-parent/"), "{found}");
    let other =
        host.cli(engine, &["run", "-d", "--log-opt", "max-size=5m", BUSYBOX, "true"]).ok().trim().to_owned();
    let log = host.cli(engine, &["inspect", "-f", "{{json .HostConfig.LogConfig.Config}}", &other]);
    assert_eq!(log.ok().trim(), r#"{"max-file":"2","max-size":"5m"}"#);
    assert_eq!(host.cli(engine, &["info", "-f", "{{json .Labels}}"]).ok().trim(), r#"["place=here"]"#);
}

fn the_bridge_is_as_it_is_set(host: &TestHost, engine: Engine) {
    let start = |name: &str, more: &[&str]| {
        let words = [&["run", "-d", "--name", name], more, &[BUSYBOX, "sleep", "1000"]].concat();
        host.cli(engine, &words).ok();
    };
    let inside =
        |name: &str, line: &str| host.cli(engine, &["exec", name, "sh", "-c", line]).stdout.trim().to_owned();
    start("one", &["-p", "80"]);
    start("two", &[]);
    let address = inside("one", "ip -4 addr show eth0 | awk '/inet/ {print $2}'");
    let host_part: u8 = address
        .strip_prefix("10.9.0.")
        .and_then(|a| a.strip_suffix("/24"))
        .unwrap_or("0")
        .parse()
        .unwrap_or(0);
    assert!(host_part >= 128, "{address}");
    assert_eq!(inside("one", "ip route | awk '/default/ {print $3}'"), "10.9.0.1");
    assert_eq!(inside("one", "cat /sys/class/net/eth0/mtu"), "1400");
    assert!(host.cli(engine, &["port", "one"]).ok().starts_with("80/tcp -> 127.0.0.1:"));
    // Containers of this network are kept apart.
    let two = inside("two", "ip -4 addr show eth0 | awk '/inet/ {print $2}'");
    let two = two.trim_end_matches("/24").to_owned();
    assert_eq!(
        inside("one", &format!("ping -c 1 -W 1 {two} >/dev/null && echo reached || echo apart")),
        "apart"
    );
    host.cli(engine, &["network", "create", "net"]).ok();
    let subnet = host.cli(engine, &["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "net"]);
    assert_eq!(subnet.ok().trim(), "10.8.0.0/24");
    assert_eq!(run(host, engine, &["--network", "net"], "cat /sys/class/net/eth0/mtu"), "1300");
    host.cli(engine, &["network", "create", "-o", "com.docker.network.driver.mtu=1200", "own"]).ok();
    assert_eq!(run(host, engine, &["--network", "own"], "cat /sys/class/net/eth0/mtu"), "1200");
}

fn calls_are_filtered_by_a_file(host: &TestHost, engine: Engine) {
    let line = "mkdir /made && echo made || echo not";
    assert_eq!(run(host, engine, &[], line), "not");
    assert_eq!(run(host, engine, &["--security-opt", "seccomp=unconfined"], line), "made");
    assert_eq!(run(host, engine, &["--privileged"], line), "made");
    let options = host.cli(engine, &["info", "-f", "{{json .SecurityOptions}}"]);
    assert!(options.ok().contains("name=seccomp,profile=/etc/no-mkdir.json"), "{options}");
}

fn nothing_is_filtered(host: &TestHost, engine: Engine) {
    assert_eq!(run(host, engine, &[], "grep Seccomp: /proc/self/status"), "Seccomp:\t0");
    host.cli(engine, &["run", "--name", "box", BUSYBOX, "echo", "said"]).ok();
    let driver = host.cli(engine, &["inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "box"]);
    assert_eq!(driver.ok().trim(), "none");
    let logs = host.cli(engine, &["logs", "box"]);
    assert!(logs.both().contains("configured logging driver does not support reading"), "{logs}");
    assert_eq!(run(host, engine, &["--log-driver", "json-file"], "echo said"), "said");
}

fn registries_are_as_they_are_set(host: &TestHost, engine: Engine) {
    let info = |template: &str| host.cli(engine, &["info", "-f", template]).ok().trim().to_owned();
    assert_eq!(info("{{json .RegistryConfig.Mirrors}}"), r#"["http://127.0.0.1:5000/"]"#);
    assert_eq!(info(r#"{{(index .RegistryConfig.IndexConfigs "reg.test:5001").Secure}}"#), "false");
    assert_eq!(
        info("{{.HTTPProxy}} {{.HTTPSProxy}} {{.NoProxy}}"),
        "http://127.0.0.1:1 http://xxxxx:xxxxx@127.0.0.1:1 10.0.0.0/8"
    );
    assert_eq!(info("{{json .CDISpecDirs}}"), r#"["/run/specs"]"#);
    // The mirror has what Docker Hub would be asked for, which cannot be reached from here.
    for line in [
        "$E pull -q 127.0.0.1:5000/busybox && $E tag 127.0.0.1:5000/busybox 127.0.0.1:5000/library/busybox",
        "$E push -q 127.0.0.1:5000/library/busybox && $E rmi -f $($E images -q)",
        "$E pull -q busybox:latest",
    ] {
        host.sh_with(engine, line).ok();
    }
    let pull = host.cli(engine, &["pull", "reg.test:5002/some/image"]);
    assert!(pull.both().contains("proxyconnect tcp: dial tcp 127.0.0.1:1"), "{pull}");
    let gateway =
        ["run", "--rm", "--add-host", "up:host-gateway", "busybox:latest", "grep", "up", "/etc/hosts"];
    // dockerd writes the old name's address as one of IPv6 (`::ffff:`).
    let told = host.cli(engine, &gateway);
    assert!(told.ok().trim().ends_with("10.11.12.13\tup"), "{told}");
}

/// What is one installation's own: no proxy, no forwarding, no devices by name.
fn a_machine_is_as_it_is_set(host: &TestHost, engine: Engine) {
    if !engine.is_tare() {
        return;
    }
    host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward").ok();
    host.cli(engine, &["run", "-d", "--name", "box", "--init", "-p", "80", BUSYBOX, "sleep", "1000"]).ok();
    assert_eq!(host.cli(engine, &["port", "box"]).ok().lines().count(), 1);
    assert_eq!(host.read("/proc/sys/net/ipv4/ip_forward").trim(), "0");
    assert_eq!(host.cli(engine, &["exec", "box", "cat", "/proc/1/comm"]).ok().trim(), "docker-init");
    let info = host.cli(
        engine,
        &["info", "-f", "{{len .CDISpecDirs}} {{.Driver}} {{.DefaultRuntime}} {{.LiveRestoreEnabled}}"],
    );
    assert_eq!(info.ok().trim(), "0 overlayfs runc true");
}
