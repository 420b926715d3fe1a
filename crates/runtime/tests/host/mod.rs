//! A host for containers under test: a bundle with a static busybox, private mount and pid namespaces, and a cgroup
//! name of its own. Scripts run in `sh` outside of the container; `$RT` is the runtime's command line.
//!
//! Nothing is left: the pid namespace's end kills every process, and each test checks its cgroup.

#![allow(dead_code, reason = "each test file uses its part")]

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// No script may take longer.
const LIMIT_SECONDS: u32 = 60;
const BUSYBOX: &str = "/bin/busybox";
const TOOLS: [&str; 33] = [
    "sh", "true", "sleep", "cat", "ls", "id", "mount", "echo", "touch", "mkdir", "rmdir", "stat", "wc",
    "test", "tty", "stty", "readlink", "grep", "cut", "env", "head", "sort", "tr", "umask", "ln", "rm",
    "chmod", "hostname", "ip", "kill", "dd", "printf", "xargs",
];

pub struct Host {
    dir: tempfile::TempDir,
    cgroup: String,
}

/// What a script said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// `None`, with the reason printed, where this machine cannot run containers.
pub fn host(name: &str) -> Option<Host> {
    let reason = if !rustix::process::geteuid().is_root() {
        "not root"
    } else if !Path::new(BUSYBOX).exists() {
        "no static busybox: apt-get install busybox-static"
    } else {
        let dir = tempfile::tempdir().unwrap();
        let host = Host { dir, cgroup: format!("/tare-rt-{}-{name}", std::process::id()) };
        host.make_root();
        return Some(host);
    };
    assert!(std::env::var_os("TARE_TEST_STRICT").is_none(), "this test must not be skipped here: {reason}");
    println!("skipped: {reason}");
    None
}

impl Host {
    fn make_root(&self) {
        let root = self.root();
        for folder in ["bin", "proc", "sys", "dev", "etc", "tmp", "data"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for tool in TOOLS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(tool)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n")
            .unwrap();
        std::fs::write(root.join("data/file"), "image\n").unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn root(&self) -> PathBuf {
        self.path().join("bundle/rootfs")
    }

    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// A spec that runs `script` in the container's shell.
    pub fn spec(&self, script: &str) -> Value {
        json!({
            "ociVersion": "1.2.0",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": ["sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": {"path": "rootfs"},
            "hostname": "box",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "linux": {
                "cgroupsPath": self.cgroup,
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            },
        })
    }

    pub fn write_spec(&self, spec: &Value) {
        std::fs::write(self.path().join("bundle/config.json"), spec.to_string()).unwrap();
    }

    /// Runs `script` in the host's shell.
    pub fn sh(&self, script: &str) -> Said {
        let output = self.command(script).output().unwrap();
        self.said(output)
    }

    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["-k", "5", &LIMIT_SECONDS.to_string()])
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
            ])
            .args(["sh", "-c", script])
            .env("RT", format!("{} --root {}/state", runtime().display(), self.path().display()))
            .env("CG", &self.cgroup)
            .current_dir(self.path().join("bundle"))
            .stdin(std::process::Stdio::null());
        command
    }

    pub fn said(&self, output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// `run` of a container with this spec.
    pub fn run(&self, spec: &Value) -> Said {
        self.write_spec(spec);
        let said = self.sh("$RT run c");
        self.check_clean();
        said
    }

    /// No state and no cgroup is left.
    pub fn check_clean(&self) {
        let states = std::fs::read_dir(self.path().join("state")).map_or(0, Iterator::count);
        assert_eq!(states, 0, "state is left");
        let out = Command::new("find")
            .args(["/sys/fs/cgroup", "-maxdepth", "2", "-path", &format!("*{}", self.cgroup)])
            .output();
        assert_eq!(String::from_utf8_lossy(&out.unwrap().stdout), "", "a cgroup is left");
    }
}

/// The example that cargo built beside this test. `--test NAME` alone does not rebuild it: filter by `-E` instead.
fn runtime() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/tare-runtime");
    assert!(path.exists(), "{path:?} is missing: build it with `cargo test -p runtime --examples --no-run`");
    path
}

/// The last `msg="…"` of the log.
pub fn message(err: &str) -> String {
    let line = err.lines().rev().find(|line| line.contains("level=error")).unwrap_or(err);
    let text = line.split_once("msg=").map_or(line, |(_, text)| text);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).replace("\\\"", "\"")
}
