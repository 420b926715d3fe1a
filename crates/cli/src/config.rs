//! The client's configuration: Docker's `config.json`, as far as the commands here read it.

use std::path::{Path, PathBuf};

use api::json::Json;

/// A larger file is not a configuration.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// What `config.json` says.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// The folder it was read from.
    pub folder: PathBuf,
    /// Keys that detach.
    pub detach_keys: String,
    /// Default `--format` of `ps`.
    pub ps_format: String,
    /// Default `--format` of `stats`.
    pub stats_format: String,
    /// Default `--format` of `images`.
    pub images_format: String,
    /// Default `--format` of `volume ls`.
    pub volumes_format: String,
    /// The context in use; `default` and none are the same.
    pub current_context: String,
    /// It names or holds credentials for registries.
    pub has_credentials: bool,
    /// What `proxies` says for engines, by their addresses or as `default`.
    pub(crate) proxies: Vec<(String, Json)>,
    /// Why the file could not be used, if so.
    pub problem: Option<String>,
}

impl Config {
    /// Reads `config.json` in `folder`; a missing file is an empty configuration.
    pub fn read(folder: &Path) -> Config {
        let path = folder.join("config.json");
        let empty = Config { folder: folder.to_owned(), ..Config::default() };
        let size = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
        if size == 0 || size > MAX_CONFIG_BYTES {
            return empty;
        }
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) => {
                let problem = format!("WARNING: Error loading config file: {}: {error}", path.display());
                return Config { problem: Some(problem), ..empty };
            }
        };
        match Json::parse(&text) {
            Ok(json) => {
                let get = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or("").to_owned();
                Config {
                    detach_keys: get("detachKeys"),
                    ps_format: get("psFormat"),
                    stats_format: get("statsFormat"),
                    images_format: get("imagesFormat"),
                    volumes_format: get("volumesFormat"),
                    current_context: get("currentContext"),
                    has_credentials: ["auths", "credHelpers", "credsStore"].iter().any(|key| {
                        json.get(key).is_some_and(|v| v.as_object().is_none_or(|pairs| !pairs.is_empty()))
                    }),
                    proxies: json.get("proxies").and_then(Json::as_object).unwrap_or_default().to_vec(),
                    ..empty
                }
            }
            Err(error) => {
                let problem = format!("WARNING: Error parsing config file ({}): {error}", path.display());
                Config { problem: Some(problem), ..empty }
            }
        }
    }

    /// The variables that containers of an engine get: each proxy in capitals and in small letters.
    pub fn proxies(&self, engine: &str) -> Vec<(String, String)> {
        let of = |name: &str| self.proxies.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let Some(chosen) = of(engine).or_else(|| of("default")) else { return Vec::new() };
        let mut out = Vec::new();
        for (key, name) in [
            ("httpProxy", "HTTP_PROXY"),
            ("httpsProxy", "HTTPS_PROXY"),
            ("noProxy", "NO_PROXY"),
            ("ftpProxy", "FTP_PROXY"),
            ("allProxy", "ALL_PROXY"),
        ] {
            if let Some(value) = chosen.get(key).and_then(Json::as_str).filter(|v| !v.is_empty()) {
                out.extend([name.to_owned(), name.to_lowercase()].map(|n| (n, value.to_owned())));
            }
        }
        out
    }

    /// The whole file as it is now; an empty object when there is none.
    pub fn load(&self) -> Result<Json, String> {
        let path = self.folder.join("config.json");
        let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Json::Object(Vec::new())),
            Err(e) => return Err(wrong(&crate::error::io_text(&e))),
            Ok(m) if m.len() > MAX_CONFIG_BYTES => return Err(wrong(&"too large")),
            Ok(m) if m.len() == 0 => return Ok(Json::Object(Vec::new())),
            Ok(_) => {}
        }
        let text = std::fs::read(&path).map_err(|e| wrong(&crate::error::io_text(&e)))?;
        Json::parse(&text).map_err(|e| wrong(&e))
    }

    /// Where the configuration lies unless `--config` says otherwise.
    pub fn default_folder() -> PathBuf {
        if let Some(folder) = std::env::var_os("DOCKER_CONFIG").filter(|f| !f.is_empty()) {
            return PathBuf::from(folder);
        }
        let home = std::env::var_os("HOME").filter(|h| !h.is_empty()).unwrap_or_else(|| "/root".into());
        Path::new(&home).join(".docker")
    }
}
