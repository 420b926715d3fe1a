//! `push`.

use api::image_calls::PushOptions;
use oci::Reference;

use super::{platform, show_progress};
use crate::credentials;
use crate::error::{Error, chain};
use crate::grammar::Parsed;
use crate::session::Session;

const PLATFORM_NOTE: &str = "\n Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.\n         \
    Other components, like attestations, will not be included.\n         \
    To push the complete multi-platform image, remove the --platform flag.\n         ";

/// `push`
pub async fn push(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let quiet = parsed.switch("quiet");
    let all = parsed.switch("all-tags");
    let only = platform(parsed).map_err(|e| {
        let text = e.to_string();
        let text = text.strip_prefix("invalid platform: ").unwrap_or(&text).to_owned();
        // Docker's client says it twice.
        let _ = session.out.write(format!("Invalid platform {}", parsed.text("platform")).as_bytes());
        Error::failed(text)
    })?;
    if only.is_some() {
        session.err.line(PLATFORM_NOTE)?;
    }
    let mut reference = Reference::parse(&parsed.args[0]).map_err(|e| Error::failed(chain(&e)))?;
    if all && !reference.is_name_only() {
        return Err(Error::failed("tag can't be used with --all-tags/-a"));
    }
    if !all && reference.is_name_only() {
        reference = reference.or_latest();
        if !quiet {
            session.out.line(&format!("Using default tag: {}", reference.tag().unwrap_or_default()))?;
        }
    }
    let options = PushOptions {
        name: reference.name(),
        tag: reference.tag().unwrap_or_default().to_owned(),
        platform: only,
        auth: credentials::for_reference(&session.config, &reference),
    };
    let messages = session.client().await?.image_push(&options).await?;
    show_progress(messages, (!quiet).then_some(session.out)).await?;
    if quiet {
        session.out.line(&reference.to_string())?;
    }
    Ok(())
}
