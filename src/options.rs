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

/// Where the engine's things lie when something else than the settings says so.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    pub data: Option<PathBuf>,
    pub run: Option<PathBuf>,
    pub cgroup_parent: Option<String>,
}

/// Flags of the commands that open the engine themselves.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// What they say of settings, and the rest.
    pub flags: daemon::flags::Flags,
    /// What a helper is told beside the settings.
    pub roots: Roots,
}

impl Setup {
    /// Those of the daemon: all of them are settings.
    pub(crate) fn of_daemon(args: &[OsString]) -> Result<Self, String> {
        let args: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        let mut flags = daemon::flags::Flags::parse(&args)?;
        if flags.source.file.is_none() {
            flags.source.file = std::env::var_os("TARE_CONFIG_FILE").map(PathBuf::from);
        }
        Ok(Self { flags, roots: Roots::default() })
    }

    /// Those of a helper: the roots go before what the settings say.
    pub(crate) fn of_helper(args: &[OsString]) -> Result<Self, String> {
        let mut setup = Self::of_daemon(args)?;
        let mut take = |name| setup.flags.take(name);
        setup.roots = Roots {
            data: take("data-root").map(PathBuf::from),
            run: take("exec-root").map(PathBuf::from),
            cgroup_parent: take("cgroup-parent"),
        };
        Ok(setup)
    }

    /// The engine's options: what a helper was told before TARE_DATA_ROOT, TARE_RUN_ROOT and TARE_CGROUP_PARENT,
    /// before the settings, before the defaults.
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
        let settings = engine::settings::load(&self.flags.source).map_err(|e| e.to_string())?;
        let of_flags = |name: &str| self.flags.given().contains_key(name);
        let path = |told: &Option<PathBuf>, variable: &str, name: &str, default: &str| {
            let variable = std::env::var_os(variable).map(PathBuf::from).filter(|_| !of_flags(name));
            told.clone()
                .or(variable)
                .or_else(|| settings.text(name).map(PathBuf::from))
                .unwrap_or_else(|| default.into())
        };
        let (data, run) = (&self.roots.data, &self.roots.run);
        let parent = std::env::var("TARE_CGROUP_PARENT").ok().filter(|_| !of_flags("cgroup-parent"));
        Ok(engine::Options {
            data_root: path(data, "TARE_DATA_ROOT", "data-root", "/var/lib/tare"),
            run_root: path(run, "TARE_RUN_ROOT", "exec-root", "/run/tare"),
            cgroup_parent: (self.roots.cgroup_parent.clone().or(parent))
                .or_else(|| settings.text("cgroup-parent").map(str::to_string))
                .unwrap_or_else(|| "/docker".to_string()),
            program,
            runtime_program,
            version: version(),
            long_lived,
            settings,
            arguments: self.arguments(),
        })
    }

    /// What a helper of this process is told of the settings; the roots it is told by themselves.
    fn arguments(&self) -> Vec<String> {
        let own = |argument: &&String| {
            ["--data-root=", "--exec-root=", "--cgroup-parent="]
                .iter()
                .all(|root| !argument.starts_with(root))
        };
        let mut arguments: Vec<String> = self.flags.arguments.iter().filter(own).cloned().collect();
        if let Some(file) = self.flags.source.file.as_ref()
            && !arguments.iter().any(|argument| argument.starts_with("--config-file="))
        {
            arguments.push(format!("--config-file={}", file.display()));
        }
        arguments
    }
}
