//! Devices asked of a driver (`--gpus`, the Container Device Interface), the namespace of System V's shared memory, and
//! options that depend on the machine: the same lines on the reference, through the socket and without a daemon.

use tests::differential::{Case, Deliberate, compare};

const fn case(name: &'static str, lines: &'static [&'static str]) -> Case {
    Case::new(name, lines)
}

/// The reference watches the folders: it has seen a new file a moment later.
const FILES: &str = r#"mkdir -p /etc/cdi /var/run/cdi
cat >/etc/cdi/vendor.json <<'END'
{"cdiVersion":"0.7.0","kind":"vendor.com/dev","containerEdits":{"env":["ALL=1"]},"devices":[
{"name":"zero","containerEdits":{"env":["FOO=zero"],
 "deviceNodes":[{"path":"/dev/cdinull","hostPath":"/dev/null","permissions":"rw"},{"path":"/dev/fifo","type":"p"}],
 "mounts":[{"hostPath":"/etc/passwd","containerPath":"/cdi/passwd","options":["ro","nosuid","nodev","bind"]}],
 "hooks":[{"hookName":"createRuntime","path":"/bin/sh","args":["sh","-c","env >/tmp/hook"],"env":["X=Y"]}]}},
{"name":"one","containerEdits":{"env":["D=1"]}},
{"name":"gone","containerEdits":{"deviceNodes":[{"path":"/dev/gone"}]}}]}
END
sed 's/vendor.com/twice.com/' /etc/cdi/vendor.json | tee /etc/cdi/twice1.json >/etc/cdi/twice2.json
sed 's/vendor.com/weight.com/' /etc/cdi/vendor.json >/etc/cdi/weight.json
sed 's/vendor.com/weight.com/; s/ALL=1/ALL=2/' /etc/cdi/vendor.json >/var/run/cdi/weight.json
echo '{"cdiVersion":"9.0.0","kind":"bad.com/dev","devices":[]}' >/etc/cdi/bad.json
echo '{"cdiVersion":"0.5.0","kind":"new.com/dev","devices":[{"name":"a","annotations":{"a":"b"},"containerEdits":{"env":["A=1"]}}]}' >/etc/cdi/new.json
sleep 1"#;

const DEVICES: &[Case] = &[
    case(
        "gpus",
        &[
            "$E run --rm --gpus all $R/busybox true; $E run --rm --gpus 2 $R/busybox true",
            "$E run --rm --gpus '\"device=0,1\",capabilities=utility' $R/busybox true",
            "$E run --rm --gpus driver=foo,count=1 $R/busybox true",
            "$E create --name gg --gpus '\"device=0,1\",capabilities=utility' $R/busybox >/dev/null; $E inspect -f '{{json .HostConfig.DeviceRequests}}' gg",
        ],
    ),
    case(
        "devices by name",
        &[
            FILES,
            "$E run --rm --device vendor.com/dev=zero $R/busybox sh -c 'env | grep -v HOSTNAME | sort; ls -l /dev/cdinull /dev/fifo | cut -c 1-10; grep -c root /cdi/passwd; : >/dev/cdinull; : >>/cdi/passwd; id'; cat /tmp/hook | grep X=",
            "$E run --rm -e ALL=3 -e D=4 --device vendor.com/dev=one --device vendor.com/dev=zero --device vendor.com/dev=one $R/busybox sh -c 'env | grep -v HOSTNAME | sort'",
            "$E run --rm --device vendor.com/dev=nosuch --device vendor.com/dev=one --device other.com/dev=one $R/busybox true",
            "$E run --rm --device vendor.com/dev=gone $R/busybox true",
            "$E run --rm --device twice.com/dev=one $R/busybox true; $E run --rm --device bad.com/dev=one $R/busybox true",
            "$E run --rm --device weight.com/dev=one $R/busybox env | grep ALL",
            "$E run --rm --gpus driver=cdi,device=vendor.com/dev=one $R/busybox env | grep D=",
            "$E create --name dd --device vendor.com/dev=one --device /dev/null:/dev/n $R/busybox >/dev/null; $E inspect -f '{{json .HostConfig.DeviceRequests}} {{json .HostConfig.Devices}}' dd",
            "$E info --format '{{json .CDISpecDirs}} {{json .DiscoveredDevices}}'; $E info 2>&1 | grep '^CDI:' | grep -v conflicting | sort",
        ],
    ),
];

const IPC: &[Case] = &[
    case(
        "shared memory",
        &[
            "$E run -d --name giver --ipc shareable --shm-size 1m $R/busybox sleep 1000 >/dev/null; $E run -d --name own $R/busybox sleep 1000 >/dev/null",
            "$E run --rm --ipc container:giver $R/busybox sh -c 'echo hello >/dev/shm/x; df /dev/shm | tail -1; grep -c mqueue /proc/mounts'; $E exec giver cat /dev/shm/x",
            "test \"$($E exec giver readlink /proc/self/ns/ipc)\" = \"$($E run --rm --ipc container:giver $R/busybox readlink /proc/self/ns/ipc)\"",
            "$E run --rm --ipc container:own $R/busybox true; $E run --rm --ipc container:nosuch $R/busybox true; $E run --rm --ipc nosuch $R/busybox true",
            "$E create --name late --ipc container:giver $R/busybox cat /dev/shm/x >/dev/null; $E inspect -f '{{.HostConfig.ShmSize}}' late; $E start -a late",
            "$E inspect -f '{{.HostConfig.IpcMode}}' giver own; test $($E inspect -f '{{.HostConfig.IpcMode}}' late) = container:$($E inspect -f '{{.Id}}' giver)",
            "$E run -d --name chain --ipc container:giver $R/busybox sleep 1000 >/dev/null; $E run --rm --ipc container:chain $R/busybox cat /dev/shm/x",
            "$E stop -t 0 giver; $E exec chain cat /dev/shm/x; $E start -a late; $E start giver; $E exec giver ls /dev/shm; $E rm -f giver; $E start -a late",
            "$E run --rm --ipc none $R/busybox grep -c shm /proc/mounts; $E rm -f chain own late",
        ],
    ),
    case(
        "labels without SELinux",
        &[
            "$E run --name lab --security-opt label=user:x --security-opt label=type:y $R/busybox echo works; $E inspect -f '{{json .HostConfig.SecurityOpt}} {{.ProcessLabel}} {{.MountLabel}}' lab",
            "$E run --rm --security-opt label=disable $R/busybox echo works; $E run --rm --security-opt label $R/busybox true",
        ],
    ),
    case(
        "limit of the layer",
        &[
            "echo \"limit: [$($E run --rm --storage-opt size=1G $R/busybox true 2>&1 | head -1)]\"",
            "$E run --rm --storage-opt size $R/busybox true",
        ],
    )
        .but(&[Deliberate {
            reference: "limit: []",
            ours: "limit: [docker: Error response from daemon: --storage-opt is supported only for overlay over xfs with 'pquota' mount option]",
            why: "the reference's containerd store takes the option and limits nothing; this is the text of its overlay2 driver",
        }]),
];

#[test]
fn devices() {
    compare(DEVICES);
}

#[test]
fn machine() {
    compare(IPC);
}
