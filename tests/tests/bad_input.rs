//! Bad input of every kind: one clear line, Docker's exit code, and nothing left behind.

use tests::sandbox::Data;
use tests::{Engine, Output, TestHost, on_each_engine};

on_each_engine!(
    what_is_wrong_is_said,
    a_lying_registry,
    nothing_escapes_from_a_layer,
    a_program_that_cannot_run
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";

fn what_is_wrong_is_said(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "-d", "--name", "taken", BUSYBOX, "sleep", "1000"]).exits(0);
    let before = host.state();
    // (arguments, exit code, what is said)
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--rm", "127.0.0.1:5000/nosuch", "true"], 125, "127.0.0.1:5000/nosuch:latest: not found"),
        (&["pull", "127.0.0.1:5000/busybox:nosuch"], 1, "127.0.0.1:5000/busybox:nosuch: not found"),
        (&["pull", "127.0.0.1:5999/busybox"], 1, "connection refused"),
        (
            &["run", "--name", "taken", BUSYBOX, "true"],
            125,
            "Conflict. The container name \"/taken\" is already in use by container",
        ),
        (
            &["run", "--rm", "-u", "nosuch", BUSYBOX, "true"],
            125,
            "unable to find user nosuch: no matching entries in passwd file",
        ),
        (
            &["run", "--rm", "127.0.0.1:5000/UPPER"],
            125,
            "invalid reference format: repository name (UPPER) must be lowercase",
        ),
        (&["pull", "::"], 1, "invalid reference format"),
        (&["run", "--nosuch", BUSYBOX], 125, "unknown flag: --nosuch"),
        (&["ps", "--nosuch"], 125, "unknown flag: --nosuch"),
        (&["run", "--rm", "--memory", "1", BUSYBOX], 125, "Minimum memory limit allowed is 6MB"),
        (&["inspect", "nosuch"], 1, "No such object: nosuch"),
        (&["rm", "nosuch"], 1, "No such container: nosuch"),
        (&["exec", "nosuch", "true"], 1, "No such container: nosuch"),
        (&["load", "-i", "/etc/passwd"], 1, "archive/tar: invalid tar header"),
    ];
    for (args, code, text) in cases {
        let output = host.cli(engine, args);
        output.exits(*code).says(text);
        if engine == Engine::Tare {
            assert_one_clear_line(&output);
        }
        host.cli(engine, &["rm", "-f", "left"]);
    }
    host.sh_with(
        engine,
        &format!("{} ps -aq --filter status=created | xargs -r {} rm", engine.cli(), engine.cli()),
    )
    .ok();
    host.settles_to(&before);
}

fn a_lying_registry(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
    let stored = || host.sh("find /var/lib/tare/content /var/lib/tare/snapshots -maxdepth 3 | sort").stdout;
    let before = stored();
    let cases = [
        ("bad-digest", "sha256:"),
        ("bad-truncated", "unexpected EOF"),
        ("bad-gzip", "unexpected EOF"),
        ("bad-diffid", "wrong diff id calculated on extraction"),
    ];
    for (image, text) in cases {
        let reference = format!("127.0.0.1:5000/{image}");
        host.cli(engine, &["pull", &reference]).exits(1).says(text);
        let shown = host.cli(engine, &["images", "-q", &reference]);
        assert_eq!(shown.ok(), "", "a broken image is there");
        host.cli(engine, &["run", "--rm", &reference, "true"]).exits(125);
    }
    if engine.is_tare() {
        assert_eq!(stored(), before, "what a broken image brought is still there");
    }
    // What was whole is still usable, and the good image still pulls.
    host.cli(engine, &["run", "--rm", BUSYBOX, "true"]).ok();
}

fn nothing_escapes_from_a_layer(host: &TestHost, engine: Engine) {
    for image in ["bad-path", "bad-symlink"] {
        // The reference keeps such paths inside the container's root; refusing the image is as good.
        let output = host.cli(engine, &["pull", &format!("127.0.0.1:5000/{image}")]);
        assert!(output.code == 0 || output.stderr.lines().count() >= 1, "{output}");
    }
    let escaped = host.sh("ls /tmp /run /var/lib / | grep escaped");
    assert_eq!(escaped.stdout, "", "a layer wrote outside its root");
    assert!(!std::path::Path::new("/tmp/escaped-by-dots").exists());
}

fn a_program_that_cannot_run(host: &TestHost, engine: Engine) {
    host.cli(engine, &["run", "--rm", BUSYBOX, "true"]).exits(0);
    let before = host.state();
    let cases = [
        ("nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH"),
        ("/no/such", 127, "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
    ];
    for (program, code, text) in cases {
        host.cli(engine, &["run", "--rm", BUSYBOX, program]).exits(code).says(text);
        host.cli(engine, &["run", "-d", "--name", "left", BUSYBOX, program]).exits(code).says(text);
        host.cli(engine, &["rm", "left"]).ok();
    }
    host.cli(engine, &["run", "--rm", "127.0.0.1:5000/empty"]).exits(125).says("no command specified");
    host.sh_with(engine, &format!("{} ps -aq", engine.cli())).ok();
    host.cli(engine, &["rmi", "127.0.0.1:5000/empty"]).ok();
    host.settles_to(&before);
}

/// A disk that is full in the middle of a pull: said in one line, nothing kept, and room again once there is room.
#[test]
fn a_full_disk() {
    for engine in Engine::ALL.into_iter().filter(|engine| engine.is_wanted()) {
        let Some(host) = TestHost::with_data(Data::Ext4(32)) else { return };
        host.start_registry();
        host.start(engine);
        let output = host.cli(engine, &["pull", "127.0.0.1:5000/nginx:1.22"]);
        output.exits(1).says("no space left on device");
        assert_eq!(host.cli(engine, &["images", "-q"]).ok(), "", "half an image is there");
        if engine.is_tare() {
            // What the broken pull had fetched is not in the way of a smaller image. (The reference keeps it for a day.)
            let output = host.cli(engine, &["run", "--rm", BUSYBOX, "echo", "still works"]);
            assert_eq!(output.ok(), "still works");
        }
    }
}

#[test]
fn not_root() {
    if !Engine::Tare.is_wanted() {
        return tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    let output = host.sh("setpriv --reuid 65534 --regid 65534 --clear-groups tare run --rm hello");
    assert_ne!(output.code, 0, "{output}");
    assert!(output.stderr.contains("root"), "{output}");
    assert_one_clear_line(&output);
}

/// What is wrong stands in one line; what may help follows as Docker's CLI does it.
#[track_caller]
fn assert_one_clear_line(output: &Output) {
    let noise = ["panicked", "RUST_BACKTRACE", "Os {", "Error(", "source:", "stack backtrace"];
    assert!(noise.iter().all(|word| !output.stderr.contains(word)), "{output}");
    let is_error = |line: &&str| {
        let progress = ["Unable to find", "Pulling", ": Pulling", "Using default tag"];
        !(line.is_empty()
            || progress.iter().any(|word| line.contains(word))
            || line.starts_with("Run 'tare")
            || line.starts_with("Usage:")
            || line.starts_with("See 'tare")
            || line.starts_with("hint:")
            || line.starts_with("Hint:"))
    };
    let errors: Vec<&str> = output.stderr.lines().filter(is_error).collect();
    assert_eq!(errors.len(), 1, "not one line: {errors:#?}\n{output}");
}
