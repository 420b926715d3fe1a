//! What the virtual machine boots: Debian 12's own kernel, an initramfs that finds the root disk, and the root disk.
//!
//! Everything comes from packages that are unpacked, never installed: the tree has no package manager and no systemd.
//! Its process 1 is busybox's init, which starts the scripts of `tests/src/vm/guest/`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::debian::{self, Suite};

/// The suite whose stock kernel is meant: Debian 12, Linux 6.1.
const SUITE: &str = "bookworm";
/// The package that names the newest kernel of the suite.
const KERNEL_META: &str = "linux-image-cloud-amd64";
/// What a person has at hand on a small Debian machine.
const PACKAGES: [&str; 17] = [
    "base-files",
    "busybox-static",
    "coreutils",
    "curl",
    "dash",
    "findutils",
    "grep",
    "iproute2",
    "kmod",
    "libc-bin",
    "mawk",
    "mount",
    "nftables",
    "procps",
    "sed",
    "strace",
    "util-linux",
];
/// Loaded before there is a root file system; their dependencies are looked up.
const EARLY_MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_console"];
/// What no test needs of a kernel package and a tree; size is time.
const UNNEEDED: [&str; 16] = [
    "boot",
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl",
    "usr/share/perl5",
    "usr/share/zoneinfo",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share/i18n",
    "usr/share/gdb",
    "var/lib/dpkg",
    "var/cache",
];
const UNNEEDED_MODULES: [&str; 9] = [
    "drivers/gpu",
    "drivers/infiniband",
    "drivers/net/ethernet",
    "drivers/scsi",
    "drivers/hv",
    "drivers/usb",
    "fs/btrfs",
    "fs/xfs",
    "sound",
];
const ROOT_SIZE: &str = "3G";

const INIT: &str = include_str!("../vm/guest/init.sh");
const SETUP: &str = include_str!("../vm/guest/setup.sh");
const AGENT: &str = include_str!("../vm/guest/agent.sh");
const INITTAB: &str =
    "::sysinit:/etc/vm/setup\n::once:/etc/vm/agent\n::ctrlaltdel:/bin/busybox poweroff -f\n";

/// Builds `out/{vmlinuz,initrd,root.img}` from the packages and the other stages of the cache in `cache`.
pub fn build(cache: &Path, work: &Path, out: &Path) -> Result<()> {
    let suite = Suite::open(SUITE, &work.join("vm-apt"))?;
    let tree = work.join("vm-tree");
    debian::unpack(&suite.download_with_dependencies(&PACKAGES)?, &tree)?;
    let meta = suite.download(&[KERNEL_META])?;
    let kernel = suite.download(&[&kernel_package(meta.first().context("no kernel package")?)?])?;
    debian::unpack(&kernel, &tree)?;
    let release = only_entry(&tree.join("lib/modules"))?;
    fs::create_dir_all(out)?;
    fs::copy(tree.join(format!("boot/vmlinuz-{release}")), out.join("vmlinuz")).context("copy the kernel")?;
    let modules = tree.join("lib/modules").join(&release);
    for unneeded in UNNEEDED_MODULES {
        let _ = fs::remove_dir_all(modules.join("kernel").join(unneeded));
    }
    for unneeded in UNNEEDED {
        let _ = fs::remove_dir_all(tree.join(unneeded));
    }
    debian::run(Command::new("chroot").arg(&tree).args(["/sbin/depmod", &release]))?;
    write_initrd(&tree, &modules, &out.join("initrd"))?;
    furnish(cache, &tree)?;
    let image = out.join("root.img");
    debian::run(Command::new("truncate").args(["--size", ROOT_SIZE]).arg(&image))?;
    // Nothing is left to be initialised while a test runs.
    let options = "lazy_itable_init=0,lazy_journal_init=0";
    debian::run(
        Command::new("mkfs.ext4")
            .args(["-q", "-F", "-N", "65536", "-m", "0", "-E", options, "-d"])
            .arg(&tree)
            .arg(&image),
    )?;
    fs::remove_dir_all(&tree).context("remove the tree")
}

/// The package that the meta package depends on: `linux-image-6.1.0-56-cloud-amd64`.
fn kernel_package(meta: &Path) -> Result<String> {
    let output = Command::new("dpkg-deb").arg("--field").arg(meta).arg("Depends").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let name = text.split([' ', ',', '\n']).find(|word| word.starts_with("linux-image-6.1"));
    name.map(str::to_string).with_context(|| format!("{KERNEL_META} depends on no 6.1 kernel: {text}"))
}

