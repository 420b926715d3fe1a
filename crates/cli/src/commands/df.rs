//! `system df`: what everything occupies.

use std::rc::Rc;

use api::image::ImageSummary;
use api::usage::DiskUsage;

use crate::error::Error;
use crate::grammar::Parsed;
use crate::listing::containers::View;
use crate::listing::{self, containers, images, usage, volumes};
use crate::session::Session;
use crate::template::{Template, Value};
use crate::time::now;

const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHES: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

/// `system df`
pub async fn df(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let found = session.client().await?.disk_usage().await?;
    let given = parsed.text("format");
    if !parsed.switch("verbose") {
        let text = listing::print(&usage::format(given), usage::HEADERS, &usage::rows(&found));
        return session.out.write(text.map_err(Error::failed)?.as_bytes());
    }
    let is_table = given.is_empty() || given.starts_with("table");
    let view = View { truncate: is_table, now: now(), zone: session.zone() };
    let rows = Rows::new(found, &view);
    if !is_table {
        return session.out.write(rows.run(given).map_err(Error::failed)?.as_bytes());
    }
    let part = |format, headers, rows: &[Value]| listing::print(format, headers, rows).map_err(Error::failed);
    let text = format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: 0B\n\n{}",
        part(IMAGES, images::HEADERS, &rows.images)?,
        part(CONTAINERS, containers::HEADERS, &rows.containers)?,
        part(VOLUMES, volumes::HEADERS, &rows.volumes)?,
        part(CACHES, usage::CACHE_HEADERS, &[])?,
    );
    session.out.write(text.as_bytes())
}

/// Everything, one row each.
struct Rows {
    images: Vec<Value>,
    containers: Vec<Value>,
    volumes: Vec<Value>,
}

impl Rows {
    fn new(found: DiskUsage, view: &View) -> Rows {
        let mut list = found.images.unwrap_or_default();
        list.iter_mut().for_each(only_first_name);
        let containers = found.containers.unwrap_or_default().into_iter().map(|mut container| {
            // Of a container only what it wrote itself is told.
            container.size_root_fs = 0;
            Value::Object(Rc::new(containers::Row::new(container, view.clone())))
        });
        let mut volumes = found.volumes.unwrap_or_default();
        volumes.sort_by(|a, b| volumes::natural(&a.name, &b.name));
        Rows {
            images: images::rows(&list, IMAGES, false, view),
            containers: containers.collect(),
            volumes: volumes.into_iter().map(|v| Value::Object(Rc::new(volumes::Row(v)))).collect(),
        }
    }

    /// A template over all of it, once.
    fn run(self, given: &str) -> Result<String, String> {
        let source = if given == "json" { "{{json .}}" } else { given };
        let wrong = |e| format!("template parsing error: {e}");
        let fields = vec![
            ("Images".to_owned(), Value::list(self.images)),
            ("Containers".to_owned(), Value::list(self.containers)),
            ("Volumes".to_owned(), Value::list(self.volumes)),
            ("BuildCache".to_owned(), Value::list(Vec::new())),
        ];
        let template = Template::parse("", source).map_err(wrong)?;
        template.run(&Value::record("*formatter.diskUsageContext", fields, None)).map_err(wrong)
    }
}

/// An image is one row, under its first name.
fn only_first_name(image: &mut ImageSummary) {
    image.repo_digests = None;
    if let Some(tags) = &mut image.repo_tags {
        tags.truncate(1);
    }
}
