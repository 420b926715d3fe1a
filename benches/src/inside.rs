//! The part of the benchmark that runs inside the test host: prepares each contestant, then holds the contests.
//!
//! Entering a test host costs more than what is measured, so the clock must run inside.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::contest::{self, Contest, Contestant};
use crate::weigh::{self, Fact, Weight};
use crate::{series, streams};

/// On the same disk as each engine's data.
const DIR: &str = "/var/lib/tare/bench";
/// The image that all engines run.
pub const IMAGE: &str = "127.0.0.1:5000/busybox";
const PODMAN: &str = "podman --cgroup-manager cgroupfs --events-backend file";
/// A guard that has had nothing to do for so long is idle.
const SETTLE: Duration = Duration::from_secs(3);
/// A daemon that does not answer by then never will.
const DAEMON_LIMIT: Duration = Duration::from_secs(5);
/// A server that answers each connection with a byte.
const SERVER: &str = "nc -ll -p 80 -e echo up";

/// What came of all groups.
#[derive(Debug, Default)]
pub struct Results {
    /// What took turns.
    pub contests: Vec<Contest>,
    /// What was weighed.
    pub weights: Vec<Weight>,
    /// What was counted or computed.
    pub facts: Vec<Fact>,
}

/// The groups, in their order.
pub const GROUPS: [&str; 4] = ["start", "series", "streams", "living"];

/// Holds the contests of the groups in `only`; `floor` is the floor program.
pub fn run(
    floor: &str,
    only: &[String],
    rounds: usize,
    containers: usize,
    megabytes: usize,
) -> Result<Results> {
    prepare(floor)?;
    let mut results = Results::default();
    for group in GROUPS.iter().filter(|group| only.iter().any(|name| name == *group)) {
        match *group {
            "start" => start(floor, rounds, &mut results)?,
            "series" => {
                let (contest, facts) = series::run(rounds)?;
                results.contests.push(contest);
                results.facts.extend(facts);
            }
            "streams" => results.contests.extend(streams::run(megabytes, rounds)?),
            _ => living(containers, rounds, &mut results)?,
        }
    }
    for engine in ["tare", "docker"] {
        let _ = shell(&format!("{engine} ps -aq | xargs -r {engine} rm -f"));
    }
    Ok(results)
}

fn start(floor: &str, rounds: usize, results: &mut Results) -> Result<()> {
    results.contests.extend([
        contest::hold("run --rm true, no network", without_network(floor), rounds),
        contest::hold("run --rm true, bridge network", with_network(floor), rounds),
        contest::hold("run -d -p, until the published port answers", published(), rounds),
    ]);
    results.weights.extend(start_long_lived()?);
    results.contests.push(contest::hold("exec true in a running container", execs(floor)?, rounds));
    Ok(())
}

/// With many containers that do nothing.
fn living(containers: usize, rounds: usize, results: &mut Results) -> Result<()> {
    for engine in ["tare", "docker"] {
        for number in 0..containers {
            shell(&format!("{engine} run -d --name many{number} --network none {IMAGE} sleep 10000"))?;
        }
    }
    let ps = vec![Contestant::new("tare", "tare ps"), Contestant::new("docker", "docker ps")];
    results.contests.push(contest::hold("ps with many containers", ps, rounds));
    let (weights, ready) = daemons_and_files();
    results.weights.extend(weights);
    let name = format!("tare daemon: ready with {containers} containers");
    results.facts.extend(ready.map(|ready| Fact::new(name, ready.as_secs_f64() * 1e3, "ms")));
    Ok(())
}

fn prepare(floor: &str) -> Result<()> {
    fs::create_dir_all(format!("{DIR}/rootfs"))?;
    shell(&format!("tar -xf /run/testhost/cache/images/busybox-rootfs.tar -C {DIR}/rootfs"))?;
    shell(&format!("mkdir -p {DIR}/rootfs/proc {DIR}/rootfs/dev {DIR}/rootfs/sys"))?;
    for engine in ["tare", "docker"] {
        shell(&format!("{engine} pull -q {IMAGE}"))?;
    }
    // Without podman the others still compete; it is then named as absent.
    let _ = shell(&format!("{PODMAN} load -q -i /run/testhost/cache/images/busybox-docker.tar"));
    shell(&format!("{floor} bridge floor0 10.99.0.1/16"))?;
    bundle()
}

