//! `search`.

use std::rc::Rc;

use api::image::SearchResult;
use api::image_calls::SearchOptions;

use super::list::filters;
use crate::credentials::{self, INDEX_SERVER};
use crate::error::Error;
use crate::grammar::Parsed;
use crate::listing;
use crate::session::Session;
use crate::table::ellipsis;
use crate::template::{Object, Value, plain};

const HEADERS: &[(&str, &str)] =
    &[("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")];
const TABLE: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const MAX_DESCRIPTION_WIDTH: usize = 45;

/// `search`
pub async fn search(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let term = parsed.args[0].as_str();
    // What looks like a host before the first slash is a registry; Docker Hub otherwise.
    let host =
        term.split_once('/').map(|(host, _)| host).filter(|h| h.contains(['.', ':']) || *h == "localhost");
    let auth = credentials::get(&session.config, host.unwrap_or(INDEX_SERVER)).unwrap_or_default();
    let options = SearchOptions {
        term: term.to_owned(),
        limit: parsed.int_or("limit", 0),
        filters: filters(parsed),
        auth,
    };
    let results = session.client().await?.image_search(&options).await?;
    let truncate = !parsed.switch("no-trunc");
    let format = match parsed.text("format") {
        "" | "table" => TABLE,
        given => given,
    };
    let json = format == "json" || format.contains("json .");
    let row = |result| Value::Object(Rc::new(Row { result, truncate, json }));
    let rows: Vec<Value> = results.into_iter().map(row).collect();
    let text = listing::print(format, HEADERS, &rows).map_err(Error::failed)?;
    session.out.write(text.as_bytes())
}

struct Row {
    result: SearchResult,
    truncate: bool,
    /// Docker writes other words into JSON.
    json: bool,
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        "*registry.searchContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let result = &self.result;
        let text = match name {
            "Name" => result.name.clone(),
            "Description" => {
                let text = result.description.replace(['\n', '\r'], " ");
                if self.truncate { ellipsis(&text, MAX_DESCRIPTION_WIDTH) } else { text }
            }
            "StarCount" => result.star_count.to_string(),
            "IsOfficial" if self.json => result.is_official.to_string(),
            "IsOfficial" if result.is_official => "[OK]".to_owned(),
            "IsOfficial" => String::new(),
            _ => return None,
        };
        plain(name, text, args)
    }
    fn names(&self) -> &'static [&'static str] {
        &["Description", "IsOfficial", "Name", "StarCount"]
    }
}
