//! How containers end on cgroup v2 (cgroup.kill), are frozen, and what becomes of them when their shim is killed.

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

/// Neither program has a `pause` yet; but whoever froze the group must not make the container immortal.
pub fn a_frozen_one_can_be_removed(vm: &mut Vm) {
    let before = State::of(vm);
    vm.sh(&format!("tare run -d --name box {BUSYBOX} sleep 1000")).ok();
    let id = inspect(vm, "box", "{{.Id}}");
    vm.sh(&format!("echo 1 >/sys/fs/cgroup/docker/{id}/cgroup.freeze")).ok();
    wait_for(vm, &format!("grep 'frozen 1' /sys/fs/cgroup/docker/{id}/cgroup.events"));
    assert_eq!(vm.sh("tare rm -f box").ok(), "box");
    before.is_restored(vm);
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
