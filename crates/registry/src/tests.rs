//! Pulls from a registry that lies, breaks off and forgets, and from a real one.

mod server;

use crate::{Client, Error, Kind, Progress, Proxies, Pulled, Settings};
use db::{Database, Durability};
use oci::{Digest, Matcher, Platform, Reference};
use server::{Content, Reply, Request, Server};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{LayerBuilder, Store};
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    Fixture { dir, store }
}

fn open(data: &Path) -> Store {
    let durable = Database::open(&data.join("tare.db"), Durability::Durable, store::MIGRATIONS).unwrap();
    let run = Database::open(&data.join("run.db"), Durability::Volatile, store::RUN_MIGRATIONS).unwrap();
    Store::open(data, Arc::new(durable), Arc::new(run)).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = LayerBuilder::new();
    builder.file(name, 0o644, content).unwrap();
    builder.finish().unwrap()
}

/// Two layers, one of them larger than a socket's buffers, in bytes that do not compress.
fn layers() -> Vec<Vec<u8>> {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(3 << 20)
    .collect();
    vec![layer("small", b"s"), layer("large", &noise)]
}

/// Pulls `image:tag` and returns what was told (without samples of progress) and the result.
async fn pull(server: &Server, store: &Store, name: &str) -> (Vec<String>, Result<Pulled, Error>) {
    let reference = Reference::parse(&format!("{}/{name}", server.authority())).unwrap();
    let mut told = Vec::new();
    let result = Client::default().pull(&reference, &Platform::host(), store, |p| told.push(p)).await;
    let sampled = |p: &Progress| {
        let status = p.message().status;
        status == "Downloading" || status == "Extracting"
    };
    let lines = told.iter().filter(|p| !sampled(p)).map(|p| {
        let message = p.message();
        message.id.map_or(message.status.clone(), |id| format!("{id}: {}", message.status))
    });
    (lines.collect(), result)
}

/// The error with its sources, one line.
fn text(e: &Error) -> String {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(e) = source {
        text = format!("{text}: {e}");
        source = e.source();
    }
    text
}

/// No name, nothing half-unpacked; only verified blobs.
fn assert_nothing_named(store: &Store) {
    assert_eq!(store.images().list().unwrap(), []);
    for digest in store.content().list().unwrap() {
        let bytes = std::fs::read(store.content().path(&digest)).unwrap();
        assert_eq!(Digest::sha256(&bytes), digest);
    }
}

fn short(bytes: &[u8]) -> String {
    Digest::sha256(bytes).hex()[..12].to_owned()
}

