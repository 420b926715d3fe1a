//! Command lines that must give what Docker's CLI 28 and dockerd 28.5.2 give, as data.
//!
//! `$E` is the CLI, `$R` the registry. A line that shows a container's short id or a random name cannot be
//! compared; a case that needs them names its containers and formats its output.

use tests::differential::{Case, Deliberate, compare};

const fn case(name: &'static str, lines: &'static [&'static str]) -> Case {
    Case::new(name, lines)
}

const RUN: &[Case] = &[
    case("output", &["$E run --rm $R/busybox echo hello"]),
    case("exit code", &["$E run --rm $R/busybox sh -c 'exit 42'"]),
    case("both streams", &["$E run --rm $R/busybox sh -c 'echo out; echo err >&2; exit 3'"]),
    case(
        "signal exit",
        &["$E run --rm $R/busybox sh -c 'kill -9 $$'", "$E run --rm $R/busybox sh -c 'kill -15 $$; sleep 9'"],
    ),
    case("stdin", &["echo typed | $E run --rm -i $R/busybox cat", "echo typed | $E run --rm $R/busybox cat"]),
    case("stdin binary", &["head -c 3000000 /dev/zero | $E run --rm -i $R/busybox sha256sum"]),
    case("image defaults", &["$E run --rm $R/configured", "$E run --rm $R/configured more words"]),
    case(
        "entrypoint",
        &[
            "$E run --rm --entrypoint id $R/configured",
            "$E run --rm --entrypoint /bin/pwd $R/configured",
            "$E run --rm --entrypoint '' $R/configured echo cleared",
            "$E run --rm --entrypoint env $R/configured | grep -v HOSTNAME | sort",
        ],
    ),
    case(
        "user",
        &[
            "$E run --rm -u 1234 $R/busybox id",
            "$E run --rm -u www-data $R/busybox id",
            "$E run --rm -u www-data:daemon $R/busybox id",
            "$E run --rm -u 5:6 $R/busybox id",
            "$E run --rm -u nobody $R/busybox sh -c 'echo $HOME'",
        ],
    ),
    case("workdir", &["$E run --rm -w /new/folder $R/busybox pwd", "$E run --rm -w relative $R/busybox pwd"]),
    case(
        "environment",
        &[
            "$E run --rm -e A=1 -e B= -e=C=3 $R/busybox env | grep -v HOSTNAME | sort",
            "D=outer $E run --rm -e D -e UNSET $R/busybox env | grep -v HOSTNAME | sort",
            "$E run --rm --hostname box $R/busybox sh -c 'hostname; env | grep HOSTNAME; grep box /etc/hosts | cut -f 2'",
        ],
    ),
    case(
        "flags as pflag",
        &[
            "$E run --rm --tty=false $R/busybox echo a",
            "$E run --rm --name aaa --name bbb -d $R/busybox sleep 1 >/dev/null; $E wait bbb",
        ],
    ),
    case(
        "command not found",
        &[
            "$E run --rm $R/busybox no-such-program",
            "$E run --name left $R/busybox /no/such/file",
            "$E ps -a --format '{{.Names}} {{.Status}}'",
        ],
    ),
    case("not executable", &["$E run --rm $R/busybox /etc/passwd", "$E run --rm $R/busybox /etc"]).but(&[
        Deliberate {
            reference: "exec: \"/etc\": permission denied",
            ours: "exec: \"/etc\": is a directory",
            why: "the reference runs with Debian's runc 1.1.5; runc has said so since 1.2",
        },
    ]),
    case("no command", &["$E run --rm $R/empty"]),
    case(
        "no such user",
        &["$E run --rm -u nosuch $R/busybox true", "$E run --rm -u 0:nosuch $R/busybox true"],
    ),
    case(
        "name in use",
        &["$E run -d --name taken $R/busybox sleep 100 >/dev/null", "$E run --name taken $R/busybox true"],
    ),
    case("invalid name", &["$E run --name 'a b' $R/busybox true", "$E run --name - $R/busybox true"]),
    case("invalid reference", &["$E run --rm $R/UPPER true", "$E run --rm 'a b' true", "$E pull ::"]),
    case(
        "unknown flag",
        &["$E run --no-such-flag $R/busybox", "$E run --rm -Z $R/busybox", "$E ps --no-such-flag", "$E run"],
    ),
    case(
        "unknown image",
        &["$E run --rm $R/no-such-image true", "$E pull $R/no-such-image", "$E pull $R/busybox:no-such-tag"],
    ),
    case("registry down", &["$E pull 127.0.0.1:5999/busybox", "$E run --rm 127.0.0.1:5999/busybox true"])
        .but(&[Deliberate {
            reference: "https://127.0.0.1:5999/",
            ours: "http://127.0.0.1:5999/",
            why: "the reference tries TLS first on the loopback addresses; Tare speaks plain HTTP there",
        }]),
    case(
        "bad values",
        &[
            "$E run --rm --memory 1 $R/busybox true",
            "$E run --rm --memory nonsense $R/busybox true",
            "$E run --rm --cpus 1000 $R/busybox true",
            "$E run --rm --cpus x $R/busybox true",
            "$E run --rm --cap-add NOSUCH $R/busybox true",
            "$E run --rm --stop-timeout x $R/busybox true",
            "$E run --rm --memory 64m --memory-swap 32m $R/busybox true",
        ],
    ),
];

const INSIDE: &[Case] = &[
    case(
        "root folder",
        &["$E run --rm $R/busybox sh -c 'ls -ld / /dev /proc /sys /etc /tmp | cut -c 1-10; ls -A /'"],
    ),
    case("devices", &["$E run --rm $R/busybox sh -c 'ls /dev; ls -l /dev/null /dev/ptmx | cut -c 1-40'"]),
    case(
        "mounts",
        &[
            "$E run --rm $R/busybox awk '{print $2, $3}' /proc/mounts",
            "$E run --rm $R/busybox sh -c \"grep -v overlay /proc/mounts | awk '{print \\$2, \\$4}' | grep -v /etc/\"",
        ],
    ),
    case("capabilities", &["$E run --rm $R/busybox grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status"]),
    case(
        "capability flags",
        &[
            "$E run --rm --cap-add NET_ADMIN --cap-drop CHOWN $R/busybox grep Cap /proc/self/status",
            "$E run --rm --cap-drop ALL $R/busybox grep Cap /proc/self/status",
            "$E run --rm --cap-drop ALL --cap-add CAP_KILL $R/busybox grep Cap /proc/self/status",
            "$E run --rm -u 1000 $R/busybox grep Cap /proc/self/status",
            "$E run --rm -u 1000 --cap-add NET_RAW $R/busybox grep Cap /proc/self/status",
        ],
    ),
    case("rlimits", &["$E run --rm $R/busybox cat /proc/self/limits"]),
    case(
        "process",
        &[
            "$E run --rm $R/busybox sh -c 'echo $$; cut -d \" \" -f 6 /proc/self/stat; umask; cat /proc/self/oom_score_adj; ls -l /proc/self/fd | wc -l'",
        ],
    ),
    case(
        "init",
        &[
            "$E run --rm --init $R/busybox sh -c 'ps -o comm | sort -u | head -2; cat /proc/1/cmdline | tr \"\\0\" \" \"'",
        ],
    ),
    case(
        "masked",
        &[
            "$E run --rm $R/busybox sh -c 'wc -c </proc/kcore; wc -c </proc/timer_list; ls /proc/acpi /sys/firmware /proc/scsi | wc -l; echo x >/proc/sys/kernel/hostname; echo x >/proc/sysrq-trigger; mkdir /sys/x'",
        ],
    ),
    case(
        "denied",
        &[
            "$E run --rm $R/busybox sh -c 'mount -t tmpfs x /tmp; hostname x; date -s 1; mknod /tmp/d b 8 0 && head -c 1 /tmp/d'",
        ],
    ),
    case(
        "read-only",
        &[
            "$E run --rm --read-only $R/busybox sh -c 'touch /x; touch /dev/shm/x && echo shm; echo x >/etc/hosts && echo hosts'",
        ],
    ),
    case(
        "tmpfs",
        &[
            "$E run --rm --tmpfs /t:size=1m,mode=700 $R/busybox sh -c 'grep \" /t \" /proc/mounts; dd if=/dev/zero of=/t/f bs=1M count=2'",
            "$E run --rm --tmpfs /t $R/busybox grep ' /t ' /proc/mounts",
        ],
    ),
    case(
        "volumes",
        &[
            "mkdir -p /tmp/v; echo outside >/tmp/v/f; $E run --rm -v /tmp/v:/v $R/busybox sh -c 'cat /v/f; echo inside >/v/g'; cat /tmp/v/g",
            "$E run --rm -v /tmp/v:/v:ro $R/busybox touch /v/h",
            "$E run --rm -v /tmp/v/f:/etc/single:ro $R/busybox cat /etc/single",
            "$E run --rm -v /tmp/made/by/run:/v $R/busybox ls -A /v; ls -d /tmp/made/by/run",
        ],
    ),
    case(
        "hosts and resolver",
        &[
            "$E run --rm --hostname box $R/busybox sh -c 'sed \"s/^[0-9.]*\\tbox/ADDR box/\" /etc/hosts; grep -v \"^#\" /etc/resolv.conf'",
            "$E run --rm --network none $R/busybox sh -c 'ip -o link | cut -d : -f 2; sed \"s/[0-9a-f]\\{12\\}/ID/\" /etc/hosts'",
        ],
    ),
    case(
        "host network",
        &[
            "$E run --rm --network host $R/busybox sh -c 'ip -o link | cut -d : -f 2 | grep -E \"lo|eth0\"; hostname | cut -c 1-3'",
        ],
    ),
    case(
        "pids limit",
        &[
            "$E run --rm --pids-limit 20 $R/busybox sh -c 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null'",
        ],
    ),
    case(
        "limits in cgroup",
        &[
            "$E run --rm --memory 64m --memory-swap 128m --cpus 0.5 $R/busybox sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory.max memory.swap.max cpu.max 2>/dev/null'",
        ],
    ),
    case(
        "layers",
        &[
            "$E run --rm $R/layered sh -c 'ls -lA /data /data/opaque /data/becomes-folder | awk \"{print \\$1, \\$3, \\$4, \\$9, \\$10, \\$11}\"; cat /data/kept /data/hard /data/replaced'",
        ],
    ),
    case(
        "tty",
        &[
            "$E run --rm -t $R/busybox sh -c 'tty; stty size; echo $TERM'",
            "$E run --rm -it $R/busybox true </dev/null",
        ],
    ),
];

const LIFE: &[Case] = &[
    case(
        "create start wait rm",
        &[
            "$E create --name ccc $R/busybox sh -c 'echo ran; exit 7' | wc -c",
            "$E ps -a --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Status}}'",
            "$E start ccc",
            "$E wait ccc",
            "$E ps -a --format '{{.Names}} {{.State}} {{.Status}}'",
            "$E logs ccc",
            "$E start -a ccc",
            "$E rm ccc",
            "$E rm ccc",
        ],
    ),
    case(
        "ps",
        &[
            "$E run -d --name one -p 8080:80 -l a=b $R/nginx:1.22 >/dev/null; $E run -d --name two $R/busybox sleep 100 >/dev/null; $E run --name done $R/busybox true",
            "$E ps --format '{{.Names}} {{.Ports}} {{.Labels}} {{.Status}}'",
            "$E ps | sed 's/^[0-9a-f]\\{12\\}/ID/; s/^CONTAINER ID/ID/'",
            "$E ps -aq | wc -l; $E ps -lq | wc -l; $E ps -n 2 -q | wc -l; $E ps -q --no-trunc | head -1 | wc -c",
            "$E ps -a --filter status=exited --format '{{.Names}}'",
            "$E ps --filter name=tw --format '{{.Names}}'",
            "$E ps --filter label=a=b --format '{{.Names}}'",
            "$E ps -a --format 'table {{.Names}}\\t{{.State}}'",
            "$E ps --filter bad=filter",
        ],
    ),
    case(
        "stop and kill",
        &[
            "$E run -d --name sss $R/busybox sh -c 'trap \"echo got TERM; exit 5\" TERM; while :; do sleep 0.1; done' >/dev/null",
            "sleep 0.3; $E stop sss",
            "$E logs sss; $E inspect --format '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.OOMKilled}}' sss",
            "$E run -d --name kkk $R/busybox sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' >/dev/null",
            "sleep 0.3; $E stop -t 1 kkk; $E inspect --format '{{.State.ExitCode}}' kkk",
            "$E start kkk; $E kill kkk; $E wait kkk",
            "$E kill kkk; $E stop kkk; $E start nosuch; $E stop nosuch; $E kill -s NOSUCH kkk",
            "$E run -d --name uuu $R/busybox sh -c 'trap \"exit 10\" USR1; while :; do sleep 0.1; done' >/dev/null; sleep 0.3; $E kill -s USR1 uuu; $E wait uuu",
        ],
    ),
    case(
        "rm",
        &[
            "$E run -d --name rrr $R/busybox sleep 100 >/dev/null; $E rm rrr | sed 's/[0-9a-f]\\{64\\}/ID/'",
            "$E rm -f rrr nosuch",
            "$E rm -f nosuch",
        ],
    ),
    case(
        "exec",
        &[
            "$E run -d --name eee -e FROM=run -w /tmp $R/busybox sleep 100 >/dev/null",
            "$E exec eee sh -c 'pwd; echo $FROM; exit 9'",
            "$E exec -e A=b -w /etc -u www-data eee sh -c 'pwd; echo $A; id'",
            "echo typed | $E exec -i eee cat",
            "$E exec eee no-such-program",
            "$E exec eee /etc/passwd",
            "$E exec nosuch true",
            "$E exec -u nosuch eee true",
            "$E exec -d eee sh -c 'echo late >/tmp/late'; sleep 0.3; $E exec eee cat /tmp/late",
            "$E exec eee grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status",
            "$E exec -t eee tty",
            "$E stop -t 0 eee >/dev/null; $E exec eee true",
        ],
    ),
    case(
        "logs",
        &[
            "$E run --name lll $R/busybox sh -c 'echo 1; echo 2 >&2; echo 3; printf no-newline' >/dev/null 2>&1",
            "$E logs lll 2>&1 | sort",
            "$E logs --tail 1 lll",
            "$E logs -t lll 2>/dev/null | cut -c 1-11,31-",
            "$E logs -f lll 2>/dev/null",
            "$E logs nosuch",
        ],
    ),
    case(
        "attach",
        &[
            "$E run -d --name aaa $R/busybox sh -c 'sleep 1; echo attached; exit 6' >/dev/null; $E attach aaa",
            "$E attach aaa",
        ],
    ),
    case(
        "detached rm",
        &["$E run -d --rm --name ddd $R/busybox sleep 2 >/dev/null; $E wait ddd; sleep 1; $E ps -aq"],
    ),
];

/// The commands' other flags and several arguments at once.
const MORE: &[Case] = &[
    case(
        "create",
        &[
            "$E create --name cc -it -e A=b $R/busybox sh | wc -c; $E ps -a --format '{{.Names}} {{.State}} {{.Status}} {{.Command}}'",
            "$E create --name cc $R/busybox",
            "$E create $R/no-such-image",
            "$E create --pull never 127.0.0.1:5000/never-seen",
            "$E create --nosuch $R/busybox; $E create",
            "$E container create --name c2 $R/busybox true | wc -c; $E container start c2; $E container wait c2; $E container rm cc c2",
        ],
    ),
    case(
        "start",
        &[
            "$E create --name s1 -i $R/busybox cat >/dev/null; echo typed | $E start -ai s1",
            "$E create --name s2 $R/busybox sh -c 'echo out; exit 3' >/dev/null; $E start s1 s2 nosuch; $E wait s2",
            "$E start -a s2",
            "$E start -a s1 s2",
            "$E start s2; $E stop s1 -t 0 >/dev/null; $E ps -a --format '{{.Names}} {{.State}}' | sort",
        ],
    ),
    case(
        "several",
        &[
            "for n in m1 m2 m3; do $E run -d --name $n $R/busybox sh -c 'trap exit TERM INT; while :; do sleep 0.05; done' >/dev/null; done; $E stop -s INT m1; $E kill -s TERM m2; $E wait m1 m2",
            "$E stop m1 m3 nosuch; $E kill m1 nosuch; $E wait m3 nosuch",
            "$E start m1; $E rm m2 nosuch m3; $E ps -a --format '{{.Names}}'",
        ],
    ),
    case(
        "ps formats",
        &[
            "$E run -d --name p1 -l a=b -l c=d -p 127.0.0.1:8080:80 -p 9090:90/udp $R/nginx:1.22 >/dev/null; $E run --name p2 $R/busybox false",
            "$E ps -a --format '{{.Names}}|{{.Ports}}|{{.State}}|{{.Networks}}|{{.LocalVolumes}}|{{.Mounts}}|{{.Label \"a\"}}' | sort",
            "$E ps -a --format json | sed 's/\"ID\":\"[0-9a-f]*\"/ID/; s/\"CreatedAt\":\"[^\"]*\"/CREATED/; s/\"RunningFor\":\"[^\"]*\"/FOR/; s/\"Status\":\"[^\"]*\"/STATUS/'",
            "$E ps -a --format '{{json .Names}} {{upper .State}} {{printf \"%.3s\" .Image}}'",
            "$E ps -a --no-trunc --format '{{.Command}}'; $E ps -a --filter exited=1 --format '{{.Names}}'; $E ps -a --filter ancestor=$R/busybox --format '{{.Names}}'",
            "$E container ls --format '{{.Names}}'; $E container list -q | wc -l; $E ps --format '{{.Nosuch}}'; $E ps --format '{{.Names'",
            "$E ps -a --filter status=nosuch; $E ps -a --filter id=nosuch -q; $E ps -a --filter name=^/p1$ --format '{{.Names}}'",
        ],
    ),
    case(
        "logs flags",
        &[
            "$E run --name ll $R/busybox sh -c 'for i in 1 2 3 4 5; do echo line $i; done' >/dev/null",
            "$E logs -n 2 ll; $E logs --tail 0 ll; $E logs --tail all ll | wc -l; $E logs --tail x ll",
            "$E logs --since 1h ll | wc -l; $E logs --until 1h ll | wc -l; $E logs --since 2001-01-01T00:00:00Z ll | wc -l; $E logs --since nonsense ll",
            "$E logs; $E logs ll ll; $E container logs ll | wc -l",
            "printf 'no newline' | $E run -i --name l2 $R/busybox cat; $E logs l2; $E logs -t l2 | wc -w",
            "$E run --name l3 -t $R/busybox sh -c 'echo to-tty; echo err >&2' | od -c; $E logs l3 | od -c",
        ],
    ),
    case(
        "exec flags",
        &[
            "$E run -d --name ee $R/busybox sleep 100 >/dev/null; $E exec -it ee true </dev/null",
            "$E exec -e A -e B=2 ee env | grep -E '^(A|B)='; A=1 $E exec -e A ee env | grep ^A=",
            "$E exec --privileged ee true; $E exec -w /nosuch ee pwd; $E exec -w relative ee pwd; $E exec -u 1:2 ee id",
            "$E exec ee sh -c 'kill -9 $$'; $E exec ee sh -c 'echo out; echo err >&2; exit 200'",
            "head -c 1000000 /dev/zero | $E exec -i ee wc -c; $E exec ee; $E exec --nosuch ee true",
            "$E exec -d ee sh -c 'exit 5'; $E container exec ee echo via-container",
        ],
    ),
    case(
        "attach flags",
        &[
            "$E create --name aa $R/busybox true >/dev/null; $E attach aa",
            "$E attach nosuch; $E attach; $E attach aa bb",
            "$E run -d -i --name a2 $R/busybox sh -c 'read x; echo got $x; exit 8' >/dev/null; (sleep 0.5; echo hello; sleep 0.5) | $E attach a2",
            "$E run -d --name a3 $R/busybox sh -c 'sleep 0.7; echo only-out; exit 2' >/dev/null; $E attach --no-stdin a3",
        ],
    ),
    case(
        "inspect flags",
        &[
            "$E create --name i1 $R/busybox >/dev/null; $E create --name i2 $R/busybox >/dev/null; $E inspect -f '{{.Name}}' i1 nosuch i2",
            "$E inspect --type container -f '{{.Name}}' i1; $E inspect --type nosuch i1; $E container inspect nosuch; $E image inspect -f '{{.Os}}' $R/busybox nosuch",
            "$E inspect -f '{{range .Config.Env}}{{.}};{{end}} {{index .Config.Cmd 0}} {{len .Name}} {{if .State.Running}}up{{else}}down{{end}}' i1",
            "$E inspect -f '{{json .State}}' i1; $E inspect -f '{{.HostConfig.Memory | printf \"%d\"}}' i1; $E inspect",
            "$E inspect -s -f '{{.SizeRootFs}}' i1 | wc -l; $E inspect -f '{{json .NetworkSettings.Ports}} {{json .HostConfig.LogConfig}}' i1",
        ],
    ),
    case(
        "images flags",
        &[
            "$E images --format '{{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}}' | sort; $E images --format json | wc -l; $E image ls -q | wc -l",
            "$E images --filter reference='*/busybox' --format '{{.Repository}}'; $E images --filter dangling=true -q; $E images --filter label=one=1 --format '{{.Repository}}'; $E images --filter bad=x",
            "$E images nosuch; $E images $R/busybox:latest -q | wc -l; $E images a b",
            "id=$($E images -q $R/empty); $E rmi $id >/dev/null; $E images -q $R/empty; $E pull -q $R/empty",
            "$E run --name u1 $R/empty true; $E rmi $R/empty 2>&1 | sed 's/container [0-9a-f]*/container ID/'; $E rm u1; $E rmi; $E rmi -f nosuch; $E image rm nosuch",
            "$E pull; $E pull a b; $E pull --nosuch x; $E pull -q $R/nosuch; $E image pull -q $R/empty",
        ],
    ),
    case(
        "general",
        &[
            "$E --nosuch; $E -c; $E container nosuch",
            "$E version --format '{{.Client.APIVersion}} {{.Nosuch}}'; $E version extra; $E info extra; $E info --format '{{.Nosuch}}'",
            "$E info --format '{{json .SecurityOptions}} {{.LoggingDriver}} {{.MemoryLimit}} {{.PidsLimit}} {{.IPv4Forwarding}} {{.DefaultRuntime}} {{.Name}}' | sed 's/tt-[0-9-]*/HOST/'",
        ],
    ),
];

const INSPECT: &[Case] = &[
    case(
        "fields",
        &[
            "$E run -d --name iii -p 8080:80/tcp -e A=1 -l k=v --memory 256m --memory-swap 256m --cpus 0.5 --pids-limit 50 --cap-add NET_ADMIN --cap-drop CHOWN --read-only --tmpfs /run --tmpfs /var/log/nginx --hostname h -w / --stop-timeout 3 $R/nginx:1.22 sleep 100 >/dev/null",
            "$E inspect --format '{{json .HostConfig.PortBindings}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' iii",
            "$E inspect --format '{{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}} {{.HostConfig.ReadonlyRootfs}} {{json .HostConfig.Tmpfs}} {{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}}' iii",
            "$E inspect --format '{{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Labels}} {{.Config.Hostname}} {{.Config.WorkingDir}} {{.Config.StopSignal}} {{.Config.StopTimeout}} {{json .Config.ExposedPorts}}' iii",
            "$E inspect --format '{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.ExitCode}} {{.State.Error}} {{.Path}} {{json .Args}} {{.Name}} {{.Driver}} {{.Platform}} {{.Image}}' iii",
            "$E inspect --format '{{json .NetworkSettings.Ports}} {{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.Gateway}} {{$v.IPPrefixLen}}{{end}}' iii",
            "$E inspect --format '{{.NoSuchField}}' iii",
            "$E inspect --format '{{.State' iii",
            "$E inspect nosuch",
            "$E inspect --type image iii",
            "$E inspect --format '{{len .Mounts}} {{.ResolvConfPath}}' iii | sed 's/[0-9a-f]\\{64\\}/ID/; s#/var/lib/[a-z]*#ROOT#'",
        ],
    ),
    case(
        "keys",
        &[
            "$E create --name iii $R/busybox >/dev/null",
            "$E inspect iii | grep -o '^ *\"[A-Za-z0-9]*\":' | sort | uniq -c",
        ],
    ),
];

const IMAGES: &[Case] = &[
    case(
        "list and inspect",
        &[
            "$E images | sort",
            "$E images --digests --no-trunc | sort",
            "$E images -q | wc -l",
            "$E images $R/busybox --format '{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}'",
            "$E image inspect $R/busybox --format '{{.Id}} {{json .RepoTags}} {{json .RepoDigests}} {{json .Config.Cmd}} {{.Architecture}} {{.Os}} {{json .RootFS}} {{.Created}}'",
            "$E image inspect $R/nginx:1.22 --format '{{.Id}} {{json .Config.ExposedPorts}} {{.Size}}'",
            "$E image inspect nosuch",
        ],
    ),
    case("pull again", &["$E pull $R/busybox", "$E pull -q $R/busybox"]),
    case(
        "pull and remove",
        &[
            "$E rmi $R/layered",
            "$E pull $R/layered",
            "$E rmi -f $R/layered nosuch",
            "$E rmi nosuch",
            "$E pull -q $R/layered",
        ],
    ),
    case(
        "pull by digest",
        &[
            "d=$($E image inspect --format '{{index .RepoDigests 0}}' $R/empty); $E rmi $R/empty >/dev/null; $E pull $d; $E images --format '{{.Repository}} {{.Tag}} {{.ID}}' | grep empty; $E rmi $d; $E pull -q $R/empty",
        ],
    ),
    case(
        "load and import",
        &[
            "$E load -i /run/testhost/cache/images/busybox-docker.tar",
            "$E load </run/testhost/cache/images/busybox-oci.tar",
            "$E load -q -i /run/testhost/cache/images/layered-docker.tar",
            "$E run --rm busybox echo loaded",
            "$E load -i /etc/passwd",
            "$E load -i /no/such/file",
            "$E import /run/testhost/cache/images/busybox-rootfs.tar imported:1 | cut -c 1-7",
            "cat /run/testhost/cache/images/busybox-rootfs.tar | $E import -c 'CMD [\"echo\", \"from import\"]' - imported:2 | wc -c; $E run --rm imported:2",
            "$E rmi imported:1 >/dev/null; $E rmi busybox layered imported:2 >/dev/null; echo $?",
        ],
    ),
    case(
        "broken archives",
        &[
            "I=/run/testhost/cache/images; for n in 100 512 700 1024; do head -c $n $I/busybox-docker.tar | $E load; done",
            "I=/run/testhost/cache/images; for n in 100 512 700 1024 5000; do head -c $n $I/busybox-oci.tar | $E load; done",
            "gzip -c /run/testhost/cache/images/busybox-docker.tar | head -c 300000 | $E load",
            "$E load </dev/null; head -c 2000 /dev/zero | $E load; printf '\\037\\213junk' | $E load",
        ],
    ),
    case(
        "what rmi means",
        &[
            "$E create --name uuu $R/empty x >/dev/null; $E rmi $R/empty 2>&1 | sed 's/container [0-9a-f]*/container ID/'",
            "id=$($E images -q --no-trunc $R/empty); for i in $id $(echo $id | cut -c 8-19) $(echo $id | cut -c 8-11) $R/empty@$id; do $E rmi $i 2>&1 | sed 's/container [0-9a-f]*/container ID/'; done",
            "$E rmi -f $R/empty; $E images --format '{{.Repository}} {{.Tag}} {{.ID}}' | grep -E '7bc5920d841a|0da4e1a6bd6a' | sort; $E ps -a --format '{{.Image}} {{.Names}}'; $E pull $R/empty",
            "id=$($E images -q $R/empty); $E rmi -f $id; $E ps -a --format '{{.Image}} {{.Names}}'; $E rm uuu; $E pull -q $R/empty",
            "$E run -d --name uu2 $R/busybox sleep 100 >/dev/null; id=$($E images -q $R/busybox); $E rmi -f $id 2>&1 | sed 's/container [0-9a-f]*/container ID/'; $E rmi -f $R/busybox; $E rmi $id 2>&1 | sed 's/container [0-9a-f]*/container ID/'",
            "$E exec uu2 echo still there; $E rm -f uu2; $E images --format '{{.Repository}} {{.Tag}} {{.ID}}' | grep -E '7bc5920d841a|0da4e1a6bd6a' | sort; $E pull $R/busybox",
            "d=$($E image inspect --format '{{index .RepoDigests 0}}' $R/empty); $E pull -q $d; $E images --digests | grep empty; $E image inspect --format '{{.RepoTags}} {{.RepoDigests}}' $d; $E rmi $R/empty; $E run --rm $d; $E rmi $d; $E rmi $d; $E pull -q $R/empty",
        ],
    ),
    case(
        "sizes of containers",
        &[
            "$E run --name s1 $R/busybox sh -c 'echo x >/x; mkdir -p /d/e; dd if=/dev/zero of=/y bs=1k count=33; rm /etc/passwd' 2>/dev/null; $E create --name s2 $R/layered true >/dev/null",
            "$E inspect -s --format '{{.SizeRw}} {{.SizeRootFs}}' s1 s2; $E inspect --format '{{.SizeRw}} {{.SizeRootFs}}' s1",
            "$E ps -as --format '{{.Names}} {{.Size}}'; $E ps -a --format '{{.Size}}'; $E ps -a --format json | grep -o '\"Size\":\"[^,]*'; $E ps -as | grep -o virtual.*",
        ],
    ),
    case(
        "in use",
        &[
            "$E run -d --name uuu $R/empty sleep 9 >/dev/null; $E rmi $R/empty 2>&1 | sed 's/container [0-9a-f]*/container ID/'",
            "$E rm -f uuu",
        ],
    ),
];

const GENERAL: &[Case] = &[
    case(
        "version",
        &[
            "$E version --format '{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}} {{.Server.Arch}}'",
        ],
    ),
    case(
        "info",
        &[
            "$E info --format '{{.Containers}} {{.ContainersRunning}} {{.Images}} {{.Driver}} {{.CgroupDriver}} {{.CgroupVersion}} {{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.OperatingSystem}} {{json .DriverStatus}}'",
        ],
    ),
    case(
        "unknown command",
        &["$E nosuch", "$E ps extra-argument", "$E rm", "$E exec", "$E inspect", "$E logs"],
    ),
    case("help", &["$E run --help | head -5", "$E ps --help", "$E stop --help"]),
];

#[test]
fn run() {
    compare(RUN);
}

#[test]
fn inside() {
    compare(INSIDE);
}

#[test]
fn life() {
    compare(LIFE);
}

#[test]
fn more() {
    compare(MORE);
}

#[test]
fn inspect() {
    compare(INSPECT);
}

#[test]
fn images() {
    compare(IMAGES);
}

#[test]
fn general() {
    compare(GENERAL);
}
