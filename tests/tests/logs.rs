//! json-file logs: bounds, rotation, compression, what is read back, and Docker's texts.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(
    rotation_and_reading_across_files,
    following_over_a_rotation,
    options_are_checked_as_docker_does,
    no_log_to_read,
    attributes_are_details,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";

/// Numbered lines of 80 bytes.
fn numbers(count: u32) -> String {
    format!(
        "seq -f %079.0f {count} 2>/dev/null || awk 'BEGIN {{ for (i = 1; i <= {count}; i++) printf \"%079d\\n\", i }}'"
    )
}

fn rotation_and_reading_across_files(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    for (name, compress) in [("plain", false), ("packed", true)] {
        let mut args =
            vec!["run", "-d", "--name", name, "--log-opt", "max-size=100k", "--log-opt", "max-file=30"];
        if compress {
            args.extend(["--log-opt", "compress=true"]);
        }
        let line = format!("{}; exec sleep 1000", numbers(5000));
        args.extend([BUSYBOX, "sh", "-c", &line]);
        host.cli(engine, &args).ok();
        let written = || host.cli(engine, &["logs", "--tail", "1", name]).ok().ends_with("5000");
        assert!(wait::until(Duration::from_secs(20), written));
        let path = host.cli(engine, &["inspect", "--format", "{{.LogPath}}", name]).ok().to_string();
        let suffix = if compress { ".gz" } else { "" };
        let rotated = || {
            host.path(&format!("{path}.1{suffix}")).exists()
                && host.path(&format!("{path}.2{suffix}")).exists()
        };
        assert!(wait::until(Duration::from_secs(20), rotated), "{}", host.sh(&format!("ls -l {path}*")));
        let all = host.cli(engine, &["logs", name]);
        assert!(all.ok().lines().map(|l| l.parse::<u32>().unwrap()).eq(1..=5000), "{name}");
        assert_eq!(all.stderr, "", "nothing is missing");
        let tail = host.cli(engine, &["logs", "--tail", "3000", name]);
        assert!(tail.ok().lines().map(|l| l.parse::<u32>().unwrap()).eq(2001..=5000), "{name}");
        // From the middle to the end, by the time of a line.
        let stamped = host.cli(engine, &["logs", "-t", name]);
        let stamp = stamped.ok().lines().nth(2499).and_then(|l| l.split(' ').next()).unwrap().to_string();
        let since = host.cli(engine, &["logs", "--since", &stamp, name]);
        let until = host.cli(engine, &["logs", "--until", &stamp, name]);
        assert!(since.ok().lines().map(|l| l.parse::<u32>().unwrap()).eq(2500..=5000), "{name}");
        assert!(until.ok().lines().map(|l| l.parse::<u32>().unwrap()).eq(1..=2500), "{name}");
    }
    // The bound: one file, when a size is given and no number.
    let line = numbers(2000);
    host.cli(engine, &["run", "--name", "short", "--log-opt", "max-size=10k", BUSYBOX, "sh", "-c", &line])
        .ok();
    let logs = host.cli(engine, &["logs", "short"]);
    let count = logs.ok().lines().count();
    assert!((1..=70).contains(&count) && logs.ok().ends_with("2000"), "{count}");
    if engine == Engine::Tare {
        assert!(logs.stderr.contains("the beginning of this log was rotated away"), "{logs}");
        assert_eq!(host.cli(engine, &["logs", "--tail", "1", "short"]).stderr, "");
    } else {
        assert_eq!(logs.stderr, "");
    }
    host.sh_with(engine, "$E rm -f $($E ps -aq)").ok();
}

fn following_over_a_rotation(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let line = "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); printf '%079d\\n' $i; usleep 5000; done";
    for options in [
        "--log-opt max-size=4k --log-opt max-file=5",
        "--log-opt max-size=4k --log-opt max-file=5 --log-opt compress=true",
    ] {
        host.sh_with(
            engine,
            &format!("$E run -d --name box {options} {BUSYBOX} sh -c \"$0\"")
                .replace("$0", &line.replace('$', "\\$")),
        )
        .ok();
        let followed = host.cli(engine, &["logs", "-f", "box"]);
        let got: Vec<u32> = followed.ok().lines().map(|l| l.parse().unwrap()).collect();
        assert!(got.iter().copied().eq(1..=300), "{options}: {got:?}");
        host.cli(engine, &["rm", "-f", "box"]).ok();
    }
}

