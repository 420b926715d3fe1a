//! The engines that a test runs on: the reference first, then Tare through each of its doors.
//!
//! A test's steps are one function over an [`Engine`]; [`crate::on_each_engine`] makes a test of each. So an
//! expectation is never trusted before the reference has met it.

use crate::TestHost;

/// A command line and the engine behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Docker's CLI and dockerd: the reference.
    Docker,
    /// Docker's CLI and `tare daemon`.
    Socket,
    /// `tare` without a daemon.
    Tare,
}

impl Engine {
    /// All, the reference first.
    pub const ALL: [Engine; 3] = [Engine::Docker, Engine::Socket, Engine::Tare];

    /// Name of the CLI.
    pub fn cli(self) -> &'static str {
        match self {
            Engine::Docker | Engine::Socket => "docker",
            Engine::Tare => "tare",
        }
    }

    /// Value of DOCKER_HOST for the CLI.
    pub fn docker_host(self) -> Option<&'static str> {
        match self {
            Engine::Docker => Some("unix:///run/docker.sock"),
            Engine::Socket => Some("unix:///run/tare/tare.sock"),
            Engine::Tare => None,
        }
    }

    /// Folder below which the engine keeps its data.
    pub fn data_root(self) -> &'static str {
        match self {
            Engine::Docker => "/var/lib/docker",
            Engine::Socket | Engine::Tare => "/var/lib/tare",
        }
    }

    /// Whether this is one of Tare's doors.
    pub fn is_tare(self) -> bool {
        self != Engine::Docker
    }

    /// Whether it is asked for: TARE_TEST_ENGINES names some of `docker,socket,tare`; all without it.
    pub fn is_wanted(self) -> bool {
        let name = format!("{self:?}").to_lowercase();
        std::env::var("TARE_TEST_ENGINES").map_or(true, |wanted| wanted.split(',').any(|one| one == name))
    }
}

/// Runs `body` in a fresh test host with `engine` and the registry up.
pub fn run_on(engine: Engine, body: fn(&TestHost, Engine)) {
    run_configured(engine, None, body);
}

/// A profile that settings may name.
const NO_MKDIR: &str = "/etc/no-mkdir.json";
const DENIES_MKDIR: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;

/// The same with settings, the text of a `daemon.json`.
pub fn run_configured(engine: Engine, settings: Option<&str>, body: fn(&TestHost, Engine)) {
    if !engine.is_wanted() {
        return crate::host::skip(&format!("engine {engine:?} is not in TARE_TEST_ENGINES"));
    }
    if let Some(host) = TestHost::new() {
        host.start_registry();
        match settings {
            Some(settings) => {
                host.write(NO_MKDIR, DENIES_MKDIR);
                host.start_with(engine, settings);
            }
            None => host.start(engine),
        }
        body(&host, engine);
    }
}

/// Makes a module of tests that run one function on each engine.
#[macro_export]
macro_rules! on_each_engine {
    ($($name:ident $(with $settings:expr)?),+ $(,)?) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            const SETTINGS: Option<&str> = $crate::settings!($($settings)?);
            #[test]
            fn docker() {
                $crate::engine::run_configured($crate::Engine::Docker, SETTINGS, super::$name);
            }
            #[test]
            fn socket() {
                $crate::engine::run_configured($crate::Engine::Socket, SETTINGS, super::$name);
            }
            #[test]
            fn tare() {
                $crate::engine::run_configured($crate::Engine::Tare, SETTINGS, super::$name);
            }
        }
    )+};
}

/// Settings that may be none.
#[doc(hidden)]
#[macro_export]
macro_rules! settings {
    () => {
        None
    };
    ($settings:expr) => {
        Some($settings)
    };
}
