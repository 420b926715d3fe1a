//! The inside of a test host: the stages of the helper program `testhost-init`.
//!
//! - `supervise SPEC`: makes the host's cgroups, starts the next stage in them, waits until its
//!   standard input closes (the test is over or dead) and then removes everything.
//! - `join NAME -- CMD…`: moves itself into the host's cgroups and executes CMD; with TARE_TEST_KERNEL in the
//!   environment as on that kernel.
//! - `init SPEC`: pid 1 of the host: mounts, network, then reaps orphans until it is killed.
//! - `udp-echo PORT`: sends each datagram back; for containers, as busybox has no UDP server.
//! - `dns-serve`, `dns-ask`, `dns-storm`: a name server and its clients ([`dns`]).
//!
//! A multi-threaded test cannot unshare(2) itself, so util-linux's `unshare` and `nsenter` do that
//! between the stages. A host never outlives its supervisor (PDEATHSIG of `unshare --kill-child`), and the
//! supervisor never outlives the test (its standard input is a pipe that the test holds).

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

pub mod cgroups;
pub mod dns;
mod init;
pub mod kernel;
pub mod network;

/// The folder inside a test host that belongs to the harness.
pub const OWN_DIR: &str = "/run/testhost";

/// How a test host is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Unique name: host name and name of its group in each cgroup hierarchy.
    pub name: String,
    /// The file system below each engine's data root.
    pub data: Data,
    /// Folders of the real host that are visible in [`OWN_DIR`]: (name there, path here).
    pub binds: Vec<(String, String)>,
}

/// What an engine's data root lies on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Data {
    /// A tmpfs of so many MiB: fast, the default.
    Tmpfs(u32),
    /// An ext4 of so many MiB in a loop device, for tests of a full disk and of real syncs.
    Ext4(u32),
    /// A folder on the real disk, for benchmarks.
    Folder(String),
}

/// Runs the stage that the arguments name.
pub fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.get(1..).unwrap_or_default() {
        ["supervise", spec] => supervise(&serde_json::from_str(spec)?),
        ["join", name, "--", command @ ..] => join(name, command),
        ["init", spec] => init::run(&serde_json::from_str(spec)?),
        ["udp-echo", port] => udp_echo(port.parse()?),
        ["dns-serve", address, how] => dns::serve(address, how),
        ["dns-ask", transport, server, kind, names @ ..] => dns::ask(transport, server, kind, names),
        ["dns-storm", server, count, names @ ..] => dns::storm(server, count.parse()?, names),
        _ => bail!("usage: testhost-init supervise|join|init|udp-echo|dns-… …"),
    }
}

fn supervise(spec: &Spec) -> Result<()> {
    let own = std::env::current_exe().context("find own path")?;
    let own = own.to_str().context("own path is not UTF-8")?;
    cgroups::create(&spec.name)?;
    let mut child = Command::new(own)
        .args(["join", &spec.name, "--", "unshare"])
        .args([
            "--net",
            "--mount",
            "--uts",
            "--ipc",
            "--cgroup",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args([own, "init", &serde_json::to_string(spec)?])
        .stdin(Stdio::null())
        .spawn()
        .context("start unshare")?;
    let pid = Pid::from_raw(child.id().cast_signed()).context("pid of unshare")?;
    std::thread::spawn(move || {
        // Blocks until the test drops its end; what it sends does not matter.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = kill_process(pid, Signal::KILL);
    });
    // Ends when the test is over, or at once when the host cannot be made.
    let _ = child.wait();
    cgroups::remove(&spec.name)
}

fn udp_echo(port: u16) -> Result<()> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", port)).context("bind")?;
    let mut buffer = [0; 1500];
    loop {
        let (count, sender) = socket.recv_from(&mut buffer).context("receive")?;
        socket.send_to(&buffer[..count], sender).context("send")?;
    }
}

fn join(name: &str, command: &[&str]) -> Result<()> {
    cgroups::join(name)?;
    let (program, args) = command.split_first().context("join: no command")?;
    if let Ok(version) = std::env::var(kernel::VARIABLE) {
        kernel::pretend(&version)?;
    }
    Err(Command::new(program).args(args).exec()).with_context(|| format!("execute {program}"))
}
