//! Events: what is told of a life, who may choose what he sees, and what survives a process that is killed.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(a_container_tells_its_life, filters_formats_and_times, events_are_followed, images_tell_too,);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const PATIENCE: Duration = Duration::from_secs(20);
const PLAIN: &str = "{{.Action}} {{json .Actor.Attributes}}";

fn past(host: &TestHost, engine: Engine, more: &[&str]) -> String {
    // A time of whole seconds is meant: the end of this one includes what has just happened.
    std::thread::sleep(Duration::from_millis(1100));
    host.cli(engine, &[&["events", "--since", "1h", "--until", "0s"], more].concat()).ok().to_owned()
}

fn a_container_tells_its_life(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "one", "--label", "a=b", BUSYBOX, "sleep", "1000"]).ok();
    host.cli(engine, &["exec", "one", "sh", "-c", "exit 3"]);
    host.cli(engine, &["exec", "-d", "one", "sleep", "0.1"]).ok();
    std::thread::sleep(Duration::from_millis(500));
    host.cli(engine, &["kill", "-s", "CONT", "one"]).ok();
    host.cli(engine, &["rename", "one", "two"]).ok();
    host.cli(engine, &["exec", "two", "true"]).ok();
    host.cli(engine, &["restart", "-t", "0", "two"]).ok();
    host.cli(engine, &["stop", "-t", "0", "two"]).ok();
    host.cli(engine, &["rm", "two"]).ok();
    let format = "{{.Action}} {{range $k, $v := .Actor.Attributes}}{{if and (ne $k \"image\") (ne $k \"execID\")}}{{$k}}={{$v}} {{end}}{{end}}";
    let told = past(host, engine, &["--filter", "type=container", "--format", format]);
    let told: Vec<&str> = told.lines().map(str::trim_end).collect();
    let one = "a=b name=one";
    let two = "a=b name=two";
    let expected = [
        format!("create {one}"),
        format!("start {one}"),
        format!("exec_create: sh -c exit 3 {one}"),
        format!("exec_start: sh -c exit 3 {one}"),
        "exec_die a=b exitCode=3 name=one".to_string(),
        format!("exec_create: sleep 0.1 {one}"),
        format!("exec_start: sleep 0.1 {one}"),
        "exec_die a=b exitCode=0 name=one".to_string(),
        format!("kill {one} signal=18"),
        format!("rename {two} oldName=/one"),
        format!("exec_create: true  {two}"),
        format!("exec_start: true  {two}"),
        "exec_die a=b exitCode=0 name=two".to_string(),
    ];
    assert_eq!(told[..expected.len()], expected, "{told:#?}");
    // dockerd's `stop` and `die` come in either order.
    let has = |text: &str| told.iter().filter(|line| **line == text).count();
    assert_eq!(has(&format!("kill {two} signal=9")), 2, "{told:#?}");
    assert_eq!(has(&format!("stop {two}")), 2, "{told:#?}");
    assert_eq!(told.iter().filter(|l| l.starts_with("die ") && l.contains("exitCode=137")).count(), 2);
    assert_eq!((has(&format!("restart {two}")), has(&format!("start {two}"))), (1, 1), "{told:#?}");
    assert_eq!(told.last(), Some(&format!("destroy {two}").as_str()));
}

fn filters_formats_and_times(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "--rm", "--name", "box1", "--label", "l=v", BUSYBOX, "true"]).ok();
    host.cli(engine, &["run", "--name", "box2", BUSYBOX, "sh", "-c", "exit 5"]);
    for (filters, expected) in [
        (&["type=container", "container=box1"][..], "create attach start die destroy"),
        (&["container=box2"], "create attach start die"),
        (&["container=box"], "create attach start die destroy create attach start die"),
        (&["event=die", "event=destroy", "container=box1"], "die destroy"),
        (&["label=l", "event=start"], "start"),
        (&["label=l=w"], ""),
        (&["image=127.0.0.1:5000/busybox", "event=die"], "die die"),
        (&["scope=swarm"], ""),
    ] {
        let mut args: Vec<&str> = filters.iter().flat_map(|f| ["--filter", *f]).collect();
        args.extend(["--format", "{{.Action}}"]);
        let told = past(host, engine, &args);
        let case = "filters";
        assert_eq!(told.lines().collect::<Vec<_>>().join(" "), expected, "{case} {filters:?}");
    }
    let plain = past(host, engine, &["--filter", "event=die", "--filter", "container=box2"]);
    let id = host.cli(engine, &["inspect", "-f", "{{.Id}}", "box2"]).ok().to_owned();
    let end = format!(" container die {id} (execDuration=0, exitCode=5, image={BUSYBOX}, name=box2)");
    assert!(plain.ends_with(&end) && plain.starts_with("20") && !plain.contains('\n'), "{plain}");
    let json =
        past(host, engine, &["--filter", "event=die", "--filter", "container=box2", "--format", "json"]);
    let start = format!(
        "{{\"status\":\"die\",\"id\":\"{id}\",\"from\":\"{BUSYBOX}\",\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"execDuration\":\"0\",\"exitCode\":\"5\",\"image\":\"{BUSYBOX}\",\"name\":\"box2\"}}}},\"scope\":\"local\",\"time\":"
    );
    assert!(json.starts_with(&start), "{json}");
    assert_eq!(host.cli(engine, &["events", "--since", "1h", "--until", "30m"]).ok(), "");
    for (args, code, text) in [
        (&["--since", "abc"][..], 1, "failed to parse value as time or duration: \"abc\""),
        (
            &["--since", "1h", "--until", "0s", "--format", "{{.Foo}}"],
            64,
            "Error parsing format: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *events.Message",
        ),
        (
            &["--since", "5", "--until", "2"],
            1,
            "Error response from daemon: `since` time (5) cannot be after `until` time (2)",
        ),
    ] {
        let failed = host.cli(engine, &[&["events"], args].concat());
        assert!(failed.code == code && failed.stderr.trim_end() == text, "{failed}");
    }
}

