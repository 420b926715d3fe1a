//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::testing::{E, Fixture, fixture, list, tar};
use crate::{Import, Loaded};
use oci::{Digest, Matcher, Platform, Reference};
use std::io::Write;
use std::process::Command;

fn config(diffs: &[&[u8]]) -> Vec<u8> {
    let host = Platform::host();
    let ids: Vec<String> = diffs.iter().map(|d| format!("\"{}\"", Digest::sha256(d))).collect();
    format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Cmd":["/x"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        host.architecture,
        ids.join(",")
    )
    .into_bytes()
}

fn messages(loaded: Result<Vec<Loaded>>) -> Vec<String> {
    match loaded {
        Ok(images) => images.iter().map(ToString::to_string).collect(),
        Err(e) => vec![e.to_string()],
    }
}

fn is_empty(f: &Fixture) -> bool {
    let root = f.store.content().root();
    f.store.content().list().unwrap().is_empty()
        && std::fs::read_dir(root.join("ingest")).unwrap().next().is_none()
        && f.store.images().list().unwrap().is_empty()
        && list(f.store.snapshots().root()).len() == 3
}

#[test]
fn docker_archives() {
    let (base, top) = (tar(&[E::File("a", b"1")]), tar(&[E::File("b", b"2")]));
    let config = config(&[&base, &top]);
    let manifest = r#"[{"Config":"c.json","RepoTags":["busybox:latest","localhost:5000/x:1"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    let archive = tar(&[
        E::Dir("1/", 0o755),
        E::File("1/VERSION", b"1.0"),
        E::File("1/json", b"{}"),
        E::File("1/layer.tar", &base),
        E::File("./2/layer.tar", &top),
        E::File("c.json", &config),
        E::File("repositories", b"{}"),
        E::File("manifest.json", manifest.as_bytes()),
    ]);
    let f = fixture();
    let want = ["Loaded image: busybox:latest", "Loaded image: localhost:5000/x:1"];
    assert_eq!(messages(f.store.load(&archive[..], None)), want);
    let image = f.store.images().get(&Reference::parse("busybox").unwrap()).unwrap().unwrap();
    let view = f.store.view(&image.target, &Matcher::only(&Platform::host())).unwrap();
    assert!(f.store.snapshots().contains_all(&view.chain).unwrap());
    assert_eq!(f.store.content().list().unwrap().len(), 4, "legacy files are not kept");
    assert_eq!(
        messages(f.store.load(&zstd::encode_all(&archive[..], 1).unwrap()[..], None)),
        want,
        "again, compressed"
    );
}

#[test]
fn links_and_unnamed_images() {
    let base = tar(&[E::File("a", b"1")]);
    let config = config(&[&base, &base]);
    let manifest = r#"[{"Config":"c.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    let archive = tar(&[
        E::File("1/layer.tar", &base),
        E::Link("2/layer.tar", "../1/layer.tar"),
        E::File("c.json", &config),
        E::File("manifest.json", manifest.as_bytes()),
    ]);
    let f = fixture();
    let messages = messages(f.store.load(&archive[..], None));
    assert!(messages[0].starts_with("Loaded image ID: sha256:"), "{messages:?}");
    assert_eq!(f.store.images().list().unwrap()[0].name, None);
}

