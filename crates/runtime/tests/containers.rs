//! Whole containers through the command line: what a process finds inside.

mod host;

use host::{host, message};
use serde_json::{Value, json};

/// Changes a spec and says what its script prints.
struct Case {
    name: &'static str,
    change: fn(&mut Value),
    script: &'static str,
    expected: &'static str,
}

fn nothing(_: &mut Value) {}

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

const CASES: &[Case] = &[
    Case {
        name: "names and environment",
        change: nothing,
        script: "hostname; echo $HOME; pwd; echo $$",
        expected: "box\n/root\n/\n1",
    },
    Case {
        name: "home is the user's",
        change: |s| {
            s["process"]["user"] = json!({"uid": 33, "gid": 33, "additionalGids": [5, 7], "umask": 0o077})
        },
        script: "echo $HOME; id; umask",
        expected: "/srv\nuid=33(web) gid=33 groups=5,7\n0077",
    },
    Case {
        name: "no descriptor leaks",
        change: nothing,
        script: "for fd in /proc/self/fd/*; do test -e $fd && echo ${fd##*/}; done",
        expected: "0\n1\n2",
    },
    Case {
        name: "default devices and links",
        change: nothing,
        script: "cd /dev; for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $d; done; for l in fd stdin stdout stderr ptmx; do readlink $l; done",
        expected: "null character special file 1:3 666\nzero character special file 1:5 666\nfull character special file 1:7 666\n\
                   random character special file 1:8 666\nurandom character special file 1:9 666\ntty character special file 5:0 666\n\
                   /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx",
    },
    Case {
        name: "a configured device",
        change: |s| s["linux"]["devices"] = json!([{"path": "/dev/sub/zip", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8}]),
        script: "stat -c '%F %t:%T %a %u:%g' /dev/sub/zip",
        expected: "character special file 1:5 640 7:8",
    },
    Case {
        name: "binds",
        change: |s| {
            mount(
                s,
                json!({"destination": "/made/for/it", "type": "bind", "source": "rootfs/data", "options": ["rbind", "ro"]}),
            );
            mount(s, json!({"destination": "/one", "source": "rootfs/data/file", "options": ["bind"]}));
        },
        script: "cat /made/for/it/file /one; touch /made/for/it/x || echo ro; grep -c ' /made/for/it ' /proc/mounts",
        expected: "image\nimage\nro\n1",
    },
    Case {
        name: "recursively read-only",
        change: |s| {
            mount(s, json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"}));
            mount(
                s,
                json!({"destination": "/all", "source": "/dev", "options": ["rbind", "rro", "nosuid", "rnoexec"]}),
            );
        },
        script: "grep -E ' /all(/| )' /proc/mounts | cut -d' ' -f4 | cut -d, -f1 | sort -u",
        expected: "ro",
    },
    Case {
        name: "tmpfs with options and the mode of what it hides",
        change: |s| {
            mount(
                s,
                json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nodev", "noexec", "size=64k"]}),
            );
            mount(
                s,
                json!({"destination": "/fresh", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1770"]}),
            );
        },
        script: "stat -c %a /tmp /fresh; grep ' /tmp ' /proc/mounts",
        expected: "755\n1770\ntmpfs /tmp tmpfs rw,nodev,noexec,relatime,size=64k,mode=755 0 0",
    },
    Case {
        name: "tmpcopyup",
        change: |s| {
            mount(
                s,
                json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]}),
            )
        },
        script: "cat /data/file; touch /data/x || echo ro",
        expected: "image\nro",
    },
    Case {
        name: "masked and read-only paths",
        change: |s| {
            mount(
                s,
                json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}),
            );
            s["linux"]["maskedPaths"] = json!(["/proc/keys", "/sys/firmware", "/proc/nope"]);
            s["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/nope"]);
        },
        script: "wc -c < /proc/keys; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/hostname || echo ro; touch /sys/firmware/x || echo ro; \
                 stat -c %F /proc/keys",
        expected: "0\n0\nro\nro\ncharacter special file",
    },
    Case {
        name: "read-only root",
        change: |s| s["root"]["readonly"] = json!(true),
        script: "touch /x || echo ro; touch /dev/z && echo dev",
        expected: "ro\ndev",
    },
    Case {
        name: "capabilities",
        change: |s| {
            let set = json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
            s["process"]["capabilities"] = json!({"bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": ["CAP_CHOWN"]});
            s["process"]["noNewPrivileges"] = json!(true);
        },
        script: "grep -E '^(Cap|NoNew)' /proc/self/status | tr -d '\\t'",
        expected: "CapInh:0000000000000401\nCapPrm:0000000000000401\nCapEff:0000000000000401\nCapBnd:0000000000000401\n\
                   CapAmb:0000000000000001\nNoNewPrivs:1",
    },
    Case {
        name: "a user keeps ambient capabilities",
        change: |s| {
            let set = json!(["CAP_NET_BIND_SERVICE"]);
            s["process"]["user"] = json!({"uid": 33, "gid": 33});
            s["process"]["capabilities"] = json!({"bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": set});
        },
        script: "grep -E '^(CapEff|CapAmb)' /proc/self/status | tr -d '\\t'",
        expected: "CapEff:0000000000000400\nCapAmb:0000000000000400",
    },
    Case {
        name: "seccomp with and without new privileges",
        change: |s| {
            s["process"]["noNewPrivileges"] = json!(true);
            s["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
        },
        script: "mkdir /x 2>&1; grep Seccomp: /proc/self/status | tr -d '\\t'",
        expected: "mkdir: can't create directory '/x': Operation not supported\nSeccomp:2",
    },
    Case {
        name: "seccomp by a privileged loader",
        change: |s| {
            s["process"]["capabilities"] = json!({"bounding": [], "effective": [], "permitted": []});
            s["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
        },
        script: "mkdir /x 2>&1; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t'",
        expected: "mkdir: can't create directory '/x': Operation not permitted\nNoNewPrivs:0\nSeccomp:2",
    },
    Case {
        name: "limits",
        change: |s| {
            s["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
            s["process"]["oomScoreAdj"] = json!(321);
        },
        script: "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj",
        expected: "100\n200\n0\n321",
    },
    Case {
        name: "a working folder that is made",
        change: |s| s["process"]["cwd"] = json!("/work/deep"),
        script: "pwd",
        expected: "/work/deep",
    },
    Case {
        name: "sysctls and the loopback",
        change: |s| {
            s["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/forwarding": "0", "kernel.shmmax": "4096"})
        },
        script: "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax; ip link show lo | grep -o 'LOOPBACK,UP'",
        expected: "1\n4096\nLOOPBACK,UP",
    },
    Case {
        name: "a user namespace",
        change: |s| {
            s["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            s["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 1000}]);
            s["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 1000}]);
            s["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
            s["process"]["user"] = json!({"uid": 33, "gid": 34});
            mount(s, json!({"destination": "/seen", "source": "rootfs/data", "options": ["bind"]}));
        },
        script: "id -u; id -g; cat /proc/self/uid_map | tr -s ' '; ulimit -n; cat /seen/file; echo x > /dev/null && echo null",
        expected: "33\n34\n 0 0 1\n 1 100000 1000\n100\nimage\nnull",
    },
    Case {
        name: "a new user namespace with a joined network",
        change: |s| {
            s["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "uts"}, {"type": "mount"}, {"type": "user"}, {"type": "network", "path": "/proc/1/ns/net"}]);
            s["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
            s["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
        },
        script: "id -u; echo $$",
        expected: "0\n1",
    },
    Case {
        name: "an idmapped mount",
        change: |s| {
            let to = json!([{"containerID": 0, "hostID": 500, "size": 100}]);
            mount(
                s,
                json!({"destination": "/mapped", "source": "rootfs/data", "options": ["bind", "idmap"], "uidMappings": to, "gidMappings": to}),
            );
        },
        script: "stat -c %u:%g /mapped/file",
        expected: "500:500",
    },
    Case {
        name: "a time namespace",
        change: |s| {
            s["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
            s["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
        },
        script: "test $(cut -d. -f1 /proc/uptime) -gt 1000000000 && echo far",
        expected: "far",
    },
    Case {
        name: "a cgroup namespace and its mount",
        change: |s| {
            s["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
            mount(s, json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
            mount(
                s,
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}),
            );
        },
        script: "cut -d: -f3 /proc/self/cgroup | sort -u; f=$(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs 2>/dev/null | head -1); \
                 mkdir ${f%/*}/x 2>/dev/null || echo ro; cat $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 2 2>/dev/null | head -1) | head -1",
        expected: "/\nro\n1",
    },
    Case {
        name: "the cgroup mount without a namespace shows the own group",
        change: |s| {
            mount(s, json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
            mount(
                s,
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
            );
        },
        script: "f=/sys/fs/cgroup/memory; test -d $f || f=/sys/fs/cgroup; head -1 $f/cgroup.procs",
        expected: "1",
    },
    Case {
        name: "links of the image do not lead out",
        change: |s| mount(s, json!({"destination": "/trap/inside", "type": "tmpfs", "source": "tmpfs"})),
        script: "grep -c ' /tmp/inside tmpfs' /proc/mounts",
        expected: "1",
    },
];

#[test]
fn what_a_process_finds() {
    let Some(host) = host("finds") else { return };
    std::os::unix::fs::symlink("../../../../../tmp", host.root().join("trap")).unwrap();
    let mut failed = Vec::new();
    for case in CASES {
        let mut spec = host.spec(case.script);
        (case.change)(&mut spec);
        let said = host.run(&spec);
        if said.out != case.expected {
            failed.push(format!(
                "{}\nexpected {:?}\n     got {:?}\n{}",
                case.name, case.expected, said.out, said.err
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn what_is_refused() {
    let Some(host) = host("refused") else { return };
    std::fs::write(host.root().join("etc/plain"), "x").unwrap();
    let start = "tare-runtime run failed: unable to start container process: error during container init: ";
    let program = |spec: &mut Value, args: Value| spec["process"]["args"] = args;
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Change<'_>, String); 14] = [
        (
            "PATH",
            &|s| program(s, json!(["nope"])),
            format!("{start}exec: \"nope\": executable file not found in $PATH"),
        ),
        (
            "missing",
            &|s| program(s, json!(["/nope"])),
            format!("{start}exec: \"/nope\": stat /nope: no such file or directory"),
        ),
        (
            "mode",
            &|s| program(s, json!(["/etc/plain"])),
            format!("{start}exec: \"/etc/plain\": permission denied"),
        ),
        ("folder", &|s| program(s, json!(["/etc"])), format!("{start}exec: \"/etc\": is a directory")),
        (
            "below a file",
            &|s| program(s, json!(["/bin/busybox/x"])),
            format!("{start}exec: \"/bin/busybox/x\": stat /bin/busybox/x: not a directory"),
        ),
        (
            "no args",
            &|s| program(s, json!([])),
            "tare-runtime run failed: process args cannot be empty".into(),
        ),
        (
            "bind source",
            &|s| mount(s, json!({"destination": "/m", "source": "/no/such", "options": ["bind"]})),
            format!(
                "{start}error mounting \"/no/such\" to rootfs at \"/m\": stat /no/such: no such file or directory"
            ),
        ),
        (
            "over /proc",
            &|s| mount(s, json!({"destination": "/proc", "source": "rootfs/data", "options": ["bind"]})),
            format!(
                "{start}error mounting \"rootfs/data\" to rootfs at \"/proc\": \"/proc\" cannot be mounted because it is not of type proc"
            ),
        ),
        (
            "inside /proc",
            &|s| mount(s, json!({"destination": "/proc/self", "source": "rootfs/data", "options": ["bind"]})),
            format!(
                "{start}error mounting \"rootfs/data\" to rootfs at \"/proc/self\": \"/proc/self\" cannot be mounted because it is inside /proc"
            ),
        ),
        (
            "AppArmor",
            &|s| s["process"]["apparmorProfile"] = json!("docker-default"),
            "tare-runtime run failed: apparmor: config provided but apparmor not supported".into(),
        ),
        (
            "hostname of the host",
            &|s| s["linux"]["namespaces"] = json!([{"type": "mount"}]),
            "tare-runtime run failed: unable to set hostname without a private UTS namespace".into(),
        ),
        (
            "sysctl of the host",
            &|s| s["linux"]["sysctl"] = json!({"vm.swappiness": "1"}),
            "tare-runtime run failed: sysctl \"vm.swappiness\" is not in a separate kernel namespace".into(),
        ),
        (
            "personality",
            &|s| s["linux"]["personality"] = json!({"domain": "LINUX32"}),
            "tare-runtime run failed: linux.personality is not supported".into(),
        ),
        (
            "root",
            &|s| s["root"]["path"] = json!("/no/root"),
            "tare-runtime run failed: invalid rootfs: stat /no/root: no such file or directory".into(),
        ),
    ];
    for (name, change, text) in cases {
        let mut spec = host.spec("true");
        change(&mut spec);
        let said = host.run(&spec);
        assert_eq!((said.code, message(&said.err)), (1, text), "{name}");
    }
}

#[test]
fn hostile_images() {
    let Some(host) = host("hostile") else { return };
    // /proc is a link to /etc: what is written to "the kernel" later would go to a file (CVE-2019-19921).
    let root = host.root();
    std::fs::remove_dir(root.join("proc")).unwrap();
    std::os::unix::fs::symlink("etc", root.join("proc")).unwrap();
    let said = host.run(&host.spec("true"));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("must be mounted on ordinary directory"), "{}", said.err);
    std::fs::remove_file(root.join("proc")).unwrap();
    std::fs::create_dir(root.join("proc")).unwrap();

    // /dev/null is a plain file in an image whose /dev is no tmpfs; /dev/ptmx leads elsewhere.
    let mut spec = host.spec("stat -c %F /dev/null; readlink /dev/ptmx; wc -c < /proc/keys");
    spec["mounts"].as_array_mut().unwrap().truncate(1);
    spec["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    std::fs::write(root.join("dev/null"), "not empty").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("dev/ptmx")).unwrap();
    let said = host.run(&spec);
    assert_eq!(said.out, "character special file\npts/ptmx\n0", "{}", said.err);

    // A working folder that is a descriptor of the host (CVE-2024-21626).
    for number in 3..12 {
        let mut spec = host.spec("cat /proc/self/mountinfo");
        spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let said = host.run(&spec);
        assert_ne!(said.code, 0, "fd {number}: {}", said.out);
    }
}

#[test]
fn no_folder_of_the_host_is_open_while_a_program_is_looked_up() {
    let Some(host) = host("breakout") else { return };
    // A static program that only the host has (CVE-2024-21626 by the program's path).
    let outside = host.path().join("outside");
    std::fs::copy(host.root().join("bin/busybox"), &outside).unwrap();
    let outside = |number| format!("/proc/self/fd/{number}/../../../../../../../..{}", outside.display());
    for number in 3..16 {
        let mut spec = host.spec("true");
        spec["process"]["args"] = json!([outside(number), "echo", "escaped"]);
        let said = host.run(&spec);
        assert!(said.code != 0 && !said.out.contains("escaped"), "init, fd {number}: {}", said.out);
    }
    host.write_spec(&host.spec("sleep 100"));
    let tries: String =
        (3..16).map(|number| format!("$RT exec c {} echo escaped; ", outside(number))).collect();
    let said = host.sh(&format!("$RT create c; $RT start c; {tries} $RT delete -f c; true"));
    assert!(!said.out.contains("escaped"), "exec: {}", said.out);
    assert!(said.err.contains("/proc/self/fd/15"), "each was tried: {}", said.err);
    host.check_clean();
}

#[test]
fn the_program_in_the_container_cannot_be_written() {
    let Some(host) = host("exe") else { return };
    host.write_spec(&host.spec("true"));
    // At its gate init is still the runtime's program; the kernel refuses to write what runs (ETXTBSY), so it has
    // to end first. A copy, because other tests run the same file.
    let said = host.sh("cp ${RT%% *} ../copy; RT=\"../copy ${RT#* }\"; $RT create c
         pid=$($RT state c | grep -o '\"pid\": [0-9]*' | tr -dc 0-9)
         ls -l /proc/$pid/fd | grep -c state/; exec 7< /proc/$pid/exe
         $RT delete c; sleep 0.2; (: >> /proc/self/fd/7) 2>&1 | grep -o 'Read-only file system'");
    assert_eq!(
        said.out, "1\nRead-only file system",
        "only the fifo of the state folder is open: {}",
        said.err
    );
    host.check_clean();
}
