//! cp, export and commit: a container's files as a person moves them, on the reference and on each of our doors.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, wait};

on_each_engine!(
    copies_have_dockers_names,
    copies_out_and_in,
    what_cp_refuses,
    read_only_stays_so,
    links_lead_nowhere_else,
    a_stalled_reader_holds_nobody_up,
    an_export_is_the_whole_root,
    a_commit_is_what_was_changed,
    a_commit_stands_still_only_meanwhile,
);

const BUSYBOX: &str = "127.0.0.1:5000/busybox";
const PATIENCE: Duration = Duration::from_secs(30);
/// What is copied: a folder with a file, a folder and a link.
const SOURCE: &str = "rm -rf /tmp/s /tmp/t; mkdir -p /tmp/s/d/sub /tmp/t; echo a >/tmp/s/a; echo b >/tmp/s/d/b; ln -s b /tmp/s/d/l; ln -s d /tmp/s/ld; chown 33:44 /tmp/s/d/b; chmod 4751 /tmp/s/d/b; touch -d @1000000000 /tmp/s/d/b /tmp/s/d";

fn pull(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", BUSYBOX]).ok();
}

/// `cp` of something to somewhere, and where a file is afterwards; or the error.
fn copies_have_dockers_names(host: &TestHost, engine: Engine) {
    pull(host, engine);
    host.cli(engine, &["create", "--name", "box", BUSYBOX, "true"]).ok();
    host.sh(SOURCE).ok();
    for (source, target, found) in [
        ("/tmp/s/a", "/x1", "/x1"),
        ("/tmp/s/a", "/tmp", "/tmp/a"),
        ("/tmp/s/a", "/tmp/other", "/tmp/other"),
        ("/tmp/s/d", "/tmp", "/tmp/d/b"),
        ("/tmp/s/d", "/n1", "/n1/b"),
        ("/tmp/s/d/.", "/n2", "/n2/b"),
        ("/tmp/s/d/", "/n2", "/n2/d/b"),
        ("/tmp/s/d/.", "/n1", "/n1/b"),
        ("/tmp/s/ld/", "/n3", "/n3/b"),
        ("/tmp/s/ld/", "/tmp", "/tmp/ld/b"),
        ("-L /tmp/s/ld", "/n4", "/n4/b"),
        ("/tmp/s/a", "/none/", "no such directory"),
        ("/tmp/s/d", "/x1", "cannot copy directory"),
        ("/tmp/s/nope", "/", "lstat /tmp/s/nope: no such file or directory"),
    ] {
        let copied = host.sh_with(engine, &format!("$E cp {source} box:{target}"));
        if !found.starts_with('/') {
            assert!(copied.code == 1 && copied.stderr.contains(found), "{copied}");
            continue;
        }
        copied.ok();
        // And back out of there.
        host.sh_with(engine, &format!("rm -rf /tmp/t/back; $E cp box:{found} /tmp/t/back")).ok();
        let want = if found.ends_with("/b") { "b" } else { "a" };
        assert_eq!(host.read("/tmp/t/back").trim_end(), want, "{source} to {target}");
    }
    for (source, target, found) in [
        ("/tmp/d", "/tmp/t", "/tmp/t/d/b"),
        ("/tmp/d/.", "/tmp/t/n1", "/tmp/t/n1/b"),
        ("/tmp/d", "/tmp/t/n2/", "/tmp/t/n2/b"),
        ("/n2/d/l", "/tmp/t/l1", "/tmp/t/n2/b"),
        ("-L /n2/d/l", "/tmp/t/l2", "/tmp/t/l2"),
    ] {
        let (flag, source) = source.split_once(' ').unwrap_or(("", source));
        host.sh_with(engine, &format!("$E cp {flag} box:{source} {target}")).ok();
        assert_eq!(host.read(found).trim_end(), "b", "{source} to {target}");
    }
    assert_eq!(host.sh("readlink /tmp/t/l1; test -L /tmp/t/l2 || echo file").ok(), "b\nfile");
}

