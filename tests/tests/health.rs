//! Health checks: what decides, what is shown, and who is left alone.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(a_check_decides, slow_and_wordy_checks_are_bounded, images_and_wishes_come_together,);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const PATIENCE: Duration = Duration::from_secs(20);
const HEALTH: &str = "{{.State.Health.Status}} {{.State.Health.FailingStreak}}";

fn a_check_decides(host: &TestHost, engine: Engine) {
    let case = "flags";
    let run = ["run", "-d", "--health-cmd", "echo looked; test -e /ok", "--health-interval", "200ms"];
    let more = [
        "--health-retries",
        "2",
        "--health-timeout",
        "5s",
        "--health-start-period",
        "1ms",
        "--health-start-interval",
        "100ms",
    ];
    host.cli(engine, &[&run[..], &more, &["--name", "box", BUSYBOX, "sleep", "1000"]].concat()).ok();
    let config = inspect(host, engine, "{{json .Config.Healthcheck}}");
    let expected = r#"{"Test":["CMD-SHELL","echo looked; test -e /ok"],"Interval":200000000,"Timeout":5000000000,"StartPeriod":1000000,"StartInterval":100000000,"Retries":2}"#;
    assert_eq!(config, expected, "{case}");
    becomes(host, engine, "{{.State.Health.Status}}", "unhealthy");
    assert_eq!(
        inspect(
            host,
            engine,
            "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}"
        ),
        "1 looked"
    );
    let shown = host.cli(engine, &["ps", "--format", "{{.Status}}", "--filter", "health=unhealthy"]);
    assert!(shown.ok().ends_with(" (unhealthy)"), "{shown}");
    host.cli(engine, &["exec", "box", "touch", "/ok"]).ok();
    becomes(host, engine, HEALTH, "healthy 0");
    assert_eq!(
        host.cli(engine, &["ps", "-q", "--filter", "health=starting", "--filter", "health=none"]).ok(),
        ""
    );
    // As the user, and in the place, of the container's own process; the last five are kept.
    becomes(host, engine, "{{len .State.Health.Log}}", "5");

    // Nobody checks what is paused.
    host.cli(engine, &["pause", "box"]).ok();
    assert_eq!(inspect(host, engine, "{{.State.Status}} {{.State.Health.Status}}"), "paused unhealthy");
    let last = "{{range .State.Health.Log}}{{.Start}} {{end}}";
    let before = inspect(host, engine, last);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(inspect(host, engine, last), before);
    host.cli(engine, &["unpause", "box"]).ok();
    becomes(host, engine, HEALTH, "healthy 0");

    // It ends, and begins anew.
    host.cli(engine, &["stop", "-t", "0", "box"]).ok();
    assert_eq!(inspect(host, engine, "{{.State.Health.Status}} {{len .State.Health.Log}}"), "unhealthy 5");
    host.cli(engine, &["start", "box"]).ok();
    // The first check may have come before this look.
    let anew = inspect(host, engine, "{{.State.Health.Status}} {{len .State.Health.Log}}");
    assert!(matches!(anew.as_str(), "starting 5" | "healthy 5"), "{anew}");
    becomes(host, engine, HEALTH, "healthy 0");
    std::thread::sleep(Duration::from_millis(1100));
    let told = host.cli(
        engine,
        &[
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "event=health_status",
            "--format",
            "{{.Action}}",
        ],
    );
    let told: Vec<&str> = told.ok().lines().collect();
    assert_eq!(told[..2], ["health_status: unhealthy", "health_status: healthy"], "{told:?}");
    host.cli(engine, &["rm", "-f", "box"]).ok();
    host.cli(engine, &["run", "-d", "--name", "young", "--health-cmd", "true", BUSYBOX, "sleep", "1000"])
        .ok();
    let shown = host.cli(engine, &["ps", "--format", "{{.Status}}", "--filter", "health=starting"]);
    assert!(shown.ok().ends_with(" (health: starting)"), "{shown}");
    host.cli(engine, &["rm", "-f", "young"]).ok();
}

