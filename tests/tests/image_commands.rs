//! `tag`, `history`, `save`, `push`, `login`, `logout`, `image prune`: as a person types them, on the reference and on
//! each of our doors.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(
    tags,
    histories,
    archives_keep_digests,
    what_save_refuses,
    pushes,
    every_tag,
    prunes,
    credentials_in_the_file,
    credential_helpers
);

const R: &str = "127.0.0.1:5000";
const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";
const LAYERED: &str = "127.0.0.1:5000/layered:latest";

fn pull(host: &TestHost, engine: Engine, images: &[&str]) {
    for image in images {
        host.cli(engine, &["pull", "-q", image]).ok();
    }
}

fn ids(host: &TestHost, engine: Engine) -> String {
    let output = host.cli(engine, &["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    let mut lines: Vec<&str> = output.ok().lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn tags(host: &TestHost, engine: Engine) {
    pull(host, engine, &[BUSYBOX]);
    assert_eq!(host.cli(engine, &["tag", BUSYBOX, "bb:1"]).ok(), "");
    assert_eq!(host.cli(engine, &["image", "tag", "bb:1", "team/bb"]).ok(), "");
    let id = host.cli(engine, &["images", "-q", "--no-trunc", "bb"]).ok().to_string();
    host.cli(engine, &["tag", &id[7..19], "by-id"]).ok();
    assert_eq!(
        ids(host, engine),
        format!("{BUSYBOX} {id}\nbb:1 {id}\nby-id:latest {id}\nteam/bb:latest {id}")
    );
    let digest = format!("x@{id}");
    for (source, target, text) in [
        ("nosuch", "x", "Error response from daemon: No such image: nosuch:latest\n"),
        (
            "bb:1",
            "Foo",
            "Error parsing reference: \"Foo\" is not a valid repository/tag: invalid reference format: repository name (library/Foo) must be lowercase\n",
        ),
        ("", "x", "Error parsing reference: \"\" is not a valid repository/tag: invalid reference format\n"),
        ("bb:1", &digest, "refusing to create a tag with a digest reference\n"),
        (
            "bb:1",
            &id,
            "Error response from daemon: refusing to create an ambiguous tag using digest algorithm as name\n",
        ),
    ] {
        let output = host.cli(engine, &["tag", source, target]);
        assert_eq!((output.code, output.stderr.as_str()), (1, text), "{output}");
    }
}

fn histories(host: &TestHost, engine: Engine) {
    pull(host, engine, &[LAYERED]);
    assert_eq!(
        host.cli(engine, &["history", LAYERED]).ok(),
        "IMAGE          CREATED       CREATED BY         SIZE      COMMENT\n\
         87e84423a1ac   2 years ago   tare test images   16.4kB    \n\
         <missing>      2 years ago   tare test images   28.7kB    \n\
         <missing>      2 years ago   tare test images   1.99MB    "
    );
    assert_eq!(
        host.cli(
            engine,
            &["history", "-H=false", "--format", "{{.ID}} {{.CreatedSince}} {{.Size}}", LAYERED]
        )
        .ok(),
        "87e84423a1ac 2024-01-01T00:00:00Z 16384\n<missing> 2024-01-01T00:00:00Z 28672\n<missing> 2024-01-01T00:00:00Z 1990656"
    );
    assert_eq!(
        host.cli(engine, &["image", "history", "-q", LAYERED]).ok(),
        "87e84423a1ac\n<missing>\n<missing>"
    );
    let json = host.cli(engine, &["history", "--format", "json", LAYERED]);
    assert_eq!(
        json.ok().lines().next(),
        Some(
            r#"{"Comment":"","CreatedAt":"2024-01-01T00:00:00Z","CreatedBy":"tare test images","CreatedSince":"2 years ago","ID":"87e84423a1ac","Size":"16.4kB"}"#
        )
    );
    host.cli(engine, &["history", "--platform", "linux/s390x", LAYERED]).exits(1).says(&format!(
        "image with reference {LAYERED} was found but does not provide the specified platform (linux/s390x)"
    ));
}

/// An archive of one engine is read by the other, and ids and names are the same there.
fn archives_keep_digests(host: &TestHost, engine: Engine) {
    pull(host, engine, &[BUSYBOX, LAYERED, "127.0.0.1:5000/nginx:1.22"]);
    host.cli(engine, &["tag", BUSYBOX, "bb:1"]).ok();
    host.cli(engine, &["tag", BUSYBOX, "bb:2"]).ok();
    let before = ids(host, engine);
    let nginx = "127.0.0.1:5000/nginx:1.22";
    host.cli(engine, &["save", "-o", "/tmp/all.tar", "bb", BUSYBOX, LAYERED, nginx]).ok();
    assert_eq!(host.sh("stat -c %a /tmp/all.tar; ls -A /tmp").ok(), "600\nall.tar");
    // By standard output it is the same archive; dockerd's differ from one time to the next.
    if engine != Engine::Docker {
        host.sh_with(engine, &format!("$E save bb {BUSYBOX} {LAYERED} {nginx} | cmp - /tmp/all.tar")).ok();
    }
    let listed = host.sh("tar tf /tmp/all.tar | grep -v blobs/sha256/.");
    assert_eq!(listed.ok(), "blobs/\nblobs/sha256/\nindex.json\nmanifest.json\noci-layout");
    // dockerd writes the images in any order.
    let tags = host.sh("tar xOf /tmp/all.tar manifest.json | grep -o '\"RepoTags\":[^]]*]'");
    let wanted = format!("\"RepoTags\":[\"bb:1\",\"bb:2\",\"{BUSYBOX}\"]");
    assert!(tags.ok().lines().any(|line| line == wanted), "{tags}");
    for other in [Engine::Docker, Engine::Tare] {
        if other == Engine::Docker && engine != Engine::Docker {
            host.start(other);
        }
        if other == engine || (engine == Engine::Socket && other == Engine::Tare) {
            let all = ["rmi", "-f", "bb:1", "bb:2", BUSYBOX, LAYERED, nginx];
            host.cli(other, &all).ok();
        }
        let loaded = host.cli(other, &["load", "-i", "/tmp/all.tar"]);
        assert_eq!(loaded.ok().lines().filter(|l| l.starts_with("Loaded image: ")).count(), 5, "{loaded}");
        assert_eq!(ids(host, other), before);
    }
    assert_eq!(host.cli(engine, &["run", "--rm", "bb:2", "echo", "hi"]).ok(), "hi");
}

fn what_save_refuses(host: &TestHost, engine: Engine) {
    pull(host, engine, &[BUSYBOX]);
    for (args, text) in [
        (["-o", "/tmp/x.tar", "nosuch"], "Error response from daemon: No such image: nosuch:latest\n"),
        (
            ["-o", "/nosuch/x.tar", BUSYBOX],
            "failed to save image: invalid output path: stat /nosuch: no such file or directory\n",
        ),
        (["-o", "/tmp", BUSYBOX], "failed to save image: cannot write to a directory\n"),
        (["-o", "/dev/null", BUSYBOX], "failed to save image: cannot write to a character device file\n"),
    ] {
        let output = host.cli(engine, &[&["save"], &args[..]].concat());
        assert_eq!((output.code, output.stderr.as_str()), (1, text), "{output}");
    }
    let terminal = host.sh_with(engine, &format!("script -qec \"$E save {BUSYBOX}\" /dev/null"));
    assert!(terminal.both().contains("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    assert_eq!(host.sh("ls -A /tmp").ok(), "");
}

fn pushes(host: &TestHost, engine: Engine) {
    pull(host, engine, &[LAYERED]);
    let copy = format!("{R}/copy");
    let tagged = format!("{copy}:1");
    host.cli(engine, &["tag", LAYERED, &tagged]).ok();
    let first = host.cli(engine, &["push", &tagged]);
    let mut lines: Vec<&str> = first.ok().lines().collect();
    let end = "1: digest: sha256:87e84423a1ac079d583139d28d1f0b257ff15a9150d51f4c26c768d2456a3622 size: 713";
    assert_eq!(lines.pop(), Some(end));
    assert_eq!(lines.remove(0), format!("The push refers to repository [{copy}]"));
    lines.sort_unstable();
    let mounted =
        ["0289ad4c5b71", "0a26ff8fca0a", "1c4d6ed30a8c"].map(|id| format!("{id}: Mounted from layered"));
    assert_eq!(lines, mounted);
    let second = host.cli(engine, &["image", "push", &tagged]);
    assert_eq!(second.ok().matches(": Layer already exists\n").count(), 3, "{second}");
    assert_eq!(host.cli(engine, &["push", "-q", &tagged]).ok(), tagged);
    // What no registry has is sent.
    host.sh_with(
        engine,
        &format!("mkdir /tmp/i; echo hi >/tmp/i/f; tar -C /tmp/i -c f | $E import - {R}/imp:1"),
    )
    .ok();
    let sent = host.cli(engine, &["push", &format!("{R}/imp:1")]);
    assert_eq!(sent.ok().matches(": Pushed\n").count(), 1, "{sent}");
    host.cli(engine, &["rmi", &format!("{R}/imp:1")]).ok();
    host.cli(engine, &["pull", "-q", &format!("{R}/imp:1")]).ok();
    for (args, text) in [
        (vec![copy.as_str()], format!("tag does not exist: {copy}:latest\n")),
        (vec!["-a", &tagged], "tag can't be used with --all-tags/-a\n".to_string()),
        (vec!["-a", "nosuch"], "An image does not exist locally with the tag: nosuch\n".to_string()),
        (
            vec!["Foo"],
            "invalid reference format: repository name (library/Foo) must be lowercase\n".to_string(),
        ),
    ] {
        let output = host.cli(engine, &[&["push"], &args[..]].concat());
        assert_eq!((output.code, output.stderr.as_str()), (1, text.as_str()), "{output}");
    }
}

fn every_tag(host: &TestHost, engine: Engine) {
    pull(host, engine, &[BUSYBOX, LAYERED]);
    let all = format!("{R}/all");
    for (image, tag) in [(BUSYBOX, "a"), (LAYERED, "b")] {
        host.cli(engine, &["tag", image, &format!("{all}:{tag}")]).ok();
    }
    let pushed = host.cli(engine, &["push", "--all-tags", &all]);
    assert_eq!(pushed.ok().matches(": digest: sha256:").count(), 2, "{pushed}");
    host.cli(engine, &["rmi", &format!("{all}:a"), &format!("{all}:b")]).ok();
    let pulled = host.cli(engine, &["pull", "--all-tags", &all]);
    assert!(pulled.ok().ends_with(&format!("\n{all}")), "{pulled}");
    assert_eq!(ids(host, engine).matches(&all).count(), 2);
}

fn prunes(host: &TestHost, engine: Engine) {
    pull(host, engine, &[BUSYBOX, LAYERED]);
    host.cli(engine, &["create", "--name", "user", BUSYBOX]).ok();
    assert_eq!(host.cli(engine, &["image", "prune", "-f"]).ok(), "Total reclaimed space: 0B");
    let asked = host.cli_with_input(engine, &["image", "prune", "-a"], b"n\n");
    assert_eq!(
        asked.stdout.trim_end(),
        "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue? [y/N]"
    );
    let none = host.cli(engine, &["image", "prune", "-af", "--filter", "until=10m"]);
    assert_eq!(none.ok(), "Total reclaimed space: 0B");
    let gone = host.cli(engine, &["image", "prune", "-af"]);
    let id = "sha256:87e84423a1ac079d583139d28d1f0b257ff15a9150d51f4c26c768d2456a3622";
    assert!(
        gone.ok().starts_with(&format!(
            "Deleted Images:\nuntagged: {LAYERED}\ndeleted: {id}\n\nTotal reclaimed space: "
        )),
        "{gone}"
    );
    assert!(ids(host, engine).starts_with(BUSYBOX));
    for (filter, text) in [
        ("nope=1", "invalid filter 'nope'"),
        ("until=zz", "failed to parse value as time or duration: \"zz\""),
        ("dangling=false", "invalid filter 'dangling=["),
    ] {
        host.cli(engine, &["image", "prune", "-f", "--filter", filter]).exits(1).says(text);
    }
}

fn credentials_in_the_file(host: &TestHost, engine: Engine) {
    let warned = host.cli(engine, &["login", "-u", "u", "-p", "p", R]);
    assert_eq!(warned.ok(), "Login Succeeded");
    warned
        .says("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n\nWARNING! Your credentials are stored unencrypted in '")
        .says("Configure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n");
    let file = host.sh("stat -c %a $HOME/.docker/config.json; cat $HOME/.docker/config.json");
    assert_eq!(
        file.ok(),
        "600\n{\n\t\"auths\": {\n\t\t\"127.0.0.1:5000\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t}\n}"
    );
    for (args, text) in [
        (&["login", "-u", "", R][..], "username is empty\n"),
        (&["login", "--password-stdin", R], "the --password-stdin option requires --username to be set\n"),
        (
            &["login", "-u", "u", "-p", "p", "--password-stdin", R],
            "conflicting options: cannot specify both --password and --password-stdin\n",
        ),
        (&["login"], "Error: Cannot perform an interactive login from a non TTY device\n"),
    ] {
        let output = host.cli(engine, args);
        assert_eq!((output.code, output.stderr.as_str()), (1, text), "{output}");
    }
    let out = host.cli(engine, &["logout", R]);
    assert_eq!(out.ok(), "Removing login credentials for 127.0.0.1:5000");
    assert_eq!(host.sh("cat $HOME/.docker/config.json").ok(), "{\n\t\"auths\": {}\n}");
}

/// The helper's protocol, seen from the helper.
fn credential_helpers(host: &TestHost, engine: Engine) {
    host.write(
        "/opt/docker-credential-t",
        "#!/bin/sh\nread -r line\necho \"$1 $line\" >>/run/helper.log\n\
         [ \"$1\" != get ] || echo '{\"ServerURL\":\"127.0.0.1:5000\",\"Username\":\"hu\",\"Secret\":\"hp\"}'\n",
    );
    host.sh("chmod +x /opt/docker-credential-t; mkdir -p $HOME/.docker; echo '{\"credsStore\":\"t\"}' >$HOME/.docker/config.json").ok();
    let with = |line: &str| host.sh_with(engine, &format!("export PATH=/opt:$PATH; {line}"));
    let log = || {
        let text = host.read("/run/helper.log");
        host.write("/run/helper.log", "");
        text
    };
    with(&format!("$E login -u u -p p {R}")).ok();
    let stored = log();
    let stored = stored.lines().last().unwrap_or_default();
    assert_eq!(stored, r#"store {"ServerURL":"127.0.0.1:5000","Username":"u","Secret":"p"}"#);
    let file = host.sh("cat $HOME/.docker/config.json");
    assert_eq!(file.ok(), "{\n\t\"auths\": {\n\t\t\"127.0.0.1:5000\": {}\n\t},\n\t\"credsStore\": \"t\"\n}");
    with(&format!("$E pull {BUSYBOX}")).ok();
    assert_eq!(log(), "get 127.0.0.1:5000\n");
    with(&format!("$E logout {R}")).ok();
    assert_eq!(
        log(),
        "erase 127.0.0.1:5000\nerase 127.0.0.1:5000\nerase http://127.0.0.1:5000\nerase https://127.0.0.1:5000\n"
    );
    // A helper that is not there keeps nobody from pulling.
    host.sh("echo '{\"credsStore\":\"nohelper\"}' >$HOME/.docker/config.json").ok();
    with(&format!("$E pull {LAYERED}")).ok();
    with(&format!("$E login -u u -p p {R}")).exits(1).says(
        "Error saving credentials: error storing credentials - err: exec: \"docker-credential-nohelper\": executable file not found in $PATH, out: ``",
    );
}
