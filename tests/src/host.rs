//! [`TestHost`]: one private machine per test, made in milliseconds and gone with the value.
//!
//! Commands enter it through `testhost-init join` (cgroups) and `nsenter` (namespaces). All that a test
//! does is a command line that a person could type; files are also reached through [`TestHost::path`].

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::command::{self, Background, DEFAULT_LIMIT, Output};
use crate::engine::Engine;
use crate::pty::Pty;
use crate::sandbox::network::NEIGHBOUR;
use crate::sandbox::{Data, OWN_DIR, Spec};
use crate::state::State;
use crate::{cache, wait};

/// Address of the registry in a test host.
pub const REGISTRY: &str = "127.0.0.1:5000";

const MAKE_ATTEMPTS: u32 = 3;

/// A running test host.
#[derive(Debug)]
pub struct TestHost {
    name: String,
    supervisor: Child,
    init_pid: u32,
    helper: PathBuf,
    env: Vec<(String, String)>,
    servers: RefCell<Vec<Background>>,
}

impl TestHost {
    /// A host with the default data root, or `None` with the reason printed where this machine cannot run one.
    pub fn new() -> Option<TestHost> {
        TestHost::with_data(Data::Tmpfs(4096))
    }

    /// A host with data roots of the given kind.
    pub fn with_data(data: Data) -> Option<TestHost> {
        if let Err(why) = check_machine() {
            skip(&why);
            return None;
        }
        Some(TestHost::make(data))
    }

