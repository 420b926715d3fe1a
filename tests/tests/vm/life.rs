//! How containers end on cgroup v2 (cgroup.kill), are frozen, and what becomes of them when their shim is killed; and
//! the runtime by itself.

use tests::vm::Vm;
use tests::vm::state::State;

use crate::{BUSYBOX, inspect, wait_for};

pub fn kill_and_what_escaped(vm: &mut Vm) {
    let before = State::of(vm);
    // In the host's pid namespace nothing dies with process 1: only the group knows who belongs to it.
    vm.sh(&format!(
        "tare run -d --name box --pid host {BUSYBOX} sh -c 'setsid sleep 3000 & setsid sleep 3001 & exec sleep 3002'"
    ))
    .ok();
    wait_for(vm, "pgrep -f 'sleep 3001'");
    assert_eq!(vm.sh("tare kill box").ok(), "box");
    wait_for(vm, "! pgrep -f 'sleep 300'");
    assert_eq!(inspect(vm, "box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    vm.sh("tare rm box").ok();
    vm.sh(&format!("tare run -d --name box --stop-signal TERM {BUSYBOX} sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.1; done'")).ok();
    vm.sh("tare kill -s TERM box").ok();
    assert_eq!(vm.sh("tare wait box").ok(), "3");
    vm.sh("tare rm box").ok();
    before.is_restored(vm);
}

pub fn pause_freezes(vm: &mut Vm) {
    // The engine has no `pause` yet: the runtime has.
    let script = bundle("frozen", r#"["sh", "-c", "while :; do echo tick; sleep 0.1; done"]"#);
    vm.sh(&format!("{script} && tare-runtime --root /run/rt run --detach --bundle /run/frozen frozen >/run/frozen/log 2>&1")).ok();
    wait_for(vm, "grep tick /run/frozen/log");
    let group = vm.sh("find /sys/fs/cgroup -name frozen -type d").ok().to_string();
    vm.sh("tare-runtime --root /run/rt pause frozen").ok();
    let frozen = vm.sh(&format!("cat {group}/cgroup.freeze; grep frozen {group}/cgroup.events; tare-runtime --root /run/rt state frozen"));
    assert!(frozen.ok().starts_with("1\nfrozen 1\n") && frozen.stdout.contains("\"paused\""), "{frozen}");
    let counts = vm.sh("wc -l </run/frozen/log; sleep 1; wc -l </run/frozen/log");
    let counts: Vec<&str> = counts.ok().lines().collect();
    assert_eq!(counts[0], counts[1], "a frozen container writes");
    vm.sh("tare-runtime --root /run/rt resume frozen").ok();
    wait_for(vm, &format!("[ $(wc -l </run/frozen/log) -gt {} ]", counts[0]));
    // A frozen one can be killed and deleted.
    vm.sh("tare-runtime --root /run/rt pause frozen && tare-runtime --root /run/rt delete --force frozen")
        .ok();
    wait_for(vm, &format!("[ ! -d {group} ]"));
    vm.sh("umount /run/frozen/rootfs; rm -r /run/frozen").ok();
}

pub fn a_killed_shim_is_reported(vm: &mut Vm) {
    let before = State::of(vm);
    vm.sh(&format!("tare run -d --name box -p 8081:80 {BUSYBOX} sleep 1000")).ok();
    let id = inspect(vm, "box", "{{.Id}}");
    let shim = vm.sh("pgrep -f 'tare-runtime shim' || pgrep -f tare-runtime");
    assert_eq!(shim.ok().lines().count(), 1, "{shim}");
    vm.sh(&format!("kill -9 {}", shim.ok())).ok();
    wait_for(
        vm,
        "[ \"$(tare inspect --format '{{.State.Status}} {{.State.ExitCode}}' box)\" = 'exited 137' ]",
    );
    wait_for(vm, &format!("[ ! -d /sys/fs/cgroup/docker/{id} ]"));
    vm.sh("tare start box && tare exec box true && tare rm -f box").ok();
    before.is_restored(vm);
}

pub fn many_at_once(vm: &mut Vm) {
    let before = State::of(vm);
    let output = vm.sh(&format!(
        "for i in 1 2 3 4 5 6; do tare run --rm --memory 64m {BUSYBOX} sh -c \"exit $i\" & eval p$i=$!; done\n\
         for i in 1 2 3 4 5 6; do eval wait \\$p$i; echo $?; done"
    ));
    assert_eq!(output.ok(), "1\n2\n3\n4\n5\n6", "{output}");
    before.is_restored(vm);
}

/// As containerd and podman call it, with limits in the bundle.
pub fn the_runtime_alone(vm: &mut Vm) {
    let script = bundle("alone", r#"["sh", "-c", "cat /proc/self/cgroup; exit 5"]"#);
    let output = vm.sh(&format!("{script} && tare-runtime --root /run/rt run --bundle /run/alone alone"));
    output.exits(5);
    assert_eq!(output.stdout, "0::/\n", "{output}");
    assert_eq!(vm.sh("tare-runtime --root /run/rt list -q; find /sys/fs/cgroup -name alone").ok(), "");
    let script = bundle("tuned", r#"["sleep", "1000"]"#);
    vm.sh(&format!(
        "{script} && tare-runtime --root /run/rt run --detach --bundle /run/tuned tuned >/dev/null 2>&1"
    ))
    .ok();
    let group = vm.sh("find /sys/fs/cgroup -name tuned -type d").ok().to_string();
    vm.sh("tare-runtime --root /run/rt update --memory 67108864 --pids-limit 9 --cpu-quota 50000 --cpu-period 100000 tuned").ok();
    let files = vm.sh(&format!("cd {group}; cat memory.max pids.max cpu.max"));
    assert_eq!(files.ok(), "67108864\n9\n50000 100000");
    let listed = vm.sh("tare-runtime --root /run/rt exec tuned cat /proc/self/cgroup; tare-runtime --root /run/rt kill tuned KILL");
    assert_eq!(listed.ok(), "0::/");
    wait_for(vm, "tare-runtime --root /run/rt state tuned | grep stopped");
    vm.sh("tare-runtime --root /run/rt delete tuned; for b in alone tuned; do umount /run/$b/rootfs; rm -r /run/$b; done").ok();
    assert_eq!(vm.sh(&format!("ls -d {group}")).stdout, "");
}

/// A script that makes a bundle with the machine's own busybox; `args` is JSON.
fn bundle(name: &str, args: &str) -> String {
    let edit = format!(
        "s#\"sh\"#{}#; s#\"terminal\": *true#\"terminal\": false#; s#\"readonly\": *true#\"readonly\": false#",
        args.trim_matches(['[', ']'])
    );
    format!(
        "mkdir -p /run/{name}/rootfs && cd /run/{name} && mount -t tmpfs tmpfs rootfs && mkdir -p rootfs/bin && \
         for d in proc sys dev etc tmp; do mkdir rootfs/$d; done && cp /bin/busybox rootfs/bin/ && \
         for a in sh cat sleep; do ln -s busybox rootfs/bin/$a; done && tare-runtime spec && sed -i '{edit}' config.json && cd /root"
    )
}