fn options_are_checked_as_docker_does(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    // At creation.
    for (options, text) in [
        ("--log-opt x=1", "unknown log opt 'x' for json-file log driver"),
        ("--log-opt mode=nope", "logger: logging mode not supported: nope"),
        (
            "--log-opt max-buffer-size=1m",
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "--log-opt mode=non-blocking --log-opt max-buffer-size=abc",
            "error parsing option max-buffer-size: invalid size: 'abc'",
        ),
        ("--log-opt cache-disabled=foo", "invalid value for option cache-disabled: foo"),
        ("--log-driver nope", "error looking up logging plugin nope: plugin \"nope\" not found"),
        ("--log-driver none --log-opt x=1", "invalid logging opts for driver none"),
    ] {
        let said = host.sh_with(engine, &format!("$E create {options} {BUSYBOX} true"));
        assert!(said.code != 0 && said.stderr.contains(text), "{said}");
    }
    // At the start.
    for (options, text) in [
        ("max-size=abc", "invalid size: 'abc'"),
        ("max-size=0", "max-size must be a positive number"),
        ("max-size=-5", "invalid size: '-5'"),
        ("max-size=10mx", "invalid suffix: 'mx'"),
        ("max-file=0", "max-file cannot be less than 1"),
        ("max-file=abc", "strconv.Atoi: parsing \"abc\": invalid syntax"),
        ("compress=maybe --log-opt max-size=1m", "strconv.ParseBool: parsing \"maybe\": invalid syntax"),
        (
            "compress=true --log-opt max-size=1m",
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
    ] {
        let said = host.sh_with(engine, &format!("$E run --name box --log-opt {options} {BUSYBOX} true"));
        let text =
            format!("failed to create task for container: failed to initialize logging driver: {text}");
        assert!(said.code == 125 && said.stderr.contains(&text), "{said}");
        let state = host.cli(
            engine,
            &["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "box"],
        );
        assert_eq!(state.ok(), format!("created 128 {text}"));
        host.cli(engine, &["rm", "box"]).ok();
    }
    for options in [
        "max-size=1.5m",
        "max-file=2",
        "mode=non-blocking",
        "max-size=1m --log-opt max-file=2 --log-opt compress=T",
    ] {
        host.sh_with(engine, &format!("$E run --rm --log-opt {options} {BUSYBOX} true")).ok();
    }
    host.cli(engine, &["create", "--name", "usual", BUSYBOX, "true"]).ok();
    let shown = host.cli(engine, &["inspect", "--format", "{{json .HostConfig.LogConfig}}", "usual"]);
    assert_eq!(shown.ok(), r#"{"Type":"json-file","Config":{}}"#);
}

fn no_log_to_read(host: &TestHost, engine: Engine) {
    let run = host.cli(engine, &["run", "--name", "box", "--log-driver", "none", BUSYBOX, "echo", "hi"]);
    assert_eq!(run.ok(), "hi");
    let logs = host.cli(engine, &["logs", "box"]);
    assert_eq!(logs.code, 1, "{logs}");
    assert!(logs.stderr.contains("configured logging driver does not support reading"), "{logs}");
    let shown =
        host.cli(engine, &["inspect", "--format", "{{json .HostConfig.LogConfig}} [{{.LogPath}}]", "box"]);
    assert_eq!(shown.ok(), r#"{"Type":"none","Config":{}} []"#);
}

fn attributes_are_details(host: &TestHost, engine: Engine) {
    let options = "--log-opt labels=a,zz --log-opt env=B --log-opt tag='{{.Name}}<' --label a=1 -e B='2 3'";
    host.sh_with(engine, &format!("$E run --name box {options} {BUSYBOX} echo x")).ok();
    assert_eq!(host.cli(engine, &["logs", "box"]).ok(), "x");
    assert_eq!(host.cli(engine, &["logs", "--details", "box"]).ok(), "B=2+3,a=1,tag=box%3C x");
    let path = host.cli(engine, &["inspect", "--format", "{{.LogPath}}", "box"]).ok().to_string();
    let entry = host.read(&path);
    let expected = r#"{"log":"x\n","stream":"stdout","attrs":{"B":"2 3","a":"1","tag":"box\u003c"},"time":""#;
    assert!(entry.starts_with(expected), "{entry}");
    host.cli(engine, &["run", "--name", "plain", BUSYBOX, "echo", "x"]).ok();
    assert_eq!(host.cli(engine, &["logs", "--details", "plain"]).stdout, " x\n");
}
