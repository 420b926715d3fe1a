//! The power is cut while Tare writes: what it acknowledged is there after the next boot, and what a reboot made stale
//! is put right by the first command.

use tests::vm::{Disk, Vm};

use crate::{BUSYBOX, NGINX, inspect, start_registry, wait_for};

const CYCLES: u32 = 2;

pub fn what_was_acknowledged_is_there() {
    let disk = match Vm::can_boot() {
        true => Disk::kept().expect("a copy of the root disk"),
        false => return,
    };
    let mut acknowledged = Vec::new();
    for cycle in 0..CYCLES {
        let Some(mut vm) = Vm::boot(&disk) else { return };
        println!("cycle {cycle}: booted in {:.1} s", vm.boot_time.as_secs_f64());
        check(&mut vm, &acknowledged);
        acknowledged.extend(write(&mut vm, cycle));
        vm.cut_power();
    }
    let Some(mut vm) = Vm::boot(&disk) else { return };
    check(&mut vm, &acknowledged);
    start_registry(&mut vm);
    // Nothing is in the way of new work, also not of the pull that was cut off.
    vm.sh(&format!("tare pull -q {NGINX} && tare run --rm {NGINX} true")).ok();
}

/// Makes containers, and is cut off in the middle of a pull and a `run -d`. Gives the names that were acknowledged.
fn write(vm: &mut Vm, cycle: u32) -> Vec<String> {
    start_registry(vm);
    vm.sh(&format!("tare pull -q {BUSYBOX}")).ok();
    let (created, running) = (format!("created-{cycle}"), format!("running-{cycle}"));
    vm.sh(&format!("tare create --name {created} {BUSYBOX} echo {created}")).ok();
    vm.sh(&format!("tare run -d --name {running} -p 80{cycle}0:80 {BUSYBOX} sleep 1000")).ok();
    vm.sh(&format!("tare rmi -f {NGINX} >/dev/null 2>&1; tare pull {NGINX} >/run/pull 2>&1 & i=0; while :; do tare run -d --name late-$i {BUSYBOX} true && echo late-$i >>/run/late; i=$((i+1)); done >/run/loop 2>&1 &")).ok();
    wait_for(vm, "[ $(wc -l </run/late) -ge 2 ]");
    let late = vm.sh("cat /run/late").ok().to_string();
    [created, running].into_iter().chain(late.lines().map(str::to_string)).collect()
}

fn check(vm: &mut Vm, acknowledged: &[String]) {
    let listed = vm.sh("tare ps -a --format '{{.Names}} {{.State}}'");
    listed.exits(0);
    for name in acknowledged {
        let state = listed.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        assert!(matches!(state, Some("created" | "exited")), "{name} was acknowledged\n{listed}");
    }
    if acknowledged.is_empty() {
        return;
    }
    assert!(vm.sh("tare images").ok().contains("127.0.0.1:5000/busybox"));
    for name in acknowledged.iter().filter(|name| name.starts_with("created")) {
        assert_eq!(vm.sh(&format!("tare start -a {name}")).ok(), name.as_str());
    }
    for name in acknowledged.iter().filter(|name| name.starts_with("running")) {
        vm.sh(&format!("tare start {name} && tare exec {name} true")).ok();
        assert_eq!(inspect(vm, name, "{{.State.Running}}"), "true");
        vm.sh(&format!("tare kill {name}")).ok();
    }
}
