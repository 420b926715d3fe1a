//! `image prune`, `container prune`, `volume prune`.

use std::io::{BufRead, BufReader, Read};

use super::list::filters;
use crate::error::Error;
use crate::grammar::Parsed;
use crate::session::Session;
use crate::units::human_size;

const DANGLING: &str = "WARNING! This will remove all dangling images.";
const ALL: &str = "WARNING! This will remove all images without at least one container associated to them.";
const CONTAINERS: &str = "WARNING! This will remove all stopped containers.";
/// An answer is one word.
const MAX_ANSWER_BYTES: u64 = 1024;

/// `image prune`
pub async fn images(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let all = parsed.switch("all");
    let mut filters = filters(parsed);
    filters.add("dangling", if all { "false" } else { "true" });
    if !parsed.switch("force") && !confirmed(session, if all { ALL } else { DANGLING })? {
        return Ok(());
    }
    let report = session.client().await?.image_prune(&filters).await?;
    let removed = report.images_deleted.unwrap_or_default();
    let mut text = String::new();
    if !removed.is_empty() {
        text.push_str("Deleted Images:\n");
        for image in removed {
            match image.untagged.as_str() {
                "" => text.push_str(&format!("deleted: {}\n", image.deleted)),
                name => text.push_str(&format!("untagged: {name}\n")),
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("Total reclaimed space: {}\n", human_size(report.space_reclaimed, 4)));
    session.out.write(text.as_bytes())
}

/// `container prune`
pub async fn containers(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let filters = filters(parsed);
    if !parsed.switch("force") && !confirmed(session, CONTAINERS)? {
        return Ok(());
    }
    let report = session.client().await?.container_prune(&filters).await?;
    let mut text = String::new();
    let deleted = report.deleted.unwrap_or_default();
    if !deleted.is_empty() {
        text.push_str(&format!("Deleted Containers:\n{}\n\n", deleted.join("\n")));
    }
    let bytes = i64::try_from(report.reclaimed).unwrap_or(i64::MAX);
    text.push_str(&format!("Total reclaimed space: {}\n", human_size(bytes, 4)));
    session.out.write(text.as_bytes())
}

const ANONYMOUS_VOLUMES: &str =
    "WARNING! This will remove anonymous local volumes not used by at least one container.";
const ALL_VOLUMES: &str = "WARNING! This will remove all local volumes not used by at least one container.";

/// `volume prune`
pub async fn volumes(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let all = parsed.switch("all");
    let mut filters = filters(parsed);
    if all {
        if filters.has("all") {
            return Err(Error::failed("conflicting options: cannot specify both --all and --filter all=1"));
        }
        filters.add("all", "true");
    }
    let client = session.client().await?;
    // Engines before 1.42 know no other way.
    let every = all || client.api_version().await.is_ok_and(|version| version < api::ApiVersion::v1(42));
    let warning = if every { ALL_VOLUMES } else { ANONYMOUS_VOLUMES };
    if !parsed.switch("force") && !confirmed(session, warning)? {
        return Ok(());
    }
    let report = client.volume_prune(&filters).await?;
    let mut text = String::new();
    let removed = report.volumes_deleted.unwrap_or_default();
    if !removed.is_empty() {
        text = format!("Deleted Volumes:\n{}\n\n", removed.join("\n"));
    }
    let bytes = i64::try_from(report.space_reclaimed).unwrap_or(i64::MAX);
    text.push_str(&format!("Total reclaimed space: {}\n", human_size(bytes, 4)));
    session.out.write(text.as_bytes())
}

fn confirmed(session: &Session<'_>, warning: &str) -> Result<bool, Error> {
    session.out.write(format!("{warning}\nAre you sure you want to continue? [y/N] ").as_bytes())?;
    let input: std::fs::File =
        session.stdin.try_clone_to_owned().map_err(|e| Error::io("standard input", e))?.into();
    let mut answer = String::new();
    BufReader::new(input.take(MAX_ANSWER_BYTES))
        .read_line(&mut answer)
        .map_err(|e| Error::io("read the answer", e))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
