//! What each flag of `run` does, seen from the kernel and the container: the same lines on the reference, through
//! the socket and without a daemon. Column "shows" of `tests/flags.tsv` names the cases.

use tests::differential::{Case, Deliberate, compare};

const fn case(name: &'static str, lines: &'static [&'static str]) -> Case {
    Case::new(name, lines)
}

/// Limits are read where the kernel keeps them: on v1 by the container's own view of its groups.
const LIMITS: &[Case] = &[
    case(
        "memory",
        &[
            "$E run --rm -m 64m --memory-reservation 32m --memory-swap 128m --memory-swappiness 10 $R/busybox sh -c 'cd /sys/fs/cgroup/memory; cat memory.limit_in_bytes memory.soft_limit_in_bytes memory.memsw.limit_in_bytes memory.swappiness'",
            "$E run --rm -m 64m --oom-kill-disable $R/busybox head -1 /sys/fs/cgroup/memory/memory.oom_control",
            "$E run --rm --oom-kill-disable $R/busybox true",
            "$E run --rm --oom-score-adj 500 $R/busybox cat /proc/self/oom_score_adj",
            "$E run --rm --memory-reservation 1m $R/busybox true; $E run --rm -m 10m --memory-reservation 20m $R/busybox true; $E run --rm --memory-swappiness 200 $R/busybox true; $E run --rm --oom-score-adj 2000 $R/busybox true",
        ],
    ),
    case(
        "cpu",
        &[
            "$E run --rm -c 512 --cpu-period 50000 --cpu-quota 25000 $R/busybox sh -c 'cd /sys/fs/cgroup/cpu; cat cpu.shares cpu.cfs_period_us cpu.cfs_quota_us'",
            "$E run --rm --cpuset-cpus 0 --cpuset-mems 0 $R/busybox sh -c 'cd /sys/fs/cgroup/cpuset; cat cpuset.cpus cpuset.mems; grep Cpus_allowed_list /proc/self/status'",
            "$E run --rm --cpuset-cpus x $R/busybox true; $E run --rm --cpuset-cpus 99 $R/busybox true; $E run --rm --cpuset-mems 9 $R/busybox true",
            "$E run --rm --cpus 1 --cpu-quota 5000 $R/busybox true; $E run --rm --cpu-period 5 $R/busybox true; $E run --rm --cpu-quota 5 $R/busybox true; $E run --rm --cpu-shares -1 $R/busybox true",
        ],
    ),
    case(
        "block devices",
        &[
            "$E run --rm --device-read-bps /dev/vda:1mb --device-write-bps /dev/vda:2mb --device-read-iops /dev/vda:10 --device-write-iops /dev/vda:20 $R/busybox sh -c 'cd /sys/fs/cgroup/blkio; cat blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device'",
            "$E run --rm --device-read-bps /dev/nosuch:1mb $R/busybox true",
            "$E run --rm --blkio-weight 300 $R/busybox true",
        ],
    )
    .but(&[Deliberate {
        reference: "WARNING: Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        ours: "",
        why: "dockerd looks for CFQ's file only; the weight is set where the kernel has BFQ's",
    }]),
    case(
        "ulimits",
        &[
            "$E run --rm --ulimit nofile=100:200 --ulimit core=0 --ulimit nproc=50 $R/busybox sh -c 'ulimit -n; ulimit -Hn; ulimit -c; grep processes /proc/self/limits'",
            "$E run --rm --ulimit x=1 $R/busybox true; $E run --rm --ulimit nofile=2:1 $R/busybox true; $E run --rm --ulimit nofile $R/busybox true",
        ],
    ),
    case(
        "shown",
        &[
            "$E create --name lll -m 64m --memory-reservation 32m -c 512 --cpu-period 50000 --cpu-quota 25000 --cpuset-cpus 0 --cpuset-mems 0 --device-read-bps /dev/vda:1mb --ulimit nofile=100:200 --oom-score-adj 5 --memory-swappiness 10 $R/busybox >/dev/null",
            "$E inspect --format '{{json .HostConfig}}' lll; $E rm lll",
        ],
    ),
];

const NAMESPACES: &[Case] = &[
    case(
        "pid",
        &[
            "$E run --rm --pid host $R/busybox sh -c '[ $$ -gt 1 ] && readlink /proc/self/ns/pid | cut -d : -f 1'",
            "$E run -d --name one $R/busybox sleep 100 >/dev/null; $E run --rm --pid container:one $R/busybox sh -c 'cat /proc/1/cmdline | tr \"\\\\0\" \" \"'",
            "$E run --rm --pid container:nosuch $R/busybox true; $E run --rm --pid x $R/busybox true; $E rm -f one",
        ],
    ),
    case(
        "ipc",
        &[
            "$E run --rm --ipc none $R/busybox sh -c 'grep -c /dev/shm /proc/mounts; ls -d /dev/shm'",
            "$E run --rm --ipc private --shm-size 1m $R/busybox sh -c 'df -k /dev/shm | tail -1 | cut -c 1-30'",
            "$E run --rm --ipc host $R/busybox sh -c 'ls /proc/self/ns/ipc; grep -c \" /dev/shm \" /proc/mounts'",
            "$E run --rm --ipc x $R/busybox true; $E run --rm --ipc container:nosuch $R/busybox true",
        ],
    ),
    case(
        "uts, user, cgroup",
        &[
            "[ \"$(hostname)\" = \"$($E run --rm --uts host $R/busybox hostname)\" ] && echo same",
            "$E run --rm --uts host --hostname a $R/busybox hostname; $E run --rm --uts x $R/busybox true",
            "$E run --rm --userns host $R/busybox cat /proc/self/uid_map",
            "$E run --rm --cgroupns private $R/busybox grep -c '^[0-9]*:[a-z]*:/$' /proc/self/cgroup",
            "$E run --rm --cgroupns host $R/busybox sh -c 'grep -c docker /proc/self/cgroup'",
            "$E run --rm --cgroupns x $R/busybox true",
            "$E run --rm --cgroup-parent /mine $R/busybox sh -c 'grep memory: /proc/self/cgroup | cut -d / -f 2'",
        ],
    ),
    case(
        "sysctl",
        &[
            "$E run --rm --sysctl net.ipv4.ip_forward=0 --sysctl kernel.msgmax=1000 $R/busybox cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
            "$E run --rm --sysctl kernel.foo=1 $R/busybox true; $E run --rm --sysctl net.ipv4.ip_forward=1 --network host $R/busybox true",
        ],
    ),
];

const SECURITY: &[Case] = &[
    case(
        "options",
        &[
            "$E run --rm --security-opt no-new-privileges $R/busybox grep NoNewPrivs /proc/self/status",
            "$E run --rm --security-opt no-new-privileges=false $R/busybox grep NoNewPrivs /proc/self/status",
            "$E run --rm --security-opt seccomp=unconfined $R/busybox grep Seccomp: /proc/self/status",
            "$E run --rm --security-opt seccomp=builtin $R/busybox grep Seccomp: /proc/self/status",
            "$E run --rm --security-opt apparmor=unconfined --security-opt label=disable $R/busybox true",
            "$E run --rm --security-opt systempaths=unconfined $R/busybox sh -c 'grep -c /proc/ /proc/mounts; head -c 1 /proc/kcore | wc -c'",
            "$E run --rm --security-opt x $R/busybox true; $E run --rm --security-opt x=y $R/busybox true; $E run --rm --security-opt no-new-privileges=x $R/busybox true; $E run --rm --security-opt seccomp=/nosuch $R/busybox true",
        ],
    ),
    case(
        "seccomp profile",
        &[
            "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13}]}' >/tmp/p.json; $E run --rm --security-opt seccomp=/tmp/p.json $R/busybox sh -c 'mkdir /x; grep Seccomp: /proc/self/status'",
            "echo '{' >/tmp/bad.json; $E run --rm --security-opt seccomp=/tmp/bad.json $R/busybox true",
        ],
    ),
    case(
        "devices",
        &[
            "$E run --rm --device /dev/null:/dev/nothing:rw $R/busybox sh -c 'ls -l /dev/nothing | cut -c 1-10; echo x >/dev/nothing && echo written'",
            "$E run --rm --device /dev/loop-control $R/busybox sh -c 'ls -l /dev/loop-control | cut -d , -f 1 | cut -c 1-10'",
            "$E run --rm --device /dev/nosuch $R/busybox true; $E run --rm --device /etc/passwd $R/busybox true; $E run --rm --device /dev/null:/dev/x:q $R/busybox true",
            "$E run --rm --device-cgroup-rule 'c 10:200 rwm' $R/busybox sh -c 'cat /sys/fs/cgroup/devices/devices.list | grep 10:200'",
            "$E run --rm --device-cgroup-rule x $R/busybox true",
        ],
    ),
    case(
        "groups",
        &[
            "$E run --rm --group-add audio --group-add 777 -u 1000 $R/busybox id; $E run --rm --group-add nosuch $R/busybox true",
        ],
    ),
    case(
        "annotations",
        &[
            "$E create --name ann --annotation a=b $R/busybox >/dev/null; $E inspect --format '{{json .HostConfig.Annotations}}' ann; $E rm ann",
        ],
    ),
    case(
        "runtime",
        &["$E run --rm --runtime runc $R/busybox echo ran; $E run --rm --runtime x $R/busybox true"],
    ),
    case(
        "isolation",
        &["$E run --rm --isolation default $R/busybox echo ran; $E run --rm --isolation x $R/busybox true"],
    ),
];

const NAMES: &[Case] = &[
    case(
        "resolver",
        &[
            "$E run --rm --dns 192.0.2.53 --dns 192.0.2.54 --dns-search example.com --dns-option ndots:3 $R/busybox grep -v '^#' /etc/resolv.conf",
            "$E run --rm --dns-search . $R/busybox grep -v '^#' /etc/resolv.conf",
            "$E run --rm --network host --dns 192.0.2.53 $R/busybox grep -v '^#' /etc/resolv.conf",
            "$E run --rm --dns x $R/busybox true",
        ],
    ),
    case(
        "hosts",
        &[
            "$E run --rm --add-host db:192.0.2.7 --add-host six=2001:db8::7 $R/busybox grep -E '(db|six)$' /etc/hosts",
            "$E run --rm --add-host me:host-gateway $R/busybox sh -c '[ \"$(grep me$ /etc/hosts | cut -f 1)\" = \"$(ip route | grep default | cut -d \" \" -f 3)\" ] && echo gateway'",
            "$E run --rm --network host --add-host db:192.0.2.7 $R/busybox grep db$ /etc/hosts",
            "$E run --rm --add-host x $R/busybox true; $E run --rm --add-host x:y $R/busybox true",
        ],
    ),
    case(
        "publish all",
        &[
            "$E run -d --name pub -P --expose 81 --expose 82/udp $R/busybox sleep 100 >/dev/null; $E inspect --format '{{range $p, $b := .NetworkSettings.Ports}}{{$p}} {{len $b}} {{end}}' pub",
            "$E ps --format '{{.Ports}}' | tr ',' '\\n' | sed 's/:[0-9]*->/:N->/; s/^ //' | sort; $E rm -f pub",
        ],
    ),
];

/// Flags that the CLI answers for, or that show in the record.
const THE_REST: &[Case] = &[
    case(
        "files of words",
        &[
            "printf 'A=1\\n# no\\nHOME\\nB=two words\\n' >/tmp/env; $E run --rm --env-file /tmp/env $R/busybox env | grep -v HOSTNAME | sort; $E run --rm --env-file /nosuch $R/busybox true",
            "printf 'a=1\\nb\\n' >/tmp/labels; $E create --name ff --label-file /tmp/labels -l c=3 $R/busybox >/dev/null; $E inspect --format '{{json .Config.Labels}}' ff; $E rm ff",
            "rm -f /tmp/cid; $E create --cidfile /tmp/cid $R/busybox >/tmp/out; cmp /tmp/cid /tmp/out | cut -d : -f 1; wc -c </tmp/cid; $E create --cidfile /tmp/cid $R/busybox 2>&1 | sed 's/[0-9a-f]\\{64\\}/ID/'; $E rm $(cat /tmp/cid) >/dev/null",
        ],
    ),
    case(
        "streams",
        &[
            "$E run --rm -a stdout $R/busybox sh -c 'echo out; echo err >&2'; $E run --rm --attach stderr $R/busybox sh -c 'echo out; echo err >&2'; $E run --rm -a x $R/busybox true",
            "$E run --rm --sig-proxy=false $R/busybox echo a; $E run --rm --detach-keys ctrl-a,b $R/busybox echo a; $E run --rm --detach-keys x-y $R/busybox echo a",
            "$E run -d --name keys $R/busybox sleep 100 >/dev/null; $E exec --detach-keys ctrl-x keys echo a; $E exec --env-file /tmp/env2 keys true; printf 'Z=9\\n' >/tmp/env2; $E exec --env-file /tmp/env2 keys env | grep Z=",
            "(sleep 0.5; $E kill keys >/dev/null) & $E attach --sig-proxy=false --detach-keys ctrl-x keys; echo $?; $E start -a --detach-keys ctrl-x keys & sleep 0.5; $E kill keys; wait; $E rm keys",
        ],
    )
    .but(&[Deliberate {
        reference: "unable to upgrade to tcp, received 400",
        ours: "Error response from daemon: Invalid detach keys (x-y) provided",
        why: "Docker's CLI loses the reason",
    }]),
    case(
        "network words",
        &[
            "$E run --rm --net none $R/busybox ip -o link | wc -l; $E run --rm --net=host $R/busybox true",
            "$E run --rm --dns-opt ndots:4 $R/busybox grep options /etc/resolv.conf",
            "$E run --rm --domainname example.org --hostname box $R/busybox sh -c 'cat /proc/sys/kernel/domainname; hostname; grep box /etc/hosts | cut -f 2'",
        ],
    ),
    case(
        "pulling",
        &[
            "$E run --rm --pull never $R/layered true; $E run --rm --pull missing -q $R/layered echo a; $E run --rm --pull always --quiet $R/layered echo b; $E run --rm --pull x $R/layered true",
            "$E run --rm --platform linux/amd64 $R/busybox echo a; $E run --rm --platform x/y/z/w $R/busybox true",
        ],
    ),
    case(
        "shown by inspect",
        &[
            "$E create --name sss --annotation a=b --stop-signal SIGUSR1 --no-healthcheck --volume-driver local --log-driver json-file --log-opt max-size=1m --privileged --cpu-rt-runtime 5 $R/busybox >/dev/null",
            "$E inspect --format '{{json .HostConfig.Annotations}} {{.Config.StopSignal}} {{json .Config.Healthcheck}} {{json .HostConfig.LogConfig}} {{.HostConfig.Privileged}} {{.HostConfig.CpuRealtimeRuntime}}' sss; $E rm -v sss",
            "$E run --rm --privileged $R/busybox sh -c 'grep CapEff /proc/self/status; grep -c \" /sys ro\" /proc/mounts'",
        ],
    ),
    case(
        "real time",
        &[
            "$E run --rm --cpu-rt-period 1000000 $R/busybox true; $E run --rm --blkio-weight-device /dev/vda:200 $R/busybox true",
        ],
    ),
    case(
        "words of other commands",
        &[
            "$E images -a --format '{{.Repository}}' | sort | uniq; $E run --name logd --log-opt labels=a -l a=1 $R/busybox echo x; $E logs --details logd; $E rm -v logd",
            "tar -C /etc -cf /tmp/t.tar hosts; $E import -m 'a message' /tmp/t.tar imported:1 | cut -c 1-7; $E image inspect --format '{{.Comment}}' imported:1; $E rmi --no-prune imported:1 | cut -c 1-9",
        ],
    ),
];

/// The small commands on one container.
const COMMANDS: &[Case] = &[
    case(
        "restart",
        &[
            "$E run -d --name aaa $R/busybox sleep 1000 >/dev/null; $E create --name bbb $R/busybox sleep 1000 >/dev/null; $E restart -t 0 aaa bbb; $E ps --format '{{.Names}}' | sort; $E restart -s KILL aaa; $E restart --time 0 bbb",
            "$E restart nosuch; $E restart -s x aaa; $E restart -t 1 --time 2 aaa; $E restart",
            "$E run -d --rm --name ccc $R/busybox sleep 1000 >/dev/null; $E restart -t 0 ccc; $E ps -a --format '{{.Names}}' --filter name=ccc; $E stop -t 0 ccc; sleep 0.5; $E ps -aq --filter name=ccc; $E rm -f aaa bbb",
        ],
    ),
    case(
        "rename",
        &[
            "$E create --name aaa $R/busybox >/dev/null; $E create --name bbb $R/busybox >/dev/null; $E rename aaa bbb 2>&1 | sed 's/[0-9a-f]\\{64\\}/ID/'; $E rename aaa aaa; $E rename aaa 'x y'; $E rename nosuch x; $E rename aaa ''; $E rename aaa; $E rename",
            "$E rename aaa ccc; $E ps -a --format '{{.Names}}'; $E rm bbb ccc",
        ],
    ),
    case(
        "top and port",
        &[
            "$E run -d --name aaa -p 8080:80 -p 127.0.0.1:8081:81/udp --expose 99 $R/busybox sleep 1000 >/dev/null; $E create --name bbb $R/busybox >/dev/null",
            "$E top aaa -o pid,comm | sed 's/[0-9][0-9]* /N /'; $E top aaa -o comm; $E top nosuch; $E top",
            "$E port aaa; $E port aaa 80; $E port aaa 81/udp; $E port aaa 81; $E port aaa 99; $E port bbb; $E port nosuch; $E port aaa x; $E port aaa 80/x; $E port; $E rm -f aaa bbb",
        ],
    ),
];

#[test]
fn commands() {
    compare(COMMANDS);
}

#[test]
fn the_rest() {
    compare(THE_REST);
}

#[test]
fn limits() {
    compare(LIMITS);
}

#[test]
fn namespaces() {
    compare(NAMESPACES);
}

#[test]
fn security() {
    compare(SECURITY);
}

#[test]
fn names() {
    compare(NAMES);
}
