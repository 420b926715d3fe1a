//! `tag` and `history`.

use oci::Reference;

use super::platform;
use crate::error::{Error, chain};
use crate::grammar::Parsed;
use crate::listing::containers::View;
use crate::listing::{self, history};
use crate::session::Session;
use crate::time::now;

/// `tag`
pub async fn tag(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let (source, target) = (parsed.args[0].as_str(), parsed.args[1].as_str());
    let wrong = |text: &str, e: &oci::Error| {
        Error::failed(format!(
            "Error parsing reference: \"{text}\" is not a valid repository/tag: {}",
            chain(e)
        ))
    };
    oci::AnyReference::parse(source).map_err(|e| wrong(source, &e))?;
    let name = Reference::parse(target).map_err(|e| wrong(target, &e))?;
    if name.digest().is_some() {
        return Err(Error::failed("refusing to create a tag with a digest reference"));
    }
    let name = name.or_latest();
    let tag = name.tag().unwrap_or_default().to_owned();
    Ok(session.client().await?.image_tag(source, &name.name(), &tag).await?)
}

/// `history`
pub async fn history(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let platform = platform(parsed)?;
    let items = session.client().await?.image_history(&parsed.args[0], platform.as_ref()).await?;
    let given = match parsed.text("format") {
        "" => "table",
        given => given,
    };
    let human = parsed.switch_or("human", true);
    let view = View { truncate: !parsed.switch("no-trunc"), now: now(), zone: session.zone() };
    let format = history::format(given, parsed.switch("quiet"), human);
    let rows = history::rows(items, human, &view);
    let text = listing::print(&format, history::HEADERS, &rows).map_err(Error::failed)?;
    session.out.write(text.as_bytes())
}