fn copies_out_and_in(host: &TestHost, engine: Engine) {
    pull(host, engine);
    host.sh(SOURCE).ok();
    let mounts = "-v vol:/vol -v /tmp/s:/bind";
    host.sh_with(engine, &format!("$E run -d --name box -u 5:6 {mounts} {BUSYBOX} sleep 1000")).ok();
    host.sh_with(engine, &format!("$E create --name still -u 5:6 {mounts} {BUSYBOX} true")).ok();
    for name in ["box", "still"] {
        let cp = |line: &str| host.sh_with(engine, &line.replace("NAME", name));
        cp("$E cp /tmp/s/d NAME:/home && $E cp /tmp/s/a NAME:/vol/v && $E cp /tmp/s/a NAME:/bind/new").ok();
        // Modes, owners, times and links go along.
        let listed = "$E cp NAME:/home/d - | tar -tv --numeric-owner --full-time --utc | tr -s ' ' | cut -d' ' -f1,2,4-";
        let lines = cp(listed).ok().to_string();
        for line in
            ["-rwsr-x--x 33/44 2001-09-09 01:46:40 d/b", "drwxr-xr-x 0/0 2001-09-09 01:46:40 d/", " d/l -> b"]
        {
            assert!(lines.contains(line), "{lines}");
        }
        assert_eq!(cp("$E cp NAME:/vol/v - | tar -xO; cat /tmp/s/new; rm /tmp/s/new").ok(), "a\na");
        cp("tar -C /tmp/s -c a | gzip | $E cp - NAME:/var").ok();
        assert_eq!(cp("$E cp NAME:/var/a - | tar -xO").ok(), "a");
        // To the container's user, or as they were.
        host.cli(engine, &["cp", "-a", "/tmp/s/d", &format!("{name}:/root-of-user")]).ok();
        let owners = cp("$E cp NAME:/root-of-user - | tar -tv --numeric-owner | tr -s ' ' | cut -d' ' -f2,6")
            .ok()
            .to_string();
        assert!(owners.contains("5/6 root-of-user/b") && owners.contains("5/6 root-of-user/"), "{owners}");
        // What is here belongs to whoever copies.
        assert_eq!(
            cp("rm -rf /tmp/t/d; $E cp NAME:/home/d /tmp/t && stat -c '%u %a' /tmp/t/d/b").ok(),
            "0 4751"
        );
    }
    assert_eq!(host.sh_with(engine, "$E cp box:/etc/hostname - | tar -t").ok(), "hostname");
    // The running container sees it at once, where its volumes are too.
    let seen = host.cli(engine, &["exec", "-u", "0", "box", "cat", "/home/d/b", "/vol/v", "/var/a"]);
    assert_eq!(seen.ok(), "b\na\na");
    let grows = "i=0; while [ $i -lt 300 ]; do echo $i >/home/f$i; i=$((i+1)); done";
    host.cli(engine, &["exec", "-u", "0", "box", "sh", "-c", grows]).ok();
    assert_eq!(host.sh_with(engine, "$E cp box:/home - | tar -t | grep -c home/f").ok(), "300");
    let shown = host.sh_with(engine, "$E events --since 1h --until 0s --format '{{.Action}}' --filter type=container --filter container=still | sort -u");
    assert!(shown.ok().contains("archive-path\ncreate\nextract-to-dir"), "{shown}");
}

fn what_cp_refuses(host: &TestHost, engine: Engine) {
    pull(host, engine);
    host.sh(SOURCE).ok();
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"]).ok();
    let daemon = |text: &str| format!("Error response from daemon: {text}");
    for (line, text) in [
        ("cp box:/nope /tmp/t", daemon("Could not find the file /nope in container box")),
        ("cp nosuch:/a /tmp/t", daemon("No such container: nosuch")),
        ("cp /tmp/s/a nosuch:/a", daemon("No such container: nosuch")),
        ("cp /tmp/s/a box:/none/b", daemon("Could not find the file /none in container box")),
        ("cp box:/a still:/b", "copying between containers is not supported".into()),
        ("cp /a /b", "must specify at least one container source".into()),
        ("cp '' box:/b", "source can not be empty".into()),
        ("cp box:/etc /tmp/none/x", "invalid output path: directory \"/tmp/none\" does not exist".into()),
        (
            "cp box:/etc /dev/null",
            "invalid output path: \"/dev/null\" must be a directory or a regular file: got a device".into(),
        ),
        ("cp - box:/etc/passwd </dev/null", "destination \"box:/etc/passwd\" must be a directory".into()),
        ("export nosuch", daemon("No such container: nosuch")),
        ("export -o /tmp/t box", "failed to export container: cannot write to a directory".into()),
    ] {
        let refused = host.sh_with(engine, &format!("$E {line}"));
        let last = refused.stderr.trim_end().lines().last().unwrap_or_default();
        assert!(refused.code == 1 && last == text, "{refused}");
    }
    // What a container has mounted there is not replaced.
    host.sh_with(engine, "cd /tmp/s && echo evil >hosts && ! $E cp hosts box:/etc/hosts").ok();
    assert!(host.cli(engine, &["exec", "box", "cat", "/etc/hosts"]).ok().contains("localhost"));
    // Broken archives.
    for line in ["head -c 700 /dev/urandom", "tar -C /tmp/s -c d | head -c 700"] {
        host.sh_with(engine, &format!("! {{ {line}; }} | $E cp - box:/tmp")).ok();
    }
}

