//! Many at once, and many one after another: all of them work, and nothing stays of them.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(twenty_started_at_once_all_work, runs_one_after_another_leave_nothing);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const AT_ONCE: usize = 20;
/// In a row; TARE_TEST_RUNS asks for another number.
const RUNS: usize = 60;
/// The promise: what ended is gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(2);

fn twenty_started_at_once_all_work(host: &TestHost, engine: Engine) {
    let before = prepared(host, engine);
    let line = format!(
        "for i in $(seq {AT_ONCE}); do $E run -d --name burst-$i -p $((9000 + i)):80 {BUSYBOX} \
         sh -c 'mkdir /w && echo burst-'$i' >/w/index.html && exec httpd -f -h /w' >/tmp/out-$i 2>&1 || echo $i failed & done; wait"
    );
    let started = host.sh_with(engine, &line);
    assert_eq!(started.ok(), "", "{started}\n{}", host.sh("cat /tmp/out-*"));
    let running = host.cli(engine, &["ps", "--format", "{{.Names}}"]);
    assert_eq!(running.ok().lines().count(), AT_ONCE);
    let format = "{{.NetworkSettings.Networks.bridge.IPAddress}}";
    let addresses = host.sh_with(engine, &format!("$E inspect -f '{format}' $($E ps -q) | sort -u | wc -l"));
    assert_eq!(addresses.ok(), AT_ONCE.to_string());
    for i in 1..=AT_ONCE {
        let port = 9000 + i;
        let answer =
            || host.sh(&format!("curl -s -m 2 http://127.0.0.1:{port}/")).stdout == format!("burst-{i}\n");
        assert!(wait::until(Duration::from_secs(20), answer), "burst-{i} does not answer");
        assert_eq!(
            host.cli(engine, &["exec", &format!("burst-{i}"), "cat", "/w/index.html"]).ok(),
            format!("burst-{i}")
        );
    }
    host.sh_with(engine, "$E rm -f $($E ps -aq)").ok();
    host.sh("rm /tmp/out-*").ok();
    host.settles_to(&before);
}

fn runs_one_after_another_leave_nothing(host: &TestHost, engine: Engine) {
    let before = prepared(host, engine);
    let runs = std::env::var("TARE_TEST_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(RUNS);
    for i in 0..runs {
        assert_eq!(host.cli(engine, &["run", "--rm", BUSYBOX, "echo", &i.to_string()]).ok(), i.to_string());
    }
    let mut left = Vec::new();
    let gone = wait::until(GONE_WITHIN, || {
        left = host.state().minus(&before);
        left.is_empty()
    });
    assert!(gone, "still there {GONE_WITHIN:?} after the last run:\n{}", left.join("\n"));
    assert_eq!(host.cli(engine, &["ps", "-aq"]).ok(), "");
}

/// The host's state after a first container, which makes the bridge, the table and folders that stay.
fn prepared(host: &TestHost, engine: Engine) -> tests::state::State {
    host.cli(engine, &["run", "--rm", "-p", "8080:80", BUSYBOX, "true"]).ok();
    host.state()
}
