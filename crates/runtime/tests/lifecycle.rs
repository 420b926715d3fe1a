//! Create, start, exec, kill, delete; hooks; terminals: the command line as engines call it.

mod host;

use host::{host, message};
use serde_json::json;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

#[test]
fn a_life() {
    let Some(host) = host("life") else { return };
    host.write_spec(&host.spec("trap 'exit 5' TERM; echo started; while :; do sleep 0.1; done"));
    let said = host.sh(r#"st() { $RT state c | grep -o '"status": "[a-z]*"'; }
        $RT create --pid-file ../pid c; st
        test "$($RT state c | grep -o '"pid": [0-9]*' | tr -dc 0-9)" = "$(cat ../pid)" && echo same
        $RT create c
        $RT start c; sleep 0.3; st
        $RT start c
        $RT exec c sh -c 'echo "$$ in $(hostname)"; exit 7'; echo "code $?"
        $RT exec -u 33:34 -g 5 --cwd /data -e A=b c sh -c 'id; pwd; echo $A'
        $RT exec c nope; echo "code $?"
        $RT exec --detach --pid-file ../pid2 c sleep 99; test -d /proc/$(cat ../pid2) && echo detached
        $RT list -q
        $RT delete c
        $RT kill c USR9
        $RT kill c TERM; sleep 0.4; st
        $RT kill c; $RT exec c true; $RT start c
        $RT delete c; $RT delete c; $RT delete --force c; echo "code $?"; $RT state c"#);
    let out = "\"status\": \"created\"\nsame\nstarted\n\"status\": \"running\"\ncode 7\nuid=33(web) gid=34 groups=5\n/data\nb\n\
               code 255\ndetached\nc\n\"status\": \"stopped\"\ncode 0";
    let lines: Vec<&str> = said.out.lines().filter(|line| !line.ends_with(" in box")).collect();
    assert_eq!(lines.join("\n"), out, "{}", said.err);
    let errors: Vec<String> = said.err.lines().map(message).collect();
    let expected = [
        "tare-runtime create failed: container with given ID already exists",
        "cannot start an already running container",
        "exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH",
        "cannot delete container c that is not stopped: running",
        "unknown signal \"USR9\"",
        "container not running",
        "exec failed: cannot exec in a stopped container",
        "cannot start a container that has stopped",
        "container does not exist",
        "container does not exist",
    ];
    assert_eq!(errors, expected);
    host.check_clean();
}

#[test]
fn creation_that_fails_leaves_nothing() {
    let Some(host) = host("fails") else { return };
    let mut spec = host.spec("true");
    spec["process"]["args"] = json!(["/nope"]);
    host.write_spec(&spec);
    let said = host.sh("$RT --log ../log --log-format json create c; echo $?; cat ../log");
    let text = "tare-runtime create failed: unable to start container process: error during container init: exec: \\\"/nope\\\": \
                stat /nope: no such file or directory";
    assert!(
        said.out.starts_with(&format!("1\n{{\"level\":\"error\",\"msg\":\"{text}\",\"time\":")),
        "{}",
        said.out
    );
    host.check_clean();
}

#[test]
fn force_deletes_what_runs_and_what_was_never_started() {
    let Some(host) = host("force") else { return };
    host.write_spec(&host.spec("sleep 99"));
    let said =
        host.sh("$RT create c; $RT delete c; echo $?; $RT run -d c; $RT delete -f c; echo $?; $RT list");
    assert_eq!(
        said.out, "0\n0\nID          PID         STATUS      BUNDLE      CREATED     OWNER",
        "{}",
        said.err
    );
    host.check_clean();
}

#[test]
fn a_killed_creator_leaves_nothing_that_delete_cannot_take() {
    let Some(host) = host("killed") else { return };
    let mut spec = host.spec("true");
    // A hook that holds create long enough to be killed in it.
    spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 20"], "env": ["PATH=/bin:/usr/bin"]}]});
    host.write_spec(&spec);
    let said = host.sh(
        "$RT create c & sleep 0.7; $RT state c | grep -o creating; kill -9 $!; wait $! 2>/dev/null; sleep 0.3
         $RT state c | grep -o stopped; $RT delete c; echo $?",
    );
    assert_eq!(said.out, "creating\nstopped\n0", "{}", said.err);
    host.check_clean();
}

#[test]
fn exit_codes_and_signals_of_run() {
    let Some(host) = host("codes") else { return };
    for (script, code) in
        [("exit 0", 0), ("exit 42", 42), ("kill -9 $$; sleep 9 & kill -9 $!; wait $!; exit $?", 137)]
    {
        assert_eq!(host.run(&host.spec(script)).code, code, "{script}");
    }
    host.write_spec(&host.spec("trap 'echo got; exit 3' HUP; echo ready; while :; do sleep 0.1; done"));
    let said = host.sh("$RT run c & sleep 0.7; kill -HUP $!; wait $!; echo $?");
    assert_eq!(said.out, "ready\ngot\n3", "{}", said.err);
    host.check_clean();
}

#[test]
fn hooks_run_in_order_with_the_state() {
    let Some(host) = host("hooks") else { return };
    let mut spec = host.spec("echo main");
    let log = host.path().join("hooks.log");
    let log = log.display();
    let hook = |name: &str, file: &str| {
        let script = format!(
            "read s; s=${{s#*'\"status\":\"'}}; echo \"{name} ${{s%%'\"'*}} $(cat /proc/self/mountinfo | wc -l)\" >> {file}"
        );
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let outside = log.to_string();
    spec["hooks"] = json!({
        "prestart": hook("prestart", &outside),
        "createRuntime": hook("createRuntime", &outside),
        "createContainer": hook("createContainer", &outside),
        "startContainer": hook("startContainer", "/hooks.log"),
        "poststart": hook("poststart", &outside),
        "poststop": hook("poststop", &outside),
    });
    let said = host.run(&spec);
    assert_eq!(said.out, "main", "{}", said.err);
    let words = |path: &std::path::Path| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_string()).collect()
    };
    let expected = [
        "prestart creating",
        "createRuntime creating",
        "createContainer creating",
        "poststart running",
        "poststop stopped",
    ];
    assert_eq!(words(&host.path().join("hooks.log")), expected);
    assert_eq!(words(&host.root().join("hooks.log")), ["startContainer created"]);
}

