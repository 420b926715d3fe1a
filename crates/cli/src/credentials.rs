//! Credentials for registries: `auths` of `config.json`, and credential helpers.
//!
//! As Docker's CLI: `credHelpers` names a helper for one registry, `credsStore` one for all others; a helper is
//! the program `docker-credential-NAME`, called with `get`, `store` or `erase`, the registry or the credentials on
//! its standard input. Without one they stand in the file, base64-encoded. Docker Hub's key is
//! [`INDEX_SERVER`], every other registry's its host. Whatever else the file holds is kept.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use api::image_calls::{decode_basic, encode_basic};
use api::json::Json;
use api::system::AuthConfig;

use crate::config::Config;
use crate::error::io_text;

/// Docker Hub's key.
pub const INDEX_SERVER: &str = "https://index.docker.io/v1/";
/// A helper's answer is one small object.
const MAX_HELPER_BYTES: u64 = 1 << 20;
/// A helper's username that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// The key of a registry by its domain in references.
pub fn key_of_domain(domain: &str) -> &str {
    if domain == oci::DEFAULT_DOMAIN { INDEX_SERVER } else { domain }
}

/// An address without scheme and path.
pub fn hostname(address: &str) -> &str {
    let rest =
        address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
    rest.split('/').next().unwrap_or(rest)
}

/// Credentials of the registry that a reference is in; empty ones when there are none. A helper that fails
/// counts as one that has none, as with Docker.
pub fn for_reference(config: &Config, reference: &oci::Reference) -> AuthConfig {
    get(config, key_of_domain(reference.domain())).unwrap_or_default()
}

/// Credentials under a key.
pub fn get(config: &Config, key: &str) -> Result<AuthConfig, String> {
    let root = config.load()?;
    let mut auth = match helper(&root, key) {
        Some(helper) => from_helper(&helper, key)?,
        None => from_file(&root, key),
    };
    auth.server_address = key.to_owned();
    Ok(auth)
}

/// Stores credentials; whether they went into the file, where anybody who reads it can read them.
pub fn store(config: &Config, auth: &AuthConfig) -> Result<bool, String> {
    let mut root = config.load()?;
    let key = auth.server_address.as_str();
    let helper = helper(&root, key);
    let entry = match &helper {
        Some(helper) => {
            let (user, secret) = match auth.identity_token.as_str() {
                "" => (auth.username.as_str(), auth.password.as_str()),
                token => (TOKEN_USER, token),
            };
            let fields = [("ServerURL", key), ("Username", user), ("Secret", secret)];
            let object = fields.map(|(name, value)| (name.to_owned(), Json::String(value.to_owned())));
            let mut text = Vec::new();
            Json::Object(object.into()).write(&mut text);
            call(helper, "store", &text)?;
            Vec::new()
        }
        None => {
            let mut fields =
                vec![("auth".to_owned(), Json::String(encode_basic(&auth.username, &auth.password)))];
            if !auth.identity_token.is_empty() {
                fields.push(("identitytoken".to_owned(), Json::String(auth.identity_token.clone())));
            }
            fields
        }
    };
    let entries = auths(&mut root);
    entries.retain(|(name, _)| name != key);
    entries.push((key.to_owned(), Json::Object(entry)));
    // As Go writes a map.
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    save(config, &root)?;
    Ok(helper.is_none())
}

/// Forgets what is stored under a key.
pub fn erase(config: &Config, key: &str) -> Result<(), String> {
    let mut root = config.load()?;
    if let Some(helper) = helper(&root, key) {
        call(&helper, "erase", key.as_bytes())?;
    }
    let entries = auths(&mut root);
    let before = entries.len();
    entries.retain(|(name, _)| name != key);
    if entries.len() < before { save(config, &root) } else { Ok(()) }
}

