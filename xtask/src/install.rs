//! What a fresh Debian lacks: installed by apt, after asking where there is somebody to ask.

use std::io::{IsTerminal as _, Write as _};
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::shell;

/// What the programs are needed for; each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum For {
    /// Compiling and linking.
    Build,
    /// Test hosts and the reference in them.
    Test,
    /// The programs that Tare is compared with.
    Bench,
}

/// A program that shows whether the package is there.
struct Need {
    purpose: For,
    program: &'static str,
    packages: &'static [&'static str],
}

const NEEDS: &[Need] = &[
    Need { purpose: For::Build, program: "gcc", packages: &["gcc", "libc6-dev"] },
    Need { purpose: For::Build, program: "readelf", packages: &["binutils"] },
    Need { purpose: For::Test, program: "ip", packages: &["iproute2"] },
    Need { purpose: For::Test, program: "unshare", packages: &["util-linux"] },
    // dockerd, the reference, executes it.
    Need { purpose: For::Test, program: "iptables", packages: &["iptables"] },
    // To look at rules and elements; Tare itself never executes it.
    Need { purpose: For::Test, program: "nft", packages: &["nftables"] },
    // Runs on the host and in bundles.
    Need { purpose: For::Test, program: "busybox", packages: &["busybox-static"] },
    Need { purpose: For::Test, program: "curl", packages: &["curl", "ca-certificates"] },
    Need { purpose: For::Test, program: "mkfs.ext4", packages: &["e2fsprogs"] },
    Need { purpose: For::Test, program: "ps", packages: &["procps"] },
    // Fault injection and counting of system calls.
    Need { purpose: For::Test, program: "strace", packages: &["strace"] },
    // The virtual machine with Debian's own kernel.
    Need { purpose: For::Test, program: "qemu-system-x86_64", packages: &["qemu-system-x86"] },
    // Their archives and ours are exchanged; the compressions that archives come in.
    Need { purpose: For::Test, program: "skopeo", packages: &["skopeo"] },
    Need { purpose: For::Test, program: "buildah", packages: &["buildah"] },
    Need {
        purpose: For::Test,
        program: "podman",
        packages: &["podman", "conmon", "netavark", "aardvark-dns"],
    },
    Need { purpose: For::Test, program: "bzip2", packages: &["bzip2"] },
    Need { purpose: For::Test, program: "xz", packages: &["xz-utils"] },
    Need { purpose: For::Test, program: "zstd", packages: &["zstd"] },
    // Counts instructions where time is too noisy.
    Need { purpose: For::Bench, program: "valgrind", packages: &["valgrind"] },
    Need { purpose: For::Bench, program: "crun", packages: &["crun"] },
];

/// Installs what `purpose` needs and this machine lacks.
pub fn ensure(purpose: For, yes: bool) -> Result<()> {
    let packages = missing(purpose, shell::has_program);
    if packages.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    ensure!(
        shell::has_program("apt-get"),
        "these packages are missing, and there is no apt: {}",
        packages.join(" ")
    );
    ensure!(shell::is_root(), "not root, and packages are missing; run as root: {line}");
    if !yes && std::io::stdin().is_terminal() && !agrees(&line)? {
        bail!("not installed: {}", packages.join(" "));
    }
    eprintln!("+ {line}");
    apt(&["-qq", "update"])?;
    let install = ["-qq", "-y", "--no-install-recommends", "install"];
    apt(&[&install[..], &packages[..]].concat())
}

fn missing(purpose: For, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let needs = NEEDS.iter().filter(|need| need.purpose <= purpose && !has(need.program));
    needs.flat_map(|need| need.packages).copied().collect()
}

fn agrees(line: &str) -> Result<bool> {
    eprint!("This needs:\n  {line}\nRun it now? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

fn apt(args: &[&str]) -> Result<()> {
    // Another apt may be at work on this machine: wait for it.
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    // Its chatter goes to our stderr: stdout belongs to the command that is run in the end.
    shell::run(command.stdin(std::process::Stdio::null()).stdout(std::io::stderr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lacks_and_is_needed_is_asked_for() {
        assert_eq!(missing(For::Build, |_| true), Vec::<&str>::new());
        assert_eq!(missing(For::Build, |program| program != "gcc"), ["gcc", "libc6-dev"]);
        let nothing = missing(For::Test, |_| false);
        assert!(nothing.contains(&"iptables") && !nothing.contains(&"valgrind"));
        assert!(missing(For::Bench, |_| false).contains(&"valgrind"));
    }
}
