//! The harness itself: a test host is private and leaves nothing behind, and the reference works in it.

use std::path::Path;

use tests::sandbox::cgroups;
use tests::sandbox::network::{HOST_V4, HOST_V6, NEIGHBOUR_V4};
use tests::{Engine, TestHost};

#[test]
fn a_host_is_private_and_leaves_nothing() {
    let Some(host) = TestHost::new() else { return };
    assert_eq!(host.sh("cat /proc/self/cgroup | grep -v ':/$'").stdout, "", "a cgroup shows a path outside");
    assert_eq!(host.sh("ls /sys/class/net | tr '\\n' ' '").ok().trim(), "eth0 lo");
    assert_eq!(host.sh("hostname").ok(), host.name());
    host.sh("touch /work-file").exits(1).says("Read-only file system");
    host.sh("echo x >/etc/tare-test && echo x >/var/lib/tare/f && echo x >/run/f && echo x >/tmp/f").ok();
    assert!(!Path::new("/etc/tare-test").exists());
    let before = host.state();
    let sleeper =
        host.spawn("for d in /sys/fs/cgroup/*/; do mkdir -p $d/a/b; done; touch /tmp/left; exec sleep 60");
    let signs = ["sleep 60", "/a/b", "/tmp/left"];
    let mut left = String::new();
    tests::wait::until(std::time::Duration::from_secs(10), || {
        left = host.state().minus(&before).join("\n");
        signs.iter().all(|sign| left.contains(sign))
    });
    for sign in signs {
        assert!(left.contains(sign), "{sign} is not reported:\n{left}");
    }
    drop(sleeper);
    let name = host.name().to_string();
    drop(host);
    for hierarchy in cgroups::hierarchies().expect("hierarchies") {
        assert!(!hierarchy.path.join(&name).exists(), "{} is left", hierarchy.path.display());
    }
}

#[test]
fn the_neighbour_is_reached_through_eth0() {
    let Some(host) = TestHost::new() else { return };
    host.neighbour(&format!("busybox ping -c 1 -W 2 {HOST_V4} && busybox ping6 -c 1 -W 2 {HOST_V6}")).ok();
    let server = host.spawn("exec busybox nc -l -p 7000 -e echo from-the-host");
    assert!(host.wait_for_listener("7000"));
    assert_eq!(host.neighbour(&format!("busybox nc -w 2 {HOST_V4} 7000")).ok(), "from-the-host");
    drop(server);
    host.sh(&format!("busybox ping -c 1 -W 2 {NEIGHBOUR_V4}")).ok();
}

#[test]
fn a_full_disk_is_a_small_ext4() {
    let Some(host) = TestHost::with_data(tests::sandbox::Data::Ext4(16)) else { return };
    assert!(host.sh("stat -f -c %T /var/lib/tare").ok().starts_with("ext2/ext3"));
    host.sh("dd if=/dev/zero of=/var/lib/tare/fill bs=1M count=32").exits(1).says("No space left");
}

#[test]
fn a_terminal_is_a_terminal() {
    let Some(host) = TestHost::new() else { return };
    // Without job control: an interactive shell would want a session inside the host's pid namespace.
    let script = "stty size; tty >/dev/null && echo is-a-tty; read line; stty size; exit $line";
    let mut pty = tests::pty::Pty::start(host.command(&["sh", "-c", script]), "sh");
    pty.wait_for("24 80");
    pty.wait_for("is-a-tty");
    pty.resize(100, 30);
    pty.send("7\n");
    let (code, shown) = pty.finish();
    assert_eq!(code, 7, "{shown}");
    assert!(shown.contains("30 100"), "{shown}");
}

#[test]
fn the_reference_runs_nginx() {
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    host.start(Engine::Docker);
    host.docker(&["pull", "127.0.0.1:5000/nginx:1.22"]).ok();
    // The first container makes folders that stay.
    host.docker(&["run", "--rm", "127.0.0.1:5000/nginx:1.22", "true"]).ok();
    let before = host.state();
    host.docker(&["run", "-d", "--name", "web", "-p", "8080:80", "127.0.0.1:5000/nginx:1.22"]).ok();
    assert!(
        host.sh("curl -sS --retry 20 --retry-connrefused http://127.0.0.1:8080/")
            .ok()
            .contains("Welcome to nginx!")
    );
    assert!(host.docker(&["exec", "web", "cat", "/etc/passwd"]).ok().contains("www-data"));
    assert!(!host.state().minus(&before).is_empty(), "a running container is not seen");
    host.docker(&["stop", "web"]).ok();
    host.docker(&["rm", "web"]).ok();
    host.settles_to(&before);
}
