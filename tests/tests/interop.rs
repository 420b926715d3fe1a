//! Archives both ways: what Docker, skopeo, buildah and podman write is loaded, and what Tare saves they read, with
//! the digests it had.

use tests::{Engine, TestHost, on_each_engine};

on_each_engine!(archives_of_others_are_loaded, any_compression_is_read);

const REGISTRY: &str = "127.0.0.1:5000";
const BUSYBOX: &str = "127.0.0.1:5000/busybox:latest";
const IMAGES: [&str; 3] =
    ["127.0.0.1:5000/busybox:latest", "127.0.0.1:5000/layered:latest", "127.0.0.1:5000/nginx:1.22"];
/// Docker 20.10's form, made of what a Docker of today saves: a folder per layer, links for layers that repeat.
const LEGACY: &str = "set -e; \
    config=$(tar xOf skopeo-docker.tar manifest.json | grep -o '[0-9a-f]\\{64\\}.json'); layer=$(tar tf skopeo-docker.tar | grep -m 1 '\\.tar$'); \
    a=$(printf a | sha256sum | cut -c -64); b=$(printf b | sha256sum | cut -c -64); mkdir -p legacy/$a legacy/$b; \
    tar xOf skopeo-docker.tar $config >legacy/$config; tar xOf skopeo-docker.tar $layer >legacy/$a/layer.tar; ln -s ../$a/layer.tar legacy/$b/layer.tar; \
    for id in $a $b; do printf 1.0 >legacy/$id/VERSION; printf '{\"id\":\"%s\"}' $id >legacy/$id/json; done; \
    printf '{\"old\":{\"1\":\"%s\"}}' $a >legacy/repositories; \
    printf '[{\"Config\":\"%s\",\"RepoTags\":[\"old:1\"],\"Layers\":[\"%s/layer.tar\"]}]' $config $b >legacy/manifest.json; tar -C legacy -cf legacy.tar $(ls legacy)";

/// A host whose folder `/tmp/w` is the commands' own.
fn prepared(host: &TestHost) -> impl Fn(&str) -> tests::Output + '_ {
    host.sh("mkdir -p /tmp/w").ok();
    |line| host.sh(&format!("cd /tmp/w && {line}"))
}

/// podman and buildah with a store that goes with the host.
fn with_store(program: &str) -> String {
    format!("{program} --root /tmp/w/store --runroot /tmp/w/run --storage-driver vfs")
}