fn read_only_stays_so(host: &TestHost, engine: Engine) {
    pull(host, engine);
    host.sh(SOURCE).ok();
    host.sh("mkdir -p /tmp/ro/below && mount -t tmpfs below /tmp/ro/below && echo x >/tmp/ro/below/x").ok();
    let mounts = "-v vol:/vol -v rov:/rov:ro -v /tmp/ro:/bind:ro";
    host.sh_with(engine, &format!("$E run -d --name box {mounts} {BUSYBOX} sleep 1000")).ok();
    host.sh_with(engine, &format!("$E create --name fixed --read-only {mounts} {BUSYBOX} true")).ok();
    host.sh_with(engine, &format!("$E run -d --name held --read-only {mounts} {BUSYBOX} sleep 1000")).ok();
    let volume = "mounted volume is marked read-only";
    let root = "container rootfs is marked read-only";
    for (name, path, text) in [
        ("box", "/tmp", ""),
        ("box", "/rov", volume),
        ("box", "/bind", volume),
        ("box", "/bind/below", volume),
        ("fixed", "/tmp", root),
        ("fixed", "/vol", ""),
        ("fixed", "/rov", volume),
        ("fixed", "/bind/below", volume),
        ("held", "/tmp", root),
        ("held", "/vol", ""),
        ("held", "/bind/below", volume),
    ] {
        let copied = host.sh_with(engine, &format!("$E cp /tmp/s/a {name}:{path}"));
        let refused = format!("Error response from daemon: {text}");
        match text {
            "" => drop(copied.ok().to_string()),
            _ => assert!(copied.code == 1 && copied.stderr.contains(&refused), "{name}:{path} {copied}"),
        }
    }
    assert_eq!(host.sh("ls -A /tmp/ro /tmp/ro/below").ok(), "/tmp/ro:\nbelow\n\n/tmp/ro/below:\nx");
    // What is below a read-only mount can be read.
    assert_eq!(host.sh_with(engine, "$E cp box:/bind/below/x - | tar -xO").ok(), "x");
}

/// CVE-2018-15664 and its like: whatever the container makes of its paths, the host's files are not reached.
fn links_lead_nowhere_else(host: &TestHost, engine: Engine) {
    pull(host, engine);
    host.sh(SOURCE).ok();
    host.sh("echo secret >/tmp/secret; mkdir -p /tmp/out").ok();
    // A link that comes and goes in place of a folder, all the while.
    let swap = "mkdir -p /p/tmp/out /keep; while :; do mv /p /keep/p; ln -s /../../../../../.. /p; rm /p; mv /keep/p /p; done";
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sh", "-c", swap]).ok();
    let links = "ln -s /tmp/secret /abs; ln -s ../../../../../../tmp/secret /up; ln -s /proc/1/root/tmp /magic; ln -s /proc/self/cwd /cwd";
    host.cli(engine, &["exec", "box", "sh", "-c", links]).ok();
    for _ in 0..20 {
        // They fail or work; they never leave.
        host.sh_with(engine, "$E cp box:/p/tmp/secret /tmp/t/got; $E cp /tmp/s/a box:/p/tmp/out/; true").ok();
    }
    for path in ["/abs", "/up", "/magic/secret", "/cwd/tmp/secret", "/../../tmp/secret"] {
        host.sh_with(engine, &format!("$E cp -L box:{path} /tmp/t/got; true")).ok();
    }
    assert_eq!(host.sh("cat /tmp/t/got 2>/dev/null; ls -A /tmp/out").both(), "");
    // Archives that would lead out of the folder they are for.
    let evil = "cd /tmp/t && mkdir -p w && ln -sfn /etc w/ln && ln -sfn ../../.. w/up && echo evil >e";
    host.sh(evil).ok();
    for line in [
        "tar -C w -c ln up",
        "tar -P -c --transform 's,^e,../../../../tmp/out/e,' e",
        "tar -P -c --transform 's,^e,ln/evil,' e",
    ] {
        host.sh_with(engine, &format!("cd /tmp/t; {line} | $E cp - box:/tmp; true")).ok();
    }
    assert_eq!(host.sh("ls -A /tmp/out; ls /etc/evil 2>/dev/null").both(), "");
    let inside = host.cli(engine, &["exec", "box", "ls", "/etc"]);
    assert!(!inside.ok().contains("evil"), "{inside}");
}

