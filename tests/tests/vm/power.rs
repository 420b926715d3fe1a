//! The power is cut while Tare and its containers write: what was acknowledged is there after the next boot, what a
//! reboot made stale is put right by the first command, and `system boot` starts what the policies say.

use tests::vm::{Disk, Vm};

use crate::{BUSYBOX, NGINX, inspect, start_registry, wait_for};

const CYCLES: u32 = 2;

pub fn what_was_acknowledged_is_there() {
    let disk = match Vm::can_boot() {
        true => Disk::kept().expect("a copy of the root disk"),
        false => return,
    };
    let (mut acknowledged, mut volumes) = (Vec::new(), Vec::new());
    for cycle in 0..CYCLES {
        let Some(mut vm) = Vm::boot(&disk) else { return };
        println!("cycle {cycle}: booted in {:.1} s", vm.boot_time.as_secs_f64());
        check(&mut vm, &acknowledged);
        check_volumes(&mut vm, &volumes);
        let (written, names) = write(&mut vm, cycle);
        acknowledged.extend(names);
        volumes.push(written);
        vm.cut_power();
    }
    let Some(mut vm) = Vm::boot(&disk) else { return };
    check(&mut vm, &acknowledged);
    check_volumes(&mut vm, &volumes);
    start_registry(&mut vm);
    // Nothing is in the way of new work, also not of the pull that was cut off.
    vm.sh(&format!("tare pull -q {NGINX} && tare run --rm {NGINX} true")).ok();
}

/// A container's volume, and how many files it had synced in it.
struct Written {
    name: String,
    volume: String,
    lines: String,
}

/// Makes containers, and is cut off in the middle of a pull and a `run -d`. Gives the names that were acknowledged.
fn write(vm: &mut Vm, cycle: u32) -> (Written, Vec<String>) {
    start_registry(vm);
    vm.sh(&format!("tare pull -q {BUSYBOX}")).ok();
    // A container that runs always, and says what its volume has on the disk.
    let count = "i=0; while i=$((i+1)); echo $i >/data/$i; sync /data/$i; do echo $i; done";
    let name = format!("writer-{cycle}");
    vm.sh(&format!(
        "tare run -d --name {name} --restart always -v volume-{cycle}:/data {BUSYBOX} sh -c '{count}'"
    ))
    .ok();
    wait_for(vm, &format!("[ $(tare logs {name} | wc -l) -ge 10 ]"));
    let (created, running) = (format!("created-{cycle}"), format!("running-{cycle}"));
    vm.sh(&format!("tare create --name {created} {BUSYBOX} echo {created}")).ok();
    vm.sh(&format!("tare run -d --name {running} -p 80{cycle}0:80 {BUSYBOX} sleep 1000")).ok();
    vm.sh(&format!("tare rmi -f {NGINX} >/dev/null 2>&1; tare pull {NGINX} >/run/pull 2>&1 & i=0; while :; do tare run -d --name late-$i {BUSYBOX} true && echo late-$i >>/run/late; i=$((i+1)); done >/run/loop 2>&1 &")).ok();
    wait_for(vm, "[ $(wc -l </run/late) -ge 2 ]");
    let late = vm.sh("cat /run/late").ok().to_string();
    let lines = vm.sh(&format!("tare logs --tail 1 {name}")).ok().to_string();
    let written = Written { name, volume: format!("volume-{cycle}"), lines };
    (written, [created, running].into_iter().chain(late.lines().map(str::to_string)).collect())
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

/// Each file that was synced is whole; the containers are started by the boot, as their policy says, and end here.
fn check_volumes(vm: &mut Vm, volumes: &[Written]) {
    if volumes.is_empty() {
        return;
    }
    let booted = vm.sh("tare system boot");
    for Written { name, volume, lines } in volumes {
        assert!(booted.ok().lines().any(|started| started == name), "{name} was not started: {booted}");
        let bad = format!(
            "for i in $(seq {lines}); do [ \"$(cat /var/lib/tare/volumes/{volume}/_data/$i)\" = $i ] || echo $i; done"
        );
        assert_eq!(vm.sh(&bad).ok(), "", "acknowledged up to {lines}");
        assert_eq!(inspect(vm, name, "{{.State.Running}}"), "true");
        vm.sh(&format!("tare kill {name} && tare start {name} && tare exec {name} true && tare kill {name} && tare update --restart no {name}")).ok();
    }
}