fn archives_of_others_are_loaded(host: &TestHost, engine: Engine) {
    let sh = prepared(host);
    let copy = "skopeo copy -q --insecure-policy --src-tls-verify=false";
    let [podman, buildah] = ["podman", "buildah"].map(with_store);
    for line in [
        &format!("{copy} docker://{BUSYBOX} docker-archive:skopeo-docker.tar:sd:1"),
        &format!("{copy} docker://{BUSYBOX} docker-archive:nameless.tar"),
        &format!("{copy} docker://{BUSYBOX} oci-archive:skopeo-oci.tar:docker.io/library/so:1"),
        &format!(
            "{copy} --dest-compress --dest-compress-format zstd docker://{BUSYBOX} oci-archive:zstd.tar:docker.io/library/sz:1"
        ),
        &format!(
            "{copy} docker://{BUSYBOX} oci:layout:docker.io/library/sl:1 && tar -C layout -cf layout.tar ."
        ),
        &format!("{copy} docker://{BUSYBOX} oci-archive:short.tar:short:1"),
        LEGACY,
        &format!(
            "{podman} pull -q --tls-verify=false {REGISTRY}/layered && {podman} tag {REGISTRY}/layered pd:1"
        ),
        &format!("{podman} save -q -o podman-docker.tar pd:1"),
        &format!("{podman} save -q -m -o podman-both.tar pd:1 {REGISTRY}/layered"),
        &format!("{podman} save -q --format oci-archive -o podman-oci.tar pd:1"),
        &format!(
            "{buildah} from --name c --pull-never {REGISTRY}/layered && echo built >hello && {buildah} copy c hello /hello"
        ),
        &format!(
            "{buildah} config --cmd 'cat /hello' c && {buildah} commit -q c docker-archive:buildah-docker.tar:bd:1"
        ),
        &format!("{buildah} commit -q c oci-archive:buildah-oci.tar:docker.io/library/bo:1"),
    ] {
        sh(line).ok();
    }
    for (archive, name, command, prints) in [
        ("skopeo-docker", "sd:1", "echo ran", "ran"),
        ("skopeo-oci", "so:1", "echo ran", "ran"),
        ("zstd", "sz:1", "echo ran", "ran"),
        ("layout", "sl:1", "echo ran", "ran"),
        ("legacy", "old:1", "echo ran", "ran"),
        ("podman-docker", "localhost/pd:1", "cat /data/replaced", "new"),
        ("podman-both", "127.0.0.1:5000/layered:latest", "cat /data/link", "new"),
        ("podman-oci", "localhost/pd:1", "cat /data/becomes-file", "now a file"),
        ("buildah-docker", "bd:1", "", "built"),
        ("buildah-oci", "bo:1", "", "built"),
    ] {
        let loaded = host.cli(engine, &["load", "-i", &format!("/tmp/w/{archive}.tar")]);
        assert!(loaded.ok().contains(&format!("Loaded image: {name}")), "{archive}: {loaded}");
        let run = host.sh_with(engine, &format!("$E run --rm {name} {command}"));
        assert_eq!(run.ok(), prints, "{archive}");
        // A layout's manifest is the image, byte for byte.
        let index = sh(&format!(
            "tar xOf {archive}.tar index.json 2>/dev/null || tar xOf {archive}.tar ./index.json"
        ));
        let id = host.cli(engine, &["image", "inspect", "-f", "{{.Id}}", name]);
        assert!(index.code != 0 || index.stdout.contains(id.ok()), "{archive}: {id}\n{index}");
    }
    // The reference keeps such a name as it is and does not find it again.
    if engine.is_tare() {
        host.cli(engine, &["load", "-i", "/tmp/w/short.tar"]).ok();
        assert_eq!(host.cli(engine, &["run", "--rm", "short:1", "echo", "ran"]).ok(), "ran");
    }
    let nameless = host.cli(engine, &["load", "-i", "/tmp/w/nameless.tar"]);
    let id = nameless.ok().strip_prefix("Loaded image ID: ").unwrap_or_else(|| panic!("{nameless}"));
    // The id is made of what the archive holds: the same as with the name, and the same on every engine.
    assert_eq!(id, host.cli(engine, &["image", "inspect", "-f", "{{.Id}}", "sd:1"]).ok());
    assert_eq!(host.cli(engine, &["run", "--rm", id, "echo", "ran"]).ok(), "ran");
}

fn any_compression_is_read(host: &TestHost, engine: Engine) {
    let sh = prepared(host);
    for program in ["gzip", "bzip2", "xz", "zstd"] {
        for archive in ["busybox-docker", "busybox-rootfs"] {
            sh(&format!("{program} -qkc /run/testhost/cache/images/{archive}.tar >{archive}.{program}")).ok();
        }
        let image = format!("/tmp/w/busybox-docker.{program}");
        assert_eq!(
            host.cli(engine, &["load", "-i", &image]).ok(),
            "Loaded image: busybox:latest",
            "{program}"
        );
        assert_eq!(host.cli(engine, &["run", "--rm", "busybox", "echo", program]).ok(), program);
        host.cli(engine, &["rmi", "-f", "busybox"]).ok();
        let name = format!("imported:{program}");
        host.cli(engine, &["import", &format!("/tmp/w/busybox-rootfs.{program}"), &name]).ok();
        assert_eq!(host.cli(engine, &["run", "--rm", &name, "echo", program]).ok(), program);
        // Whatever it came in, it is the same file system, and what is saved of it is what the specification knows.
        let layers = host.cli(engine, &["image", "inspect", "-f", "{{.RootFS.Layers}}", &name]);
        let tar = sh("sha256sum </run/testhost/cache/images/busybox-rootfs.tar | cut -c -64");
        assert_eq!(layers.ok(), format!("[sha256:{}]", tar.ok()), "{program}");
        host.cli(engine, &["save", "-o", "/tmp/w/saved.tar", &name]).ok();
        let types = sh(
            "for b in $(tar tf saved.tar | grep blobs/sha256/.); do tar xOf saved.tar $b | head -c 9000 | grep -ao 'tar+[a-z]*'; done",
        );
        assert_eq!(
            types.stdout.trim_end(),
            if program == "zstd" { "tar+zstd" } else { "tar+gzip" },
            "{program}"
        );
    }
}

