//! The classic, from pull to removal; exit codes; `hello`.

use tests::vm::Vm;
use tests::vm::state::State;

use crate::{BUSYBOX, NGINX, inspect, wait_for};

const RUN: &str =
    "tare run -d --name web -p 8080:80 --memory 256m --cpus 1.5 --pids-limit 100 127.0.0.1:5000/nginx:1.22";
const FETCH: &str =
    "curl -sS --retry 40 --retry-delay 0 --retry-all-errors --retry-max-time 20 --max-time 10";

/// The first container makes the bridge, the table, the groups and folders that stay.
pub fn first_of_all(vm: &mut Vm) {
    let first = vm.sh(&format!("tare run --rm -p 8080:80 {NGINX} true"));
    first.says("Status: Downloaded newer image for 127.0.0.1:5000/nginx:1.22\n").ok();
    vm.sh(&format!("tare pull -q {BUSYBOX}")).ok();
}

pub fn its_whole_life_leaves_nothing(vm: &mut Vm) {
    let before = State::of(vm);
    let id = vm.sh(RUN).ok().to_string();
    assert!(id.len() == 64, "not an id: {id}");
    for family in ["-4", "-6"] {
        let page = vm.sh(&format!("{FETCH} {family} http://localhost:8080/"));
        assert!(page.ok().contains("Welcome to nginx!"), "{page}");
    }
    let pid = inspect(vm, "web", "{{.State.Pid}}");
    assert_eq!(vm.sh(&format!("cat /proc/{pid}/cgroup")).ok(), format!("0::/docker/{id}"));
    let files = vm.sh(&format!(
        "cd /sys/fs/cgroup/docker/{id}; cat memory.max memory.swap.max cpu.max pids.max cgroup.type"
    ));
    assert_eq!(files.ok(), "268435456\n268435456\n150000 100000\n100\ndomain");
    // The shim is outside: what the container uses up is its own.
    let shim = vm.sh(&format!(
        "cat /sys/fs/cgroup/docker/{id}/cgroup.procs | while read p; do cat /proc/$p/comm; done | sort -u"
    ));
    assert_eq!(shim.ok(), "nginx");
    vm.sh("tare logs -f web >/tmp/follow 2>&1 &").ok();
    vm.sh(&format!("{FETCH} -o /dev/null http://localhost:8080/while-following")).exits(0);
    wait_for(vm, "grep /while-following /tmp/follow");
    vm.sh("tare exec web sh -c 'echo kept >/data-of-mine'").ok();
    assert_eq!(vm.sh("tare stop web").ok(), "web");
    assert_eq!(
        inspect(vm, "web", "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"),
        "exited 0 false"
    );
    wait_for(vm, "! pgrep -f 'logs -f'");
    let left = vm.sh(&format!(
        "ls -d /sys/fs/cgroup/docker/{id}; ip -o link show type veth; pgrep nginx; pgrep -f tare-runtime"
    ));
    assert_eq!(left.stdout, "", "left of a stopped container");
    vm.sh("tare start web").ok();
    assert_eq!(vm.sh("tare exec web cat /data-of-mine").ok(), "kept");
    assert!(vm.sh(&format!("{FETCH} -4 http://127.0.0.1:8080/")).ok().contains("Welcome to nginx!"));
    assert_eq!(vm.sh("tare rm -f web").ok(), "web");
    before.is_restored(vm);
}

pub fn memory_limit_kills(vm: &mut Vm) {
    vm.sh(&format!("tare run --name eater --memory 32m --memory-swap 32m {BUSYBOX} tail /dev/zero"))
        .exits(137);
    assert_eq!(inspect(vm, "eater", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    vm.sh("tare rm eater").ok();
    // A process beside the main one: the container lives on.
    vm.sh(&format!("tare run -d --name box --memory 32m --memory-swap 32m {BUSYBOX} sleep 1000")).ok();
    let eater = vm.sh("tare exec box tail /dev/zero");
    assert_eq!(eater.code, 137, "{eater}");
    wait_for(
        vm,
        "[ \"$(tare inspect --format '{{.State.OOMKilled}} {{.State.Running}}' box)\" = 'true true' ]",
    );
    vm.sh("tare rm -f box").ok();
}

pub fn exit_codes(vm: &mut Vm) {
    let before = State::of(vm);
    for (args, code) in [
        ("true", 0),
        ("sh -c 'exit 7'", 7),
        // Process 1 cannot kill itself; another that is killed is told as a shell tells it.
        ("sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'", 137),
        // Last: what a start that fails leaves is not cleared by a later end.
        ("no-such-program", 127),
        ("/etc", 126),
    ] {
        vm.sh(&format!("tare run --rm {BUSYBOX} {args}")).exits(code);
    }
    vm.sh(&format!("tare run --rm --memory 1m {BUSYBOX} true"))
        .exits(125)
        .says("Minimum memory limit allowed is 6MB");
    before.is_restored(vm);
}

pub fn hello_and_its_story(vm: &mut Vm) {
    let hello = vm.sh("tare run --rm hello");
    for text in ["process 1 of its own pid namespace", "14 of 41", "1 filter"] {
        assert!(hello.ok().contains(text), "no {text:?}\n{hello}");
    }
    let explained = vm.sh("tare run --rm --explain hello");
    explained.exits(0);
    for text in ["clone3", "bpf", "/sys/fs/cgroup", "pivot_root", "masked paths"] {
        assert!(explained.both().contains(text), "the story lacks {text:?}\n{explained}");
    }
}
