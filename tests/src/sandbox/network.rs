//! The network of a test host: `lo`, and `eth0` to a neighbour machine.
//!
//! The neighbour is a network namespace named `neighbour`, reached through `eth0` and nothing else. It
//! is the host's default gateway, so packets to addresses that nobody has end there.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The host's IPv4 address on `eth0` (TEST-NET-1, RFC 5737).
pub const HOST_V4: &str = "192.0.2.10";
/// The host's IPv6 address on `eth0` (documentation prefix, RFC 3849).
pub const HOST_V6: &str = "2001:db8::10";
/// The neighbour's IPv4 address.
pub const NEIGHBOUR_V4: &str = "192.0.2.1";
/// The neighbour's IPv6 address.
pub const NEIGHBOUR_V6: &str = "2001:db8::1";
/// Name of the neighbour's network namespace.
pub const NEIGHBOUR: &str = "neighbour";

/// Brings the interfaces up, in the host and in the neighbour.
pub fn set_up() -> Result<()> {
    ip(&["netns", "add", NEIGHBOUR], "")?;
    ip(
        &["-batch", "-"],
        &format!(
            "link set lo up\n\
             link add eth0 mtu 1400 type veth peer name eth0 netns {NEIGHBOUR}\n\
             addr add {HOST_V4}/24 dev eth0\n\
             addr add {HOST_V6}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via {NEIGHBOUR_V4}\n"
        ),
    )?;
    ip(
        &["-n", NEIGHBOUR, "-batch", "-"],
        &format!(
            "link set lo up\n\
             link set eth0 mtu 1400\n\
             addr add {NEIGHBOUR_V4}/24 dev eth0\n\
             addr add {NEIGHBOUR_V6}/64 dev eth0 nodad\n\
             link set eth0 up\n"
        ),
    )?;
    ip(&["-6", "route", "add", "default", "via", NEIGHBOUR_V6], "")
}

fn ip(args: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("execute ip (package iproute2)")?;
    child.stdin.take().context("stdin of ip")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
