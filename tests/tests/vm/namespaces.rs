//! The cgroup namespace, and a container that makes groups of its own.

use tests::vm::Vm;

use crate::{BUSYBOX, inspect};

pub fn cgroup_namespace(vm: &mut Vm) {
    let look = "sh -c 'cat /proc/self/cgroup; grep cgroup2 /proc/mounts'";
    let private = vm.sh(&format!("tare run --rm {BUSYBOX} {look}"));
    let mut lines = private.ok().lines();
    assert_eq!(lines.next(), Some("0::/"), "{private}");
    assert!(lines.next().is_some_and(|line| line.contains(" /sys/fs/cgroup cgroup2 ro,")), "{private}");
    let host = vm.sh(&format!("tare run --rm --cgroupns host {BUSYBOX} sh -c 'cat /proc/self/cgroup; ls -d /sys/fs/cgroup/*/tasks /sys/fs/cgroup/tare* /sys/fs/cgroup/docker 2>/dev/null'"));
    assert!(host.stdout.starts_with("0::/docker/"), "{host}");
    vm.sh(&format!("tare run -d --name box {BUSYBOX} sleep 1000")).ok();
    assert_eq!(inspect(vm, "box", "{{.HostConfig.CgroupnsMode}}"), "private");
    assert_eq!(vm.sh("tare exec box cat /proc/self/cgroup").ok(), "0::/");
    let refused = vm.sh("tare exec box mkdir /sys/fs/cgroup/mine");
    assert_eq!(refused.code, 1, "{refused}");
    vm.sh("tare rm -f box").ok();
}

/// systemd and other supervisors in a container move their processes below: the group of the container then holds none
/// and takes none (no internal processes), so a new process goes where the container's first one is, as with runc.
pub fn exec_beside_groups_of_its_own(vm: &mut Vm) {
    let script = "set -e; cd /sys/fs/cgroup; mkdir init; echo 1 >init/cgroup.procs; \
                  echo \"+memory +pids\" >cgroup.subtree_control; echo ready; sleep 1000";
    vm.sh(&format!("tare run -d --name box --privileged --memory 128m {BUSYBOX} sh -c '{script}'")).ok();
    crate::wait_for(vm, "tare logs box | grep ready");
    let own = vm.sh("tare exec box cat /proc/self/cgroup");
    assert_eq!(own.ok(), "0::/init", "{own}");
    // Everything dies with it, also what is in groups below, and the groups go.
    let id = inspect(vm, "box", "{{.Id}}");
    vm.sh("tare exec -d box sleep 2000; tare kill box").ok();
    crate::wait_for(vm, &format!("[ ! -d /sys/fs/cgroup/docker/{id} ]"));
    assert_eq!(vm.sh("pgrep -f 'sleep [12]000'").stdout, "");
    vm.sh("tare rm box").ok();
}
