//! `export`: a container's files as one archive.

use std::path::Path;

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
        check(Path::new(output)).map_err(|text| Error::failed(format!("failed to export container: {text}")))?;
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
