//! [`Vm`]: a whole machine with Debian 12's stock kernel on pure cgroup v2, for what namespaces cannot show.
//!
//! QEMU emulates it: /dev/kvm, where there is one, boots no stock kernel on the machines that the tests run on
//! (TARE_TEST_VM_ACCEL=kvm tries it where it may).
//! It has no network card: all traffic is inside it. Its disks have no names on the host (O_TMPFILE, or a temporary
//! file that QEMU unlinks), and it dies with the test that started it, so a killed test leaves nothing behind.
//! Many cases share one boot: a container start is some twenty times slower than on the host.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::command::Output;
use crate::{cache, host};

pub mod state;

const QEMU: &str = "qemu-system-x86_64";
/// An emulator beside other tests on few cores boots in 5 to 40 seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// A script in the machine that has not ended by then is killed there.
const SCRIPT_LIMIT: Duration = Duration::from_secs(90);
/// No machine lives longer, whatever happens to the test that started it.
const LIFE_LIMIT: Duration = Duration::from_secs(600);
/// What the agent needs beyond a script's limit before the machine counts as hung.
const AGENT_GRACE: Duration = Duration::from_secs(30);
/// Kept of the kernel's console, for messages.
const CONSOLE_LINES: usize = 40;

/// The root disk of a machine.
#[derive(Debug)]
pub enum Disk {
    /// The cache's image; writes go to a temporary file that dies with the machine.
    Throwaway,
    /// A copy without a name that outlives a power cut: the machine's writes reach it past the host's page cache.
    Kept(File),
}

impl Disk {
    /// A fresh copy of the cache's root disk.
    pub fn kept() -> Result<Disk> {
        let copy = nameless()?;
        let image = cache::dir().join("vm/root.img");
        let target = format!("/proc/self/fd/{}", copy.as_raw_fd());
        // cp finds the holes; a child has our descriptor only by way of our own folder in /proc.
        let target = target.replace("self", &std::process::id().to_string());
        cache::debian::run(Command::new("cp").arg("--sparse=always").arg(&image).arg(target))?;
        Ok(Disk::Kept(copy))
    }

    fn options(&self) -> String {
        match self {
            Disk::Throwaway => {
                format!("file={},snapshot=on,cache=unsafe", cache::dir().join("vm/root.img").display())
            }
            Disk::Kept(file) => format!("file={},cache=none", path_of(file)),
        }
    }
}

/// A running machine.
#[derive(Debug)]
pub struct Vm {
    qemu: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    console: Arc<Mutex<Vec<String>>>,
    /// How long the boot took, until the first command could be sent.
    pub boot_time: Duration,
    /// Whether the machine has stopped answering.
    lost: bool,
    _programs: File,
}

impl Vm {
    /// Whether this host can run one; the reason is printed when not.
    pub fn can_boot() -> bool {
        check_host().map_err(|why| host::skip(&why)).is_ok()
    }

    /// Boots a machine, or gives `None` with the reason printed where this host cannot run one.
    pub fn boot(disk: &Disk) -> Option<Vm> {
        if !Vm::can_boot() {
            return None;
        }
        Some(Vm::try_boot(disk).unwrap_or_else(|error| panic!("the virtual machine: {error:#}")))
    }

    /// Runs a shell script as root in the machine.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> Output {
        self.run(script).unwrap_or_else(|error| {
            self.lost = true;
            panic!("$ {script}\n{error:#}")
        })
    }

    /// Whether the machine has stopped answering: nothing more can be asked of it.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Cuts the power: nothing that the machine has not written reaches its disk.
    pub fn cut_power(mut self) {
        self.kill();
    }

    /// The last lines of the kernel's console.
    pub fn console(&self) -> String {
        self.console.lock().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    fn try_boot(disk: &Disk) -> Result<Vm> {
        let start = Instant::now();
        let programs = programs()?;
        let mut qemu = qemu_command(disk, &programs).spawn().context("start qemu")?;
        let commands = qemu.stdin.take().context("no stdin")?;
        let (send, answers) = sync_channel(1);
        let stdout = BufReader::new(qemu.stdout.take().context("no stdout")?);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let console = Arc::new(Mutex::new(Vec::new()));
        let (shared, stderr) =
            (Arc::clone(&console), BufReader::new(qemu.stderr.take().context("no stderr")?));
        std::thread::spawn(move || keep_last_lines(stderr, &shared));
        let mut vm = Vm {
            qemu,
            commands,
            answers,
            console,
            boot_time: Duration::ZERO,
            lost: false,
            _programs: programs,
        };
        let greeting = vm.answer(BOOT_LIMIT).context("boot")?;
        ensure!(greeting == "ready", "the machine says {greeting:?} instead of ready\n{}", vm.console());
        vm.boot_time = start.elapsed();
        Ok(vm)
    }

    fn run(&mut self, script: &str) -> Result<Output> {
        let line = format!("{}:{}\n", SCRIPT_LIMIT.as_secs(), BASE64.encode(script));
        self.commands.write_all(line.as_bytes()).context("send a script")?;
        let answer = self.answer(SCRIPT_LIMIT + AGENT_GRACE)?;
        let mut parts = answer.split(':');
        let mut part = || parts.next().context("the agent's answer is cut off");
        let code = part()?.parse().context("the agent's exit code")?;
        let text = |encoded: &str| -> Result<String> {
            Ok(String::from_utf8_lossy(&BASE64.decode(encoded).context("the agent's output")?).into_owned())
        };
        let (stdout, stderr) = (text(part()?)?, text(part()?)?);
        Ok(Output::new(script, stdout, &stderr, code))
    }

    fn answer(&mut self, limit: Duration) -> Result<String> {
        match self.answers.recv_timeout(limit) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                bail!("no answer after {limit:?}; console:\n{}", self.console())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the machine ended; console:\n{}", self.console()),
        }
    }

    fn kill(&mut self) {
        if let (Ok(None), Some(pid)) = (self.qemu.try_wait(), Pid::from_raw(self.qemu.id().cast_signed())) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.qemu.wait();
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}

