//! A Docker Hub of our own in a test host: the same names, a certificate authority made when it starts, tokens,
//! a CDN, limits. Behind it stands the host's docker-registry, which holds the content.
//!
//! A repository's first component says what it is like:
//!
//! | Repository | What happens |
//! |---|---|
//! | `library/…` | anybody may read; blobs come from the CDN by a redirect |
//! | `short/…` | a token is good for three requests |
//! | `limited/…` | the first two questions are answered 429 with `Retry-After: 1` |
//! | `exhausted/…` | always 429, with an hour to wait |
//! | `private/…` | only [`USER`] may read and write; so may they write everywhere else |
//! | `legacy/…` | schema 1 |
//!
//! What it saw stands in `requests.log` in its folder: host, method, path, kind of authorization, status.

pub mod content;
pub mod server;
pub mod token;
pub mod upstream;
pub mod wire;

use crate::host::REGISTRY;
use crate::sandbox::OWN_DIR;
use crate::{Engine, TestHost};

/// The hub's folder in the host.
pub const FOLDER: &str = "/run/hub";
/// The certificate authority.
pub const CA: &str = "/run/hub/ca.pem";
/// Who may log in, and how.
pub const USER: (&str, &str) = ("hubuser", "hubpass");
/// Who may use [`ECR`].
pub const ECR_USER: (&str, &str) = ("AWS", "ecrpass");
/// A registry with Basic authorization.
pub const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
/// Another registry with tokens.
pub const GHCR: &str = "ghcr.io";
/// Docker Hub's registry.
pub const REGISTRY_1: &str = "registry-1.docker.io";
/// Docker Hub's index.
pub const INDEX: &str = "index.docker.io";
/// The token server.
pub const AUTH: &str = "auth.docker.io";
/// Where blobs come from.
pub const CDN: &str = "production.cloudflare.docker.com";
/// Port of the hub's proxy.
pub const PROXY_PORT: &str = "3128";

/// All names.
pub const NAMES: [&str; 6] = [REGISTRY_1, INDEX, AUTH, CDN, GHCR, ECR];

/// Runs `body` in a fresh test host with registry, hub and engine up; the engine knows the authority by
/// `SSL_CERT_FILE` and nothing else.
pub fn run_on(engine: Engine, body: fn(&TestHost, Engine)) {
    run_prepared(engine, |_| {}, body);
}

/// The same, with a step before the engine starts.
pub fn run_prepared(engine: Engine, prepare: fn(&mut TestHost), body: fn(&TestHost, Engine)) {
    if !engine.is_wanted() {
        return crate::host::skip(&format!("engine {engine:?} is not in TARE_TEST_ENGINES"));
    }
    let Some(mut host) = TestHost::new() else { return };
    host.start_registry();
    start(&host);
    host.set_variable("SSL_CERT_FILE", CA);
    prepare(&mut host);
    host.start(engine);
    body(&host, engine);
}

/// Starts the hub and points its names to it.
pub fn start(host: &TestHost) {
    let hosts = host.read("/etc/hosts");
    host.write("/etc/hosts", &format!("{hosts}127.0.0.1 {}\n", NAMES.join(" ")));
    let program = format!("{OWN_DIR}/helper/test-hub");
    let hub = host.spawn(&format!("mkdir -p {FOLDER} && exec {program} {FOLDER} >{FOLDER}/hub.log 2>&1"));
    host.keep(hub);
    assert!(host.wait_for_listener("443"), "hub: {}", host.read(&format!("{FOLDER}/hub.log")));
}

/// What the hub saw.
pub fn requests(host: &TestHost) -> String {
    host.read(&format!("{FOLDER}/requests.log"))
}

/// Address of the registry behind the hub.
pub fn behind() -> &'static str {
    REGISTRY
}

/// Makes a module of tests that run one function on each engine, with the hub.
#[macro_export]
macro_rules! with_the_hub {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn docker() {
                $crate::hub::run_on($crate::Engine::Docker, super::$name);
            }
            #[test]
            fn socket() {
                $crate::hub::run_on($crate::Engine::Socket, super::$name);
            }
            #[test]
            fn tare() {
                $crate::hub::run_on($crate::Engine::Tare, super::$name);
            }
        }
    )+};
}
