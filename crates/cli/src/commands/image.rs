//! `pull`, `rmi`, `load`, `import`.

use api::calls::{ImageRemoveOptions, ImportOptions};
use oci::Reference;

use super::{join, platform, run, show_progress, wanted_reference};
use crate::error::{Error, chain, io_text};
use crate::grammar::Parsed;
use crate::session::Session;
use crate::stdio::AsyncIn;

/// `pull`
pub async fn pull(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let quiet = parsed.switch("quiet");
    super::no_content_trust(session, parsed)?;
    let reference = wanted_reference(session, parsed)?;
    let client = session.client().await?;
    let wish = run::Wish { reference: &reference, platform: parsed.text("platform") };
    run::pull(session, &client, wish, (!quiet).then_some(session.out)).await?;
    session.out.line(&reference.to_string())
}

/// `rmi`
pub async fn remove(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let force = parsed.switch("force");
    let platforms =
        parsed.list("platform").iter().map(|text| super::platform_from(text)).collect::<Result<_, _>>()?;
    let options = ImageRemoveOptions { force, no_prune: parsed.switch("no-prune"), platforms };
    let mut failures: Vec<Error> = Vec::new();
    for name in &parsed.args {
        match client.image_remove(name, &options).await {
            Err(error) => failures.push(error.into()),
            Ok(removed) => {
                for image in removed {
                    match image.deleted.is_empty() {
                        true => session.out.line(&format!("Untagged: {}", image.untagged))?,
                        false => session.out.line(&format!("Deleted: {}", image.deleted))?,
                    }
                }
            }
        }
    }
    // With --force, an image that is not there is no failure.
    let fatal = !force || failures.iter().any(|e| !e.is_not_found());
    match join(failures) {
        Err(error) if !fatal => session.err.line(&error.to_string()),
        result => result,
    }
}

/// `load`
pub async fn load(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let input = parsed.text("input");
    let quiet = parsed.switch("quiet") || !session.out.is_terminal();
    let platform = platform(parsed)?;
    let platforms = platform.as_slice();
    let messages = if input.is_empty() {
        if rustix::termios::isatty(session.stdin) {
            return Err(Error::failed("requested load from stdin, but stdin is empty"));
        }
        session.client().await?.image_load(AsyncIn::new(session.stdin), quiet, platforms).await?
    } else {
        let file = open(input)?;
        session.client().await?.image_load(file, quiet, platforms).await?
    };
    show_progress(messages, Some(session.out)).await
}

/// `import`
pub async fn import(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let source = parsed.args[0].as_str();
    if let Some(name) = parsed.args.get(1) {
        Reference::parse(name).map_err(|e| Error::failed(chain(&e)))?;
    }
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let options = ImportOptions {
        from_src: if remote { source.to_owned() } else { "-".to_owned() },
        repo: parsed.args.get(1).cloned().unwrap_or_default(),
        message: parsed.text("message").to_owned(),
        changes: parsed.list("change"),
        platform: parsed.text("platform").to_owned(),
    };
    let messages = match source {
        _ if remote => session.client().await?.image_import(&options, tokio::io::empty()).await?,
        "-" => session.client().await?.image_import(&options, AsyncIn::new(session.stdin)).await?,
        path => {
            let file = open(path)?;
            session.client().await?.image_import(&options, file).await?
        }
    };
    show_progress(messages, Some(session.out)).await
}

/// An archive; Docker's text where there is none.
fn open(path: &str) -> Result<FileReader, Error> {
    let file =
        std::fs::File::open(path).map_err(|e| Error::failed(format!("open {path}: {}", io_text(&e))))?;
    Ok(FileReader(file))
}

/// A file as the body of a request. Reading one does not wait for anybody, so it needs no thread.
struct FileReader(std::fs::File);

impl tokio::io::AsyncRead for FileReader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let read = std::io::Read::read(&mut self.0, buf.initialize_unfilled())?;
        buf.advance(read);
        std::task::Poll::Ready(Ok(()))
    }
}
