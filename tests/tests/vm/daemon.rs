//! `tare daemon` with Docker's CLI, and the daemon killed.

use tests::vm::Vm;
use tests::vm::state::State;

use crate::{BUSYBOX, wait_for};

const DOCKER: &str = "export DOCKER_HOST=unix:///run/tare/tare.sock;";

pub fn dockers_cli_and_a_killed_daemon(vm: &mut Vm) {
    let before = State::of(vm);
    start(vm);
    let version = vm.sh(&format!(
        "{DOCKER} docker version --format '{{{{.Server.KernelVersion}}}} {{{{.Server.APIVersion}}}}'"
    ));
    assert!(version.ok().starts_with("6.1.") && version.ok().ends_with(" 1.51"), "{version}");
    let info = vm.sh(&format!("{DOCKER} docker info --format '{{{{.CgroupVersion}}}} {{{{.CgroupDriver}}}} {{{{.MemoryLimit}}}} {{{{.PidsLimit}}}}'"));
    assert_eq!(info.ok(), "2 cgroupfs true true");
    vm.sh(&format!(
        "{DOCKER} docker run --rm --memory 64m {BUSYBOX} sh -c 'cat /sys/fs/cgroup/memory.max; exit 6'"
    ))
    .exits(6);
    vm.sh(&format!(
        "{DOCKER} docker run -d --name box {BUSYBOX} sh -c 'while :; do echo tick; sleep 0.1; done'"
    ))
    .ok();
    assert_eq!(vm.sh(&format!("{DOCKER} docker exec box echo here")).ok(), "here");
    // Killed: the container lives, and both the bare command and a new daemon find it.
    vm.sh("kill -9 $(pgrep -f 'tare daemon')").ok();
    wait_for(vm, "! pgrep -f 'tare daemon'");
    assert_eq!(vm.sh("tare inspect --format '{{.State.Running}}' box").ok(), "true");
    assert_eq!(vm.sh("tare exec box echo bare").ok(), "bare");
    start(vm);
    assert_eq!(vm.sh(&format!("{DOCKER} docker exec box echo again")).ok(), "again");
    assert!(vm.sh(&format!("{DOCKER} docker logs --tail 3 box")).ok().contains("tick"));
    vm.sh(&format!("{DOCKER} docker rm -f box")).ok();
    vm.sh("kill -TERM $(pgrep -f 'tare daemon')").ok();
    wait_for(vm, "! pgrep -f 'tare daemon'");
    vm.sh("rm -f /run/tare/tare.sock");
    before.is_restored(vm);
}

#[track_caller]
fn start(vm: &mut Vm) {
    vm.sh("setsid tare daemon >>/run/tare-daemon.log 2>&1 &").ok();
    wait_for(vm, "curl -sf --unix-socket /run/tare/tare.sock http://localhost/_ping");
}
