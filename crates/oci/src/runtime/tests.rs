//! Every member of the spec survives a round trip; what Go callers leave out or write as `null` is the zero value.

use serde_json::{Value, json};

use super::*;

/// A document that has each member of the Linux spec once, none of them zero.
fn everything() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": process(),
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "h", "domainname": "d",
        "mounts": [{
            "destination": "/data", "type": "none", "source": "/src", "options": ["rbind", "ro"],
            "uidMappings": [{"containerID": 1, "hostID": 1000, "size": 10}],
            "gidMappings": [{"containerID": 2, "hostID": 2000, "size": 20}],
        }],
        "hooks": {
            "prestart": [{"path": "/a", "args": ["a", "b"], "env": ["k=v"], "timeout": 5}],
            "createRuntime": [{"path": "/b"}], "createContainer": [{"path": "/c"}],
            "startContainer": [{"path": "/d"}], "poststart": [{"path": "/e"}], "poststop": [{"path": "/f"}],
        },
        "annotations": {"a": "b"},
        "linux": linux(),
    })
}

fn process() -> Value {
    json!({
        "terminal": true,
        "consoleSize": {"height": 24, "width": 80},
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4], "username": "u"},
        "args": ["sh"], "env": ["PATH=/bin"], "cwd": "/",
        "capabilities": {
            "bounding": ["CAP_CHOWN"], "effective": ["CAP_KILL"], "inheritable": ["CAP_FOWNER"],
            "permitted": ["CAP_SETUID"], "ambient": ["CAP_SETGID"],
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": u64::MAX, "soft": 1024}],
        "noNewPrivileges": true, "apparmorProfile": "p", "selinuxLabel": "l", "oomScoreAdj": -500,
        "scheduler": {
            "policy": "SCHED_DEADLINE", "nice": -5, "priority": 3, "flags": ["SCHED_FLAG_RECLAIM"],
            "runtime": 1, "deadline": 2, "period": 3,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0-1", "final": "1"},
    })
}

fn linux() -> Value {
    let device = |rate: u64| json!([{"major": 8, "minor": 16, "rate": rate}]);
    json!({
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 65536}],
        "sysctl": {"net.core.somaxconn": "1024"},
        "resources": {
            "unified": {"memory.high": "1"},
            "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}, {"allow": false}],
            "memory": {
                "limit": 1, "reservation": 2, "swap": -1, "kernel": 3, "kernelTCP": 4, "swappiness": 5,
                "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true,
            },
            "cpu": {
                "shares": 1, "quota": -1, "burst": 2, "period": 3, "realtimeRuntime": 4, "realtimePeriod": 5,
                "cpus": "0-1", "mems": "0", "idle": 1,
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10, "leafWeight": 11,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 12, "leafWeight": 13}],
                "throttleReadBpsDevice": device(1), "throttleWriteBpsDevice": device(2),
                "throttleReadIOPSDevice": device(3), "throttleWriteIOPSDevice": device(4),
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 2}]},
            "rdma": {"mlx5_0": {"hcaHandles": 1, "hcaObjects": 2}},
        },
        "cgroupsPath": "/docker/x",
        "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}],
        "devices": [{
            "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0,
        }],
        "netDevices": {"eth1": {"name": "lan"}},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/s", "listenerMetadata": "m",
            "syscalls": [{
                "names": ["clone"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1,
                "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
            }],
        },
        "rootfsPropagation": "slave", "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        "mountLabel": "l",
        "intelRdt": {
            "closID": "c", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=10",
            "enableMonitoring": true,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32", "flags": ["x"]},
        "timeOffsets": {"monotonic": {"secs": -1, "nanosecs": 2}},
    })
}