/// Who does not read what was asked for keeps neither the container nor others waiting.
fn a_stalled_reader_holds_nobody_up(host: &TestHost, engine: Engine) {
    pull(host, engine);
    let fill = "dd if=/dev/zero of=/big bs=1M count=32 2>/dev/null; sleep 1000";
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sh", "-c", fill]).ok();
    let size = || {
        host.cli(engine, &["exec", "box", "sh", "-c", "stat -c %s /big; pidof sleep || true"])
            .ok()
            .to_string()
    };
    assert!(wait::until(PATIENCE, || size().starts_with("33554432\n")), "{}", size());
    let mut stalled = vec![host.spawn_with(engine, "$E cp box:/big - | (head -c 1; echo; sleep 1000)")];
    if engine != Engine::Docker {
        stalled.push(host.spawn_with(engine, "$E export box | (head -c 1; echo; sleep 1000)"));
    }
    for reader in &stalled {
        assert!(wait::until(PATIENCE, || !reader.stdout().is_empty()), "nothing came");
    }
    if engine == Engine::Docker {
        // dockerd keeps the container's lock; what follows would wait.
        return;
    }
    host.cli(engine, &["stop", "-t", "0", "box"]).ok();
    let stopped = host.spawn_with(engine, "$E cp box:/big - | (head -c 1; echo; sleep 1000)");
    assert!(wait::until(PATIENCE, || !stopped.stdout().is_empty()), "nothing came");
    host.cli(engine, &["start", "box"]).ok();
    host.sh(SOURCE).ok();
    host.sh_with(engine, "$E cp /tmp/s/a box:/tmp && $E exec box cat /tmp/a").ok();
    host.cli(engine, &["rm", "-f", "box"]).ok();
}

fn an_export_is_the_whole_root(host: &TestHost, engine: Engine) {
    pull(host, engine);
    let work = "mkdir /d; echo x >/d/f; ln /d/f /d/hard; rm /bin/nproc; echo hidden >/vol/h; mkfifo /d/p";
    host.sh_with(engine, &format!("$E run --name box -v vol:/vol {BUSYBOX} sh -c '{work}'")).ok();
    host.sh_with(
        engine,
        "$E export box >/tmp/e.tar && $E export -o /tmp/e2.tar box && tar -tf /tmp/e.tar >/tmp/names",
    )
    .ok();
    host.cli(engine, &["export", "--output", "/tmp/e3.tar", "box"]).ok();
    let names = host.read("/tmp/names");
    let has = |name: &str| names.lines().any(|line| line == name);
    for (name, expected) in [
        ("bin/ash", true),
        ("d/", true),
        ("d/f", true),
        ("d/p", true),
        ("vol/", true),
        ("vol/h", false),
        ("bin/nproc", false),
    ] {
        assert_eq!(has(name), expected, "{name}\n{names}");
    }
    assert_eq!(
        host.sh("tar -xOf /tmp/e2.tar d/f; tar -tvf /tmp/e2.tar d/hard | grep -c 'link to d/f'").ok(),
        "x\n1"
    );
    // It is what import takes.
    host.sh_with(engine, "$E import /tmp/e.tar again:1 && $E run --rm again:1 cat /d/f").ok();
}