#[test]
fn a_pull_says_what_docker_says() {
    run(async {
        let content = Content::image(&layers());
        let (small, large) = (short(&content.blobs[0]), short(&content.blobs[1]));
        let digest = Digest::sha256(&content.manifest);
        let server = Server::start(content).await;
        let f = fixture();
        let (lines, result) = pull(&server, &f.store, "some/image:1.0").await;
        let pulled = result.unwrap();
        assert!(pulled.newer);
        assert_eq!(pulled.target.digest, digest);
        let head = [
            "1.0: Pulling from some/image".to_owned(),
            format!("{small}: Pulling fs layer"),
            format!("{large}: Pulling fs layer"),
        ];
        assert_eq!(lines[..3], head);
        let name = format!("{}/some/image:1.0", server.authority());
        let tail = [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {name}")];
        assert_eq!(lines[lines.len() - 2..], tail);
        for id in [&small, &large] {
            let at = |what: &str| lines.iter().position(|l| *l == format!("{id}: {what}")).unwrap();
            assert!(at("Download complete") < at("Pull complete"));
        }
        assert_eq!(lines.len(), 9);
        // Again: one question, no layers.
        let asked = server.requests();
        let (lines, result) = pull(&server, &f.store, "some/image:1.0").await;
        assert!(!result.unwrap().newer);
        assert_eq!(lines[0], "1.0: Pulling from some/image");
        assert_eq!(lines[2], format!("Status: Image is up to date for {name}"));
        assert_eq!((lines.len(), server.requests() - asked), (3, 1));
        // By digest, everything here: a name of its own.
        let (lines, _) = pull(&server, &f.store, &format!("some/image@{digest}")).await;
        assert_eq!(lines[0], format!("{0}/some/image@{digest}: Pulling from some/image", server.authority()));
        assert_eq!(f.store.images().by_digest(&digest).unwrap().len(), 2);
    });
}

#[test]
fn what_is_here_is_not_downloaded() {
    run(async {
        let all = layers();
        let f = fixture();
        let first = Server::start(Content::image(&all[..1])).await;
        pull(&first, &f.store, "a").await.1.unwrap();
        let content = Content::image(&all);
        let (small, large) = (short(&content.blobs[0]), Digest::sha256(&content.blobs[1]));
        let second = Server::start(content).await;
        let (lines, result) = pull(&second, &f.store, "b").await;
        result.unwrap();
        // As dockerd: nothing about a layer that was here.
        assert!(!lines.iter().any(|line| line.starts_with(&small)), "{lines:?}");
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert_eq!(second.blobs_served(), 2, "a configuration and {large}");
    });
}

#[test]
fn a_retag_leaves_the_old_image_dangling() {
    run(async {
        let f = fixture();
        let all = layers();
        let server = Server::start(Content::image(&all[..1])).await;
        let old = pull(&server, &f.store, "a").await.1.unwrap();
        server.replace(Content::image(&all));
        assert!(pull(&server, &f.store, "a").await.1.unwrap().newer);
        assert_eq!(f.store.images().by_digest(&old.target.digest).unwrap()[0].name, None);
        // Named or not, it is kept until somebody removes it; then nothing of it stays but the shared layer.
        let kept = leftovers(&f).len();
        f.store.images().delete_target(&old.target.digest).unwrap();
        let collected = f.store.gc().unwrap();
        assert_eq!((collected.blobs, collected.snapshots), (2, 0), "manifest and configuration");
        assert_eq!(leftovers(&f).len(), kept - 2);
    });
}

/// What one pull left behind, the next one takes away.
#[test]
fn leftovers_go_with_the_next_pull() {
    run(async {
        let f = fixture();
        f.store.content().put("x", b"of a pull that was killed").unwrap();
        std::fs::create_dir(f.dir.path().join("snapshots/unpacking/0123")).unwrap();
        let server = Server::start(Content::image(&layers())).await;
        pull(&server, &f.store, "a").await.1.unwrap();
        let left = leftovers(&f);
        assert_eq!(left.len(), 4 + 2, "manifest, configuration and two layers: {left:?}");
    });
}

/// A path, what is answered there, and what the pull says then.
type Lie = ((String, fn(&Content, &Request) -> Reply), Kind, String);

fn lie(
    path: impl Into<String>,
    reply: fn(&Content, &Request) -> Reply,
) -> (String, fn(&Content, &Request) -> Reply) {
    (path.into(), reply)
}

/// Each lie with the whole message, and that nothing is named after it.
fn check_lies(cases: Vec<Lie>, good: &Content) {
    for ((path, reply), kind, want) in cases {
        run(async {
            let server = Server::start(good.clone()).await;
            server.lie(&path, reply);
            let f = fixture();
            let (_, result) = pull(&server, &f.store, "x").await;
            let e = result.unwrap_err();
            assert_eq!(text(&e).replace(&server.authority(), "HOST"), want);
            assert_eq!(e.kind(), kind, "{want}");
            assert_nothing_named(&f.store);
            assert_eq!(leftovers(&f), Vec::<String>::new(), "{want}");
        });
    }
}

/// What lies in the store's folders.
fn leftovers(f: &Fixture) -> Vec<String> {
    let folders =
        ["content/blobs/sha256", "content/ingest", "snapshots/unpacking", "snapshots/trash", "snapshots"];
    let names = |folder: &str| -> Vec<String> {
        let path = f.dir.path().join(folder);
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|e| format!("{folder}/{}", e.file_name().display())).collect()
    };
    let mut found: Vec<String> = folders.iter().flat_map(|folder| names(folder)).collect();
    found.retain(|name| {
        !["active", "unpacking", "trash"].iter().any(|own| *name == format!("snapshots/{own}"))
    });
    found.sort();
    found
}