fn slow_and_wordy_checks_are_bounded(host: &TestHost, engine: Engine) {
    let run = |check: &str, more: &[&str]| {
        let start = [
            "run",
            "-d",
            "--name",
            "box",
            "--health-interval",
            "200ms",
            "--health-retries",
            "1",
            "--health-cmd",
            check,
        ];
        host.cli(engine, &[&start[..], more, &[BUSYBOX, "sleep", "1000"]].concat()).ok();
    };
    run("echo part; exec sleep 77", &["--health-timeout", "500ms"]);
    becomes(host, engine, "{{.State.Health.Status}}", "unhealthy");
    let first = "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}";
    assert_eq!(inspect(host, engine, first), "-1 Health check exceeded timeout (500ms): part");
    host.cli(engine, &["pause", "box"]).ok();
    host.cli(engine, &["unpause", "box"]).ok();
    host.cli(engine, &["rm", "-f", "box"]).ok();
    run("yes | head -c 100000", &[]);
    becomes(host, engine, "{{.State.Health.Status}}", "healthy");
    assert_eq!(inspect(host, engine, "{{len (index .State.Health.Log 0).Output}}"), "4099");
    host.cli(engine, &["rm", "-f", "box"]).ok();
    run("id -u; pwd; echo $WORD; exit 9", &["--user", "1234", "--workdir", "/tmp", "--env", "WORD=said"]);
    becomes(host, engine, "{{.State.Health.Status}}", "unhealthy");
    assert_eq!(inspect(host, engine, first), "9 1234\n/tmp\nsaid");
    host.cli(engine, &["kill", "box"]).ok();
    becomes(host, engine, "{{.State.Status}} {{.State.Health.Status}}", "exited unhealthy");
    assert_eq!(host.sh("pgrep -f 'sleep 7[7]' || true").ok(), "");
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn images_and_wishes_come_together(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let import = "$E create --name base 127.0.0.1:5000/busybox >/dev/null; \
                  printf 'x' >/tmp/x && tar -C /tmp -cf /tmp/t.tar x && $E import -c 'HEALTHCHECK --interval=1h CMD true' -c 'CMD [\"x\"]' /tmp/t.tar checked >/dev/null";
    host.sh_with(engine, import).ok();
    for (more, expected) in [
        (&[][..], r#"{"Test":["CMD-SHELL","true"],"Interval":3600000000000}"#),
        (&["--health-retries", "7"], r#"{"Test":["CMD-SHELL","true"],"Interval":3600000000000,"Retries":7}"#),
        (&["--no-healthcheck"], r#"{"Test":["NONE"],"Interval":3600000000000}"#),
    ] {
        let id = host.cli(engine, &[&["create"], more, &["checked"]].concat()).ok().to_owned();
        let asked =
            host.cli(engine, &["inspect", "-f", "{{json .Config.Healthcheck}} {{json .State.Health}}", &id]);
        assert_eq!(asked.ok(), format!("{expected} null"), "{more:?}");
    }
    for (field, text) in [
        (r#""Interval":5"#, "Interval in Healthcheck cannot be less than 1ms"),
        (r#""Timeout":5"#, "Timeout in Healthcheck cannot be less than 1ms"),
        (r#""Retries":-1"#, "Retries in Healthcheck cannot be negative"),
        (r#""StartPeriod":5"#, "StartPeriod in Healthcheck cannot be less than 1ms"),
        (r#""StartInterval":5"#, "StartInterval in Healthcheck cannot be less than 1ms"),
    ] {
        let Some(socket) = engine.docker_host().and_then(|h| h.strip_prefix("unix://")) else { continue };
        let body = format!(r#"{{"Image":"{BUSYBOX}","Healthcheck":{{"Test":["CMD","x"],{field}}}}}"#);
        let line = format!(
            "curl -s --unix-socket {socket} -H content-type:application/json -d '{body}' http://x/v1.51/containers/create"
        );
        assert_eq!(host.sh(&line).ok(), format!("{{\"message\":\"{text}\"}}"));
    }
    let refused = host.cli(engine, &["ps", "--filter", "health=foo"]);
    assert_eq!(
        refused.stderr.trim_end(),
        "Error response from daemon: invalid filter 'health=foo': invalid value for health (foo): must be one of none, starting, healthy, unhealthy"
    );
}

fn inspect(host: &TestHost, engine: Engine, format: &str) -> String {
    host.cli(engine, &["inspect", "-f", format, "box"]).ok().trim_end().to_owned()
}

#[track_caller]
fn becomes(host: &TestHost, engine: Engine, format: &str, expected: &str) {
    let so = wait::until(PATIENCE, || inspect(host, engine, format) == expected);
    assert!(so, "{format}: {} and never {expected}", inspect(host, engine, format));
}
