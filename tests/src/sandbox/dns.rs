//! A name server and its clients, for tests of resolvers: as much of RFC 1035 as they need.
//!
//! - `dns-serve ADDRESS HOW`: on port 53 of the address, UDP and TCP; each name that is asked is a line of output. HOW is
//!   an address (the answer to every A), `silent`, `refuses`, or `flaps:ADDRESS` (every second datagram is lost).
//!   Names that begin with `no.` do not exist, those with `big.` have 100 addresses.
//! - `dns-ask udp|tcp SERVER TYPE NAME…`: a line per name: its code, `cut` if it was, and the answers, sorted.
//! - `dns-storm SERVER COUNT NAME…`: asks that many times, one after the other, and tells how many had no answer.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A resolver that does not answer within that time is broken: it promises five seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const KINDS: [(&str, u16); 3] = [("A", 1), ("AAAA", 28), ("PTR", 12)];
const CODES: [(&str, u16); 4] = [("ok", 0), ("failed", 2), ("none", 3), ("refused", 5)];

/// `dns-serve`.
pub fn serve(address: &str, how: &str) -> Result<()> {
    let how: Arc<str> = how.into();
    let udp = UdpSocket::bind((address, 53)).with_context(|| format!("bind {address}"))?;
    let tcp = TcpListener::bind((address, 53)).with_context(|| format!("listen on {address}"))?;
    let for_tcp = Arc::clone(&how);
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let how = Arc::clone(&for_tcp);
            std::thread::spawn(move || serve_stream(stream, &how));
        }
    });
    println!("ready");
    let mut buffer = [0; 4096];
    for number in 0_usize.. {
        let (length, from) = udp.recv_from(&mut buffer)?;
        if !(how.starts_with("flaps:") && number.is_multiple_of(2))
            && let Some(answer) = answer(&buffer[..length], &how, 512)
        {
            udp.send_to(&answer, from)?;
        }
    }
    Ok(())
}

/// `dns-ask`.
pub fn ask(transport: &str, server: &str, kind: &str, names: &[&str]) -> Result<()> {
    let kind = KINDS.iter().find(|(name, _)| *name == kind).context("type")?.1;
    for name in names {
        println!("{}", told(&exchange(transport == "tcp", server, kind, name)?)?);
    }
    Ok(())
}

/// `dns-storm`.
pub fn storm(server: &str, count: usize, names: &[&str]) -> Result<()> {
    let mut bad = BTreeMap::<String, usize>::new();
    for name in names.iter().cycle().take(count) {
        let told = match exchange(false, server, 1, name).and_then(|answer| told(&answer)) {
            Ok(told) => told,
            Err(e) => format!("{e:#}"),
        };
        if !told.starts_with("ok ") {
            *bad.entry(format!("{name}: {told}")).or_default() += 1;
        }
    }
    println!("{} of {count} without an answer", bad.values().sum::<usize>());
    for (what, times) in bad {
        println!("{times} × {what}");
    }
    Ok(())
}

fn serve_stream(mut stream: TcpStream, how: &str) -> Result<()> {
    loop {
        let question = read_message(&mut stream)?;
        if let Some(answer) = answer(&question, how, usize::from(u16::MAX)) {
            write_message(&mut stream, &answer)?;
        }
    }
}

fn answer(question: &[u8], how: &str, limit: usize) -> Option<Vec<u8>> {
    let (name, at) = read_name(question, 12)?;
    println!("{name}");
    let kind = u16_at(question, at)?;
    let (code, addresses) = match how.strip_prefix("flaps:").unwrap_or(how) {
        "silent" => return None,
        "refuses" => (5, Vec::new()),
        _ if name.starts_with("no.") => (3, Vec::new()),
        _ if kind != 1 => (0, Vec::new()),
        _ if name.starts_with("big.") => (0, (0..100).map(|n| Ipv4Addr::new(10, 99, 0, n)).collect()),
        address => (0, vec![address.parse().ok()?]),
    };
    let cut = addresses.len() * 16 + at + 4 > limit;
    let records = if cut { &[][..] } else { &addresses[..] };
    let mut message = question.get(..2)?.to_vec();
    let flags = 0x8180 | code | if cut { 0x200 } else { 0 };
    for number in [flags, 1, u16::try_from(records.len()).ok()?, 0, 0] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(question.get(12..at + 4)?);
    for address in records {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend_from_slice(&address.octets());
    }
    Some(message)
}

fn exchange(by_tcp: bool, server: &str, kind: u16, name: &str) -> Result<Vec<u8>> {
    // Of a process's own number, so that an answer to somebody else is not taken for ours.
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let mut question = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        question.push(u8::try_from(label.len())?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, kind.to_be_bytes()[0], kind.to_be_bytes()[1], 0, 1]);
    let answer = if by_tcp {
        let mut stream = TcpStream::connect((server, 53))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write_message(&mut stream, &question)?;
        read_message(&mut stream)?
    } else {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((server, 53))?;
        socket.send(&question)?;
        let mut buffer = vec![0; 65536];
        let length = socket.recv(&mut buffer)?;
        buffer.truncate(length);
        buffer
    };
    if answer.get(..2) != Some(&[high, low]) {
        bail!("an answer to another question");
    }
    Ok(answer)
}

/// An answer in words.
fn told(message: &[u8]) -> Result<String> {
    let flags = u16_at(message, 2).context("header")?;
    let code = CODES.iter().find(|(_, code)| *code == flags & 15).map_or("other", |(name, _)| name);
    let mut records = Vec::new();
    let (_, mut at) = read_name(message, 12).context("question")?;
    at += 4;
    for _ in 0..u16_at(message, 6).context("count")? {
        let (_, head) = read_name(message, at).context("record")?;
        let kind = u16_at(message, head).context("type")?;
        let length = usize::from(u16_at(message, head + 8).context("length")?);
        let data = message.get(head + 10..head + 10 + length).context("data")?;
        records.push(match (kind, data) {
            (1, data) => Ipv4Addr::from(<[u8; 4]>::try_from(data)?).to_string(),
            (28, data) => Ipv6Addr::from(<[u8; 16]>::try_from(data)?).to_string(),
            (12, _) => read_name(message, head + 10).context("name")?.0,
            _ => format!("type {kind}"),
        });
        at = head + 10 + length;
    }
    records.sort();
    let cut = (flags & 0x200 != 0).then_some("cut");
    let words = [code].into_iter().chain(cut).chain(records.iter().map(String::as_str));
    Ok(words.collect::<Vec<_>>().join(" "))
}

/// A name and where it ends.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut name, mut end, mut jumps) = (String::new(), None, 0);
    loop {
        let length = usize::from(*message.get(at)?);
        if length >= 0xc0 {
            jumps += 1;
            end = end.or(Some(at + 2));
            at = usize::from(u16_at(message, at)? & 0x3fff);
            if jumps > 20 {
                return None;
            }
            continue;
        }
        at += 1;
        if length == 0 {
            return Some((name, end.unwrap_or(at)));
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(message.get(at..at + length)?));
        at += length;
    }
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_message(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    let length = u16::try_from(message.len())?.to_be_bytes();
    Ok(stream.write_all(&[&length[..], message].concat())?)
}