fn check_host() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the virtual machine's packages are for x86_64".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("virtual machines need root".into());
    }
    if !has_program(QEMU) {
        return Err(format!("{QEMU} is not installed: run `cargo xtask test`"));
    }
    if !cache::dir().join("vm/root.img").exists() {
        return Err(format!("{}/vm is not built: run `cargo xtask test`", cache::dir().display()));
    }
    std::env::var_os("TARE_BIN_DIR").map(|_| ()).ok_or("TARE_BIN_DIR is not set".to_string())
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// The two guards: `setpriv` ties each process to its parent's life, `timeout` bounds the life.
fn qemu_command(disk: &Disk, programs: &File) -> Command {
    let vm = cache::dir().join("vm");
    let file = |name: &str| vm.join(name).display().to_string();
    let tie = ["--pdeathsig", "KILL", "--"];
    let limit = LIFE_LIMIT.as_secs().to_string();
    let mut command = Command::new("setpriv");
    command.args(tie).args(["timeout", "--foreground", "--signal=KILL", &limit]);
    command.arg("setpriv").args(tie).arg(QEMU);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"]);
    let accel = std::env::var("TARE_TEST_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".to_string());
    command.args(["-machine", "q35", "-accel", &accel, "-cpu", "max", "-smp", "2", "-m", "2048"]);
    command.args(["-kernel", &file("vmlinuz"), "-initrd", &file("initrd")]);
    // Without no_timer_check the kernel may panic when the emulator is slow.
    command.args(["-append", "console=ttyS0 no_timer_check panic=-1 quiet"]);
    for options in [disk.options(), format!("file={},readonly=on", path_of(programs))] {
        command.args(["-drive", &format!("if=virtio,format=raw,{options}")]);
    }
    command.args(["-chardev", "stdio,id=agent,signal=off", "-device", "virtio-serial-pci"]);
    command.args(["-device", "virtserialport,chardev=agent,name=agent"]);
    command.args(["-chardev", "file,id=console,path=/dev/stderr", "-serial", "chardev:console"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

/// The programs under test as a tar in a file without a name: the machine's second disk.
fn programs() -> Result<File> {
    let folder = std::env::var_os("TARE_BIN_DIR").context("TARE_BIN_DIR is not set")?;
    let mut archive = tar::Builder::new(nameless()?);
    // busybox's tar knows no sparse files.
    archive.sparse(false);
    for name in ["tare", "tare-runtime"] {
        let path = Path::new(&folder).join(name);
        archive.append_path_with_name(&path, name).with_context(|| format!("pack {}", path.display()))?;
    }
    let mut file = archive.into_inner().context("pack the programs")?;
    file.flush()?;
    Ok(file)
}

fn nameless() -> Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let dir = cache::dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(&dir, flags, Mode::from_raw_mode(0o600))
        .with_context(|| format!("open a temporary file in {}", dir.display()))?;
    Ok(File::from(file))
}

/// A path by which another process of root's opens the same file.
fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

fn keep_last_lines(mut from: impl std::io::BufRead, into: &Mutex<Vec<String>>) {
    let mut line = Vec::new();
    // The console is no text: bytes that are no UTF-8 are replaced.
    while let Ok(1..) = from.by_ref().take(64 * 1024).read_until(b'\n', &mut line) {
        if let Ok(mut lines) = into.lock() {
            if lines.len() >= CONSOLE_LINES {
                lines.remove(0);
            }
            lines.push(String::from_utf8_lossy(&line).trim_end().to_string());
        }
        line.clear();
    }
}
