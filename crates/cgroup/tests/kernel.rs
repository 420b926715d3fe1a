//! Groups of the real kernel, in a parent of this test's own that is gone afterwards.
//!
//! Each test runs on the machine's layout and, where that is hybrid, on its v1 part and its v2 part alone. Joining
//! needs a process of its own: the test program calls itself (see `child`).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cgroup::{Cgroup, Error, Layout, OomWatchKind, Version};
use oci::runtime::Resources;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LIMIT: Duration = Duration::from_secs(20);

/// The layouts to test on: empty, with the reason printed, where groups cannot be made.
fn layouts() -> Vec<Layout> {
    let machine = match Layout::detect(Path::new("/")) {
        Ok(layout) if rustix::process::geteuid().is_root() => layout,
        Ok(_) => return skip("not root"),
        Err(e) => return skip(&e.to_string()),
    };
    let mut all = vec![machine.clone()];
    if machine.version() == Version::Hybrid {
        all.push(Layout { unified: None, ..machine.clone() });
        all.push(Layout { legacy: Vec::new(), ..machine });
    }
    all
}

fn skip(why: &str) -> Vec<Layout> {
    println!("skipped: {why}");
    Vec::new()
}

/// A parent folder that is removed in all hierarchies at the end, with all that is in it.
struct Parent {
    path: PathBuf,
    layout: Layout,
}

impl Parent {
    fn new(layout: &Layout, test: &str) -> Self {
        let path = PathBuf::from(format!("/tare-test-{}-{test}", std::process::id()));
        Self { path, layout: layout.clone() }
    }

