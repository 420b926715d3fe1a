//! What is written for which resources on v2.

use std::collections::HashMap;

use super::*;
use crate::v1::tests::{Fake, shown};

fn all(files: &[(&'static str, &'static str)]) -> Fake {
    let controllers = "cpu cpuset memory io pids hugetlb rdma misc";
    Fake { controllers: Controllers::from_list(controllers), files: files.iter().copied().collect() }
}

struct Case {
    json: &'static str,
    files: &'static [(&'static str, &'static str)],
    writes: &'static [&'static str],
    warnings: usize,
}

const CASES: &[Case] = &[
    Case { json: "{}", files: &[], writes: &[], warnings: 0 },
    Case {
        json: r#"{"memory":{"limit":100,"swap":250,"reservation":50}}"#,
        files: &[("memory.swap.max", "max")],
        writes: &["memory.swap.max = 150", "memory.max = 100", "memory.low = 50"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":100,"swap":100}}"#,
        files: &[("memory.swap.max", "max")],
        writes: &["memory.swap.max = 0", "memory.max = 100"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":100,"swap":100}}"#,
        files: &[],
        writes: &["memory.max = 100"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"limit":100,"swap":250}}"#,
        files: &[],
        writes: &["memory.max = 100"],
        warnings: 1,
    },
    Case {
        json: r#"{"memory":{"limit":-1}}"#,
        files: &[("memory.swap.max", "max")],
        writes: &["memory.swap.max = max", "memory.max = max"],
        warnings: 0,
    },
    Case {
        json: r#"{"memory":{"kernel":1,"kernelTCP":1,"swappiness":1,"disableOOMKiller":true,"useHierarchy":false}}"#,
        files: &[],
        writes: &[],
        warnings: 5,
    },
    Case {
        json: r#"{"cpu":{"shares":1024,"quota":50000,"burst":3},"pids":{"limit":12}}"#,
        files: &[],
        writes: &["cpu.weight = 100", "cpu.max.burst = 3", "cpu.max = 50000 100000", "pids.max = 12"],
        warnings: 0,
    },
    Case {
        json: r#"{"cpu":{"quota":-1,"period":20000}}"#,
        files: &[],
        writes: &["cpu.max = max 20000"],
        warnings: 0,
    },
    Case {
        json: r#"{"cpu":{"period":20000,"cpus":"1","mems":"0"}}"#,
        files: &[("cpu.max", "5000 100000")],
        writes: &["cpu.max = 5000 20000", "cpuset.cpus = 1", "cpuset.mems = 0"],
        warnings: 0,
    },
    Case {
        json: r#"{"cpu":{"realtimeRuntime":5},"network":{"classID":1}}"#,
        files: &[],
        writes: &[],
        warnings: 2,
    },
    Case {
        json: r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000},{"major":8,"minor":16,"rate":1}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#,
        files: &[("io.weight", "default 100")],
        writes: &[
            "io.weight = 4950",
            "io.weight = 8:0 1",
            "io.max = 8:0 rbps=1000 wiops=max",
            "io.max = 8:16 rbps=1",
        ],
        warnings: 0,
    },
    Case {
        json: r#"{"blockIO":{"weight":500}}"#,
        files: &[("io.bfq.weight", "default 100")],
        writes: &["io.bfq.weight = 500"],
        warnings: 0,
    },
    Case {
        json: r#"{"unified":{"memory.high":"5","io.max":"8:0 rbps=1\n8:16 rbps=2","cgroup.max.depth":"3"},
                "hugepageLimits":[{"pageSize":"1GB","limit":9}]}"#,
        files: &[],
        writes: &[
            "hugetlb.1GB.max = 9",
            "cgroup.max.depth = 3",
            "io.max = 8:0 rbps=1",
            "io.max = 8:16 rbps=2",
            "memory.high = 5",
        ],
        warnings: 0,
    },
];

#[test]
fn writes() {
    for case in CASES {
        let resources = serde_json::from_str(case.json).unwrap();
        let plan = plan(&resources, &all(case.files)).unwrap();
        assert_eq!(shown(&plan), case.writes, "{}", case.json);
        assert_eq!(plan.warnings.len(), case.warnings, "{}: {:?}", case.json, plan.warnings);
    }
}

#[test]
fn refused_by_name() {
    let nothing = Fake { controllers: Controllers::NONE, files: HashMap::new() };
    let used = all(&[("memory.current", "500"), ("memory.peak", "600")]);
    let cases = [
        (r#"{"memory":{"limit":1}}"#, &nothing, "memory"),
        (r#"{"cpu":{"shares":5}}"#, &nothing, "cpu"),
        (r#"{"unified":{"memory.max":"1"}}"#, &nothing, "memory"),
        (r#"{"unified":{"../x":"1"}}"#, &nothing, "invalid"),
        (r#"{"unified":{"nope.max":"1"}}"#, &nothing, "nope.max"),
        (r#"{"memory":{"swap":5}}"#, &all(&[]), "without memory limit"),
        (
            r#"{"memory":{"limit":100,"checkBeforeUpdate":true}}"#,
            &used,
            "current usage: 500, peak usage: 600",
        ),
    ];
    for (json, facts, word) in cases {
        let error = plan(&serde_json::from_str(json).unwrap(), facts).unwrap_err();
        assert!(error.to_string().contains(word), "{json}: {error}");
    }
}

#[test]
fn controllers_that_are_wanted() {
    let wanted = |json: &str| wanted(&serde_json::from_str(json).unwrap());
    assert_eq!(wanted("{}"), Controllers::USUAL);
    let more =
        wanted(r#"{"unified":{"misc.max":"x","cgroup.freeze":"0"},"hugepageLimits":[{"pageSize":"2MB"}]}"#);
    assert_eq!(more, Controllers::USUAL.with(Controllers::MISC).with(Controllers::HUGETLB));
}
