//! Docker Hub and its like, by their own names, with an authority that only `SSL_CERT_FILE` tells of: tokens, the CDN,
//! limits, credentials, proxies.

use tests::hub::{self, CDN, ECR, ECR_USER, GHCR, REGISTRY_1, USER};
use tests::{Engine, TestHost, with_the_hub};

with_the_hub!(
    a_short_name_runs,
    tokens_and_the_cdn,
    limits,
    kinds_of_images,
    what_is_private_needs_a_login,
    basic_authorization,
    pushes_to_the_hub,
    an_index_is_pushed_by_its_image,
    searches
);

/// Logs in to a registry; the password comes by standard input.
fn log_in(host: &TestHost, engine: Engine, server: &str, (user, password): (&str, &str)) {
    let output =
        host.cli_with_input(engine, &["login", "-u", user, "--password-stdin", server], password.as_bytes());
    assert!(output.ok().ends_with("Login Succeeded"), "{output}");
}

fn a_short_name_runs(host: &TestHost, engine: Engine) {
    let output = host.cli(engine, &["run", "--rm", "busybox", "echo", "hi"]);
    assert_eq!(output.ok(), "hi");
    output
        .says("Unable to find image 'busybox:latest' locally\n")
        .says("latest: Pulling from library/busybox\n")
        .says("Status: Downloaded newer image for busybox:latest\n");
    assert_eq!(host.cli(engine, &["pull", "-q", "library/busybox"]).ok(), "docker.io/library/busybox:latest");
    host.cli(engine, &["pull", "nosuch"]).exits(1).says(
        "failed to resolve reference \"docker.io/library/nosuch:latest\": docker.io/library/nosuch:latest: not found",
    );
}

fn tokens_and_the_cdn(host: &TestHost, engine: Engine) {
    // A token is good for three requests: more than one is needed in the middle of the pull.
    host.cli(engine, &["pull", "short/nginx:1.22"]).ok();
    let seen = hub::requests(host);
    let tokens = seen.lines().filter(|l| l.contains("/token?") && l.contains("short%2Fnginx"));
    assert!(tokens.count() >= 2, "{seen}");
    let cdn: Vec<&str> = seen.lines().filter(|l| l.starts_with(CDN)).collect();
    assert!(cdn.len() >= 3 && cdn.iter().all(|l| l.ends_with("none 200")), "{seen}");
    let refused = format!("{REGISTRY_1} GET");
    assert!(seen.lines().any(|l| l.starts_with(&refused) && l.ends_with("bearer 401")), "{seen}");
}

fn limits(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "limited/busybox"]).ok();
    let seen = hub::requests(host);
    let refused =
        seen.lines().filter(|l| l.contains("limited/busybox/manifests") && l.ends_with("429")).count();
    assert_eq!(refused, 2, "{seen}");
    // An hour is not waited for.
    host.cli(engine, &["pull", "exhausted/busybox"]).exits(1).says(
        "unexpected status from HEAD request to https://registry-1.docker.io/v2/exhausted/busybox/manifests/latest: 429",
    );
}

fn kinds_of_images(host: &TestHost, engine: Engine) {
    for name in ["zstd", "attested", "multi"] {
        host.cli(engine, &["pull", name]).ok();
        assert_eq!(host.cli(engine, &["run", "--rm", name, "echo", name]).ok(), name);
    }
    host.cli(engine, &["pull", "legacy/old"]).exits(1).says(
        "not implemented: media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported",
    );
    host.cli(engine, &["pull", "-q", "ghcr.io/busybox"]).ok();
    assert!(hub::requests(host).lines().any(|l| l.starts_with(GHCR)));
}