#[test]
fn every_member_survives_a_round_trip() {
    let all = everything();
    let spec = Spec::from_slice(all.to_string().as_bytes()).unwrap();
    let again: Value = serde_json::from_slice(&spec.to_vec()).unwrap();
    assert_eq!(again, all);
    assert_eq!(spec.namespace(NamespaceKind::Pid).map(|n| n.path.as_os_str().len()), Some(0));
    assert!(spec.namespace(NamespaceKind::User).is_none());
}

/// Replaces the value at each place of the document in turn.
fn nulled(value: &Value, out: &mut Vec<(String, Value)>, path: &str) {
    let Value::Object(members) = value else { return };
    for (name, inner) in members {
        let mut changed = members.clone();
        changed.insert(name.clone(), Value::Null);
        out.push((format!("{path}.{name}"), Value::Object(changed)));
        let mut deeper = Vec::new();
        nulled(inner, &mut deeper, &format!("{path}.{name}"));
        for (path, inner) in deeper {
            let mut changed = members.clone();
            changed.insert(name.clone(), inner);
            out.push((path, Value::Object(changed)));
        }
    }
}

#[test]
fn null_is_absent_at_every_place() {
    let all = everything();
    let mut documents = Vec::new();
    nulled(&all, &mut documents, "");
    assert!(documents.len() > 100, "only {} places", documents.len());
    for (path, document) in documents {
        // A filter without a default action has no meaning, a map cannot hold nothing under a name.
        if path == ".linux.seccomp.defaultAction" || in_a_map(&path) {
            continue;
        }
        let spec = Spec::from_slice(document.to_string().as_bytes());
        assert!(spec.is_ok(), "{path}: {spec:?}");
    }
}

fn in_a_map(path: &str) -> bool {
    let maps = [".annotations.", ".sysctl.", ".unified.", ".rdma.", ".netDevices.", ".timeOffsets."];
    maps.iter().any(|m| path.contains(m) && !path.ends_with(&m[..m.len() - 1]))
}

#[test]
fn leniency() {
    struct Case {
        json: &'static str,
        ok: bool,
    }
    let cases = [
        Case { json: "{}", ok: true },
        Case { json: r#"{"ociVersion":"1.0.2","windows":{"x":1},"solaris":null,"zzz":[{}]}"#, ok: true },
        Case { json: r#"{"linux":{"namespaces":[{"type":"mount","path":null}]}}"#, ok: true },
        Case { json: r#"{"linux":{"namespaces":[{"type":"nope"}]}}"#, ok: false },
        Case { json: r#"{"linux":{"namespaces":[{}]}}"#, ok: false },
        Case { json: r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_KILL"}}}"#, ok: true },
        Case { json: r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_NOPE"}}}"#, ok: false },
        Case { json: r#"{"linux":{"resources":{"devices":[{"type":"u"},{"type":"a"}]}}}"#, ok: true },
        Case { json: r#"{"linux":{"resources":{"devices":[{"type":"q"}]}}}"#, ok: false },
        Case { json: r#"{"process":{"user":{"uid":-1}}}"#, ok: false },
        Case { json: r#"{"process":{"args":"sh"}}"#, ok: false },
        Case { json: "", ok: false },
    ];
    for case in cases {
        assert_eq!(Spec::from_slice(case.json.as_bytes()).is_ok(), case.ok, "{}", case.json);
    }
}

#[test]
fn empties_are_not_written() {
    let spec = Spec { process: Some(Process::default()), linux: Some(Linux::default()), ..Spec::default() };
    let text = String::from_utf8(spec.to_vec()).unwrap();
    assert_eq!(text, r#"{"ociVersion":"","process":{"user":{"uid":0,"gid":0},"cwd":""},"linux":{}}"#);
}

#[test]
fn state_as_the_spec_writes_it() {
    let state = State {
        oci_version: "1.2.0".into(),
        id: "c".into(),
        status: Status::Stopped,
        bundle: "/b".into(),
        ..State::default()
    };
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(text, r#"{"ociVersion":"1.2.0","id":"c","status":"stopped","bundle":"/b"}"#);
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}
