//! What a container may not do, tried from inside.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(a_container_is_confined, limits_hold, devices_are_denied);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";

fn a_container_is_confined(host: &TestHost, engine: Engine) {
    // (command, what it must not print); each would print `escaped` if it succeeded.
    let attempts = [
        "mount -t tmpfs none /mnt && echo escaped",
        "mount -o remount,rw /proc/sys && echo escaped",
        "umount /proc/kcore && echo escaped",
        "echo 1 >/proc/sys/kernel/panic && echo escaped",
        "echo b >/proc/sysrq-trigger && echo escaped",
        "mkdir /sys/fs/cgroup/memory/x && echo escaped",
        "hostname intruder && echo escaped",
        "date -s 2001-01-01; [ $(date +%Y) = 2001 ] && echo escaped",
        "[ $(wc -c </proc/kcore) != 0 ] && echo escaped",
        "[ -n \"$(ls /sys/firmware)\" ] && echo escaped",
        "ip link add x type dummy && echo escaped",
        "chroot /proc/1/root true && [ $(readlink /proc/1/ns/pid) != $(readlink /proc/self/ns/pid) ] && echo escaped",
        "ls /proc | grep -qx 1000 && echo escaped",
        "kill -9 $PPID 2>/dev/null; [ $(ls -d /proc/[0-9]* | wc -l) -gt 5 ] && echo escaped",
    ];
    for attempt in attempts {
        let output = host.cli(engine, &["run", "--rm", BUSYBOX, "sh", "-c", attempt]);
        assert!(!output.stdout.contains("escaped"), "{output}");
    }
    assert_eq!(host.sh("hostname").ok(), host.name());
}

fn limits_hold(host: &TestHost, engine: Engine) {
    let forks = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo never";
    let output = host.cli(engine, &["run", "--rm", "--pids-limit", "20", BUSYBOX, "sh", "-c", forks]);
    assert!(output.stderr.contains("fork") && !output.stdout.contains("never"), "{output}");
    let spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null; true";
    let output = host.cli(engine, &["run", "--rm", "--cpus", "0.1", BUSYBOX, "sh", "-c", spin]);
    let throttled = output.ok().lines().find_map(|line| line.strip_prefix("nr_throttled "));
    assert!(throttled.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0), "{output}");
}

fn devices_are_denied(host: &TestHost, engine: Engine) {
    // CAP_MKNOD is Docker's default; it is the device program that keeps the disk closed.
    let line = "mknod /tmp/loop b 7 0 && echo made; head -c 1 /tmp/loop; head -c 1 /dev/zero | wc -c; mknod /tmp/null c 1 3 && echo x >/tmp/null && echo null";
    let output = host.cli(engine, &["run", "--rm", BUSYBOX, "sh", "-c", line]);
    assert_eq!(output.ok(), "made\n1\nnull");
    output.says("Operation not permitted");
}

/// dockerd cannot run `--privileged` where root lacks a capability; Tare clamps to what there is.
#[test]
fn privileged_is_clamped_to_what_we_have() {
    if !Engine::Tare.is_wanted() {
        return tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    let mine = host.sh("grep CapBnd /proc/self/status").ok().to_string();
    let line = "grep CapBnd /proc/self/status; mount -t tmpfs none /mnt 2>&1; mkdir -p /m && mount -t tmpfs none /m && echo mounted; [ -e /dev/loop-control ] && echo devices";
    let output = host.tare(&["run", "--rm", "--privileged", BUSYBOX, "sh", "-c", line]);
    let text = output.ok();
    assert!(text.contains(&mine) && text.contains("mounted") && text.contains("devices"), "{output}");
}