#[test]
fn lies_about_the_reference() {
    let good = Content::image(&layers());
    let cases = vec![
        (
            lie("/manifests/latest", |_, _| Reply::status(404)),
            Kind::NotFound,
            "failed to resolve reference \"HOST/x:latest\": HOST/x:latest: not found".into(),
        ),
        (
            lie("/manifests/latest", |_, _| Reply::status(500)),
            Kind::Unavailable,
            "failed to resolve reference \"HOST/x:latest\": unexpected status from HEAD request to http://HOST/v2/x/manifests/latest: 500 Internal Server Error".into(),
        ),
        (
            lie("/manifests/latest", |_, _| Reply::status(401).header("WWW-Authenticate", "Bearer realm=\"x\"")),
            Kind::Unavailable,
            "failed to resolve reference \"HOST/x:latest\": failed to authorize: failed to fetch anonymous token: invalid token auth challenge realm: \"x\"".into(),
        ),
        (
            lie("/manifests/latest", |_, _| Reply::status(302).header("Location", "ftp://elsewhere.example/x")),
            Kind::Unavailable,
            "failed to resolve reference \"HOST/x:latest\": bad redirect from http://HOST/v2/x/manifests/latest: its location is not understood".into(),
        ),
        (
            lie("/manifests/latest", |_, r| Reply::status(307).header("Location", &r.path)),
            Kind::Unavailable,
            "failed to resolve reference \"HOST/x:latest\": bad redirect from http://HOST/v2/x/manifests/latest: stopped after 10 redirects".into(),
        ),
        (
            lie("/manifests/latest", |c, r| Reply::manifest(c, r).header("Docker-Content-Digest", "sha256:nonsense")),
            Kind::Invalid,
            "failed to resolve reference \"HOST/x:latest\": \"sha256:nonsense\" in Docker-Content-Digest header not valid".into(),
        ),
        (
            lie("/manifests/latest", |c, r| {
                Reply::manifest(c, r).header("Docker-Content-Digest", Digest::sha256(b"other").as_str())
            }),
            Kind::NotFound,
            format!("content at http://HOST/v2/x/manifests/{} not found: not found", Digest::sha256(b"other")),
        ),
        (
            lie("/manifests/latest", |c, r| Reply::manifest(c, r).header("Content-Length", "99999999")),
            Kind::Invalid,
            "failed to resolve reference \"HOST/x:latest\": rejecting manifest larger than 8388608 bytes".into(),
        ),
    ];
    check_lies(cases, &good);
}

