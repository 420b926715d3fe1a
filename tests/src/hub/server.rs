//! The hub's server: TLS on port 443 for all its names, and a proxy beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::token::{Tokens, Verdict};
use super::wire::{Head, Reply, buffered};
use super::{AUTH, CDN, ECR, ECR_USER, INDEX, NAMES, PROXY_PORT, USER, content, upstream};

/// A client that says nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT_TEXT: &str =
    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit";
/// First components of names that say how a repository behaves; behind the hub they do not exist.
const BEHAVIOURS: [&str; 6] = ["library/", "short/", "limited/", "exhausted/", "private/", "legacy/"];

#[derive(Debug)]
struct Hub {
    tokens: Tokens,
    limited: Mutex<HashMap<String, u32>>,
    log: Mutex<File>,
}

/// Runs until it is killed. Writes `ca.pem` and `requests.log` into `folder`.
pub fn run(folder: &Path) -> Result<()> {
    content::store().context("fill the registry")?;
    let config = Arc::new(certificates(folder)?);
    let log = Mutex::new(File::create(folder.join("requests.log"))?);
    let hub = Arc::new(Hub { tokens: Tokens::default(), limited: Mutex::default(), log });
    let seen = File::create(folder.join("proxy.log"))?;
    let proxy = TcpListener::bind(format!("127.0.0.1:{PROXY_PORT}"))?;
    std::thread::spawn(move || serve_proxy(&proxy, seen));
    for stream in TcpListener::bind("127.0.0.1:443")?.incoming().flatten() {
        let (hub, config) = (hub.clone(), config.clone());
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            if let Err(error) = hub.serve(stream, config) {
                eprintln!("{error:#}");
            }
        });
    }
    Ok(())
}

/// An authority and a certificate for all names by it.
fn certificates(folder: &Path) -> Result<ServerConfig> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Authority of the test hub");
    let authority_key = KeyPair::generate()?;
    let authority_cert = authority.self_signed(&authority_key)?;
    std::fs::write(folder.join("ca.pem"), authority_cert.pem())?;
    let names: Vec<String> = NAMES.iter().map(|name| (*name).to_string()).collect();
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(authority, authority_key);
    let cert = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(config)
}

/// A request as the hub looks at it.
struct Asked {
    method: String,
    host: String,
    path: String,
    query: String,
    head: Head,
    body: Vec<u8>,
}

