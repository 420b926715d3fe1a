//! A place for one container: folders, a root file system with the probe, a cgroup, and how to look at it.

use oci::runtime::{Linux, Memory, Mount, Namespace, NamespaceKind, Process, Resources, Root, Spec};
use shim::client::{Connection, Handed, Launch, launch};
use shim::config::{Config, Log, Port, Proto, Settings, VERSION};
use shim::exit::ExitRecord;
use shim::protocol::{Request, Response};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

/// What a container shall be.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    pub args: &'a [&'a str],
    pub program: Option<&'a [&'a str]>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub host_pid: bool,
    pub memory: Option<i64>,
    pub exit_command: bool,
    pub volatile: bool,
    pub trace: Option<OwnedFd>,
    pub port: Option<(OwnedFd, SocketAddrV4)>,
    /// Instead of one file without bounds.
    pub log: Option<Log>,
    /// A shell line instead of the one that leaves `data/exited`; its exit code may ask to be run again.
    pub helper: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    pub fn args(args: &'a [&'a str]) -> Self {
        Self { args, ..Self::default() }
    }
}

/// A place for one container; removed with all that is in it.
pub struct Place {
    dir: tempfile::TempDir,
    cgroup: String,
}

impl Place {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        for name in ["run", "data", "root", "root/proc", "root/dev"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::copy(example("probe"), dir.path().join("root/probe")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { dir, cgroup: format!("/tare-shim-test-{}-{number}", std::process::id()) }
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn launch(&self, wanted: &Wanted<'_>) -> Connection {
        self.try_launch(wanted).unwrap()
    }

    pub fn try_launch(&self, wanted: &Wanted<'_>) -> shim::Result<Connection> {
        let exe: OwnedFd = std::fs::File::open(example("shim")).unwrap().into();
        let ports: Vec<_> = wanted.port.iter().map(|(fd, _)| fd.as_fd()).collect();
        let config = self.config(wanted);
        let trace = wanted.trace.as_ref().map(AsFd::as_fd);
        launch(&Launch {
            exe: exe.as_fd(),
            config: &config,
            trace,
            handed: Handed { netns: None, ports: &ports, mounts: &[] },
        })
    }

    /// Creates and starts; returns init's pid.
    pub fn start(&self, c: &mut Connection) -> i32 {
        c.call(&Request::Create, &[], Some(LIMIT)).unwrap();
        match c.call(&Request::Start, &[], Some(LIMIT)).unwrap().0 {
            Response::Started { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    pub fn attach(&self, c: &mut Connection) -> UnixStream {
        let request = Request::Attach { stdin: true, stdout: true, stderr: true };
        let (_, mut fds) = c.call(&request, &[], Some(LIMIT)).unwrap();
        let stream = UnixStream::from(fds.remove(0));
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub fn process(&self, args: &[&str], terminal: bool) -> Box<Process> {
        let args = std::iter::once("/probe").chain(args.iter().copied()).map(str::to_owned).collect();
        let env = vec!["PATH=/bin:/usr/bin".to_string()];
        Box::new(Process { args, env, cwd: "/".into(), terminal, ..Process::default() })
    }

    pub fn exit_json(&self) -> Option<ExitRecord> {
        let dir = std::fs::File::open(self.dir.path().join("data")).unwrap();
        ExitRecord::read(dir.as_fd()).unwrap()
    }

    /// The texts of the log's entries.
    pub fn log_texts(&self) -> Vec<String> {
        std::fs::read_to_string(self.dir.path().join("data/log"))
            .unwrap()
            .lines()
            .map(|l| {
                serde_json::from_str::<serde_json::Value>(l).unwrap()["log"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    pub fn exit_command_ran(&self) -> bool {
        self.dir.path().join("data/exited").exists()
    }

    /// The shim's process has ended.
    pub fn is_gone(&self) -> bool {
        self.find_shim().is_none()
    }

    /// The shim's pid.
    pub fn shim_pid(&self) -> i32 {
        self.find_shim().unwrap()
    }

    fn find_shim(&self) -> Option<i32> {
        let run_dir = self.run_dir();
        let wanted = run_dir.as_os_str().as_encoded_bytes();
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().to_str()?.parse::<i32>().ok())
            .find(|pid| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.split(|&c| c == 0).any(|a| a == wanted))
            })
    }

    pub fn kill_shim(&self) {
        let pidfd = sys::process::pidfd(self.shim_pid()).unwrap();
        sys::process::signal(pidfd.as_fd(), 9).unwrap();
    }

    pub fn wait_until(&self, done: impl Fn() -> bool) {
        let end = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < end, "did not happen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nothing is left: no lock, no socket, no cgroup of the container.
    pub fn is_clean(&self) {
        self.wait_until(|| !shim::client::is_alive(&self.run_dir()).unwrap());
        assert!(!self.run_dir().join("shim.sock").exists() || self.exit_json().is_none());
        for hierarchy in hierarchies() {
            assert!(!hierarchy.join(&self.cgroup[1..]).join("c").exists(), "{hierarchy:?}");
        }
    }

    fn config(&self, wanted: &Wanted<'_>) -> Config {
        let path = |name: &str| self.dir.path().join(name);
        let touch = format!("touch {}", path("data/exited").display());
        let shell = |line: &str| vec!["/bin/sh".to_string(), "-c".to_string(), line.to_string()];
        let exit_command = match wanted.helper {
            Some(line) => shell(&format!("cd {}; {line}", path("data").display())),
            None if wanted.exit_command => shell(&touch),
            None => Vec::new(),
        };
        let port = |(_, target): &(OwnedFd, SocketAddrV4)| Port {
            proto: Proto::Tcp,
            splice_to: Some((*target).into()),
        };
        let settings = Settings {
            version: VERSION,
            id: "test".into(),
            data_dir: path("data"),
            run_dir: path("run"),
            cgroup_path: format!("{}/c", self.cgroup).into(),
            shim_cgroup: format!("{}/shim", self.cgroup).into(),
            tty: wanted.tty,
            open_stdin: wanted.open_stdin,
            stdin_once: wanted.stdin_once,
            log: wanted.log.clone().unwrap_or_else(|| json_file(path("data/log"))),
            exit_command,
            restarts: wanted.helper.is_some(),
            volatile: wanted.volatile,
            trace: wanted.trace.is_some(),
            ports: wanted.port.iter().map(port).collect(),
            ..Settings::default()
        };
        Config {
            settings,
            spec: self.spec(wanted),
            rootfs: Vec::new(),
            bundle: path(""),
            event: Default::default(),
            no_pivot: false,
        }
    }

    fn spec(&self, wanted: &Wanted<'_>) -> Spec {
        let mut process = *self.process(wanted.args, wanted.tty);
        if let Some(program) = wanted.program {
            process.args = program.iter().map(|&a| a.to_owned()).collect();
        }
        let kinds = [
            NamespaceKind::Mount,
            NamespaceKind::Uts,
            NamespaceKind::Ipc,
            NamespaceKind::Network,
            NamespaceKind::Pid,
        ];
        let namespaces = kinds
            .into_iter()
            .filter(|&kind| kind != NamespaceKind::Pid || !wanted.host_pid)
            .map(|kind| Namespace { kind, path: PathBuf::new() })
            .collect();
        let memory = Memory { limit: wanted.memory, swap: wanted.memory, ..Memory::default() };
        let resources = Resources { memory: wanted.memory.map(|_| memory), ..Resources::default() };
        let mount = |destination: &str, kind: &str| Mount {
            destination: destination.into(),
            kind: kind.into(),
            source: kind.into(),
            ..Mount::default()
        };
        let devpts = Mount {
            options: vec!["newinstance".into(), "ptmxmode=0666".into()],
            ..mount("/dev/pts", "devpts")
        };
        Spec {
            oci_version: oci::runtime::VERSION.into(),
            process: Some(process),
            root: Some(Root { path: self.dir.path().join("root"), readonly: false }),
            mounts: vec![mount("/proc", "proc"), mount("/dev", "tmpfs"), devpts],
            linux: Some(Linux { namespaces, resources: Some(resources), ..Linux::default() }),
            ..Spec::default()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if shim::client::is_alive(&self.run_dir()).unwrap_or(false) {
            self.kill_shim();
        }
        // What a killed shim left behind, by the way that its finder goes.
        let layout = cgroup::Layout::detect(Path::new("/")).unwrap();
        for name in ["c", "shim"] {
            if let Ok(group) = cgroup::Cgroup::open(&layout, format!("{}/{name}", self.cgroup).as_ref()) {
                let _ = group.kill();
                let _ = group.wait_empty(Duration::from_secs(10));
                let _ = group.delete();
            }
        }
        if let Ok(group) = cgroup::Cgroup::open(&layout, self.cgroup.as_ref()) {
            let _ = group.delete();
        }
    }
}

/// A json-file log without bounds.
pub fn json_file(path: PathBuf) -> Log {
    Log::JsonFile { path, max_size: None, max_file: 1, compress: Vec::new(), attrs: String::new() }
}

/// A socket bound to a free port of `::1`, not listening.
pub fn bound_v6() -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &"[::1]:0".parse::<SocketAddr>().unwrap()).unwrap();
    let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
    (socket, address)
}

/// stdout and stderr out of stdcopy frames.
pub fn unframe(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        match header[0] {
            1 => out.extend_from_slice(&rest[..length]),
            2 => err.extend_from_slice(&rest[..length]),
            _ => {}
        }
        bytes = &rest[length..];
    }
    (out, err)
}

fn hierarchies() -> Vec<PathBuf> {
    let layout = cgroup::Layout::detect(Path::new("/")).unwrap();
    layout.unified.iter().chain(&layout.legacy).map(|h| h.mount.clone()).collect()
}

/// A program that cargo built beside the tests.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}
