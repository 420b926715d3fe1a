//! The end of a boot and the next one, in a test host: every process of an engine and its containers is killed, and
//! what lies in the run root is gone. (What only a real machine loses, its page cache, `crate::vm` shows.)

use std::time::Duration;

use crate::{Engine, TestHost, wait};

const PATIENCE: Duration = Duration::from_secs(30);
/// Servers that belong to the test, not to the engine.
const SPARED: [&str; 2] = ["docker-registry", "test-hub"];

/// Kills everything with SIGKILL, those first who could write down how the others ended.
#[track_caller]
pub fn lose(host: &TestHost, engine: Engine) {
    if engine != Engine::Tare {
        host.kill_last_server();
    }
    let mut left = Vec::new();
    let gone = wait::until(PATIENCE, || {
        left = processes(host);
        let shims: Vec<&String> = left.iter().filter(|line| line.contains("shim")).collect();
        let victims = if shims.is_empty() { left.iter().collect() } else { shims };
        let pids: Vec<&str> = victims.iter().filter_map(|line| line.split(' ').next()).collect();
        host.sh(&format!("kill -9 {} 2>/dev/null; true", pids.join(" ")));
        left.is_empty()
    });
    assert!(gone, "not killed: {left:#?}");
    let empty = match engine {
        // Its mounts are in the host's namespace, where a boot would not find them.
        Engine::Docker => "rm -f /run/docker.pid /var/run/docker.pid",
        // What was mounted is not mounted in the next boot.
        Engine::Socket | Engine::Tare => {
            "for m in $(cut -d ' ' -f 2 /proc/mounts | grep -e ^/var/lib/tare/ -e ^/run/tare/ | sort -r); do umount $m || exit; done; \
             find /run/tare -mindepth 1 -delete"
        }
    };
    host.sh(empty).ok();
}

/// What the machine does when it starts: the daemon, or `tare system boot`.
#[track_caller]
pub fn restore(host: &TestHost, engine: Engine) {
    match engine {
        Engine::Tare => drop(host.tare(&["system", "boot"]).ok().to_owned()),
        Engine::Docker | Engine::Socket => host.start(engine),
    }
}

/// `PID COMMAND` of each process that is not the test's own.
fn processes(host: &TestHost) -> Vec<String> {
    let state = host.state();
    let lines = state.of_kind("process").into_iter().filter_map(|line| line.strip_prefix("process "));
    let foreign = |line: &&str| !line.starts_with("1 ") && !SPARED.iter().any(|name| line.contains(name));
    lines.filter(foreign).map(str::to_owned).collect()
}
