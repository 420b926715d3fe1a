//! Process 1 of a test host: gives the new namespaces the look of a fresh machine, says `ready`, and
//! then reaps orphans until it is killed.
//!
//! The root file system of the real host is read-only here; /etc, /var and /opt are overlays whose
//! changes die with the host; /run, /tmp and the data roots are file systems of its own.

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use rustix::process::{WaitOptions, wait};

use super::{Data, OWN_DIR, Spec, cgroups, network};

/// Data roots of the engines that may run in a test host.
const DATA_ROOTS: [&str; 4] =
    ["/var/lib/tare", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"];

/// Folders whose changes stay in the host.
const OVERLAID: [&str; 3] = ["/etc", "/var", "/opt"];

pub(super) fn run(spec: &Spec) -> Result<()> {
    rustix::system::sethostname(spec.name.as_bytes()).context("sethostname")?;
    let hierarchies = cgroups::hierarchies()?;
    mount_run(spec)?;
    mount_system(&hierarchies)?;
    mount_overlays()?;
    for root in DATA_ROOTS {
        mount_data(&spec.data, Path::new(root))?;
    }
    mount_fs("tmpfs", "/tmp", MountFlags::empty(), "mode=1777,size=2g")?;
    mount_fs("tmpfs", "/dev/shm", MountFlags::empty(), "mode=1777,size=256m")?;
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "").context("make / read-only")?;
    write_etc(&spec.name)?;
    network::set_up()?;
    let mut out = std::io::stdout();
    out.write_all(b"ready\n").and_then(|()| out.flush()).context("say ready")?;
    reap()
}

fn mount_run(spec: &Spec) -> Result<()> {
    // The real paths may lie below a folder that is covered later, so they are bound first.
    mount_fs("tmpfs", "/run", MountFlags::NOSUID, "mode=755,size=512m")?;
    for (name, path) in &spec.binds {
        let target = Path::new(OWN_DIR).join(name);
        fs::create_dir_all(&target)?;
        mount_bind(path.as_str(), &target).with_context(|| format!("bind {path}"))?;
    }
    for dir in ["home", "tmp"] {
        fs::create_dir_all(Path::new(OWN_DIR).join(dir))?;
    }
    fs::create_dir_all("/run/lock")?;
    Ok(())
}

/// A new sysfs (it shows the network namespace of its mount) and the cgroup hierarchies as seen from
/// the new cgroup namespace.
fn mount_system(hierarchies: &[cgroups::Hierarchy]) -> Result<()> {
    mount_fs("sysfs", "/sys", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")?;
    let plain_v2 = hierarchies.iter().any(|h| h.path == Path::new("/sys/fs/cgroup"));
    if !plain_v2 {
        mount_fs("tmpfs", "/sys/fs/cgroup", MountFlags::empty(), "mode=755")?;
    }
    for hierarchy in hierarchies {
        let target = hierarchy.path.to_str().context("cgroup path is not UTF-8")?;
        fs::create_dir_all(target)?;
        let kind = if hierarchy.version == 1 { "cgroup" } else { "cgroup2" };
        mount_fs(
            kind,
            target,
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            &hierarchy.select,
        )?;
    }
    Ok(())
}

fn mount_overlays() -> Result<()> {
    for dir in OVERLAID {
        let own = format!("{OWN_DIR}/overlay{dir}");
        for part in ["upper", "work"] {
            fs::create_dir_all(format!("{own}/{part}"))?;
        }
        let options = format!("lowerdir={dir},upperdir={own}/upper,workdir={own}/work");
        mount_fs("overlay", dir, MountFlags::empty(), &options)?;
    }
    // A fresh machine knows no other engine's files.
    for root in DATA_ROOTS {
        fs::create_dir_all(root)?;
    }
    Ok(())
}

fn mount_data(data: &Data, target: &Path) -> Result<()> {
    let path = target.to_str().context("data root is not UTF-8")?;
    match data {
        Data::Tmpfs(mib) => mount_fs("tmpfs", path, MountFlags::empty(), &format!("mode=755,size={mib}m")),
        Data::Ext4(mib) => {
            let name = target.file_name().and_then(|name| name.to_str()).unwrap_or("data");
            let image = format!("{OWN_DIR}/{name}.ext4");
            fs::File::create(&image)?.set_len(u64::from(*mib) << 20)?;
            run_tool("mkfs.ext4", &["-q", "-O", "^has_journal", "-m", "0", &image])?;
            run_tool("mount", &["-o", "loop", &image, path])
        }
        Data::Folder(folder) => {
            let name = target.file_name().and_then(|name| name.to_str()).unwrap_or("data");
            let source = Path::new(OWN_DIR).join(folder).join(name);
            fs::create_dir_all(&source)?;
            mount_bind(&source, target).with_context(|| format!("bind {}", source.display()))
        }
    }
}

fn write_etc(name: &str) -> Result<()> {
    let hosts =
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n");
    // Replaced rather than written through: on some machines these are symbolic links.
    for (path, content) in
        [("/etc/hosts", hosts), ("/etc/resolv.conf", format!("nameserver {}\n", network::NEIGHBOUR_V4))]
    {
        let _ = fs::remove_file(path);
        fs::write(path, content).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// Waits for children for ever. A host without a child sleeps: a new orphan is noticed a little later.
fn reap() -> ! {
    loop {
        if wait(WaitOptions::empty()).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn mount_fs(kind: &str, target: &str, flags: MountFlags, options: &str) -> Result<()> {
    let data = CString::new(options)?;
    mount(kind, target, kind, flags, data.as_c_str())
        .with_context(|| format!("mount {kind} at {target} ({options})"))
}

fn run_tool(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("execute {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