/// Docker, skopeo, podman and the registry that skopeo copies to see the same digests as Tare.
#[test]
fn what_tare_saves_others_read() {
    if !Engine::Tare.is_wanted() {
        return tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    host.start(Engine::Docker);
    let sh = prepared(&host);
    let podman = with_store("podman");
    let inspect = |engine: Engine, name: &str, format: &str| {
        host.cli(engine, &["image", "inspect", "-f", format, name]).ok().to_owned()
    };
    for name in IMAGES {
        host.tare(&["pull", "-q", name]).ok();
        host.tare(&["save", "-o", "/tmp/w/one.tar", name]).ok();
        let id = inspect(Engine::Tare, name, "{{.Id}}");
        let layers = inspect(Engine::Tare, name, "{{.RootFS.Layers}}");
        host.docker(&["load", "-i", "/tmp/w/one.tar"]).ok();
        assert_eq!(inspect(Engine::Docker, name, "{{.Id}} {{.RootFS.Layers}}"), format!("{id} {layers}"));

        let raw = sh("skopeo inspect --raw oci-archive:one.tar");
        let sum = sh("skopeo inspect --raw oci-archive:one.tar | sha256sum");
        assert_eq!(sum.ok(), format!("{}  -", &id[7..]));
        // Of an index skopeo copies the manifest for this machine.
        let copied = format!("docker://{REGISTRY}/copied:1");
        let quiet = "skopeo copy -q --preserve-digests --insecure-policy --dest-tls-verify=false";
        sh(&format!("{quiet} oci-archive:one.tar {copied}")).ok();
        let digest = sh(&format!("skopeo inspect --tls-verify=false -f '{{{{.Digest}}}}' {copied}"));
        assert!(id == digest.ok() || raw.stdout.contains(digest.ok()), "{name}: {digest}\n{raw}");
        // As a docker-archive its layers are inflated: their diff ids tell that they are the same.
        let config = sh("skopeo inspect --config docker-archive:one.tar");
        for layer in layers.trim_matches(['[', ']']).split(' ') {
            assert!(config.ok().contains(layer), "{name}: {config}");
        }

        sh(&format!("{podman} load -q -i one.tar")).ok();
        let theirs =
            sh(&format!("{podman} image inspect -f '{{{{.Digest}}}} {{{{.RootFS.Layers}}}}' {name}"));
        assert_eq!(theirs.ok(), format!("{id} {layers}"));
    }
    // Several in one archive.
    sh(&format!("{podman} rmi -a -f")).ok();
    host.tare(&[&["save", "-o", "/tmp/w/all.tar"], &IMAGES[..]].concat()).ok();
    sh(&format!("{podman} load -q -i all.tar")).ok();
    for name in IMAGES {
        let theirs = sh(&format!("{podman} image inspect -f '{{{{.RootFS.Layers}}}}' {name}"));
        assert_eq!(theirs.ok(), inspect(Engine::Tare, name, "{{.RootFS.Layers}}"));
    }
}

/// A docker-archive has no manifest: the one that is made for it is dockerd's.
#[test]
fn made_manifests_are_the_references() {
    if !Engine::Tare.is_wanted() {
        return tests::host::skip("engine Tare is not in TARE_TEST_ENGINES");
    }
    let Some(host) = TestHost::new() else { return };
    host.start_registry();
    host.start(Engine::Docker);
    let sh = prepared(&host);
    let podman = with_store("podman");
    for line in [
        &format!(
            "skopeo copy -q --insecure-policy --src-tls-verify=false docker://{BUSYBOX} docker-archive:skopeo-docker.tar:sd:1"
        ),
        LEGACY,
        &format!(
            "{podman} pull -q --tls-verify=false {REGISTRY}/layered && {podman} save -q -o podman.tar {REGISTRY}/layered"
        ),
    ] {
        sh(line).ok();
    }
    for archive in ["skopeo-docker", "legacy", "podman"] {
        let load = ["load", "-i", &format!("/tmp/w/{archive}.tar")];
        let names = [Engine::Docker, Engine::Tare].map(|engine| {
            let loaded = host.cli(engine, &load).ok().to_owned();
            let name = loaded.rsplit("Loaded image: ").next().unwrap_or_default().to_owned();
            let id = host.cli(engine, &["image", "inspect", "-f", "{{.Id}}", &name]).ok().to_owned();
            (loaded, id)
        });
        assert_eq!(names[0], names[1], "{archive}");
    }
}
