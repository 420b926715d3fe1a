//! An engine that only records: it answers each request of a command line with something that lets the command go on,
//! and keeps what was asked. It has every image and every container, and each container ends at once with code 0.
//!
//! With it Docker's CLI tells what it sends for a command line, without dockerd and without root.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The API version that is announced; a client that speaks it uses paths below `/v1.51`.
pub const API_VERSION: &str = "1.51";

/// A longer head or body is not a command line's.
const MAX_LEN: u64 = 16 << 20;

/// One request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `POST`
    pub method: String,
    /// The path without its version: `/containers/create`.
    pub path: String,
    /// The query, still encoded.
    pub query: String,
    /// The body, if it is JSON.
    pub body: Option<Value>,
}

impl Request {
    /// Whether a pair is in the query, encoded as it was sent.
    pub fn has_pair(&self, pair: &str) -> bool {
        self.query.split('&').any(|p| p == pair)
    }
}

/// A listening recorder; its folder goes with it.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    /// Listens on a socket in a folder of its own.
    pub fn start() -> io::Result<Recorder> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tare-recorder-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorder = Recorder { folder, seen: Arc::clone(&seen) };
        let listener = UnixListener::bind(recorder.folder.join("engine.sock"))?;
        // The thread ends with the process; a connection made after the folder is gone cannot come.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || serve(&stream, &seen));
            }
        });
        Ok(recorder)
    }

    /// A folder for files that command lines name.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// For `-H`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.join("engine.sock").display())
    }

    /// The requests since the last call, pings left out.
    pub fn take(&self) -> Vec<Request> {
        let mut seen = match self.seen.lock() {
            Ok(mut seen) => std::mem::take(&mut *seen),
            Err(_) => Vec::new(),
        };
        seen.retain(|request| request.path != "/_ping");
        seen
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn serve(stream: &UnixStream, seen: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.take(MAX_LEN));
    // A client that goes away is no failure of the recorder's.
    while let Ok(Some(request)) = read(&mut reader) {
        let answer = answer(&request);
        if let Ok(mut seen) = seen.lock() {
            seen.push(request);
        }
        let mut writer = stream;
        if writer.write_all(&answer.bytes).is_err() || answer.last {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let versioned = path.strip_prefix("/v").and_then(|p| p.find('/').map(|at| &p[at..]));
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        chunked |= header == "transfer-encoding: chunked";
    }
    let body = if chunked { chunks(reader)? } else { exactly(reader, length)? };
    Ok(Some(Request {
        method: method.to_owned(),
        path: versioned.unwrap_or(path).to_owned(),
        query: query.to_owned(),
        body: serde_json::from_slice(&body).ok(),
    }))
}

fn exactly(reader: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if reader.take(length).read_to_end(&mut out)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(out)
}

fn chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let part = exactly(reader, size)?;
        exactly(reader, 2)?;
        if size == 0 {
            return Ok(out);
        }
        out.extend(part);
    }
}

struct Answer {
    bytes: Vec<u8>,
    /// The connection is not used for another request.
    last: bool,
}

fn answer(request: &Request) -> Answer {
    const CONTAINER: &str = r#"{"Id":"c1","Name":"/c1","Config":{"Tty":false,"OpenStdin":true},
        "State":{"Status":"running","Running":true,"ExitCode":0},"HostConfig":{},"NetworkSettings":{}}"#;
    let (method, path) = (request.method.as_str(), request.path.as_str());
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, &parts[..]) {
        (_, ["_ping"]) => json(200, ""),
        (_, ["version"]) => json(200, r#"{"Version":"28.5.2","ApiVersion":"1.51","Os":"linux"}"#),
        (_, ["info"]) => json(200, r#"{"ID":"recorder","OSType":"linux","ServerVersion":"28.5.2"}"#),
        (_, ["containers", "create"]) => json(201, r#"{"Id":"c1","Warnings":[]}"#),
        ("GET", [.., "json"]) if path == "/containers/json" || path == "/images/json" => json(200, "[]"),
        ("GET", ["containers", _, "json"]) => json(200, CONTAINER),
        (_, ["containers", _, "attach"]) | (_, ["exec", _, "start"]) if is_hijack(request) => Answer {
            bytes: b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\
                     Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                .to_vec(),
            last: true,
        },
        (_, ["containers", _, "wait"]) => json(200, r#"{"StatusCode":0}"#),
        (_, ["containers", _, "logs"]) => json(200, ""),
        (_, ["containers", _, "exec"]) => json(201, r#"{"Id":"e1"}"#),
        ("GET", ["exec", ..]) => json(200, r#"{"ID":"e1","ExitCode":0}"#),
        ("GET", ["images", "search"] | ["images", _, "history"]) => json(200, "[]"),
        ("POST", ["commit"]) => json(201, r#"{"Id":"sha256:0"}"#),
        ("GET", ["system", "df"]) => json(200, "{}"),
        ("PUT" | "GET", ["containers", _, "archive" | "export"]) => json(200, ""),
        (_, ["auth"]) => json(200, r#"{"Status":"Login Succeeded"}"#),
        ("GET", ["images", ..]) => json(200, r#"{"Id":"sha256:0","RepoTags":[]}"#),
        ("DELETE", ["images", ..]) => json(200, "[]"),
        ("POST", ["images", ..]) => json(200, "{}"),
        ("GET", ["containers", _, "stats"]) | ("POST", ["containers", _, "update"]) => json(200, "{}"),
        ("GET", ["events"]) => json(200, ""),
        ("POST", ["volumes", "create"]) => json(201, r#"{"Name":"v1"}"#),
        ("GET", ["volumes"]) => json(200, r#"{"Volumes":[]}"#),
        ("GET", ["volumes", _]) => json(200, r#"{"Name":"v1"}"#),
        ("POST", ["volumes", "prune"] | ["networks", "prune"] | ["containers", "prune"]) => json(200, "{}"),
        ("POST", ["networks", "create"]) => json(201, r#"{"Id":"n1"}"#),
        ("GET", ["networks"]) => json(200, "[]"),
        ("GET", ["networks", _]) => json(200, r#"{"Id":"n1","Name":"n1"}"#),
        _ => json(204, ""),
    }
}

/// An exec that is started in the background is not attached to.
fn is_hijack(request: &Request) -> bool {
    request.body.as_ref().and_then(|body| body.get("Detach")).and_then(Value::as_bool) != Some(true)
}

fn json(status: u16, body: &str) -> Answer {
    let head = format!(
        "HTTP/1.1 {status} Recorded\r\nApi-Version: {API_VERSION}\r\nOstype: linux\r\nServer: Recorder\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Answer { bytes: format!("{head}{body}").into_bytes(), last: false }
}