#[test]
fn oci_layouts() {
    let f = fixture();
    let layer = tar(&[E::File("a", b"1")]);
    let config = config(&[&layer]);
    let d = |t: &str, b: &[u8]| {
        format!(r#"{{"mediaType":"{t}","digest":"{}","size":{}}}"#, Digest::sha256(b), b.len())
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        d(oci::media_type::OCI_CONFIG, &config),
        d(oci::media_type::OCI_LAYER, &layer)
    );
    let named = |annotation: &str| {
        let target = d(oci::media_type::OCI_MANIFEST, manifest.as_bytes());
        format!(
            r#"{{"schemaVersion":2,"manifests":[{},"annotations":{annotation}}}]}}"#,
            &target[..target.len() - 1]
        )
    };
    let blob = |b: &[u8]| format!("blobs/sha256/{}", Digest::sha256(b).hex());
    let archive = |index: &str, layer_bytes: &[u8]| {
        tar(&[
            E::File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            E::File("index.json", index.as_bytes()),
            E::File(&blob(manifest.as_bytes()), manifest.as_bytes()),
            E::File(&blob(&config), &config),
            E::File(&blob(&layer), layer_bytes),
        ])
    };
    let cases = [
        (r#"{"io.containerd.image.name":"docker.io/library/n:1"}"#, "Loaded image: n:1".to_owned()),
        (r#"{"org.opencontainers.image.ref.name":"v1"}"#, "Loaded image: v1:latest".to_owned()),
        (
            r#"{"org.opencontainers.image.ref.name":"not a name"}"#,
            format!("Loaded image ID: {}", Digest::sha256(manifest.as_bytes())),
        ),
        ("null", format!("Loaded image ID: {}", Digest::sha256(manifest.as_bytes()))),
    ];
    for (annotation, want) in cases {
        let f = fixture();
        assert_eq!(
            messages(f.store.load(&archive(&named(annotation), &layer)[..], None)),
            [want],
            "{annotation}"
        );
    }
    let e = messages(f.store.load(&archive(&named("null"), &[0; 2048])[..], None));
    assert!(e[0].starts_with(&format!("{}: digest mismatch", blob(&layer))), "{e:?}");
    assert!(is_empty(&f));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn broken_archives_leave_nothing() {
    let layer = tar(&[E::File("a", b"1")]);
    let escaping = tar(&[E::File("../../a", b"1")]);
    let ok = r#"[{"Config":"c","RepoTags":["x"],"Layers":["l"]}]"#;
    let docker = |manifest: &str, config: &[u8], layer: &[u8]| {
        tar(&[E::File("l", layer), E::File("c", config), E::File("manifest.json", manifest.as_bytes())])
    };
    let good = config(&[&layer]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"junk".to_vec(), "unexpected EOF"),
        (tar(&[E::File("junk", b"x")]), "unrecognized image format"),
        (tar(&[E::File("oci-layout", br#"{"imageLayoutVersion":"2.0"}"#)]), "unsupported OCI version 2.0"),
        (
            tar(&[E::File("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)]),
            "missing index.json in OCI layout 1.0.0",
        ),
        (docker("[]", &good, &layer), "no images found in the archive"),
        (docker("{", &good, &layer), "cannot decode manifest.json"),
        (docker(&ok.replace("\"c\"", "\"zz\""), &good, &layer), "image config \"zz\" not found"),
        (docker(&ok.replace("\"l\"", "\"zz\""), &good, &layer), "layer \"zz\" not found"),
        (
            docker(&ok.replace("\"x\"", "\"X\""), &good, &layer),
            "normalize image ref \"X\": invalid reference format: repository name (library/X) must be lowercase",
        ),
        (docker(ok, b"not json", &layer), "cannot decode image configuration"),
        (
            docker(ok, &config(&[&layer, &layer]), &layer),
            "manifest has 1 layers, but the image configuration has 2",
        ),
        (docker(ok, &config(&[b"other"]), &layer), "layer 0 unpacks to"),
        (
            docker(ok, &config(&[&escaping]), &escaping),
            "invalid tar entry \"../../a\": path leads outside of the layer",
        ),
        (b"junk".repeat(200), "archive/tar: invalid tar header"),
        (Vec::new(), "unrecognized image format"),
        (vec![0; 200], "unexpected EOF"),
        (vec![0; 2000], "unrecognized image format"),
        (docker(ok, &good, &layer)[..300].to_vec(), "unexpected EOF"),
        (
            docker(ok, &good, &layer)[..1500].to_vec(),
            "failed to ingest \"l\": short read: expected 2048 bytes but got 988: unexpected EOF",
        ),
        (gzip(&docker(ok, &good, &layer))[..20].to_vec(), "unexpected EOF"),
        (
            tar(&[E::File("manifest.json", ok.as_bytes())])[..530].to_vec(),
            "untar manifest \"manifest.json\": unexpected EOF",
        ),
        (
            tar(&[E::File("oci-layout", b"{}")])[..513].to_vec(),
            "untar oci layout \"oci-layout\": unexpected EOF",
        ),
    ];
    for (archive, want) in cases {
        let f = fixture();
        let got = messages(f.store.load(&archive[..], None));
        assert!(got[0].starts_with(want), "{got:?}, not {want:?}");
        assert!(is_empty(&f), "{want}");
    }
}

#[test]
fn importing() {
    let f = fixture();
    let root = tar(&[E::Dir("bin", 0o755), E::File("bin/x", b"1")]);
    let name = Reference::parse("foo:bar").unwrap();
    let changes = ["CMD [\"/bin/x\"]".to_owned()];
    let id = f
        .store
        .import(&root[..], &Import { name: Some(&name), message: "why", changes: &changes, platform: None })
        .unwrap();
    let image = f.store.images().get(&name).unwrap().unwrap();
    assert_eq!(*image.id(), id);
    let view = f.store.view(&image.target, &Matcher::only(&Platform::host())).unwrap();
    assert_eq!(view.config.config.cmd, ["/bin/x"]);
    assert_eq!(view.config.history[0].comment, "why");
    assert_eq!(view.manifest.layers[0].media_type, oci::media_type::OCI_LAYER_GZIP);
    assert_eq!(view.config.rootfs.diff_ids[0].0, Digest::sha256(&root));
    let dirs = f.store.snapshots().layers(view.top()).unwrap();
    assert_eq!(list(&dirs[0]), ["bin 755 0:0 dir", "bin/x 644 0:0 \"1\""]);
    // Compressed input is kept as it is.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&root).unwrap();
    let blob = gzip.finish().unwrap();
    f.store.import(&blob[..], &Import::default()).unwrap();
    assert!(f.store.content().size(&Digest::sha256(&blob)).unwrap().is_some());
    // What the specification does not know becomes gzip.
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&root).unwrap();
    let blob = bzip2.finish().unwrap();
    let name = Reference::parse("bz:1").unwrap();
    f.store.import(&blob[..], &Import { name: Some(&name), ..Import::default() }).unwrap();
    let image = f.store.images().get(&name).unwrap().unwrap();
    let view = f.store.view(&image.target, &Matcher::only(&Platform::host())).unwrap();
    assert_eq!(view.manifest.layers[0].media_type, oci::media_type::OCI_LAYER_GZIP);
    assert_eq!(view.config.rootfs.diff_ids[0].0, Digest::sha256(&root));
    for (bad, want) in [
        (&b"junk"[..], "unexpected EOF"),
        (b"BZh", "unexpected EOF"),
        (b"BZh9 no block of bzip2", "cannot decompress layer (bzip2)"),
        (b"\xfd7zXZ\0 nothing that xz would write", "cannot decompress layer (xz)"),
    ] {
        let f = fixture();
        let options = Import::default();
        assert_eq!(import(&f.store, bad, &options).unwrap_err().to_string(), want);
        assert!(is_empty(&f));
    }
}

/// A disk of its own that is too small: nothing stays, and there is room again.
#[test]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let (path, layer) = (disk.clone(), tar(&[E::File("big", &vec![7; 6 << 20])]));
    let config = config(&[&layer]);
    let manifest = r#"[{"Config":"c","RepoTags":["x"],"Layers":["l"]}]"#;
    std::thread::scope(|s| {
        s.spawn(move || {
            sys::namespace::unshare(0x0002_0000).unwrap();
            use rustix::mount::MountPropagationFlags as P;
            rustix::mount::mount_change("/", P::PRIVATE | P::REC).unwrap();
            rustix::mount::mount("tmpfs", &path, "tmpfs", rustix::mount::MountFlags::empty(), c"size=9m")
                .unwrap();
            let store = crate::testing::open(&path);
            let archive = tar(&[
                E::File("l", &layer),
                E::File("c", &config),
                E::File("manifest.json", manifest.as_bytes()),
            ]);
            // The blob fits, its unpacked tree does not.
            let e = store.load(&archive[..], None).unwrap_err();
            assert!(e.is_disk_full(), "{e:?}");
            assert_eq!(store.content().list().unwrap(), []);
            let used = |p: &std::path::Path| {
                let s = rustix::fs::statvfs(p).unwrap();
                (s.f_blocks - s.f_bfree) * s.f_frsize
            };
            // The inflating thread lets go of the removed blob when it notices that nobody reads.
            for _ in 0..200 {
                if used(&path) < 1 << 20 {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            panic!("{} bytes stay in use", used(&path));
        });
    });
}

/// dockerd 28.5.2 (containerd image store) gave this id to the same archive.
#[test]
fn an_id_is_dockers() {
    const DOCKERS: &str = "sha256:9b8cee43180b7a910ab6606c1bc08b092ee4e8739de793350eb0d6990ba1e1e8";
    let layer = tar(&[E::Dir("d", 0o755), E::File("d/f", b"content")]);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/x"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::sha256(&layer)
    );
    let archive = tar(&[
        E::File("l/layer.tar", &layer),
        E::File("c.json", config.as_bytes()),
        E::File("manifest.json", br#"[{"Config":"c.json","RepoTags":["id:1"],"Layers":["l/layer.tar"]}]"#),
    ]);
    let loaded = fixture().store.load(&archive[..], None).unwrap();
    assert_eq!(loaded[0].target.digest.as_str(), DOCKERS);
}

/// Archives that another tool writes.
#[test]
fn archives_of_skopeo() {
    let available = Command::new("skopeo").arg("--version").output().is_ok_and(|o| o.status.success());
    if !available {
        eprintln!("skipped: skopeo is not installed");
        return;
    }
    let f = fixture();
    let layer = tar(&[E::File("a", b"1")]);
    let host = Platform::host();
    let config = oci::ImageConfig { os: host.os, architecture: host.architecture, ..Default::default() };
    f.store
        .install_image(&Reference::parse("a:x").unwrap(), config, [&layer[..]], &crate::Labels::new())
        .unwrap();
    let source = format!("oci:{}:x", f.store.content().root().display());
    for kind in ["docker-archive", "oci-archive"] {
        let path = f.dir.path().join(format!("{kind}.tar"));
        let target = format!("{kind}:{}:b:y", path.display());
        let out =
            Command::new("skopeo").args(["--insecure-policy", "copy", &source, &target]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let other = fixture();
        let loaded = other.store.load(std::fs::File::open(path).unwrap(), None).unwrap();
        assert_eq!(loaded.len(), 1, "{kind}");
    }
}

const CHILD: &str = "TARE_TEST_STORE";

/// The victim of the next test: loads and forgets an image until it is killed.
#[test]
fn victim() {
    let Ok(data) = std::env::var(CHILD) else { return };
    let store = crate::testing::open(std::path::Path::new(&data));
    let layers: Vec<Vec<u8>> =
        (0..3_u8).map(|n| tar(&[E::File(&format!("f{n}"), &vec![n; 400_000])])).collect();
    let config = config(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let archive = tar(&[
        E::File("0", &layers[0]),
        E::File("1", &layers[1]),
        E::File("2", &layers[2]),
        E::File("c", &config),
        E::File("manifest.json", br#"[{"Config":"c","RepoTags":["x"],"Layers":["0","1","2"]}]"#),
    ]);
    let name = Reference::parse("x").unwrap();
    loop {
        store.load(&archive[..], None).unwrap();
        store.images().delete(&name).unwrap();
        store.gc().unwrap();
        store.snapshots().empty_trash().unwrap();
    }
}

/// Killed at any moment, a load leaves a whole image or none, and the collector leaves nothing else.
#[test]
fn killed_at_any_moment() {
    let f = fixture();
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "archive::tests::victim"])
            .env(CHILD, f.dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(40 + round * 17 % 90));
        child.kill().unwrap();
        child.wait().unwrap();
        for image in f.store.images().list().unwrap() {
            let view = f.store.view(&image.target, &Matcher::only(&Platform::host())).unwrap();
            for layer in &view.manifest.layers {
                f.store.content().document(&layer.digest).unwrap();
            }
            let trees = f.store.snapshots().layers(view.top()).unwrap();
            assert_eq!(trees.iter().map(|t| list(t).len()).collect::<Vec<_>>(), [1, 1, 1]);
        }
        assert!(!f.store.gc().unwrap().busy, "a dead process holds no lease");
    }
    f.store.images().delete(&Reference::parse("x").unwrap()).unwrap();
    f.store.gc().unwrap();
    f.store.snapshots().empty_trash().unwrap();
    assert!(is_empty(&f), "{:?}", list(f.store.snapshots().root()));
}