/// Files of the tree's own: the programs of other stages, the images, and what an installation would have written.
fn furnish(cache: &Path, tree: &Path) -> Result<()> {
    for (from, to) in [
        ("oracle/usr/bin/docker", "usr/bin/docker"),
        ("tools/usr/bin/docker-registry", "usr/bin/docker-registry"),
    ] {
        fs::copy(cache.join(from), tree.join(to)).with_context(|| format!("copy {from}"))?;
    }
    for dir in ["proc", "sys", "dev", "run", "tmp", "root", "srv", "opt/tare", "etc/vm", "var/tmp", "var/log"]
    {
        fs::create_dir_all(tree.join(dir))?;
    }
    debian::run(
        Command::new("cp").arg("-r").arg(cache.join("registry-data")).arg(tree.join("srv/registry")),
    )?;
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let text = |path: &str, content: &str, mode: u32| -> Result<()> {
        let path = tree.join(path);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(Into::into)
    };
    text("etc/vm/setup", SETUP, 0o755)?;
    text("etc/vm/agent", AGENT, 0o755)?;
    text("etc/inittab", INITTAB, 0o644)?;
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644)?;
    text("etc/group", "root:x:0:\ndisk:x:6:\nnogroup:x:65534:\n", 0o644)?;
    text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644)?;
    text("etc/hostname", "tare-vm\n", 0o644)?;
    for (link, target) in
        [("bin/sh", "dash"), ("sbin/init", "/bin/busybox"), ("etc/mtab", "/proc/self/mounts")]
    {
        let link = tree.join(link);
        let _ = fs::remove_file(&link);
        symlink(target, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

/// Busybox, `/init`, and the early modules in the order in which they are loaded.
fn write_initrd(tree: &Path, modules: &Path, to: &Path) -> Result<()> {
    let index = fs::read_to_string(modules.join("modules.dep")).context("read modules.dep")?;
    let mut archive = Cpio::new(GzEncoder::new(fs::File::create(to)?, Compression::fast()));
    for dir in ["bin", "dev", "modules", "proc", "root"] {
        archive.entry(dir, 0o040_755, b"")?;
    }
    archive.entry("bin/busybox", 0o100_755, &fs::read(tree.join("bin/busybox"))?)?;
    archive.entry("init", 0o100_755, INIT.as_bytes())?;
    for (count, path) in load_order(&index, &EARLY_MODULES)?.iter().enumerate() {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        archive.entry(&format!("modules/{count:02}-{name}"), 0o100_644, &fs::read(modules.join(path))?)?;
    }
    archive.finish()?.finish()?.sync_all().context("write the initramfs")
}

/// The wanted modules and what they need, what is needed first. modules.dep(5): `module: dependencies`, the last
/// dependency is loaded first.
fn load_order(index: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        let end = format!("/{name}.ko");
        let line = index.lines().find(|line| line.split(':').next().is_some_and(|path| path.ends_with(&end)));
        let line = line.with_context(|| format!("the kernel has no module {name}"))?;
        let (own, needed) = line.split_once(':').context("modules.dep has no colon")?;
        for path in needed.split_whitespace().rev().chain([own]) {
            if !order.iter().any(|known| known == path) {
                order.push(path.to_string());
            }
        }
    }
    Ok(order)
}

fn only_entry(dir: &Path) -> Result<String> {
    let names: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    ensure!(names.len() == 1, "{} has {} entries instead of one", dir.display(), names.len());
    Ok(names[0].file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// An archive in cpio's "newc" format, the one that the kernel unpacks (buffer-format in its documentation).
struct Cpio<W> {
    out: W,
    inode: u32,
}

impl<W: std::io::Write> Cpio<W> {
    fn new(out: W) -> Cpio<W> {
        Cpio { out, inode: 0 }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).context("a file above 4 GB")?;
        let name_size = u32::try_from(name.len() + 1)?;
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let header: String = fields.iter().map(|field| format!("{field:08X}")).collect();
        write!(self.out, "070701{header}{name}\0")?;
        self.pad(6 + header.len() + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> Result<()> {
        self.out.write_all(&[0; 3][..written.wrapping_neg() % 4]).map_err(Into::into)
    }

    fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, b"")?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let index = "kernel/a/low.ko:\nkernel/b/mid.ko: kernel/a/low.ko\nkernel/c/top.ko: kernel/b/mid.ko kernel/a/low.ko\n";
        let order = load_order(index, &["mid", "top"]).expect("all are there");
        assert_eq!(order, ["kernel/a/low.ko", "kernel/b/mid.ko", "kernel/c/top.ko"]);
        assert!(load_order(index, &["op"]).is_err());
    }

    #[test]
    fn an_archive_is_aligned() {
        let mut archive = Cpio::new(Vec::new());
        archive.entry("a", 0o100_644, b"12345").expect("memory");
        let bytes = archive.finish().expect("memory");
        assert!(bytes.starts_with(b"070701") && bytes.len() % 4 == 0);
        // The header has 110 bytes; name and content begin at multiples of four.
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..117], b"12345");
        assert!(bytes[120..].starts_with(b"070701"));
    }
}