#[test]
fn hooks_that_fail() {
    let Some(host) = host("badhooks") else { return };
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], "timeout": 1}]);
    let prefix = "tare-runtime run failed: unable to start container process: error during container init: ";
    let cases = [
        (
            "createRuntime",
            "echo o; echo e >&2; exit 3",
            "error running createRuntime hook #0: exit status 3, stdout: o, stderr: e",
        ),
        ("prestart", "sleep 9", "error running prestart hook #0: hook ran past specified timeout of 1.0s"),
        (
            "createContainer",
            "kill -9 $$",
            "error running createContainer hook #0: signal: SIGKILL, stdout: , stderr: ",
        ),
        (
            "startContainer",
            "exit 1",
            "error running startContainer hook #0: exit status 1, stdout: , stderr: ",
        ),
        ("poststart", "exit 1", "error running poststart hook #0: exit status 1, stdout: , stderr: "),
    ];
    for (phase, script, text) in cases {
        let mut spec = host.spec("sleep 9");
        spec["hooks"] = json!({phase: hook(script)});
        let said = host.run(&spec);
        assert_eq!((said.code, message(&said.err)), (1, format!("{prefix}{text}")), "{phase}");
    }
}

#[test]
fn a_terminal_over_the_console_socket() {
    let Some(host) = host("console") else { return };
    let mut spec = host.spec("tty; stty size; stat -c %t:%T /dev/console; read line; echo \"got $line\"");
    spec["process"]["terminal"] = json!(true);
    spec["process"]["consoleSize"] = json!({"height": 11, "width": 44});
    host.write_spec(&spec);
    let path = host.path().join("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let script = format!(
        "$RT create --console-socket {} c && $RT start c && sleep 1.5; $RT delete -f c",
        path.display()
    );
    let child = host
        .command(&script)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let (mut name, mut fds) = ([0; 64], Vec::new());
    let size = sys::scm::recv(stream.as_fd(), &mut name, &mut fds, rustix::net::RecvFlags::empty()).unwrap();
    assert_eq!(&name[..size], b"/dev/ptmx");
    let mut master = std::fs::File::from(fds.pop().unwrap());
    master.write_all(b"hello\n").unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    // EIO: the container's end is closed.
    while let Ok(size @ 1..) = master.read(&mut buffer) {
        text.extend_from_slice(&buffer[..size]);
    }
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    let said = host.said(child.wait_with_output().unwrap());
    let lines: Vec<&str> = text.lines().filter(|line| *line != "hello").collect();
    assert_eq!(lines, ["/dev/pts/0", "11 44", "88:0", "got hello"], "{}", said.err);
    host.check_clean();
}

#[test]
fn a_terminal_in_the_foreground() {
    let Some(host) = host("tty") else { return };
    let mut spec = host.spec("tty; test -t 0 -a -t 1 -a -t 2 && echo all; stat -c %u /dev/pts/0; exit 9");
    spec["process"]["terminal"] = json!(true);
    spec["process"]["user"] = json!({"uid": 33, "gid": 33});
    host.write_spec(&spec);
    let said = host.sh("script -qec '$RT run c' /dev/null < /dev/null; echo $?");
    // script(1) tells its terminal the end of its own input by ^@.
    assert_eq!(said.out.replace('\r', "").replace("^@", ""), "/dev/pts/0\nall\n33\n9", "{}", said.err);
    let said = host.sh("$RT run -d c; $RT create c; $RT create --console-socket /x d");
    let texts: Vec<String> = said.err.lines().map(message).collect();
    let detach = "cannot allocate tty if runc will detach without setting console socket";
    assert_eq!(texts[0], format!("tare-runtime run failed: {detach}"));
    assert_eq!(texts[1], format!("tare-runtime create failed: {detach}"));
    host.check_clean();
}

