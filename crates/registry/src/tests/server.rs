//! A registry in a few lines: answers as it should unless told to lie about a path.

use oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One image.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) manifest: Vec<u8>,
    pub(super) media_type: &'static str,
    pub(super) config: Vec<u8>,
    pub(super) blobs: Vec<Vec<u8>>,
    /// The manifest that an index leads to.
    inner: Option<Vec<u8>>,
}

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// The offset of a Range header.
    pub(super) range: usize,
}

#[derive(Default)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    breaking: Option<usize>,
    stalling: Option<usize>,
}

type Lie = fn(&Content, &Request) -> Reply;

struct State {
    content: Mutex<Content>,
    lies: Mutex<HashMap<String, Lie>>,
    requests: AtomicUsize,
    blobs: AtomicUsize,
}

pub(super) struct Server {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

impl Content {
    /// An image of these plain layers, compressed with gzip.
    pub(super) fn image(layers: &[Vec<u8>]) -> Self {
        let gzip = |layer: &Vec<u8>| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(layer).unwrap();
            gzip.finish().unwrap()
        };
        let mut content = Content {
            manifest: Vec::new(),
            media_type: media_type::OCI_MANIFEST,
            config: Vec::new(),
            blobs: layers.iter().map(gzip).collect(),
            inner: None,
        };
        content.set_config(&layers.iter().map(|l| Digest::sha256(l)).collect::<Vec<_>>());
        content
    }

    pub(super) fn set_config(&mut self, diff_ids: &[Digest]) {
        let host = Platform::host();
        let mut config =
            oci::ImageConfig { os: host.os, architecture: host.architecture, ..Default::default() };
        config.rootfs.diff_ids = diff_ids.iter().cloned().map(oci::DiffId).collect();
        self.config = serde_json::to_vec(&config).unwrap();
        self.set_blobs(self.blobs.clone());
    }

    pub(super) fn set_blobs(&mut self, blobs: Vec<Vec<u8>>) {
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.into(),
            artifact_type: None,
            config: Descriptor::of(media_type::OCI_CONFIG, &self.config),
            layers: blobs.iter().map(|b| Descriptor::of(media_type::OCI_LAYER_GZIP, b)).collect(),
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        self.manifest = serde_json::to_vec(&manifest).unwrap();
        self.blobs = blobs;
    }

    /// An index with one image for this platform.
    pub(super) fn index_for(platform: &str, layers: &[Vec<u8>]) -> Self {
        let mut content = Content::image(layers);
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &content.manifest);
        descriptor.platform = Some(Platform::parse(platform).unwrap());
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            artifact_type: None,
            manifests: vec![descriptor],
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        };
        content.inner = Some(std::mem::take(&mut content.manifest));
        content.manifest = serde_json::to_vec(&index).unwrap();
        content.media_type = media_type::OCI_INDEX;
        content
    }

    pub(super) fn schema1() -> Self {
        let mut content = Content::image(&[]);
        content.manifest = br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec();
        content.media_type = media_type::DOCKER_SCHEMA1_SIGNED;
        content
    }
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    pub(super) fn ok(body: Vec<u8>) -> Self {
        Reply { status: 200, body, ..Reply::default() }
    }

    pub(super) fn manifest(content: &Content, _: &Request) -> Self {
        Reply::ok(content.manifest.clone())
            .header("Content-Type", content.media_type)
            .header("Docker-Content-Digest", Digest::sha256(&content.manifest).as_str())
    }

    /// A blob, from where the request wants it.
    pub(super) fn blob(bytes: &[u8], request: &Request) -> Self {
        let from = request.range.min(bytes.len());
        let reply = Reply::ok(bytes[from..].to_vec());
        if from == 0 {
            return reply;
        }
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        Reply { status: 206, ..reply }.header("Content-Range", &range)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Closes the connection in the middle of the body.
    pub(super) fn breaking_after(mut self, bytes: usize) -> Self {
        self.breaking = Some(bytes);
        self
    }

    /// Sends nothing more, and does not close.
    pub(super) fn stalling_after(mut self, bytes: usize) -> Self {
        self.stalling = Some(bytes);
        self
    }
}

impl Server {
    pub(super) async fn start(content: Content) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            content: Mutex::new(content),
            lies: Mutex::default(),
            requests: AtomicUsize::new(0),
            blobs: AtomicUsize::new(0),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Server { address, state }
    }

    pub(super) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// From now on this answers requests whose path ends so.
    pub(super) fn lie(&self, path: &str, lie: Lie) {
        self.state.lies.lock().unwrap().insert(path.to_owned(), lie);
    }

    pub(super) fn replace(&self, content: Content) {
        *self.state.content.lock().unwrap() = content;
    }

    pub(super) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    pub(super) fn blobs_served(&self) -> usize {
        self.state.blobs.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
            // A TLS record: this server speaks none, and ends as most do.
            if head == [0x16] {
                return None;
            }
        }
        let request = parse(&String::from_utf8(head).unwrap());
        state.requests.fetch_add(1, Ordering::Relaxed);
        if request.path.contains("/blobs/") {
            state.blobs.fetch_add(1, Ordering::Relaxed);
        }
        let content = state.content.lock().unwrap().clone();
        let lie =
            state.lies.lock().unwrap().iter().find(|(p, _)| request.path.ends_with(*p)).map(|(_, l)| *l);
        let reply = lie.map_or_else(|| honest(&content, &request), |lie| lie(&content, &request));
        let body = if request.method == "HEAD" { &[][..] } else { &reply.body };
        let mut head = format!("HTTP/1.1 {} -\r\n", reply.status);
        if !reply.headers.iter().any(|(n, _)| n == "Content-Length") {
            head += &format!("Content-Length: {}\r\n", reply.body.len());
        }
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.ok()?;
        let cut = reply.breaking.or(reply.stalling).unwrap_or(usize::MAX).min(body.len());
        stream.write_all(&body[..cut]).await.ok()?;
        if cut < body.len() {
            if reply.stalling.is_some() {
                std::future::pending::<()>().await;
            }
            return None;
        }
    }
}

fn parse(head: &str) -> Request {
    let mut words = head.split(' ');
    let range =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    Request {
        method: words.next().unwrap().to_owned(),
        path: words.next().unwrap().to_owned(),
        range: range.map_or(0, |r| r.trim_end_matches('-').parse().unwrap()),
    }
}

fn honest(content: &Content, request: &Request) -> Reply {
    let last = request.path.rsplit('/').next().unwrap();
    if request.path.contains("/manifests/") {
        if let Some(inner) = &content.inner
            && Digest::sha256(inner).as_str() == last
        {
            return Reply::ok(inner.clone()).header("Content-Type", media_type::OCI_MANIFEST);
        }
        if !last.starts_with("sha256:") || Digest::sha256(&content.manifest).as_str() == last {
            return Reply::manifest(content, request);
        }
        return Reply::status(404);
    }
    let blobs = content.blobs.iter().chain([&content.config]);
    match blobs.into_iter().find(|b| Digest::sha256(b).as_str() == last) {
        Some(bytes) => Reply::blob(bytes, request),
        None => Reply::status(404),
    }
}

/// A tar header of one empty file with this name, which no builder would write.
pub(super) fn tar_bytes(name: &str) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[156] = b'0';
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