/// One OCI bundle for the runtimes: runc's own default specification, without a terminal, running `true`.
fn bundle() -> Result<()> {
    shell(&format!("cd {DIR} && rm -f config.json && runc spec"))?;
    let path = format!("{DIR}/config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path)?).context("read runc's specification")?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/true"]);
    // What this machine's root lacks cannot be raised (RLIMIT_NOFILE here is the machine's own).
    if let Some(process) = spec["process"].as_object_mut() {
        process.remove("rlimits");
    }
    fs::write(&path, serde_json::to_vec(&spec)?)?;
    spec["process"]["args"] = json!(["/bin/sleep", "10000"]);
    let sleeper = format!("{DIR}/sleeper");
    fs::create_dir_all(&sleeper)?;
    spec["root"]["path"] = json!(format!("{DIR}/rootfs"));
    fs::write(format!("{sleeper}/config.json"), serde_json::to_vec(&spec)?)?;
    Ok(())
}

fn without_network(floor: &str) -> Vec<Contestant> {
    vec![
        Contestant::new(
            "floor",
            &format!("{floor} run --parent bench --lower {DIR}/rootfs --dir {DIR}/overlay -- /bin/true"),
        ),
        Contestant::new("tare", &format!("tare run --rm --network none {IMAGE} true")),
        Contestant::new("docker", &format!("docker run --rm --network none {IMAGE} true")),
        Contestant::new("podman", &format!("{PODMAN} run --rm --network none busybox true")),
        Contestant::new("tare-runtime", &format!("tare-runtime run --bundle {DIR} bench-t{{n}}")),
        Contestant::new("crun", &format!("crun --cgroup-manager=cgroupfs run --bundle {DIR} bench-c{{n}}")),
        Contestant::new("runc", &format!("runc run --bundle {DIR} bench-r{{n}}")),
    ]
}

fn with_network(floor: &str) -> Vec<Contestant> {
    let options = format!(
        "--parent bench --lower {DIR}/rootfs --dir {DIR}/overlay --bridge floor0 --address 10.99.0.2/16 --gateway 10.99.0.1"
    );
    vec![
        Contestant::new("floor", &format!("{floor} run {options} -- /bin/true")),
        Contestant::new("tare", &format!("tare run --rm {IMAGE} true")),
        Contestant::new("docker", &format!("docker run --rm {IMAGE} true")),
        Contestant::new("podman", &format!("{PODMAN} run --rm busybox true")),
    ]
}

fn published() -> Vec<Contestant> {
    vec![
        Contestant::new("tare", &format!("tare run -d --name port -p 8101:80 {IMAGE} {SERVER}"))
            .until_port(8101, "tare rm -f port"),
        Contestant::new("docker", &format!("docker run -d --name port -p 8102:80 {IMAGE} {SERVER}"))
            .until_port(8102, "docker rm -f port"),
        Contestant::new("podman", &format!("{PODMAN} run -d --name port -p 8103:80 busybox {SERVER}"))
            .until_port(8103, &format!("{PODMAN} rm -f -t 0 port")),
    ]
}

/// A container that runs on in each engine, and what guards it.
fn start_long_lived() -> Result<Vec<Weight>> {
    let mut weights = Vec::new();
    for engine in ["tare", "docker"] {
        shell(&format!("{engine} run -d --name long {IMAGE} sleep 10000"))?;
        let pid = shell(&format!("{engine} inspect --format '{{{{.State.Pid}}}}' long"))?;
        // Idle: what the start needed has been given back.
        std::thread::sleep(SETTLE);
        let shim = weigh::parent(&pid).and_then(|pid| weigh::pss(&pid));
        weights.extend(
            shim.map(|bytes| Weight { name: format!("{engine}: shim of one idle container (PSS)"), bytes }),
        );
    }
    if shell(&format!("{PODMAN} run -d --name long busybox sleep 10000")).is_ok()
        && let Ok(pid) = shell(&format!("{PODMAN} inspect --format '{{{{.State.ConmonPid}}}}' long"))
    {
        weights.extend(weigh::pss(&pid).map(|bytes| Weight { name: "podman: conmon (PSS)".into(), bytes }));
    }
    for (runtime, id) in [("crun --cgroup-manager=cgroupfs", "long-crun"), ("tare-runtime", "long-tare")] {
        let line = format!("{runtime} run --detach --bundle {DIR}/sleeper {id} </dev/null >/dev/null 2>&1");
        let _ = shell(&line);
    }
    Ok(weights)
}

fn execs(floor: &str) -> Result<Vec<Contestant>> {
    let pid = shell("tare inspect --format '{{.State.Pid}}' long")?;
    Ok(vec![
        Contestant::new("floor", &format!("{floor} exec {pid} /bin/true")),
        Contestant::new("tare", "tare exec long true"),
        Contestant::new("docker", "docker exec long true"),
        Contestant::new("podman", &format!("{PODMAN} exec long true")),
        Contestant::new("tare-runtime", "tare-runtime exec long-tare /bin/true"),
        Contestant::new("crun", "crun --cgroup-manager=cgroupfs exec long-crun /bin/true"),
    ])
}

fn daemons_and_files() -> (Vec<Weight>, Option<Duration>) {
    let start = Instant::now();
    let daemon = Command::new("tare").arg("daemon").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let (mut weights, mut ready) = (Vec::new(), None);
    if let Ok(mut daemon) = daemon {
        // Finely: a wait that doubles its pauses would be what is measured.
        let answers = || UnixStream::connect("/run/tare/tare.sock").is_ok();
        while !answers() && start.elapsed() < DAEMON_LIMIT {
            std::thread::sleep(Duration::from_micros(200));
        }
        let up = answers();
        ready = up.then(|| start.elapsed());
        // One question, so that what is lazy has been loaded.
        let _ = shell("tare ps");
        if up {
            weights.push(Weight { name: "tare daemon, idle (RSS)".into(), bytes: weigh::rss_of("tare") });
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
    let dockers = weigh::rss_of("dockerd") + weigh::rss_of("containerd");
    weights.push(Weight { name: "dockerd + containerd, idle (RSS)".into(), bytes: dockers });
    let own = ["/run/testhost/bin/tare", "/run/testhost/bin/tare-runtime"];
    weights
        .push(Weight { name: "tare + tare-runtime (files, with symbols)".into(), bytes: weigh::sizes(&own) });
    let oracle = "/run/testhost/cache/oracle/usr";
    let files = [
        "sbin/dockerd",
        "sbin/docker-proxy",
        "bin/docker",
        "bin/containerd",
        "bin/containerd-shim-runc-v2",
        "bin/tini-static",
    ];
    let files: Vec<String> = files.iter().map(|file| format!("{oracle}/{file}")).collect();
    let mut paths: Vec<&str> = files.iter().map(String::as_str).collect();
    paths.push("/run/testhost/cache/tools/usr/sbin/runc");
    weights.push(Weight { name: "docker's programs (files)".into(), bytes: weigh::sizes(&paths) });
    (weights, ready)
}

/// Runs a shell line for its output.
pub fn shell(line: &str) -> Result<String> {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().context("execute sh")?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}