fn what_is_private_needs_a_login(host: &TestHost, engine: Engine) {
    let denied =
        "pull access denied for private/busybox, repository does not exist or may require 'docker login'";
    host.cli(engine, &["pull", "private/busybox"]).exits(1).says(denied);
    host.cli(engine, &["login", "-u", USER.0, "-p", "wrong"])
        .exits(1)
        .says("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
        .says("Get \"https://registry-1.docker.io/v2/\": unauthorized: ")
        .says("incorrect username or password");
    log_in(host, engine, "", USER);
    let config = host.read("/run/t/home/.docker/config.json");
    let config =
        if config.is_empty() { host.sh("cat $HOME/.docker/config.json").ok().to_string() } else { config };
    assert_eq!(
        config,
        "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"aHVidXNlcjpodWJwYXNz\"\n\t\t}\n\t}\n}"
    );
    host.cli(engine, &["pull", "private/busybox"]).ok();
    // Who is logged in logs in again without a word.
    let again = host.cli(engine, &["login"]);
    again.says("Authenticating with existing credentials... [Username: hubuser]");
    assert_eq!(again.ok(), "Login Succeeded");
    assert_eq!(
        host.cli(engine, &["logout"]).ok(),
        "Removing login credentials for https://index.docker.io/v1/"
    );
    host.cli(engine, &["rmi", "private/busybox"]).ok();
    host.cli(engine, &["pull", "private/busybox"]).exits(1).says(denied);
}

fn basic_authorization(host: &TestHost, engine: Engine) {
    let image = format!("{ECR}/busybox");
    host.cli(engine, &["pull", &image]).exits(1).says("authorization failed: no basic auth credentials");
    log_in(host, engine, ECR, ECR_USER);
    host.cli(engine, &["pull", &image]).ok();
    // What is said to one registry is said to no other.
    host.cli(engine, &["pull", "busybox"]).ok();
    let seen = hub::requests(host);
    assert!(seen.lines().filter(|l| l.contains(" basic ")).all(|l| l.starts_with(ECR)), "{seen}");
}

fn pushes_to_the_hub(host: &TestHost, engine: Engine) {
    host.cli(engine, &["pull", "-q", "layered"]).ok();
    host.cli(engine, &["tag", "layered", "team/app:1"]).ok();
    host.cli(engine, &["push", "team/app:1"]).exits(1).says(
        "push access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
    );
    log_in(host, engine, "", USER);
    let pushed = host.cli(engine, &["push", "team/app:1"]);
    let text = pushed.ok();
    assert!(text.starts_with("The push refers to repository [docker.io/team/app]\n"), "{text}");
    let digest = "sha256:87e84423a1ac079d583139d28d1f0b257ff15a9150d51f4c26c768d2456a3622";
    assert!(text.contains(&format!("1: digest: {digest} size: 713")), "{text}");
    let again = host.cli(engine, &["push", "team/app:1"]);
    assert_eq!(again.ok().matches(": Layer already exists\n").count(), 3, "{again}");
    // What is there as it is needs nobody's leave.
    host.cli(engine, &["logout"]).ok();
    host.cli(engine, &["push", "team/app:1"]).ok();
    host.cli(engine, &["rmi", "team/app:1", "layered"]).ok();
    host.cli(engine, &["pull", "team/app:1"]).ok();
    assert_eq!(host.cli(engine, &["images", "--no-trunc", "-q", "team/app"]).ok(), digest);
}

fn an_index_is_pushed_by_its_image(host: &TestHost, engine: Engine) {
    log_in(host, engine, "", USER);
    host.cli(engine, &["pull", "-q", "multi"]).ok();
    host.cli(engine, &["tag", "multi", "team/multi:1"]).ok();
    let pushed = host.cli(engine, &["push", "team/multi:1"]);
    let note = "Info -> Not all multiplatform-content is present and only the available single-platform image was pushed";
    assert!(pushed.ok().contains(note), "{pushed}");
    host.cli(engine, &["rmi", "team/multi:1", "multi"]).ok();
    host.cli(engine, &["pull", "-q", "team/multi:1"]).ok();
    assert_eq!(host.cli(engine, &["run", "--rm", "team/multi:1", "echo", "hi"]).ok(), "hi");
}

fn searches(host: &TestHost, engine: Engine) {
    assert_eq!(
        host.cli(engine, &["search", "busybox"]).ok(),
        "NAME           DESCRIPTION                                     STARS     OFFICIAL\n\
         team/busybox   made by a team, with quite a long descriptio…   5         \n\
         busybox        the official one                                1900      [OK]\n\
         bot/busybox                                                    0         "
    );
    let official = ["search", "--filter", "is-official=true", "--format", "{{.Name}} {{.StarCount}}", "x"];
    assert_eq!(host.cli(engine, &official).ok(), "x 1900");
    assert_eq!(
        host.cli(engine, &["search", "--filter", "stars=3", "--format", "{{.Name}}", "x"]).ok(),
        "team/x\nx"
    );
    host.cli(engine, &["search", "--limit", "200", "x"])
        .exits(1)
        .says("limit 200 is outside the range of [1, 100]");
    host.cli(engine, &["search", "--filter", "bad=1", "x"]).exits(1).says("invalid filter 'bad'");
}

/// With a proxy for everything: the host itself does not know the hub's names any more.
mod through_a_proxy {
    use super::*;

    fn prepare(host: &mut TestHost) {
        let hosts: String = host
            .read("/etc/hosts")
            .lines()
            .filter(|l| !l.contains("docker.io"))
            .map(|l| format!("{l}\n"))
            .collect();
        host.write("/etc/hosts", &hosts);
        host.set_variable("HTTPS_PROXY", &format!("http://127.0.0.1:{}", hub::PROXY_PORT));
        host.set_variable("NO_PROXY", "example.com");
    }

    fn body(host: &TestHost, engine: Engine) {
        assert_eq!(host.cli(engine, &["run", "--rm", "busybox", "echo", "hi"]).ok(), "hi");
        let seen = host.read(&format!("{}/proxy.log", hub::FOLDER));
        for name in [REGISTRY_1, hub::AUTH, CDN] {
            assert!(seen.contains(&format!("CONNECT {name}:443 HTTP/1.1")), "{name}: {seen}");
        }
    }

    #[test]
    fn docker() {
        hub::run_prepared(Engine::Docker, prepare, body);
    }

    #[test]
    fn socket() {
        hub::run_prepared(Engine::Socket, prepare, body);
    }

    #[test]
    fn tare() {
        hub::run_prepared(Engine::Tare, prepare, body);
    }
}

/// An authority that nobody told of is not trusted: not for Docker Hub, even on loopback.
mod an_unknown_authority {
    use super::*;

    fn prepare(host: &mut TestHost) {
        host.set_variable("SSL_CERT_FILE", "/etc/hostname");
    }

    fn body(host: &TestHost, engine: Engine) {
        host.cli(engine, &["pull", "busybox"])
            .exits(1)
            .says("tls: failed to verify certificate: x509: certificate signed by unknown authority");
        assert_eq!(hub::requests(host), "");
    }

    #[test]
    fn docker() {
        hub::run_prepared(Engine::Docker, prepare, body);
    }

    #[test]
    fn tare() {
        hub::run_prepared(Engine::Tare, prepare, body);
    }
}
