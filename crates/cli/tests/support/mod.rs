//! A fake engine on a unix socket, and the two command lines that are run against it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// A request that the fake engine saw.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub body: String,
    pub headers: String,
}

impl Seen {
    /// Method, path without its version, query.
    pub fn line(&self) -> String {
        let path = self.target.strip_prefix("/v").and_then(|p| p.split_once('/')).map(|(_, p)| p);
        format!("{} /{}", self.method, path.unwrap_or(self.target.trim_start_matches('/')))
    }
}

/// What it answers.
pub enum Answer {
    Json(u16, String),
    /// The connection becomes a stream: these bytes, and then what comes in is echoed back.
    Stream {
        first: Vec<u8>,
        echo: bool,
    },
}

type Handler = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

pub struct Engine {
    folder: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Engine {
    pub fn new(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Engine {
        Engine::announcing("1.50", handler)
    }

    /// An engine that speaks this API version.
    pub fn announcing(
        api: &'static str,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("e.sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, handler): (_, Handler) = (Arc::clone(&seen), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream, api, &log, &handler));
            }
        });
        Engine { folder, seen }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("e.sock")
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The requests so far but for pings; they are forgotten.
    pub fn take(&self) -> Vec<Seen> {
        let mut all = std::mem::take(&mut *self.seen.lock().unwrap());
        all.retain(|s| !s.target.contains("_ping"));
        all
    }
}

fn serve(stream: UnixStream, api: &str, log: &Mutex<Vec<Seen>>, handler: &Handler) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut parts = line.split(' ');
        let (method, target) = (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned());
        let (mut headers, mut length, mut chunked) = (String::new(), 0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let header = header.trim_end().to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            chunked |= header == "transfer-encoding: chunked";
            headers.push_str(&header);
            headers.push('\n');
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        if chunked {
            body = chunks(&mut reader);
        }
        let seen = Seen { method, target, body: String::from_utf8_lossy(&body).into_owned(), headers };
        log.lock().unwrap().push(seen.clone());
        if seen.target.contains("_ping") {
            let head = format!(
                "HTTP/1.1 200 OK\r\nApi-Version: {api}\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n"
            );
            writer.write_all(head.as_bytes()).unwrap();
            continue;
        }
        match handler(&seen) {
            Answer::Json(status, text) => {
                let body = if status == 204 { String::new() } else { text };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                writer.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
            Answer::Stream { first, echo } => {
                let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\
                            Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
                writer.write_all(head.as_bytes()).unwrap();
                writer.write_all(&first).unwrap();
                if echo {
                    let mut input = Vec::new();
                    reader.read_to_end(&mut input).unwrap();
                    writer.write_all(&frame(1, &input)).unwrap();
                }
                return;
            }
        }
    }
}

fn chunks(reader: &mut impl BufRead) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut part = vec![0; size + 2];
        reader.read_exact(&mut part).unwrap();
        if size == 0 {
            return out;
        }
        out.extend_from_slice(&part[..size]);
    }
}

/// A frame of a multiplexed stream.
pub fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![stream, 0, 0, 0];
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
    out
}

/// What a command line did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs ours under the name `program`.
pub fn ours(program: &str, args: &[&str], stdin: &str) -> Outcome {
    let transport = || Err("no engine in this test".to_owned());
    ours_with(program, args, stdin, Box::new(transport))
}

pub fn ours_with(program: &str, args: &[&str], stdin: &str, in_process: cli::InProcess) -> Outcome {
    let file = || -> &'static File { Box::leak(Box::new(tempfile::tempfile().unwrap())) };
    let (input, out, err) = (file(), file(), file());
    let mut writer: &File = input;
    writer.write_all(stdin.as_bytes()).unwrap();
    writer.rewind().unwrap();
    let environment = cli::Environment {
        program: program.to_owned(),
        build: cli::Build { version: "28.2.2".into(), commit: "e6534b4".into(), time: String::new() },
        stdio: cli::Stdio { stdin: input.as_fd(), stdout: out.as_fd(), stderr: err.as_fd() },
        in_process,
        local_commands: Vec::new(),
    };
    let args: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
    let code = cli::main(&args, environment);
    let text = |mut file: &File| {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    };
    // Docker's CLI has no hints; what they say is tested beside them.
    let err = text(err).split_inclusive('\n').filter(|line| !line.starts_with("hint: ")).collect();
    Outcome { code, out: text(out), err }
}

/// Docker's own CLI, if this machine has the version we compare with; `TARE_TEST_DOCKER_CLI` names another.
pub fn docker() -> Option<PathBuf> {
    let cache = std::env::var("TARE_TEST_CACHE").unwrap_or_else(|_| "/var/cache/tare-tests".to_owned());
    let named = std::env::var("TARE_TEST_DOCKER_CLI").ok();
    let places =
        ["/usr/local/bin/docker".to_owned(), "/usr/bin/docker".to_owned(), cache + "/oracle/usr/bin/docker"];
    let found = named.into_iter().chain(places).map(PathBuf::from).find(|path| {
        let output = Command::new(path).arg("--version").output();
        output.is_ok_and(|o| o.stdout.starts_with(b"Docker version 28."))
    });
    if found.is_none() {
        eprintln!("not compared: this machine has no Docker CLI 28");
    }
    found
}

/// Runs Docker's CLI.
pub fn theirs(docker: &Path, args: &[&str], stdin: &str) -> Outcome {
    let mut child = Command::new(docker)
        .args(args)
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
