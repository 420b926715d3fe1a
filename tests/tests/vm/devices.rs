//! Device access on cgroup v2 is decided by a bpf program: what Docker allows, and what flags add.

use tests::vm::Vm;

use crate::BUSYBOX;

/// Flags, script, exit code, and what standard error must contain.
const CASES: &[(&str, &str, i32, &str)] = &[
    (
        "",
        "echo x >/dev/null && head -c 1 /dev/zero >/dev/null && head -c 8 /dev/urandom >/dev/null && : </dev/full",
        0,
        "",
    ),
    // Making a node is allowed, opening it is not.
    ("", "mknod /tmp/disk b $M $N && head -c 1 /tmp/disk", 1, "Operation not permitted"),
    ("", "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg", 1, "Operation not permitted"),
    (
        "--cap-add SYS_ADMIN --cap-add SYS_RAWIO",
        "mknod /tmp/mem c 1 1 && : </tmp/mem",
        1,
        "Operation not permitted",
    ),
    ("--device /dev/vda", "head -c 1 /dev/vda >/dev/null", 0, ""),
    ("--device /dev/vda:/dev/mine:r", "head -c 1 /dev/mine >/dev/null", 0, ""),
    ("--device /dev/vda:/dev/mine:r", ": >>/dev/mine", 1, "Operation not permitted"),
    (
        "--device /dev/vda:/dev/mine:r",
        "mknod /tmp/other b $M 16; : </tmp/other",
        1,
        "Operation not permitted",
    ),
    ("--device-cgroup-rule \"b $M:* r\"", "mknod /tmp/disk b $M $N && head -c 1 /tmp/disk >/dev/null", 0, ""),
    (
        "--device-cgroup-rule \"b $M:* r\"",
        "mknod /tmp/disk b $M $N && : >>/tmp/disk",
        1,
        "Operation not permitted",
    ),
    ("--privileged", "head -c 1 /dev/vda >/dev/null && [ -c /dev/kmsg ] && : </dev/kmsg", 0, ""),
];

pub fn a_program_of_the_kernel_decides(vm: &mut Vm) {
    let mut wrong = Vec::new();
    for (flags, script, code, text) in CASES {
        let output = vm.sh(&format!(
            "M=$((0x$(stat -c %t /dev/vda))) N=$((0x$(stat -c %T /dev/vda)))\n\
             tare run --rm -e M=$M -e N=$N {flags} {BUSYBOX} sh -c '{script}'"
        ));
        if output.code != *code || !output.stderr.contains(text) {
            wrong.push(format!("expected {code} and {text:?}\n{output}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A later process is under the same program; so is one after a restart of the container.
    vm.sh(&format!("tare run -d --name box {BUSYBOX} sleep 1000")).ok();
    let open = "tare exec box sh -c 'rm -f /tmp/mem; mknod /tmp/mem c 1 1 && : </tmp/mem'";
    vm.sh(open).exits(1).says("Operation not permitted");
    vm.sh("tare stop -t 0 box && tare start box").ok();
    vm.sh(open).exits(1).says("Operation not permitted");
    vm.sh("tare rm -f box").ok();
}