fn helper(root: &Json, key: &str) -> Option<String> {
    let own = root.get("credHelpers").and_then(|h| h.get(hostname(key)).or_else(|| h.get(key)));
    own.or_else(|| root.get("credsStore"))
        .and_then(Json::as_str)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

fn from_file(root: &Json, key: &str) -> AuthConfig {
    let entries = root.get("auths").and_then(Json::as_object).unwrap_or_default();
    let exact = entries.iter().find(|(name, _)| name == key);
    // Old files have whole addresses as keys.
    let found = exact.or_else(|| entries.iter().find(|(name, _)| hostname(name) == key));
    let Some((_, entry)) = found else { return AuthConfig::default() };
    let text = |name: &str| entry.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (username, password) =
        decode_basic(&text("auth")).unwrap_or_else(|| (text("username"), text("password")));
    AuthConfig {
        username,
        password,
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..AuthConfig::default()
    }
}

fn from_helper(helper: &str, key: &str) -> Result<AuthConfig, String> {
    let answer = match call(helper, "get", key.as_bytes()) {
        Err(error) if error.contains("credentials not found in native keychain") => {
            return Ok(AuthConfig::default());
        }
        other => other?,
    };
    let json = Json::parse(&answer).map_err(|e| format!("error getting credentials - err: {e}"))?;
    let text = |name: &str| json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (user, secret) = (text("Username"), text("Secret"));
    Ok(if user == TOKEN_USER {
        AuthConfig { identity_token: secret, ..AuthConfig::default() }
    } else {
        AuthConfig { username: user, password: secret, ..AuthConfig::default() }
    })
}

/// Calls a helper; its standard output, or Docker's text of what went wrong.
fn call(helper: &str, action: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    let what = match action {
        "get" => "getting",
        "store" => "storing",
        _ => "erasing",
    };
    let failed = |why: &str, out: &str| format!("error {what} credentials - err: {why}, out: `{out}`");
    // A name with a slash would be a path, not a helper.
    if helper.contains('/') {
        return Err(failed("not the name of a credential helper", ""));
    }
    let program = format!("docker-credential-{helper}");
    let mut child =
        Command::new(&program).arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(
            |error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    failed(&format!("exec: \"{program}\": executable file not found in $PATH"), "")
                }
                _ => failed(&io_text(&error), ""),
            },
        )?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read tells its own story.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_HELPER_BYTES).read_to_end(&mut answer).map_err(|e| failed(&io_text(&e), ""))?;
    }
    let status = child.wait().map_err(|e| failed(&io_text(&e), ""))?;
    if status.success() {
        return Ok(answer);
    }
    let out = String::from_utf8_lossy(&answer);
    Err(failed(&format!("exit status {}", status.code().unwrap_or(-1)), out.trim()))
}

fn auths(root: &mut Json) -> &mut Vec<(String, Json)> {
    if !matches!(root, Json::Object(_)) {
        *root = Json::Object(Vec::new());
    }
    let Json::Object(pairs) = root else { unreachable!("made above") };
    let at = pairs.iter().position(|(name, _)| name == "auths").unwrap_or_else(|| {
        pairs.insert(0, ("auths".to_owned(), Json::Object(Vec::new())));
        0
    });
    if !matches!(pairs[at].1, Json::Object(_)) {
        pairs[at].1 = Json::Object(Vec::new());
    }
    let Json::Object(entries) = &mut pairs[at].1 else { unreachable!("made above") };
    entries
}

/// Writes the file beside and renames it, so that a reader sees the old or the new one.
fn save(config: &Config, root: &Json) -> Result<(), String> {
    let failed = |error: std::io::Error| io_text(&error);
    std::fs::create_dir_all(&config.folder).map_err(failed)?;
    let path = config.folder.join("config.json");
    // A link stays one.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let temporary = path.with_file_name(format!("config.json{}", std::process::id()));
    write_private(&temporary, root.to_indented("\t").as_bytes())
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            failed(error)
        })
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, Config) {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let config = Config { folder: folder.path().to_owned(), ..Config::default() };
        (folder, config)
    }

    #[test]
    fn what_is_stored_is_found_and_the_rest_is_kept() {
        let (folder, config) =
            config(r#"{"psFormat":"x","auths":{"https://old.example/v1/":{"auth":"YTpi"}}}"#);
        let auth = AuthConfig {
            username: "u".to_owned(),
            password: "p:q".to_owned(),
            server_address: INDEX_SERVER.to_owned(),
            ..AuthConfig::default()
        };
        assert!(store(&config, &auth).unwrap());
        assert_eq!(get(&config, INDEX_SERVER).unwrap(), auth);
        let old = get(&config, "old.example").unwrap();
        assert_eq!((old.username.as_str(), old.password.as_str()), ("a", "b"));
        let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
        assert!(text.contains("\"psFormat\": \"x\""), "{text}");
        erase(&config, INDEX_SERVER).unwrap();
        assert_eq!(get(&config, INDEX_SERVER).unwrap().username, "");
    }

    #[test]
    fn helpers_are_chosen_by_registry() {
        let root =
            Json::parse(br#"{"credsStore":"all","credHelpers":{"gcr.io":"one","off.example":""}}"#).unwrap();
        for (key, want) in [
            ("gcr.io", Some("one")),
            ("https://gcr.io/v1/", Some("one")),
            (INDEX_SERVER, Some("all")),
            ("off.example", None),
        ] {
            assert_eq!(helper(&root, key).as_deref(), want, "{key}");
        }
    }

    #[test]
    fn hostnames() {
        for (address, want) in [
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("http://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
            ("ghcr.io", "ghcr.io"),
        ] {
            assert_eq!(hostname(address), want);
        }
    }
}
