//! Tare's hints: a line below Docker's text that says what to do next.

use tests::host::REGISTRY;
use tests::{Engine, TestHost};

/// A line, and what its hint has.
const HINTS: &[(&str, &str)] = &[
    ("tare rnu x", "did you mean run?"),
    ("tare container strat x", "did you mean start?"),
    ("tare run --nmae x busybox", "did you mean --name?"),
    ("tare logs wbe", "did you mean web?"),
    ("tare logs nosuch", "`tare ps -a` lists all there are"),
    ("tare start wbe", "did you mean web?"),
    ("tare run --rm --pull never $R/busybx true", "did you mean 127.0.0.1:5000/busybox:latest?"),
    ("tare run --name web $R/busybox true", "`tare rm -f web` removes the other one"),
    ("tare rm web", "`tare stop web` first, or `tare rm -f web`"),
    ("tare exec ended true", "` starts it; `tare logs "),
    ("tare rmi $R/busybox", "removes the container that uses it"),
    ("tare run --rm --memory 1m $R/busybox true", "--memory 64m"),
    ("tare run --rm $R/busybox --rm", "options stand before the image's name"),
    ("tare run --rm $R/busybox nosuch", "the image has no program nosuch"),
    ("tare run --rm $R/busybox /etc/passwd", "may not be executed"),
    ("tare run --rm -u nosuch $R/busybox true", "-u 1000:1000"),
    ("tare run --rm $R/BUSYBOX true", "in small letters"),
    ("tare run --rm -v data:data $R/busybox true", "begins with /"),
    ("tare run --rm --mount type=bind,src=/no/such,dst=/v $R/busybox true", "`mkdir -p /no/such` first"),
    ("tare run --rm --network nosuch $R/busybox true", "`tare network create nosuch` makes it"),
    ("tare run --rm -p 8080:80 $R/busybox true", "the container web has port 8080"),
    ("tare run --rm -p 5000:80 $R/busybox true", "(docker-registry) has port 5000"),
    ("tare pull $R/busybox:nosuch", "the registry has no such name or tag"),
    ("tare -H unix:///nosuch.sock ps", "`tare daemon` starts one"),
    ("tare run --rm -it $R/busybox true", "leave -t away"),
];

#[test]
fn a_hint_stands_below_the_text() {
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    host.sh(&format!(
        "tare run -d --name web -p 8080:80 {REGISTRY}/busybox sleep 1000 && tare run --name ended {REGISTRY}/busybox true"
    ))
    .ok();
    let mut wrong = Vec::new();
    for (line, hint) in HINTS {
        let line = line.replace("$R", REGISTRY);
        let output = host.sh(&line);
        if output.code == 0 || output.hints.lines().count() != 1 || !output.hints.contains(hint) {
            wrong.push(format!("expected a hint with {hint:?}\n{output}"));
        }
        let silent = host.sh(&format!("TARE_HINTS=0 {line}"));
        if !silent.hints.is_empty() || silent.code != output.code {
            wrong.push(format!("expected no hint\n{silent}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_interface_has_no_hints() {
    let Some(host) = TestHost::new() else { return };
    host.start(Engine::Socket);
    let url = "http://x/v1.51/containers/nosuch/json";
    let answer = host.sh(&format!("curl -s --unix-socket /run/tare/tare.sock {url}"));
    assert_eq!(answer.ok().trim_end(), r#"{"message":"No such container: nosuch"}"#);
}
