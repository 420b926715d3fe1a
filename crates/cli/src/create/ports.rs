//! `-p`: Docker's forms of a published port.
//!
//! `[[ip:]hostPort:]containerPort[/proto]`, where a port may be a range, and the long form
//! `published=8080,target=80,protocol=tcp`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::network::PortBinding;

use crate::grammar::numbers;

/// A range yields at most this many ports: all there are.
const MAX_PORTS: u32 = 65_536;

/// Container ports (`80/tcp`) and where they are published.
pub fn parse(specs: &[String]) -> Result<BTreeMap<String, Vec<PortBinding>>, String> {
    let mut out: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for spec in specs {
        let short = if spec.contains('=') { long_form(spec)? } else { spec.clone() };
        for (port, binding) in one(&short)? {
            out.entry(port).or_default().push(binding);
        }
    }
    Ok(out)
}

/// `--expose`: a port or a range of ports, as `80/tcp`. What a protocol may be is the engine's business.
pub fn exposed(specs: &[String]) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for spec in specs {
        if spec.contains(':') {
            return Err(format!("invalid port format for --expose: {spec}"));
        }
        let (ports, protocol) = spec.split_once('/').unwrap_or((spec, ""));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        let (first, last) = exposed_range(ports)
            .map_err(|e| format!("invalid range format for --expose: {spec}, error: {e}"))?;
        out.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(out)
}

fn exposed_range(text: &str) -> Result<(u64, u64), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let mut parts = text.split('-');
    let port = |part: Option<&str>| part.map(numbers::parse_port).transpose();
    let first = port(parts.next())?.unwrap_or_default();
    let last = port(parts.next())?.unwrap_or(first);
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

fn long_form(spec: &str) -> Result<String, String> {
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for part in spec.split(',') {
        match part.split_once('=') {
            None | Some(("", _)) => {
                return Err(format!("invalid publish opts format (should be name=value but got '{part}')"));
            }
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some(_) => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn one(spec: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (ip, host, container) = parts(spec);
    let (port, protocol) = match container.split_once('/') {
        _ if container.is_empty() || container.starts_with('/') => ("", ""),
        Some((port, "")) => (port, "tcp"),
        Some((port, rest)) => (port, rest.split('/').next().unwrap_or(rest)),
        None => (container, "tcp"),
    };
    let ip = address(ip)?;
    if port.is_empty() {
        return Err(format!("no port specified: {spec}<empty>"));
    }
    let (first, last) = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    if let Some((from, to)) = hosts
        && to - from != last - first
        && first != last
    {
        return Err(format!("invalid ranges specified for container and host Ports: {port} and {host}"));
    }
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {}", container.split('/').nth(1).unwrap_or("")));
    }
    let mut out = Vec::new();
    for step in 0..=(last - first).min(MAX_PORTS) {
        let host_port = match hosts {
            None => String::new(),
            // One container port may be published on whichever host port of a range is free.
            Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
            Some((from, _)) => (from + step).to_string(),
        };
        let binding = PortBinding { host_ip: ip.to_owned(), host_port };
        out.push((format!("{}/{protocol}", first + step), binding));
    }
    Ok(out)
}

/// Host address, host port, container port.
fn parts(spec: &str) -> (&str, &str, &str) {
    match spec.rsplit_once(':') {
        None => ("", "", spec),
        Some((head, container)) => match head.rsplit_once(':') {
            None => ("", head, container),
            Some((ip, host)) => (ip, host, container),
        },
    }
}

fn address(ip: &str) -> Result<&str, String> {
    let bare = match ip.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']').unwrap_or((rest, "?"));
            let problem = match after {
                "" => None,
                _ if !rest.contains(']') => Some("missing ']' in address"),
                after if after.starts_with(':') => Some("too many colons in address"),
                _ => Some("missing port in address"),
            };
            if let Some(problem) = problem {
                return Err(format!("invalid IP address {ip}: address {ip}:: {problem}"));
            }
            inside
        }
        None => ip,
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(bare)
}

/// `80` or `8000-9000`.
fn range(text: &str) -> Option<(u32, u32)> {
    let port = |t: &str| t.parse::<u16>().ok().filter(|_| !t.starts_with('+')).map(u32::from);
    let Some((first, rest)) = text.split_once('-') else {
        let port = port(text)?;
        return Some((port, port));
    };
    let last = rest.split('-').next()?;
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(specs: &[&str]) -> String {
        let specs: Vec<String> = specs.iter().map(|s| (*s).to_owned()).collect();
        match parse(&specs) {
            Err(text) => format!("! {text}"),
            Ok(map) => {
                let one = |b: &PortBinding| format!("{}:{}", b.host_ip, b.host_port);
                map.iter()
                    .map(|(p, b)| format!("{p}={}", b.iter().map(one).collect::<Vec<_>>().join(",")))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        }
    }

    #[test]
    fn forms() {
        for (specs, want) in [
            (&["80"][..], "80/tcp=:"),
            (&["8080:80"], "80/tcp=:8080"),
            (&["8080:80/udp"], "80/udp=:8080"),
            (&["8080:80/SCTP"], "80/sctp=:8080"),
            (&["127.0.0.1:8080:80"], "80/tcp=127.0.0.1:8080"),
            (&["127.0.0.1::80"], "80/tcp=127.0.0.1:"),
            (&["[::1]:8080:80"], "80/tcp=::1:8080"),
            (&["::1:8080:80"], "80/tcp=::1:8080"),
            (&["80", "8080:80"], "80/tcp=:,:8080"),
            (&["8000-8002:80-82"], "80/tcp=:8000 81/tcp=:8001 82/tcp=:8002"),
            (&["8000-8010:80"], "80/tcp=:8000-8010"),
            (&["80-81"], "80/tcp=: 81/tcp=:"),
            (&["published=8080,target=80"], "80/tcp=:8080"),
            (&["published=8080,target=80,protocol=udp"], "80/udp=:8080"),
            (&["a"], "! invalid containerPort: a"),
            (&["a:80"], "! invalid hostPort: a"),
            (&["99999:1"], "! invalid hostPort: 99999"),
            (&["80/foo"], "! invalid proto: foo"),
            (&["8080:"], "! no port specified: 8080:<empty>"),
            (&[""], "! no port specified: <empty>"),
            (&["a:b:c:d"], "! invalid IP address: a:b"),
            (&["1.2.3:1:2"], "! invalid IP address: 1.2.3"),
            (
                &["8000-8001:80-82"],
                "! invalid ranges specified for container and host Ports: 80-82 and 8000-8001",
            ),
            (&["82-80"], "! invalid containerPort: 82-80"),
            (&["a=b,c"], "! invalid publish opts format (should be name=value but got 'c')"),
        ] {
            assert_eq!(shown(specs), want, "{specs:?}");
        }
    }
}