#[test]
fn lies_about_the_content() {
    let good = Content::image(&layers());
    let digest = |n: usize| Digest::sha256(&good.blobs[n]);
    let config = Digest::sha256(&good.config);
    let manifest = Digest::sha256(&good.manifest);
    let at = |what: &str, digest: &Digest| format!("/{what}/{digest}");
    let cases = vec![
        (
            lie(at("manifests", &manifest), |_, _| Reply::ok(vec![b' '; 9 << 20])),
            Kind::Invalid,
            "rejecting manifest larger than 8388608 bytes".into(),
        ),
        (
            lie(at("manifests", &manifest), |c, _| Reply::ok(vec![b'x'; c.manifest.len()])),
            Kind::Invalid,
            format!(
                "failed commit on ref \"manifest-{manifest}\": commit failed: unexpected commit digest {}, expected {manifest}: failed precondition",
                Digest::sha256(&vec![b'x'; good.manifest.len()])
            ),
        ),
        (
            lie(at("blobs", &config), |_, _| Reply::status(404)),
            Kind::NotFound,
            format!("content at http://HOST/v2/x/blobs/{config} not found: not found"),
        ),
        (
            lie(at("blobs", &digest(0)), |_, _| {
                Reply::status(403)
                    .body(br#"{"errors":[{"code":"DENIED","message":"not for you","detail":"really"}]}"#)
            }),
            Kind::Unavailable,
            "error from registry: not for you - really".into(),
        ),
        (
            lie(at("blobs", &digest(1)), |c, _| Reply::ok(vec![0; c.blobs[1].len()])),
            Kind::Invalid,
            format!(
                "failed commit on ref \"layer-{0}\": commit failed: unexpected commit digest {1}, expected {0}: failed precondition",
                digest(1),
                Digest::sha256(&vec![0; good.blobs[1].len()])
            ),
        ),
        (
            lie(at("blobs", &digest(0)), |c, _| Reply::ok(c.blobs[0][..7].to_vec())),
            Kind::Invalid,
            format!("short read: expected {} bytes but got 7: unexpected EOF", good.blobs[0].len()),
        ),
        (
            lie(at("blobs", &digest(0)), |c, _| Reply::ok([&c.blobs[0][..], b"more"].concat())),
            Kind::Invalid,
            format!("rejecting blob {} larger than {} bytes", digest(0), good.blobs[0].len()),
        ),
    ];
    check_lies(cases, &good);
}

#[test]
fn images_that_are_wrong_in_themselves() {
    let all = layers();
    let one = |layer: &[u8]| Content::image(&[layer.to_vec()]);
    let mut other_diff = Content::image(&all[..1]);
    other_diff.set_config(&[Digest::sha256(b"other")]);
    let mut more_layers = Content::image(&all[..1]);
    more_layers.set_config(&[Digest::sha256(&all[0]), Digest::sha256(&all[0])]);
    let mut broken = one(&all[0]);
    broken.set_blobs(vec![broken.blobs[0][..40].to_vec()]);
    let mut raw = server::tar_bytes("../escape");
    raw.resize(2048, 0);
    let cases: Vec<(Content, Kind, String)> = vec![
        (
            other_diff,
            Kind::Invalid,
            format!("wrong diff id calculated on extraction \"{}\"", Digest::sha256(&all[0])),
        ),
        (more_layers, Kind::Invalid, "manifest has 1 layers, but the image configuration has 2".into()),
        (
            broken,
            Kind::Invalid,
            "failed to extract layer (application/vnd.oci.image.layer.v1.tar+gzip".into(),
        ),
        (
            one(&raw),
            Kind::Invalid,
            "failed to extract layer (application/vnd.oci.image.layer.v1.tar+gzip".into(),
        ),
        (
            Content::index_for("linux/s390x", &all),
            Kind::NotFound,
            format!("no matching manifest for {} in the manifest list entries", Platform::host()),
        ),
        (
            Content::schema1(),
            Kind::Unsupported,
            "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported since containerd v2.1"
                .into(),
        ),
    ];
    for (content, kind, want) in cases {
        run(async {
            let server = Server::start(content).await;
            let f = fixture();
            let e = pull(&server, &f.store, "x").await.1.unwrap_err();
            assert!(text(&e).starts_with(&want), "{}", text(&e));
            assert_eq!(e.kind(), kind, "{want}");
            assert_nothing_named(&f.store);
        });
    }
}

#[test]
fn the_platform_is_chosen() {
    run(async {
        let server = Server::start(Content::index_for(&Platform::host().to_string(), &layers())).await;
        let f = fixture();
        let pulled = pull(&server, &f.store, "x").await.1.unwrap();
        assert_eq!(pulled.target.media_type, oci::media_type::OCI_INDEX);
        let view = f.store.view(&pulled.target, &Matcher::only(&Platform::host())).unwrap();
        assert_ne!(view.descriptor.digest, pulled.target.digest);
        assert!(f.store.snapshots().contains_all(&view.chain).unwrap());
    });
}

/// A registry without HEAD for manifests, one without digests, one that is busy once.
#[test]
fn poor_registries() {
    static BUSY: AtomicUsize = AtomicUsize::new(0);
    let lies: [fn(&Content, &Request) -> Reply; 5] = [
        |c, r| Reply::manifest(c, r).without("Content-Type"),
        |c, r| if r.method == "HEAD" { Reply::status(405) } else { Reply::manifest(c, r) },
        |c, r| Reply::manifest(c, r).without("Docker-Content-Digest"),
        |c, r| match BUSY.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::status(429).header("Retry-After", "0"),
            1 => Reply::status(503),
            _ => Reply::manifest(c, r),
        },
        |c, r| match r.path.strip_prefix("/moved") {
            Some(_) => Reply::manifest(c, r),
            None => Reply::status(301).header("Location", &format!("/moved{}", r.path)),
        },
    ];
    for reply in lies {
        run(async {
            let content = Content::image(&layers()[..1]);
            let digest = Digest::sha256(&content.manifest);
            let server = Server::start(content).await;
            server.lie("/manifests/latest", reply);
            let f = fixture();
            assert_eq!(pull(&server, &f.store, "x").await.1.unwrap().target.digest, digest);
        });
    }
}

