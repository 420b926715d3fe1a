//! Many runs: back to back and eight at a time, and what they leave on the host.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::contest::{self, Contest, Contestant};
use crate::cpu;
use crate::inside::{IMAGE, shell};
use crate::weigh::Fact;

/// The blocks in which the engines take turns.
const BLOCKS: usize = 4;
/// (engine, runs of one block, containers eight at a time): an incumbent's share is smaller, because it is slow.
const ENGINES: [(&str, usize, usize); 2] = [("tare", 50, 100), ("docker", 5, 24)];
/// Within so long the host is as it was.
const SETTLED: Duration = Duration::from_secs(2);
/// What docker needs until its last interface is gone; a limit, not a target.
const GONE: Duration = Duration::from_secs(30);

/// Single runs as a contest, then blocks of runs, as facts.
pub fn run(rounds: usize) -> Result<(Contest, Vec<Fact>)> {
    let single = ENGINES
        .iter()
        .map(|(engine, ..)| Contestant::new(engine, &format!("{engine} run --rm {IMAGE} true")))
        .collect();
    let contest = contest::hold("a single run --rm true, bridge network", single, rounds);
    let base = objects();
    let mut facts = Vec::new();
    let mut blocks: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for _ in 0..BLOCKS {
        for (engine, runs, _) in ENGINES {
            blocks.entry(engine).or_default().push(block(engine, runs, &base)?);
        }
    }
    for (engine, runs, at_once) in ENGINES {
        let mut walls: Vec<f64> = blocks[engine].iter().map(|(wall, _)| *wall).collect();
        let mut cpus: Vec<f64> = blocks[engine].iter().map(|(_, cpu)| *cpu).collect();
        walls.sort_by(f64::total_cmp);
        cpus.sort_by(f64::total_cmp);
        let name = |what: &str| format!("{engine}: {} runs back to back, {what}", runs * BLOCKS);
        facts.push(Fact::new(name("wall per run, min of blocks"), walls[0], "ms"));
        facts.push(Fact::new(name("wall per run, median"), walls[BLOCKS / 2], "ms"));
        facts.push(Fact::new(name("CPU per run, background included"), cpus[BLOCKS / 2], "ms"));
        if let Some(one) = contest.samples.iter().find(|(other, _)| *other == engine) {
            let one = one.1.iter().min().copied().unwrap_or(1).max(1) as f64 / 1e6;
            facts.push(Fact::new(name("min of blocks to min of single runs"), walls[0] / one, "×"));
        }
        let start = Instant::now();
        shell(&format!("seq {at_once} | xargs -P 8 -I N {engine} run --rm {IMAGE} true"))?;
        tests::wait::until(GONE, || interfaces() <= base["veth"]);
        let each = start.elapsed().as_secs_f64() * 1e3 / at_once as f64;
        facts.push(Fact::new(
            format!("{engine}: {at_once} runs, 8 at a time, until no veth is left"),
            each,
            "ms",
        ));
    }
    facts.extend(left(&base));
    Ok((contest, facts))
}

/// Wall and processor milliseconds per run. The processor's clock is read when the host has settled.
fn block(engine: &str, runs: usize, base: &BTreeMap<&'static str, usize>) -> Result<(f64, f64)> {
    let (start, before) = (Instant::now(), cpu::used());
    for _ in 0..runs {
        shell(&format!("exec {engine} run --rm {IMAGE} true"))?;
    }
    let wall = start.elapsed().as_secs_f64() * 1e3 / runs as f64;
    tests::wait::until(GONE, || interfaces() <= base["veth"]);
    let used = cpu::used().zip(before).map_or(0, |(after, before)| after - before);
    Ok((wall, used as f64 / 1e6 / runs as f64))
}

/// What is more than before, once the host has had its time to settle.
fn left(base: &BTreeMap<&'static str, usize>) -> Vec<Fact> {
    let mut now = objects();
    tests::wait::until(SETTLED, || {
        now = objects();
        now.iter().all(|(kind, count)| count <= &base[kind])
    });
    let more = |(kind, count): (&&'static str, &usize)| {
        Fact::new(format!("{kind} left after 2 s"), *count as f64 - base[kind] as f64, "")
    };
    now.iter().map(more).collect()
}

fn objects() -> BTreeMap<&'static str, usize> {
    let lines = |line: &str| shell(line).map_or(0, |text| text.lines().count());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines().count();
    BTreeMap::from([
        ("mounts", mounts),
        ("veth", interfaces()),
        ("netns", lines("readlink /proc/[0-9]*/ns/net | sort -u")),
        ("cgroups", lines("find /sys/fs/cgroup -mindepth 2 -type d")),
        ("nft elements", elements()),
        (
            "folders of tare",
            lines("find /var/lib/tare /run/tare -path /var/lib/tare/bench -prune -o -type d -print"),
        ),
    ])
}

fn interfaces() -> usize {
    shell("ip -o link show type veth").map_or(0, |text| text.lines().count())
}

fn elements() -> usize {
    let ruleset: Value = shell("nft --json list ruleset")
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let objects = ruleset["nftables"].as_array().into_iter().flatten();
    let places = objects.flat_map(|object| [&object["set"]["elem"], &object["map"]["elem"]]);
    places.filter_map(Value::as_array).map(Vec::len).sum()
}