#[test]
fn descriptors_that_are_preserved() {
    let Some(host) = host("fds") else { return };
    host.write_spec(&host.spec("cat <&3; for fd in /proc/self/fd/*; do test -e $fd && echo ${fd##*/}; done"));
    let said =
        host.sh("echo hi > ../in; $RT run --preserve-fds 1 c 3< ../in; $RT run --preserve-fds 3 c 3< ../in");
    assert_eq!(said.out, "hi\n0\n1\n2\n3", "{}", said.err);
    let text = "tare-runtime run failed: please check that preserved-fd 1 (of 3) is present: fd 4";
    assert_eq!(message(&said.err), text);
    host.check_clean();
}

#[test]
fn exec_into_a_user_namespace() {
    let Some(host) = host("execuser") else { return };
    let mut spec = host.spec("sleep 99");
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.extend([json!({"type": "user"}), json!({"type": "cgroup"})]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 1000}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    spec["process"]["capabilities"] =
        json!({"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]});
    host.write_spec(&spec);
    let said = host.sh("$RT run -d c; $RT exec c sh -c 'for n in user mnt pid net uts ipc cgroup; do \
         test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n differs; done; \
         id -u; grep CapEff /proc/self/status | tr -d \"\\t\"; cut -d: -f3 /proc/self/cgroup | sort -u'; \
         $RT exec -u 7 --cap CAP_KILL c sh -c 'id -u; cat /proc/self/uid_map | wc -l'; $RT delete -f c");
    assert_eq!(said.out, "0\nCapEff:0000000000000001\n/\n7\n2", "{}", said.err);
    host.check_clean();
}

/// Docker's userns-remap: the container's root is nobody on the host, and all paths are its own.
#[test]
fn a_user_namespace_far_from_root() {
    let Some(host) = host("remap") else { return };
    let mut spec = host.spec("sleep 99");
    spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .extend([json!({"type": "user"}), json!({"type": "cgroup"})]);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    spec["linux"]["maskedPaths"] = json!(["/proc/keys", "/sys/firmware"]);
    spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    spec["root"]["readonly"] = json!(true);
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.extend([
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}),
        json!({"destination": "/data", "source": "rootfs/data", "options": ["rbind", "ro"]}),
    ]);
    host.write_spec(&spec);
    // The folders above the root belong to the host's root: others may only walk through.
    let said = host.sh(
        "chmod 711 .. .; chown -R 100000:100000 rootfs; $RT create c && $RT start c
         $RT exec -u 7:8 c sh -c 'id; cat /data/file; wc -c < /proc/keys; echo x > /dev/null && echo null'
         $RT exec c sh -c 'stat -c %u:%g /proc/1 /bin/busybox; touch /x; ls /proc/self/fd | wc -l'; $RT delete -f c",
    );
    assert_eq!(said.out, "uid=7 gid=8\nimage\n0\nnull\n0:0\n0:0\n4", "{}", said.err);
    host.check_clean();
}

/// The other layouts of this machine's hierarchies, seen by who has unmounted the rest.
#[test]
fn cgroup_layouts() {
    let Some(host) = host("layouts") else { return };
    if !std::path::Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        println!("skipped: not a hybrid layout");
        return;
    }
    let mut spec =
        host.spec("cut -d: -f3 /proc/self/cgroup | sort -u; grep -c cgroup /proc/mounts; sleep 99");
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
    mounts.push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}),
    );
    host.write_spec(&spec);
    let v1 = "umount /sys/fs/cgroup/unified";
    let v2 = "for m in /sys/fs/cgroup/*; do case $m in */unified) ;; *) umount $m 2>/dev/null;; esac; done";
    let probe = "$RT create c && $RT start c; sleep 0.3; $RT exec c cat /proc/self/cgroup > ../seen; \
                 grep -c \"$CG\\|:/$\" ../seen; $RT delete -f c; echo $?";
    for (layout, own) in [(v1, 2), (v2, 1)] {
        let said = host.sh(&format!("{layout}\n{probe}"));
        let lines: Vec<&str> = said.out.lines().collect();
        assert_eq!(lines[0], "/", "{layout}: {}", said.err);
        assert!(lines[1].parse::<u32>().unwrap() >= own, "{layout}: {lines:?}");
        assert_eq!(lines.last(), Some(&"0"), "{layout}: {}", said.err);
        host.check_clean();
    }
}