/// The connection breaks in the middle of a layer, again and again; with ranges and without.
#[test]
fn broken_connections_are_continued() {
    let breaking: [fn(&Content, &Request) -> Reply; 2] = [
        |c, r| Reply::blob(&c.blobs[1], r).breaking_after(700_000),
        |c, _| {
            // Ranges are ignored; each answer gets a little further.
            static GOT: AtomicUsize = AtomicUsize::new(0);
            Reply::ok(c.blobs[1].clone())
                .breaking_after(GOT.fetch_add(1_100_000, Ordering::Relaxed) + 500_000)
        },
    ];
    for reply in breaking {
        run(async {
            let content = Content::image(&layers());
            let large = Digest::sha256(&content.blobs[1]);
            let server = Server::start(content).await;
            server.lie(&format!("/blobs/{large}"), reply);
            let f = fixture();
            pull(&server, &f.store, "x").await.1.unwrap();
            assert!(server.blobs_served() > 4, "{}", server.blobs_served());
        });
    }
}

#[test]
fn a_registry_that_goes_away() {
    run(async {
        let f = fixture();
        let reference = Reference::parse("127.0.0.1:1/x").unwrap();
        let e = Client::default().pull(&reference, &Platform::host(), &f.store, |_| {}).await.unwrap_err();
        let want = "failed to resolve reference \"127.0.0.1:1/x:latest\": failed to do request: \
                    Head \"https://127.0.0.1:1/v2/x/manifests/latest\": dial tcp 127.0.0.1:1: connect: connection refused";
        assert_eq!((text(&e).as_str(), e.kind()), (want, Kind::Unavailable));
        // A name that is on no machine: through a proxy that is not there, so that no test asks the network.
        let proxies = Proxies { https: "http://127.0.0.1:1".to_owned(), ..Proxies::default() };
        let client = Client::new(Settings { proxies, ..Settings::default() });
        let e = client.resolve(&Reference::parse("nginx").unwrap()).await.unwrap_err();
        let want = "failed to resolve reference \"docker.io/library/nginx:latest\": failed to do request: \
                    Head \"https://registry-1.docker.io/v2/library/nginx/manifests/latest\": \
                    proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused";
        assert_eq!((text(&e).as_str(), e.kind()), (want, Kind::Unavailable));
    });
}

