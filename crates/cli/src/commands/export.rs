//! `export` and `commit`: a container's files as one archive, or as an image.

use std::path::Path;

use api::archive_calls::CommitOptions;
use oci::Reference;

use super::save::{Target, check};
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::stdio::AsyncOut;

/// `export`
pub async fn export(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let output = parsed.text("output");
    if output.is_empty() && session.out.is_terminal() {
        return Err(Error::failed("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    if !output.is_empty() {
        check(Path::new(output))
            .map_err(|text| Error::failed(format!("failed to export container: {text}")))?;
    }
    let mut archive = session.client().await?.container_export(&parsed.args[0]).await?;
    if output.is_empty() {
        let out = AsyncOut::new(session.out);
        while let Some(chunk) = archive.next().await? {
            out.write(&chunk).await?;
        }
        return Ok(());
    }
    let mut file = Target::begin(Path::new(output))?;
    while let Some(chunk) = archive.next().await? {
        file.write(&chunk)?;
    }
    file.finish()
}

/// `commit`
pub async fn commit(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let mut options = CommitOptions {
        container: parsed.args[0].clone(),
        comment: parsed.text("message").to_owned(),
        author: parsed.text("author").to_owned(),
        changes: parsed.list("change"),
        pause: !parsed.changed("pause") || parsed.switch("pause"),
        ..CommitOptions::default()
    };
    if let Some(name) = parsed.args.get(1).filter(|name| !name.is_empty()) {
        let name = Reference::parse(name).map_err(|e| Error::failed(crate::error::chain(&e)))?;
        if name.digest().is_some() {
            return Err(Error::failed("refusing to create a tag with a digest reference"));
        }
        let name = name.or_latest();
        options.repo = name.familiar_name();
        options.tag = name.tag().unwrap_or_default().to_owned();
    }
    let id = session.client().await?.commit(&options).await?;
    session.out.line(&id)
}
