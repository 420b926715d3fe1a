//! Small questions about one container: `rename`, `top`, `port`.

use api::network::PortMap;

use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::table;

/// `rename`
pub async fn rename(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let [old, new] = &parsed.args[..] else { return Err(Error::failed("rename wants two names")) };
    let (old, new) = (old.trim(), new.trim());
    if old.is_empty() || new.is_empty() {
        return Err(Error::failed("Error: Neither old nor new names may be empty"));
    }
    let client = session.client().await?;
    if let Err(error) = client.container_rename(old, new).await {
        session.fail(&Error::from(error));
        return Err(Error::failed(format!("Error: failed to rename container named {old}")));
    }
    Ok(())
}

/// `top`
pub async fn top(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let options = parsed.args.get(1..).unwrap_or_default().join(" ");
    let found = client.container_top(&parsed.args[0], &options).await?;
    let mut text = String::new();
    for row in std::iter::once(&found.titles).chain(&found.processes) {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    session.out.line(table::columns(&text, 20, 3).trim_end_matches('\n'))
}

/// `diff`
pub async fn diff(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    for change in session.client().await?.container_changes(&parsed.args[0]).await? {
        let letter = match change.kind {
            0 => "C",
            1 => "A",
            _ => "D",
        };
        session.out.line(&format!("{letter} {}", change.path))?;
    }
    Ok(())
}

/// `port`
pub async fn port(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let name = &parsed.args[0];
    let (container, _) = client.container_inspect(name, false).await?;
    let ports = container.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let lines = match parsed.args.get(1) {
        None => all(&ports),
        Some(asked) => one(&ports, asked, name)?,
    };
    for line in lines {
        session.out.line(&line)?;
    }
    Ok(())
}

fn all(ports: &PortMap) -> Vec<String> {
    let mut lines: Vec<(u16, String)> = Vec::new();
    for (port, bindings) in ports {
        let number = port.split('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        for binding in bindings.iter().flatten() {
            let place = place(&binding.host_ip, &binding.host_port);
            lines.push((number, format!("{port} -> {place}")));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn one(ports: &PortMap, asked: &str, name: &str) -> Result<Vec<String>, Error> {
    let (number, protocol) = asked.split_once('/').unwrap_or((asked, "tcp"));
    if number.parse::<u16>().is_err() {
        let why = match number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() {
            true => "value out of range",
            false => "invalid syntax",
        };
        return Err(Error::failed(format!(
            "Error: invalid port ({number}): strconv.ParseUint: parsing {number:?}: {why}"
        )));
    }
    let bindings = ports.get(&format!("{number}/{protocol}")).cloned().flatten().unwrap_or_default();
    if bindings.is_empty() {
        return Err(Error::failed(format!("Error: No public port '{asked}' published for {name}")));
    }
    Ok(bindings.iter().map(|binding| place(&binding.host_ip, &binding.host_port)).collect())
}

/// `1.2.3.4:80`, `[::]:80`
fn place(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::network::PortBinding;

    fn ports() -> PortMap {
        let at = |ip: &str, port: &str| PortBinding { host_ip: ip.into(), host_port: port.into() };
        [
            ("9000/tcp".into(), Some(vec![at("0.0.0.0", "1"), at("::", "1")])),
            ("80/udp".into(), Some(vec![at("127.0.0.1", "2")])),
            ("99/tcp".into(), None),
        ]
        .into()
    }

    #[test]
    fn ports_are_listed_and_found() {
        assert_eq!(all(&ports()), ["80/udp -> 127.0.0.1:2", "9000/tcp -> 0.0.0.0:1", "9000/tcp -> [::]:1"]);
        assert_eq!(one(&ports(), "9000", "c").unwrap(), ["0.0.0.0:1", "[::]:1"]);
        for (asked, expected) in [
            ("99", "Error: No public port '99' published for c"),
            ("80", "Error: No public port '80' published for c"),
            ("80/x", "Error: No public port '80/x' published for c"),
            ("x", "Error: invalid port (x): strconv.ParseUint: parsing \"x\": invalid syntax"),
            (
                "70000",
                "Error: invalid port (70000): strconv.ParseUint: parsing \"70000\": value out of range",
            ),
        ] {
            assert_eq!(one(&ports(), asked, "c").unwrap_err().to_string(), expected);
        }
    }
}
