//! How this installation is set up: defaults, the environment, and the flags of our own commands.

use std::ffi::OsString;
use std::path::PathBuf;

/// The version of dockerd whose API and behaviour this is.
const DOCKER_VERSION: &str = "28.5.2";

/// What the program says of itself.
pub(crate) fn build() -> cli::Build {
    cli::Build {
        version: version(),
        commit: option_env!("TARE_COMMIT").unwrap_or("unknown").to_string(),
        time: option_env!("TARE_BUILD_TIME").unwrap_or("").to_string(),
    }
}

/// `28.5.2+tare.0.1.0`: clients parse the first part.
pub(crate) fn version() -> String {
    format!("{DOCKER_VERSION}+tare.{}", env!("CARGO_PKG_VERSION"))
}

/// Flags of the commands that open the engine themselves.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// `--data-root`.
    pub data_root: Option<PathBuf>,
    /// `--run-root`.
    pub run_root: Option<PathBuf>,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// Everything else, in order.
    pub rest: Vec<String>,
}

impl Flags {
    /// Takes the known flags (`--name=value` or `--name value`) out of `args`.
    pub(crate) fn parse(args: &[OsString]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut args = args.iter().map(|a| a.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_string(), Some(value.to_string())),
                _ => (arg.clone(), None),
            };
            if !matches!(name.as_str(), "--data-root" | "--run-root" | "--cgroup-parent") {
                flags.rest.push(arg);
                continue;
            }
            let value =
                inline.or_else(|| args.next()).ok_or_else(|| format!("flag needs an argument: {name}"))?;
            match name.as_str() {
                "--data-root" => flags.data_root = Some(value.into()),
                "--run-root" => flags.run_root = Some(value.into()),
                _ => flags.cgroup_parent = Some(value),
            }
        }
        Ok(flags)
    }

    /// The engine's options: flags before TARE_DATA_ROOT, TARE_RUN_ROOT and TARE_CGROUP_PARENT, before the defaults.
    pub(crate) fn engine(&self, long_lived: bool) -> Result<engine::Options, String> {
        let program = std::env::current_exe().map_err(|e| format!("cannot find the own program: {e}"))?;
        let runtime_program = match std::env::var_os("TARE_RUNTIME") {
            Some(path) => PathBuf::from(path),
            None => program.with_file_name("tare-runtime"),
        };
        if !runtime_program.exists() {
            return Err(format!(
                "{} is missing: it belongs beside {}",
                runtime_program.display(),
                program.display()
            ));
        }
        let path = |flag: &Option<PathBuf>, variable: &str, default: &str| {
            flag.clone()
                .or_else(|| std::env::var_os(variable).map(PathBuf::from))
                .unwrap_or_else(|| default.into())
        };
        Ok(engine::Options {
            data_root: path(&self.data_root, "TARE_DATA_ROOT", "/var/lib/tare"),
            run_root: path(&self.run_root, "TARE_RUN_ROOT", "/run/tare"),
            cgroup_parent: self
                .cgroup_parent
                .clone()
                .or_else(|| std::env::var("TARE_CGROUP_PARENT").ok())
                .unwrap_or_else(|| "/docker".to_string()),
            program,
            runtime_program,
            version: version(),
            long_lived,
        })
    }
}