/// A pull that is dropped leaves no name, and the next one continues its download.
#[test]
fn a_dropped_pull_is_continued() {
    run(async {
        let content = Content::image(&layers());
        let large = Digest::sha256(&content.blobs[1]);
        let size = content.blobs[1].len() as u64;
        let server = Server::start(content).await;
        server.lie(&format!("/blobs/{large}"), |c, r| Reply::blob(&c.blobs[1], r).stalling_after(1 << 20));
        let dir = TempDir::new().unwrap();
        let store = open(dir.path());
        {
            let pulling = pull(&server, &store, "x");
            tokio::pin!(pulling);
            // Until something of the layer is here.
            let partial = dir.path().join(format!("content/ingest/sha256-{}", large.hex()));
            loop {
                tokio::select! {
                    _ = &mut pulling => panic!("it cannot end"),
                    () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
                }
                if std::fs::metadata(&partial).is_ok_and(|m| m.len() >= 1 << 20) {
                    break;
                }
            }
        }
        assert_nothing_named(&store);
        server.lie(&format!("/blobs/{large}"), |c, r| {
            assert!(r.range > 0, "continued");
            Reply::blob(&c.blobs[1], r)
        });
        assert!(size > 1 << 20);
        pull(&server, &store, "x").await.1.unwrap();
    });
}

/// Two pulls of the same image at once, with stores of their own on the same data: each blob travels once.
#[test]
fn two_pulls_share_their_downloads() {
    run(async {
        let content = Content::image(&layers());
        let server = Server::start(content).await;
        let dir = TempDir::new().unwrap();
        let (one, two) = (open(dir.path()), open(dir.path()));
        let ((_, a), (_, b)) = tokio::join!(pull(&server, &one, "x"), pull(&server, &two, "x"));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.target, b.target);
        assert!(a.newer != b.newer, "one of them was first");
        // The configuration may be asked for by both.
        assert!(server.blobs_served() <= 4, "{}", server.blobs_served());
        assert!(!one.gc().unwrap().busy);
        assert_eq!(std::fs::read_dir(dir.path().join("snapshots/unpacking")).unwrap().count(), 0);
    });
}

#[test]
fn the_same_layer_twice() {
    run(async {
        let one = layer("a", b"1");
        let server = Server::start(Content::image(&[one.clone(), one])).await;
        let f = fixture();
        let (lines, result) = pull(&server, &f.store, "x").await;
        let view = f.store.view(&result.unwrap().target, &Matcher::only(&Platform::host())).unwrap();
        assert!(f.store.snapshots().contains_all(&view.chain).unwrap());
        assert_eq!(server.blobs_served(), 2);
        assert_eq!(lines.iter().filter(|l| l.ends_with("Pull complete")).count(), 2);
    });
}

/// Debian's docker-registry on loopback, where it is installed (the test host's cache holds it).
#[test]
fn a_real_registry() {
    let cache = std::env::var("TARE_TEST_CACHE").unwrap_or_else(|_| "/var/cache/tare-tests".into());
    let (program, data) =
        (format!("{cache}/tools/usr/bin/docker-registry"), format!("{cache}/registry-data"));
    if !Path::new(&program).exists() || !Path::new(&data).exists() {
        eprintln!("skipped: {program} or {data} is not there (built by the test host)");
        return;
    }
    run(async {
        let dir = TempDir::new().unwrap();
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data}}}, maintenance: {{readonly: {{enabled: true}}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut registry = tokio::process::Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let f = fixture();
        let client = Client::default();
        for image in ["busybox:latest", "nginx:1.22", "layered:latest"] {
            let reference = Reference::parse(&format!("127.0.0.1:{port}/{image}")).unwrap();
            let pulled = client.pull(&reference, &Platform::host(), &f.store, |_| {}).await.unwrap();
            let view = f.store.view(&pulled.target, &Matcher::only(&Platform::host())).unwrap();
            assert!(f.store.snapshots().contains_all(&view.chain).unwrap(), "{image}");
        }
        registry.kill().await.unwrap();
    });
}