fn a_commit_is_what_was_changed(host: &TestHost, engine: Engine) {
    pull(host, engine);
    let work = "mkdir /d; echo x >/d/f; ln /d/f /d/hard; rm /bin/nproc; rm -r /var; mkdir /var; echo y >/var/z; chown 5:6 /tmp; chmod 4755 /d/f; ln -s f /d/l";
    host.sh_with(engine, &format!("$E run --name box -e A=1 -l k=v {BUSYBOX} sh -c '{work}'")).ok();
    let committed = host.cli(
        engine,
        &[
            "commit",
            "-a",
            "me <x@y>",
            "-m",
            "msg",
            "-c",
            "CMD [\"cat\", \"/d/f\"]",
            "-c",
            "ENV B=2",
            "-c",
            "LABEL x=y",
            "box",
            "new:1",
        ],
    );
    let id = committed.ok().to_string();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{committed}");
    let format = "{{.Id}} {{.Author}} {{.Comment}} {{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Labels}} {{len .RootFS.Layers}}";
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        host.cli(engine, &["image", "inspect", "-f", format, "new:1"]).ok(),
        format!(
            "{id} me <x@y> msg [\"cat\",\"/d/f\"] [\"A=1\",\"{path}\",\"B=2\"] {{\"k\":\"v\",\"x\":\"y\"}} 2"
        )
    );
    assert_eq!(host.cli(engine, &["run", "--rm", "new:1"]).ok(), "x");
    let look = "stat -c '%a %u %h' /d/f /tmp; readlink /d/l; ls /var; ls /bin/nproc 2>/dev/null";
    assert_eq!(
        host.sh_with(engine, &format!("$E run --rm new:1 sh -c \"{look}\" || true")).ok(),
        "4755 0 2\n1777 5 1\nf\nz"
    );
    let history =
        host.cli(engine, &["history", "--format", "{{.CreatedBy}} {{.Comment}}", "--no-trunc", "new:1"]);
    assert!(
        history.ok().starts_with("sh -c mkdir /d;") && history.ok().lines().next().unwrap().ends_with(" msg"),
        "{history}"
    );
    // The same image again from its archive; nothing changed is no layer.
    host.sh_with(
        engine,
        "$E save new:1 -o /tmp/i.tar && $E rmi new:1 && $E load -i /tmp/i.tar && $E run --rm new:1",
    )
    .ok();
    assert_eq!(host.cli(engine, &["images", "-q", "--no-trunc", "new:1"]).ok(), id);
    host.sh_with(engine, &format!("$E create --name bare {BUSYBOX} true && $E commit bare bare:1")).ok();
    assert_eq!(host.cli(engine, &["image", "inspect", "-f", "{{len .RootFS.Layers}}", "bare:1"]).ok(), "1");
    for (args, text) in [
        (&["commit", "nosuch"][..], "Error response from daemon: No such container: nosuch"),
        (
            &["commit", "box", "Bad/Name"],
            "invalid reference format: repository name (Name) must be lowercase",
        ),
        (&["commit", "-c", "RUN x", "box"], "Error response from daemon: RUN is not a valid change command"),
    ] {
        let refused = host.cli(engine, args);
        assert!(refused.code == 1 && refused.stderr.trim_end().ends_with(text), "{refused}");
    }
}

fn a_commit_stands_still_only_meanwhile(host: &TestHost, engine: Engine) {
    pull(host, engine);
    host.cli(engine, &["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"]).ok();
    let status = || host.cli(engine, &["inspect", "-f", "{{.State.Status}}", "box"]).ok().to_string();
    let actions = |since: &str| {
        let line = format!(
            "$E events --since {since} --until $(date +%s.%N) --filter container=box --format '{{{{.Action}}}}'"
        );
        host.sh_with(engine, &line).ok().replace('\n', " ")
    };
    let now = || host.sh("date +%s.%N").ok().to_string();
    let start = now();
    host.cli(engine, &["commit", "box"]).ok();
    assert_eq!((status().as_str(), actions(&start).as_str()), ("running", "pause commit unpause"));
    let start = now();
    host.cli(engine, &["commit", "--pause=false", "box"]).ok();
    assert_eq!(actions(&start), "commit");
    host.cli(engine, &["pause", "box"]).ok();
    host.cli(engine, &["commit", "box"]).ok();
    assert_eq!(status(), "paused");
    host.cli(engine, &["unpause", "box"]).ok();
    // A commit that is killed does not leave it frozen.
    if engine == Engine::Tare {
        let fill = "dd if=/dev/urandom of=/big bs=1M count=64 2>/dev/null";
        host.cli(engine, &["exec", "box", "sh", "-c", fill]).ok();
        let line = "$E commit box & p=$!; while ! grep -qs 1 /sys/fs/cgroup/freezer/docker/*/freezer.self_freezing; do kill -0 $p || exit 3; done; kill -9 $p; wait $p; true";
        let killed = host.sh_with(engine, line);
        assert!(matches!(killed.code, 0 | 3), "{killed}");
        assert_eq!(status(), "running");
        host.cli(engine, &["exec", "box", "true"]).ok();
    }
}
