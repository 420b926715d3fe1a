//! Questions to the docker-registry behind the hub.

use std::io::Write as _;
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::wire::{Head, Reply, buffered};
use crate::host::REGISTRY;

/// Sends a request and takes the whole answer.
pub fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply> {
    let mut stream = TcpStream::connect(REGISTRY).context("connect to the registry behind the hub")?;
    let mut head = Head { first: format!("{method} {path} HTTP/1.1"), headers: Vec::new() };
    let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    if !has_host {
        head.headers.push(("host".into(), REGISTRY.into()));
    }
    head.headers.extend(headers.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string())));
    head.headers.push(("connection".into(), "close".into()));
    head.headers.push(("content-length".into(), body.len().to_string()));
    head.write(&mut stream)?;
    stream.write_all(body)?;
    let mut reader = buffered(stream);
    let answer = Head::read(&mut reader)?.context("no answer from the registry behind the hub")?;
    // The length of a HEAD is that of a body that does not come.
    let body = if method == "HEAD" { Vec::new() } else { answer.body(&mut reader)? };
    let kept = |name: &str| !matches!(name, "connection" | "transfer-encoding");
    let mut headers: Vec<(String, String)> =
        answer.headers.iter().filter(|(name, _)| kept(name)).cloned().collect();
    if method != "HEAD" {
        headers.retain(|(name, _)| name != "content-length");
    }
    Ok(Reply { status: answer.second().parse().context("status")?, headers, body })
}

/// A document or blob that must be there.
pub fn get(path: &str, accept: &str) -> Result<Vec<u8>> {
    let reply = ask("GET", path, &[("accept", accept)], b"")?;
    ensure!(reply.status == 200, "GET {path}: {}", reply.status);
    Ok(reply.body)
}

/// Stores a blob in a repository.
pub fn put_blob(repository: &str, digest: &str, bytes: &[u8]) -> Result<()> {
    let begun = ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")?;
    let place = begun.headers.iter().find(|(name, _)| name == "location").map(|(_, place)| place.clone());
    let place = place.with_context(|| format!("upload to {repository}: {}", begun.status))?;
    let path = place.find("/v2/").map_or(place.as_str(), |at| &place[at..]);
    let separator = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{separator}digest={digest}");
    let done = ask("PUT", &path, &[("content-type", "application/octet-stream")], bytes)?;
    ensure!(done.status == 201, "PUT {path}: {}", done.status);
    Ok(())
}

/// Stores a manifest or index under a tag or digest.
pub fn put_manifest(repository: &str, object: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
    let path = format!("/v2/{repository}/manifests/{object}");
    let done = ask("PUT", &path, &[("content-type", media_type)], bytes)?;
    ensure!(done.status == 201, "PUT {path}: {} {}", done.status, String::from_utf8_lossy(&done.body));
    Ok(())
}
