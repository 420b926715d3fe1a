//! Limits as the files of cgroup v2, with runc's conversions; and that they bite.

use tests::vm::Vm;

use crate::BUSYBOX;

/// Flags, file, content. Read from inside: the container's cgroup namespace shows its own group.
const FILES: &[(&str, &str, &str)] = &[
    ("", "memory.max", "max"),
    ("", "pids.max", "max"),
    ("", "cpu.weight", "100"),
    ("--memory 64m", "memory.max", "67108864"),
    ("--memory 64m", "memory.swap.max", "67108864"),
    ("--memory 64m --memory-swap 64m", "memory.swap.max", "0"),
    ("--memory 64m --memory-swap 100m", "memory.swap.max", "37748736"),
    ("--memory 64m --memory-swap -1", "memory.swap.max", "max"),
    ("--memory 64m --memory-reservation 32m", "memory.low", "33554432"),
    ("--cpus 1.5", "cpu.max", "150000 100000"),
    ("--cpu-quota 20000", "cpu.max", "20000 100000"),
    ("--cpu-period 50000 --cpu-quota 20000", "cpu.max", "20000 50000"),
    ("--cpu-period 50000", "cpu.max", "max 50000"),
    ("--cpu-shares 2", "cpu.weight", "1"),
    ("--cpu-shares 512", "cpu.weight", "59"),
    ("--cpu-shares 1024", "cpu.weight", "100"),
    ("--cpu-shares 262144", "cpu.weight", "10000"),
    ("--cpuset-cpus 1", "cpuset.cpus", "1"),
    ("--cpuset-cpus 0-1", "cpuset.cpus", "0-1"),
    ("--cpuset-mems 0", "cpuset.mems", "0"),
    ("--pids-limit 77", "pids.max", "77"),
    ("--pids-limit -1", "pids.max", "max"),
    ("--blkio-weight 300", "io.weight", "default 2930"),
    ("--device-write-bps /dev/vda:1mb", "io.max", "254:0 rbps=max wbps=1048576 riops=max wiops=max"),
    (
        "--device-read-bps /dev/vda:2mb --device-write-iops /dev/vda:50",
        "io.max",
        "254:0 rbps=2097152 wbps=max riops=max wiops=50",
    ),
];

pub fn the_files_hold_what_was_asked(vm: &mut Vm) {
    let mut script = String::new();
    // The block device's number is the kernel's to choose.
    for (flags, file, _) in FILES {
        script.push_str(&format!(
            "tare run --rm {flags} {BUSYBOX} sh -c 'echo $(cat /sys/fs/cgroup/{file})'\n"
        ));
    }
    let mut wrong = Vec::new();
    // A handful per script: each has a limit of its own.
    for (lines, cases) in script.lines().collect::<Vec<_>>().chunks(5).zip(FILES.chunks(5)) {
        let output = vm.sh(&format!("{}; true", lines.join(" 2>&1 || echo failed\n")));
        let contents: Vec<&str> = output.ok().lines().collect();
        for (count, (flags, file, expected)) in cases.iter().enumerate() {
            let found = contents.get(count).copied().unwrap_or("nothing");
            if found != *expected {
                wrong.push(format!("{flags}: {file} is {found:?} instead of {expected:?}\n{output}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The processor's set is the one that the scheduler uses.
    let allowed =
        vm.sh(&format!("tare run --rm --cpuset-cpus 1 {BUSYBOX} grep Cpus_allowed_list /proc/self/status"));
    assert_eq!(allowed.ok(), "Cpus_allowed_list:\t1");
}

pub fn block_devices_are_throttled(vm: &mut Vm) {
    // 2 MB at 1 MB/s to a bind mount on the disk: the kernel's own counters tell that it waited, not a clock.
    let output = vm.sh(&format!(
        "mkdir -p /srv/io; tare run -d --name box --device-write-bps /dev/vda:1mb -v /srv/io:/io {BUSYBOX} sleep 1000 && \
         tare exec box sh -c 'dd if=/dev/zero of=/io/file bs=1M count=2 conv=fsync 2>/dev/null; cat /sys/fs/cgroup/io.pressure /sys/fs/cgroup/io.stat'"
    ));
    let stalled = output
        .ok()
        .lines()
        .find_map(|line| line.strip_prefix("some ")?.rsplit_once("total=")?.1.parse().ok());
    let stalled: u64 = stalled.unwrap_or_else(|| panic!("no pressure\n{output}"));
    assert!(stalled > 500_000, "the writer waited {stalled} µs for 2 MB at 1 MB/s\n{output}");
    assert!(output.stdout.contains("wbytes="), "{output}");
    vm.sh("tare rm -f box; rm -r /srv/io").ok();
}

pub fn processes_are_counted(vm: &mut Vm) {
    let output = vm.sh(&format!(
        "tare run --rm --pids-limit 5 {BUSYBOX} sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; cat /sys/fs/cgroup/pids.events' 2>&1"
    ));
    assert!(output.stdout.contains("can't fork") || output.stdout.contains("max "), "{output}");
    assert_ne!(output.code, 0, "eight processes beside the shell, five allowed\n{output}");
}
