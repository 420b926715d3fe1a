//! The oldest supported kernel: what came after Linux 5.10 is taken away by a filter in the test host, and the classic,
//! the limits and everything that mounts still work, with a daemon and without.

use std::time::Duration;

use tests::sandbox::kernel;
use tests::{Engine, Output, TestHost, wait};

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const NGINX: &str = "127.0.0.1:5000/nginx:1.22";

/// A host whose programs believe in an old kernel.
fn on_old_kernel(engine: Engine, test: fn(&TestHost, Engine)) {
    if !engine.is_wanted() {
        return;
    }
    let Some(mut host) = TestHost::new() else { return };
    host.start_registry();
    host.set_variable(kernel::VARIABLE, "5.10");
    host.start(engine);
    test(&host, engine);
}

macro_rules! on_old_kernels {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn socket() {
                super::on_old_kernel(tests::Engine::Socket, super::$name);
            }
            #[test]
            fn tare() {
                super::on_old_kernel(tests::Engine::Tare, super::$name);
            }
        }
    )+};
}

on_old_kernels!(the_classic, limits, mounts, a_copy_protects_the_program);

fn the_classic(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "web", "-p", "8080:80", "--memory", "256m", NGINX]).ok();
    let page = || host.sh("curl -s -m 2 http://127.0.0.1:8080/").stdout.contains("Welcome to nginx!");
    assert!(wait::until(Duration::from_secs(20), page));
    assert_eq!(host.cli(engine, &["exec", "web", "cat", "/proc/1/comm"]).ok(), "nginx");
    says(&host.cli(engine, &["logs", "web"]), "GET / HTTP/1.1");
    host.cli(engine, &["stop", "web"]).ok();
    let format = "{{.State.Status}} {{.State.ExitCode}}";
    assert_eq!(host.cli(engine, &["inspect", "-f", format, "web"]).ok(), "exited 0");
    host.cli(engine, &["start", "web"]).ok();
    assert!(wait::until(Duration::from_secs(20), page));
    host.cli(engine, &["rm", "-f", "web"]).ok();
    host.cli(engine, &["run", "--rm", "hello"]).ok();
}

fn limits(host: &TestHost, engine: Engine) {
    let killed = host.cli(
        engine,
        &["run", "--name", "oom", "-m", "16m", "--memory-swap", "16m", BUSYBOX, "tail", "/dev/zero"],
    );
    assert_eq!(killed.code, 137, "{killed}");
    assert_eq!(host.cli(engine, &["inspect", "-f", "{{.State.OOMKilled}}", "oom"]).ok(), "true");
    let fork = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait";
    says(&host.cli(engine, &["run", "--rm", "--pids-limit", "5", BUSYBOX, "sh", "-c", fork]), "can't fork");
    says(
        &host.cli(
            engine,
            &["run", "--rm", "--cpus", "0.5", "--ulimit", "nofile=99", BUSYBOX, "sh", "-c", "ulimit -n"],
        ),
        "99",
    );
    // A whole group ends at once.
    host.cli(
        engine,
        &["run", "-d", "--name", "many", BUSYBOX, "sh", "-c", "sleep 100 & sleep 100 & sleep 100"],
    )
    .ok();
    host.cli(engine, &["rm", "-f", "many"]).ok();
}

fn mounts(host: &TestHost, engine: Engine) {
    host.sh("mkdir -p /tmp/srv/deep && mount -t tmpfs deep /tmp/srv/deep && touch /tmp/srv/file").ok();
    let run = |flags: &[&str], line: &str| {
        let all: Vec<&str> = [&["run", "--rm"], flags, &[BUSYBOX, "sh", "-c", line]].concat();
        host.cli(engine, &all)
    };
    says(&run(&["--read-only"], "touch /x"), "Read-only file system");
    says(&run(&["--read-only", "--tmpfs", "/t"], "touch /t/x && echo made"), "made");
    says(&run(&["-v", "/tmp/srv:/data:ro"], "touch /data/x"), "Read-only file system");
    says(&run(&["-v", "/tmp/srv:/data"], "touch /data/x /data/deep/x && echo made"), "made");
    says(&run(&[], "echo 1 >/proc/sys/kernel/printk"), "Read-only file system");
    run(&[], "ls /proc/acpi /sys/firmware | wc -l").ok();
    says(&run(&["--init"], "cat /proc/1/comm"), "docker-init");
    says(&run(&["--privileged"], "mount -t tmpfs x /tmp && echo mounted"), "mounted");
    says(&run(&["-u", "www-data"], "id -un"), "www-data");
    says(&run(&["-t"], "tty"), "/dev/pts/0");
    says(&run(&["--device", "/dev/null:/dev/nothing"], "echo x >/dev/nothing && echo written"), "written");
    says(&run(&["--ipc", "shareable"], "df /dev/shm | tail -1"), "shm");
}

#[track_caller]
fn says(output: &Output, text: &str) {
    assert!(output.stdout.contains(text) || output.stderr.contains(text), "{output} lacks {text:?}");
}

/// Without open_tree(2) and mount_setattr(2) together the shim runs from a sealed copy in memory.
fn a_copy_protects_the_program(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "100"]).ok();
    let shim =
        host.sh("readlink /proc/$(grep -lx tare-shim /proc/[0-9]*/comm | head -1 | cut -d / -f 3)/exe");
    assert!(shim.ok().starts_with("/memfd:"), "{shim}");
    host.cli(engine, &["rm", "-f", "box"]).ok();
}
