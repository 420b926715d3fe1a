//! Who holds a port that is taken.
//!
//! The engine's text names the port. Of processes that are not containers only this machine's kernel knows
//! (`/proc/net`, `/proc/PID/fd`), and of other users' processes it tells only root.

use std::fs;
use std::path::Path;

use super::Facts;

/// At most so many processes are looked at.
const MAX_PROCESSES: usize = 20_000;

/// The port and the protocol that a text says are taken.
pub(super) fn taken(text: &str) -> Option<(u16, &'static str)> {
    let number = |digits: &str| digits.parse::<u16>().ok().filter(|port| *port != 0);
    // `Bind for 0.0.0.0:8080 failed: port is already allocated`
    if let Some((before, _)) = text.split_once(" failed: port is already allocated") {
        return Some((number(before.rsplit_once(':')?.1)?, "tcp"));
    }
    // `failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use`
    let (before, _) = text.split_once(": address already in use")?;
    let (_, binding) = before.rsplit_once("failed to bind host port for ")?;
    let (addresses, protocol) = binding.rsplit_once('/')?;
    // Four parts, of which an IPv6 address in the first is in brackets.
    let port = addresses.rsplitn(3, ':').nth(2)?.rsplit_once(':')?.1;
    Some((number(port)?, if protocol == "udp" { "udp" } else { "tcp" }))
}

pub(super) fn hint(port: u16, protocol: &str, facts: &Facts) -> String {
    let other = match port.checked_add(1) {
        Some(next) => next,
        None => port - 1,
    };
    let other = format!("publish another one, as in -p {other}:CONTAINER_PORT");
    match &facts.holder {
        Some(holder) => format!("{holder} has port {port}; stop it, or {other}"),
        None => {
            let sockets = if protocol == "udp" { "-lunp" } else { "-ltnp" };
            format!("`ss {sockets} 'sport = :{port}'`, as root, shows who has port {port}; or {other}")
        }
    }
}

/// The process that listens on a port, as `pid 7 (nginx)`. `proc` is where procfs is mounted.
pub(super) fn holder(proc: &Path, port: u16, protocol: &str) -> Option<String> {
    let sockets: Vec<String> =
        ["", "6"].iter().flat_map(|family| listening(proc, &format!("{protocol}{family}"), port)).collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir(proc).ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found = pids.take(MAX_PROCESSES).find(|pid| {
        let entries = fs::read_dir(proc.join(format!("{pid}/fd")));
        entries.is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                fs::read_link(entry.path())
                    .is_ok_and(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
            })
        })
    })?;
    let name = fs::read_to_string(proc.join(format!("{found}/comm"))).unwrap_or_default();
    Some(format!("pid {found} ({})", name.trim_end()))
}

/// The sockets on a port, as `socket:[7]` (proc_net_tcp.rst: field 2 is the local address, 4 the state, 10 the inode).
fn listening(proc: &Path, table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let text = fs::read_to_string(proc.join("net").join(table)).unwrap_or_default();
    let sockets = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let at = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        let listens = table.starts_with("udp") || fields.get(3) == Some(&LISTEN);
        (at == port && listens).then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
    });
    sockets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_the_texts() {
        for (text, expected) in [
            ("x: Bind for 0.0.0.0:8080 failed: port is already allocated\n\nRun", Some((8080, "tcp"))),
            (
                "failed to bind host port for 0.0.0.0:53:172.17.0.2:53/udp: address already in use",
                Some((53, "udp")),
            ),
            (
                "failed to bind host port for [::]:81:172.17.0.2:80/tcp: address already in use",
                Some((81, "tcp")),
            ),
            ("bind: address already in use", None),
            ("Bind for failed: port is already allocated", None),
        ] {
            assert_eq!(taken(text), expected, "{text}");
        }
    }

    #[test]
    fn the_process_behind_a_socket_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holder(Path::new("/proc"), port, "tcp").unwrap();
        assert!(found.starts_with(&format!("pid {} (", std::process::id())), "{found}");
        drop(listener);
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(holder(Path::new("/proc"), udp.local_addr().unwrap().port(), "udp").is_some());
        assert_eq!(holder(Path::new("/nosuch"), port, "tcp"), None);
    }
}
