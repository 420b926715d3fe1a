//! `login` and `logout`.

use std::io::{BufRead, BufReader, Read};

use api::system::AuthConfig;
use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};

use crate::credentials::{self, INDEX_SERVER, hostname};
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;

/// A password or user name is not longer.
const MAX_LINE_BYTES: u64 = 64 << 10;
const HUB_ADVICE: &str = "Log in with your Docker ID or email address to push and pull images from Docker Hub. \
    If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.\n\
    You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/\n";

/// `login`
pub async fn login(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let mut username = parsed.text("username").to_owned();
    let mut password = parsed.text("password").to_owned();
    let from_stdin = parsed.switch("password-stdin");
    if parsed.changed("username") && username.is_empty() {
        return Err(Error::failed("username is empty"));
    }
    if parsed.changed("password") && from_stdin {
        return Err(Error::failed(
            "conflicting options: cannot specify both --password and --password-stdin",
        ));
    }
    if parsed.changed("password") {
        session.err.line("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")?;
        if password.is_empty() {
            return Err(Error::failed("password is empty"));
        }
    }
    if from_stdin {
        if username.is_empty() {
            return Err(Error::failed("the --password-stdin option requires --username to be set"));
        }
        let mut text = String::new();
        let read = stdin(session)?.take(MAX_LINE_BYTES).read_to_string(&mut text);
        read.map_err(|e| Error::io("read the password", e))?;
        password = text.trim_end_matches('\n').trim_end_matches('\r').to_owned();
    }
    let given = parsed.args.first().map(String::as_str).filter(|s| !s.is_empty() && *s != "docker.io");
    let key = given.map_or(INDEX_SERVER, hostname).to_owned();
    if username.is_empty()
        && password.is_empty()
        && let Ok(stored) = credentials::get(&session.config, &key)
        && !stored.username.is_empty()
        && !stored.password.is_empty()
        && with_stored(session, &stored).await?
    {
        return Ok(());
    }
    if username.is_empty() || password.is_empty() {
        (username, password) = ask(session, username, password, given.is_none())?;
    }
    let mut auth = AuthConfig { username, password, server_address: key, ..AuthConfig::default() };
    let answer = session.client().await?.registry_login(&auth).await?;
    if !answer.identity_token.is_empty() {
        auth.password.clear();
        auth.identity_token = answer.identity_token;
    }
    let stored = credentials::store(&session.config, &auth);
    let in_file = stored.map_err(|e| Error::failed(format!("Error saving credentials: {e}")))?;
    if in_file {
        let path = session.config.folder.join("config.json");
        session.err.line(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
             warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        ))?;
    }
    session.out.line(&answer.status)
}

/// Tries what is stored; whether that was enough.
async fn with_stored(session: &Session<'_>, stored: &AuthConfig) -> Result<bool, Error> {
    session
        .err
        .line(&format!("Authenticating with existing credentials... [Username: {}]", stored.username))?;
    session.err.line(
        "\n Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n",
    )?;
    match session.client().await?.registry_login(stored).await {
        Ok(answer) => session.out.line(&answer.status).map(|()| true),
        Err(api::Error::Engine { status: 401, .. }) => {
            session.err.line("Stored credentials invalid or expired")?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks for what is missing, on a terminal.
fn ask(
    session: &Session<'_>,
    mut username: String,
    mut password: String,
    hub: bool,
) -> Result<(String, String), Error> {
    if !isatty(session.stdin) {
        return Err(Error::failed("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let mut input = BufReader::new(stdin(session)?);
    if username.is_empty() {
        if hub {
            session.out.line(HUB_ADVICE)?;
        }
        session.out.write(b"Username: ")?;
        username = line(&mut input)?.trim().to_owned();
        if username.is_empty() {
            return Err(Error::failed("Error: Non-null Username Required"));
        }
    }
    if password.is_empty() {
        session.out.write(b"Password: ")?;
        let echo = silence(session);
        let typed = line(&mut input);
        if let Some(before) = echo {
            // The terminal is somebody's: it must echo again whatever was typed.
            let _ = tcsetattr(session.stdin, OptionalActions::Now, &before);
        }
        session.out.write(b"\n")?;
        password = typed?;
        if password.is_empty() {
            return Err(Error::failed("Error: Password Required"));
        }
    }
    Ok((username, password))
}

fn silence(session: &Session<'_>) -> Option<rustix::termios::Termios> {
    let before = tcgetattr(session.stdin).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(session.stdin, OptionalActions::Now, &quiet).ok()?;
    Some(before)
}

fn line(input: &mut impl BufRead) -> Result<String, Error> {
    let mut text = String::new();
    input.take(MAX_LINE_BYTES).read_line(&mut text).map_err(|e| Error::io("read from the terminal", e))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn stdin(session: &Session<'_>) -> Result<std::fs::File, Error> {
    let fd = session.stdin.try_clone_to_owned().map_err(|e| Error::io("standard input", e))?;
    Ok(fd.into())
}

/// `logout`
pub fn logout(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let given = parsed.args.first().map(String::as_str).filter(|s| !s.is_empty());
    let address = given.unwrap_or(INDEX_SERVER);
    let mut keys = vec![address.to_owned()];
    let mut shown = address;
    if given.is_some() {
        shown = hostname(address);
        keys.extend([shown.to_owned(), format!("http://{shown}"), format!("https://{shown}")]);
    }
    session.out.line(&format!("Removing login credentials for {shown}"))?;
    let mut failures = Vec::new();
    for key in keys {
        if let Err(error) = credentials::erase(&session.config, &key) {
            failures.push(format!("{key}: {error}"));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("WARNING: could not erase credentials:\n{}", failures.join("\n"))))
}
