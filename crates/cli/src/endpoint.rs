//! Which engine a command speaks to (DESIGN, "One engine, one API, three doors").
//!
//! A choice that somebody made is followed, and its failure is an error. Without a choice it is the
//! daemon's socket if a daemon answers there, and else the engine in this process.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use api::Transport;

/// The daemon's socket.
pub const DEFAULT_SOCKET: &str = "/run/tare/tare.sock";

/// The port of an address without one.
const DEFAULT_PORT: u16 = 2375;

/// What was said about the engine.
#[derive(Debug, Default)]
pub struct Choice {
    /// Values of `-H`.
    pub hosts: Vec<String>,
    /// `--context`
    pub context: String,
    /// The configuration's context, when it counts.
    pub config_context: String,
}

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// One that was asked for.
    Chosen(Address),
    /// The daemon of this machine.
    Daemon,
    /// The engine in this process.
    InProcess,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix://…`
    Unix(PathBuf),
    /// `tcp://host:port`
    Tcp(String),
}

impl Address {
    /// As a transport.
    pub fn transport(self) -> Transport {
        match self {
            Address::Unix(path) => Transport::Unix(path),
            Address::Tcp(address) => Transport::Tcp(address),
        }
    }
}

/// Decides; `variable` reads the environment.
pub fn resolve(choice: &Choice, variable: impl Fn(&str) -> Option<String>) -> Result<Endpoint, String> {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty());
    if choice.hosts.len() > 1 {
        return Err("Specify only one -H".to_owned());
    }
    if let Some(host) = choice.hosts.first() {
        if !choice.context.is_empty() {
            return Err("conflicting options: cannot specify both --host and --context".to_owned());
        }
        return parse(host).map(Endpoint::Chosen);
    }
    named_context("--context", &choice.context)?;
    if choice.context.is_empty() {
        if let Some(host) = set("TARE_HOST").or_else(|| set("DOCKER_HOST")) {
            if set("DOCKER_TLS_VERIFY").is_some() && host.starts_with("tcp://") {
                return Err("DOCKER_TLS_VERIFY is set, but TLS is not available yet".to_owned());
            }
            return parse(&host).map(Endpoint::Chosen);
        }
        named_context("DOCKER_CONTEXT", &set("DOCKER_CONTEXT").unwrap_or_default())?;
        named_context("currentContext", &choice.config_context)?;
    }
    Ok(match UnixStream::connect(DEFAULT_SOCKET) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Endpoint::InProcess
        }
        _ => Endpoint::Daemon,
    })
}

fn named_context(origin: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name == "default" {
        return Ok(());
    }
    Err(format!("{origin} {name:?}: contexts other than default are not available yet"))
}

/// Reads an address as `DOCKER_HOST` has it.
pub fn parse(host: &str) -> Result<Address, String> {
    let host = host.trim();
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    match scheme {
        "unix" => Ok(Address::Unix(PathBuf::from(if rest.is_empty() { DEFAULT_SOCKET } else { rest }))),
        "tcp" | "http" => {
            let address = rest.trim_end_matches('/');
            if address.is_empty() || address.contains('/') {
                return Err(format!("invalid bind address format: {host}"));
            }
            let has_port = address.rsplit_once(':').is_some_and(|(head, port)| {
                !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !is_bare_v6(head)
            });
            Ok(Address::Tcp(if has_port { address.to_owned() } else { format!("{address}:{DEFAULT_PORT}") }))
        }
        "ssh" | "npipe" | "fd" => Err(format!("{scheme}:// is not available yet: {host}")),
        _ => Err(format!("invalid bind address format: {host}")),
    }
}

/// `::1` cut at its last colon: the tail is not a port.
fn is_bare_v6(head: &str) -> bool {
    head.contains(':') && !head.starts_with('[')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("unix:///var/run/docker.sock", "Unix(\"/var/run/docker.sock\")"),
            ("unix://", "Unix(\"/run/tare/tare.sock\")"),
            ("tcp://127.0.0.1:2375", "Tcp(\"127.0.0.1:2375\")"),
            ("tcp://10.0.0.1", "Tcp(\"10.0.0.1:2375\")"),
            ("10.0.0.1:5", "Tcp(\"10.0.0.1:5\")"),
            ("tcp://[::1]:99/", "Tcp(\"[::1]:99\")"),
            ("tcp://[::1]", "Tcp(\"[::1]:2375\")"),
            ("http://h:1", "Tcp(\"h:1\")"),
        ] {
            assert_eq!(format!("{:?}", parse(text).unwrap()), want, "{text}");
        }
        for (text, want) in [
            ("bad://", "invalid bind address format: bad://"),
            ("tcp://", "invalid bind address format: tcp://"),
            ("ssh://me@host", "ssh:// is not available yet: ssh://me@host"),
        ] {
            assert_eq!(parse(text).unwrap_err(), want);
        }
    }

    #[test]
    fn a_choice_is_followed_in_order() {
        let vars = |set: &'static [(&'static str, &'static str)]| {
            move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let host = |h: &str| Choice { hosts: vec![h.to_owned()], ..Choice::default() };
        let both: &[(&str, &str)] = &[("TARE_HOST", "unix:///t"), ("DOCKER_HOST", "unix:///d")];
        for (choice, env, want) in [
            (host("unix:///h"), both, Ok("/h")),
            (Choice::default(), both, Ok("/t")),
            (Choice::default(), &both[1..], Ok("/d")),
            (
                Choice { hosts: vec!["a".into(), "b".into()], ..Choice::default() },
                both,
                Err("Specify only one -H"),
            ),
            (
                Choice { context: "x".into(), ..Choice::default() },
                both,
                Err("--context \"x\": contexts other than default are not available yet"),
            ),
            (
                Choice { context: "x".into(), ..host("h") },
                both,
                Err("conflicting options: cannot specify both --host and --context"),
            ),
            (
                Choice { config_context: "x".into(), ..Choice::default() },
                &[],
                Err("currentContext \"x\": contexts other than default are not available yet"),
            ),
            (
                Choice::default(),
                &[("DOCKER_HOST", "tcp://1.2.3.4:5"), ("DOCKER_TLS_VERIFY", "1")],
                Err("DOCKER_TLS_VERIFY is set, but TLS is not available yet"),
            ),
        ] {
            match (resolve(&choice, vars(env)), want) {
                (Ok(Endpoint::Chosen(Address::Unix(path))), Ok(want)) => {
                    assert_eq!(path.to_str().unwrap(), want)
                }
                (Err(text), Err(want)) => assert_eq!(text, want),
                (got, want) => panic!("{got:?} instead of {want:?}"),
            }
        }
    }
}