    /// Sets an environment variable for all that runs in the host from now on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.env.push((name.to_string(), value.to_string()));
    }

    /// Keeps a server running until the host goes.
    pub fn keep(&self, server: Background) {
        self.servers.borrow_mut().push(server);
    }

    /// Name of the host and of its cgroups.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Path of the helper program in the host; `udp-echo PORT` is for use in containers.
    pub fn helper(&self) -> String {
        let name = self.helper.file_name().unwrap_or_default().display();
        format!("{OWN_DIR}/helper/{name}")
    }

    /// Pid of the host's process 1, as seen from outside.
    pub fn init_pid(&self) -> u32 {
        self.init_pid
    }

    /// A path in the host, as it can be opened from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init_pid))
    }

    /// Runs a shell command line in the host.
    #[track_caller]
    pub fn sh(&self, line: &str) -> Output {
        self.run(&["sh", "-c", line], b"", DEFAULT_LIMIT)
    }

    /// Runs a program in the host.
    #[track_caller]
    pub fn run(&self, args: &[&str], input: &[u8], limit: Duration) -> Output {
        command::run(self.command(args), &typed(args), input, limit)
    }

    /// Runs `tare`.
    #[track_caller]
    pub fn tare(&self, args: &[&str]) -> Output {
        self.cli(Engine::Tare, args)
    }

    /// Runs Docker's CLI against dockerd.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> Output {
        self.cli(Engine::Docker, args)
    }

    /// Runs the engine's CLI.
    #[track_caller]
    pub fn cli(&self, engine: Engine, args: &[&str]) -> Output {
        self.cli_with_input(engine, args, b"")
    }

    /// Runs the engine's CLI with something on its standard input.
    #[track_caller]
    pub fn cli_with_input(&self, engine: Engine, args: &[&str], input: &[u8]) -> Output {
        let (command, typed) = self.cli_command(engine, args);
        command::run(command, &typed, input, DEFAULT_LIMIT)
    }

    /// Runs a shell line in which `$E` is the engine's CLI.
    #[track_caller]
    pub fn sh_with(&self, engine: Engine, line: &str) -> Output {
        let mut command = self.command(&["sh", "-c", line]);
        set_engine(&mut command, engine);
        command::run(command, line, b"", DEFAULT_LIMIT)
    }

    /// As [`TestHost::sh_with`], but a line that does not end in time is killed and comes back as an error.
    #[track_caller]
    pub fn sh_within(&self, engine: Engine, line: &str, limit: Duration) -> Result<Output, Output> {
        let mut command = self.command(&["sh", "-c", line]);
        set_engine(&mut command, engine);
        command::run_within(command, line, b"", limit)
    }

    /// Starts a shell line beside the test; `$E` is the engine's CLI.
    #[track_caller]
    pub fn spawn_with(&self, engine: Engine, line: &str) -> Background {
        let mut command = self.command(&["sh", "-c", line]);
        set_engine(&mut command, engine);
        Background::start(command, line)
    }

    /// Starts a shell line beside the test.
    #[track_caller]
    pub fn spawn(&self, line: &str) -> Background {
        Background::start(self.command(&["sh", "-c", line]), line)
    }

    /// Runs a shell command line on the neighbour machine.
    #[track_caller]
    pub fn neighbour(&self, line: &str) -> Output {
        let netns = format!("--net=/run/netns/{NEIGHBOUR}");
        let args = ["nsenter", &netns, "--", "sh", "-c", line];
        command::run(self.command(&args), &format!("(neighbour) {line}"), b"", DEFAULT_LIMIT)
    }

    /// Starts a shell line on the neighbour machine.
    #[track_caller]
    pub fn spawn_on_neighbour(&self, line: &str) -> Background {
        let netns = format!("--net=/run/netns/{NEIGHBOUR}");
        Background::start(self.command(&["nsenter", &netns, "--", "sh", "-c", line]), line)
    }

    /// Runs the engine's CLI on a terminal.
    #[track_caller]
    pub fn pty(&self, engine: Engine, args: &[&str]) -> Pty {
        let (command, typed) = self.cli_command(engine, args);
        Pty::start(command, &typed)
    }

    /// Starts the daemon that the engine needs, and waits until it answers.
    #[track_caller]
    pub fn start(&self, engine: Engine) {
        match engine {
            Engine::Docker => self.start_dockerd(),
            Engine::Socket => self.start_tare_daemon(),
            Engine::Tare => {}
        }
    }

    /// The same with settings: what stands in `daemon.json`, as JSON.
    #[track_caller]
    pub fn start_with(&self, engine: Engine, settings: &str) {
        match engine {
            Engine::Docker => self.start_dockerd_with(settings),
            Engine::Socket | Engine::Tare => {
                self.write("/etc/tare/daemon.json", settings);
                self.start(engine);
            }
        }
    }

    /// Starts the reference, dockerd with the containerd image store, and checks its version.
    #[track_caller]
    pub fn start_dockerd(&self) {
        self.start_dockerd_with("{}");
    }

    #[track_caller]
    fn start_dockerd_with(&self, settings: &str) {
        let config = format!("{OWN_DIR}/dockerd.json");
        let mut all: serde_json::Value = serde_json::from_str(settings).expect("settings are JSON");
        all["features"]["containerd-snapshotter"] = true.into();
        self.write(&config, &all.to_string());
        let line = format!(
            // As docker.service has it (LimitCORE): containers inherit it.
            "ulimit -c unlimited; exec dockerd --log-level warn --config-file {config} --init-path {OWN_DIR}/cache/oracle/usr/bin/docker-init \
             >{OWN_DIR}/dockerd.log 2>&1"
        );
        self.servers.borrow_mut().push(self.spawn(&line));
        let version = self.wait_for_api("/run/docker.sock", "dockerd.log");
        let expected = format!("\"Version\":\"{}", cache::ORACLE_VERSION);
        assert!(version.contains(&expected), "the oracle is not {}: {version}", cache::ORACLE_VERSION);
    }

    /// Starts `tare daemon`.
    #[track_caller]
    pub fn start_tare_daemon(&self) {
        let daemon = self.spawn(&format!("exec tare daemon >>{OWN_DIR}/tare-daemon.log 2>&1"));
        self.servers.borrow_mut().push(daemon);
        self.wait_for_api("/run/tare/tare.sock", "tare-daemon.log");
    }

    /// Starts docker-registry on [`REGISTRY`] with all images of the cache; pushes to it stay in the host.
    #[track_caller]
    pub fn start_registry(&self) {
        let dir = format!("{OWN_DIR}/registry");
        let log = format!("{OWN_DIR}/registry.log");
        let setup = format!(
            "mkdir -p {dir}/upper {dir}/work {dir}/data && mount -t overlay overlay -o \
             lowerdir={OWN_DIR}/cache/registry-data,upperdir={dir}/upper,workdir={dir}/work {dir}/data"
        );
        self.sh(&setup).ok();
        self.write(
            &format!("{dir}/config.yml"),
            &format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {dir}/data}}}}\n\
                 http: {{addr: \"{REGISTRY}\"}}\n"
            ),
        );
        let line = format!("exec docker-registry serve {dir}/config.yml >{log} 2>&1");
        self.servers.borrow_mut().push(self.spawn(&line));
        let port = REGISTRY.rsplit_once(':').map_or("5000", |(_, port)| port);
        assert!(self.wait_for_listener(port), "registry: {}", self.read(&log));
    }

    /// Ends the server that was started last (the registry, a daemon) with SIGKILL.
    pub fn kill_last_server(&self) {
        drop(self.servers.borrow_mut().pop());
    }

    /// Waits until something listens on a TCP port in the host.
    pub fn wait_for_listener(&self, port: &str) -> bool {
        let Ok(port) = port.parse::<u16>() else { return false };
        let wanted = format!(":{port:04X} ");
        wait::until(Duration::from_secs(20), || {
            ["tcp", "tcp6"].iter().any(|table| {
                let table =
                    fs::read_to_string(format!("/proc/{}/net/{table}", self.init_pid)).unwrap_or_default();
                // Field 2 is the local address, field 4 the state: 0A is LISTEN (proc_net_tcp.rst).
                table.lines().any(|line| {
                    let fields: Vec<&str> = line.split_whitespace().collect();
                    fields.get(3) == Some(&"0A")
                        && fields.get(1).is_some_and(|at| format!("{at} ").contains(&wanted))
                })
            })
        })
    }

    /// Writes a file in the host.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let outside = self.path(path);
        if let Some(parent) = outside.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("create the folder of {path}: {error}"));
        }
        fs::write(&outside, content).unwrap_or_else(|error| panic!("write {path}: {error}"));
    }

    /// Reads a file in the host; empty when it is not there.
    pub fn read(&self, path: &str) -> String {
        fs::read(self.path(path))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What exists in the host now that an engine could leave behind.
    pub fn state(&self) -> State {
        State::of(self)
    }

    /// Asserts that within a few seconds nothing is left that was not there `before`.
    #[track_caller]
    pub fn settles_to(&self, before: &State) {
        let mut left = Vec::new();
        wait::until(Duration::from_secs(5), || {
            left = self.state().minus(before);
            left.is_empty()
        });
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    /// A command that will run in the host.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.helper);
        command
            .args(["join", &self.name, "--", "nsenter", "--target", &self.init_pid.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"])
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    fn cli_command(&self, engine: Engine, args: &[&str]) -> (Command, String) {
        let all: Vec<&str> = std::iter::once(engine.cli()).chain(args.iter().copied()).collect();
        let mut command = self.command(&all);
        set_engine(&mut command, engine);
        (command, typed(&all))
    }

    /// A machine under load may refuse one (a busy loop device, a slow `ip`): that is no test's failure.
    #[track_caller]
    fn make(data: Data) -> TestHost {
        let made = (1..=MAKE_ATTEMPTS).find_map(|attempt| {
            let host = TestHost::try_make(&data);
            if host.is_none() {
                eprintln!("attempt {attempt}: the test host did not come up; see its messages above");
            }
            host
        });
        made.unwrap_or_else(|| panic!("no test host in {MAKE_ATTEMPTS} attempts"))
    }

    fn try_make(data: &Data) -> Option<TestHost> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tt-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let helper = helper_path();
        let beside = helper.parent().unwrap_or(Path::new("/")).display().to_string();
        let mut binds =
            vec![("cache".to_string(), cache::dir().display().to_string()), ("helper".to_string(), beside)];
        binds.extend(std::env::var("TARE_BIN_DIR").ok().map(|dir| ("bin".to_string(), dir)));
        let scratch = match data {
            Data::Folder(folder) => Some(folder.clone()),
            _ => None,
        };
        binds.extend(scratch.into_iter().map(|folder| ("scratch".to_string(), folder)));
        let folder = Data::Folder("scratch".into());
        let data = if matches!(data, Data::Folder(_)) { folder } else { data.clone() };
        let spec = Spec { name: name.clone(), data, binds };
        let spec = serde_json::to_string(&spec).expect("a spec is plain data");
        let mut supervisor = Command::new(&helper)
            .args(["supervise", &spec])
            .env_clear()
            .env("PATH", SYSTEM_PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", helper.display()));
        let mut line = String::new();
        if let Some(stdout) = supervisor.stdout.as_mut() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        if line != "ready\n" {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
            return None;
        }
        let init_pid = only_child(supervisor.id()).and_then(only_child).expect("process 1 of the test host");
        Some(TestHost { name, supervisor, init_pid, helper, env: environment(), servers: RefCell::default() })
    }

    /// Asks for `/version` until it is answered, and gives the answer.
    #[track_caller]
    fn wait_for_api(&self, socket: &str, log: &str) -> String {
        let socket = self.path(socket);
        let mut answer = String::new();
        let up = wait::until(Duration::from_secs(30), || {
            answer = get_version(&socket).unwrap_or_default();
            answer.starts_with("HTTP/1.1 200")
        });
        assert!(up, "no answer on {}; log:\n{}", socket.display(), self.read(&format!("{OWN_DIR}/{log}")));
        answer
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["dockerd.log", "tare-daemon.log"] {
                let text = self.read(&format!("{OWN_DIR}/{log}"));
                let from = text.lines().count().saturating_sub(20);
                for line in text.lines().skip(from) {
                    eprintln!("{log}: {line}");
                }
            }
        }
        self.servers.borrow_mut().clear();
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Prints why a test does nothing on this machine. Where skips are not expected (CI), it fails instead.
pub fn skip(why: &str) {
    assert!(std::env::var_os("TARE_TEST_STRICT").is_none(), "this test must not be skipped here: {why}");
    println!("SKIPPED: {why}");
}

const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn check_machine() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("test hosts need root".into());
    }
    if !cache::is_complete() {
        return Err(format!("{} is not built: run `cargo xtask test`", cache::dir().display()));
    }
    Ok(())
}

/// The helper lies in the target folder, one level above the test programs.
fn helper_path() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let found =
        own.ancestors().skip(1).take(2).map(|dir| dir.join("testhost-init")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no testhost-init beside {}", own.display()))
}

fn environment() -> Vec<(String, String)> {
    let oracle = format!("{OWN_DIR}/cache/oracle/usr");
    let tools = format!("{OWN_DIR}/cache/tools/usr");
    let path = format!(
        "{OWN_DIR}/bin:{oracle}/sbin:{oracle}/bin:{tools}/sbin:{tools}/bin:{OWN_DIR}/cache/tools/bin:{SYSTEM_PATH}"
    );
    let pairs = [
        ("PATH", path.as_str()),
        ("HOME", &format!("{OWN_DIR}/home")),
        ("LANG", "C.UTF-8"),
        ("TERM", "xterm"),
        ("USER", "root"),
    ];
    pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
}

fn set_engine(command: &mut Command, engine: Engine) {
    command.env("E", engine.cli());
    if let Some(docker_host) = engine.docker_host() {
        command.env("DOCKER_HOST", docker_host);
    }
}

fn only_child(parent: u32) -> Option<u32> {
    let wanted = format!("PPid:\t{parent}");
    let entries = fs::read_dir("/proc").ok()?;
    entries.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        status.lines().any(|line| line == wanted).then_some(pid)
    })
}

fn get_version(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn typed(args: &[&str]) -> String {
    let quote = |arg: &&str| match arg.contains(|c: char| c.is_whitespace() || "'\"{}$|;".contains(c))
        || arg.is_empty()
    {
        true => format!("'{arg}'"),
        false => (*arg).to_string(),
    };
    args.iter().map(quote).collect::<Vec<_>>().join(" ")
}
