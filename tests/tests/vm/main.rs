//! Debian 12's stock kernel (6.1) on pure cgroup v2, in a virtual machine: the classic and what only real controllers
//! show. All cases share one boot; each is a function over the machine and removes what it made. TARE_VM_CASES names
//! the ones to run, all without it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tests::vm::{Disk, Vm};

mod classic;
mod daemon;
mod devices;
mod life;
mod limits;
mod namespaces;
mod power;

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const NGINX: &str = "127.0.0.1:5000/nginx:1.22";

type Case = fn(&mut Vm);

const CASES: &[(&str, Case)] = &[
    ("classic", classic::its_whole_life_leaves_nothing),
    ("oom", classic::memory_limit_kills),
    ("exit-codes", classic::exit_codes),
    ("hello", classic::hello_and_its_story),
    ("limits", limits::the_files_hold_what_was_asked),
    ("io", limits::block_devices_are_throttled),
    ("pids", limits::processes_are_counted),
    ("devices", devices::a_program_of_the_kernel_decides),
    ("cgroupns", namespaces::cgroup_namespace),
    ("delegation", namespaces::exec_beside_groups_of_its_own),
    ("kill", life::kill_and_what_escaped),
    ("frozen", life::a_frozen_one_can_be_removed),
    ("shim", life::a_killed_shim_is_reported),
    ("many", life::many_at_once),
    ("daemon", daemon::dockers_cli_and_a_killed_daemon),
];

#[test]
fn pure_cgroup_v2() {
    let Some(mut vm) = Vm::boot(&Disk::Throwaway) else { return };
    println!("booted in {:.1} s", vm.boot_time.as_secs_f64());
    let kernel = vm.sh("uname -r; stat -f -c %T /sys/fs/cgroup");
    assert!(kernel.ok().starts_with("6.1.") && kernel.ok().ends_with("cgroup2fs"), "{kernel}");
    start_registry(&mut vm);
    classic::first_of_all(&mut vm);
    let wanted = std::env::var("TARE_VM_CASES").ok();
    let is_wanted =
        |name: &str| wanted.as_deref().is_none_or(|wanted| wanted.split(',').any(|one| one == name));
    let mut failed = Vec::new();
    for (name, case) in CASES.iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| case(&mut vm)));
        let verdict = if result.is_ok() { "passed" } else { "FAILED" };
        println!("{verdict} {name} in {:.1} s", start.elapsed().as_secs_f64());
        if result.is_err() {
            failed.push(*name);
            if vm.is_lost() {
                break;
            }
            vm.sh("ids=$(tare ps -aq); [ -z \"$ids\" ] || tare rm -f $ids");
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}; the kernel's console:\n{}", vm.console());
}

#[test]
fn power_cut() {
    power::what_was_acknowledged_is_there();
}

/// Debian's docker-registry on the machine's loopback with all images of the cache.
#[track_caller]
fn start_registry(vm: &mut Vm) {
    let script = r#"
cat >/run/registry.yml <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /srv/registry}}
http: {addr: "127.0.0.1:5000"}
END
setsid docker-registry serve /run/registry.yml >/run/registry.log 2>&1 &
for i in $(seq 200); do
  curl -s -o /dev/null http://127.0.0.1:5000/v2/ && exit 0
  sleep 0.1
done
cat /run/registry.log >&2
exit 1
"#;
    vm.sh(script).ok();
}

/// The value of an inspect template.
#[track_caller]
fn inspect(vm: &mut Vm, name: &str, format: &str) -> String {
    vm.sh(&format!("tare inspect --format '{format}' {name}")).ok().to_string()
}

/// Asks every moment in the machine until `condition` is true there; fails after some seconds.
#[track_caller]
fn wait_for(vm: &mut Vm, condition: &str) {
    let script = format!(
        "for i in $(seq 150); do {{ {condition}; }} >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
    );
    let output = vm.sh(&script);
    assert_eq!(output.code, 0, "never became true: {condition}");
}
