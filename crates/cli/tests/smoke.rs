//! Whole commands against a fake engine: what is sent in which order, what is printed, how it ends.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::json::Json;
use support::{Answer, Engine, Seen, frame, ours, ours_with};

fn json(status: u16, text: &str) -> Answer {
    Answer::Json(status, text.to_owned())
}

/// An engine with one container that echoes its input and exits with 7.
fn echoing() -> Engine {
    Engine::new(|seen: &Seen| {
        let line = seen.line();
        match line.split('?').next().unwrap_or("") {
            "POST /containers/create" => json(201, r#"{"Id":"c1","Warnings":["careful"]}"#),
            "POST /containers/c1/attach" => {
                let mut first = frame(1, b"out\n");
                first.extend(frame(2, b"err\n"));
                Answer::Stream { first, echo: line.contains("stdin=1") }
            }
            "POST /containers/c1/wait" => json(200, r#"{"StatusCode":7}"#),
            "POST /containers/c1/start" => json(204, ""),
            "GET /containers/c1/json" => {
                json(200, r#"{"Id":"c1","Config":{"Tty":false},"State":{"Running":true}}"#)
            }
            "GET /containers/tty/json" => json(200, r#"{"Id":"tty","Config":{"Tty":true}}"#),
            "GET /containers/c1/logs" => {
                let mut text = frame(1, b"one\n");
                text.extend(frame(2, b"two\n"));
                Answer::Json(200, String::from_utf8(text).unwrap())
            }
            "GET /containers/tty/logs" => json(200, "raw\r\n"),
            "POST /containers/c1/exec" => json(201, r#"{"Id":"e1"}"#),
            "POST /exec/e1/start" => Answer::Stream { first: frame(1, b"in exec\n"), echo: false },
            "GET /exec/e1/json" => json(200, r#"{"ID":"e1","ExitCode":3}"#),
            _ => json(404, r#"{"message":"No such container: x"}"#),
        }
    })
}

fn lines(engine: &Engine) -> Vec<String> {
    engine.take().iter().map(|s| s.line().split('?').next().unwrap_or("").to_owned()).collect()
}

#[test]
fn run_in_the_foreground() {
    let engine = echoing();
    let got = ours("tare", &["-H", &engine.host(), "run", "--rm", "-i", "busybox", "cat"], "typed");
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (7, "out\ntyped", "WARNING: careful\nerr\n"));
    assert_eq!(
        lines(&engine),
        [
            "POST /containers/create",
            "POST /containers/c1/attach",
            "POST /containers/c1/wait",
            "POST /containers/c1/start"
        ]
    );
}

#[test]
fn run_in_the_background() {
    let engine = echoing();
    let got = ours("tare", &["-H", &engine.host(), "run", "-d", "busybox"], "");
    assert_eq!((got.code, got.out.as_str()), (0, "c1\n"));
    assert_eq!(lines(&engine), ["POST /containers/create", "POST /containers/c1/start"]);
}

#[test]
fn over_a_pipe_in_this_process() {
    let engine = echoing();
    let socket = engine.socket();
    let in_process: cli::InProcess = Box::new(move || {
        let socket = socket.clone();
        Ok(api::Transport::InProcess(Arc::new(move |mut pipe| {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut pipe, &mut stream).await;
            });
        })))
    });
    let args = ["run", "--rm", "-i", "busybox", "cat"];
    if std::path::Path::new(cli::endpoint::DEFAULT_SOCKET).exists() {
        eprintln!("not run: a daemon answers on this machine");
        return;
    }
    let got = ours_with("tare", &args, "typed", in_process);
    assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (7, "out\ntyped", "WARNING: careful\nerr\n"));
}

#[test]
fn exec_logs_and_wait() {
    let engine = echoing();
    let host = engine.host();
    for (args, code, out, err) in [
        (&["exec", "c1", "true"][..], 3, "in exec\n", ""),
        (&["logs", "c1"], 0, "one\n", "two\n"),
        (&["logs", "tty"], 0, "raw\r\n", ""),
        (&["wait", "c1"], 0, "7\n", ""),
        (
            &["start", "c1", "x"],
            1,
            "c1\n",
            "Error response from daemon: No such container: x\nError: failed to start containers: x\n",
        ),
        (&["attach", "c1"], 7, "out\n", "err\n"),
    ] {
        let mut all = vec!["-H", &host];
        all.extend_from_slice(args);
        let got = ours("tare", &all, "");
        assert_eq!((got.code, got.out.as_str(), got.err.as_str()), (code, out, err), "{args:?}");
    }
}

#[test]
fn a_missing_image_is_pulled() {
    let pulled = AtomicBool::new(false);
    let engine = Engine::new(move |seen: &Seen| {
        let line = seen.line();
        if line.starts_with("POST /images/create?fromImage=docker.io%2Flibrary%2Fbusybox&tag=latest") {
            pulled.store(true, Ordering::SeqCst);
            return json(
                200,
                "{\"status\":\"Pulling from library/busybox\",\"id\":\"latest\"}\r\n{\"status\":\"Digest: sha256:0\"}\r\n",
            );
        }
        match pulled.load(Ordering::SeqCst) {
            false => json(404, r#"{"message":"No such image: busybox:latest"}"#),
            true => json(201, r#"{"Id":"c1","Warnings":[]}"#),
        }
    });
    let host = engine.host();
    let got = ours("tare", &["-H", &host, "create", "busybox"], "");
    assert_eq!((got.code, got.out.as_str()), (0, "c1\n"));
    assert_eq!(
        got.err,
        "Unable to find image 'busybox:latest' locally\nlatest: Pulling from library/busybox\nDigest: sha256:0\n"
    );
}

#[test]
fn failures_of_run_have_dockers_codes() {
    for (message, code) in [
        ("failed to create task: exec: \\\"x\\\": executable file not found in $PATH: unknown", 127),
        ("stat /nope: no such file or directory: unknown", 127),
        ("exec: \\\"/x\\\": permission denied: unknown", 126),
        ("exec: \\\"/etc\\\": is a directory: unknown", 126),
        ("Conflict. The container name is in use", 125),
    ] {
        let body = format!("{{\"message\":\"{message}\"}}");
        let engine = Engine::new(move |seen: &Seen| match seen.line().contains("/create") {
            true => json(201, r#"{"Id":"c1","Warnings":[]}"#),
            false => Answer::Json(400, body.clone()),
        });
        let got = ours("tare", &["-H", &engine.host(), "run", "-d", "busybox"], "");
        let text = message.replace("\\\"", "\"");
        assert_eq!((got.code, got.out.as_str()), (code, "c1\n"), "{message}");
        assert_eq!(
            got.err,
            format!(
                "tare: Error response from daemon: {text}\n\nRun 'tare run --help' for more information\n"
            )
        );
    }
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for (args, code, err) in [
        (
            &["run", "--disable-content-trust=false", "y"][..],
            125,
            "tare: content trust (--disable-content-trust=false, DOCKER_CONTENT_TRUST) is not available\n",
        ),
        (&["build", "."], 1, "tare: 'tare build' is not available yet\n"),
        (&["swarm", "ca"], 1, "tare: 'tare swarm' is not available yet\n"),
        (&["--tls", "ps"], 125, "tare: the option --tls is not available yet\n"),
    ] {
        let got = ours("tare", args, "");
        assert_eq!((got.code, got.err.as_str()), (code, err), "{args:?}");
    }
}

/// An engine names the field that it does not do; a person typed a flag.
#[test]
fn the_flag_behind_a_refused_field_is_named() {
    for (message, args, flag) in [
        (
            "HostConfig.StorageOpt is not supported yet",
            &["--storage-opt", "a=b", "--memory", "1g"][..],
            "storage-opt",
        ),
        ("Healthcheck is not supported yet", &["--health-cmd", "x"], "health-cmd"),
    ] {
        let body = Json::from(message).to_string();
        let engine = Engine::new(move |_: &Seen| Answer::Json(501, format!("{{\"message\":{body}}}")));
        let host = engine.host();
        for command in ["create", "run"] {
            let mut all = vec!["-H", &host, command];
            all.extend_from_slice(args);
            all.push("busybox");
            let got = ours("tare", &all, "");
            let hint = format!("tare: the option --{flag} is not available yet\n");
            let text = match command {
                "create" => format!("Error response from daemon: {message}\n{hint}"),
                _ => format!(
                    "tare: Error response from daemon: {message}\n\nRun 'tare run --help' for more information\n{hint}"
                ),
            };
            assert_eq!((got.code, got.err), (125, text), "{args:?}");
        }
    }
}

#[test]
fn flags_for_other_engines_are_refused_as_docker_does() {
    let engine = Engine::announcing("1.40", |_: &Seen| json(500, "{}"));
    let host = engine.host();
    for (args, err) in [
        (
            &["create", "--cgroupns", "host", "--annotation", "a=b", "--gpus", "all", "x"][..],
            "\"--annotation\" requires API version 1.43, but the Docker daemon API version is 1.40\n\
             \"--cgroupns\" requires API version 1.41, but the Docker daemon API version is 1.40\n",
        ),
        (
            &["run", "--cpu-count", "1", "x"],
            "\"--cpu-count\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux\n",
        ),
    ] {
        let mut all = vec!["-H", &host];
        all.extend_from_slice(args);
        let got = ours("docker", &all, "");
        assert_eq!((got.code, got.err.as_str()), (1, err), "{args:?}");
    }
}

#[test]
fn the_id_file_is_there_only_with_a_container() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cid");
    let file = path.to_str().unwrap();
    let failing = Engine::new(|_: &Seen| json(500, r#"{"message":"no"}"#));
    let got = ours("tare", &["-H", &failing.host(), "create", "--cidfile", file, "busybox"], "");
    assert_eq!((got.code, path.exists()), (1, false));
    let engine = echoing();
    let got = ours("tare", &["-H", &engine.host(), "create", "--cidfile", file, "busybox"], "");
    assert_eq!((got.code, std::fs::read_to_string(&path).unwrap().as_str()), (0, "c1"));
    let got = ours("tare", &["-H", &engine.host(), "create", "--cidfile", file, "busybox"], "");
    let text =
        format!("container ID file found, make sure the other container isn't running or delete {file}\n");
    assert_eq!((got.code, got.err), (1, text));
}

#[test]
fn containers_get_the_configurations_proxies() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":"a,b"}}}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let engine = echoing();
    let host = engine.host();
    let config = folder.path().to_str().unwrap();
    ours("tare", &["--config", config, "-H", &host, "create", "-e", "no_proxy=mine", "busybox"], "");
    let body = Json::parse(engine.take()[0].body.as_bytes()).unwrap();
    let env: Vec<&str> =
        body.get("Env").and_then(Json::as_array).unwrap().iter().filter_map(Json::as_str).collect();
    assert_eq!(env, ["no_proxy=mine", "HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "NO_PROXY=a,b"]);
}

#[test]
fn a_closed_output_is_no_panic() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let file = || -> &'static File { Box::leak(Box::new(tempfile::tempfile().unwrap())) };
    let closed: &'static OwnedFd = Box::leak(Box::new(writer));
    let environment = cli::Environment {
        program: "tare".to_owned(),
        build: cli::Build::default(),
        stdio: cli::Stdio { stdin: file().as_fd(), stdout: closed.as_fd(), stderr: file().as_fd() },
        in_process: Box::new(|| Err("none".to_owned())),
        local_commands: Vec::new(),
    };
    assert_eq!(cli::main(&["--help".into()], environment), 141);
}

#[test]
fn every_shell_has_a_completion_that_parses() {
    for shell in ["bash", "zsh", "fish"] {
        let got = ours("tare", &["completion", shell], "");
        assert_eq!(got.code, 0);
        assert!(got.out.contains("container") && got.out.contains("stop-timeout"), "{shell}");
        if shell == "bash" {
            let script = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(script.path(), &got.out).unwrap();
            let test = format!(
                "source {} && COMP_WORDS=(tare container st) COMP_CWORD=2 && _tare && echo ${{COMPREPLY[@]}}",
                script.path().display()
            );
            let output = std::process::Command::new("bash").args(["-c", &test]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "start stats stop\n");
            // Names are asked of the program; a function stands in for it.
            for (words, names) in
                [("logs", "web"), ("rmi", "nginx:1"), ("network rm", "mine"), ("volume rm", "data")]
            {
                let at = words.split(' ').count() + 1;
                let test = format!(
                    "tare() {{ case $1 in ps) echo web;; images) echo nginx:1;; network) echo mine;; volume) echo data;; esac; }}\n\
                     source {} && COMP_WORDS=(tare {words} '') COMP_CWORD={at} && _tare && echo ${{COMPREPLY[@]}}",
                    script.path().display()
                );
                let output = std::process::Command::new("bash").args(["-c", &test]).output().unwrap();
                let offered = String::from_utf8_lossy(&output.stdout);
                assert!(offered.split_whitespace().any(|word| word == names), "{words}: {offered}");
            }
        }
    }
    assert_eq!(ours("tare", &["completion", "ksh"], "").code, 1);
}
