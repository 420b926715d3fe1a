//! What is written for which resources on v1.

use std::collections::HashMap;

use super::*;

pub(crate) struct Fake {
    pub(crate) controllers: Controllers,
    pub(crate) files: HashMap<&'static str, &'static str>,
}

impl Facts for Fake {
    fn controllers(&self) -> Controllers {
        self.controllers
    }
    fn read(&self, _: Controllers, file: &str) -> Option<String> {
        self.files.get(file).map(|s| (*s).to_owned())
    }
    fn has(&self, _: Controllers, file: &str) -> bool {
        self.files.contains_key(file)
    }
}

pub(crate) fn shown(plan: &Plan) -> Vec<String> {
    plan.writes.iter().map(|w| format!("{} = {}", w.file, w.value)).collect()
}

fn all(files: &[(&'static str, &'static str)]) -> Fake {
    let controllers = ["cpu", "cpuset", "memory", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "rdma"];
    Fake {
        controllers: Controllers::from_list(&controllers.join(",")),
        files: files.iter().copied().collect(),
    }
}

const LIMITED: &[(&str, &str)] = &[(MEMSW, "200"), (LIMIT, "100\n")];
const UNLIMITED: &[(&str, &str)] = &[(MEMSW, "9223372036854771712"), (LIMIT, "9223372036854771712\n")];

struct Case {
    json: &'static str,
    fresh: bool,
    files: &'static [(&'static str, &'static str)],
    writes: &'static [&'static str],
    warnings: usize,
}

const CASES: &[Case] = &[
    Case { json: "{}", fresh: true, files: &[], writes: &[], warnings: 0 },
    Case {
        json: r#"{"memory":{"limit":100,"swap":200}}"#,
        fresh: true,
        files: UNLIMITED,
        writes: &["memory.limit_in_bytes = 100", "memory.memsw.limit_in_bytes = 200"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":250,"swap":400}}"#,
        fresh: false,
        files: LIMITED,
        writes: &["memory.memsw.limit_in_bytes = 400", "memory.limit_in_bytes = 250"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":50,"swap":80}}"#,
        fresh: false,
        files: LIMITED,
        writes: &["memory.limit_in_bytes = 50", "memory.memsw.limit_in_bytes = 80"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":-1}}"#,
        fresh: false,
        files: LIMITED,
        writes: &["memory.memsw.limit_in_bytes = -1", "memory.limit_in_bytes = -1"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":100,"swap":200,"kernel":5,"swappiness":0,"disableOOMKiller":true,"reservation":7}}"#,
        fresh: true,
        files: &[],
        writes: &[
            "memory.limit_in_bytes = 100",
            "memory.soft_limit_in_bytes = 7",
            "memory.swappiness = 0",
            "memory.oom_control = 1",
        ],
        warnings: 2,
    },
    Case {
        json: r#"{"cpu":{"shares":512,"quota":50000,"period":100000,"burst":10,"cpus":"0-1","mems":"0"},"pids":{"limit":-1}}"#,
        fresh: true,
        files: &[],
        writes: &[
            "cpu.shares = 512",
            "cpu.cfs_period_us = 100000",
            "cpu.cfs_burst_us = 10",
            "cpu.cfs_quota_us = 50000",
            "cpuset.cpus = 0-1",
            "cpuset.mems = 0",
            "pids.max = max",
        ],
        warnings: 0,
    },
    Case { json: r#"{"pids":{"limit":0}}"#, fresh: true, files: &[], writes: &[], warnings: 0 },
    Case {
        json: r#"{"cpu":{"idle":1,"shares":2}}"#,
        fresh: true,
        files: &[],
        writes: &["cpu.idle = 1"],
        warnings: 0,
    },
    Case {
        json: r#"{"blockIO":{"weight":500,"leafWeight":3,"weightDevice":[{"major":8,"minor":0,"weight":10}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#,
        fresh: true,
        files: &[("blkio.bfq.weight", "100")],
        writes: &[
            "blkio.bfq.weight = 500",
            "blkio.bfq.weight_device = 8:0 10",
            "blkio.throttle.read_bps_device = 8:0 1000",
            "blkio.throttle.write_iops_device = 8:0 0",
        ],
        warnings: 1,
    },
    Case { json: r#"{"blockIO":{"weight":500}}"#, fresh: true, files: &[], writes: &[], warnings: 1 },
    Case {
        json: r#"{"network":{"classID":7,"priorities":[{"name":"eth0","priority":3}]},"hugepageLimits":[{"pageSize":"2MB","limit":9}],
                "rdma":{"mlx5_0":{"hcaHandles":1,"hcaObjects":2}}}"#,
        fresh: true,
        files: &[("hugetlb.2MB.rsvd.limit_in_bytes", "x")],
        writes: &[
            "net_cls.classid = 7",
            "net_prio.ifpriomap = eth0 3",
            "hugetlb.2MB.limit_in_bytes = 9",
            "hugetlb.2MB.rsvd.limit_in_bytes = 9",
            "rdma.max = mlx5_0 hca_handle=1 hca_object=2",
        ],
        warnings: 0,
    },
];

#[test]
fn writes() {
    for case in CASES {
        let resources = serde_json::from_str(case.json).unwrap();
        let plan = plan(&resources, case.fresh, &all(case.files)).unwrap();
        assert_eq!(shown(&plan), case.writes, "{}", case.json);
        assert_eq!(plan.warnings.len(), case.warnings, "{}: {:?}", case.json, plan.warnings);
    }
}

#[test]
fn refused_by_name() {
    let nothing = Fake { controllers: Controllers::NONE, files: HashMap::new() };
    let cases = [
        (r#"{"memory":{"limit":1}}"#, &nothing, "memory"),
        (r#"{"cpu":{"shares":5}}"#, &nothing, "cpu"),
        (r#"{"cpu":{"cpus":"0"}}"#, &nothing, "cpuset"),
        (r#"{"pids":{"limit":5}}"#, &nothing, "pids"),
        (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9}]}"#, &nothing, "hugetlb"),
        (r#"{"unified":{"memory.max":"1"}}"#, &all(&[]), "unified"),
        (r#"{"memory":{"limit":100,"swap":50}}"#, &all(&[]), "memory+swap"),
        (r#"{"memory":{"swappiness":101}}"#, &all(&[]), "swappiness"),
        (r#"{"hugepageLimits":[{"pageSize":"../x","limit":9}]}"#, &all(&[]), "invalid cgroup file"),
    ];
    for (json, facts, word) in cases {
        let error = plan(&serde_json::from_str(json).unwrap(), true, facts).unwrap_err();
        assert!(error.to_string().contains(word), "{json}: {error}");
    }
}

#[test]
fn devices() {
    let policy =
        |json: &str| DevicePolicy::from_rules(&serde_json::from_str::<Vec<_>>(json).unwrap()).unwrap();
    let cases: &[(&str, bool, &[&str])] = &[
        (r#"[{"allow":true}]"#, true, &[]),
        (r#"[{"allow":true}]"#, false, &["devices.allow = a"]),
        (
            r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}]"#,
            true,
            &["devices.deny = a", "devices.allow = c 1:3 rw"],
        ),
        (r#"[{"allow":true},{"allow":false,"type":"b","major":8}]"#, true, &["devices.deny = b 8:* rwm"]),
    ];
    for (json, fresh, writes) in cases {
        assert_eq!(shown(&plan_devices(&policy(json), *fresh)), *writes, "{json}");
    }
}