    fn group(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn has(&self, controller: &str) -> bool {
        let wanted = cgroup::Controllers::from_name(controller).unwrap();
        self.layout.legacy.iter().any(|h| h.controllers.contains(wanted))
    }

    fn file(&self, controller: &str, group: &str, file: &str) -> String {
        let wanted = cgroup::Controllers::from_name(controller).unwrap();
        let hierarchy = self.layout.legacy.iter().find(|h| h.controllers.contains(wanted)).unwrap();
        let path = hierarchy.mount.join(self.group(group).strip_prefix("/").unwrap()).join(file);
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        if let Ok(group) = Cgroup::open(&self.layout, &self.path) {
            let _ = group.kill();
            let _ = group.wait_empty(LIMIT);
            group.delete().unwrap();
        }
        for hierarchy in self.layout.unified.iter().chain(&self.layout.legacy) {
            let left = hierarchy.folder(&self.path).unwrap();
            assert!(!left.exists(), "{} is left", left.display());
        }
    }
}

/// A process that joins the group as a container's would, and then becomes the shell command.
fn spawn(layout: &Layout, group: &Path, script: &str) -> Child {
    let part = match (layout.unified.is_some(), layout.legacy.is_empty()) {
        (true, true) => "v2",
        (false, _) => "v1",
        _ => "all",
    };
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("TARE_TEST_GROUP", group)
        .env("TARE_TEST_PART", part)
        .env("TARE_TEST_SCRIPT", script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what `spawn` runs.
#[test]
fn child() {
    use std::os::unix::process::CommandExt;
    let (Ok(group), Ok(part)) = (std::env::var("TARE_TEST_GROUP"), std::env::var("TARE_TEST_PART")) else {
        return;
    };
    let mut layout = Layout::detect(Path::new("/")).unwrap();
    match part.as_str() {
        "v1" => layout.unified = None,
        "v2" => layout.legacy.clear(),
        _ => {}
    }
    Cgroup::open(&layout, Path::new(&group)).unwrap().join_self().unwrap();
    let script = std::env::var("TARE_TEST_SCRIPT").unwrap();
    let error = Command::new("/bin/sh").args(["-c", &script]).exec();
    panic!("exec: {error}");
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn wait_line(child: &mut Child) -> String {
    use std::io::{BufRead, BufReader};
    let mut reader = BufReader::new(child.stdout.as_mut().unwrap());
    let mut line = String::new();
    // The test harness speaks before the script does, and on the same line.
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the child ended");
        if let Some(at) = line.find("says ") {
            return line[at..].trim().to_owned();
        }
    }
}

#[test]
fn life_of_a_group() {
    for layout in layouts() {
        let parent = Parent::new(&layout, "life");
        let path = parent.group("c");
        let group = Cgroup::create(&layout, &path, &Resources::default()).unwrap();
        assert!(!group.is_populated().unwrap());
        let mut child = spawn(&layout, &path, "echo says hello; sleep 100 & sleep 100 & wait");
        wait_line(&mut child);
        assert!(group.is_populated().unwrap());
        assert!(group.pids().unwrap().contains(&(child.id() as i32)));
        for line in std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap().lines() {
            let unified = line.starts_with("0::");
            let ours = if unified { layout.unified.is_some() } else { !layout.legacy.is_empty() };
            assert_eq!(line.ends_with(path.to_str().unwrap()), ours, "{line}");
        }
        group.freeze().unwrap();
        assert!(group.is_frozen().unwrap());
        group.thaw().unwrap();
        assert!(!group.is_frozen().unwrap());
        assert!(matches!(group.wait_empty(Duration::from_millis(20)), Err(Error::Timeout { .. })));
        assert!(matches!(
            Cgroup::create(&layout, &path, &Resources::default()),
            Err(Error::NotEmpty { count: 1.., .. })
        ));
        assert!(group.is_populated().unwrap(), "a refused create removed the group");

        group.freeze().unwrap();
        group.kill().unwrap();
        child.wait().unwrap();
        group.wait_empty(LIMIT).unwrap();
        assert!(!group.is_populated().unwrap());
        group.delete().unwrap();
        assert!(Cgroup::open(&layout, &path).is_err());
    }
}

#[test]
fn a_killed_group_is_made_anew() {
    for layout in layouts() {
        let parent = Parent::new(&layout, "anew");
        let path = parent.group("c");
        Cgroup::create(&layout, &path, &Resources::default()).unwrap().kill().unwrap();
        let group = Cgroup::create(&layout, &path, &Resources::default()).unwrap();
        // Whoever enters a group after cgroup.kill dies at once: this one must live.
        let mut child = spawn(&layout, &path, "echo says alive");
        assert_eq!(wait_line(&mut child), "says alive");
        assert!(child.wait().unwrap().success());
        group.wait_empty(LIMIT).unwrap();
        group.delete().unwrap();
    }
}

#[test]
fn a_fork_bomb_dies() {
    for layout in layouts() {
        let parent = Parent::new(&layout, "bomb");
        let path = parent.group("c");
        let limit = resources(if parent.has("pids") { r#"{"pids":{"limit":60}}"# } else { "{}" });
        let group = Cgroup::create(&layout, &path, &limit).unwrap();
        // Bounded by itself too: each branch forks for two seconds and ends.
        let script = "echo says go; f() { for i in 1 2 3 4 5 6; do sleep 2 & done 2>/dev/null; wait; }; for i in 1 2 3 4 5; do f & done; wait";
        let mut child = spawn(&layout, &path, script);
        wait_line(&mut child);
        group.kill().unwrap();
        child.wait().unwrap();
        group.wait_empty(LIMIT).unwrap();
        group.delete().unwrap();
    }
}

#[test]
fn groups_below_are_part_of_it() {
    for layout in layouts() {
        let parent = Parent::new(&layout, "below");
        let path = parent.group("c");
        let group = Cgroup::create(&layout, &path, &Resources::default()).unwrap();
        let inner = path.join("x/y");
        Cgroup::ensure(&layout, &inner).unwrap();
        let mut child = spawn(&layout, &inner, "echo says hello; exec sleep 100");
        wait_line(&mut child);
        assert!(group.is_populated().unwrap());
        assert_eq!(group.pids().unwrap(), [child.id() as i32]);
        group.kill().unwrap();
        child.wait().unwrap();
        group.wait_empty(LIMIT).unwrap();
        group.delete().unwrap();
    }
}

#[test]
fn limits_on_v1() {
    for layout in layouts().iter().filter(|l| !l.legacy.is_empty()) {
        let parent = Parent::new(layout, "limits");
        if !parent.has("memory") || !parent.has("cpu") || !parent.has("cpuset") || !parent.has("pids") {
            println!("skipped: a v1 controller is missing");
            continue;
        }
        let first = r#"{"memory":{"limit":67108864,"swap":134217728},"cpu":{"shares":512,"quota":50000,"period":50000,"cpus":"0"},"pids":{"limit":50}}"#;
        let group = Cgroup::create(layout, &parent.group("c"), &resources(first)).unwrap();
        let memory = |file| parent.file("memory", "c", file);
        assert_eq!(memory("memory.limit_in_bytes"), "67108864");
        let swap = group.warnings().is_empty();
        if swap {
            assert_eq!(memory("memory.memsw.limit_in_bytes"), "134217728");
        }
        assert_eq!(parent.file("cpu", "c", "cpu.shares"), "512");
        assert_eq!(parent.file("cpu", "c", "cpu.cfs_quota_us"), "50000");
        assert_eq!(parent.file("cpuset", "c", "cpuset.cpus"), "0");
        assert!(!parent.file("cpuset", "c", "cpuset.mems").is_empty());
        assert_eq!(parent.file("pids", "c", "pids.max"), "50");
        // Up over the old sum, down below the old limit, and off: each order of writes is needed once.
        let steps = [(268_435_456i64, 536_870_912i64), (33_554_432, 33_554_432), (67_108_864, -1), (-1, -1)];
        for (limit, sum) in steps {
            group.set(&resources(&format!(r#"{{"memory":{{"limit":{limit},"swap":{sum}}}}}"#))).unwrap();
            let shown: u64 = memory("memory.limit_in_bytes").parse().unwrap();
            assert!(shown == limit.unsigned_abs() || limit == -1 && shown > 1 << 60, "{limit}: {shown}");
        }
        // A period above the quota's share of what it was: the order depends on what is there.
        group.set(&resources(r#"{"cpu":{"quota":20000,"period":1000000},"pids":{"limit":-1}}"#)).unwrap();
        assert_eq!(parent.file("cpu", "c", "cpu.cfs_period_us"), "1000000");
        assert_eq!(parent.file("pids", "c", "pids.max"), "max");
        let bad = resources(r#"{"cpu":{"cpus":"4000"}}"#);
        assert!(matches!(group.set(&bad), Err(Error::Write { .. })));
        let stats = group.stats().unwrap();
        assert_eq!(stats.pids.limit, u64::MAX);
        assert!(stats.memory.stat.contains_key("cache"));
        group.delete().unwrap();
        let failed = Cgroup::create(layout, &parent.group("c"), &bad);
        assert!(
            failed.is_err() && Cgroup::open(layout, &parent.group("c")).is_err(),
            "a failed create left folders"
        );
    }
}

#[test]
fn out_of_memory_on_v1() {
    for layout in layouts().iter().filter(|l| !l.legacy.is_empty()) {
        let parent = Parent::new(layout, "oom");
        if !parent.has("memory") {
            println!("skipped: no memory controller on v1");
            continue;
        }
        let limit = resources(r#"{"memory":{"limit":16777216,"swap":16777216}}"#);
        let path = parent.group("c");
        let group = Cgroup::create(layout, &path, &limit).unwrap();
        let watch = group.oom_watch().unwrap();
        assert_eq!((watch.kind(), group.oom_kills().unwrap()), (OomWatchKind::Eventfd, 0));
        let mut child = spawn(layout, &path, "exec dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null");
        let wait = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&wait)), Ok(1));
        assert!(!child.wait().unwrap().success());
        watch.rearm();
        assert_eq!(group.oom_kills().unwrap(), 1);
        group.wait_empty(LIMIT).unwrap();
        group.delete().unwrap();
    }
}

#[test]
fn devices_are_denied() {
    for layout in layouts() {
        let parent = Parent::new(&layout, "devices");
        let rules = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":8,"access":"r"}]}"#;
        let path = parent.group("c");
        let group = Cgroup::create(&layout, &path, &resources(rules)).unwrap();
        // 1:11 is kmsg, which no container has.
        let script = "head -c1 /dev/zero >/dev/null && head -c1 /dev/random >/dev/null && \
            if (: </dev/kmsg) 2>/dev/null; then echo says open; else echo says denied; fi";
        let mut child = spawn(&layout, &path, script);
        assert_eq!(wait_line(&mut child), "says denied");
        assert!(child.wait().unwrap().success());
        group.wait_empty(LIMIT).unwrap();
        group.delete().unwrap();

        let all =
            Cgroup::create(&layout, &path, &resources(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#))
                .unwrap();
        let mut child = spawn(&layout, &path, script);
        assert_eq!(wait_line(&mut child), "says open");
        child.wait().unwrap();
        all.wait_empty(LIMIT).unwrap();
        all.delete().unwrap();
    }
}