impl Hub {
    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
        let mut stream = buffered(StreamOwned::new(ServerConnection::new(config)?, stream));
        let Some(head) = Head::read(&mut stream).context("read a request")? else { return Ok(()) };
        let body = head.body(&mut stream)?;
        let target = head.second().to_string();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let asked = Asked {
            method: head.first.split(' ').next().unwrap_or_default().to_string(),
            host: head.get("host").unwrap_or_default().to_string(),
            path: path.to_string(),
            query: query.to_string(),
            head,
            body,
        };
        let reply = self.answer(&asked)?;
        let kind = asked.head.get("authorization").and_then(|a| a.split(' ').next()).unwrap_or("none");
        let line =
            format!("{} {} {target} {} {}\n", asked.host, asked.method, kind.to_lowercase(), reply.status);
        if let Ok(mut log) = self.log.lock() {
            log.write_all(line.as_bytes())?;
        }
        reply.write(stream.get_mut(), asked.method != "HEAD")?;
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush()?;
        Ok(())
    }

    fn answer(&self, asked: &Asked) -> Result<Reply> {
        match asked.host.as_str() {
            AUTH => Ok(self.token(asked)),
            CDN => cdn(asked),
            INDEX => Ok(search(asked)),
            ECR => match basic(asked) == Some((ECR_USER.0.to_string(), ECR_USER.1.to_string())) {
                true => forward(asked),
                false => {
                    Ok(refusal(401, "UNAUTHORIZED", "no").header("www-authenticate", "Basic realm=\"ecr\""))
                }
            },
            _ => self.registry(asked),
        }
    }

    fn token(&self, asked: &Asked) -> Reply {
        let form = if asked.method == "POST" {
            String::from_utf8_lossy(&asked.body).into_owned()
        } else {
            asked.query.clone()
        };
        let pairs: Vec<(String, String)> = form
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_string(), unescape(value)))
            .collect();
        let refused = || {
            Reply::new(401, r#"{"details":"incorrect username or password"}"#)
                .header("content-type", "application/json")
        };
        let known = match (basic(asked), asked.method.as_str()) {
            (Some((user, password)), _) => {
                if (user.as_str(), password.as_str()) != USER {
                    return refused();
                }
                true
            }
            (None, "POST") => {
                let get = |name: &str| pairs.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
                if (get("username"), get("password")) != USER {
                    return refused();
                }
                true
            }
            (None, _) => false,
        };
        let scopes: Vec<String> =
            pairs.iter().filter(|(name, _)| name == "scope").map(|(_, value)| value.clone()).collect();
        let token = self.tokens.give(&scopes, known);
        Reply::new(200, format!(r#"{{"token":"{token}","access_token":"{token}","expires_in":300}}"#))
            .header("content-type", "application/json")
    }

    fn registry(&self, asked: &Asked) -> Result<Reply> {
        let rest = asked.path.strip_prefix("/v2/").unwrap_or_default();
        let at = ["/manifests/", "/blobs/", "/tags/"].iter().find_map(|part| rest.find(part));
        let repository = at.map_or("", |at| &rest[..at]);
        let writes = !matches!(asked.method.as_str(), "GET" | "HEAD");
        let actions: &[&str] = if writes { &["pull", "push"] } else { &["pull"] };
        let bearer = asked.head.get("authorization").and_then(|a| a.strip_prefix("Bearer "));
        let verdict = bearer.map(|token| self.tokens.check(token, repository, actions));
        if verdict != Some(Verdict::Good) {
            return Ok(challenge(repository, actions, verdict));
        }
        if let Some(reply) = self.behaviour(repository, asked) {
            return Ok(reply);
        }
        if asked.method == "GET" && rest.contains("/blobs/sha256:") {
            return Ok(Reply::new(307, "").header("location", format!("https://{CDN}/{rest}?signature=good")));
        }
        forward(asked)
    }

    fn behaviour(&self, repository: &str, asked: &Asked) -> Option<Reply> {
        let limit = |wait: &str| {
            refusal(429, "TOOMANYREQUESTS", LIMIT_TEXT)
                .header("retry-after", wait)
                .header("ratelimit-limit", "100;w=21600")
                .header("ratelimit-remaining", "0;w=21600")
        };
        match repository.split('/').next()? {
            "exhausted" => Some(limit("3600")),
            "limited" => {
                let mut counts = self.limited.lock().ok()?;
                let count = counts.entry(repository.to_string()).or_default();
                *count += 1;
                (*count <= 2).then(|| limit("1"))
            }
            "legacy" => {
                let body = r#"{"schemaVersion":1,"name":"legacy/old","tag":"latest","architecture":"amd64","fsLayers":[],"history":[]}"#;
                Some(
                    Reply::new(200, body)
                        .header("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
                        .header("docker-content-digest", content::digest(body.as_bytes())),
                )
                .filter(|_| asked.path.contains("/manifests/"))
            }
            _ => None,
        }
    }
}

fn challenge(repository: &str, actions: &[&str], verdict: Option<Verdict>) -> Reply {
    let mut text = format!("Bearer realm=\"https://{AUTH}/token\",service=\"registry.docker.io\"");
    if !repository.is_empty() {
        text.push_str(&format!(",scope=\"repository:{repository}:{}\"", actions.join(",")));
    }
    match verdict {
        Some(Verdict::TooLittle) => text.push_str(",error=\"insufficient_scope\""),
        Some(_) => text.push_str(",error=\"invalid_token\""),
        None => {}
    }
    refusal(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", text)
}

/// The CDN: as S3, it takes the signature in the address and no other proof beside it.
fn cdn(asked: &Asked) -> Result<Reply> {
    if asked.head.get("authorization").is_some() || asked.query != "signature=good" {
        return Ok(Reply::new(400, "Only one auth mechanism allowed"));
    }
    let path = format!("/v2{}", without_behaviour(&asked.path));
    let range = asked.head.get("range").map(|range| ("range", range));
    upstream::ask("GET", &path, range.as_slice(), b"")
}

fn search(asked: &Asked) -> Reply {
    if asked.path != "/v1/search" {
        return Reply::new(404, "");
    }
    let term =
        asked.query.split('&').find_map(|pair| pair.strip_prefix("q=")).map(unescape).unwrap_or_default();
    let results = serde_json::json!({"query": term, "num_results": 3, "results": [
        {"name": format!("team/{term}"), "description": "made by a team, with quite a long description that goes on", "star_count": 5,
         "is_official": false, "is_automated": false},
        {"name": term, "description": "the official one", "star_count": 1900, "is_official": true, "is_automated": false},
        {"name": format!("bot/{term}"), "description": "", "star_count": 0, "is_official": false, "is_automated": true},
    ]});
    Reply::new(200, results.to_string()).header("content-type", "application/json")
}

/// Hands a request on to the registry behind the hub.
fn forward(asked: &Asked) -> Result<Reply> {
    let path = match asked.path.strip_prefix("/v2/") {
        Some(rest) => format!("/v2{}", without_behaviour(&format!("/{rest}"))),
        None => asked.path.clone(),
    };
    let from = asked.query.replace("from=library%2F", "from=").replace("from=private%2F", "from=");
    let target = if from.is_empty() { path } else { format!("{path}?{from}") };
    let dropped = ["connection", "authorization", "content-length", "transfer-encoding", "expect"];
    let mut headers: Vec<(&str, &str)> = asked
        .head
        .headers
        .iter()
        .filter(|(name, _)| !dropped.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.push(("x-forwarded-proto", "https"));
    let mut reply = upstream::ask(&asked.method, &target, &headers, &asked.body)?;
    // Upload addresses lead back through the hub, under the name that was asked for.
    let behaviour = BEHAVIOURS.iter().find(|b| asked.path.starts_with(&format!("/v2/{b}")));
    for (name, value) in &mut reply.headers {
        if name == "location"
            && let Some(behaviour) = behaviour
        {
            *value = value.replacen("/v2/", &format!("/v2/{behaviour}"), 1);
        }
    }
    Ok(reply)
}

fn without_behaviour(path: &str) -> String {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = BEHAVIOURS.iter().find_map(|b| inner.strip_prefix(b)).unwrap_or(inner);
    format!("/{inner}")
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
    Reply::new(status, body).header("content-type", "application/json")
}

fn basic(asked: &Asked) -> Option<(String, String)> {
    let encoded = asked.head.get("authorization")?.strip_prefix("Basic ")?;
    let plain = String::from_utf8(decode_base64(encoded)?).ok()?;
    plain.split_once(':').map(|(user, password)| (user.to_string(), password.to_string()))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|b| *b != b'=') {
        let value = ALPHABET.iter().position(|a| *a == byte)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                out.extend(u8::from_str_radix(&hex, 16));
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A proxy that knows the way to everything: here.
fn serve_proxy(listener: &TcpListener, mut log: File) {
    for mut stream in listener.incoming().flatten() {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n")
            && head.len() < 8192
            && stream.read(&mut byte).is_ok_and(|n| n == 1)
        {
            head.push(byte[0]);
        }
        let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_string();
        let _ = writeln!(log, "{first}");
        let Ok(server) = TcpStream::connect("127.0.0.1:443") else { continue };
        if stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_err() {
            continue;
        }
        let Ok((up, down)) = stream.try_clone().and_then(|a| Ok((a, server.try_clone()?))) else { continue };
        std::thread::spawn(move || pass(up, server));
        std::thread::spawn(move || pass(down, stream));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}