fn events_are_followed(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "--rm", BUSYBOX, "true"]).ok();
    let line = format!("exec $E events --filter type=container --format '{PLAIN}'");
    let seen = host.spawn_with(engine, &line);
    std::thread::sleep(Duration::from_secs(1));
    host.cli(engine, &["run", "--rm", "--name", "shown", BUSYBOX, "true"]).ok();
    seen.wait_for("destroy");
    let text = seen.stdout();
    let actions: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(actions, ["create", "attach", "start", "die", "destroy"], "{text}");
    drop(seen);
    let start = std::time::Instant::now();
    let limited = host.sh_with(engine, "$E events --filter event=x --until $(($(date +%s)+2)); echo ended");
    assert_eq!(limited.ok(), "ended");
    assert!(start.elapsed() < PATIENCE);
    if !engine.is_tare() {
        return;
    }
    // A writer that was killed has left half a record; the journal turns over many times.
    host.sh("printf '\\n{\"ns\":17,\"kind\":\"contai' >>/run/tare/events/journal").ok();
    let seen = host.spawn_with(engine, &line);
    std::thread::sleep(Duration::from_secs(1));
    let label = format!("big={}", "x".repeat(60_000));
    for n in 0..12 {
        let name = format!("big{n}");
        host.cli(engine, &["create", "--name", &name, "--label", &label, BUSYBOX, "true"]).ok();
        host.cli(engine, &["rename", &name, &format!("bigger{n}")]).ok();
        host.cli(engine, &["rm", &format!("bigger{n}")]).ok();
    }
    let whole = || seen.stdout().lines().filter(|l| l.starts_with("destroy")).count() == 12;
    assert!(wait::until(PATIENCE, whole));
    assert_eq!(seen.stdout().lines().count(), 36);
    let size = host.sh("du -s /run/tare/events | cut -f 1").ok().to_owned();
    assert!(size.parse::<u32>().unwrap() <= 5 * 1024, "{size}");
    assert!(host.sh("ls /run/tare/events").ok().contains("journal.1"));
}

fn images_tell_too(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    host.cli(engine, &["tag", BUSYBOX, "other:1"]).ok();
    host.cli(engine, &["save", "-o", "/tmp/image.tar", "other:1"]).ok();
    host.cli(engine, &["rmi", "other:1"]).ok();
    host.cli(engine, &["load", "-q", "-i", "/tmp/image.tar"]).ok();
    host.cli(engine, &["tag", BUSYBOX, "127.0.0.1:5000/pushed"]).ok();
    host.cli(engine, &["push", "-q", "127.0.0.1:5000/pushed"]).ok();
    let id = host.cli(engine, &["inspect", "-f", "{{.Id}}", BUSYBOX]).ok().to_owned();
    let told = past(
        host,
        engine,
        &["--filter", "type=image", "--format", "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}"],
    );
    let expected = [
        format!("pull {BUSYBOX}:latest {BUSYBOX}"),
        format!("tag {id} other:1"),
        format!("save {id} {id}"),
        format!("untag {id} other:1"),
        format!("load {id} {id}"),
        format!("tag {id} 127.0.0.1:5000/pushed:latest"),
        "push 127.0.0.1:5000/pushed:latest 127.0.0.1:5000/pushed".to_owned(),
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}
