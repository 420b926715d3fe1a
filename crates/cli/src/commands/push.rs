//! `push`.

use api::image_calls::PushOptions;
use api::json::Json;

use super::{platform, show_progress_and, wanted_reference};
use crate::credentials;
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;

const PLATFORM_NOTE: &str = "\n Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.\n         \
    Other components, like attestations, will not be included.\n         \
    To push the complete multi-platform image, remove the --platform flag.\n         ";

/// `push`
pub async fn push(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    super::no_content_trust(session, parsed)?;
    let quiet = parsed.switch("quiet");
    let only = platform(parsed).map_err(|e| {
        let text = e.to_string();
        let text = text.strip_prefix("invalid platform: ").unwrap_or(&text).to_owned();
        // Docker's client says it twice.
        let _ = session.out.write(format!("Invalid platform {}", parsed.text("platform")).as_bytes());
        Error::failed(text)
    })?;
    if only.is_some() {
        session.out.line(PLATFORM_NOTE)?;
    }
    let reference = wanted_reference(session, parsed)?;
    let options = PushOptions {
        name: reference.name(),
        tag: reference.tag().unwrap_or_default().to_owned(),
        platform: only,
        auth: credentials::for_reference(&session.config, &reference),
    };
    let messages = session.client().await?.image_push(&options).await?;
    let mut note = None;
    let pushed = show_progress_and(messages, (!quiet).then_some(session.out), |aux| {
        note = instead(aux).or_else(|| note.take());
    });
    pushed.await?;
    if let Some(note) = note {
        session.out.line(&note)?;
    }
    if quiet {
        session.out.line(&reference.to_string())?;
    }
    Ok(())
}

/// Docker's note that an index was not pushed, colours included.
fn instead(aux: &Json) -> Option<String> {
    aux.get("manifestPushedInsteadOfIndex").filter(|yes| yes.as_bool() == Some(true))?;
    let digest = |name: &str| aux.get(name)?.get("digest")?.as_str().map(str::to_owned);
    Some(format!(
        "\n Info -> Not all multiplatform-content is present and only the available single-platform image was pushed\n         \
         \x1b[31m{}\x1b[0m -> \x1b[32m{}\x1b[0m",
        digest("originalIndex")?,
        digest("selectedManifest")?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_was_not_pushed() {
        let aux = Json::parse(
            br#"{"manifestPushedInsteadOfIndex":true,"originalIndex":{"digest":"sha256:a"},"selectedManifest":{"digest":"sha256:b"}}"#,
        );
        let note = instead(&aux.unwrap()).unwrap();
        assert!(
            note.ends_with("was pushed\n         \x1b[31msha256:a\x1b[0m -> \x1b[32msha256:b\x1b[0m"),
            "{note:?}"
        );
        assert_eq!(instead(&Json::parse(br#"{"ID":"x"}"#).unwrap()), None);
    }
}
